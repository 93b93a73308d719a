"""Pictures of frames, truths and predictions, for people to look at."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw

from nerve_jax.frames import OUTLINE_COLOURS, outline

CELL_PX = (180, 220)  # height and width of one frame in the sheet
GAP_PX, CAPTION_PX = 6, 18
INK, PAPER = (235, 235, 235), (24, 24, 24)

Frame = tuple[
    UInt8[np.ndarray, "_ _"],
    Bool[np.ndarray, "_ _"],
    Bool[np.ndarray, "_ _"],
    str,
]


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


def draw_sheet(frames: Sequence[Frame]) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a column a frame: the input, its truth outlined, its prediction outlined.

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
