"""How often intervals over subjects cover the truth, and on which side they miss.

Draws cohorts of 5, 9, 20 and 47 people whose truth is known: with replacement from the
people of finished runs, and from two made up in which 15 % of people are hard and
presence differs from person to person as on Kaggle's frames (20 or 120 frames each).
Compares the intervals of `nerve_jax/scoring/intervals.py` with others. A cohort in which
fewer than two people have a value is not counted; an interval that can't be computed
covers nothing. A cell that the table has is not simulated again: the same command goes
on where it was stopped.

    python benchmarks/coverage.py --workdirs=runs/cv,runs/usgra
    python benchmarks/coverage.py --trials=50 --output=quick.csv
"""

import argparse
import csv
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from results import print_result
from scipy import stats

from nerve_jax.runs.score_table import read_scores
from nerve_jax.scoring import intervals
from nerve_jax.scoring.metrics import compute_dice
from nerve_jax.scoring.summary import compute_frame_measures

PEOPLE = (5, 9, 20, 47)
SCORES = (
    *("dice", "dice_nerve_present", "presence_sensitivity", "presence_specificity"),
    "surface_dice",
)
OTHERS = ("gain", "hd95_px")  # not in [0, 1]
NUM_RESAMPLES = 1000
FIELDS = (
    "cohort,measure,truth,people,method,trials,coverage,truth_below,truth_above,width"
)

# Sum and number of frames of each person; people without any have 0 and 0.
Totals = tuple[np.ndarray, np.ndarray]
Bounds = tuple[float, float]


def read_people(workdir: Path) -> dict[str, Totals]:
    """The people of a run's finished folds, by measure."""
    scored = read_scores(sorted(workdir.glob("fold_*/scores.csv")))
    values = compute_frame_measures(scored)
    values["gain"] = compute_dice(scored.counts) - scored.dice_at_threshold
    names, person = np.unique(scored.groups, return_inverse=True)
    found = {}
    for name in (*SCORES, *OTHERS):
        counts = np.bincount(person, ~np.isnan(values[name]), len(names))
        sums = np.bincount(person, np.nan_to_num(values[name]), len(names))
        if len(np.unique(sums[counts > 0] / counts[counts > 0])) > 1:
            found[name] = sums, counts
    return found


def make_people(num_frames: int, num_people: int = 20_000) -> dict[str, Totals]:
    """People of whom 15 % are hard, by measure."""
    rng = np.random.default_rng(0)
    hard = rng.random(num_people) < 0.15

    def draw(of_hard: tuple[int, int], of_others: tuple[int, int]) -> np.ndarray:
        return np.where(
            hard, rng.beta(*of_hard, num_people), rng.beta(*of_others, num_people)
        )

    share = np.clip(rng.beta(1.6, 2.3, num_people), 0.017, 0.89)
    present = rng.binomial(num_frames, share).astype(float)
    absent = num_frames - present
    found = rng.binomial(present.astype(int), draw((6, 4), (60, 2))).astype(float)
    empty = rng.binomial(absent.astype(int), draw((6, 5), (60, 2))).astype(float)
    dice = found * draw((4, 6), (24, 4))
    return {
        "dice": (dice + empty, present + absent),
        "dice_nerve_present": (dice, present),
        "presence_sensitivity": (found, present),
        "presence_specificity": (empty, absent),
    }


# Methods: from a cohort's totals to bounds.


