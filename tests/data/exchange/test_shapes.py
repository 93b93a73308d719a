"""Shapes drawn on pixels: whose centres they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nerve_jax.data.exchange import shapes

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
COORDINATES = st.floats(-3, 15, width=16)
MASKS = SIZES.flatmap(lambda size: hnp.arrays(bool, size))


def centres_inside(points, size):
    """By the definition: how often a ray to the left of a centre crosses an edge."""
    inside = np.zeros(size, bool)
    for row, column in np.ndindex(size):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if min(y0, y1) <= y < max(y0, y1):
                inside[row, column] ^= x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x
    return inside


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(3, 7), st.just(2)), elements=COORDINATES
    ),
    SIZES,
)
def test_a_polygon_holds_the_pixels_whose_centres_it_holds(points, size):
    drawn = shapes.draw_polygon(points, size)
    assert np.array_equal(drawn, centres_inside(points, size))


def draw_box(*edges, size=(5, 7)):
    return shapes.make_box(edges).draw(size)


def test_the_box_of_a_frame_is_the_frame():
    assert draw_box(0, 0, 7, 5).all()
    assert draw_box(1, 1, 2, 2).sum() == draw_box(2, 2, 1, 1).sum() == 1
    assert not draw_box(2, 1, 2, 2).any()


@given(COORDINATES, COORDINATES, COORDINATES, COORDINATES, SIZES)
def test_a_box_holds_the_pixels_between_its_edges(x0, y0, x1, y1, size):
    rows, columns = (np.arange(length) + 0.5 for length in size)
    inside = (min(y0, y1) <= rows) & (rows < max(y0, y1))
    beside = (min(x0, x1) <= columns) & (columns < max(x0, x1))
    drawn = shapes.make_box((x0, y0, x1, y1)).draw(size)
    assert np.array_equal(drawn, inside[:, None] & beside)


def test_a_box_is_turned_about_its_centre_or_a_point():
    turned = shapes.make_box((2, 1, 6, 3), 90).outline
    assert (turned.min(0), turned.max(0)) == (
        pytest.approx([3, 0]),
        pytest.approx([5, 4]),
    )
    turned = shapes.make_box((2, 1, 6, 3), 90, (2, 1)).outline
    assert (turned.min(0), turned.max(0)) == (
        pytest.approx([0, 1]),
        pytest.approx([2, 5]),
    )


def draw_ellipse(centre, radii, angle, size=(20, 20)):
    area = shapes.make_ellipse(centre, radii, angle)
    mask = area.draw(size)
    if mask.any():
        (left, top), (right, bottom) = area.outline
        rows, columns = np.nonzero(mask)
        assert top - 1 < rows.min() < top + 1 and bottom - 2 < rows.max() < bottom
        assert left - 1 < columns.min() < left + 1 and right - 2 < columns.max() < right
    return mask


def test_an_ellipse_is_turned_clockwise():
    level = draw_ellipse((10, 10), (8, 2), 0)
    assert level[10, 3:17].all() and not level[3:7, 10].any()
    assert np.array_equal(draw_ellipse((10, 10), (8, 2), 90), level.T)
    falling = draw_ellipse((10, 10), (8, 2), 45)
    assert falling[14, 14] and not falling[5, 14]  # to the lower right on a screen
    assert not draw_ellipse((10, 10), (0, 2), 0).any()


@given(MASKS, st.integers(-6, 12), st.integers(-6, 12), SIZES)
def test_a_patch_is_put_where_it_lies_and_cut_off(part, left, top, size):
    area = shapes.make_patch(left, top, part.shape, lambda: part)
    wide = np.zeros((40, 40), bool)
    wide[10 + top :, 10 + left :][: part.shape[0], : part.shape[1]] = part
    drawn = area.draw(size)
    assert np.array_equal(drawn, wide[10:, 10:][: size[0], : size[1]])
    if drawn.any():
        left, top, inner = shapes.cut_out(drawn)
        assert np.array_equal(
            shapes.make_patch(left, top, inner.shape, lambda: inner).draw(size), drawn
        )


def test_points_are_turned_clockwise():
    turned = shapes.turn_points(np.array([[2.0, 1.0]]), (1.0, 1.0), 90)
    assert np.allclose(turned, [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("point", "overhang"), [((0, 0), 0), ((4, 3), 0), ((-0.5, 1), 0.5), ((2, 5), 2)]
)
def test_how_far_a_point_is_outside(point, overhang):
    assert shapes.compute_overhang(np.array([point], float), (3, 4)) == overhang


def test_a_point_that_is_no_number_is_outside():
    assert shapes.compute_overhang(np.array([[np.nan, 1]]), (3, 4)) == np.inf


@given(MASKS)
def test_run_lengths_give_the_mask_back(mask):
    counts = shapes.encode_counts(mask)
    assert sum(counts) == mask.size and all(counts[1:])
    assert np.array_equal(shapes.decode_counts(counts, mask.shape), mask)


@pytest.mark.parametrize("counts", [[5], [7], [], [3, -1, 4]])
def test_run_lengths_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="run lengths"):
        shapes.decode_counts(counts, (2, 3))
