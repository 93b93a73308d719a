import numpy as np
import pytest

from nerve_jax.reports import tables
from nerve_jax.scoring.summary import compute_summary, summarise
from tests.samples import table

COUNTS = np.array([[5, 1, 2, 92], [0, 0, 0, 100], [0, 0, 8, 92], [0, 3, 0, 97]])


def scores_of(counts):
    return compute_summary(table(counts, np.zeros(len(counts))), fitted=True)


def rows():
    return [
        {"fold": fold, **summarise(table(COUNTS[part], np.zeros(2)))}
        for fold, part in enumerate((slice(0, 2), slice(2, 4)))
    ]


def test_folds_are_summarised_by_mean_and_sample_deviation():
    over = tables.summarise_folds(rows())
    values = [row["dice"] for row in rows()]
    assert over["mean"]["dice"] == pytest.approx(np.mean(values))
    assert over["std"]["dice"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert np.isnan(tables.summarise_folds(rows()[:1])["std"]["dice"])


def test_the_table_shows_each_score_beside_its_baseline(capsys):
    tables.print_scores(scores_of(COUNTS), title="a run", folds=rows())
    said = capsys.readouterr().out
    for part in (
        "a run",
        "predicting nothing",
        "Dice, nerve present",
        "by fold",
        "fitted decision",
        "std",
    ):
        assert part in said
    line = next(line for line in said.splitlines() if "pixel accuracy" in line)
    assert "0.965" in line
    assert "0.963" in line  # 0.9625


def test_what_is_not_the_nerve_is_not_called_so(capsys):
    scores = scores_of(COUNTS)
    for by_structure in ({"vessel": scores}, {"vessel": scores, "artery": scores}):
        own = scores | {"by_structure": by_structure, "decision_gain_with_nerve": 0.1}
        tables.print_scores(own, title="a run", folds=rows())
        said = capsys.readouterr().out
        assert "nerve" not in said
        assert said.count("Dice, vessel present") == 2
        assert "on frames with vessel" in said


def test_scanners_have_a_table_where_there_are_several(capsys):
    for names, shown in ((["[GE] 7"] * 4, False), (["[GE] 7", "B", "B", ""], True)):
        scored = table(COUNTS, np.zeros(4), scanners=names)
        tables.print_scores(compute_summary(scored, fitted=True), title="a run")
        said = capsys.readouterr().out
        assert ("by scanner" in said) == shown
        assert ("[GE] 7" in said) == shown
    long = "Maker of Ultrasound Scanners Model 7 Expert Edition with a long name"
    scored = table(COUNTS, np.zeros(4), scanners=[long, "B", "B", "B"])
    tables.print_scores(compute_summary(scored, fitted=True), title="a run")
    said = capsys.readouterr().out
    assert "0.000 to 1.000 │" in said.partition("by scanner")[2]  # on a line, and whole
    scored = table(COUNTS, np.zeros(4), scanners=["[GE] 7", "B", "B", ""])
    first = tables.list_named(compute_summary(scored, fitted=True)["by_scanner"])[0]
    assert first == ("B", "2", "2", "0.500", "0.000 to 1.000", "0.000", "0.500")
    assert len(first) == 1 + len(tables.BY_NAME)


@pytest.mark.parametrize("low", [-0.2, -0.05])
def test_a_decision_that_surely_costs_is_named_with_the_way_out(low, capsys):
    scores = scores_of(COUNTS)
    scores["decision_gain"] = low + 0.1
    scores["intervals"]["decision_gain"] = (low, low + 0.1)
    tables.print_scores(scores, title="a run")
    way_out = "--config.decision.rule=threshold"
    assert (way_out in capsys.readouterr().out) == (low + 0.1 < 0)


def test_a_score_over_no_frames_is_a_dash(capsys):
    tables.print_scores(scores_of(COUNTS[1:2]), title="empty")
    assert "–" in capsys.readouterr().out


def test_a_title_is_printed_as_it_is(capsys):
    title = "[bold]x[/bold] [1] [/] :smile:"
    tables.print_scores(scores_of(COUNTS), title=title)
    assert title in capsys.readouterr().out


@pytest.mark.parametrize("title", ["short", f"/a/{'long-' * 40}path: a set, 4 frames"])
def test_titles_are_lines_of_their_own(title, capsys):
    tables.print_scores(scores_of(COUNTS), title=title, folds=rows())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == title  # neither broken nor padded at the table's width
    assert "by fold" in lines
