import struct

import pytest

from nerve_jax.data.media.ends import check_end
from nerve_jax.system.errors import InputError

EBML = b"\x1aE\xdf\xa3\x84abcd"
SEGMENT = b"\x18S\x80g"


def box(content, kind=b"mdat"):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def chunk(content):
    return b"RIFF" + struct.pack("<I", len(content)) + content


GIF = b"GIF89a" + bytes(4) + b"\x80\0\0" + bytes(6)
PICTURE = b"," + bytes(9) + b"\2" + b"\3abc" + b"\0"

# Files that are whole; each but the endless ones is an error without its last byte.
WHOLE = {
    "boxes": ("mov", box(b"isom", b"ftyp") + box(b"12345")),
    "a box of 64 bits": ("mov", struct.pack(">I4sQ", 1, b"mdat", 19) + b"abc"),
    "one chunk": ("avi", chunk(b"AVI 1234")),
    "a large avi": ("avi", chunk(b"AVI 12345") + b"\0" + chunk(b"AVIX12")),
    "a segment": ("matroska", EBML + SEGMENT + b"\x83abc"),
    "a size of 8 bytes": ("matroska", EBML + SEGMENT + b"\1\0\0\0\0\0\0\3abc"),
    "a picture": ("gif", GIF + PICTURE + b";"),
    "an extension": ("gif", GIF + b"!\xf9\2ab\0" + PICTURE + b";"),
    "a palette of its own": (
        "gif",
        GIF + b"," + bytes(8) + b"\x81" + bytes(12) + b"\2\0;",
    ),
}
ENDLESS = {
    "a box to the end": ("mov", box(b"isom", b"ftyp") + b"\0\0\0\0mdat123"),
    "a recorder switched off": ("avi", b"RIFF\0\0\0\0AVI 123"),
    "a live segment": (
        "matroska",
        EBML + SEGMENT + b"\1\xff\xff\xff\xff\xff\xff\xffabc",
    ),
    "a short live segment": ("matroska", EBML + SEGMENT + b"\xffabcdefg"),
}


@pytest.mark.parametrize("name", [*WHOLE, *ENDLESS])
@pytest.mark.parametrize("appended", [b"", b"\0", b"more than belongs to it"])
def test_whole_files_pass_whatever_is_appended(tmp_path, name, appended):
    kind, content = (WHOLE | ENDLESS)[name]
    (tmp_path / "c").write_bytes(content + appended)
    check_end(tmp_path / "c", kind)


@pytest.mark.parametrize("name", WHOLE)
def test_files_without_their_last_byte_are_refused(tmp_path, name):
    kind, content = WHOLE[name]
    (tmp_path / "c").write_bytes(content[:-1])
    with pytest.raises(
        InputError, match=rf"after {len(content) - 1} of {len(content)} b"
    ):
        check_end(tmp_path / "c", kind)
