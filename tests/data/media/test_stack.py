import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from nerve_jax.data import media
from tests.samples import sweep

FRAMES = sweep(5, (12, 16))


def save(path, pages, **options):
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def read(path):
    medium = media.describe(path)
    assert medium.kind == "stack"
    frames = [grey.values for grey in media.read(medium)]
    assert len(frames) == medium.num_frames
    return np.stack(frames)


@pytest.mark.parametrize("name", ["c.gif", "c.apng", "c.png", "c.tif", "c.tiff"])
def test_frames_are_those_written(tmp_path, name):
    kind = {"c.apng": "PNG"}.get(name)
    path = save(tmp_path / name, FRAMES, format=kind)
    assert media.find_kind(path) == "stack"
    assert media.describe(path).is_clip
    np.testing.assert_array_equal(read(path), FRAMES)
    colours = list(media.read_colour(media.describe(path)))
    np.testing.assert_array_equal(colours, np.repeat(FRAMES[..., None], 3, -1))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
@pytest.mark.parametrize("name", ["c", "c.dat", "c.mp4"])
def test_a_stack_is_known_by_its_content(tmp_path, name, kind):
    path = save(tmp_path / name, FRAMES, format=kind)
    assert len(read(path)) == 5


def test_a_gif_of_colours_and_transparency_is_what_a_viewer_shows(tmp_path):
    """Later frames of a GIF hold only what has changed; the rest is transparent."""
    pages = np.zeros((3, 12, 16, 3), np.uint8)
    pages[:, :, 4:] = (200, 0, 0)
    for number in range(3):
        pages[number, 2 : 4 + number] = (0, 0, 250)
    path = save(tmp_path / "c.gif", pages, optimize=True)
    with Image.open(path) as image:
        image.seek(2)
        assert "transparency" in image.info or image.tile[0].extents != (0, 0, 16, 12)
    colours = np.stack(list(media.read_colour(media.describe(path))))
    np.testing.assert_allclose(colours.astype(int), pages, atol=2)
    grey = [np.asarray(Image.fromarray(page).convert("L")) for page in pages]
    np.testing.assert_allclose(read(path).astype(int), grey, atol=2)


@pytest.mark.parametrize("disposal", [1, 2, 3])
def test_frames_of_a_gif_are_cleared_as_it_says(tmp_path, disposal):
    frames = [Image.new("RGBA", (16, 12), (0, 0, 0, 0)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((255, 255, 255, 255), (5 * number, 0, 5 * number + 4, 12))
    path = tmp_path / "c.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], disposal=disposal)
    with Image.open(path) as image:
        expected = []
        for number in range(3):
            image.seek(number)
            shown = Image.new("RGBA", image.size, "black")
            shown.alpha_composite(image.convert("RGBA"))
            expected.append(np.asarray(shown.convert("L")))
    np.testing.assert_array_equal(read(path), expected)


def test_a_gif_of_one_picture_is_a_still(tmp_path):
    path = save(tmp_path / "c.gif", FRAMES[:1])
    medium = media.describe(path)
    assert (medium.num_frames, medium.is_clip) == (1, False)
    np.testing.assert_array_equal(read(path), FRAMES[:1])


def test_pages_of_16_bits_are_kept(tmp_path):
    deep = FRAMES.astype(np.uint16) * 16
    path = save(tmp_path / "c.tif", deep)
    np.testing.assert_array_equal(read(path), deep)
    assert media.read_brightest(media.describe(path)) == deep.max()
    assert next(media.read_colour(media.describe(path))).dtype == np.uint8


def test_pages_with_a_palette_are_shown_by_colour(tmp_path):
    pages = [Image.fromarray(page).convert("P") for page in FRAMES]
    for page in pages:
        page.putpalette([255 - i // 3 for i in range(768)])
    pages[0].save(tmp_path / "c.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read(tmp_path / "c.tif"), 255 - FRAMES)


def test_smaller_copies_in_a_tiff_are_no_frames(tmp_path):
    pages = [Image.fromarray(page) for page in (*FRAMES[:2], FRAMES[1, ::2, ::2])]
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "c.tif"), True) as file:
        for number, page in enumerate(pages):
            page.encoderinfo = {"tiffinfo": {254: int(number == 2)}}
            page.encoderconfig = ()
            TiffImagePlugin._save(page, file, "")
            file.newFrame()
    np.testing.assert_array_equal(read(tmp_path / "c.tif"), FRAMES[:2])


def test_pages_of_two_sizes_are_refused(tmp_path):
    pages = [Image.fromarray(FRAMES[0]), Image.fromarray(FRAMES[1, :8])]
    pages[0].save(tmp_path / "c.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="two sizes"):
        read(tmp_path / "c.tif")


@pytest.mark.parametrize("name", ["c.gif", "c.apng"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="."):
        media.describe(tmp_path / name)


@pytest.fixture(scope="module", params=["GIF", "PNG", "TIFF"])
def whole(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    return save(folder / f"c.{request.param.lower()}", FRAMES)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stack_cut_anywhere_has_all_its_frames_or_is_an_error(whole, data):
    content = whole.read_bytes()
    cut = whole.with_name(f"cut{whole.suffix}")
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    try:  # an animated PNG has all of them before its last bytes
        assert len(list(media.read(media.describe(cut)))) == len(FRAMES)
    except (OSError, ValueError) as error:
        assert str(error)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_stack_ends_in_frames_or_an_error(whole, data):
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    flipped = whole.with_name(f"flipped{whole.suffix}")
    flipped.write_bytes(content)
    try:
        medium = media.describe(flipped)
        assert sum(1 for _ in media.read(medium)) == medium.num_frames
    except (OSError, ValueError) as error:
        assert str(error)
