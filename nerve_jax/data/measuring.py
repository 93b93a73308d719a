"""What a data set is like, in numbers from which a plan follows."""

import numpy as np

from nerve_jax.data import rle
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import find_people
from nerve_jax.system.errors import InputError

SMALL_PERCENTILE = 5  # of mask areas; a nerve so small must still be seen


def measure(examples: Examples) -> dict:
    """Measure frames and their first structure.

    Returns:
      Its name, `structure`; counts of frames, labelled ones and people in these; sizes in
      px; spacing in mm (None where unknown); grey values; the share of labelled frames
      that show the structure, and the share of such a frame that it covers.

    Raises:
      InputError: no frame shows it, or all labelled ones are of one person.
    """
    structure = examples.structures[0]
    present = np.flatnonzero(examples.presence & examples.labelled)
    if not present.size:
        raise InputError(
            f"{examples.fingerprint}: no frame shows {structure}, so its size is not known"
        )
    groups = np.array(find_people(examples).groups)[examples.labelled]
    if len(set(groups)) < 2:
        raise InputError(
            f"{examples.fingerprint}: all labelled frames are of one person, so none is "
            "left to score on. Say who is who in subjects.csv, or add people"
        )
    areas = np.array([rle.count_pixels(examples.truths[i]) for i in present])
    shares = areas / examples.sizes[present].prod(1)
    spacing = np.nanmedian(examples.spacing_mm) if _knows_spacing(examples) else None
    means = examples.thumbnails.mean((1, 2))
    return {
        "structure": structure,
        "num_frames": len(examples),
        "num_labelled": int(examples.labelled.sum()),
        "num_people": len(set(groups)),
        "height_px": _spread(examples.sizes[:, 0]),
        "width_px": _spread(examples.sizes[:, 1]),
        "spacing_mm": None if spacing is None else float(spacing),
        "mean_grey": _spread(means),
        "saturated_share": float(examples.saturated_share.mean()),
        "presence": float(examples.presence[examples.labelled].mean()),
        "nerve_px": _spread(areas),
        "nerve_share": _spread(shares),
    }


def _knows_spacing(examples: Examples) -> bool:
    return bool(np.isfinite(examples.spacing_mm).any())


def _spread(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, [SMALL_PERCENTILE, 50, 95])
    return {"low": float(low), "median": float(middle), "high": float(high)}


def describe(name: str, measured: dict, device: dict) -> str:
    """What was measured of a data set of that name and the devices, in a few lines."""
    height, width = measured["height_px"], measured["width_px"]
    area, grey = measured["nerve_share"], measured["mean_grey"]
    spacing = measured["spacing_mm"]
    return (
        f"{name}: {measured['num_frames']} frames of {measured['num_people']} "
        f"people, {measured['num_labelled']} labelled\n"
        f"  {height['low']:.0f} to {height['high']:.0f} px high, {width['low']:.0f} to "
        f"{width['high']:.0f} wide; spacing "
        + ("unknown" if spacing is None else f"{spacing:.3f} mm")
        + f"\n  mean grey {grey['low']:.0f} to {grey['high']:.0f}, saturated "
        f"{measured['saturated_share']:.2%}; the net standardises each frame\n"
        f"  {measured['structure']} in {measured['presence']:.0%} of labelled frames, covering "
        f"{area['low']:.2%} to {area['high']:.2%}\n"
        f"  {device['count']} x {device['kind']}, {device['memory_bytes'] / 1e9:.0f} GB"
    )
