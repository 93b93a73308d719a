import numpy as np
import pytest

from nerve_jax import rle
from nerve_jax.examples import Examples, compute_digest, resize_image, resize_probs
from nerve_jax.metrics import compute_dice
from nerve_jax.scores import (
    Scored,
    compute_summary,
    count_frames,
    read_scores,
    write_scores,
)

TRAINING_SIZE = (24, 32)


@pytest.fixture
def examples():
    """Three frames of three sizes, the last without a nerve."""
    sizes = [(48, 64), (61, 83), (24, 32)]
    truths = []
    for height, width in sizes:
        y, x = np.mgrid[:height, :width]
        truths.append(np.hypot(y - height / 2, x - width / 2) < height / 4)
    truths[2][:] = False
    masks = [resize_image(t * np.uint8(255), TRAINING_SIZE) for t in truths]
    return Examples(
        images=np.zeros((3, *TRAINING_SIZE), np.uint8),
        masks=np.stack(masks),
        sizes=np.array(sizes),
        truths=tuple(rle.encode(t) for t in truths),
        frames=("a", "b", "c"),
        subjects=("p", "p", "q"),
        labelled=np.array([True] * 3),
        spacing_mm=np.full((3, 2), np.nan, np.float32),
        digests=("1", "2", "3"),
        fingerprint="made",
        source=[{"image": np.full((*size, 1), 90, np.uint8)} for size in sizes],
        records=np.arange(3),
    )


def count(examples, positions, probs, presence):
    return count_frames(
        examples, positions, probs, presence, threshold=0.5, presence_threshold=0.5
    )


def test_frames_are_scored_at_their_original_size(examples):
    positions = np.array([1, 0, 2])
    probs = (examples.masks[positions] / 255).astype(np.float16)
    counts = count(examples, positions, probs, np.array([0.9, 0.9, 0.1], np.float32))
    np.testing.assert_array_equal(counts.sum(1), [61 * 83, 48 * 64, 24 * 32])
    dice = compute_dice(counts)
    assert (dice[:2] > 0.97).all()  # what the training size can show of the truth
    assert dice[2] == 1


def test_an_unlikely_nerve_is_not_drawn(examples):
    probs = np.ones((1, *TRAINING_SIZE), np.float32)
    there, not_there = (
        count(examples, np.array([0]), probs, np.array([p], np.float32))[0]
        for p in (0.9, 0.1)
    )
    assert there[1] > 0
    assert not_there[0] == not_there[1] == 0


def test_tables_give_the_counts_back(tmp_path, examples):
    positions = np.array([0, 2])
    counts = np.array([[5, 1, 2, 3064], [0, 0, 0, 768]])
    presence = np.array([0.25, 0.75], np.float32)
    write_scores(tmp_path / "one.csv", examples, positions, counts, presence)
    write_scores(
        tmp_path / "two.csv", examples, positions[:1], counts[:1], presence[:1]
    )
    read = read_scores([tmp_path / "one.csv", tmp_path / "two.csv"])
    np.testing.assert_array_equal(read.counts, np.concatenate([counts, counts[:1]]))
    assert (read.frames, read.subjects) == (["a", "c", "a"], ["p", "q", "p"])
    np.testing.assert_allclose(read.presence_probs, [0.25, 0.75, 0.25])
    assert read_scores([]).counts.shape == (0, 4)
    text = (tmp_path / "one.csv").read_text().splitlines()
    assert text[1] == "a,p,5,1,2,3064,0.769231,0.250000"


def test_resizing_keeps_flat_pictures_and_area():
    flat = np.full((50, 70), 7, np.uint8)
    np.testing.assert_array_equal(resize_image(flat, (20, 30)), 7)
    np.testing.assert_allclose(
        resize_probs(flat / np.float32(10), (90, 80)), 0.7, rtol=1e-6
    )
    square = np.zeros((96, 128), np.uint8)
    square[20:60, 30:90] = 255
    small = resize_image(square, (24, 32))
    assert small.mean() == pytest.approx(square.mean(), rel=0.01)


def test_digests_tell_pixels_and_sizes_apart():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert compute_digest(image) == compute_digest(image.copy())
    assert compute_digest(image) != compute_digest(image.reshape(4, 3))
    assert compute_digest(image) != compute_digest(image + np.uint8(1))


def test_a_summary_is_overall_by_subject_and_with_intervals():
    counts = np.array([[5, 0, 5, 90], [0, 0, 0, 100], [10, 0, 0, 90], [0, 5, 0, 95]])
    probs = np.array([0.8, 0.1, 0.7, 0.75])
    scored = Scored(list("abcd"), ["p", "p", "q", "q"], counts, probs)
    summary = compute_summary(scored)
    assert summary["dice"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    assert summary["by_subject"]["p"]["dice"] == pytest.approx((2 / 3 + 1) / 2)
    assert summary["by_subject"]["q"]["num_frames"] == 2
    assert summary["num_subjects"] == 2
    assert summary["presence_auroc"] == 0.75  # of four pairs one is the wrong way round
    low, high = summary["intervals"]["dice"]
    assert low <= summary["dice"] <= high
    one_class = compute_summary(Scored(["a"], ["p"], counts[:1], probs[:1]))
    assert np.isnan(one_class["presence_auroc"])
