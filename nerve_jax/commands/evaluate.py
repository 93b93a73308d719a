"""--mode=evaluate: scores of a trained run on labelled frames."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.commands.unseen import (
    Averaged,
    Chosen,
    choose_frames,
    predict_unseen,
)
from nerve_jax.data.listing import list_some
from nerve_jax.data.population import Population, find_doubtful, find_people
from nerve_jax.reports.pictures import draw_scored
from nerve_jax.reports.structure import compare_with_readers
from nerve_jax.reports.tables import print_scores
from nerve_jax.runs.config import load_config, override
from nerve_jax.runs.members import load_members
from nerve_jax.runs.score_table import write_scores
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.scoring.metrics import compute_dice, compute_mean
from nerve_jax.scoring.scores import Scored, score_frames
from nerve_jax.scoring.summary import compute_summary
from nerve_jax.system import environment, processes
from nerve_jax.system.claims import check_folder, claim
from nerve_jax.system.console import is_first, say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, write_json, write_png

# What may be set again: which data set is scored, and whose outlines are its truth.
DATA_FIELDS = ("data.name", "data.records_dir", "data.manual_dir", "data.phantom.")
DATA_FIELDS += ("data.reader", "data.readers")
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
      The content of evaluation.json: that of the first structure, with `flip_gain` and
      `ensemble_gain` where mirror images and several folds were used, and `by_structure`
      and `readers` as in report.json. evaluation.csv has one row per frame, and
      evaluation.png shows frames from the worst scored to the best; those of other
      structures are evaluation_NAME.csv and evaluation_NAME.png.

    Raises:
      InputError: no labelled frames there, or all of them were trained on by all folds;
        or another's files under these names.
    """
    processes.share(lambda: check_folder(workdir, FILES, flag="--workdir"))
    trained = load_config(workdir) if trained is None else trained
    names = _name_files(trained.data.structures)
    files = [FILES[0], *itertools.chain(*names.values())]
    processes.share(lambda: check_folder(workdir, files, flag="--workdir"))
    config = override(trained, overrides, (*DATA_FIELDS, "decision."), workdir)
    decision = config.decision
    members = load_members(workdir)
    population = find_people(
        processes.take_turns(lambda: setup.load_frames(config, split, if_there=True))
    )
    examples = population.examples
    chosen = choose_frames(config, workdir, list(members), population, split)
    predicted = predict_unseen(config, members, examples, chosen)
    found = {
        name: _score(config, population, name, chosen, predicted)
        for name in examples.structures
    }
    by_structure = {name: one.content for name, one in found.items() if one}
    first = examples.structures[0]
    if lacking := [name for name in examples.structures if name not in by_structure]:
        say(f"no frame to score is labelled for {list_some(lacking)}")
    if first not in by_structure:
        raise InputError(
            f"{examples.fingerprint}, split {split}: no frame to score is labelled for "
            f"{first}, the first structure of the run"
        )
    content = {
        **by_structure[first],
        "by_structure": by_structure,
        "readers": {n: one.readers for n, one in found.items() if one and one.readers},
        "split": split,
        "dataset": examples.fingerprint,
        "folds": sorted({fold for group in chosen.judges for fold in group}),
        **decision.to_dict(),
        "num_frames_left_out": int(examples.structures_labelled.any(1).sum())
        - len(chosen.positions),
        "num_frames_left_out_by_likeness": chosen.num_alike,
        **environment.describe(),
    }
    if is_first():
        claim(workdir, "evaluate", files, flag="--workdir")
        for name, one in found.items():
            _write(*(workdir / file for file in names[name]), one)
        write_json(workdir / "evaluation.json", content)
    _print(content, workdir)
    return content


class Evaluated(NamedTuple):
    """One structure of the frames that are scored.

    Attributes:
      content: for evaluation.json.
      scored: the table.
      readers: of `compare_readers`; {} where there is one reader alone.
      sheet: pictures of frames, from the worst scored to the best.
    """

    content: dict
    scored: Scored
    readers: dict
    sheet: UInt8[np.ndarray, "height width 3"]


def _write(table: Path, sheet: Path, one: Evaluated | None) -> None:
    """Write the files of a structure; without it, those of a set scored before go."""
    if one:
        write_scores(table, one.scored)
        write_png(sheet, one.sheet)
    else:
        table.unlink(missing_ok=True)
        sheet.unlink(missing_ok=True)


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


def _name_files(structures: Sequence[str]) -> dict[str, list[str]]:
    """Table and sheet of each structure: evaluation.csv, or evaluation_vessel.csv, ..."""
    first, *others = structures
    ends = {first: "", **{name: f"_{name}" for name in others}}
    return {
        name: [f"evaluation{e}.csv", f"evaluation{e}.png"] for name, e in ends.items()
    }


def _score(
    config: ConfigDict,
    population: Population,
    structure: str,
    chosen: Chosen,
    predicted: Averaged,
) -> Evaluated | None:
    """Score a structure; None where no frame is labelled for it."""
    whole, decision = population.examples, config.decision
    place = whole.structures.index(structure)
    population = population._replace(examples=whole.of(structure))
    examples = population.examples
    rows = examples.labelled[chosen.positions]
    if not rows.any():
        return None
    own = predicted.of(place, chosen.positions).select(rows)
    rules = [
        rule for rule, row in zip(chosen.rules[structure], rows, strict=True) if row
    ]
    scored = score_frames(
        examples,
        own,
        rules,
        threshold=decision.threshold,
        groups=population.groups,
        doubtful=set(find_doubtful(population).tolist()),
        spread=processes.spread,
    )
    without = {n: dice[rows, place] for n, dice in predicted.dice_without.items()}
    content = _summarise(scored, without, fitted=decision.rule == "fitted")
    row_of = {frame: row for row, frame in enumerate(scored.frames)}

    def mask_of(frame: str):
        return own.decide(examples, row_of[frame], rules[row_of[frame]])

    readers = compare_with_readers(examples, scored, mask_of)
    return Evaluated(
        content, scored, readers, draw_scored(examples, own, rules, scored)
    )


def _summarise(scored: Scored, dice_without: dict, *, fitted: bool) -> dict:
    """Scores, and what each way gains over the Dice without it."""
    summary, dice = compute_summary(scored, fitted=fitted), compute_dice(scored.counts)
    for name, without in dice_without.items():
        difference = dice - without
        summary[name] = compute_mean(difference)
        summary["intervals"][name] = compute_mean_interval(difference, scored.groups)
    return summary
