import numpy as np
import pytest

from nerve_jax.data import rle
from nerve_jax.data.examples import Examples, Labels
from nerve_jax.data.resize import Patch, resize_image
from nerve_jax.scoring import scores
from nerve_jax.scoring.decide import Outline, Rule
from nerve_jax.scoring.metrics import compute_counts, compute_dice
from nerve_jax.scoring.scores import Predicted, count_frames, score_frames
from nerve_jax.system import backend, workers
from tests.samples import bright_boxes

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
        labels={
            "nerve": Labels(
                np.stack(masks),
                tuple(rle.encode(t) for t in truths),
                np.array([True] * 3),
                {},
            )
        },
        sizes=np.array(sizes),
        frames=("a", "b", "c"),
        subjects=("p", "p", "q"),
        scanners=("",) * 3,
        clips=("",) * 3,
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
    counts = count_frames(examples, model, [Rule(0.5)] * 3)
    np.testing.assert_array_equal(counts.sum(1), [61 * 83, 48 * 64, 24 * 32])
    dice = compute_dice(counts)
    assert (dice[:2] > 0.97).all()  # what the training size can show of the truth
    assert dice[2] == 1


def test_counting_draws_no_whole_mask(examples, monkeypatch):
    """Counts are those of whole masks, which a frame costs many times more."""
    probs = (examples.masks / 255).astype(np.float16)
    probs[2, 3:9, 4:20] = 0.7
    model, rules = predicted(examples, [0, 1, 2], probs, [0.9] * 3), [Rule(0.5)] * 3
    whole = [
        compute_counts(model.decide(examples, row, rule), examples.truth(row))
        for row, rule in enumerate(rules)
    ]

    def refuse(*arguments):
        raise AssertionError("a whole mask was drawn")

    monkeypatch.setattr(rle, "decode", refuse)
    monkeypatch.setattr(Patch, "whole", refuse)
    np.testing.assert_array_equal(count_frames(examples, model, rules), whole)


def test_each_frame_is_decided_by_its_own_rule_and_held_against_the_plain_one(examples):
    probs = np.full((2, *TRAINING_SIZE), 0.4, np.float32)
    model = predicted(examples, [0, 2], probs, [0.9, 0.3])
    rules = [Rule(0.3), Rule(0.5)]
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


def test_workers_score_in_the_order_of_frames_what_one_process_does(monkeypatch):
    examples = bright_boxes(12)
    probs = (examples.masks / 255).astype(np.float16)
    for row in range(12):
        probs[row, :, :row] = 0.9
    model = predicted(examples, np.arange(12), probs, np.ones(12))
    options = {"threshold": 0.5, "groups": examples.subjects, "doubtful": {2}}
    rules = [Rule(0.5), Rule(0.3, Outline("cut", 0.95))] * 6
    alone = score_frames(examples, model, rules, **options)
    shown = []

    def track(items, label, total):
        shown.extend([label, total])
        return items

    monkeypatch.setattr(scores, "track", track)
    monkeypatch.setattr(backend, "count_cores", lambda: 2)
    monkeypatch.setattr(workers, "ITEMS_WORTH_A_WORKER", 6)
    monkeypatch.setattr(workers, "ITEMS_AT_A_TIME", 1)
    with workers.spread_out(12, "scores frames") as spread:
        assert spread is not map
        spread_out = score_frames(examples, model, rules, spread=spread, **options)
    assert shown == ["scoring", 12]
    for ours, theirs in zip(alone[:7], spread_out[:7], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, values in alone.surface.items():
        np.testing.assert_array_equal(values, spread_out.surface[name])
    assert len(set(map(tuple, alone.counts))) > 8
