"""--mode=evaluate: scores of a trained run on labelled frames."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import Population, find_doubtful, find_people
from nerve_jax.model.unet import Params
from nerve_jax.reports.pictures import draw_scored
from nerve_jax.reports.tables import print_scores
from nerve_jax.runs.config import load_config, override
from nerve_jax.runs.judges import choose_judges, choose_rules
from nerve_jax.runs.members import load_members
from nerve_jax.runs.score_table import write_scores
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.scoring.metrics import compute_dice, compute_mean
from nerve_jax.scoring.predictor import Views, average, keep
from nerve_jax.scoring.scores import Predicted, Scored, count_frames, score_frames
from nerve_jax.scoring.summary import compute_summary
from nerve_jax.system import environment, processes
from nerve_jax.system.claims import check_folder, claim
from nerve_jax.system.console import is_first, say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, write_json, write_png

# What may be set again: which data set is scored.
DATA_FIELDS = ("data.name", "data.records_dir", "data.manual_dir", "data.phantom.")
FILES = ("evaluation.json", "evaluation.csv", "evaluation.png")


def run(request: Request) -> None:
    """Run the command."""
    workdir, overrides = request.folder, request.overrides
    trained = load_config(workdir)
    setup.prepare_devices(trained, connected=request.connected)
    other = request.config and request.config.data.name != trained.data.name
    if other and "data.name" not in overrides:
        say(f"{workdir} has its own data set, {trained.data.name}: that one is scored")
    evaluate(workdir, overrides, request.split, trained)


def evaluate(
    workdir: Path, overrides: dict, split: str, trained: ConfigDict | None = None
) -> dict:
    """Score a labelled split; each frame only by folds that were not trained on it.

    A fold counts as trained on a frame when it was trained on one of the same pixels, or
    on one that is like one of the same subject, whatever data set and name that came
    under; and on data sets that it was trained on also when it has seen any frame of the
    same subject, or of one that shares a view. The same holds of the fitted decision.

    Args:
      workdir: of a run with finished folds.
      overrides: fields of the run's configuration to set again, by dotted name:
        `DATA_FIELDS`, to score another data set, and those of "decision". A threshold
        alone asks for the plain decision.
      split: "train" or "test".
      trained: the run's configuration; None reads it.

    Returns:
      The content of evaluation.json, with `flip_gain` and `ensemble_gain` where mirror
      images and several folds were used; evaluation.csv has one row per frame, and
      evaluation.png shows frames from the worst scored to the best.

    Raises:
      InputError: no labelled frames there, or all of them were trained on by all folds;
        or another's files under these names.
    """
    processes.share(lambda: check_folder(workdir, FILES, flag="--workdir"))
    trained = load_config(workdir) if trained is None else trained
    config = override(trained, overrides, (*DATA_FIELDS, "decision."), workdir)
    decision = config.decision
    members = load_members(workdir)
    population = find_people(
        processes.take_turns(lambda: setup.load_frames(config, split))
    )
    examples = population.examples
    chosen = _choose_frames(config, workdir, list(members), population, split)
    predictor = setup.create_predictor_of(config, keep)
    predicted, dice_without = _predict(
        predictor, members, examples, chosen, flips=decision.test_flips
    )
    scored = score_frames(
        examples,
        predicted,
        chosen.rules,
        threshold=decision.threshold,
        groups=population.groups,
        doubtful=set(find_doubtful(population).tolist()),
        spread=processes.spread,
    )
    content = {
        **_summarise(scored, dice_without, fitted=decision.rule == "fitted"),
        "split": split,
        "dataset": examples.fingerprint,
        "folds": sorted({fold for group in chosen.judges for fold in group}),
        **decision.to_dict(),
        "num_frames_left_out": int(examples.labelled.sum()) - len(chosen.positions),
        "num_frames_left_out_by_likeness": chosen.num_alike,
        **environment.describe(),
    }
    if is_first():
        claim(workdir, "evaluate", FILES, flag="--workdir")
        write_scores(workdir / "evaluation.csv", scored)
        sheet = draw_scored(examples, predicted, chosen.rules, scored)
        write_png(workdir / "evaluation.png", sheet)
        write_json(workdir / "evaluation.json", content)
    _print(content, workdir)
    return content


def _print(content: dict, workdir: Path) -> None:
    count, left_out = content["num_frames"], content["num_frames_left_out"]
    title = f"{content['dataset']}, split {content['split']}, {count} frames"
    print_scores(content, title=title)
    if left_out:
        alike = content["num_frames_left_out_by_likeness"]
        say(
            f"{left_out} frames left out: all folds trained on them or on their subjects, "
            f"{alike} of which are known by likeness alone"
        )
    say(f"wrote {workdir / 'evaluation.json'}, evaluation.csv and evaluation.png")


class Chosen(NamedTuple):
    """Frames to be scored.

    Attributes:
      positions: of each, at least one.
      judges: the folds that score each.
      rules: how each is decided.
      num_alike: labelled frames that are left out for their likeness alone.
    """

    positions: Int[np.ndarray, " scored"]
    judges: list[tuple[int, ...]]
    rules: list[Rule]
    num_alike: int


def _choose_frames(
    config: ConfigDict,
    workdir: Path,
    folds: Sequence[int],
    population: Population,
    split: str,
) -> Chosen:
    """Labelled frames that any fold may score; raises `InputError` if there is none."""
    examples, decision = population.examples, config.decision
    judges, alike = choose_judges(workdir, folds, population)
    labelled = np.flatnonzero(examples.labelled)
    positions = np.array([i for i in labelled if judges[i]], np.int64)
    if not positions.size:
        raise InputError(
            f"{examples.fingerprint}, split {split}: no frame to score. "
            f"{len(labelled)} of {len(examples)} frames have a mask"
            + (", and every fold was trained on those" * bool(len(labelled)))
        )
    rules = choose_rules(
        workdir, population, positions, "", decision.rule, decision.threshold
    )
    most = None if decision.ensemble else 1
    return Chosen(
        positions,
        [judges[i][:most] for i in positions],
        rules,
        int((examples.labelled & alike).sum()),
    )


def _summarise(scored: Scored, dice_without: dict, *, fitted: bool) -> dict:
    """Scores, and what each way gains over the Dice without it."""
    summary, dice = compute_summary(scored, fitted=fitted), compute_dice(scored.counts)
    for name, without in dice_without.items():
        difference = dice - without
        summary[name] = compute_mean(difference)
        summary["intervals"][name] = compute_mean_interval(difference, scored.groups)
    return summary


def _predict(
    predictor: Callable,
    members: dict[int, Params],
    examples: Examples,
    chosen: Chosen,
    *,
    flips: bool,
) -> tuple[Predicted, dict[str, np.ndarray]]:
    """Predict frames, and score them without mirror images and by single folds.

    Each of several processes counts the frames that it predicts.

    Returns:
      The average of all views; and the Dice of each frame without, where they were used,
      mirror images ("flip_gain"), and the mean Dice of each fold by itself
      ("ensemble_gain", NaN for a frame that only one may score).
    """
    positions = chosen.positions
    shape = (len(positions), *examples.images.shape[1:])
    whole = Predicted(
        positions, np.zeros(shape, np.float16), np.zeros(shape[0], np.float32)
    )
    without: dict[str, np.ndarray] = {}
    for group, rows in _list_groups(chosen.judges):
        judges = [members[fold] for fold in group]
        use = _make_use(examples, chosen, rows, _list_parts(len(group), flips))
        found = predictor(judges, examples.images[positions[rows]], use)
        whole.probs[rows], whole.presence_probs[rows], counts = found
        for name, of_parts in counts.items():
            dice = [compute_dice(part) for part in of_parts.swapaxes(0, 1)]
            without.setdefault(name, np.full(len(positions), np.nan))
            without[name][rows] = np.mean(dice, axis=0)
    return whole, without


def _make_use(
    examples: Examples,
    chosen: Chosen,
    rows: Int[np.ndarray, " group"],
    parts: dict[str, list[list[int]]],
) -> Callable:
    """Return what `predict_probs` keeps of rows: averages, and counts [frames parts 4]."""

    def use(own, probs, presence_probs):
        views, at = Views(probs, presence_probs), rows[own]
        rules = [chosen.rules[row] for row in at]

        def count(part: list[int]):
            seen = Predicted(chosen.positions[at], *average(views.choose(part)))
            return count_frames(examples, seen, rules)

        counts = {n: np.stack([count(p) for p in each], 1) for n, each in parts.items()}
        return *average(views), counts

    return use


def _list_groups(
    judges: Sequence[tuple[int, ...]],
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Rows of frames that the same folds may score."""
    for group in sorted(set(judges)):
        yield group, np.flatnonzero([own == group for own in judges])


def _list_parts(num_folds: int, flips: bool) -> dict[str, list[list[int]]]:
    """The views to score apart, by the gain that they are for."""
    ways = 2 if flips else 1
    views = range(num_folds * ways)
    parts = {"flip_gain": [list(views[::2])]} if flips else {}
    if num_folds > 1:
        folds = [list(views[i : i + ways]) for i in views[::ways]]
        parts["ensemble_gain"] = folds
    return parts
