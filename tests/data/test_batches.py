from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerve_jax.data.batches import batch_positions, padded_batches

SMALL = st.integers(1, 13)


def stream(num_steps, batch_size, num_frames, seed=0, fold=0):
    options = {"batch_size": batch_size, "num_frames": num_frames}
    batches = [
        batch_positions(step, **options, seed=seed, fold=fold)
        for step in range(num_steps)
    ]
    return np.concatenate(batches)


@given(SMALL, SMALL, st.integers(0, 3))
def test_every_epoch_holds_every_frame_once(batch_size, num_frames, seed):
    places = stream(num_frames * 2, batch_size, num_frames, seed)
    for epoch in range(2 * batch_size):
        part = places[epoch * num_frames : (epoch + 1) * num_frames]
        assert Counter(part.tolist()) == Counter(range(num_frames))


def test_order_depends_on_epoch_seed_and_fold_alone():
    first = stream(8, 4, 16)
    np.testing.assert_array_equal(first, stream(8, 4, 16))
    assert not np.array_equal(first[:16], first[16:])
    assert not np.array_equal(first, stream(8, 4, 16, seed=1))
    assert not np.array_equal(first, stream(8, 4, 16, fold=1))
    np.testing.assert_array_equal(first, stream(4, 8, 16))  # and not on the batch


@pytest.mark.parametrize("num_folds", [1, 5, 40])
def test_folds_that_train_together_draw_each_order_once(num_folds, monkeypatch):
    drawn, default_rng = [], np.random.default_rng

    def spy(seed):
        drawn.append(tuple(seed))
        return default_rng(seed)

    monkeypatch.setattr(np.random, "default_rng", spy)
    for step in range(9):  # three steps fill an epoch, but for a frame
        for fold in range(num_folds):
            batch_positions(step, batch_size=4, num_frames=13, seed=77, fold=fold)
    assert sorted(drawn) == [
        (77, f, epoch) for f in range(num_folds) for epoch in range(3)
    ]


@given(st.integers(1, 30), SMALL)
def test_padded_batches_hold_every_frame_once_in_order(num_frames, batch_size):
    batches = list(padded_batches(num_frames, batch_size))
    assert all(len(places) == batch_size for places, _ in batches)
    real = np.concatenate([places[there] for places, there in batches])
    np.testing.assert_array_equal(real, np.arange(num_frames))
    assert max(places.max() for places, _ in batches) < num_frames
