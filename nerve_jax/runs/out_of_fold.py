"""What finished folds predicted of frames they were not trained on, decided and scored.

The parameters of a decision are fitted on predictions too. So that they never score the
people that they were fitted on, the frames are dealt into parts, each decided by a rule
fitted on the others: the folds, or, where one fold alone is finished, parts of the people
of its validation frames. Rules by part are in `fold_k/decision.json`; the one for frames
of no fold, fitted on all, is in `decision.json`.
"""

import dataclasses
from collections.abc import Sequence
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
from nerve_jax.scoring.decide import Rule, rule_from_json
from nerve_jax.scoring.evidence import Evidence, collect_evidence, pool_evidence
from nerve_jax.scoring.fitting import Tried, fit_rule
from nerve_jax.scoring.scores import Predicted
from nerve_jax.scoring.units import Units, deal_people
from nerve_jax.system.files import Path, read_array, read_json, write_json


class Decided(NamedTuple):
    """What finished folds predicted, and the rules fitted on it; by fold.

    Attributes:
      predictions: of each fold's validation frames.
      evidence: what these say for fitting.
      rules: for each of these frames.
      tried: what was tried for frames of no fold.
    """

    predictions: dict[int, Predicted]
    evidence: dict[int, Evidence]
    rules: dict[int, list[Rule]]
    tried: list[Tried]


def decide_folds(
    workdir: Path,
    population: Population,
    subfolder: str,
    *,
    kind: str,
    threshold: float,
) -> Decided | None:
    """Read predictions, fit the rules on them, and write these; see `fit_rules`.

    Args:
      workdir: of the run.
      population: its data set; the first structure is decided.
      subfolder: of that structure, see `folder.find_subfolder`.
      kind, threshold: as of `fit_rules`.

    Returns:
      What was decided; None where no scored frame is labelled for the structure.
    """
    examples = population.examples
    predictions = load_predictions(workdir, examples, subfolder)
    if not predictions:
        return None
    evidence = gather_evidence(examples.masks, examples.presence, predictions)
    groups = {
        fold: [population.groups[i] for i in predicted.positions]
        for fold, predicted in predictions.items()
    }
    rules, tried = fit_rules(
        workdir, subfolder, groups, evidence, kind=kind, threshold=threshold
    )
    return Decided(predictions, evidence, rules, tried)


def load_predictions(
    workdir: Path, examples: Examples, subfolder: str = ""
) -> dict[int, Predicted]:
    """Read the predictions of a structure by all finished folds, by fold.

    Those of frames that are not labelled for it are left out, and folds without any.
    """
    found = {}
    for fold in folder.finished_folds(workdir):
        directory = folder.fold_dir(workdir, fold) / subfolder
        positions = examples.positions(folder.load_split(workdir, fold)["val"])
        predicted = Predicted(
            positions,
            read_array(directory / "val_probs.npy"),
            read_array(directory / "val_presence.npy"),
        )
        labelled = examples.labelled[positions]
        if labelled.any():
            found[fold] = predicted if labelled.all() else predicted.select(labelled)
    return found


def fit_rules(
    workdir: Path,
    subfolder: str,
    groups: dict[int, list[str]],
    evidence: dict[int, Evidence],
    *,
    kind: str,
    threshold: float,
) -> tuple[dict[int, list[Rule]], list[Tried]]:
    """Fit and write the rule for each fold's frames, and the one for all other frames.

    A rule is fitted on the predictions of single folds, also where it then decides the
    average of several, which tends to be less sure.

    Args:
      workdir: of the run.
      subfolder: of the structure, see `folder.find_subfolder`.
      groups: the person of each validation frame, by fold.
      evidence: what the predictions of these frames say for fitting, by fold.
      kind: "fitted", or "threshold" for no fitting.
      threshold: the plain one.

    Returns:
      The rule for each validation frame, by fold; none was fitted on any frame of the
      people of its part. And what was tried for frames of no fold.
    """
    people = np.array([group for fold in evidence for group in groups[fold]], str)
    pooled = pool_evidence(list(evidence.values()))
    fold_of = np.repeat(list(evidence), [len(groups[fold]) for fold in evidence])
    units = Units(people, fold_of)
    parts = fold_of if len(evidence) > 1 else deal_people(people)

    def fit(rows: Bool[np.ndarray, " frames"]) -> tuple[Rule, list[Tried]]:
        if kind == "threshold":
            return Rule(threshold), []
        return fit_rule(pooled.select(rows), units.select(rows), threshold=threshold)

    by_part = {
        part: fit(~np.isin(people, people[parts == part]))[0]
        for part in np.unique(parts).tolist()
    }
    for fold in evidence:
        _write_fold_rules(
            folder.make_subfolder(folder.fold_dir(workdir, fold), subfolder),
            parts[fold_of == fold],
            people,
            parts,
            by_part,
        )
    rule, tried = fit(np.ones(len(people), bool))
    content = dataclasses.asdict(rule) | {"tried": [row._asdict() for row in tried]}
    write_json(folder.make_subfolder(workdir, subfolder) / "decision.json", content)
    rules = {
        fold: [by_part[part] for part in parts[fold_of == fold].tolist()]
        for fold in evidence
    }
    return rules, tried


