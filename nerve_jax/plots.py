"""Plots of a report, each an SVG of one panel, so that it reads on a narrow screen."""

import io
import logging
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from nerve_jax.calibration import Reliability

logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)

SIZE_INCHES = (4.2, 3.0)
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nerve_jax",  # the same figure gives the same bytes
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}
BLUE, AMBER, GREY = "#2166ac", "#d98200", "#8a8a8a"


def _create_axes(xlabel: str, ylabel: str):
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _to_svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


@mpl.rc_context(STYLE)
def plot_curves(rows: Sequence[dict], name: str, label: str) -> str:
    """Plot a measure at every evaluation against the step, a line a fold.

    Args:
      rows: of metrics.jsonl.
      name: of the measure in them.
      label: what it is called.
    """
    figure, axes = _create_axes("step", label)
    folds = sorted({row["fold"] for row in rows})
    for fold in folds:
        points = [(r["step"], r[name]) for r in rows if r["fold"] == fold]
        axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=f"fold {fold}")
    if folds:
        axes.legend(frameon=False, fontsize=8)
    return _to_svg(figure)


@mpl.rc_context(STYLE)
def plot_reliability(curves: dict[str, Reliability], what: str) -> str:
    """Plot what came true against what was said; the diagonal is perfect.

    Args:
      curves: one or two, by name.
      what: has the probability, e.g. "pixels".
    """
    figure, axes = _create_axes(f"probability said of {what}", "share that came true")
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    for (name, curve), colour in zip(curves.items(), (BLUE, AMBER), strict=False):
        there = curve.count > 0
        axes.plot(
            curve.said[there], curve.true[there], "o-", ms=3, color=colour, label=name
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8)
    return _to_svg(figure)


@mpl.rc_context(STYLE)
def plot_dice_against_area(
    dice: Float[np.ndarray, " frames"],
    area: Float[np.ndarray, " frames"],
    present: Bool[np.ndarray, " frames"],
) -> str:
    """Plot the Dice of frames that show a nerve against the share that is nerve."""
    figure, axes = _create_axes("nerve, % of the frame", "Dice")
    axes.scatter(100 * area[present], dice[present], s=10, color=BLUE, alpha=0.5, lw=0)
    axes.set(ylim=(-0.03, 1.03))
    return _to_svg(figure)


@mpl.rc_context(STYLE)
def plot_distribution(
    values: Float[np.ndarray, " subjects"], baseline: Float[np.ndarray, " subjects"]
) -> str:
    """Plot how many subjects have which mean Dice, and what predicting nothing gives."""
    figure, axes = _create_axes("mean Dice of a subject", "subjects")
    bins = np.linspace(0, 1, 21)
    axes.hist(values, bins, color=BLUE, alpha=0.85, label="this run")
    options = {"histtype": "step", "color": AMBER, "lw": 1.5}
    axes.hist(baseline, bins, label="predicting nothing", **options)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    return _to_svg(figure)
