import numpy as np

from nerve_jax.data.columns import (
    THUMBNAIL_SIZE,
    compute_digest,
    fill,
    gather_labels,
    read_row,
)
from nerve_jax.data.examples import Examples


def make_record(number: int) -> dict:
    """A record of 24x36 px, with a nerve in every other one."""
    image = np.random.default_rng(number).integers(0, 256, (24, 36, 1), np.uint8)
    mask = np.zeros_like(image)
    mask[6:12, 9:18] = number % 2
    return {
        "image": image,
        "mask": mask,
        "frame": f"f{number}".encode(),
        "subject": b"p0",
        "scanner": "Ü 7".encode(),
        "clip": b"sweep",
        "labelled": True,
        "spacing_mm": (0.1, np.nan),
    }


def test_records_in_memory_become_examples():
    records = [make_record(number) for number in range(3)]
    rows = (
        read_row(record, (12, 18)) | {"records": np.int64(place)}
        for place, record in enumerate(records)
    )
    columns = gather_labels(fill(rows, 3))
    examples = Examples(**columns, fingerprint="made here", source=records)
    assert examples.frames == ("f0", "f1", "f2")
    assert examples.scanners == ("Ü 7",) * 3
    assert examples.clips == ("sweep",) * 3
    assert examples.images.shape == examples.masks.shape == (3, 12, 18)
    assert examples.thumbnails.shape == (3, *THUMBNAIL_SIZE)
    assert examples.presence.tolist() == [False, True, False]
    assert examples.sizes.tolist() == [[24, 36]] * 3
    for place, record in enumerate(records):
        np.testing.assert_array_equal(examples.truth(place), record["mask"][..., 0])
        np.testing.assert_array_equal(examples.original(place), record["image"][..., 0])
    assert len(set(examples.digests)) == 3


def test_records_of_the_first_version_name_no_scanner_and_no_clip():
    record = make_record(0)
    del record["scanner"], record["clip"]
    row = read_row(record, (12, 18))
    assert (row["scanners"], row["clips"]) == ("", "")


def test_digests_tell_pixels_and_sizes_apart():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert compute_digest(image) == compute_digest(image.copy())
    assert compute_digest(image) != compute_digest(image.reshape(4, 3))
    assert compute_digest(image) != compute_digest(image + np.uint8(1))
