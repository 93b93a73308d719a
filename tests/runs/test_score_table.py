import numpy as np

from nerve_jax.runs.score_table import read_scores, write_scores
from tests.samples import COUNTS, table


def test_tables_give_back_what_they_were_given(tmp_path):
    scored = table(COUNTS, [0.25, 0.75, 0.5, 1], scanners=["A", "", "B", "B"])
    write_scores(tmp_path / "one.csv", scored)
    write_scores(tmp_path / "two.csv", scored.select(np.array([2, 0])))
    read = read_scores([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert read.frames == list("abcdca")
    assert read.subjects == list("ppqqqp")
    assert read.scanners == ["A", "", "B", "B", "B", "A"]
    np.testing.assert_array_equal(read.counts[:4], scored.counts)
    np.testing.assert_allclose(read.presence_probs[4:], [0.5, 0.25])
    np.testing.assert_array_equal(
        read.surface["hd95_px"][:4], scored.surface["hd95_px"]
    )
    assert read_scores([]).counts.shape == (0, 4)
    line = (tmp_path / "one.csv").read_text().splitlines()[2]
    assert line == "b,p,p,,0,0,0,100,1.000000,0.750000,0.500000,0,0.250000,,,"


def test_tables_of_earlier_versions_name_no_scanner(tmp_path):
    path = tmp_path / "one.csv"
    write_scores(path, table(COUNTS, [0.25, 0.75, 0.5, 1]))
    path.write_text(path.read_text().replace(",scanner", "").replace("p,p,,", "p,p,"))
    path.write_text(path.read_text().replace("q,q,,", "q,q,"))
    assert read_scores([path]).scanners == [""] * 4
    assert read_scores([path]).counts.tolist() == COUNTS
