"""Pictures of frames, truths and predictions, for people to look at."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from nerve_jax.data.examples import Examples
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.metrics import compute_dice, compute_presence
from nerve_jax.scoring.scores import Predicted, Scored

OUTLINE_COLOURS = {"truth": (255, 200, 0), "prediction": (0, 210, 255)}
CELL_PX = (180, 220)  # height and width of one frame in the sheet
GAP_PX, CAPTION_PX = 6, 18
INK, PAPER = (235, 235, 235), (24, 24, 24)

Panel = tuple[
    UInt8[np.ndarray, "_ _"],
    Bool[np.ndarray, "_ _"],
    Bool[np.ndarray, "_ _"],
    str,
]


def outline(
    image: UInt8[np.ndarray, "height width"],
    width_px: int = 1,
    **masks: Bool[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the borders of `truth` (amber) and `prediction` (cyan) over a frame."""
    colour = np.repeat(image[..., None], 3, axis=-1)
    for name, mask in masks.items():
        inner = ndimage.binary_erosion(mask, iterations=width_px, border_value=1)
        colour[mask & ~inner] = OUTLINE_COLOURS[name]
    return colour


def choose_from_worst_to_best(
    dice: Float[np.ndarray, " frames"],
    presence: Bool[np.ndarray, " frames"],
    count: int,
) -> Int[np.ndarray, " chosen"]:
    """Choose frames at even steps from the lowest Dice to the highest.

    Of frames with a nerve where there are any, else of all; at most `count`, fewer
    where there are fewer.
    """
    rows = np.flatnonzero(presence) if presence.any() else np.arange(len(dice))
    ranked = rows[np.argsort(dice[rows], kind="stable")]
    steps = np.linspace(0, len(ranked) - 1, min(count, len(ranked)))
    return ranked[np.rint(steps).astype(int)]


def draw_sheet(frames: Sequence[Panel]) -> UInt8[np.ndarray, "height width 3"]:
    """Draw one column per frame: the input, its truth outlined, its prediction outlined.

    Args:
      frames: (image, truth, pred, caption) at original size, at least one.
    """
    cell_height, cell_width = CELL_PX
    rows = ("input", "truth", "prediction")
    width = GAP_PX + len(frames) * (cell_width + GAP_PX)
    height = CAPTION_PX + len(rows) * (cell_height + CAPTION_PX + GAP_PX)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (image, truth, pred, caption) in enumerate(frames):
        left = GAP_PX + column * (cell_width + GAP_PX)
        pen.text((left, 3), caption, fill=INK)
        thick = max(1, round(max(image.shape) / cell_width))
        drawn = {
            "input": outline(image),
            "truth": outline(image, thick, truth=truth),
            "prediction": outline(image, thick, prediction=pred),
        }
        for row, name in enumerate(rows):
            top = CAPTION_PX + row * (cell_height + CAPTION_PX + GAP_PX)
            pen.text((left, top), name, fill=OUTLINE_COLOURS.get(name, INK))
            picture = Image.fromarray(drawn[name])
            picture.thumbnail((cell_width, cell_height), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left, top + CAPTION_PX))
    return np.asarray(sheet)


def draw_scored(
    examples: Examples,
    predicted: Predicted,
    rules: Sequence[Rule],
    scored: Scored,
    num_frames: int = 6,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw frames from the worst scored to the best; arguments as of `score_frames`."""
    dice, presence = compute_dice(scored.counts), compute_presence(scored.counts)
    columns = []
    for row in map(int, choose_from_worst_to_best(dice, presence, num_frames)):
        position = int(predicted.positions[row])
        pred = predicted.decide(examples, row, rules[row])
        caption = f"{examples.frames[position]}  Dice {dice[row]:.2f}"
        image, truth = examples.original(position), examples.truth(position)
        columns.append((image, truth, pred, caption))
    return draw_sheet(columns)
