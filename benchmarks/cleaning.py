"""How well names are found that are burned into frames, and how often one is seen
where none is.

    python benchmarks/cleaning.py
    python benchmarks/cleaning.py --clips=FOLDER

Names are written in five fonts, in grey, white, yellow and cyan, in letters of 10 to 32
pixels: over tissue, in still images and in clips, lossless and through JPEG; and beside
the sector, on the screen of a scanner. Frames are those of the phantom and of the clips
of a folder, in which no text may be seen before. Prints a Markdown table.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nerve_jax.data.marks import find_standing_text, find_text, is_marked
from nerve_jax.data.phantom.people import simulate_frames
from nerve_jax.data.sector import blacken, find_box, find_sector

FONTS = Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf"
FONT_NAMES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "",  # Pillow's own
)
NAMES = (
    "Muster, Anna",
    "DOE^JOHN",
    "MRN 0048213",
    "Smith J.",
    "12.03.1961",
    "Wei Zhang",
)
COLOURS = {
    "grey 140": (140, 140, 140),
    "grey 200": (200, 200, 200),
    "white": (255, 255, 255),
    "yellow": (255, 220, 0),
    "cyan": (0, 220, 255),
}
SIZES_PX = (10, 12, 14, 18, 24, 32)
SAMPLES = 32  # of a clip


def burn(
    image: np.ndarray, text: str, place: tuple[int, int], colour, size_px: int, font=""
) -> np.ndarray:
    """Return the image, uint8 [height, width], with text written over it.

    `place` is the left and top of the text, `colour` red, green and blue, of which the
    brightest is kept; `font` is a file of Matplotlib's, "" for Pillow's own font.
    """
    picture = Image.fromarray(image)
    if font:
        face = ImageFont.truetype(str(FONTS / font), size_px)
    else:
        face = ImageFont.load_default(size=size_px)
    ImageDraw.Draw(picture).text(place, text, fill=max(colour), font=face, anchor="lt")
    return np.array(picture)


def draw_screen(
    tissue: np.ndarray, place: tuple[int, int], size: tuple[int, int], name: str
) -> np.ndarray:
    """Return a scanner's screen, uint8 of `size`, with tissue at a top and left.

    A name and a logo at the top, a grey ramp at the left, a depth scale at the right and
    settings beside the sector.
    """
    top, left = place
    bottom, right = top + tissue.shape[0], left + tissue.shape[1]
    picture = Image.new("L", size[::-1], 0)
    pen = ImageDraw.Draw(picture)
    pen.text((8, 4), name, fill=255, font_size=18)
    pen.rectangle((size[1] - 60, 4, size[1] - 10, 24), fill=120)
    for level in range(min(200, size[0] - top)):
        pen.line((left - 40, top + level, left - 25, top + level), fill=255 - level)
    for tick in range(top, bottom, 20):
        pen.line((right + 8, tick, right + 14, tick), fill=255, width=2)
    for row, setting in enumerate(("12L-RS", "Gn 52", "D 4.0 cm", "DR 69")):
        pen.text((right + 20, top + 30 * row), setting, fill=230, font_size=14)
    screen = np.array(picture)
    screen[top:bottom, left:right] = tissue
    return screen


def compress(image: np.ndarray) -> np.ndarray:
    """Return what a JPEG of quality 80 keeps of an image."""
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=80)
    return np.array(Image.open(stored))


def simulate_clips(count: int) -> Iterator[np.ndarray]:
    """Yield clips of the phantom, [12, height, width]: one sweep of each subject."""
    frames = [frame.image for frame in simulate_frames(count, 12, seed=7)]
    for start in range(0, len(frames), 12):
        yield np.stack(frames[start : start + 12])


def read_clips(folder: Path) -> Iterator[np.ndarray]:
    """Yield frames spread over each clip of a folder, [samples, height, width]."""
    import av

    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as container:
            frames = [
                frame.to_ndarray(format="rgb24").max(-1)
                for frame in container.decode(video=0)
            ]
        chosen = np.linspace(0, len(frames) - 1, min(SAMPLES, len(frames)))
        yield np.stack([frames[int(index)] for index in chosen])


def write_over(clip: np.ndarray, sector: np.ndarray, rng, colour) -> np.ndarray:
    """Return the clip with a name at one place inside the sector."""
    top, left, bottom, right = find_box(sector)
    text, size_px = str(rng.choice(NAMES)), int(rng.choice(SIZES_PX))
    width, height = int(0.7 * size_px * len(text)), size_px + 4
    place = (
        int(rng.integers(left + 2, max(right - width, left + 3))),
        int(rng.integers(top + 2, max(bottom - height, top + 3))),
    )
    font = str(rng.choice(FONT_NAMES))
    return np.stack([burn(image, text, place, colour, size_px, font) for image in clip])


def measure(clips: list[np.ndarray], seed: int) -> dict[str, list[float]]:
    """Return shares of frames called marked: without text, then for each colour.

    Each list holds four: stills, stills through JPEG, clips, clips through JPEG.
    """
    rng = np.random.default_rng(seed)
    shares: dict[str, list[list[float]]] = {}
    for clip in clips:
        sector = find_sector(clip)
        for colour in (None, *COLOURS):
            text = clip
            if colour:
                text = write_over(clip, sector, rng, COLOURS[colour])
            row = []
            for frames in (text, np.stack([compress(image) for image in text])):
                standing = find_standing_text(frames, sector)
                row.append(np.mean([find_text(f, sector).any() for f in frames]))
                row.append(np.mean([is_marked(f, sector, standing) for f in frames]))
            shares.setdefault(colour or "none", []).append(
                [row[0], row[2], row[1], row[3]]
            )
    return {colour: list(np.mean(rows, axis=0)) for colour, rows in shares.items()}


def count_leaks(clips: list[np.ndarray]) -> tuple[int, int, float]:
    """Return screens, screens of which a pixel of lettering is left, the lowest IoU."""
    leaks, overlaps = 0, []
    for clip in clips:
        height, width = clip.shape[1:]
        place, size = (60, 80), (height + 120, width + 220)
        truth = np.zeros(size, bool)
        truth[60 : 60 + height, 80 : 80 + width] = True
        for frames in (clip, clip[:1]):
            screens = np.stack([draw_screen(f, place, size, NAMES[0]) for f in frames])
            sector = find_sector(screens)
            kept = blacken(screens[0], sector)
            leaks += bool((kept[~truth] > 40).any())
            overlaps.append((sector & truth).sum() / (sector | truth).sum())
    return len(overlaps), leaks, float(min(overlaps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--people", type=int, default=20, help="of the phantom")
    parser.add_argument("--clips", type=Path, help="a folder of clips without text")
    options = parser.parse_args()
    sources = {"phantom": list(simulate_clips(options.people))}
    if options.clips:
        sources["clips"] = list(read_clips(options.clips))
    print("| frames | text | stills | stills, JPEG | clips | clips, JPEG |")
    print("| --- | --- | --- | --- | --- | --- |")
    for source, clips in sources.items():
        for colour, shares in measure(clips, seed=0).items():
            cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(f"| {source} | {colour} | {cells} |")
    screens, leaks, overlap = count_leaks(sources["phantom"])
    print(
        f"\nScreens: {screens}; with lettering left: {leaks}; lowest IoU {overlap:.3f}"
    )


if __name__ == "__main__":
    main()
