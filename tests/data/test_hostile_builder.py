"""Folders and archives that people filled by hand, or strangers on purpose."""

import csv
import io
import os
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nerve_jax.data.loading import load_examples
from nerve_jax.data.records import create_builder
from nerve_jax.data.ultrasound_nerve import checking, layouts, sources
from nerve_jax.system.errors import InputError

GOOD = ("s1_0", "s1_1", "s2_0", "s2_1")


def picture(value=40, size=(12, 16), kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.full(size, value, np.uint8)).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four good frames with masks; `subjects.csv` is each test's own."""
    folder = tmp_path_factory.mktemp("hostile") / "frames"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        for number, stem in enumerate(GOOD):
            content = picture(40 + number if part == "images" else 255 * (number % 2))
            (folder / part / f"{stem}.png").write_bytes(content)
    return folder


def check(folder):
    """What the builder does with a folder before it writes: frames, or an error."""
    listing = layouts.list_folder(folder)
    checking.check_frames(listing.splits, listing.problems)
    return listing.splits["train"]


def check_kaggle(folder):
    """The same in Kaggle's layout."""
    listing = layouts.list_kaggle(folder)
    checking.check_frames(listing.splits, listing.problems)


cells = st.one_of(
    st.sampled_from([*GOOD, *(f"{stem}.png" for stem in GOOD)]),
    st.sampled_from(
        [
            "images/s1_0.png",
            "/etc/passwd",
            "../s1_0",
            "S1_0",
            "s1_0 ",
            "",
            "=1+1",
            "nan",
        ]
    ),
    st.text(max_size=8),
)


@st.composite
def tables(draw):
    """Bytes of a subjects.csv, from right to nonsense."""
    columns = draw(
        st.sampled_from(
            [
                ("frame", "subject"),
                ("subject", "frame"),
                ("frame", "subject", "spacing_y_mm", "spacing_x_mm"),
                ("frame",),
                ("Frame", "Subject"),
            ]
        )
    )
    rows = draw(st.lists(st.tuples(*[cells] * len(columns)), max_size=6))
    if draw(st.booleans()):
        rows += [(stem, "a", "0.1", "0.1")[: len(columns)] for stem in GOOD]
    buffer = io.StringIO(newline="")
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(buffer, lineterminator=ends).writerows([columns, *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    content = buffer.getvalue().encode(encoding, errors="replace")
    return draw(st.sampled_from([b"", b"\0", b"\n"])) + content


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(tables(), st.binary(max_size=60)))
def test_any_table_of_subjects_is_read_or_refused_in_words(folder, content):
    (folder / "subjects.csv").write_bytes(content)
    try:
        frames = check(folder)
    except InputError as error:
        assert "subjects.csv" in str(error)
        return
    assert [f.frame for f in frames] == list(GOOD)
    assert all(f.subject for f in frames)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_marks_and_line_ends_of_other_systems_do_not_matter(folder, encoding, ends):
    lines = ["frame,subject", *(f"{stem}.png,Ärztin {stem[1]}" for stem in GOOD)]
    (folder / "subjects.csv").write_bytes(ends.join(lines).encode(encoding))
    assert [f.subject for f in check(folder)] == [f"Ärztin {s[1]}" for s in GOOD]


@pytest.mark.filterwarnings("ignore:.*name no subject")
def test_a_builder_lists_all_that_is_wrong_before_it_writes(tmp_path):
    images, masks = tmp_path / "in" / "images", tmp_path / "in" / "masks"
    for part in (images, masks):
        part.mkdir(parents=True)
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture())
    for name in ("a b", "é", "new\nline", "-rf", "=1+1"):
        (images / f"{name}.png").write_bytes(picture())
    (images / "link.png").symlink_to(outside)
    wrong = {
        "cut": picture()[:40],
        "empty": b"",
        "text": b"frame,subject",
        "gif": picture(kind="GIF")[:40],
    }
    for name, content in wrong.items():
        (images / f"{name}.png").write_bytes(content)
    (images / "small.png").write_bytes(picture())
    (masks / "small.png").write_bytes(picture(255, (3, 3)))
    (masks / "orphan.png").write_bytes(picture(255))
    (images / "deep.png").mkdir()
    (images / "loop.png").symlink_to(images / "loop.png")
    (images / "gone.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(images / "pipe.png")
    odd = os.fsencode(images) + b"/\xff\x1b[31m.png"
    with open(odd, "wb") as file:
        file.write(picture())
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        builder = create_builder(
            "ultrasound_nerve/folder",
            records_dir=str(tmp_path / "records"),
            manual_dir=str(tmp_path / "in"),
        )
        load_examples(builder, "train", (24, 32))
    not_files = ("deep", "loop", "pipe", "gone")
    for name in (*wrong, "small", "orphan", *not_files):
        assert f"{name}.png" in str(caught.value), name
    assert "udcff" in str(caught.value)
    assert "UTF-8" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    (images / "deep.png").rmdir()
    os.unlink(odd)
    for name in (*wrong, "small", "loop", "pipe", "gone"):
        (images / f"{name}.png").unlink()
    for name in ("small", "orphan"):
        (masks / f"{name}.png").unlink()
    builder = create_builder(
        "ultrasound_nerve/folder",
        records_dir=str(tmp_path / "records"),
        manual_dir=str(tmp_path / "in"),
    )
    found = load_examples(builder, "train", (24, 32)).frames
    assert set(found) == {"a b", "é", "new\nline", "-rf", "=1+1", "link"}
    assert outside.read_bytes() == picture()


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_members_that_climb_out_of_an_archive_stay_inside(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    members = {f"train/{n}_1.tif": picture(kind="TIFF") for n in (1, 2)}
    members |= {f"train/{n}_1_mask.tif": picture(255, kind="TIFF") for n in (1, 2)}
    members |= {"../../train/3_1.tif": picture(kind="TIFF")}
    members |= {"/train/4_1.tif": picture(kind="TIFF")}
    write_zip(folder / "data.zip", members)
    builder = create_builder(
        "ultrasound_nerve/kaggle",
        records_dir=str(tmp_path / "records"),
        manual_dir=str(folder),
    )
    load_examples(builder, "train", (24, 32))
    assert {p.name for p in tmp_path.iterdir()} == {"in", "records"}
    assert {p.name for p in folder.iterdir()} == {"data.zip"}


def test_pipes_and_names_that_are_no_text_are_told_of_in_the_kaggle_layout(tmp_path):
    (tmp_path / "train").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "train" / "1_1.tif").write_bytes(picture(kind="TIFF"))
    for name in (b"1_\xff.tif", b"1_\xff_mask.tif"):
        with open(os.fsencode(tmp_path) + b"/train/" + name, "wb") as file:
            file.write(picture(255, kind="TIFF"))
    with pytest.raises(InputError, match=r"udcff\.tif: its name is not UTF-8"):
        check_kaggle(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "bytes", "text", "bomb"])
