"""How fast a clip is decoded, and what memory it takes, whatever its length.

python benchmarks/decoding.py --num_frames=10000

Writes an H.264 clip of 562x542 px of the phantom, and a DICOM object of the same frames,
uncompressed, into a folder that is removed; reads each as `--mode=predict` and the builder
do; and prints one line of JSON for each. Wants the extras dicom and clips.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage

from nerve_jax.data import media
from nerve_jax.data.phantom import people

SIZE = (542, 562)
SWEEP = 60  # frames, to and fro


def simulate(num_frames: int) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """A sweep of one person, to and fro, as long as is asked for."""
    frames = [
        np.asarray(Image.fromarray(frame.image).resize(SIZE[::-1]))
        for frame in people.simulate_frames(1, SWEEP, seed=0)
    ]
    turn = [*frames, *frames[::-1]]
    for number in range(num_frames):
        yield turn[number % len(turn)]


def write_clip(path: Path, num_frames: int) -> None:
    """An mp4 of 20 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for image in simulate(num_frames):
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_dicom(path: Path, num_frames: int) -> None:
    """An uncompressed multi-frame object, in grey."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = UltrasoundMultiFrameImageStorage
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.Rows, header.Columns = SIZE
    header.NumberOfFrames, header.SamplesPerPixel = num_frames, 1
    header.PhotometricInterpretation, header.PixelRepresentation = "MONOCHROME2", 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    header.PixelData = b"".join(image.tobytes() for image in simulate(num_frames))
    header.save_as(path, enforce_file_format=True)


def read_peak_mb() -> float:
    """The most memory that this process has had so far (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def read(path: Path) -> dict:
    """Frames per second, and by how much the process has grown, in MB."""
    before = read_peak_mb()
    started = time.perf_counter()
    medium = media.describe(path)
    described = time.perf_counter()
    count = sum(1 for _ in media.read(medium))
    seconds = time.perf_counter() - described
    return {
        "kind": medium.kind,
        "num_frames": count,
        "megabytes": round(path.stat().st_size / 2**20, 1),
        "describe_seconds": round(described - started, 2),
        "frames_per_second": round(count / seconds, 1),
        "grown_mb": round(read_peak_mb() - before, 1),
    }


def main() -> None:
    """Write, then read in a process of its own, whose memory nothing else has grown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_frames", type=int, default=10_000)
    parser.add_argument("--read", type=Path, help="only read this file")
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(args.read)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("clip.mp4", write_clip), ("dicom", write_dicom)):
            write(Path(folder) / name, args.num_frames)
            command = [sys.executable, __file__, f"--read={Path(folder) / name}"]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
