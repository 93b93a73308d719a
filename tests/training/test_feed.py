import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.data.batches import batch_positions
from nerve_jax.runs.folder import Fold
from nerve_jax.training.feed import (
    LANES,
    ResidentFeed,
    StreamedFeed,
    create_feed,
    describe_feed,
    pack,
    unpack,
)
from tests.samples import bright_boxes, bright_feed, mesh_of


@pytest.fixture
def folds(tmp_path):
    """Two folds that are trained on eight and nine frames."""
    return [
        Fold(number, tmp_path, train, train, np.arange(2))
        for number, train in ((0, np.arange(4, 12)), (4, np.arange(3, 12)))
    ]


def test_rows_of_resident_frames_are_positions_by_seed_fold_and_step(folds):
    examples, mesh = bright_boxes(), mesh_of(2, 2)
    feed = bright_feed(mesh, batch_size=4, seed=3)
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
        np.testing.assert_array_equal(batch.masks[:, 0], examples.masks[row])
        assert batch.labelled.all()
    assert len(stream.keys) == 2
    alone = bright_feed(mesh_of(1), batch_size=4, seed=3)
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
    images, masks, labelled = (x.shape for x in feed.shape(3))
    assert images == (1, 3, 4, 16, 24)
    assert (masks, labelled) == ((1, 3, 4, 1, 16, 24), (1, 3, 4, 1))


@pytest.mark.parametrize("size", [(16, 24), (5, 7), (8, 16), (1, 1)])
def test_packed_frames_are_the_same_frames_in_whole_lanes(size):
    frames = np.random.default_rng(0).integers(0, 256, (3, *size), np.uint8)
    packed = pack(frames)
    assert packed.shape == (3, -(-size[0] * size[1] // LANES), LANES)
    np.testing.assert_array_equal(unpack(jnp.asarray(packed), size), frames)


@pytest.mark.parametrize("max_resident_gb", [0.0, 1.0])
def test_a_described_feed_has_the_shapes_of_the_real_one(max_resident_gb):
    examples, mesh = bright_boxes(), mesh_of(2, 2)
    options = {"batch_size": 4, "max_resident_gb": max_resident_gb}
    real = create_feed(examples, mesh, seed=0, **options)
    shape = examples.training_frames.masks.shape
    described = describe_feed(shape, mesh, **options)
    assert type(described) is type(real)
    assert described.shape(3) == real.shape(3)
    shapes = [[(x.shape, x.dtype) for x in feed.frames] for feed in (described, real)]
    assert shapes[0] == shapes[1]
