"""DICOM: what a screen would show is what is read, whatever the storage."""

import csv
import logging
import math
import pickle
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from nerve_jax.commands.importing import import_folder
from nerve_jax.commands.predict import predict_folder
from nerve_jax.data import media
from nerve_jax.data.loading import load_split
from nerve_jax.data.media import dicom
from nerve_jax.scoring.decide import Rule
from nerve_jax.system.errors import InputError, RunError
from tests.data.media.making import (
    SIZE,
    encode,
    palette,
    region,
    speckle,
    write_dicom,
)

JPEG, J2K, RLE = uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.RLELossless
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
SYNTAXES = (*NATIVE, uid.ExplicitVRBigEndian, RLE, uid.JPEGLSLossless, JPEG, J2K)


def colours_of(path):
    return np.stack(list(media.read_colour(media.describe(path))))


def greys_of(path):
    return np.stack([grey.values for grey in media.read(media.describe(path))])


def to_ybr(rgb):
    """Full range, as JPEG has it."""
    frames = [np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in rgb]
    return np.stack(frames)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
class TestSyntaxes:
    def test_grey(self, tmp_path, syntax, count):
        frames = speckle(count)
        path = write_dicom(tmp_path / "a", frames, syntax=syntax)
        assert media.describe(path).num_frames == count
        lossy = 3 if syntax == JPEG else 0
        np.testing.assert_allclose(greys_of(path).astype(int), frames, atol=lossy)

    def test_white_that_is_zero(self, tmp_path, syntax, count):
        frames = speckle(count)
        path = write_dicom(tmp_path / "a", frames, "MONOCHROME1", syntax)
        lossy = 3 if syntax == JPEG else 0
        np.testing.assert_allclose(greys_of(path).astype(int), 255 - frames, atol=lossy)

    def test_colour(self, tmp_path, syntax, count):
        frames = speckle(count, (3,))
        colours = "YBR_FULL" if syntax == JPEG else "RGB"
        path = write_dicom(tmp_path / "a", frames, colours, syntax)
        lossy = 6 if syntax == JPEG else 0
        np.testing.assert_allclose(colours_of(path).astype(int), frames, atol=lossy)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize(
    "syntax", [s for s in SYNTAXES if s != JPEG], ids=lambda s: s.keyword
)
def test_deep_grey_is_scaled_by_the_bits_that_are_used(tmp_path, syntax, bits):
    shown = speckle(2)
    white = 2**bits - 1
    frames = np.round(shown / 255 * white).astype(np.uint16)
    path = write_dicom(tmp_path / "a", frames, syntax=syntax, bits=bits)
    np.testing.assert_array_equal(greys_of(path), shown)
    path = write_dicom(tmp_path / "b", frames, "MONOCHROME1", syntax, bits)
    np.testing.assert_array_equal(greys_of(path), 255 - shown)


def test_planes_of_colours(tmp_path):
    frames = speckle(2, (3,))
    planes = np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).tobytes()
    more = {"PixelData": planes, "PlanarConfiguration": 1}
    path = write_dicom(tmp_path / "a", frames, "RGB", **more)
    np.testing.assert_array_equal(colours_of(path), frames)


def test_luminance_and_colour_differences_become_rgb(tmp_path):
    frames = speckle(2, (3,))
    ybr = to_ybr(frames)
    path = write_dicom(tmp_path / "a", ybr, "YBR_FULL")
    np.testing.assert_allclose(colours_of(path).astype(int), frames, atol=3)
    halved = np.stack([ybr[:, :, ::2, 0], ybr[:, :, 1::2, 0]], -1)
    halved = np.concatenate([halved, ybr[:, :, ::2, 1:]], -1).tobytes()
    path = write_dicom(tmp_path / "b", ybr, "YBR_FULL_422", PixelData=halved)
    np.testing.assert_allclose(colours_of(path).astype(int), frames, atol=3)


