from nerve_jax.reports.report_page import choose_first


def test_frames_shown_are_of_as_many_people_as_there_are():
    people = ["a", "a", "b", "a", "c", "b", "d"]
    assert choose_first([3, 1, 5, 2, 4, 0], people) == [3, 5, 4]
    assert choose_first([3, 1, 5, 2], people) == [3, 5, 1]
    assert choose_first([6], people) == [6]
    assert choose_first([], people) == []
