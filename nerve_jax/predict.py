"""From frames to probabilities, and from a folder of frames to masks and a table."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from rich.progress import track

from nerve_jax import rle
from nerve_jax.batches import padded_batches
from nerve_jax.decide import Rule
from nerve_jax.errors import InputError, RunError
from nerve_jax.examples import resize_image
from nerve_jax.files import read_table, show, write_png, write_table
from nerve_jax.frames import (
    IMAGE_SUFFIXES,
    outline,
    read_file,
    read_image,
    read_mask,
)
from nerve_jax.models import Params

FRAMES_IN_MEMORY, PIXELS_IN_MEMORY = 64, 64_000_000
Probs = Float[np.ndarray, "frames height width"]
PresenceProbs = Float[np.ndarray, " frames"]


def make_predict_batch(apply: Callable) -> Callable:
    """Return `predict_batch(params, images uint8 [b h w]) -> (probs, presence_probs)`.

    Both float32, [batch height width] and [batch]. Without a presence head the largest
    probability of a pixel stands for presence.
    """

    def predict_batch(params: Params, images: UInt8[Array, "batch height width"]):
        outputs = apply(params, images.astype(jnp.float32)[..., None] / 255.0)
        probs = jax.nn.sigmoid(outputs.logits[..., 0])
        if outputs.presence_logits is None:
            return probs, probs.max((1, 2))
        return probs, jax.nn.sigmoid(outputs.presence_logits)

    return predict_batch


def predict_probs(
    predict_batch: Callable,
    members: Sequence[Params],
    images: UInt8[np.ndarray, "frames height width"],
    *,
    batch_size: int,
    flips: bool,
) -> tuple[Probs, PresenceProbs]:
    """Predict frames with every member and average.

    Args:
      predict_batch: compiled `make_predict_batch`.
      members: parameters of one fold or more.
      images: at training size.
      batch_size: frames at a time; the last batch is filled up.
      flips: average over each frame and its mirror image, left for right.

    Returns:
      Probabilities of nerve at training size and of presence, float32.
    """
    probs = np.zeros(images.shape, np.float32)
    presence = np.zeros(len(images), np.float32)
    ways = (1, -1) if flips else (1,)
    share = 1 / (len(members) * len(ways))
    for params, way in itertools.product(members, ways):
        for places, real in padded_batches(len(images), batch_size):
            batch = predict_batch(
                params, np.ascontiguousarray(images[places, :, ::way])
            )
            found, found_presence = jax.device_get(batch)
            probs[places[real]] += found[real][..., ::way] * share
            presence[places[real]] += found_presence[real] * share
    return probs, presence


def predict_folder(
    input_dir: Path,
    output_dir: Path,
    predict_images: Callable[[np.ndarray], tuple[Probs, PresenceProbs]],
    *,
    image_size: tuple[int, int],
    submission: bool,
    rule: Rule,
) -> int:
    """Segment every frame of a folder.

    Writes `masks/<stem>.png` (0 or 255, the frame's own size), `overlays/<stem>.png`,
    `predictions.csv` and, if asked, `submission.csv`. A frame that cannot be read is
    listed in `errors.csv` and keeps none of the others from being done.

    Args:
      input_dir: folder of PNG, TIFF, JPEG or BMP frames.
      output_dir: made if it is not there.
      predict_images: frames at training size -> probabilities.
      image_size: training height and width.
      submission: write the Kaggle file too.
      rule: makes a mask of probabilities.

    Returns:
      How many frames were done.

    Raises:
      InputError: no frames there.
      RunError: some frames could not be read, or would share another's mask file; all
        others are done.
    """
    paths = list_frames(input_dir)
    for folder in ("masks", "overlays"):
        (output_dir / folder).mkdir(parents=True, exist_ok=True)
    rows, errors = [], []
    for readable in _read_in_chunks(paths, errors):
        small = np.stack([resize_image(image, image_size) for _, image in readable])
        for (path, image), probs, presence in zip(
            readable, *predict_images(small), strict=True
        ):
            pred = rule.mask(probs, float(presence), image.shape)
            present = rule.presence(probs, float(presence))
            rows.append(_write_frame(output_dir, path, image, pred, present))
    write_table(
        output_dir / "predictions.csv",
        ("frame", "presence", "area", "probability"),
        [(show(row[0]), *row[1:-1]) for row in rows],
    )
    if submission:
        runs = {row[0]: row[-1] for row in rows}
        write_submission(output_dir / "submission.csv", runs, output_dir / "masks")
    if errors:
        write_table(output_dir / "errors.csv", ("file", "error"), errors)
        listing = "\n".join(f"  - {name}: {error}" for name, error in errors)
        raise RunError(
            f"{len(errors)} of {len(paths)} frames could not be read; the others are "
            f"done:\n{listing}\nListed in {output_dir / 'errors.csv'}"
        )
    (output_dir / "errors.csv").unlink(missing_ok=True)
    return len(rows)


def list_frames(input_dir: Path) -> list[Path]:
    """Frames of a folder, or of its images/, in order of name; numbers by value."""
    folder = input_dir / "images" if (input_dir / "images").is_dir() else input_dir
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (--input)")
    paths = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."
    ]
    if not paths:
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise InputError(f"{folder}: no frames ({kinds}) there (--input)")

    def order(path: Path):
        digits = path.stem if path.stem.isdecimal() and len(path.stem) < 100 else ""
        return (not digits, int(digits or 0), path.name)

    return sorted(paths, key=order)


def _read_in_chunks(
    paths: Sequence[Path], errors: list[tuple[str, str]]
) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Frames as memory can hold them at a time; those that cannot be read go to errors."""
    chunk: list[tuple[Path, np.ndarray]] = []
    done: dict[str, str] = {}
    for path in track(paths, "predicting", transient=True):
        try:
            if path.stem in done:
                raise ValueError(f"would share one mask file with {done[path.stem]}")
            image = read_image(read_file(path))
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or str(error)
            errors.append((show(path.name), show(said)))
            continue
        done[path.stem] = path.name
        chunk.append((path, image))
        pixels = sum(image.size for _, image in chunk)
        if len(chunk) == FRAMES_IN_MEMORY or pixels > PIXELS_IN_MEMORY:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _write_frame(output_dir, path, image, pred, presence) -> tuple:
    name = f"{path.stem}.png"
    write_png(output_dir / "masks" / name, pred.astype(np.uint8) * 255)
    overlay = outline(image, prediction=pred)
    write_png(output_dir / "overlays" / name, overlay)
    area = int(pred.sum())
    return path.stem, int(area > 0), area, f"{presence:.6f}", rle.encode(pred)


def write_submission(path: Path, runs: dict[str, str], masks_dir: Path) -> None:
    """Write the Kaggle file `img,pixels`, and check it against the masks on disk.

    Args:
      path: of the CSV file.
      runs: run lengths of each frame by name.
      masks_dir: holds `<name>.png` of each, which its row must decode to.

    Raises:
      RunError: a row decodes to another mask.
    """
    rows = [(show(name), pixels) for name, pixels in runs.items()]
    write_table(path, ("img", "pixels"), rows)
    for name, row in zip(runs, read_table(path), strict=True):
        mask = read_mask((masks_dir / f"{name}.png").read_bytes())
        if not np.array_equal(rle.decode(row["pixels"], *mask.shape), mask):
            raise RunError(f"{path}: frame {row['img']} does not decode to its mask")
