"""Several structures and several readers in a folder of a user's own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerve_jax.data import rle
from nerve_jax.data.records import create_builder, prepare, read_metadata
from nerve_jax.data.ultrasound_nerve import checking, layouts
from nerve_jax.system.errors import InputError
from tests.samples import sweep, write_clip

SIZE = (24, 32)
STEMS = ("s0_0", "s0_1", "s1_0", "s1_1")
TABLE = "value,name\n1,nerve\n2,vessel\n"
FIRST, SECOND = (slice(4, 12), slice(4, 14)), (slice(10, 20), slice(10, 22))


def area(*places, value=255):
    mask = np.zeros(SIZE, np.uint8)
    for number, place in enumerate(places, 1):
        mask[place] = value if len(places) == 1 else number
    return mask


def save(path: Path, values, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = values if isinstance(values, Image.Image) else Image.fromarray(values)
    picture.save(path, **options)


class Folder:
    """A folder data set, written part by part."""

    def __init__(self, path: Path):
        self.path = path
        rng = np.random.default_rng(0)
        for stem in STEMS:
            image = rng.integers(0, 255, SIZE).astype(np.uint8)
            save(path / "images" / f"{stem}.png", image)

    def add(self, where, values, stems=STEMS, **options):
        for stem in stems:
            save(self.path / where / f"{stem}.png", values, **options)

    def write(self, name, text):
        (self.path / name).write_text(text)

    def list(self, **options):
        return layouts.list_folder(self.path, **options)

    def digest(self):
        return checking.fingerprint(self.list().splits)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "set")


def load(folder, tmp_path, **options):
    """Structures and readers of records, and the records by frame, outlines decoded."""
    builder = create_builder(
        "ultrasound_nerve/folder",
        manual_dir=str(folder.path),
        records_dir=str(tmp_path / "records"),
        **options,
    )
    prepare(builder)
    kept = read_metadata(builder)
    found = {}
    for record in builder.as_data_source("train"):
        text = record["outlines"].decode()
        runs = json.loads(text) if text else {}
        record["outlines"] = {
            structure: {reader: rle.decode(r, *SIZE) for reader, r in of_reader.items()}
            for structure, of_reader in runs.items()
        }
        found[record["frame"].decode()] = record
    return kept, found


def refuse(folder, tmp_path, **options) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, tmp_path, **options)
    assert not list((tmp_path / "records").rglob("*.array_record*"))
    assert str(caught.value).count("\n") < 21
    return str(caught.value)


def places_of(outlines):
    """Names of the places in which each structure is, by reader."""
    named = {"first": area(FIRST) > 0, "second": area(SECOND) > 0}
    return {
        structure: {
            reader: next((n for n, m in named.items() if np.array_equal(m, mask)), "")
            for reader, mask in of_reader.items()
        }
        for structure, of_reader in outlines.items()
    }


def draw_palette(colours):
    picture = Image.fromarray(area(FIRST, (slice(13, 20), slice(10, 22))), "P")
    picture.putpalette([value for colour in colours for value in colour])
    return picture


APART = (slice(13, 20), slice(10, 22))
NUMBERS = area(FIRST, APART)
COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)[NUMBERS]
OF_COLOURS = "value,name\n#ff0000,nerve\n#0000FF,vessel\n"
MAPS = {
    "numbers": (NUMBERS, TABLE),
    "numbers of 16 bits": (
        NUMBERS.astype(np.uint16) * 700,
        "value,name\n700,nerve\n1400,vessel\n",
    ),
    "numbers in RGB": (np.dstack([NUMBERS] * 3), TABLE),
    "indices": (draw_palette([(9, 9, 9), (0, 0, 0), (7, 0, 0)]), TABLE),
    "a palette": (draw_palette([(0, 0, 0), (255, 0, 0), (0, 0, 255)]), OF_COLOURS),
    "colours": (COLOURS, OF_COLOURS),
    "colours, opaque": (np.dstack([COLOURS, np.full(SIZE, 255, np.uint8)]), OF_COLOURS),
    "numbers with a point": (Image.fromarray(NUMBERS.astype(np.float32)), TABLE),
    "a table of a spreadsheet": (
        NUMBERS,
        "\ufeffValue;Name\r\n0;Background\r\n1,0;Nerve\r\n2;VESSEL\r\n;\r\n",
    ),
}


@pytest.mark.parametrize("form", MAPS)
def test_label_maps_show_what_the_table_names(tmp_path, folder, form):
    values, table = MAPS[form]
    ending = "tif" if form == "numbers with a point" else "png"
    for stem in STEMS[:3]:
        save(folder.path / "masks" / f"{stem}.{ending}", values)
    folder.write("structures.csv", table)
    kept, records = load(folder, tmp_path)
    assert kept["structures"] == ["nerve", "vessel"]
    assert kept["readers"] == ["reader1"]
    assert not records["s1_1"]["labelled"]
    assert not records["s1_1"]["outlines"]
    for stem in STEMS[:3]:
        record = records[stem]
        assert record["labelled"]
        found = {s: by["reader1"] for s, by in record["outlines"].items()}
        assert list(found) == ["nerve", "vessel"]
        np.testing.assert_array_equal(found["nerve"], NUMBERS == 1)
        np.testing.assert_array_equal(found["vessel"], NUMBERS == 2)
        np.testing.assert_array_equal(record["mask"][..., 0], NUMBERS == 1)


def test_a_folder_per_structure_may_overlap_and_leave_frames_out(tmp_path, folder):
    folder.add("masks/nerve", area(FIRST), STEMS[:3])
    folder.add("masks/Artery 1", area(SECOND), STEMS[1:])
    kept, records = load(folder, tmp_path)
    assert kept["structures"] == ["artery_1", "nerve"]
    found = [places_of(records[stem]["outlines"]) for stem in STEMS]
    nerve, artery = (
        {n: {"reader1": p}} for n, p in (("nerve", "first"), ("artery_1", "second"))
    )
    assert found == [nerve, artery | nerve, artery | nerve, artery]
    assert not records["s0_0"]["mask"].any()  # the first structure is not labelled
    assert records["s0_0"]["labelled"]


@pytest.mark.parametrize(
    ("value", "name"), [(255, "artery"), (1, "N. ulnaris"), (2, "b")]
)
def test_a_table_of_one_value_names_the_only_structure(tmp_path, folder, value, name):
    folder.add("masks", area(FIRST, value=value))
    folder.write("structures.csv", f"value,name\n{value},{name}\n")
    kept, records = load(folder, tmp_path)
    structure = name.lower().replace(". ", "_")
    assert kept["structures"] == [structure]
    for record in records.values():
        assert places_of(record["outlines"]) == {structure: {"reader1": "first"}}
        np.testing.assert_array_equal(record["mask"][..., 0], area(FIRST) > 0)


def test_a_lossy_mask_is_read_where_its_one_value_has_a_name(tmp_path, folder):
    for stem in STEMS:
        path = folder.path / "masks" / f"{stem}.jpg"
        save(path, area(FIRST, value=200), quality=90)
    folder.write("structures.csv", "value,name\n200,artery\n")
    _, records = load(folder, tmp_path)
    np.testing.assert_array_equal(records["s0_0"]["mask"][..., 0], area(FIRST) > 0)


def test_one_unnamed_structure_is_a_nerve_that_mask_alone_tells(tmp_path, folder):
    folder.add("masks", area(FIRST), STEMS[:2])
    kept, records = load(folder, tmp_path)
    assert (kept["structures"], kept["readers"]) == (["nerve"], ["reader1"])
    assert not any(record["outlines"] for record in records.values())
    assert [bool(records[s]["labelled"]) for s in STEMS] == [True, True, False, False]


@pytest.mark.parametrize("by_folder", [False, True])
def test_each_reader_outlines_some_frames(tmp_path, folder, by_folder):
    names = ["masks", "masks_reader2", "masks_reader10"]
    if by_folder:
        names = [f"masks/{name}" for name in ("Anna", "Bert", "cem")]
    for name, place, stems in zip(
        names, (FIRST, SECOND, FIRST), (STEMS, STEMS[:2], STEMS[1:2]), strict=True
    ):
        folder.add(name, area(place), stems)
    kept, records = load(folder, tmp_path, readers=by_folder)
    readers = (
        ["anna", "bert", "cem"] if by_folder else ["reader1", "reader2", "reader10"]
    )
    assert kept["readers"] == readers
    assert kept["structures"] == ["nerve"]
    found = [places_of(records[stem]["outlines"])["nerve"] for stem in STEMS]
    assert [list(of_reader) for of_reader in found] == [
        readers[:2],
        readers,
        readers[:1],
        readers[:1],
    ]
    assert list(found[1].values()) == ["first", "second", "first"]
    np.testing.assert_array_equal(records["s0_0"]["mask"][..., 0], area(FIRST) > 0)


def test_readers_may_have_label_maps_or_folders_of_structures(tmp_path, folder):
    folder.add("masks", NUMBERS)
    folder.write("structures.csv", TABLE)
    folder.add("masks_reader2/nerve", area(SECOND), STEMS[:1])
    folder.add("masks_reader2/bone", area(FIRST), STEMS[:1])
    kept, records = load(folder, tmp_path)
    assert kept["structures"] == ["nerve", "vessel", "bone"]
    found = {s: list(by) for s, by in records["s0_0"]["outlines"].items()}
    assert found == {
        "nerve": ["reader1", "reader2"],
        "vessel": ["reader1"],
        "bone": ["reader2"],
    }
    assert list(records["s1_0"]["outlines"]) == ["nerve", "vessel"]


@pytest.mark.parametrize("folders", [("nerve", "artery"), ("",)])
@pytest.mark.parametrize("reader", ["masks", "masks_reader2"])
def test_clips_have_folders_of_structures_and_readers_too(tmp_path, folders, reader):
    folder = Folder(tmp_path / "set")
    write_clip(folder.path / "images" / "p01.mp4", sweep(3, SIZE), codec="mpeg4")
    for name in folders:
        folder.add(f"masks/{name}", area(FIRST))
        for number in range(3):
            where = folder.path / reader / name / "p01" / f"{number:05d}.png"
            save(where, area(SECOND))
    _, records = load(folder, tmp_path)
    found = places_of(records["p01#2"]["outlines"])
    by = "reader2" if reader == "masks_reader2" else "reader1"
    if folders == ("",) and by == "reader1":
        assert found == {}  # one structure and one reader
        assert records["p01#2"]["mask"].any()
    else:
        assert found == {n or "nerve": {by: "second"} for n in sorted(folders)}


def test_clips_alone_may_have_folders_of_structures(tmp_path, folder):
    shutil.rmtree(folder.path / "images")
    (folder.path / "clips").mkdir()
    write_clip(folder.path / "clips" / "p01.mp4", sweep(3, SIZE), codec="mpeg4")
    for number in range(3):
        save(folder.path / "masks" / "vein" / "p01" / f"{number:05d}.png", area(SECOND))
    kept, records = load(folder, tmp_path)
    assert kept["structures"] == ["vein"]
    assert all(record["mask"].any() for record in records.values())
    (folder.path / "masks" / "vein" / "p01" / "00001.png").unlink()
    assert "masks/vein/p01: masks of 2 of 3 frames; none of 1" in refuse(
        folder, tmp_path / "other"
    )


def test_masks_of_clips_may_be_label_maps_and_other_readers_outline_some(tmp_path):
    folder = Folder(tmp_path / "set")
    write_clip(folder.path / "images" / "p01.mp4", sweep(3, SIZE), codec="mpeg4")
    folder.write("structures.csv", TABLE)
    for number in range(3):
        save(folder.path / "masks" / "p01" / f"{number:05d}.png", NUMBERS)
    save(folder.path / "masks_reader2" / "p01" / "00001.png", NUMBERS)
    _, records = load(folder, tmp_path)
    found = [
        {s: list(by) for s, by in records[f"p01#{n}"]["outlines"].items()}
        for n in (0, 1)
    ]
    both = ["reader1", "reader2"]
    assert found == [
        {"nerve": both[:1], "vessel": both[:1]},
        {"nerve": both, "vessel": both},
    ]


def test_structures_of_which_no_frame_has_two_draw_a_warning(folder):
    folder.add("masks/nerve", area(FIRST), STEMS[1:3])
    folder.add("masks/vessel", area(FIRST), STEMS[3:])
    (warning,) = folder.list().warnings
    assert warning.startswith(
        "no frame is labelled for two of the structures nerve, vessel;"
    )
    folder.add("masks/vessel", area(FIRST), STEMS[2:])
    assert folder.list().warnings == []


MARKS = {
    "full": ([1, 255, 1, 255], ""),
    "nearly alike": ([128, 130, 120, 128], ""),
    "128 and 255": (
        [128, 255, 255, 255],
        "255 in 3 masks ({1}, {2}, {3}); 128 in 1 mask ({0})",
    ),
    "1 and 128": ([1, 128, 1, 1], "1 in 3 masks ({0}, {2}, {3}); 128 in 1 mask ({1})"),
    "reds": ([(255, 0, 0), (254, 2, 0), (255, 0, 0), (250, 0, 0)], ""),
    "two colours": (
        [(255, 0, 0), (0, 255, 0), (255, 0, 0), (255, 0, 0)],
        "#ff0000 in 3 masks ({0}, {2}, {3}); #00ff00 in 1 mask ({1})",
    ),
    "grey and colour": (
        [255, (255, 0, 0), 255, 255],
        "255 in 3 masks ({0}, {2}, {3}); #ff0000 in 1 mask ({1})",
    ),
}


@pytest.mark.parametrize("name", MARKS)
def test_masks_of_a_set_mark_a_structure_alike(tmp_path, folder, name):
    values, text = MARKS[name]
    for stem, value in zip(STEMS, values, strict=True):
        mask = (area(FIRST) > 0)[..., None] * np.uint8(value)
        folder.add("masks", mask.squeeze(), (stem,))
    if text:
        paths = [folder.path / "masks" / f"{stem}.png" for stem in STEMS]
        message = refuse(folder, tmp_path)
        assert f"masks mark different things: {text.format(*paths)}. Save" in message
        assert "structures.csv (value,name)" in message
        assert "(1 problem)" in message
    else:
        _, records = load(folder, tmp_path)
        assert all(record["mask"].any() for record in records.values())


def test_of_many_masks_that_differ_twenty_are_named_and_all_counted(tmp_path, folder):
    for number in range(40):
        stem = f"t{number // 4}_{number}"
        folder.add("images", area(FIRST), (stem,))
        folder.add("masks", area(FIRST, value=128 + 127 * (number % 2)), (stem,))
    message = refuse(folder, tmp_path)
    assert message.count(".png") == 20
    assert message.count("in 20 masks (") == message.count("and 10 more") == 2


def test_a_frame_is_labelled_for_what_was_looked_for(tmp_path, folder):
    folder.add("masks", NUMBERS)
    folder.write("structures.csv", TABLE)
    folder.write(
        "subjects.csv",
        "frame,subject,structures_labelled\n"
        's0_0,a,Nerve\ns0_1,a,\ns1_0,b,"vessel; nerve"\ns1_1,b,vessel\n',
    )
    kept, records = load(folder, tmp_path)
    assert [list(records[s]["outlines"]) for s in STEMS] == [
        ["nerve"],
        ["nerve", "vessel"],
        ["nerve", "vessel"],
        ["vessel"],
    ]
    assert (
        "show structures that structures_labelled leaves out: 2 masks"
        in kept["remarks"]
    )
    assert not records["s1_1"]["mask"].any()


def add_two(folder):
    folder.add("masks/nerve", area(FIRST))
    folder.add("masks/artery", area(SECOND))


def with_table(text, values=NUMBERS):
    return lambda f: (f.add("masks", values), f.write("structures.csv", text))


WRONG = {
    "no name": (
        with_table(TABLE[:-9]),
        "values without a name: 2; named are 1. Name all",
    ),
    "no name in the table": (
        with_table(TABLE + "3,\n"),
        "structures.csv, line 4: value 3 without a name",
    ),
    "a name that is none": (
        with_table(TABLE + "3,7 %\n"),
        "structures.csv, line 4: value 3 without a name",
    ),
    "no value": (with_table(TABLE + ",bone\n"), "line 4: a name without a value"),
    "a value twice": (
        with_table(TABLE + "1,bone\n"),
        "lines 2 and 4: value 1 is there twice; keep one row",
    ),
    "a name twice": (
        with_table(TABLE + "3,Nerve\n"),
        "lines 2 and 4: name nerve is there twice; keep one row",
    ),
    "no number": (with_table(TABLE + "red,bone\n"), "line 4: value 'red' is no whole"),
    "too large": (
        with_table(TABLE + "65536,bone\n"),
        "line 4: value '65536' is no whole",
    ),
    "the background": (with_table(TABLE + "0,bone\n"), "line 4: 0 is the background"),
    "two kinds": (with_table(TABLE + "#ff0000,bone\n"), "both numbers and colours"),
    "no rows": (with_table("value,name\n"), "structures.csv: no structures in it"),
    "no columns": (
        with_table("id,label\n1,nerve\n"),
        "structures.csv: no column value",
    ),
    "numbers, not colours": (with_table(TABLE, COLOURS), "coloured label map"),
    "colours, not numbers": (with_table(OF_COLOURS), "values without a name: #010101"),
    "fractions": (
        lambda f: (
            save(f.path / "masks/s0_0.tif", NUMBERS.astype(np.float32) / 2),
            f.write("structures.csv", TABLE),
        ),
        "s0_0.tif: values that are no whole numbers from 0 to 65535",
    ),
    "a soft map": (
        with_table(TABLE, np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE)),
        "253 values without a name, 3, 4, 5, 6, 7, 8, 9, 10…: a label map softened",
    ),
    "another name": (
        lambda f: (f.add("masks", NUMBERS), f.write("Structures.csv", TABLE)),
        "Structures.csv: is it the table of structures? Save it as CSV",
    ),
    "maps without a table": (
        lambda f: f.add("masks", NUMBERS),
        "others as 0, or name what each means in structures.csv (value,name) beside",
    ),
    "a table that folders need not": (
        lambda f: (add_two(f), f.write("structures.csv", TABLE)),
        "there is a folder of masks for each structure (artery, nerve); take the table",
    ),
    "both kinds of masks": (
        lambda f: (add_two(f), f.add("masks", area(FIRST), STEMS[:1])),
        "masks: both masks (s0_0.png) and folders of structures (artery, nerve); put",
    ),
    "a name in two folders": (
        lambda f: (add_two(f), f.add("masks/Nerve", area(FIRST))),
        "the same structure as Nerve, nerve; put the masks into one folder",
    ),
    "a folder that is no name": (
        lambda f: (add_two(f), f.add("masks/1", area(FIRST))),
        "masks/1: no name of a structure, which begins with a letter",
    ),
    "orphans": (
        lambda f: (add_two(f), f.add("masks/artery", area(FIRST), ("s0_0x", "s1_0x"))),
        "masks/artery: 2 masks without an image of the same name, e.g. s0_0x: masks end in",
    ),
    "an orphan": (
        lambda f: (add_two(f), f.add("masks/artery", area(FIRST), ("other",))),
        "artery/other.png: mask without an image; add its image",
    ),
    "folders of people": (
        lambda f: [f.add(f"masks/{s[:2]}", area(FIRST), (s,)) for s in STEMS],
        "folders s0, s1 of masks are people, not structures; put all masks into masks/",
    ),
    "sizes of readers": (
        lambda f: (
            f.add("masks", area(FIRST)),
            f.add("masks_reader2", area(FIRST)[:20]),
        ),
        "masks_reader2/s0_0.png: mask is 32x20 px, its image 32x24 px",
    ),
    "a reader without masks": (
        lambda f: (f.add("masks", area(FIRST)), (f.path / "masks_reader2").mkdir()),
        "masks_reader2: no masks of this reader; add them, or take the folder away",
    ),
    "no first reader": (
        lambda f: f.add("masks_reader2", area(FIRST)),
        "masks_reader2: the first reader's masks lie in masks/",
    ),
    "a second first reader": (
        lambda f: [f.add(name, area(FIRST)) for name in ("masks", "masks_reader1")],
        "masks_reader1: the first reader's masks lie in masks/",
    ),
    "nearly a reader's": (
        lambda f: [f.add(name, area(FIRST)) for name in ("masks", "masks2")],
        "masks2: is it a reader's folder of masks? Name it masks_reader2",
    ),
    "marks of a structure": (
        lambda f: (
            f.add("masks/nerve", area(FIRST)),
            f.add("masks/nerve", area(FIRST, value=128), STEMS[:1]),
        ),
        "masks mark different things: 255 in 3 masks (",
    ),
    "a structure that the masks cannot show": (
        lambda f: (
            add_two(f),
            f.write(
                "subjects.csv",
                "frame,subject,structures_labelled\n"
                + "".join(f"{s},{s[:2]},nerve vein\n" for s in STEMS),
            ),
        ),
        "line 2: structures_labelled has vein, but the masks there can show: artery, nerve.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named_with_its_mend(tmp_path, folder, name):
    change, text = WRONG[name]
    change(folder)
    assert text in refuse(folder, tmp_path)


WRONG_READERS = {
    "none": (
        lambda f: f.add("masks", area(FIRST)),
        "no readers' folders in it; put each",
    ),
    "masks beside": (
        lambda f: [f.add(name, area(FIRST)) for name in ("masks", "masks/anna")],
        "4 masks in it beside readers' folders; put each reader's",
    ),
    "both kinds": (
        lambda f: [f.add(n, area(FIRST)) for n in ("masks/anna", "masks_reader2")],
        "masks_reader2: beside readers' folders in masks/; put each",
    ),
    "one empty": (
        lambda f: (f.add("masks/anna", area(FIRST)), (f.path / "masks/bert").mkdir()),
        "masks/bert: no masks of this reader",
    ),
    "for all readers": (
        lambda f: [f.add(f"masks/{n}", area(FIRST)) for n in ("anna", "Mean")],
        "masks/Mean: a reader cannot be called mean, which stands for all readers",
    ),
    "for the model": (
        lambda f: [f.add(f"masks/{n}", area(FIRST)) for n in ("anna", "model")],
        "masks/model: a reader cannot be called model, which stands for the model",
    ),
    "one name": (
        lambda f: [f.add(f"masks/{n}", area(FIRST)) for n in ("dr anna", "Dr. Anna")],
        "the same reader as Dr. Anna, dr_anna",
    ),
}


@pytest.mark.parametrize("name", WRONG_READERS)
def test_folders_that_are_no_readers_are_named(tmp_path, folder, name):
    change, text = WRONG_READERS[name]
    change(folder)
    assert text in refuse(folder, tmp_path, readers=True)


def test_all_that_is_wrong_is_said_at_once(tmp_path, folder):
    folder.add("masks", NUMBERS)
    folder.add("masks", NUMBERS * 3, STEMS[:2])
    folder.write("structures.csv", TABLE + "3,\n4,\n")
    message = refuse(folder, tmp_path)
    for text in (
        "s0_0.png: values without",
        "s0_1.png: values without",
        "line 4",
        "line 5",
    ):
        assert text in message


def test_all_that_changes_records_changes_their_name(folder):
    folder.add("masks", NUMBERS)
    folder.write("structures.csv", TABLE)
    digests = [folder.digest()]
    folder.write("structures.csv", "value,name\n1,nerve\n2,artery\n")
    digests.append(folder.digest())
    folder.write("structures.csv", "value,name\n2,nerve\n1,artery\n")
    digests.append(folder.digest())
    rows = "".join(f"{stem},{stem[:2]},nerve\n" for stem in STEMS)
    folder.write("subjects.csv", "frame,subject,structures_labelled\n" + rows)
    digests.append(folder.digest())
    folder.add("masks_reader2", NUMBERS, STEMS[:1])
    digests.append(folder.digest())
    (folder.path / "masks_reader2").rename(folder.path / "masks_reader3")
    digests.append(folder.digest())
    assert len(set(digests)) == len(digests)
    assert folder.digest() == digests[-1]


def test_plain_folders_keep_the_name_of_their_records(tmp_path):
    """Else records that were prepared before would be prepared again."""
    for part, values in (("images", area(FIRST)), ("masks", area(SECOND))):
        for stem in STEMS:
            save(tmp_path / part / f"{stem}.bmp", values)
    listing = layouts.list_folder(tmp_path)
    assert checking.fingerprint(listing.splits) == "312f446e503e"
