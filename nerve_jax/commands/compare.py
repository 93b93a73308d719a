"""--mode=compare: two runs against each other, frame by frame."""

from collections.abc import Sequence

import numpy as np

from nerve_jax.commands.request import Request
from nerve_jax.runs.paired import (
    Pair,
    explain_apart,
    find_shared,
    is_scored,
    pair_up,
    read_structures,
)
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.scoring.metrics import compute_dice, compute_mean
from nerve_jax.scoring.summary import compute_frame_measures
from nerve_jax.system.claims import check_folder, claim
from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, write_json

FEWEST_SUBJECTS = 5  # for a verdict
LINES = 20  # of a kind, on the terminal


def run(request: Request) -> None:
    """Run the command."""
    if len(request.workdirs) != 2:
        raise InputError(
            f"--workdirs names {len(request.workdirs)} folders, and comparing needs two: "
            "--workdirs=A,B; a path with a comma goes into quotes: --workdirs='\"A,1\",B'"
        )
    compare(*request.folders, request.folder)


def compare(first: Path, second: Path, workdir: Path) -> dict:
    """Compare the out-of-fold scores of two runs on the frames that both scored.

    Differences are first minus second, paired by frame; intervals are over
    subjects (see `intervals`): they contain who was scored, not how the same training
    would vary with its seed. Writes `workdir/compare.json`: `difference` and
    `interval` of Dice, `by_score` of all that both have, `by_scanner` of Dice on the
    frames of each that the first run names, and a `sentence`, all of `structure`: the
    first one of the first run that the second has too, wherever it stands there;
    `by_structure` has the same of every structure that both have scored.

    Returns:
      The content of compare.json.

    Raises:
      InputError: a run without finished folds, no structure or no frame in common, or a
        frame whose truth is not the same in both; or another's file under that name.
    """
    names = ("compare.json",)
    check_folder(workdir, names, flag="--workdir")
    shared = find_shared(first, second)
    pairs = {shared[0]: pair_up(first, second, shared[0])}
    if not pairs[shared[0]].ours.frames:
        raise InputError(explain_apart(first, second, shared[0]))
    for name in shared[1:]:
        if all(is_scored(run, name) for run in (first, second)):
            pairs[name] = pair_up(first, second, name)
    by_structure = {n: _measure(pair) for n, pair in pairs.items() if pair.ours.frames}
    content = {
        "runs": [str(first), str(second)],
        "structure": shared[0],
        **by_structure[shared[0]],
        "by_scanner": _compare_scanners(pairs[shared[0]]),
        "by_structure": by_structure,
    }
    is_only = all(len(read_structures(run)) == 1 for run in (first, second))
    content["sentence"] = describe(content, "" if is_only else shared[0])
    claim(workdir, "compare", names, flag="--workdir")
    write_json(workdir / "compare.json", content)
    say(
        content["sentence"],
        *_list_scanners(content),
        *_list_others(content, shared),
        f"wrote {workdir / 'compare.json'}",
    )
    return content


def _measure(pair: Pair) -> dict:
    """Mean differences in all scores that both have, with their intervals."""
    measures = [compute_frame_measures(scored) for scored in pair[:2]]
    by_score = {}
    for name in [name for name in measures[0] if name in measures[1]]:
        difference = measures[0][name] - measures[1][name]
        interval = compute_mean_interval(difference, pair.ours.groups)
        mean = compute_mean(difference)
        by_score[name] = {"difference": mean, "interval": interval}
    return {
        **by_score["dice"],
        "by_score": by_score,
        "num_frames": len(pair.ours.frames),
        "num_subjects": len(set(pair.ours.groups)),
        "num_frames_of_one_run_only": pair.num_lonely,
    }


def _list_scanners(content: dict) -> list[str]:
    """A line for each scanner, of the first ones."""
    rows = content["by_scanner"].items()
    lines = [
        f"  {name}: {row['difference']:+.3f} Dice on {row['num_frames']} frames"
        for name, row in rows
    ]
    return lines[:LINES]


def _list_others(content: dict, shared: Sequence[str]) -> list[str]:
    """A line for each further structure."""
    lines = []
    for name in shared[1:]:
        row = content["by_structure"].get(name)
        if row is None:
            lines.append(f"  {name}: no frame in common that is labelled for it")
            continue
        low, high = row["interval"]
        interval = "no interval" if np.isnan(low) else f"{low:+.3f} to {high:+.3f}"
        lines.append(
            f"  {name}: {row['difference']:+.3f} Dice ({interval}) on "
            f"{row['num_frames']} frames"
        )
    return lines[:LINES]


def _compare_scanners(pair: Pair) -> dict[str, dict]:
    """The mean difference of Dice on each scanner's frames, with its interval, by name."""
    scored, theirs = pair.ours, pair.theirs
    difference = compute_dice(scored.counts) - compute_dice(theirs.counts)
    scanners, people = np.array(scored.scanners), np.array(scored.groups)
    by_scanner = {}
    for name in sorted(set(scored.scanners) - {""}):
        own = scanners == name
        by_scanner[name] = {
            "difference": compute_mean(difference[own]),
            "interval": compute_mean_interval(difference[own], people[own].tolist()),
            "num_frames": int(own.sum()),
        }
    return by_scanner


def describe(content: dict, structure: str) -> str:
    """Say whether Dice differs by more than the choice of subjects explains.

    Args:
      content: of compare.json.
      structure: whose Dice it is; "" where it is clear.
    """
    (first, second), difference = content["runs"], content["difference"]
    low, high = content["interval"]
    basis = f"of {structure} " if structure else ""
    basis += (
        f"on {content['num_frames']} frames of {content['num_subjects']} subject(s)"
    )
    if np.isnan(low):
        return (
            f"{first} minus {second}: {difference:+.3f} Dice {basis}; one subject "
            "says nothing of others, so there is no interval."
        )
    if content["num_subjects"] < FEWEST_SUBJECTS:
        return (
            f"{first} minus {second}: {difference:+.3f} Dice ({low:+.3f} to {high:+.3f}) "
            f"{basis}: too few to say whether it would hold for other subjects."
        )
    verb = "can" if low > 0 or high < 0 else "cannot"
    return (
        f"{first} minus {second}: {difference:+.3f} Dice (95 % interval {low:+.3f} to "
        f"{high:+.3f}) {basis}; it {verb} be distinguished from the chance of which "
        "subjects were scored. What training again with another seed would change is "
        "not in this interval."
    )
