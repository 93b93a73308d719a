"""What finished folds predicted of frames they were not trained on, decided and scored.

The parameters of a decision are fitted on predictions too. So that they never score the
frames that they were fitted on, each fold's frames are decided by a rule fitted on the
other folds' (`fold_k/decision.json`); `decision.json`, for frames of no fold, is fitted
on all. With one finished fold there are no others, and the plain threshold decides, here
and elsewhere: a rule that no score describes is not used.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import special

from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population
from nerve_jax.runs import folder
from nerve_jax.scoring.calibration import (
    CENTRES,
    Reliability,
    compute_reliability,
)
from nerve_jax.scoring.decide import (
    Evidence,
    ExpectedDice,
    Rule,
    Threshold,
    any_fitted,
    collect_evidence,
    fit_rule,
    pool_evidence,
    rule_from_json,
    rule_to_json,
)
from nerve_jax.scoring.scores import Predicted
from nerve_jax.system.files import Path, read_array, read_json, write_json

FEWEST_FRAMES = 8  # to fit a rule on


class Decided(NamedTuple):
    """What finished folds predicted, and the rules fitted on it; by fold.

    Attributes:
      predictions: of each fold's validation frames.
      evidence: what these say for fitting.
      rules: for each fold's validation frames.
    """

    predictions: dict[int, Predicted]
    evidence: dict[int, Evidence]
    rules: dict[int, Rule]


def decide_folds(
    workdir: Path, population: Population, *, kind: str, threshold: float
) -> Decided:
    """Read predictions, fit the rules on them, and write these; see `fit_rules`."""
    examples = population.examples
    predictions = load_predictions(workdir, examples)
    evidence = gather_evidence(examples.masks, examples.presence, predictions)
    rules = fit_rules(
        workdir,
        population.groups,
        predictions,
        evidence,
        kind=kind,
        threshold=threshold,
    )
    return Decided(predictions, evidence, rules)


def load_predictions(workdir: Path, examples: Examples) -> dict[int, Predicted]:
    """Read the predictions of all finished folds, by fold."""
    found = {}
    for fold in folder.finished_folds(workdir):
        directory = folder.fold_dir(workdir, fold)
        val = folder.load_split(workdir, fold)["val"]
        found[fold] = Predicted(
            examples.positions(val),
            read_array(directory / "val_probs.npy"),
            read_array(directory / "val_presence.npy"),
        )
    return found


def fit_rules(
    workdir: Path,
    groups: list[str],
    predictions: dict[int, Predicted],
    evidence: dict[int, Evidence],
    *,
    kind: str,
    threshold: float,
) -> dict[int, Rule]:
    """Fit and write the rule for each fold's frames, and the one for all other frames.

    A rule is fitted on the predictions of single folds, also where it then decides the
    average of several, which tends to be less sure.

    Args:
      workdir: of the run.
      groups: of each frame of the data set; no rule decides a group it was fitted on.
      predictions: of the run's finished folds.
      evidence: what they say for fitting.
      kind: "expected_dice", or "threshold" for no fitting.
      threshold: the plain one.

    Returns:
      The rule for each fold's validation frames.
    """

    def fit(without: int | None) -> Rule:
        """On all frames, or on those of groups that a fold has not scored."""
        scored = [] if without is None else predictions[without].positions
        own = {groups[i] for i in scored}
        pooled = pool_evidence(
            [
                evidence[fold].select(
                    np.array([groups[i] not in own for i in predicted.positions])
                )
                for fold, predicted in predictions.items()
            ]
        )
        few = len(pooled.presence) < FEWEST_FRAMES
        if kind == "threshold" or len(predictions) < 2 or few:
            return Threshold(threshold)
        return fit_rule(pooled)

    rules = {fold: fit(fold) for fold in predictions}
    for fold, rule in rules.items():
        path = folder.fold_dir(workdir, fold) / "decision.json"
        write_json(path, rule_to_json(rule))
    write_json(workdir / "decision.json", rule_to_json(fit(None)))
    return rules


def gather_evidence(
    masks: UInt8[np.ndarray, "frames height width"],
    presence: Bool[np.ndarray, " frames"],
    predictions: dict[int, Predicted],
) -> dict[int, Evidence]:
    """What each fold's predictions say for fitting.

    Args:
      masks: of the data set, share of each pixel that is nerve, 0 to 255.
      presence: whether each of its frames shows a nerve.
      predictions: of some of its frames, by fold.
    """
    return {
        fold: collect_evidence(
            predicted.probs,
            predicted.presence_probs,
            masks[predicted.positions],
            presence[predicted.positions],
        )
        for fold, predicted in predictions.items()
    }


def load_rule(
    workdir: Path, kind: str, threshold: float, fold: int | None = None
) -> Rule:
    """Read the rule that a run has fitted, or create the plain one.

    Args:
      workdir: of the run.
      kind: "threshold" for the plain rule.
      threshold: the plain one.
      fold: whose validation frames it is for; None for frames of no fold.

    Raises:
      InputError: the run was stopped before it wrote its rules.
    """
    if kind == "threshold":
        return Threshold(threshold)
    place = workdir if fold is None else folder.fold_dir(workdir, fold)
    folder.check_reported([place / "decision.json"])
    return rule_from_json(read_json(place / "decision.json"))


def measure_reliability(
    evidence: dict[int, Evidence], rules: dict[int, Rule]
) -> dict[str, Reliability]:
    """Pixels' reliability at training size.

    Returns:
      "as the model gave it" and, if any rule was fitted, "by temperature".
    """
    predicted: dict[str, list] = {"as the model gave it": []}
    if any_fitted(rules.values()):
        predicted["by temperature"] = []
    for name, probs in predicted.items():
        for rule in rules.values():
            fitted = name == "by temperature" and isinstance(rule, ExpectedDice)
            probs.append(special.expit(CENTRES / (rule.temperature if fitted else 1.0)))
    true = np.concatenate([e.counts.nerve.sum(0) for e in evidence.values()])
    count = np.concatenate([e.counts.pixels.sum(0) for e in evidence.values()])
    return {
        name: compute_reliability(np.concatenate(probs), true, count)
        for name, probs in predicted.items()
    }
