"""What finished folds predicted of frames they were not trained on, decided and scored.

The parameters of a decision are fitted on predictions too. So that they never score the
frames that they were fitted on, each fold's frames are decided by a rule fitted on the
other folds' (`fold_k/decision.json`); `decision.json`, for frames of no fold, is fitted
on all. With one finished fold there are no others, and the plain threshold decides it.
"""

from pathlib import Path

import numpy as np
from scipy import special

from nerve_jax import workdirs
from nerve_jax.calibration import (
    CENTRES,
    Reliability,
    compute_reliability,
    count_by_logit,
)
from nerve_jax.decide import (
    ExpectedDice,
    Rule,
    Threshold,
    fit_rule,
    rule_from_json,
    rule_to_json,
)
from nerve_jax.examples import Examples
from nerve_jax.files import write_json, write_png
from nerve_jax.scores import Predicted, draw_scored, score_frames, write_scores


def load_predictions(workdir: Path, examples: Examples) -> dict[int, Predicted]:
    """Read the predictions of all finished folds, by fold."""
    found = {}
    for fold in workdirs.finished_folds(workdir):
        directory = workdirs.fold_dir(workdir, fold)
        val = workdirs.read_json(directory / "split.json")["val"]
        found[fold] = Predicted(
            examples.positions(val),
            np.load(directory / "val_probs.npy", mmap_mode="r"),
            np.load(directory / "val_presence.npy"),
        )
    return found


def fit_rules(
    workdir: Path,
    examples: Examples,
    groups: list[str],
    predictions: dict[int, Predicted],
    *,
    kind: str,
    threshold: float,
) -> dict[int, Rule]:
    """Fit and write the rule for each fold's frames, and the one for all other frames.

    Args:
      workdir: of the run.
      examples: its data set.
      groups: of each frame; a group is never fitted on and decided by one rule.
      predictions: of its finished folds.
      kind: "expected_dice", or "threshold" for no fitting.
      threshold: the plain one.

    Returns:
      The rule for each fold's validation frames.
    """

    def fit(chosen: dict[int, np.ndarray]) -> Rule:
        if kind == "threshold" or not any(len(rows) for rows in chosen.values()):
            return Threshold(threshold)
        parts = [
            [part[rows] for part in predictions[fold]] for fold, rows in chosen.items()
        ]
        positions, probs, presence_probs = map(np.concatenate, zip(*parts, strict=True))
        truth = examples.masks[positions], examples.presence[positions]
        return fit_rule(probs, presence_probs, *truth)

    rules = {}
    for fold, predicted in predictions.items():
        own = {groups[i] for i in predicted.positions}
        rules[fold] = fit(
            {
                other: np.array(
                    [r for r, i in enumerate(rest.positions) if groups[i] not in own],
                    int,
                )
                for other, rest in predictions.items()
                if other != fold
            }
        )
        path = workdirs.fold_dir(workdir, fold) / "decision.json"
        write_json(path, rule_to_json(rules[fold]))
    everything = {
        fold: np.arange(len(predicted.positions))
        for fold, predicted in predictions.items()
    }
    write_json(workdir / "decision.json", rule_to_json(fit(everything)))
    return rules


def load_rule(path: Path) -> Rule:
    """Read a decision.json."""
    return rule_from_json(workdirs.read_json(path))


def score_folds(
    workdir: Path,
    examples: Examples,
    predictions: dict[int, Predicted],
    rules: dict[int, Rule],
    *,
    threshold: float,
    doubtful: set[int],
) -> None:
    """Write scores.csv and examples.png of every finished fold."""
    for fold, predicted in predictions.items():
        directory = workdirs.fold_dir(workdir, fold)
        per_frame = [rules[fold]] * len(predicted.positions)
        scored = score_frames(
            examples, predicted, per_frame, threshold=threshold, doubtful=doubtful
        )
        write_scores(directory / "scores.csv", scored)
        sheet = draw_scored(examples, predicted, per_frame, scored)
        write_png(directory / "examples.png", sheet)


def measure_reliability(
    examples: Examples, predictions: dict[int, Predicted], rules: dict[int, Rule]
) -> dict[str, Reliability]:
    """Pixels' reliability at training size, as the model gave it and by temperature.

    Returns:
      "before" and "after" the temperature of each fold's rule.
    """
    said: dict[str, list] = {"before": [], "after": []}
    true, count = [], []
    for fold, predicted in predictions.items():
        counts = count_by_logit(predicted.probs, examples.masks[predicted.positions])
        rule = rules[fold]
        temperature = rule.temperature if isinstance(rule, ExpectedDice) else 1.0
        said["before"].append(special.expit(CENTRES))
        said["after"].append(special.expit(CENTRES / temperature))
        true.append(counts.nerve.sum(0))
        count.append(counts.pixels.sum(0))
    return {
        when: compute_reliability(*map(np.concatenate, (probs, true, count)))
        for when, probs in said.items()
    }