def _write_fold_rules(directory: Path, own, people, parts, by_part) -> None:
    """Write the rules of a fold's parts, each with the people whom it may decide."""
    content = [
        {
            "people": sorted(set(people[parts == part].tolist())),
            **dataclasses.asdict(by_part[part]),
        }
        for part in np.unique(own).tolist()
    ]
    write_json(directory / "decision.json", content)


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


def load_rule(workdir: Path, kind: str, threshold: float) -> Rule:
    """Read the rule for frames of no fold, or create the plain one.

    Args:
      workdir: of the run, or the subfolder of one structure.
      kind: "threshold" for the plain rule.
      threshold: the plain one.

    Raises:
      InputError: the run was stopped before it wrote its rules, or an older version of
        the code has written them.
    """
    if kind == "threshold":
        return Rule(threshold)
    folder.check_reported([workdir / "decision.json"])
    return rule_from_json(read_json(workdir / "decision.json"))


class FoldRules(NamedTuple):
    """The rules for the validation frames of a fold.

    Attributes:
      people: whom each may decide.
      rules: one for each part of the people.
      plain: for whoever is in no part.
    """

    people: list[set[str]]
    rules: list[Rule]
    plain: Rule

    def find(self, names: Sequence[str]) -> Rule:
        """The rule for a frame that the fold has scored, by the names of its person."""
        if len(self.rules) == 1:
            return self.rules[0]
        for people, rule in zip(self.people, self.rules, strict=True):
            if not people.isdisjoint(names):
                return rule
        return self.plain


def load_fold_rules(directory: Path, kind: str, threshold: float) -> FoldRules:
    """Read the rules for a fold's validation frames.

    Args:
      directory: of the fold, or the subfolder of one structure.
      kind, threshold: as of `load_rule`.
    """
    plain = Rule(threshold)
    if kind == "threshold":
        return FoldRules([set()], [plain], plain)
    path = directory / "decision.json"
    folder.check_reported([path])
    content = read_json(path)
    parts = content if isinstance(content, list) else [content]
    rules = [rule_from_json(part) for part in parts]
    return FoldRules([set(part["people"]) for part in parts], rules, plain)


def measure_reliability(
    evidence: dict[int, Evidence], rules: dict[int, list[Rule]]
) -> dict[str, Reliability]:
    """Pixels' reliability at training size.

    Returns:
      "as the model gave it" and, if outlines have a temperature, "by temperature".
    """
    pooled = pool_evidence(list(evidence.values())).counts
    temperatures = np.array(
        [_find_temperature(rule) for fold in evidence for rule in rules[fold]]
    )
    by_name = {"as the model gave it": np.ones(len(temperatures))}
    if (temperatures != 1).any():
        by_name["by temperature"] = temperatures
    curves = {}
    for name, values in by_name.items():
        parts = [(value, values == value) for value in np.unique(values)]
        curves[name] = compute_reliability(
            np.concatenate([special.expit(CENTRES / value) for value, _ in parts]),
            np.concatenate([pooled.nerve[rows].sum(0) for _, rows in parts]),
            np.concatenate([pooled.pixels[rows].sum(0) for _, rows in parts]),
        )
    return curves


def _find_temperature(rule: Rule) -> float:
    outline = rule.outline
    return 1.0 if outline is None or outline.kind == "cut" else outline.value
