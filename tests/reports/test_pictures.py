import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerve_jax.reports.pictures import (
    OUTLINE_COLOURS,
    STRUCTURE_COLOURS,
    choose_from_worst_to_best,
    draw_sheet,
    outline,
    outline_structures,
)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_frames_run_from_worst_to_best_among_those_with_a_nerve(frames, count):
    dice = np.array([d for d, _ in frames])
    presence = np.array([p for _, p in frames])
    chosen = choose_from_worst_to_best(dice, presence, count)
    of = presence if presence.any() else np.ones_like(presence)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, of.sum())
    assert of[chosen].all()
    assert (np.diff(dice[chosen]) >= 0).all()
    assert dice[chosen[0]] == dice[of].min()
    if len(chosen) > 1:
        assert dice[chosen[-1]] == dice[of].max()


def test_a_sheet_shows_truth_and_prediction_in_their_colours():
    image = np.full((100, 140), 60, np.uint8)
    truth, pred = np.zeros((2, 100, 140), bool)
    truth[20:60, 30:80] = True
    pred[30:70, 40:90] = True
    sheet = draw_sheet(
        [(image, truth, pred, "a"), (image[:, :90], *np.zeros((2, 100, 90), bool), "b")]
    )
    third = sheet.shape[0] // 3
    for row, name in ((1, "truth"), (2, "prediction")):
        part = sheet[row * third + 42 : (row + 1) * third, : sheet.shape[1] // 2]
        near = np.abs(part.astype(int) - OUTLINE_COLOURS[name]).max(-1) < 60
        assert near.sum() > 100
        other = sheet[row * third + 42 : (row + 1) * third, sheet.shape[1] // 2 + 20 :]
        assert not (
            np.abs(other.astype(int) - OUTLINE_COLOURS[name]).max(-1) < 60
        ).any()


def test_outlines_mark_the_border_and_leave_the_inside():
    mask = np.zeros((20, 20), bool)
    mask[5:12, 6:14] = True
    drawn = outline(np.full((20, 20), 50, np.uint8), truth=mask)
    np.testing.assert_array_equal(drawn[5, 6], OUTLINE_COLOURS["truth"])
    np.testing.assert_array_equal(drawn[8, 9], 50)
    assert ((drawn != 50).any(-1) & ~mask).sum() == 0


def boxes(count, size=(60, 200)):
    """Frames of grey 50 and one box for each structure, side by side."""
    masks = np.zeros((count, *size), bool)
    for number, mask in enumerate(masks):
        mask[10:20, 5 + 20 * number : 15 + 20 * number] = True
    named = {f"structure_{i}": mask for i, mask in enumerate(masks)}
    return np.full(size, 50, np.uint8), named


def test_one_structure_is_drawn_as_a_prediction_without_a_legend():
    image, masks = boxes(1)
    drawn = outline_structures(image, masks)
    np.testing.assert_array_equal(
        drawn, outline(image, prediction=masks["structure_0"])
    )


@pytest.mark.parametrize("count", [2, 4, 9])
@pytest.mark.parametrize("width", [200, 60, 20])
def test_each_structure_has_its_colour_in_the_frame_and_in_the_legend(count, width):
    image, masks = boxes(count)
    drawn = outline_structures(
        image[:, :width], {n: m[:, :width] for n, m in masks.items()}
    )
    assert drawn.shape[1] == width
    frame, legend = drawn[:60], drawn[60:]
    colours = list(itertools.islice(itertools.cycle(STRUCTURE_COLOURS), count))
    for number, colour in enumerate(colours):
        left = 5 + 20 * number
        if left < width:
            np.testing.assert_array_equal(frame[10, left], colour)
            np.testing.assert_array_equal(frame[15, left + 5], 50)
        assert (legend == colour).all(-1).sum() >= 100


def test_the_first_structure_is_seen_where_borders_coincide():
    image, masks = boxes(1)
    (mask,) = masks.values()
    drawn = outline_structures(image, {"nerve": mask, "vessel": mask})
    np.testing.assert_array_equal(drawn[10, 5], STRUCTURE_COLOURS[0])


# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
WEAK = {
    "none": np.eye(3),
    "red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def to_lab(colour, weak):
    """CIELAB of an sRGB colour, as somebody sees it who lacks a kind of cone."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = np.array(TO_XYZ) @ np.clip(np.array(weak) @ linear, 0, 1)
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("weak", WEAK)
def test_colours_of_structures_are_told_apart_without_a_kind_of_cone(weak):
    seen = [to_lab(colour, WEAK[weak]) for colour in STRUCTURE_COLOURS]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 15  # 2.3 is just noticeable
    few = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen[:4], 2)]
    assert min(few) > 25
    assert len(seen) == 8