def test_a_damaged_archive_is_refused_in_words(tmp_path, damage, monkeypatch):
    path = tmp_path / "data.zip"
    write_zip(path, {"train/1_1.tif": picture(kind="TIFF") * 50})
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "bytes":
        content[40:60] = b"\xff" * 20
    elif damage == "text":
        content = b"not a zip"
    else:
        monkeypatch.setattr(sources, "MAX_BYTES", 1000)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"data\.zip"):
        check_kaggle(tmp_path)


def test_an_archive_that_lies_about_its_sizes_is_not_unpacked(tmp_path):
    """A member that says it is small and would unpack to a gigabyte."""
    path = tmp_path / "data.zip"
    write_zip(path, {"train/1_1.tif": bytes(2**30)})
    content = path.read_bytes()
    true, false = (n.to_bytes(4, "little") for n in (2**30, 1000))
    path.write_bytes(content.replace(true, false))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"data\.zip"):
        check_kaggle(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_methods_that_cannot_be_unpacked_piece_by_piece_are_refused(tmp_path):
    write_zip(
        tmp_path / "a.zip", {"train/1_1.tif": picture(kind="TIFF")}, zipfile.ZIP_BZIP2
    )
    with pytest.raises(InputError, match="deflate"):
        check_kaggle(tmp_path)


@pytest.mark.parametrize("content", [b'frame,subject\n"' + b"x" * 200_000, None])
def test_what_is_no_table_is_named(folder, tmp_path, content):
    shutil.copytree(folder, tmp_path / "in")
    table = tmp_path / "in" / "subjects.csv"
    table.unlink(missing_ok=True)
    if content is None:
        table.mkdir()
    else:
        table.write_bytes(content)
    with pytest.raises(InputError, match=r"subjects\.csv: not a table"):
        check(tmp_path / "in")


def test_half_a_spacing_is_no_spacing(folder):
    rows = [f"{stem},a,0.1,nan" for stem in GOOD]
    text = "\n".join(["frame,subject,spacing_y_mm,spacing_x_mm", *rows])
    (folder / "subjects.csv").write_text(text)
    with pytest.raises(InputError, match="not two positive numbers"):
        check(folder)