@pytest.mark.parametrize("stored", ["8", "16", "16, only half of it used"])
@pytest.mark.parametrize("syntax", [*NATIVE, uid.ExplicitVRBigEndian, RLE])
def test_palettes_show_their_colours(tmp_path, syntax, stored):
    """A dark frame of a palette is as dark as the palette says."""
    entries = np.random.default_rng(0).integers(0, 256, (256, 3))
    entries[:20] = np.arange(20)[:, None] // 2
    frames = speckle(2)
    frames[1] //= 16
    bits = 8 if stored == "8" else 16
    lut = entries * 257 if stored == "16" else entries
    more = palette(lut, bits)
    if syntax == uid.ExplicitVRBigEndian:  # words are written as they are
        more |= {
            name: np.frombuffer(value, "u2").byteswap().tobytes()
            for name, value in more.items()
            if name.endswith("Data")
        }
    path = write_dicom(tmp_path / "a", frames, "PALETTE COLOR", syntax, **more)
    np.testing.assert_array_equal(colours_of(path), entries[frames])


def test_one_palette_has_one_scale_for_all_frames(tmp_path):
    entries = np.arange(256)[:, None].repeat(3, 1) * 8  # of 11 bits in 16
    frames = speckle(2)
    frames[1] = 20  # shows 160 of 65535: black
    more = palette(entries, 16)
    path = write_dicom(tmp_path / "a", frames, "PALETTE COLOR", **more)
    np.testing.assert_array_equal(colours_of(path), entries[frames] >> 8)


EXAMPLES = {  # of pydicom: frames, height, width, mean of the first, box, scanner
    "examples_ybr_color.dcm": (30, 240, 320, 9.4, (31, 84, 240, 320), "SonoSite"),
    "examples_palette.dcm": (1, 350, 800, 20.5, (60, 120, 350, 800), "Philips"),
    "examples_rgb_color.dcm": (1, 240, 320, None, None, ""),
    "examples_jpeg2k.dcm": (1, 480, 640, 34.5, None, "G.E."),
    "color3d_jpeg_baseline.dcm": (120, 480, 640, 9.5, (31, 84, 415, 596), "SonoSite"),
    "OBXXXX1A_rle_2frame.dcm": (2, 600, 800, 12.4, (60, 120, 519, 800), "Philips"),
    "OBXXXX1A_expb.dcm": (1, 600, 800, 12.4, (60, 120, 519, 800), "Philips"),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": (1, 768, 1024, 17.3, (38, 14, 759, 1011), "Phil"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_real_ultrasound(name):
    count, height, width, mean, box, scanner = EXAMPLES[name]
    medium = media.describe(Path(get_testdata_file(name)))
    assert (medium.kind, medium.num_frames, medium.box) == ("dicom", count, box)
    assert medium.scanner.startswith(scanner)
    first = next(media.read_colour(medium))
    assert first.shape == (height, width, 3)
    if mean is not None:
        assert abs(first.mean() - mean) < 0.1
    doubted = "spacing not believed" in " ".join(medium.remarks)
    cut_by_pydicom = name in ("examples_ybr_color.dcm", "examples_palette.dcm")
    assert doubted == cut_by_pydicom
    if box and not doubted:
        assert 0.1 < medium.spacing_mm[0] < 1


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_rle.dcm",
        "SC_rgb_16bit.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_expb.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_ybr_full_uncompressed.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_one_picture_in_many_ways(name):
    plain = colours_of(Path(get_testdata_file("SC_rgb.dcm")))
    found = colours_of(Path(get_testdata_file(name)))
    assert np.abs(found.astype(int) - plain).mean() < 3  # one has half its colours


def test_jpeg_2000_by_pillow_has_the_same_colours():
    """Of the extra `dicom`, which has no other decoder of it."""
    paths = [Path(get_testdata_file(f"US1_{n}.dcm")) for n in ("UNCR", "J2KR")]
    plain, found = map(colours_of, paths)
    np.testing.assert_array_equal(plain, found)


# What is refused


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "a", speckle(), syntax=uid.JPEGLSLossless)
    decoder = type(get_decoder(uid.JPEGLSLossless))
    monkeypatch.setattr(decoder, "available_plugins", ("pylibjpeg",))
    with pytest.raises(InputError, match=r"pip install .nerve_jax\[dicom-all\]"):
        media.describe(path)
    path = write_dicom(tmp_path / "b", speckle(), syntax=J2K)
    with pytest.raises(InputError, match=r"JPEG 2000.* .nerve_jax\[dicom\]"):
        media.describe(path)


