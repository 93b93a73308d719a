import dataclasses
import multiprocessing
import os
import signal

import grain
import jax
import numpy as np
import pytest

from nerve_jax.data import streaming
from nerve_jax.data.batches import batch_positions
from nerve_jax.data.loading import load_examples
from nerve_jax.data.outlines import Wanted
from nerve_jax.data.records import create_builder
from nerve_jax.runs.folder import Fold
from nerve_jax.system import devices
from nerve_jax.system.errors import RunError
from nerve_jax.training.feed import StreamedFeed
from tests.samples import mesh_of


@pytest.fixture
def examples(write_folder, blob_frames, tmp_path):
    folder = write_folder(blob_frames(3, 4))
    builder = create_builder(
        "ultrasound_nerve/folder", records_dir=str(tmp_path), manual_dir=str(folder)
    )
    return load_examples(builder, "train", (24, 32))


def test_streamed_batches_are_those_of_the_resident_path(examples):
    """In order, from any step, for folds together; a new start closes the old one."""
    mesh = devices.create_mesh(2)
    trains = [np.arange(1, 10), np.arange(3, 12)]
    next_rows = streaming.open_streams(
        (0, 4),
        trains,
        examples=examples,
        mesh=mesh,
        batch_size=4,
        seed=3,
        num_workers=1,
    )
    for step in (5, 6, 7, 1):
        rows = next_rows(step)
        assert rows.images.shape == (2, 4, 24, 32)
        for place, (fold, train) in enumerate(zip((0, 4), trains, strict=True)):
            wanted = train[
                batch_positions(step, batch_size=4, num_frames=9, seed=3, fold=fold)
            ]
            np.testing.assert_array_equal(rows.images[place], examples.images[wanted])
            np.testing.assert_array_equal(
                rows.masks[place, :, 0], examples.masks[wanted]
            )


def test_streamed_batches_have_every_structure_and_what_is_labelled(tmp_path):
    builder = create_builder(
        "ultrasound_nerve/phantom",
        records_dir=str(tmp_path),
        phantom={"num_subjects": 2, "frames_per_subject": 3, "num_readers": 2},
    )
    wanted = Wanted(("vessel", "nerve"))
    examples = load_examples(builder, "train", (24, 32), wanted)
    train = np.arange(6)
    next_rows = streaming.open_streams(
        (0,),
        [train],
        examples=examples,
        mesh=mesh_of(1),
        batch_size=6,
        seed=3,
        num_workers=1,
    )
    rows = next_rows(0)
    order = batch_positions(0, batch_size=6, num_frames=6, seed=3, fold=0)
    for ours, theirs in zip(rows, examples.training_frames, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[order])
    assert rows.masks.shape == (1, 6, 2, 24, 32)
    soft = np.unique(rows.masks)
    assert ((soft > 100) & (soft < 150)).any()  # where one of two readers is alone


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_are_the_same_however_many_processes_read_them(
    examples, num_workers, monkeypatch
):
    asked, options = [], grain.MultiprocessingOptions

    def spy(count, *rest):
        asked.append(count)
        return options(count, *rest)

    monkeypatch.setattr(grain, "MultiprocessingOptions", spy)
    feed = StreamedFeed(
        examples, (1, *examples.images.shape[1:]), mesh_of(1), 4, 3, num_workers
    )
    train = np.arange(1, 10)
    next_rows = feed.open([Fold(0, None, train, train, train)]).next_rows
    for step in range(4):
        wanted = train[
            batch_positions(step, batch_size=4, num_frames=9, seed=3, fold=0)
        ]
        np.testing.assert_array_equal(
            next_rows(step).images[0], examples.images[wanted]
        )
    assert asked == [num_workers]


class Deadly(list):
    """Records whose reading kills the worker that reads them."""

    def __getitem__(self, record):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_ends_the_run_with_a_word_and_a_mend(examples):
    deadly = dataclasses.replace(examples, source=Deadly())
    next_rows = streaming.open_streams(
        (0,),
        [np.arange(12)],
        examples=deadly,
        mesh=mesh_of(1),
        batch_size=4,
        seed=3,
        num_workers=2,
    )
    told = "that reads frames was killed.*There are 2 per fold: lower --config.data.num"
    with pytest.raises(RunError, match=told):
        next_rows(0)


@pytest.mark.parametrize(
    ("cores", "num_folds", "each"),
    [
        (2, 1, 2),
        (2, 2, 2),
        (8, 1, 6),
        (16, 1, 14),
        (16, 5, 2),
        (208, 1, 16),
        (64, 5, 12),
    ],
)
def test_cores_that_a_run_can_spare_read(cores, num_folds, each):
    assert streaming.choose_num_workers(cores, num_folds) == each


def test_a_process_reads_what_its_own_devices_need(examples, monkeypatch):
    """Of four devices in two folds, a process that has the last alone."""
    mesh = devices.create_mesh(2)
    assert devices.find_own_rows(mesh, 4) == ([0, 1], [0, 1, 2, 3])
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    table = np.array([[_Device(0), _Device(0)], [_Device(0), _Device(1)]], dtype=object)
    mine = _Mesh(table, {"fold": 2, "batch": 2})
    assert devices.find_own_rows(mine, 4) == ([1], [2, 3])


class _Device:
    def __init__(self, process_index):
        self.process_index = process_index


class _Mesh:
    def __init__(self, devices, shape):
        self.devices, self.shape = devices, shape
