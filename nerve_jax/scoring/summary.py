"""What a report says of scored frames: means, intervals over subjects, gains."""

import numpy as np
from jaxtyping import Float
from sklearn.metrics import roc_auc_score

from nerve_jax.scoring.intervals import (
    compute_auroc_interval,
    compute_mean_interval,
    compute_score_interval,
)
from nerve_jax.scoring.metrics import (
    compute_dice,
    compute_frame_scores,
    compute_mean,
    compute_presence,
    compute_scores,
)
from nerve_jax.scoring.scores import Scored

UNKNOWN = "unknown"  # frames without a scanner, where others have one
DISTANCES = ("hd95", "assd")  # what their names begin with; all others are in [0, 1]


def compute_frame_measures(scored: Scored) -> dict[str, Float[np.ndarray, " frames"]]:
    """Every score that a frame has by itself; NaN where it is not defined.

    `surface_dice` is the one within 5 px.
    """
    others = {
        "dice_at_threshold": scored.dice_at_threshold,
        "surface_dice": scored.surface["surface_dice_5px"],
    }
    return compute_frame_scores(scored.counts) | others | scored.surface


def summarise(scored: Scored) -> dict:
    """Mean scores of frames; one that is defined nowhere is NaN.

    Returns:
      The scores of `compute_scores` and the means of `compute_frame_measures`, each
      over the frames in which it is defined: of `num_frames_with_distances` for HD95
      and ASSD; `presence_auroc`, of the presence probability
      (Mann & Whitney 1947; NaN unless frames with and without a nerve are there).
    """
    present = compute_presence(scored.counts)
    mixed = 0 < present.sum() < len(present)
    measures = compute_frame_measures(scored)
    in_mm = scored.surface["surface_dice_1mm"]
    return {
        **compute_scores(scored.counts),
        **{name: compute_mean(values) for name, values in measures.items()},
        **{
            f"{name}_empty_baseline": compute_mean(
                np.where(np.isnan(values), np.nan, ~present)
            )
            for name, values in measures.items()
            if name.startswith("surface_dice")
        },
        "num_frames_with_spacing": int((~np.isnan(in_mm)).sum()),
        "num_frames_with_distances": int((~np.isnan(scored.surface["hd95_px"])).sum()),
        "presence_auroc": float(roc_auc_score(present, scored.presence_probs))
        if mixed
        else float("nan"),
    }


def compute_summary(scored: Scored, *, fitted: bool) -> dict:
    """Everything a report says of scored frames, from their table alone.

    Args:
      scored: the table.
      fitted: whether the rules were fitted, even if none of their parts was taken.

    Returns:
      The means of `summarise`; `intervals`, 95 % over subjects;
      `by_subject`, a person's own means; `by_scanner` of `summarise_scanners`; `num_subjects`; `decision_gain`, the Dice that
      the fitted rules gain over the plain threshold (NaN if none were fitted), with its
      interval, and the same over frames with a nerve and without; `cleaned`, means and
      intervals without the frames whose label is doubtful.
    """
    gains = _compute_decision_gains(scored)
    people = sorted(set(scored.subjects))
    of_person = {p: np.array(scored.subjects) == p for p in people}
    cleaned = scored.select(~scored.doubtful)
    intervals = compute_intervals(scored)
    if fitted:
        for name, gain in gains.items():
            intervals[name] = compute_mean_interval(gain, scored.groups)
    return {
        **summarise(scored),
        **{
            name: compute_mean(gain) if fitted else float("nan")
            for name, gain in gains.items()
        },
        "intervals": intervals,
        "num_subjects": len(people),
        "cleaned": summarise(cleaned) | {"intervals": compute_intervals(cleaned)},
        "by_subject": {
            person: summarise(scored.select(rows)) for person, rows in of_person.items()
        },
        "by_scanner": summarise_scanners(scored),
    }


def summarise_scanners(scored: Scored) -> dict[str, dict]:
    """Scores of the frames of each scanner, in order of names.

    Returns:
      By scanner the means of `summarise`, `intervals` and `num_subjects`; those of frames
      without one as `UNKNOWN`; nothing where no frame names one.
    """
    if not any(scored.scanners):
        return {}
    names = np.array([name or UNKNOWN for name in scored.scanners])
    found = {}
    for name in np.unique(names).tolist():
        own = scored.select(names == name)
        found[name] = {
            **summarise(own),
            "intervals": compute_intervals(own),
            "num_subjects": len(set(own.subjects)),
        }
    return found


def _compute_decision_gains(scored: Scored) -> dict[str, Float[np.ndarray, " frames"]]:
    gain = compute_dice(scored.counts) - scored.dice_at_threshold
    present = compute_presence(scored.counts)
    return {
        "decision_gain": gain,
        "decision_gain_with_nerve": np.where(present, gain, np.nan),
        "decision_gain_without_nerve": np.where(present, np.nan, gain),
    }


def compute_intervals(scored: Scored) -> dict[str, tuple[float, float]]:
    """95 % intervals over subjects: scores within [0, 1], distances from 0 up."""
    people, found = scored.groups, {}
    for name, values in compute_frame_measures(scored).items():
        if name.startswith(DISTANCES):
            low, high = compute_mean_interval(values, people)
            found[name] = float(np.maximum(low, 0)), high  # NaN stays NaN
        else:
            found[name] = compute_score_interval(values, people)
    present = compute_presence(scored.counts)
    found["presence_auroc"] = compute_auroc_interval(
        present, scored.presence_probs, people
    )
    return found