def resample(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of bootstrap cohorts, and how often each person is in each."""
    size = len(sums)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(size, np.full(size, 1 / size), NUM_RESAMPLES).astype(float)
    return drawn @ sums / (drawn @ counts), drawn


def expanded_percentile(sums: np.ndarray, counts: np.ndarray) -> Bounds:
    """Percentiles as far out as t is wider than normal (Hesterberg 2015)."""
    tail = stats.norm.cdf(-_reach(len(sums)))
    low, high = np.quantile(resample(sums, counts)[0], [tail, 1 - tail])
    return low, high


def bca(sums: np.ndarray, counts: np.ndarray) -> Bounds:
    """Expanded percentiles, corrected for bias and acceleration (Efron 1987)."""
    means, _ = resample(sums, counts)
    mean = sums.sum() / counts.sum()
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    skew = left_out.mean() - left_out
    rate = (skew**3).sum() / (6 * max((skew**2).sum(), 1e-30) ** 1.5)
    lower = ((means < mean).mean() + (means <= mean).mean()) / 2
    bias = stats.norm.ppf(np.clip(lower, 1e-4, 1 - 1e-4))
    z = bias + np.array([-1, 1]) * _reach(len(sums))
    tails = stats.norm.cdf(bias + z / np.maximum(1 - rate * z, 1e-9))
    low, high = np.quantile(means, tails)
    return low, high


def studentised_logit(sums: np.ndarray, counts: np.ndarray) -> Bounds:
    """Bootstrap-t on the logit scale, with the linearised variance of a ratio."""
    means, drawn = resample(sums, counts)
    mean = sums.sum() / counts.sum()
    squares = drawn @ sums**2 - 2 * means * (drawn @ (sums * counts))
    squares = np.maximum(squares + means**2 * (drawn @ counts**2), 0)
    errors = np.sqrt(squares) / (drawn @ counts) / (means * (1 - means))
    error = np.sqrt(((sums - mean * counts) ** 2).sum()) / counts.sum()
    error /= mean * (1 - mean)
    t = (_logit(means) - _logit(mean)) / errors
    t = t[np.isfinite(t)]
    if not np.isfinite(error) or len(t) < NUM_RESAMPLES / 20:
        return np.nan, np.nan
    low, high = _logit(mean) - np.quantile(t, [0.975, 0.025]) * error
    return 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))


def raised_by(hidden: float) -> Callable[[np.ndarray, np.ndarray], Bounds]:
    """The interval of a score, with another share of the largest variance."""
    return lambda *totals: intervals.score_interval_of_people(*totals, hidden=hidden)


def t_clipped(sums: np.ndarray, counts: np.ndarray) -> Bounds:
    """The t-interval, within [0, 1]."""
    low, high = np.clip(intervals.mean_interval_of_people(sums, counts), 0, 1)
    return low, high


BOOTSTRAPS = {"expanded percentile": expanded_percentile, "BCa": bca}
OF_SCORES = BOOTSTRAPS | {
    "studentised, logit": studentised_logit,
    "t": t_clipped,
    "score, hidden 0": raised_by(0),
    "score, hidden 1/8": raised_by(1 / 8),
    "score": intervals.score_interval_of_people,
    "score, hidden 1/2": raised_by(1 / 2),
}
OF_OTHERS = BOOTSTRAPS | {"mean": intervals.mean_interval_of_people}


def _reach(people: int) -> float:
    return stats.t.ppf(0.975, people - 1) * np.sqrt(people / (people - 1))


def _logit(share: np.ndarray) -> np.ndarray:
    return np.log(share) - np.log1p(-share)


# Simulation.


def draw_cohorts(
    totals: Totals, people: int, trials: int, seed: list[int]
) -> Iterator[Totals]:
    """Cohorts in which at least two people have a value, without those who have none."""
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        rows = rng.integers(len(totals[0]), size=people)
        rows = rows[totals[1][rows] > 0]
        if len(rows) > 1:
            yield totals[0][rows], totals[1][rows]


def simulate(
    totals: Totals, methods: dict[str, Callable], people: int, trials: int, seed
) -> Iterator[dict]:
    """One row per method, all on the same cohorts."""
    truth = totals[0].sum() / totals[1].sum()
    cohorts = list(draw_cohorts(totals, people, trials, seed))
    for name, method in methods.items():
        with np.errstate(all="ignore"):
            low, high = np.array([method(*cohort) for cohort in cohorts]).T
        below, above = truth < low - 1e-9, truth > high + 1e-9
        yield {
            "truth": f"{truth:.4f}",
            "people": people,
            "method": name,
            "trials": len(cohorts),
            "coverage": f"{(~below & ~above & ~np.isnan(low)).mean():.4f}",
            "truth_below": f"{below.mean():.4f}",
            "truth_above": f"{above.mean():.4f}",
            "width": f"{np.nanmean(high - low):.4f}",
        }


def read_table(path: Path) -> list[dict]:
    """The rows that are there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill_table(path: Path, cohorts: dict, trials: int) -> list[dict]:
    """Simulate what the table lacks, and write it cell by cell."""
    rows = read_table(path)
    done = {(row["cohort"], row["measure"], int(row["people"])) for row in rows}
    measures = (*SCORES, *OTHERS)
    for cohort, measure, people in itertools.product(cohorts, measures, PEOPLE):
        key = cohort, measure, people
        if key in done or measure not in cohorts[cohort]:
            continue
        methods = OF_SCORES if measure in SCORES else OF_OTHERS
        seed = [people, measures.index(measure)]
        totals = cohorts[cohort][measure]
        for row in simulate(totals, methods, people, trials, seed):
            rows.append({"cohort": cohort, "measure": measure} | row)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS.split(","), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return rows


def summarise(rows: list[dict]) -> list[dict]:
    """Over cohorts and measures: by kind of measure, people and method."""
    found = []
    for kind, methods in ((SCORES[:4], OF_SCORES), (OTHERS, OF_OTHERS)):
        for people, method in itertools.product(PEOPLE, methods):
            of = [
                row
                for row in rows
                if (int(row["people"]), row["method"]) == (people, method)
                and row["measure"] in kind
            ]
            columns = {
                key: np.array([float(row[key]) for row in of])
                for key in ("coverage", "truth_below", "truth_above", "width")
            }
            if of:
                means = {key: float(c.mean()) for key, c in columns.items()}
                lowest = {"lowest": float(columns["coverage"].min())}
                found.append({"people": people, "method": method} | means | lowest)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workdirs", default="", help="runs, separated by commas")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path("coverage.csv"))
    args = parser.parse_args()
    runs = [Path(name) for name in args.workdirs.split(",") if name]
    cohorts = {run.name: read_people(run) for run in runs}
    cohorts |= {f"hard, {count} frames": make_people(count) for count in (20, 120)}
    found = summarise(fill_table(args.output, cohorts, args.trials))
    for row in found:
        print(
            f"{row['people']:3d} people, {row['method']:20s} covers "
            f"{row['coverage']:.3f} (lowest {row['lowest']:.3f}), truth below "
            f"{row['truth_below']:.3f}, above {row['truth_above']:.3f}, width "
            f"{row['width']:.3f}"
        )
    print_result(trials=args.trials, summary=found)


if __name__ == "__main__":
    main()
