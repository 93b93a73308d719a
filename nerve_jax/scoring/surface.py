"""Distances between outlines, by DeepMind's surface-distance.

Published tools disagree on these measures: on what the outline of a mask is (here the
line between its pixels and the others, which runs through pixels' corners), on how
"average" and "95th percentile" pool both directions, and on empty masks. What is meant
is defined below.
"""

import numpy as np
import surface_distance
from jaxtyping import Bool, Float

TOLERANCES_PX = (2, 5, 10)
TOLERANCES_MM = (0.5, 1.0)


def compute_surface_scores(
    pred: Bool[np.ndarray, "height width"],
    truth: Bool[np.ndarray, "height width"],
    spacing_mm: Float[np.ndarray, "2"] | None = None,
) -> dict[str, float]:
    """Compare two outlines, in pixels and, where a pixel's size is known, millimetres.

    Args:
      pred: the predicted mask.
      truth: the mask it is held against.
      spacing_mm: height and width of a pixel; None or NaN where unknown.

    Returns:
      `surface_dice_2px`, `_5px`, `_10px`: share of both outlines that lies within the
      tolerance of the other one, in [0, 1] (Nikolov et al. 2018, arXiv:1809.04430); 1
      where both masks are empty, 0 where one is.
      `hd95_px`: the larger of both directions' 95th percentiles of the distance from
      one outline to the other (robust Hausdorff distance: Huttenlocher et al. 1993).
      `assd_px`: mean distance from an outline to the other one over both (average
      symmetric surface distance: Heimann et al. 2009); each weighs by its length.
      Both distances are NaN where either mask is empty, for there is none to measure.
      The same in mm as `surface_dice_0.5mm`, `_1mm`, `hd95_mm` and `assd_mm`; all NaN
      where the spacing is unknown.
    """
    scores = _compare(pred, truth, (1.0, 1.0), "px", TOLERANCES_PX)
    known = spacing_mm is not None and not np.isnan(spacing_mm).any()
    if not known:
        nothing = {f"surface_dice_{mm:g}mm": np.nan for mm in TOLERANCES_MM}
        return scores | nothing | {"hd95_mm": np.nan, "assd_mm": np.nan}
    spacing = tuple(map(float, spacing_mm))
    return scores | _compare(pred, truth, spacing, "mm", TOLERANCES_MM)


def _compare(pred, truth, spacing, unit, tolerances) -> dict[str, float]:
    names = [f"surface_dice_{tolerance:g}{unit}" for tolerance in tolerances]
    if not (pred.any() and truth.any()):
        alike = 1.0 if pred.any() == truth.any() else 0.0
        missing = {f"hd95_{unit}": np.nan, f"assd_{unit}": np.nan}
        return dict.fromkeys(names, alike) | missing
    found = surface_distance.compute_surface_distances(truth, pred, spacing)
    near = surface_distance.compute_surface_dice_at_tolerance
    scores = {
        name: float(near(found, tolerance))
        for name, tolerance in zip(names, tolerances, strict=True)
    }
    scores[f"hd95_{unit}"] = float(
        surface_distance.compute_robust_hausdorff(found, 95.0)
    )
    lengths = np.concatenate([found["surfel_areas_gt"], found["surfel_areas_pred"]])
    distances = np.concatenate(
        [found["distances_gt_to_pred"], found["distances_pred_to_gt"]]
    )
    scores[f"assd_{unit}"] = float((lengths * distances).sum() / lengths.sum())
    return scores
