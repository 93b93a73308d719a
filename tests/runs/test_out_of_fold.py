"""No rule may know of the frames that it decides."""

import json

import numpy as np

from nerve_jax.runs import out_of_fold
from nerve_jax.scoring.decide import ExpectedDice, Threshold
from nerve_jax.scoring.scores import Predicted

SIZE = (16, 20)
FOLDS = {0: range(10), 1: range(10, 20), 2: range(20, 30)}


class Cohort:
    """Thirty frames in three folds, and what each fold's model says of them."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.presence = rng.random(30) < 0.5
        self.masks = np.zeros((30, *SIZE), np.uint8)
        self.masks[self.presence, 4:10, 5:12] = 255
        noise = rng.normal(0, 1.5, self.masks.shape)
        probs = 1 / (1 + np.exp(4 - self.masks / 40 - noise))
        self.predictions = {
            fold: Predicted(
                np.array(rows),
                probs[list(rows)].astype(np.float16),
                rng.random(10).astype(np.float32),
            )
            for fold, rows in FOLDS.items()
        }


def fit(tmp_path, cohort, groups, folds=(0, 1, 2), kind="expected_dice"):
    predictions = {fold: cohort.predictions[fold] for fold in folds}
    for fold in folds:
        (tmp_path / f"fold_{fold}").mkdir(exist_ok=True)
    evidence = out_of_fold.gather_evidence(cohort.masks, cohort.presence, predictions)
    rules = out_of_fold.fit_rules(
        tmp_path, groups, predictions, evidence, kind=kind, threshold=0.4
    )
    return rules, out_of_fold.load_rule(tmp_path, "expected_dice", 0.4)


def test_changing_a_folds_frames_changes_every_rule_but_its_own(tmp_path):
    groups = [f"p{i // 2}" for i in range(30)]
    before, everywhere = fit(tmp_path, Cohort(), groups)
    changed = Cohort()
    changed.masks[:10] = 255 - changed.masks[:10]
    changed.presence[:10] = True
    changed.predictions[0].probs[:] = changed.predictions[0].probs[::-1] * 0.7
    after, everywhere_after = fit(tmp_path, changed, groups)
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] != before[2]
    assert everywhere_after != everywhere
    assert out_of_fold.load_rule(tmp_path, "expected_dice", 0.4, 1) == after[1]


def test_frames_of_a_group_that_a_fold_scores_are_not_fitted_on_elsewhere(tmp_path):
    groups = [f"p{i // 2}" for i in range(30)]
    torn = list(groups)
    torn[10:14] = ["p0"] * 4  # of fold 1, and of a person whom fold 0 scores
    whole, _ = fit(tmp_path, Cohort(), groups)
    changed = Cohort()
    changed.masks[10:14] = 255 - changed.masks[10:14]
    assert fit(tmp_path, changed, groups)[0][0] != whole[0]
    assert fit(tmp_path, changed, torn)[0][0] == fit(tmp_path, Cohort(), torn)[0][0]


def test_without_other_folds_or_people_or_by_request_the_threshold_decides(tmp_path):
    groups = [f"p{i // 2}" for i in range(30)]
    plain = Threshold(0.4)
    assert fit(tmp_path, Cohort(), groups, folds=(0,)) == ({0: plain}, plain)
    rules, _ = fit(tmp_path, Cohort(), groups, kind="threshold")
    assert set(rules.values()) == {plain}
    rules, everywhere = fit(tmp_path, Cohort(), ["one person"] * 30)
    assert set(rules.values()) == {plain}
    assert isinstance(everywhere, ExpectedDice)


def test_reliability_is_by_temperature_only_where_one_was_fitted(tmp_path):
    cohort = Cohort()
    evidence = out_of_fold.gather_evidence(
        cohort.masks, cohort.presence, cohort.predictions
    )
    rules, _ = fit(tmp_path, cohort, [f"p{i}" for i in range(30)])
    curves = out_of_fold.measure_reliability(evidence, rules)
    assert list(curves) == ["as the model gave it", "by temperature"]
    assert curves["by temperature"].count.sum() == 30 * SIZE[0] * SIZE[1]
    sure = dict.fromkeys(rules, ExpectedDice(4.0, 1.0, 0.0, 0.0, True))
    softened = out_of_fold.measure_reliability(evidence, sure)["by temperature"]
    assert np.nanmax(softened.predicted) < np.nanmax(
        curves["as the model gave it"].predicted
    )
    plain = dict.fromkeys(rules, Threshold(0.5))
    assert list(out_of_fold.measure_reliability(evidence, plain)) == [
        "as the model gave it"
    ]
    assert json.loads((tmp_path / "decision.json").read_text())["rule"]
