"""--mode=predict: from a folder of frames to masks and a table."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np
from ml_collections import ConfigDict

from nerve_jax.commands import setup
from nerve_jax.commands.predicted import (
    FOLDERS,
    STRUCTURES,
    TABLES,
    Row,
    Seen,
    describe_labels,
    name_files,
    name_label,
    write_frame,
    write_tables,
)
from nerve_jax.commands.request import Request
from nerve_jax.data.frames import PLAIN, Storage, choose_bits, describe_bits
from nerve_jax.data.frames_folder import (
    Frame,
    find_brightest,
    find_frames_folder,
    in_chunks,
    list_media,
    read_frames,
)
from nerve_jax.data.listing import describe_left_out
from nerve_jax.data.media import Medium
from nerve_jax.data.resize import resize_image
from nerve_jax.runs.config import load_config, override
from nerve_jax.runs.folder import find_subfolder, load_storage
from nerve_jax.runs.members import load_members
from nerve_jax.runs.out_of_fold import load_rule
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.predictor import PresenceProbs, Probs
from nerve_jax.system import claims, clusters, files
from nerve_jax.system.console import say, track
from nerve_jax.system.errors import RunError, list_problems, sum_up


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
    rules = _load_rules(workdir, config)
    count = predict_folder(
        input_dir,
        output_dir,
        lambda images: predictor(members, images),
        image_size=tuple(config.data.image_size),
        rules=rules,
        submission=submission,
        trained=load_storage(workdir),
    )
    folders = "masks/, labels/" if len(rules) > 1 else "masks/"
    say(
        f"{count} frames by {len(members)} fold(s); wrote {output_dir}/predictions.csv",
        f"  {folders} and overlays/" + (", submission.csv" if submission else ""),
    )
    return count


def _load_rules(workdir: files.Path, config: ConfigDict) -> dict[str, Rule]:
    """The rule of each structure of a run, in order.

    The plain one of a structure after the first for which no scored frame is labelled.
    """
    structures, decision = tuple(config.data.structures), config.decision
    is_reported = (workdir / "report.json").exists()
    rules = {}
    for name in structures:
        own = workdir / find_subfolder(structures, name)
        is_fitted = name == structures[0] or (own / "decision.json").exists()
        kind = decision.rule if is_fitted or not is_reported else "threshold"
        rules[name] = load_rule(own, kind, decision.threshold)
        if kind != decision.rule:
            say(
                f"{name}: no frame that {workdir} scored is labelled for it, so its masks "
                "are cut at the threshold"
            )
    return rules


def predict_folder(
    input_dir: Path,
    output_dir: Path,
    predict_images: Callable[[np.ndarray], tuple[Probs, PresenceProbs]],
    *,
    image_size: tuple[int, int],
    submission: bool,
    rules: Mapping[str, Rule],
    trained: Storage = PLAIN,
) -> int:
    """Segment every frame of a folder.

    Writes `masks/<stem>.png` (0 or 255, the frame's own size), of clips and multi-frame
    objects `masks/<stem>/<number>.png`, the same under `overlays/`, `predictions.csv`
    and, if asked, `submission.csv` of the first structure. Of several structures masks lie
    in `masks/<structure>/`; `labels/` holds, under the names of overlays, label maps
    of the frames whose masks do not overlap, and `structures.csv` names their values. A
    file that cannot be read is listed in `errors.csv` and keeps none of the others from
    being done. What an earlier command of this kind has left in the folder is removed
    first.

    Args:
      input_dir: folder of pictures (PNG, TIFF, JPEG, BMP), DICOM files and clips.
      output_dir: made if it is not there.
      predict_images: frames at training size -> probabilities.
      image_size: training height and width.
      submission: write the Kaggle file too.
      rules: what makes a mask of the probabilities of each structure, in their order.
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
    structures = tuple(rules)
    names = prepare_output(output_dir, input_dir, listed.media, structures)
    brightest = find_brightest(listed.media)
    bits = choose_bits(brightest, trained.bits)
    say(*describe_bits(brightest, bits))
    rows, errors = [], list(listed.errors)
    reading = read_frames(listed.media, trained._replace(bits=bits), errors)
    total = sum(medium.num_frames for medium in listed.media)
    for frames in in_chunks(track(reading, "predicting", total)):
        small = np.stack([resize_image(frame.cut, image_size) for frame in frames])
        for frame, probs, presence in zip(frames, *predict_images(small), strict=True):
            seen = _decide(frame, rules, probs, presence)
            rows += write_frame(output_dir, frame, seen)
    write_tables(output_dir, structures, rows, errors, submission=submission)
    _seal(output_dir, names, rows)
    say(*describe_labels(structures, rows))
    if errors:
        num_files = len(listed.media) + len(listed.errors)
        raise RunError(_describe_errors(errors, num_files, output_dir))
    return len(rows) // len(structures)


def _decide(
    frame: Frame, rules: Mapping[str, Rule], probs: np.ndarray, presence: np.ndarray
) -> dict[str, Seen]:
    """Decide each structure of a frame, given probabilities of what was cut out of it.

    Args:
      frame: of the folder.
      rules: of each structure, in order.
      probs: [structures, height, width], at training size.
      presence: [structures].
    """
    top, left, bottom, right = frame.box
    found = {}
    for name, own, sure in zip(rules, probs, map(float, presence), strict=True):
        mask = np.zeros(frame.image.shape, bool)
        mask[top:bottom, left:right] = rules[name].mask(own, sure, frame.cut.shape)
        found[name] = Seen(mask, rules[name].predict_presence(own, sure))
    return found


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


def prepare_output(
    output_dir: Path,
    input_dir: Path,
    found: Sequence[Medium],
    structures: tuple[str, ...],
) -> set[str]:
    """Check a folder of predictions, remove those of an earlier command, and claim it.

    Returns:
      Names of all files that may be written, as paths from `output_dir`.
    """
    names = name_files(structures, found)
    if len(structures) > 1:
        names.add(STRUCTURES)
    check_output(output_dir, input_dir, names)
    claims.remove_own(output_dir, "predict")
    claims.claim(output_dir, "predict", {*names, *TABLES}, flag="--output")
    for folder in {str(PurePath(name).parent) for name in names}:
        if not folder.startswith("labels"):  # there may be none in it
            (output_dir / folder).mkdir(exist_ok=True, parents=True)
    return names


def _seal(output_dir: Path, names: set[str], rows: Sequence[Row]) -> None:
    """Seal what was written; a label map that could not be is anybody's to draw."""
    undrawn = {name_label(row.medium, row.number) for row in rows if row.overlaps}
    written = {*names, *TABLES} - undrawn
    claims.claim(output_dir, "predict", written, flag="--output")
    claims.seal(output_dir, "predict")


def _describe_errors(
    errors: list[tuple[str, str]], num_files: int, output_dir: Path
) -> str:
    listing = list_problems(sum_up([f"{name}: {error}" for name, error in errors]))
    return (
        f"{len(errors)} of {num_files} files could not be read; the others are "
        f"done:\n{listing}\nListed in {output_dir / 'errors.csv'}"
    )
