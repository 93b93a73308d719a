"""Compare this project's scores with MONAI's on random masks, empty ones among them.

python benchmarks/agree_with_monai.py
"""

import warnings

import numpy as np
import torch
from monai import metrics as monai
from scipy import ndimage

from nerve_jax.scoring.metrics import compute_counts, compute_dice, compute_iou
from nerve_jax.scoring.surface import TOLERANCES_PX, compute_surface_scores

NUM_PAIRS = 500
SIZE = (96, 128)
EMPTY_SHARE = 0.15


def draw_mask(rng: np.random.Generator) -> np.ndarray:
    """A smooth, ragged shape, or none."""
    if rng.random() < EMPTY_SHARE:
        return np.zeros(SIZE, bool)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    noise = ndimage.gaussian_filter(rng.normal(size=SIZE), 5)
    centre = rng.normal(0.5, 0.08, 2) * SIZE
    spread = rng.uniform(150, 500)
    near = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / spread)
    return noise / noise.std() * 0.12 + near > 0.5


def score_here(pred: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The scores as this project gives them."""
    counts = compute_counts(pred, truth)[None]
    scores = {"Dice": compute_dice(counts)[0], "IoU": compute_iou(counts)[0]}
    surface = compute_surface_scores(pred, truth)
    for tolerance in TOLERANCES_PX:
        scores[f"surface Dice, {tolerance} px"] = surface[f"surface_dice_{tolerance}px"]
    return scores | {"HD95, px": surface["hd95_px"], "ASSD, px": surface["assd_px"]}


def score_there(pred: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The scores as MONAI gives them, with empty masks counted."""
    ours, theirs = (
        torch.from_numpy(np.stack([~m, m]))[None].float() for m in (pred, truth)
    )
    foreground = {"include_background": False}
    scores = {
        "Dice": monai.compute_dice(ours, theirs, ignore_empty=False, **foreground),
        "IoU": monai.compute_iou(ours, theirs, ignore_empty=False, **foreground),
    }
    for tolerance in TOLERANCES_PX:
        scores[f"surface Dice, {tolerance} px"] = monai.compute_surface_dice(
            ours, theirs, [float(tolerance)], **foreground
        )
    scores["HD95, px"] = monai.compute_hausdorff_distance(
        ours, theirs, percentile=95, **foreground
    )
    scores["ASSD, px"] = monai.compute_average_surface_distance(
        ours, theirs, symmetric=True, **foreground
    )
    return {name: float(value.reshape(-1)[0]) for name, value in scores.items()}


def main() -> None:
    """Print how far the two agree, with and without empty masks."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    kinds = {"both there": [], "one empty": [], "both empty": []}
    for _ in range(NUM_PAIRS):
        pred, truth = draw_mask(rng), draw_mask(rng)
        kind = ("both empty", "one empty", "both there")[
            int(pred.any()) + int(truth.any())
        ]
        kinds[kind].append((score_here(pred, truth), score_there(pred, truth)))
    pairs = kinds["both there"]
    print(
        f"| {len(pairs)} pairs, both there | mean here | MONAI | mean abs. diff. | max |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name in pairs[0][0]:
        here, there = (np.array([p[i][name] for p in pairs]) for i in (0, 1))
        apart = np.abs(here - there)
        cells = (here.mean(), there.mean(), apart.mean(), apart.max())
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in cells) + " |")
    for kind in ("one empty", "both empty"):
        print(f"\n{len(kinds[kind])} pairs, {kind} (values that occur):")
        for name in pairs[0][0]:
            seen = [
                sorted({f"{p[i][name]:.4g}" for p in kinds[kind]})[:3] for i in (0, 1)
            ]
            print(f"  {name}: here {', '.join(seen[0])}; MONAI {', '.join(seen[1])}")


if __name__ == "__main__":
    main()
