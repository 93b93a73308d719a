import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nerve_jax.reports.pictures import (
    OUTLINE_COLOURS,
    choose_from_worst_to_best,
    draw_sheet,
    outline,
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
