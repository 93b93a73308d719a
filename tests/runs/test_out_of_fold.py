"""No rule may know of the people that it decides."""

import dataclasses
import json

import numpy as np
import pytest

from nerve_jax.runs import out_of_fold
from nerve_jax.scoring.decide import Outline, Presence, Rule
from nerve_jax.scoring.scores import Predicted
from nerve_jax.system.errors import InputError

SIZE = (16, 20)
EACH = 60  # frames of a fold
GROUPS = [f"p{i // 5}" for i in range(3 * EACH)]


class Cohort:
    """Frames in three folds, and what each fold's model says of them: too little."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        count = 3 * EACH
        self.presence = rng.random(count) < 0.5
        self.masks = np.zeros((count, *SIZE), np.uint8)
        self.masks[self.presence, 4:10, 5:12] = 255
        seen = self.masks.copy()
        alarms = ~self.presence & (rng.random(count) < 0.6)
        seen[alarms, 4:10, 5:12] = 255  # what the presence logit knows to be none
        noise = rng.normal(0, 0.7, self.masks.shape)
        probs = 1 / (1 + np.exp(3.5 - seen / 70 - noise))
        head = np.where(self.presence, 2, -2) + rng.normal(0, 1, count)
        self.predictions = {
            fold: Predicted(
                np.arange(EACH) + EACH * fold,
                probs[EACH * fold : EACH * (fold + 1)].astype(np.float16),
                (1 / (1 + np.exp(-head[EACH * fold : EACH * (fold + 1)]))).astype(
                    np.float32
                ),
            )
            for fold in range(3)
        }


def fit(tmp_path, cohort, groups=GROUPS, folds=(0, 1, 2), kind="fitted"):
    predictions = {fold: cohort.predictions[fold] for fold in folds}
    for fold in folds:
        (tmp_path / f"fold_{fold}").mkdir(exist_ok=True)
    evidence = out_of_fold.gather_evidence(cohort.masks, cohort.presence, predictions)
    people = {
        fold: [groups[i] for i in predicted.positions]
        for fold, predicted in predictions.items()
    }
    rules, _ = out_of_fold.fit_rules(
        tmp_path, "", people, evidence, kind=kind, threshold=0.4
    )
    return rules, out_of_fold.load_rule(tmp_path, "fitted", 0.4)


def change(cohort, frames):
    """Other predictions and truths of some frames."""
    cohort.masks[frames] = 255 - cohort.masks[frames]
    cohort.presence[frames] = True
    return cohort


def test_changing_a_folds_frames_changes_every_rule_but_its_own(tmp_path):
    before, everywhere = fit(tmp_path, Cohort())
    changed = change(Cohort(), slice(0, EACH))
    changed.predictions[0].probs[:] = changed.predictions[0].probs[::-1] * 0.7
    after, everywhere_after = fit(tmp_path, changed)
    assert {len(set(rules)) for rules in before.values()} == {1}
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] != before[2]
    assert everywhere_after != everywhere
    own = out_of_fold.load_fold_rules(tmp_path / "fold_1", "fitted", 0.4)
    assert own.find(("whoever",)) == after[1][0]


def test_frames_of_a_group_that_a_fold_scores_are_not_fitted_on_elsewhere(tmp_path):
    torn = list(GROUPS)
    torn[EACH : EACH + 20] = ["p0"] * 20  # of fold 1, and of a person of fold 0
    whole, _ = fit(tmp_path, Cohort())
    frames = slice(EACH, EACH + 20)
    assert fit(tmp_path, change(Cohort(), frames))[0][0] != whole[0]
    apart, _ = fit(tmp_path, Cohort(), torn)
    assert fit(tmp_path, change(Cohort(), frames), torn)[0][0] == apart[0]


def test_one_fold_is_decided_by_rules_fitted_on_the_others_of_its_people(tmp_path):
    before, everywhere = fit(tmp_path, Cohort(), folds=(0,))
    assert everywhere.presence is not None
    assert len(before[0]) == EACH
    own = out_of_fold.load_fold_rules(tmp_path / "fold_0", "fitted", 0.4)
    assert len(own.rules) == 5
    assert [own.find((group,)) for group in GROUPS[:EACH]] == before[0]
    assert own.find(("somebody else",)) == Rule(0.4)
    person = own.people[0]
    frames = [i for i in range(EACH) if GROUPS[i] in person]
    after, _ = fit(tmp_path, change(Cohort(), frames), folds=(0,))
    same = [one == other for one, other in zip(before[0], after[0], strict=True)]
    assert [i for i in range(EACH) if same[i]] == frames


def test_without_other_people_or_by_request_the_threshold_decides(tmp_path):
    plain = Rule(0.4)
    rules, everywhere = fit(tmp_path, Cohort(), kind="threshold")
    assert {rule for fold in rules.values() for rule in fold} == {everywhere} == {plain}
    rules, everywhere = fit(tmp_path, Cohort(), ["one person"] * 3 * EACH)
    assert {rule for fold in rules.values() for rule in fold} == {everywhere} == {plain}
    assert json.loads((tmp_path / "decision.json").read_text())["tried"] == []


def test_what_was_tried_is_written_beside_the_rule(tmp_path):
    _, everywhere = fit(tmp_path, Cohort())
    content = json.loads((tmp_path / "decision.json").read_text())
    assert {row["name"] for row in content["tried"] if row["taken"]} == {
        part.kind if isinstance(part, Outline) else part.clue
        for part in (everywhere.outline, everywhere.presence)
        if part
    }
    assert isinstance(everywhere.presence, Presence)


def test_rules_of_an_older_version_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "fold_0").mkdir()
    old = {"rule": "expected_dice", "temperature": 1.2}
    for path in (tmp_path / "decision.json", tmp_path / "fold_0" / "decision.json"):
        path.write_text(json.dumps(old))
    with pytest.raises(InputError, match="rule=threshold"):
        out_of_fold.load_rule(tmp_path, "fitted", 0.4)
    with pytest.raises(InputError, match="rule=threshold"):
        out_of_fold.load_fold_rules(tmp_path / "fold_0", "fitted", 0.4)
    assert out_of_fold.load_rule(tmp_path, "threshold", 0.4) == Rule(0.4)


def test_reliability_is_by_temperature_only_where_outlines_have_one(tmp_path):
    cohort = Cohort()
    evidence = out_of_fold.gather_evidence(
        cohort.masks, cohort.presence, cohort.predictions
    )
    plain = {fold: [Rule(0.5)] * EACH for fold in evidence}
    curves = out_of_fold.measure_reliability(evidence, plain)
    assert list(curves) == ["as the model gave it"]
    soft = {fold: list(rules) for fold, rules in plain.items()}
    soft[1] = [Rule(0.5, Outline("nested_dice", 4.0))] * EACH
    softened = out_of_fold.measure_reliability(evidence, soft)
    assert list(softened) == ["as the model gave it", "by temperature"]
    by_name = {name: curve.count.sum() for name, curve in softened.items()}
    assert set(by_name.values()) == {3 * EACH * SIZE[0] * SIZE[1]}
    assert dataclasses.astuple(soft[1][0])[0] == 0.5
    everywhere = {fold: soft[1] for fold in evidence}
    highest = out_of_fold.measure_reliability(evidence, everywhere)["by temperature"]
    assert np.nanmax(highest.predicted) < np.nanmax(
        curves["as the model gave it"].predicted
    )