@pytest.mark.parametrize("name", ["gdcm", "pyjpegls"])
def test_either_decoder_of_jpeg_ls_will_do(tmp_path, monkeypatch, name):
    decoder = type(get_decoder(uid.JPEGLSLossless))
    monkeypatch.setattr(decoder, "available_plugins", (name,))
    path = write_dicom(tmp_path / "a", speckle(2), syntax=uid.JPEGLSLossless)
    np.testing.assert_array_equal(greys_of(path), speckle(2))


@pytest.mark.parametrize(
    "syntax",
    [
        uid.MPEG4HP41,
        uid.HTJ2KLossless,
        uid.DeflatedExplicitVRLittleEndian,
        uid.UID("1.2.840.10008.1.2.4.110"),
        uid.UID("1.2.3.4"),
    ],
    ids=str,
)
def test_a_syntax_that_nobody_decodes(tmp_path, syntax, monkeypatch):
    path = write_dicom(tmp_path / "a", speckle(), syntax=RLE)
    old = RLE.encode() + b"\0" * (len(RLE) % 2)
    content = path.read_bytes()
    start = content.index(old)
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    length = len(new).to_bytes(2, "little")
    group = int.from_bytes(content[140:144], "little") + len(new) - len(old)
    content = (
        content[:140]
        + group.to_bytes(4, "little")
        + content[144 : start - 2]
        + length
        + new
        + content[start + len(old) :]
    )
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"which is not read; export it as RLE"):
        media.describe(path)


def test_jpeg_of_12_bits_is_refused_by_its_header():
    with pytest.raises(InputError, match=r"JPEG Extended .* which is not read"):
        media.describe(Path(get_testdata_file("JPGExtended.dcm")))


