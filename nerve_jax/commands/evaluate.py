"""--mode=evaluate: scores of a trained run on labelled frames."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import find_doubtful, find_people
from nerve_jax.reports.pictures import draw_scored
from nerve_jax.reports.tables import print_scores
from nerve_jax.runs import folder
from nerve_jax.runs.config import load_config, override
from nerve_jax.runs.members import load_members
from nerve_jax.runs.out_of_fold import load_rule
from nerve_jax.runs.score_table import write_scores
from nerve_jax.runs.seen import load_seen
from nerve_jax.scoring.decide import Rule, any_fitted
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.scoring.metrics import compute_dice, compute_mean
from nerve_jax.scoring.scores import Predicted, Scored, count_frames, score_frames
from nerve_jax.scoring.summary import compute_summary
from nerve_jax.system import environment, processes
from nerve_jax.system.console import is_first, say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, write_json, write_png

# What may be set again: which data set is scored.
DATA_FIELDS = (*("data.name", "data.records_dir", "data.manual_dir", "data.phantom."),)
Judges = list[tuple[int, ...]]  # the folds that may score each frame


def run(request: Request) -> None:
    """Run the command."""
    workdir, overrides = request.folder, request.overrides
    trained = load_config(workdir)
    setup.prepare_devices(trained, connected=request.connected)
    other = request.config and request.config.data.name != trained.data.name
    if other and "data.name" not in overrides:
        say(f"{workdir} has its own data set, {trained.data.name}: that one is scored")
    evaluate(workdir, overrides, request.split)


def evaluate(workdir: Path, overrides: dict, split: str) -> dict:
    """Score a labelled split; each frame only by folds that were not trained on it.

    A fold counts as trained on a frame when it was trained on one of the same pixels,
    whatever data set and name that came under, and on data sets that it was trained on
    also when it has seen any frame of the same subject, or of one that shares a view. The
    same holds of the fitted decision.

    Args:
      workdir: of a run with finished folds.
      overrides: fields of the run's configuration to set again, by dotted name:
        `DATA_FIELDS`, to score another data set, and those of "decision". A threshold
        alone asks for the plain decision.
      split: "train" or "test".

    Returns:
      The content of evaluation.json, with `flip_gain` and `ensemble_gain` where mirror
      images and several folds were used; evaluation.csv has one row per frame, and
      evaluation.png shows frames from the worst scored to the best.

    Raises:
      InputError: no labelled frames there, or all of them were trained on by all folds.
    """
    trained = load_config(workdir)
    config = override(trained, overrides, (*DATA_FIELDS, "decision."), workdir)
    members = load_members(workdir)
    population = find_people(
        processes.take_turns(lambda: setup.load_frames(config, split))
    )
    examples, _, groups = population
    judges = _choose_judges(workdir, list(members), examples, groups)
    if not config.decision.ensemble:
        judges = [group[:1] for group in judges]
    positions = _choose_positions(examples, judges, split)
    predictor = setup.create_predictor_of(config)

    def predict(judges: Judges, **options) -> Predicted:
        return _predict_by_judges(
            predictor, members, examples.images, positions, judges, **options
        )

    predicted = predict(judges)
    rules = _choose_rules(workdir, config, examples, groups, positions)
    scored = score_frames(
        examples,
        predicted,
        rules,
        threshold=config.decision.threshold,
        groups=groups,
        doubtful=set(find_doubtful(population).tolist()),
    )
    flips = config.decision.test_flips
    gains = _measure_gains(examples, rules, scored, positions, judges, predict, flips)
    content = _summarise(scored, rules, gains) | {
        "split": split,
        "dataset": examples.fingerprint,
        "folds": sorted({fold for i in positions for fold in judges[i]}),
        **config.decision.to_dict(),
        "num_frames_left_out": int(examples.labelled.sum()) - len(positions),
        **environment.describe(),
    }
    if is_first():
        write_scores(workdir / "evaluation.csv", scored)
        sheet = draw_scored(examples, predicted, rules, scored)
        write_png(workdir / "evaluation.png", sheet)
        write_json(workdir / "evaluation.json", content)
    _print(content, workdir)
    return content


def _print(content: dict, workdir: Path) -> None:
    count, left_out = content["num_frames"], content["num_frames_left_out"]
    title = f"{content['dataset']}, split {content['split']}, {count} frames"
    print_scores(content, title=title)
    if left_out:
        say(f"{left_out} frames left out: all folds trained on them")
    say(f"wrote {workdir / 'evaluation.json'}, evaluation.csv and evaluation.png")


def _choose_positions(
    examples: Examples, judges: Judges, split: str
) -> Int[np.ndarray, " scored"]:
    """Labelled frames that any fold may score; raises `InputError` if there is none."""
    labelled = np.flatnonzero(examples.labelled)
    positions = np.array([i for i in labelled if judges[i]], np.int64)
    if not positions.size:
        raise InputError(
            f"{examples.fingerprint}, split {split}: no frame to score. "
            f"{len(labelled)} of {len(examples)} frames have a mask"
            + (", and every fold was trained on those" * bool(len(labelled)))
        )
    return positions


def _summarise(scored: Scored, rules: Sequence[Rule], gains: dict) -> dict:
    summary = compute_summary(scored, fitted=any_fitted(rules))
    for name, difference in gains.items():
        summary[name] = compute_mean(difference)
        summary["intervals"][name] = compute_mean_interval(difference, scored.groups)
    return summary


def _measure_gains(
    examples: Examples,
    rules: Sequence[Rule],
    scored: Scored,
    positions: np.ndarray,
    judges: Judges,
    predict: Callable[..., Predicted],
    test_flips: bool,
) -> dict[str, np.ndarray]:
    """What mirror images and the average over folds gain, where they were used.

    Each is the Dice of every scored frame minus its Dice without them; for the folds,
    minus the mean Dice of each by itself, and NaN for a frame that only one may score.
    """

    def dice(predicted: Predicted) -> np.ndarray:
        return compute_dice(count_frames(examples, predicted, rules))

    gains = {}
    if test_flips:
        gains["flip_gain"] = compute_dice(scored.counts) - dice(
            predict(judges, flips=False)
        )
    sizes = np.array([len(judges[i]) for i in positions])
    if sizes.max() > 1:
        alone = np.zeros(len(sizes))
        for turn in range(sizes.max()):
            # A frame whose judges have all had their turn is predicted by the last.
            single = [group[turn : turn + 1] or group[-1:] for group in judges]
            alone += np.where(turn < sizes, dice(predict(single)), 0) / sizes
        difference = compute_dice(scored.counts) - alone
        gains["ensemble_gain"] = np.where(sizes > 1, difference, np.nan)
    return gains


def _choose_judges(
    workdir: Path, folds: list[int], examples: Examples, groups: list[str]
) -> Judges:
    """Name the folds that may score each frame: those not trained on it."""
    knows = _find_known(workdir, folds, "train", examples, groups)
    return [
        tuple(fold for fold, known in zip(folds, row, strict=True) if not known)
        for row in knows
    ]


def _choose_rules(
    workdir: Path,
    config: ConfigDict,
    examples: Examples,
    groups: list[str],
    positions: np.ndarray,
) -> list[Rule]:
    """The rule for each frame, fitted without it.

    A frame that a fold has scored is decided by the rule for that fold's frames.
    """
    folds = folder.finished_folds(workdir)
    knows = _find_known(workdir, folds, "val", examples, groups)
    decision = (config.decision.rule, config.decision.threshold)
    general = load_rule(workdir, *decision)
    own = [load_rule(workdir, *decision, fold) for fold in folds]
    return [own[knows[i].index(True)] if any(knows[i]) else general for i in positions]


def _find_known(
    workdir: Path,
    folds: list[int],
    part: str,
    examples: Examples,
    groups: list[str],
) -> list[list[bool]]:
    """Whether each frame is known from a part, "train" or "val", of each fold.

    Known are frames of the same pixels, whatever data set and name they came under,
    and, of data sets that the weights have seen, those of the same group of subjects.
    """
    seen = [load_seen(workdir, fold, part) for fold in folds]
    people = zip(examples.subjects, groups, strict=True)
    return [
        [s.knows(examples.fingerprint, digest, who) for s in seen]
        for digest, who in zip(examples.digests, people, strict=True)
    ]


def _predict_by_judges(
    predictor, members, images, positions, judges, **options
) -> Predicted:
    """Predict frames in groups that share the same folds; rows as in `positions`."""
    probs = np.zeros((len(positions), *images.shape[1:]), np.float32)
    presence = np.zeros(len(positions), np.float32)
    for group in sorted({judges[i] for i in positions}):
        rows = np.array([r for r, i in enumerate(positions) if judges[i] == group])
        chosen = [members[fold] for fold in group]
        found = predictor(chosen, images[positions[rows]], **options)
        probs[rows], presence[rows] = found
    kept = probs.astype(np.float16)  # as folds keep theirs
    return Predicted(positions, kept, presence)
