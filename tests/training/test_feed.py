import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.data.batches import batch_positions
from nerve_jax.runs.folder import Fold
from nerve_jax.training.feed import (
    ResidentFeed,
    StreamedFeed,
    create_feed,
    put_frames,
)
from tests.samples import bright_boxes, mesh_of


@pytest.fixture
def folds(tmp_path):
    """Two folds that are trained on eight and nine frames."""
    return [
        Fold(number, tmp_path, train, train, np.arange(2))
        for number, train in ((0, np.arange(4, 12)), (4, np.arange(3, 12)))
    ]


def test_rows_of_resident_frames_are_positions_by_seed_fold_and_step(folds):
    examples, mesh = bright_boxes(), mesh_of(2, 2)
    feed = ResidentFeed(put_frames(examples, mesh), mesh, batch_size=4, seed=3)
    stream = feed.open(folds)
    rows = stream.next_rows(5)
    assert (rows.shape, rows.dtype) == ((2, 4), np.int32)
    assert feed.shape(6).shape == (2, 6, 4)
    for row, fold in zip(rows, folds, strict=True):
        wanted = batch_positions(
            5, batch_size=4, num_frames=len(fold.train), seed=3, fold=fold.number
        )
        np.testing.assert_array_equal(row, fold.train[wanted])
        batch = feed.pick(feed.frames, jnp.asarray(row))
        np.testing.assert_array_equal(batch.images, examples.images[row])
        np.testing.assert_array_equal(batch.masks, examples.masks[row])
    assert len(stream.keys) == 2
    alone = ResidentFeed(
        put_frames(examples, mesh_of(1)), mesh_of(1), batch_size=4, seed=3
    )
    again = alone.open(folds[1:]).keys[0]
    assert str(again) == str(
        stream.keys[1]
    )  # a fold has its key whoever trains beside it


def test_what_is_too_large_is_streamed_and_that_is_printed(capsys):
    options = {"batch_size": 4, "seed": 0}
    feed = create_feed(bright_boxes(), mesh_of(1), max_resident_gb=1.0, **options)
    assert isinstance(feed, ResidentFeed)
    assert "12 frames, 0.00 GB at training size, are held" in capsys.readouterr().out
    feed = create_feed(bright_boxes(), mesh_of(1), max_resident_gb=0.0, **options)
    assert isinstance(feed, StreamedFeed)
    assert "are streamed from the records" in capsys.readouterr().out
    assert [x.shape for x in feed.shape(3)] == [(1, 3, 4, 16, 24)] * 2