HEADERS = {  # what is wrong -> elements, and what is said
    "no pixels": ({"PixelData": None}, "without pixels"),
    "no rows": ({"Rows": 0}, "3 frames of 56x0 px"),
    "Rows missing": ({"Rows": None}, "no Rows"),
    "Columns missing": ({"Columns": None}, "no Columns"),
    "Rows of two": ({"Rows": [40, 40]}, "no Rows"),
    "bits missing": ({"BitsAllocated": None}, "no BitsAllocated"),
    "used bits missing": ({"BitsStored": None}, "no BitsStored"),
    "samples missing": ({"SamplesPerPixel": None}, "no SamplesPerPixel"),
    "sign missing": ({"PixelRepresentation": None}, "no PixelRepresentation"),
    "signed": ({"PixelRepresentation": 1}, "signed values"),
    "32 bits": ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits"),
    "more used": ({"BitsStored": 9}, "9 of 8 bits"),
    "colours missing": ({"PhotometricInterpretation": None}, "colours are not named"),
    "other colours": ({"PhotometricInterpretation": "CMYK"}, "colours are CMYK"),
    "grey in three": ({"SamplesPerPixel": 3}, "MONOCHROME2 in 3 values"),
    "colour in one": ({"PhotometricInterpretation": "RGB"}, "RGB in 1 values"),
    "CT": ({"SOPClassUID": uid.CTImageStorage}, "no ultrasound image but CT Image"),
    "no class": ({"SOPClassUID": None}, "no ultrasound image but no class"),
    "many frames": ({"NumberOfFrames": 10**9}, "1000000000 frames of 56x40 px, but"),
    "one frame more": ({"NumberOfFrames": 4}, "4 frames of 56x40 px, but 6720 bytes"),
    "no frames": ({"NumberOfFrames": 0}, "0 frames"),
    "less than none": ({"NumberOfFrames": -3}, "-3 frames"),
    "large": ({"Rows": 65535, "Columns": 65535}, "65535x65535 px are too many"),
    "wide": ({"Columns": 65535}, "frames of 65535x40 px, but 6720 bytes"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_headers_that_cannot_be(tmp_path, what):
    """Said before any memory is taken."""
    more, words = HEADERS[what]
    path = write_dicom(tmp_path / "a", speckle(3), **more)
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises(InputError, match=words):
        media.describe(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert time.monotonic() - began < 2


def test_compressed_frames_that_a_file_cannot_hold(tmp_path):
    path = write_dicom(tmp_path / "a", speckle(2), syntax=RLE, NumberOfFrames=10**9)
    with pytest.raises(InputError, match="1000000000 frames of 56x40 px, but"):
        media.describe(path)


def test_files_without_a_first_part(tmp_path):
    whole = write_dicom(tmp_path / "a", speckle()).read_bytes()
    (tmp_path / "bare.dcm").write_bytes(whole[132:])
    (tmp_path / "empty.dcm").write_bytes(b"")
    for name in ("bare.dcm", "empty.dcm"):
        with pytest.raises(InputError, match="no DICOM file by its content"):
            media.describe(tmp_path / name)
    start = whole.index(b"\x08\0")  # of the rest
    (tmp_path / "headless").write_bytes(whole[:132] + whole[start:])
    with pytest.raises(ValueError, match="does not say how it is stored"):
        media.describe(tmp_path / "headless")


def read_all(path):
    medium = media.describe(path)
    return sum(1 for _ in media.read(medium))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
def test_truncated_pixels(tmp_path, syntax):
    frames = np.random.default_rng(0).integers(0, 256, (4, *SIZE), np.uint8)
    whole = write_dicom(tmp_path / "a", frames, syntax=syntax).read_bytes()
    for share in (0.5, 0.8, 0.98):
        (tmp_path / "a").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="bytes of pixels|frame|ends after"):
            read_all(tmp_path / "a")


def test_frames_of_two_sizes(tmp_path):
    large = np.zeros((80, 56), np.uint8)
    for syntax in (JPEG, J2K):
        parts = [encode(frame, syntax) for frame in (speckle()[0], large)]
        path = write_dicom(tmp_path / "a", speckle(2), syntax=syntax)
        header = dcmread(path)
        header.PixelData = encapsulate(parts)
        header.save_as(path)
        with pytest.raises(InputError, match="frame 1 .* not of the 56x40 px"):
            read_all(path)


@pytest.mark.parametrize("counted, words", [(3, "ends after 2 of 3"), (1, "more than")])
def test_not_as_many_frames_as_the_header_counts(tmp_path, counted, words):
    path = write_dicom(tmp_path / "a", speckle(2), syntax=JPEG, NumberOfFrames=counted)
    with pytest.raises(InputError, match=words):
        read_all(path)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Small whole files of many kinds."""
    folder = tmp_path_factory.mktemp("seeds")
    more = {"SequenceOfUltrasoundRegions": [region(2, 3, 40, 30)]}
    for syntax in SYNTAXES:
        write_dicom(folder / f"grey {syntax}", speckle(2), syntax=syntax, **more)
    entries = palette(np.zeros((256, 3), int), 16)
    write_dicom(folder / "palette", speckle(2), "PALETTE COLOR", **entries)
    write_dicom(folder / "colour", speckle(1, (3,)), "RGB", **more)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@st.composite
def mutations(draw):
    """Which seed, and what becomes of its bytes: most of it early in the file."""
    changes = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "set", "insert", "repeat", "swap"]),
                st.floats(0, 1).map(lambda share: share**3),
                st.binary(min_size=1, max_size=4),
            ),
            min_size=1,
            max_size=4,
        )
    )
    return draw(st.integers(0, 99)), changes


def mutate(content, changes):
    content = bytearray(content)
    for kind, share, new in changes:
        where = 132 + int(share * max(len(content) - 133, 0))
        if kind == "cut":
            del content[where:]
        elif kind == "set":
            content[where : where + len(new)] = new
        elif kind == "insert":
            content[where:where] = new
        elif kind == "repeat":
            content[where:where] = content[where : where + 50]
        else:
            content[where : where + 2] = content[where : where + 2][::-1]
    return bytes(content)


@settings(max_examples=300, deadline=5000, database=None)
@given(mutations())
def test_damaged_files_are_read_or_refused_in_words(seeds, mutation):
    seed, changes = mutation
    path = FUZZED / "IM_0001"
    path.write_bytes(mutate(seeds[seed % len(seeds)], changes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            medium = media.describe(path)
            for frame in media.read_colour(medium):
                assert frame.ndim == 3
        except (ValueError, OSError) as error:
            assert str(error) and "\n" not in str(error)


def test_random_bytes_after_the_letters(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(200):
        length = int(rng.integers(0, 3000))
        (tmp_path / "x").write_bytes(bytes(128) + b"DICM" + rng.bytes(length))
        with pytest.raises((ValueError, OSError)):
            read_all(tmp_path / "x")


@pytest.fixture(scope="module", autouse=True)
def _folder_of_fuzzing(tmp_path_factory):
    global FUZZED
    FUZZED = tmp_path_factory.mktemp("fuzzed")


def test_nothing_is_printed_of_what_is_odd_in_a_file(tmp_path, capfd):
    """By Python, by handlers of other libraries, or by decoders in C."""
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            path = write_dicom(tmp_path / "a", speckle(3), syntax=uid.JPEGLSLossless)
            content = path.read_bytes().replace(b"MRN-4711", b"MRN-\xff\xfe\x01\\")
            path.write_bytes(content.replace(b"1.2.3\0", b"a..b3\0"))
            read_all(path)
            for name in CUT_SHORT:
                content = Path(get_testdata_file(name)).read_bytes()
                path.write_bytes(content[: len(content) * 2 // 3])
                with pytest.raises(InputError):
                    read_all(path)
    finally:
        logging.getLogger().removeHandler(handler)
    assert capfd.readouterr() == ("", "")


CUT_SHORT = (
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "US1_J2KR.dcm",
    "examples_ybr_color.dcm",
    "OBXXXX1A_rle.dcm",
    "SC_rgb_jls_lossy_line.dcm",
)


# What a header says


def describe_with(tmp_path, *regions, **more):
    if regions:
        more["SequenceOfUltrasoundRegions"] = list(regions)
    return media.describe(write_dicom(tmp_path / "a", speckle(2), **more))


WHOLE = (4, 6, 43, 33)  # left, top, right, bottom, the last ones included
BOX = (6, 4, 34, 44)


def test_a_region_is_box_and_spacing(tmp_path):
    medium = describe_with(tmp_path, region(*WHOLE, 0.02))
    assert (medium.box, medium.spacing_mm) == (BOX, (0.2, 0.2))
    item = region(*WHOLE, PhysicalDeltaY=0.01, PhysicalDeltaX=-0.03)
    assert describe_with(tmp_path, item).spacing_mm == pytest.approx((0.1, 0.3))
    assert not medium.remarks


def test_the_largest_of_regions(tmp_path):
    small = region(0, 0, 9, 9)
    flow = region(*WHOLE, RegionDataType=2)
    assert describe_with(tmp_path, small, flow, small).box == BOX
    two = region(*WHOLE), region(6, 4, 45, 31)
    with pytest.raises(InputError, match="2 regions of one size.* which one is meant"):
        describe_with(tmp_path, *two)
    assert describe_with(tmp_path, two[0], flow).box == BOX  # one place, twice


OTHER = {  # what is not tissue in cm
    "type": {"RegionDataType": 3},
    "spatial format": {"RegionSpatialFormat": 2},
    "units": {"PhysicalUnitsXDirection": 4},
    "no units": {"PhysicalUnitsYDirection": None},
    "no edge": {"RegionLocationMaxX1": None},
    "no format": {"RegionSpatialFormat": None},
    "turned": {"RegionLocationMinX0": 50},
}


@pytest.mark.parametrize("what", OTHER)
def test_regions_of_something_else_are_passed_over(tmp_path, what):
    item = region(*WHOLE, **OTHER[what])
    medium = describe_with(tmp_path, item)
    assert medium.box is None
    assert np.isnan(medium.spacing_mm).all()
    assert describe_with(tmp_path, item, region(1, 1, 9, 9)).box == (1, 1, 10, 10)
    medium = describe_with(tmp_path, item, PixelSpacing=[0.1, 0.2])
    assert medium.spacing_mm == (0.1, 0.2)


def test_regions_that_reach_beyond_the_image(tmp_path):
    height, width = SIZE
    one = describe_with(tmp_path, region(4, 6, width, height))  # no longer inclusive
    assert (one.box, one.spacing_mm) == ((6, 4, height, width), (0.1, 0.1))
    assert not one.remarks
    far = describe_with(tmp_path, region(4, 6, width + 1, 20))
    assert far.box == (6, 4, 21, width)
    assert np.isnan(far.spacing_mm).all()
    assert "spacing not believed" in far.remarks[0]
    outside = region(width, 0, width + 500, 500)
    out = describe_with(tmp_path, outside)
    assert out.box is None
    assert "outside the image" in out.remarks[0]
    assert describe_with(tmp_path, outside, region(*WHOLE)).box == BOX
    huge = region(0, 0, 2**32 - 2, 2**32 - 2)
    assert describe_with(tmp_path, huge).box == (0, 0, height, width)


@pytest.mark.parametrize("delta", [0.0, 5.0, 1e-9, math.nan, math.inf, None])
def test_a_spacing_that_no_pixel_has(tmp_path, delta):
    medium = describe_with(tmp_path, region(*WHOLE, PhysicalDeltaX=delta))
    assert medium.box == BOX
    assert np.isnan(medium.spacing_mm).all()
    assert "not believed" in medium.remarks[0]


def test_pixel_spacing(tmp_path):
    assert describe_with(tmp_path, PixelSpacing=[0.1, 0.2]).spacing_mm == (0.1, 0.2)
    for other in ([0.1], [0.1, 0.2, 0.3], [0, 0.1], [300, 300]):
        medium = describe_with(tmp_path, PixelSpacing=other)
        assert np.isnan(medium.spacing_mm).all()
        assert "not believed" in medium.remarks[0]
    path = write_dicom(tmp_path / "a", speckle(), PixelSpacing=[0.5, 0.5])
    path.write_bytes(path.read_bytes().replace(b"0.5\\0.5", b"abc\\def"))
    assert np.isnan(media.describe(path).spacing_mm).all()


def test_the_scanner_is_maker_and_model(tmp_path):
    names = {"Manufacturer": " A  Maker\n", "ManufacturerModelName": "M \t 1"}
    assert describe_with(tmp_path, **names).scanner == "A Maker M 1"
    assert describe_with(tmp_path, ManufacturerModelName="M1").scanner == "M1"
    assert describe_with(tmp_path).scanner == ""
    odd = {"Manufacturer": "A\x00\x1b[31mB"}
    assert describe_with(tmp_path, **odd).scanner.isprintable()


def test_who_was_scanned(tmp_path):
    person = describe_with(tmp_path, PatientID=" 12 ").person
    assert person == describe_with(tmp_path, PatientID="12").person
    assert person != describe_with(tmp_path, PatientID="13").person
    issued = describe_with(tmp_path, PatientID="12", IssuerOfPatientID="A").person
    assert person != issued
    named = {"PatientID": "", "PatientName": "A^B", "PatientBirthDate": "19700101"}
    assert describe_with(tmp_path, **named).person == "A^B/19700101"
    nobody = {"PatientID": None, "PatientName": "^^", "StudyInstanceUID": "1.2.9"}
    assert describe_with(tmp_path, **nobody).person == "1.2.9"


def test_words_that_name_somebody(tmp_path):
    nested = region(*WHOLE, OperatorsName="Nested^Li")
    more = {
        "ReferringPhysicianName": "Brown^Ann",
        "OtherPatientIDs": "K-99",
        "AccessionNumber": "12",
        "ImageComments": "nothing of a name",
    }
    medium = describe_with(tmp_path, nested, **more)
    assert {"doelle", "janina", "mrn", "4711", "brown", "ann", "nested", "li"} <= (
        medium.words
    )
    assert not {"nothing", "k", "12"} & medium.words


def test_what_is_private_is_in_no_text(tmp_path):
    medium = describe_with(tmp_path)
    for text in (repr(medium), str(medium), f"{medium}", repr([medium])):
        assert "MRN" not in text
        assert "doelle" not in text.casefold()
    assert b"MRN" in pickle.dumps(tuple(medium))  # it is there


def test_what_is_said_of_burned_in_names_is_not_believed(tmp_path):
    plain = describe_with(tmp_path)
    assert plain == describe_with(tmp_path, BurnedInAnnotation="NO")
    assert plain == describe_with(tmp_path, BurnedInAnnotation="YES")


def test_pixels_are_not_held(tmp_path):
    """Nor a large element before them, such as a maker's own recording."""
    frames = np.zeros((60, 200, 300, 3), np.uint8)
    path = write_dicom(tmp_path / "a", frames, "RGB")
    header = dcmread(path)
    header.add_new(0x00191010, "OB", bytes(10**7))
    header.save_as(path)
    tracemalloc.start()
    medium = media.describe(path)
    assert tracemalloc.get_traced_memory()[1] < 3e6
    tracemalloc.reset_peak()
    assert sum(1 for _ in media.read(medium)) == 60
    assert tracemalloc.get_traced_memory()[1] < 8 * frames[0].nbytes
    tracemalloc.stop()


# Whole commands


def bright(images):
    probs = (np.asarray(images)[:, None] > 128).astype(np.float32)
    return probs, probs.max((2, 3))


def predict(folder, output):
    return predict_folder(
        folder,
        output,
        bright,
        image_size=(24, 32),
        submission=False,
        rules={"nerve": Rule(0.5)},
    )


def make_bad(folder):
    """Files that cannot be read, of many kinds; returns how many."""
    write_dicom(folder / "no pixels", speckle(), PixelData=None)
    write_dicom(folder / "CT", speckle(), SOPClassUID=uid.CTImageStorage)
    whole = write_dicom(folder / "cut", speckle(4), syntax=RLE).read_bytes()
    (folder / "cut").write_bytes(whole[:-700])
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "random").write_bytes(bytes(128) + b"DICM" + bytes(range(256)))
    (folder / "gone.dcm").symlink_to(folder / "nowhere")
    return 6


def test_bad_files_keep_no_other_from_being_predicted(tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    bad = make_bad(folder)
    write_dicom(folder / "1.2.840.7", speckle(2))
    write_dicom(folder / "ümlaut $(x)", speckle(seed=1))
    with pytest.raises(RunError, match=rf"{bad} of {bad + 2} files"):
        predict(folder, output)
    masks = {
        p.relative_to(output / "masks").as_posix()
        for p in output.rglob("*.png")
        if "masks" in p.parts
    }
    assert masks == {"1.2.840.7/00000.png", "1.2.840.7/00001.png", "ümlaut $(x).png"}
    with (output / "errors.csv").open() as file:
        assert len(list(csv.DictReader(file))) == bad


def test_bad_files_keep_no_other_from_being_imported(tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    bad = make_bad(folder)
    write_dicom(folder / "1.2.840.7", speckle(2))
    with pytest.raises(RunError, match=f"{bad} of {bad + 1} sources"):
        import_folder(folder, output)
    text = (output / "imported.csv").read_text()
    assert "1.2.840.7" in text


def load(folder, tmp_path, size=(24, 32)):
    return load_split(
        "train",
        size,
        name="ultrasound_nerve/folder",
        records_dir=str(tmp_path / "records"),
        manual_dir=str(folder),
    )


def save_mask(path, size, inside=np.s_[:, :]):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[inside] = 255
    Image.fromarray(mask).save(path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set" / "images").mkdir(parents=True)
    return tmp_path / "set"


def test_masks_drawn_on_the_whole_frame_or_on_the_cut(tmp_path, folder):
    top, left, bottom, right = BOX
    cut = (bottom - top, right - left)
    more = {"SequenceOfUltrasoundRegions": [region(*WHOLE)], "Manufacturer": "Maker"}
    frames = speckle(2)
    write_dicom(folder / "images" / "IM_0001", frames, **more)
    save_mask(folder / "masks" / "IM_0001" / "00000.png", SIZE, np.s_[10:20, 10:30])
    save_mask(folder / "masks" / "IM_0001" / "00001.png", cut, np.s_[4:14, 6:26])
    write_dicom(folder / "images" / "IM_0002.dcm", frames[:1], **more)
    save_mask(folder / "masks" / "IM_0002.png", SIZE, np.s_[10:20, 10:30])
    found = load(folder, tmp_path)
    assert found.frames == ("IM_0001#0", "IM_0001#1", "IM_0002")
    assert set(found.scanners) == {"Maker"}
    assert len(set(found.truths)) == 1
    assert found.sizes.tolist() == [list(cut)] * 3
    np.testing.assert_allclose(found.spacing_mm, 0.1)
    np.testing.assert_array_equal(found.original(0), frames[0, top:bottom, left:right])
    assert found.clips == ("IM_0001", "IM_0001", "")
    assert len(set(found.subjects)) == 1
    assert found.subjects[0].startswith("p")


def test_masks_of_fewer_frames_or_of_another_size(tmp_path, folder):
    write_dicom(folder / "images" / "IM_0001", speckle(3))
    save_mask(folder / "masks" / "IM_0001" / "00000.png", SIZE)
    with pytest.raises(InputError, match="masks of 1 of 3 frames; none of 1, 2"):
        load(folder, tmp_path)
    for number in (1, 2):
        save_mask(folder / "masks" / "IM_0001" / f"0000{number}.png", (9, 9))
    with pytest.raises(InputError, match="mask is 9x9 px, its image 56x40 px"):
        load(folder, tmp_path)
    save_mask(folder / "masks" / "IM_0001" / "00003.png", SIZE)
    with pytest.raises(InputError, match="1 mask of frames that the clip does not"):
        load(folder, tmp_path)


def test_every_bad_file_of_a_data_set_is_named_at_once(tmp_path, folder):
    bad = make_bad(folder / "images")
    write_dicom(folder / "images" / "fine", speckle())
    with pytest.raises(InputError) as caught:
        load(folder, tmp_path)
    for name in ("no pixels", "CT", "cut", "empty.dcm", "random", "gone.dcm"):
        assert f"/{name}: " in str(caught.value)
    assert f"({bad} problems)" in str(caught.value)
    assert not (tmp_path / "records").exists()


def test_no_key_no_data_set(tmp_path, folder):
    """A key that cannot be made or read is an error that says what to do."""
    write_dicom(folder / "images" / "a", speckle())
    (folder / "pseudonyms.key").write_text("no key")
    with pytest.raises(InputError, match=r"pseudonyms\.key.*put the key back"):
        load(folder, tmp_path)


def test_a_table_says_who_is_who_without_a_key(tmp_path, folder):
    write_dicom(folder / "images" / "a.dcm", speckle(2))
    (folder / "subjects.csv").write_text("frame,subject,scanner\na.dcm,anna,mine\n")
    found = load(folder, tmp_path)
    assert found.subjects == ("anna", "anna")
    assert found.scanners == ("mine", "mine")
    assert not (folder / "pseudonyms.key").exists()


def test_an_export_without_a_mask_is_left_out(tmp_path, folder, capsys):
    frames = speckle(3)
    for place, frame in enumerate(frames):
        write_dicom(folder / "images" / f"IM_000{place}", frame[None])
    Image.fromarray(frames[0]).save(folder / "images" / "IM_0000.bmp")
    Image.fromarray(frames[1]).save(folder / "images" / "export.bmp")
    Image.fromarray(frames[2]).save(folder / "images" / "outlined.bmp")
    for name in ("IM_0000", "IM_0001", "outlined"):
        save_mask(folder / "masks" / f"{name}.png", SIZE)
    found = load(folder, tmp_path)
    assert found.frames == ("IM_0000", "IM_0001", "outlined")
    assert "copies of IM_0000" in capsys.readouterr().out


def test_dicom_is_what_is_in_a_file(tmp_path):
    path = write_dicom(tmp_path / "IM_0001.png", speckle())
    assert media.find_kind(path) == "dicom"
    head = path.read_bytes()[: dicom.PREAMBLE_BYTES + 4]
    assert dicom.is_dicom(head)
    assert not dicom.is_dicom(head[:-1])
