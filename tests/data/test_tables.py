"""Tables of people as hands and spreadsheets write them."""

import re

import numpy as np
import pytest

from nerve_jax.data.ultrasound_nerve.sources import SourceFile, SourceFrame
from nerve_jax.data.ultrasound_nerve.tables import apply_subjects, read_table
from nerve_jax.system.errors import InputError

GOOD = ("a_1", "a_2", "ü_1")
PLAIN = (
    "frame,subject,spacing_y_mm,spacing_x_mm\na_1,p,0.1,0.2\na_2,p,,\nü_1,q,0.1,0.1\n"
)


def write(tmp_path, content) -> SourceFile:
    path = tmp_path / "subjects.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return SourceFile(path)


def apply(tmp_path, content, **of_files):
    """Frames with their people, and what is wrong."""
    frames = [
        SourceFrame(name, "", SourceFile(tmp_path / f"{name}.png"), **of_files)
        for name in GOOD
    ]
    problems: list[str] = []
    found, unknown = apply_subjects(frames, write(tmp_path, content), problems)
    return found, unknown, problems


SEMICOLONS = PLAIN.replace(",", ";").replace("0.", "0,")
FORMS = {
    "plain": PLAIN,
    "windows": PLAIN.replace("\n", "\r\n"),
    "old mac": PLAIN.replace("\n", "\r"),
    "semicolons, decimal comma": SEMICOLONS,
    "tabs": PLAIN.replace(",", "\t"),
    "byte-order mark": b"\xef\xbb\xbf" + SEMICOLONS.encode(),
    "UTF-16": PLAIN.replace(",", "\t").encode("utf-16"),
    "UTF-16 big": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "code page of Windows": SEMICOLONS.encode("cp1252"),
    "marked separator": "sep=;\n" + SEMICOLONS,
    "decimal comma in quotes": PLAIN.replace("0.1,0.2", '"0,1","0,2"').replace(
        "0.1,0.1", '"0,1","0,1"'
    ),
    "blanks": PLAIN.replace(",", " , "),
    "capitals": PLAIN.replace("frame,subject", "Frame,SUBJECT"),
    "spaces in names": PLAIN.replace("spacing_y_mm", "Spacing y mm"),
    "blank lines": "\n" + PLAIN.replace("\n", "\n\n") + ",,,\n\n",
    "decomposed": PLAIN.replace("ü", "u\u0308"),
    "endings": PLAIN.replace("a_1,", "a_1.png,"),
    "other columns": PLAIN.replace("frame", "age,frame").replace("\n", "\n40,")[:-3],
    "empty columns": PLAIN.replace("\n", ",,\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_tables_of_every_form_say_the_same(tmp_path, form):
    frames, unknown, problems = apply(tmp_path, FORMS[form])
    assert problems == []
    assert [f.subject for f in frames] == ["p", "p", "q"]
    spacings = [(0.1, 0.2), (np.nan, np.nan), (0.1, 0.1)]
    np.testing.assert_array_equal([f.spacing_mm for f in frames], spacings)
    assert unknown == (["age"] if form == "other columns" else [])


WRONG = {
    "no header": (
        "a_1,p\na_2,p\n",
        "no column frame, subject; its first line has: a_1, p",
    ),
    "other names": ("image,patient\na_1,p\n", "its first line has: image, patient"),
    "one spacing": (
        "frame,subject,spacing_mm\n",
        "column spacing_mm is not known; is it spacing_y_mm or spacing_x_mm? Write both,",
    ),
    "near": (
        "frame,subject,spacing_y_mm,spacing_x_mn\n",
        "is it spacing_x_mm? Name it so; or take it away",
    ),
    "twice": ("frame,subject,Subject\n", "column subject is there twice; keep one"),
    "bare decimal comma": (
        "frame,subject,spacing_y_mm,spacing_x_mm\na_1,p,0,1,0,1\n",
        "line 2: 6 cells, but 4 columns; put numbers with a decimal comma in quotes",
    ),
    "zero bytes": (b"frame,subject\n\0\0\0\1", "not a table"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "subjects.csv: "),
    "a spreadsheet": (b"PK\3\4" + bytes(range(256)) * 3, "subjects.csv: "),
    "empty": ("", "its first line has: nothing"),
}


@pytest.mark.parametrize("form", WRONG)
def test_what_is_no_such_table_says_why(tmp_path, form):
    content, words = WRONG[form]
    with pytest.raises(InputError) as caught:
        apply(tmp_path, content)
    assert words in str(caught.value)
    assert "subjects.csv" in str(caught.value)


ROWS = {
    "a_1,7\na_2,007\nü_1,8": "subjects '007' and '7' look like one person",
    "a_1,7\na_2,7.0\nü_1,8": "subjects '7' and '7.0' look like one person",
    "a_1,Anna\na_2,anna\nü_1,8": "subjects 'Anna' and 'anna' look like one person",
    "a_1,7\na_2,7": "no row for",
    "a_1,7\na_2,7\nü_1,8\n\n\nx,9": "line 7: no frame 'x' there",
    "A_01,7\na_2,7\nü_1,8": "line 2: no frame 'A_01' there; is it 'a_1'?",
    "a_1,\na_2,7\nü_1,8": "line 2: no subject",
    "a_1,7,120,120\na_2,7\nü_1,8": "is not the size of a pixel in mm, 0.005 to 2",
    "a_1,7,0.1,\na_2,7\nü_1,8": "is not two positive numbers of mm",
    "a_1,7,0.0001,0.0001\na_2,7\nü_1,8": "is not the size of a pixel in mm",
    "a_1,7,inf,inf\na_2,7\nü_1,8": "is not two positive numbers of mm",
}


@pytest.mark.parametrize("rows", ROWS)
def test_what_is_wrong_in_a_row_is_named(tmp_path, rows):
    header = "frame,subject,spacing_y_mm,spacing_x_mm\n"
    *_, problems = apply(tmp_path, header + rows)
    assert any(ROWS[rows] in problem for problem in problems)
    for problem in problems:  # each ends in what to do
        _, _, mend = problem.partition("; ")
        assert re.match("is it|keep|name|add|take|write|correct|spell", mend)


CLIPS = {
    "a_1,7,,c\na_2,8,,c\nü_1,9,,c": "line 3: clip 'c' is of subject '8', but of '7' in "
    "line 2; name one subject for one clip",
    "a_1,7,A,c\na_2,7,,c\nü_1,7,B,c": "line 4: clip 'c' is of scanner 'B', but of 'A' in "
    "line 2; name one scanner for one clip",
    "a_1,7,GE Logiq,\na_2,7,ge  logiq,\nü_1,9,,": "scanners 'GE Logiq' and 'ge  logiq' "
    "look like one scanner; spell one scanner in one way",
}


@pytest.mark.parametrize("rows", CLIPS)
def test_a_clip_is_of_one_subject_and_one_scanner(tmp_path, rows):
    *_, problems = apply(tmp_path, "frame,subject,scanner,clip\n" + rows)
    assert len(problems) == 1  # however many frames the clip has
    assert CLIPS[rows] in problems[0]


def test_a_clip_that_its_file_names_is_of_one_subject_too(tmp_path):
    rows = "frame,subject\na_1,7\na_2,7\nü_1,8\n"
    assert not apply(tmp_path, rows)[-1]
    *_, problems = apply(tmp_path, rows, clip="sweep")
    assert len(problems) == 1
    assert "line 4: clip 'sweep' is of subject '8'" in problems[0]


def test_what_a_table_leaves_empty_stays_as_the_file_says(tmp_path):
    known = {"scanner": "File", "clip": "sweep", "spacing_mm": (0.3, 0.4)}
    header = "frame,subject,scanner,clip,spacing_y_mm,spacing_x_mm\n"
    rows = "a_1,p,Table,other,0.1,0.2\na_2,p,,,,\nü_1,p,,,,\n"
    frames, _, problems = apply(tmp_path, header + rows, **known)
    assert not problems
    found = [(f.subject, f.scanner, f.clip, f.spacing_mm) for f in frames]
    own = ("p", *known.values())
    assert found == [("p", "Table", "other", (0.1, 0.2)), own, own]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    table = read_table(write(tmp_path, "\n\nframe\n\na\n\n\nb\n"), ("frame",))
    assert table.rows == [(5, {"frame": "a"}), (8, {"frame": "b"})]
