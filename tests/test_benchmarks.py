"""Benchmarks that need no peer, run with the fewest trials."""

import csv
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[1]


def simulate(output: Path, *arguments: str) -> list[dict[str, str]]:
    """The table of benchmarks/coverage.py."""
    command = [sys.executable, "benchmarks/coverage.py", "--trials=3"]
    subprocess.run(
        [*command, f"--output={output}", *arguments],
        cwd=REPO,
        env={"PYTHONPATH": str(REPO)},
        check=True,
        capture_output=True,
    )
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def write_run(folder: Path) -> Path:
    """A run with one fold of three people, none of whom raised a false alarm."""
    (folder / "fold_0").mkdir(parents=True)
    header = "frame,subject,group,tp,fp,fn,tn,dice,presence_prob,dice_at_threshold"
    rows = [f"f{i},p{i % 3},p{i % 3},{i + 1},1,1,90,,0.9,0.5" for i in range(9)]
    text = "\n".join(
        [
            f"{header},doubtful,surface_dice_5px,hd95_px",
            *(f"{row},0,0.{i + 1},{i}" for i, row in enumerate(rows)),
        ]
    )
    (folder / "fold_0" / "scores.csv").write_text(text + "\n")
    return folder


def test_a_simulation_of_coverage_goes_on_where_it_was_stopped(tmp_path):
    run = write_run(tmp_path / "run")
    table = tmp_path / "coverage.csv"
    rows = simulate(table, f"--workdirs={run}")
    assert {row["people"] for row in rows} == {"5", "9", "20", "47"}
    assert {row["cohort"] for row in rows} == {
        "run",
        "hard, 20 frames",
        "hard, 120 frames",
    }
    for row in rows:
        missed = float(row["truth_below"]) + float(row["truth_above"])
        assert 0 <= float(row["coverage"]) <= 1.0001 - missed
    of_run = {row["measure"] for row in rows if row["cohort"] == "run"}
    assert of_run == {"dice", "dice_nerve_present", "surface_dice", "gain", "hd95_px"}
    whole = table.read_text()
    lines = whole.splitlines(keepends=True)
    last = rows[-1]["measure"], rows[-1]["people"]
    kept = [
        line
        for line, row in zip(lines[1:], rows, strict=True)
        if (row["measure"], row["people"]) != last
        or row["cohort"] != rows[-1]["cohort"]
    ]
    table.write_text(lines[0] + "".join(kept))
    assert simulate(table, f"--workdirs={run}") == rows
    assert table.read_text() == whole
