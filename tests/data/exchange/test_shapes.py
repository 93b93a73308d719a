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


@given(COORDINATES, COORDINATES, COORDINATES, COORDINATES, SIZES)
def test_a_box_is_the_polygon_of_its_corners(x0, y0, x1, y1, size):
    (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    polygon = shapes.draw_polygon(np.array(corners, float), size)
    assert np.array_equal(shapes.draw_box(left, top, right, bottom, size), polygon)


def test_the_box_of_a_frame_is_the_frame():
    assert shapes.draw_box(0, 0, 7, 5, (5, 7)).all()
    assert shapes.draw_box(1, 1, 2, 2, (5, 7)).sum() == 1
    assert not shapes.draw_box(4, 1, 2, 2, (5, 7)).any()


def test_an_ellipse_is_turned_clockwise():
    level = shapes.draw_ellipse((10, 10), (8, 2), 0, (20, 20))
    assert level[10, 3:17].all() and not level[3:7, 10].any()
    upright = shapes.draw_ellipse((10, 10), (8, 2), 90, (20, 20))
    assert np.array_equal(upright, level.T)
    falling = shapes.draw_ellipse((10, 10), (8, 2), 45, (20, 20))
    assert falling[14, 14] and not falling[5, 14]  # to the lower right on a screen
    assert not shapes.draw_ellipse((10, 10), (0, 2), 0, (20, 20)).any()


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
