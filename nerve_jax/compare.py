"""Two runs against each other, frame by frame: the command `--mode=compare`."""

from pathlib import Path

import numpy as np

from nerve_jax import workdirs
from nerve_jax.errors import InputError
from nerve_jax.files import write_json
from nerve_jax.intervals import bootstrap_mean
from nerve_jax.metrics import compute_frame_scores
from nerve_jax.scores import read_scores


def compare(first: Path, second: Path, workdir: Path) -> dict:
    """Compare the out-of-fold scores of two runs on the frames that both scored.

    Differences are first minus second, paired by frame; intervals come from drawing
    subjects (see `intervals`). Writes `workdir/compare.json`: `difference` and
    `interval` of Dice, `by_score` of the others too, and a `sentence`.

    Returns:
      The content of compare.json.

    Raises:
      InputError: a run without finished folds, no frame in common, or a frame whose
        truth is not the same in both.
    """
    ours, theirs = _read_frames(first), _read_frames(second)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise InputError(f"{first} and {second} have scored no frame in common")
    counts = [np.array([rows[f][0] for f in shared]) for rows in (ours, theirs)]
    other = [
        f for f, a, b in zip(shared, *counts, strict=True) if not _same_truth(a, b)
    ]
    if other:
        raise InputError(
            f"{first} and {second} scored other truths under the same name: "
            f"{', '.join(other[:8])}"
        )
    subjects = [ours[f][1] for f in shared]
    scores = [compute_frame_scores(c) for c in counts]
    by_score = {}
    for name in scores[0]:
        difference = scores[0][name] - scores[1][name]
        interval = bootstrap_mean(difference, subjects)
        defined = difference[~np.isnan(difference)]
        mean = float(defined.mean()) if defined.size else float("nan")
        by_score[name] = {"difference": mean, "interval": interval}
    content = {
        "runs": [str(first), str(second)],
        **by_score["dice"],
        "by_score": by_score,
        "num_frames": len(shared),
        "num_subjects": len(set(subjects)),
        "num_frames_of_one_run_only": len(ours.keys() ^ theirs.keys()),
    }
    content["sentence"] = describe(content)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "compare.json", content)
    print(content["sentence"])
    print(f"wrote {workdir / 'compare.json'}")
    return content


def describe(content: dict) -> str:
    """Say in a sentence whether the difference in Dice can be told from noise."""
    (first, second), difference = content["runs"], content["difference"]
    low, high = content["interval"]
    basis = f"{content['num_frames']} frames of {content['num_subjects']} subjects"
    if np.isnan(low):
        return (
            f"{first} minus {second}: {difference:+.3f} Dice on {basis}; one subject "
            "says nothing of others, so there is no interval."
        )
    told = "can" if low > 0 or high < 0 else "cannot"
    return (
        f"{first} minus {second}: {difference:+.3f} Dice (95 % interval {low:+.3f} to "
        f"{high:+.3f}) on {basis}; it {told} be told from noise."
    )


def _read_frames(workdir: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Counts and subject of each frame that a run's finished folds scored."""
    folds = workdirs.finished_folds(workdir)
    if not folds:
        raise InputError(f"{workdir}: no finished fold there to compare")
    scored = read_scores(
        [workdirs.fold_dir(workdir, fold) / "scores.csv" for fold in folds]
    )
    rows = zip(scored.counts, scored.subjects, strict=True)
    return dict(zip(scored.frames, rows, strict=True))


def _same_truth(ours, theirs) -> bool:
    """Whether two counts (tp, fp, fn, tn) are of the same number of nerve pixels."""
    same = ours[0] + ours[2] == theirs[0] + theirs[2] and sum(ours) == sum(theirs)
    return bool(same)
