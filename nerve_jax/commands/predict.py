"""--mode=predict: from a folder of frames to masks and a table."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.data import rle
from nerve_jax.data.cleaning import hide
from nerve_jax.data.frames import PLAIN, Storage, choose_bits, describe_bits
from nerve_jax.data.frames_folder import (
    Frame,
    find_brightest,
    find_frames_folder,
    in_chunks,
    list_media,
    name_frame,
    name_mask,
    read_frames,
)
from nerve_jax.data.labels import read_mask
from nerve_jax.data.listing import describe_left_out
from nerve_jax.data.media import Medium
from nerve_jax.data.resize import resize_image
from nerve_jax.reports.pictures import outline
from nerve_jax.runs.config import load_config, override
from nerve_jax.runs.folder import load_storage
from nerve_jax.runs.members import load_members
from nerve_jax.runs.out_of_fold import load_rule
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.predictor import PresenceProbs, Probs
from nerve_jax.system import claims, clusters, files
from nerve_jax.system.console import say, track
from nerve_jax.system.errors import RunError, list_problems, sum_up
from nerve_jax.system.files import read_table, show, write_png, write_table

FOLDERS = ("masks", "overlays")
COLUMNS = (
    "frame",
    "presence",
    "area",
    "probability",
    "file",
    "frame_number",
    "scanner",
)
TABLES = ("predictions.csv", "submission.csv", "errors.csv")


def run(request: Request) -> None:
    """Run the command."""
    clusters.check_alone("predict")
    trained = load_config(request.folder)
    setup.prepare_devices(trained)
    predict(
        request.folder,
        request.overrides,
        request.input_folder,
        request.output_folder,
        submission=request.submission,
        trained=trained,
    )


def predict(
    workdir: files.Path,
    overrides: dict,
    input_dir: Path,
    output_dir: Path,
    *,
    submission: bool,
    trained: ConfigDict | None = None,
) -> int:
    """Segment a folder of frames with the average of all finished folds.

    `overrides` may set fields of "decision" again; `trained` is the run's configuration,
    None to read it. See `predict_folder` for what is written and raised.

    Returns:
      How many frames were done.
    """
    check_output(output_dir, input_dir)  # before anything is loaded
    trained = load_config(workdir) if trained is None else trained
    config = override(trained, overrides, ("decision.",), workdir)
    members = list(load_members(workdir).values())
    if not config.decision.ensemble:
        members = members[:1]
    predictor = setup.create_predictor_of(config)
    count = predict_folder(
        input_dir,
        output_dir,
        lambda images: predictor(members, images),
        image_size=tuple(config.data.image_size),
        rule=load_rule(workdir, config.decision.rule, config.decision.threshold),
        submission=submission,
        trained=load_storage(workdir),
    )
    say(
        f"{count} frames by {len(members)} fold(s); wrote {output_dir}/predictions.csv",
        "  masks/ and overlays/" + (", submission.csv" if submission else ""),
    )
    return count


def predict_folder(
    input_dir: Path,
    output_dir: Path,
    predict_images: Callable[[np.ndarray], tuple[Probs, PresenceProbs]],
    *,
    image_size: tuple[int, int],
    submission: bool,
    rule: Rule,
    trained: Storage = PLAIN,
) -> int:
    """Segment every frame of a folder.

    Writes `masks/<stem>.png` (0 or 255, the frame's own size), of clips and multi-frame
    objects `masks/<stem>/<number>.png`, the same under `overlays/`, `predictions.csv`
    and, if asked, `submission.csv`. A file that cannot be read is listed in `errors.csv`
    and keeps none of the others from being done. What an earlier command of this kind has
    left in the folder is removed first.

    Args:
      input_dir: folder of pictures (PNG, TIFF, JPEG, BMP), DICOM files and clips.
      output_dir: made if it is not there.
      predict_images: frames at training size -> probabilities.
      image_size: training height and width.
      submission: write the Kaggle file too.
      rule: makes a mask of probabilities.
      trained: how the frames are stored that were trained on. Where these show the
        sector alone, it is found in each file and predicted alone.

    Returns:
      How many frames were done.

    Raises:
      InputError: no frames there, or what `check_output` raises.
      RunError: some frames could not be read, or would share another's mask file; all
        others are done.
    """
    listed = list_media(input_dir)
    if listed.left_out:
        say(f"{input_dir}: {describe_left_out(listed.left_out)}")
    prepare_output(output_dir, input_dir, listed.media)
    brightest = find_brightest(listed.media)
    bits = choose_bits(brightest, trained.bits)
    say(*describe_bits(brightest, bits))
    rows, errors = [], list(listed.errors)
    reading = read_frames(listed.media, trained._replace(bits=bits), errors)
    total = sum(medium.num_frames for medium in listed.media)
    for frames in in_chunks(track(reading, "predicting", total)):
        small = np.stack([resize_image(frame.cut, image_size) for frame in frames])
        for frame, probs, presence in zip(frames, *predict_images(small), strict=True):
            pred = rule.mask(probs, float(presence), frame.cut.shape)
            present = rule.predict_presence(probs, float(presence))
            rows.append(_write_frame(output_dir, frame, pred, present))
    _write_tables(output_dir, rows, errors, submission)
    claims.seal(output_dir, "predict")
    if errors:
        num_files = len(listed.media) + len(listed.errors)
        raise RunError(_describe_errors(errors, num_files, output_dir))
    return len(rows)


def check_output(
    output_dir: Path, input_dir: Path, names: Collection[str] = ()
) -> None:
    """Check that predictions overwrite nothing that this command has not written.

    Args:
      output_dir: new or empty, or of an earlier command of this kind.
      input_dir: folder of frames.
      names: of the files to be written, as paths from `output_dir`.

    Raises:
      InputError: the frames lie in `output_dir` or around it, or `claims.check_alone`
        raises it.
    """
    claims.check_apart(output_dir, find_frames_folder(input_dir))
    names = (*names, *TABLES, *(f"{folder}/" for folder in FOLDERS))
    claims.check_alone(output_dir, "predict", names, flag="--output")


def prepare_output(output_dir: Path, input_dir: Path, found: Sequence[Medium]) -> None:
    """Check a folder of predictions, remove those of an earlier command, and claim it."""
    names = {f"{part}/{name}" for part in FOLDERS for name in _name_masks(found)}
    check_output(output_dir, input_dir, names)
    claims.remove_own(output_dir, "predict")
    claims.claim(output_dir, "predict", {*names, *TABLES}, flag="--output")
    for folder in {str(PurePath(name).parent) for name in names}:
        (output_dir / folder).mkdir(exist_ok=True, parents=True)


def _name_masks(found: Sequence[Medium]) -> Iterator[str]:
    for medium in found:
        yield from (name_mask(medium, number) for number in medium.frame_numbers)


class Row(NamedTuple):
    """What the tables say of a frame."""

    medium: Medium
    number: int
    area: int
    probability: float
    runs: str


def _write_frame(output_dir: Path, frame: Frame, pred, probability: float) -> Row:
    """Write the mask of a whole frame, given that of what was cut out, and its outline."""
    top, left, bottom, right = frame.box
    mask = np.zeros(frame.image.shape, bool)
    mask[top:bottom, left:right] = pred
    name = name_mask(frame.medium, frame.number)
    write_png(output_dir / "masks" / name, mask.astype(np.uint8) * 255)
    # What a screen shows beside tissue may be a name, and is not passed on.
    shown = frame.image if frame.sector is None else hide(frame.image, frame.sector)
    write_png(output_dir / "overlays" / name, outline(shown, prediction=mask))
    runs = rle.encode(mask)
    return Row(frame.medium, frame.number, int(mask.sum()), probability, runs)


def _write_tables(
    output_dir: Path, rows: list[Row], errors: list, submission: bool
) -> None:
    write_table(
        output_dir / "predictions.csv",
        COLUMNS,
        [
            (
                show(name_frame(row.medium, row.number)),
                int(row.area > 0),
                row.area,
                f"{row.probability:.6f}",
                show(row.medium.path.name),
                row.number if row.medium.is_clip else "",
                row.medium.scanner,
            )
            for row in rows
        ],
    )
    if submission:
        masks_dir = output_dir / "masks"
        named = {name_frame(row.medium, row.number): row for row in rows}
        write_submission(
            output_dir / "submission.csv",
            {name: row.runs for name, row in named.items()},
            {n: masks_dir / name_mask(r.medium, r.number) for n, r in named.items()},
        )
    if errors:
        write_table(output_dir / "errors.csv", ("file", "error"), errors)


def write_submission(path: Path, runs: dict[str, str], masks: dict[str, Path]) -> None:
    """Write the Kaggle file `img,pixels`, and check it against the masks on disk.

    Args:
      path: of the CSV file.
      runs: run lengths of each frame by name.
      masks: the file of each, which its row must decode to.

    Raises:
      RunError: a row decodes to another mask.
    """
    rows = [(show(name), pixels) for name, pixels in runs.items()]
    write_table(path, ("img", "pixels"), rows)
    for name, row in zip(runs, read_table(path), strict=True):
        mask = read_mask(masks[name].read_bytes())
        if not np.array_equal(rle.decode(row["pixels"], *mask.shape), mask):
            raise RunError(f"{path}: frame {row['img']} does not decode to its mask")


def _describe_errors(
    errors: list[tuple[str, str]], num_files: int, output_dir: Path
) -> str:
    listing = list_problems(sum_up([f"{name}: {error}" for name, error in errors]))
    return (
        f"{len(errors)} of {num_files} files could not be read; the others are "
        f"done:\n{listing}\nListed in {output_dir / 'errors.csv'}"
    )
