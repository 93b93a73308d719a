import numpy as np
import pytest

from nerve_jax import rle
from nerve_jax.decide import Threshold
from nerve_jax.examples import Examples, compute_digest, resize_image, resize_probs
from nerve_jax.metrics import compute_dice
from nerve_jax.scores import (
    Predicted,
    Scored,
    count_frames,
    read_scores,
    score_frames,
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
        thumbnails=np.zeros((3, 48, 64), np.uint8),
        masks=np.stack(masks),
        sizes=np.array(sizes),
        truths=tuple(rle.encode(t) for t in truths),
        frames=("a", "b", "c"),
        subjects=("p", "p", "q"),
        labelled=np.array([True] * 3),
        spacing_mm=np.full((3, 2), np.nan, np.float32),
        saturated_share=np.zeros(3, np.float32),
        digests=("1", "2", "3"),
        fingerprint="made",
        source=[{"image": np.full((*size, 1), 90, np.uint8)} for size in sizes],
        records=np.arange(3),
    )


def predicted(examples, positions, probs, presence):
    return Predicted(np.array(positions), probs, np.array(presence, np.float32))


def test_frames_are_scored_at_their_original_size(examples):
    positions = [1, 0, 2]
    probs = (examples.masks[positions] / 255).astype(np.float16)
    model = predicted(examples, positions, probs, [0.9, 0.9, 0.1])
    counts = count_frames(examples, model, [Threshold(0.5)] * 3)
    np.testing.assert_array_equal(counts.sum(1), [61 * 83, 48 * 64, 24 * 32])
    dice = compute_dice(counts)
    assert (dice[:2] > 0.97).all()  # what the training size can show of the truth
    assert dice[2] == 1


def test_each_frame_is_decided_by_its_own_rule_and_held_against_the_plain_one(examples):
    probs = np.full((2, *TRAINING_SIZE), 0.4, np.float32)
    model = predicted(examples, [0, 2], probs, [0.9, 0.3])
    rules = [Threshold(0.3), Threshold(0.5)]
    scored = score_frames(
        examples, model, rules, threshold=0.2, groups=["p", "p", "g"], doubtful={2}
    )
    claimed = scored.counts[:, :2].sum(1)
    np.testing.assert_array_equal(claimed, [48 * 64, 0])
    assert compute_dice(scored.counts)[1] == 1
    assert scored.dice_at_threshold[1] == 0
    np.testing.assert_array_equal(scored.doubtful, [False, True])
    assert (scored.subjects, scored.groups) == (["p", "q"], ["p", "g"])
    np.testing.assert_allclose(scored.presence_probs, [0.9, 0.3], rtol=1e-6)
    assert scored.surface["hd95_px"][0] > 5
    assert np.isnan(scored.surface["hd95_px"][1])
    assert scored.surface["surface_dice_5px"][1] == 1


def table(counts, probs, subjects="ppqq", frames="abcd", doubtful=(0, 0, 0, 0)):
    count = len(counts)
    distances = np.where(np.array(counts)[:, 0] > 0, 3.0, np.nan)
    return Scored(
        list(frames[:count]),
        list(subjects[:count]),
        list(subjects[:count]),
        np.array(counts),
        np.array(probs, float),
        np.full(count, 0.5),
        np.array(doubtful[:count], bool),
        {
            "surface_dice_5px": np.full(count, 0.25),
            "surface_dice_1mm": np.full(count, np.nan),
            "hd95_px": distances,
            "assd_px": distances,
        },
    )


COUNTS = [[5, 0, 5, 90], [0, 0, 0, 100], [10, 0, 0, 90], [0, 5, 0, 95]]


def test_tables_give_back_what_they_were_given(tmp_path):
    scored = table(COUNTS, [0.25, 0.75, 0.5, 1])
    write_scores(tmp_path / "one.csv", scored)
    write_scores(tmp_path / "two.csv", scored.select(np.array([2, 0])))
    read = read_scores([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert read.frames == list("abcdca")
    assert read.subjects == list("ppqqqp")
    np.testing.assert_array_equal(read.counts[:4], scored.counts)
    np.testing.assert_allclose(read.presence_probs[4:], [0.5, 0.25])
    np.testing.assert_array_equal(
        read.surface["hd95_px"][:4], scored.surface["hd95_px"]
    )
    assert read_scores([]).counts.shape == (0, 4)
    line = (tmp_path / "one.csv").read_text().splitlines()[2]
    assert line == "b,p,p,0,0,0,100,1.000000,0.750000,0.500000,0,0.250000,,,"


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
