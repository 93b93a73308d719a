import numpy as np

from nerve_jax.runs.score_table import read_scores, write_scores
from tests.samples import COUNTS, table


def test_tables_give_back_what_they_were_given(tmp_path):
    scored = table(COUNTS, [0.25, 0.75, 0.5, 1])
    write_scores(tmp_path / "one.csv", scored)
    write_scores(tmp_path / "two.csv", scored.select(np.array([2, 0])))
    read = read_scores([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert read.frames == list("abcdca")
    assert read.subjects == list("ppqqqp")
    np.testing.assert_array_equal(read.counts[:4], scored.counts)
    np.testing.assert_allclose(read.presence_probs[4:], [0.5, 0.25])
    np.testing.assert_array_equal(
        read.surface["hd95_px"][:4], scored.surface["hd95_px"]
    )
    assert read_scores([]).counts.shape == (0, 4)
    line = (tmp_path / "one.csv").read_text().splitlines()[2]
    assert line == "b,p,p,0,0,0,100,1.000000,0.750000,0.500000,0,0.250000,,,"
