"""Plots of a report, each an SVG of one panel, so that it reads on a narrow screen."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from nerve_jax.scoring.calibration import Reliability

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
    """Plot a measure at every evaluation against the step, one line per fold.

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
    """Plot observed against predicted frequencies; the diagonal is perfect.

    Args:
      curves: one or two, by name.
      what: has the probability, e.g. "pixels".
    """
    figure, axes = _create_axes(f"predicted probability, {what}", "observed share")
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    for (name, curve), colour in zip(curves.items(), (BLUE, AMBER), strict=False):
        there = curve.count > 0
        axes.plot(
            curve.predicted[there],
            curve.observed[there],
            "o-",
            ms=3,
            color=colour,
            label=name,
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
    structure: str,
) -> str:
    """Plot the Dice of frames that show a structure against the share that is one."""
    figure, axes = _create_axes(f"{structure}, % of the frame", "Dice")
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


@mpl.rc_context(STYLE)
def plot_history(
    complete: Sequence[tuple[int, float]], pruned: Sequence[tuple[int, float]]
) -> str:
    """Plot the Dice of trials by number, and the best so far of the complete ones."""
    figure, axes = _create_axes("trial", "Dice")
    if pruned:
        numbers, values = zip(*pruned, strict=True)
        axes.scatter(numbers, values, s=22, fc="none", ec=GREY, label="pruned")
    numbers, values = zip(*sorted(complete), strict=True)
    axes.scatter(numbers, values, s=22, color=BLUE, lw=0, label="complete")
    best = np.maximum.accumulate(values)
    axes.step(numbers, best, where="post", color=AMBER, lw=1.5, label="best so far")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    return _to_svg(figure)


@mpl.rc_context(STYLE)
def plot_standing(values: dict[int, float], medians: dict[int, float | None]) -> str:
    """Plot the Dice of one trial by step, and the median of others where there is one."""
    figure, axes = _create_axes("step", "validation Dice")
    axes.plot(*zip(*sorted(values.items()), strict=True), "o-", ms=3, color=BLUE)
    axes.lines[0].set_label("this trial")
    held = {step: value for step, value in medians.items() if value is not None}
    if held:
        others = zip(*sorted(held.items()), strict=True)
        axes.plot(*others, "o--", ms=3, color=AMBER, label="median of the others")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=8)
    return _to_svg(figure)


@mpl.rc_context(STYLE)
def plot_bars(shares: dict[str, float], label: str) -> str:
    """Plot shares by name as bars, the first on top."""
    figure, axes = _create_axes(label, "")
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=BLUE, height=0.7)
    axes.set(xlim=(0, 1.15 * max(shares.values())))
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=False, axis="y")
    return _to_svg(figure)


@mpl.rc_context(STYLE)
def plot_parallel(
    columns: dict[str, Sequence], values: Sequence[float], logarithmic: set[str]
) -> str:
    """Plot one line per trial through its values, each on an axis of its own, to its Dice.

    Args:
      columns: values of each field, numbers or texts.
      values: Dice of each trial.
      logarithmic: names of fields whose axis is logarithmic.
    """
    axes_of = {name: _to_unit(c, name in logarithmic) for name, c in columns.items()}
    axes_of["Dice"] = _to_unit(values, logarithmic=False)
    figure = Figure(figsize=(1.3 * len(axes_of) + 0.8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(axes_of))
    lines = np.array([places_of for places_of, _ in axes_of.values()]).T
    for row in np.argsort(values):
        share = axes_of["Dice"][0][row]
        shade = mpl.colormaps["Blues"](0.25 + 0.75 * share)
        axes.plot(places, lines[row], color=shade, lw=1.0 + share)
    for place, (_, ticks) in zip(places, axes_of.values(), strict=True):
        axes.axvline(place, color=GREY, lw=0.8)
        for height, text in ticks:
            axes.text(place + 0.04, height, text, fontsize=7, va="center")
    labels = [name.rpartition(".")[2] for name in axes_of]
    axes.set_xticks(places, labels, rotation=20, ha="right", fontsize=8)
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.2, len(axes_of) - 0.4))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return _to_svg(figure)


def _to_unit(values: Sequence, logarithmic: bool):
    """Heights of values on an axis from 0 to 1, and (height, text) of its ticks."""
    if isinstance(values[0], str):
        names = sorted(set(values))
        heights = np.linspace(0, 1, len(names)) if len(names) > 1 else np.array([0.5])
        where = dict(zip(names, heights, strict=True))
        return [where[value] for value in values], list(
            zip(heights, names, strict=True)
        )
    numbers = np.log(values) if logarithmic else np.asarray(values, float)
    low, high = numbers.min(), numbers.max()
    ends = [(0.0, f"{min(values):.3g}"), (1.0, f"{max(values):.3g}")]
    return ((numbers - low) / max(high - low, 1e-12)).tolist(), ends
