"""--mode=compare: two runs against each other, frame by frame."""

import numpy as np
from jaxtyping import Float

from nerve_jax.commands.request import Request
from nerve_jax.data.listing import list_some
from nerve_jax.runs import folder
from nerve_jax.runs.score_table import read_scores
from nerve_jax.scoring.intervals import compute_mean_interval
from nerve_jax.scoring.metrics import compute_mean
from nerve_jax.scoring.scores import Scored
from nerve_jax.scoring.summary import compute_frame_measures
from nerve_jax.system.claims import check_folder, claim
from nerve_jax.system.console import say
from nerve_jax.system.errors import InputError
from nerve_jax.system.files import Path, show, write_json

FEWEST_SUBJECTS = 5  # for a verdict


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
    frames of each that the first run names, and a `sentence`.

    Returns:
      The content of compare.json.

    Raises:
      InputError: a run without finished folds, no frame in common, or a frame whose
        truth is not the same in both; or another's file under that name.
    """
    names = ("compare.json",)
    check_folder(workdir, names, flag="--workdir")
    ours, theirs = _read_scores(first), _read_scores(second)
    shared = sorted(set(ours.frames) & set(theirs.frames))
    if not shared:
        raise InputError(_explain_apart({first: ours, second: theirs}))
    num_lonely = len(set(ours.frames) ^ set(theirs.frames))
    ours, theirs = (_in_order(scored, shared) for scored in (ours, theirs))
    other = _find_other_truths(ours, theirs)
    if other:
        raise InputError(
            f"{first} and {second} scored other truths under the same name: "
            f"{show(list_some(other, 8))}. Name two runs of one data set, or train one of "
            "them again with the masks of the other"
        )
    measures = [compute_frame_measures(scored) for scored in (ours, theirs)]
    by_score = {}
    for name in [name for name in measures[0] if name in measures[1]]:
        difference = measures[0][name] - measures[1][name]
        interval = compute_mean_interval(difference, ours.groups)
        mean = compute_mean(difference)
        by_score[name] = {"difference": mean, "interval": interval}
    content = {
        "runs": [str(first), str(second)],
        **by_score["dice"],
        "by_score": by_score,
        "by_scanner": _compare_scanners(
            ours, measures[0]["dice"] - measures[1]["dice"]
        ),
        "num_frames": len(shared),
        "num_subjects": len(set(ours.groups)),
        "num_frames_of_one_run_only": num_lonely,
    }
    content["sentence"] = describe(content)
    claim(workdir, "compare", names, flag="--workdir")
    write_json(workdir / "compare.json", content)
    lines = [
        f"  {name}: {row['difference']:+.3f} Dice on {row['num_frames']} frames"
        for name, row in content["by_scanner"].items()
    ]
    say(content["sentence"], *lines[:20], f"wrote {workdir / 'compare.json'}")
    return content


def _compare_scanners(
    scored: Scored, difference: Float[np.ndarray, " frames"]
) -> dict[str, dict]:
    """The mean difference of each scanner's frames, with its interval, by name."""
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


def describe(content: dict) -> str:
    """Say whether Dice differs by more than the choice of subjects explains."""
    (first, second), difference = content["runs"], content["difference"]
    low, high = content["interval"]
    basis = f"{content['num_frames']} frames of {content['num_subjects']} subject(s)"
    if np.isnan(low):
        return (
            f"{first} minus {second}: {difference:+.3f} Dice on {basis}; one subject "
            "says nothing of others, so there is no interval."
        )
    if content["num_subjects"] < FEWEST_SUBJECTS:
        return (
            f"{first} minus {second}: {difference:+.3f} Dice ({low:+.3f} to {high:+.3f}) "
            f"on {basis}: too few to say whether it would hold for other subjects."
        )
    verb = "can" if low > 0 or high < 0 else "cannot"
    return (
        f"{first} minus {second}: {difference:+.3f} Dice (95 % interval {low:+.3f} to "
        f"{high:+.3f}) on {basis}; it {verb} be distinguished from the chance of which "
        "subjects were scored. What training again with another seed would change is "
        "not in this interval."
    )


def _read_scores(workdir: Path) -> Scored:
    """The table of frames that a run's finished folds scored."""
    folds = folder.finished_folds(workdir)
    tables = [folder.fold_dir(workdir, fold) / "scores.csv" for fold in folds]
    if not tables:
        raise InputError(
            f"{workdir}: no finished fold there to compare; train one to its end"
        )
    folder.check_reported(tables)
    return read_scores(tables)


def _explain_apart(runs: dict[Path, Scored]) -> str:
    """Say what runs without a common frame have scored, and what to do about it."""
    found = [
        f"{workdir} scored {len(scored.frames)} frames, e.g. {show(scored.frames[0])}, of "
        f"fold {', '.join(map(str, folder.finished_folds(workdir)))}"
        for workdir, scored in runs.items()
    ]
    return (
        f"no frame in common: {'; '.join(found)}. Frames are matched by their names: name "
        "two runs of one data set that have finished the same folds"
    )


def _in_order(scored: Scored, frames: list[str]) -> Scored:
    """The rows of some frames, in their order."""
    where = {frame: row for row, frame in enumerate(scored.frames)}
    return scored.select(np.array([where[frame] for frame in frames]))


def _find_other_truths(ours: Scored, theirs: Scored) -> list[str]:
    """Frames whose numbers of nerve pixels, or of pixels, are not the same in both."""
    truths = [
        (scored.counts[:, 0] + scored.counts[:, 2], scored.counts.sum(1))
        for scored in (ours, theirs)
    ]
    differ = (truths[0][0] != truths[1][0]) | (truths[0][1] != truths[1][1])
    return [frame for frame, other in zip(ours.frames, differ, strict=True) if other]
