"""Pictures of frames, truths and predictions, for people to look at."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from nerve_jax.data.examples import Examples
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.metrics import compute_dice, compute_presence
from nerve_jax.scoring.scores import Predicted, Scored

OUTLINE_COLOURS = {"truth": (255, 200, 0), "prediction": (0, 210, 255)}
# Of structures in turn, after 8 the first again: predictions' cyan in place of sky blue,
# then Okabe & Ito (2008), those first that are brighter than tissue and furthest apart for
# people who see red, green or blue weakly; white in place of black.
STRUCTURE_COLOURS = (
    OUTLINE_COLOURS["prediction"],
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 158, 115),
    (0, 114, 178),
    (230, 159, 0),
    (255, 255, 255),
)
CELL_PX = (180, 220)  # height and width of one frame in the sheet
GAP_PX, CAPTION_PX = 6, 18
LINE_SHARE = 400  # of a frame's longer side, for one of several outlines
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
        colour[_find_border(mask, width_px)] = OUTLINE_COLOURS[name]
    return colour


def _find_border(
    mask: Bool[np.ndarray, "height width"], width_px: int
) -> Bool[np.ndarray, "height width"]:
    """The outermost pixels of a mask, but for those that the frame cuts off."""
    inner = ndimage.binary_erosion(mask, iterations=width_px, border_value=1)
    return mask & ~inner


def outline_structures(
    image: UInt8[np.ndarray, "height width"],
    masks: Mapping[str, Bool[np.ndarray, "height width"]],
) -> UInt8[np.ndarray, "taller width 3"]:
    """Draw the borders of structures over a frame, each in its colour.

    Args:
      image: the frame.
      masks: of each structure, by name. One alone is drawn as a prediction.

    Returns:
      The frame; of several structures with a legend below it. Where borders coincide,
      that of the first structure is seen.
    """
    if len(masks) == 1:
        return outline(image, prediction=next(iter(masks.values())))
    colours = dict(zip(masks, itertools.cycle(STRUCTURE_COLOURS), strict=False))
    drawn = np.repeat(image[..., None], 3, axis=-1)
    width_px = max(1, round(max(image.shape) / LINE_SHARE))
    for name in reversed(masks):
        drawn[_find_border(masks[name], width_px)] = colours[name]
    legend = _draw_legend(colours, image.shape[1])
    return np.concatenate([drawn, legend])


def _draw_legend(
    colours: Mapping[str, tuple[int, int, int]], width: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Names of structures beside their colours, in as many lines as a width needs."""
    size = min(max(width // 36, 10), 28)
    font = ImageFont.load_default(size)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places, left, line = [], size // 2, 0
    for name in colours:
        needed = round(2 * size + pen.textlength(name, font))
        if left + needed > width and left > size // 2:
            left, line = size // 2, line + 1
        places.append((left, round((1.5 * line + 0.25) * size)))
        left += needed
    strip = Image.new("RGB", (width, round(1.5 * (line + 1) * size)), PAPER)
    pen = ImageDraw.Draw(strip)
    for (left, top), (name, colour) in zip(places, colours.items(), strict=True):
        pen.rectangle((left, top, left + size - 1, top + size - 1), fill=colour)
        middle = top + size // 2
        pen.text((left + 1.4 * size, middle), name, INK, font, anchor="lm")
    return np.asarray(strip)


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
