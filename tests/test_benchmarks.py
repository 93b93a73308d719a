"""Benchmarks that need no peer, run with the fewest trials."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

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


# What an accelerator's machine may lack, and the parts must do without.
SPARED = ("array_record", "grain", "optuna", "tensorflow_datasets", "matplotlib")


def measure_toy(folder: Path, *arguments: str, check: bool = True):
    """Run benchmarks/accelerator.py at toy size, where importing `SPARED` fails."""
    spared = folder / "spared"
    spared.mkdir(parents=True, exist_ok=True)
    for name in SPARED:
        (spared / f"{name}.py").write_text(f"raise ImportError({name!r})\n")
    return subprocess.run(
        [sys.executable, "benchmarks/accelerator.py", "--toy", "--minutes=20"]
        + [f"--output={folder}", *arguments],
        cwd=REPO,
        env={"PYTHONPATH": f"{spared}:{REPO}", "JAX_PLATFORMS": "cpu"},
        check=check,
        capture_output=True,
        text=True,
    )


def read_parts(folder: Path) -> dict:
    """All that is written of an accelerator."""
    return json.loads((folder / "accelerator.json").read_text())


@pytest.mark.slow
def test_an_accelerator_is_measured_part_by_part_and_once(tmp_path):
    measure_toy(tmp_path, "--only=pr")  # probs on the CPU, predictions beside them
    measured = read_parts(tmp_path)
    names = {f"prediction {p}" for p in ("float32", "tf32", "bfloat16")}
    assert measured["parts"].keys() == {"probs"} | names
    assert measured["parts"]["prediction float32"]["largest"] < 1e-4
    assert 1e-4 < measured["parts"]["prediction bfloat16"]["largest"] < 0.2
    assert measured["parts"]["probs"]["spread"] > 0.01  # or all are alike
    measure_toy(tmp_path, "--only=pr")
    assert read_parts(tmp_path) == measured
    del measured["parts"]["prediction tf32"]
    (tmp_path / "accelerator.json").write_text(json.dumps(measured))
    (tmp_path / "probs-cpu.npy").rename(tmp_path / "away.npy")
    failed = measure_toy(tmp_path, "--only=pr", check=False)
    assert failed.returncode == 1
    assert "not measured: prediction tf32: FileNotFoundError" in failed.stdout
    (tmp_path / "away.npy").rename(tmp_path / "probs-cpu.npy")
    measure_toy(tmp_path, "--only=pr")
    again = read_parts(tmp_path)
    assert again["failures"] == {}
    assert again["parts"].keys() == {"probs"} | names
    for name in {"probs", *names} - {"prediction tf32"}:
        assert again["parts"][name] == measured["parts"][name]


@pytest.mark.slow
def test_an_accelerator_is_measured_whole(tmp_path):
    measure_toy(tmp_path)
    found = read_parts(tmp_path)
    assert found["failures"] == {}
    parts = found["parts"]
    for mode in ("default", "deterministic", "excluded"):
        assert parts[f"whole {mode}"]["digest"] == parts[f"resumed {mode}"]["digest"]
    wanted = pytest.approx(parts["reference"]["losses"], rel=1e-5)
    for per_call in (1, 20):
        assert parts[f"losses float32 {per_call}"]["losses"] == wanted
    flops = parts["flops kaggle"]
    assert 2.5 < flops["train"] / flops["predict"] < 3.1  # gradients of both operands
    assert len(parts["dice"]["points"]) == 12
    speeds = [name for name in parts if name.startswith("speed ")]
    assert len(speeds) == 10
    assert all(parts[name]["train"] > 0 < parts[name]["predict"] for name in speeds)
    text = measure_toy(tmp_path, "--report").stdout
    assert all(f"| {name.removeprefix('speed ')} |" in text for name in speeds)


def test_a_report_of_an_accelerator_holds_figures_against_each_other(tmp_path):
    speed = {
        "train": 1000.0,
        "predict": 2000.0,
        "compile_seconds": 40.0,
        "program_bytes": 4_100_000_000,
        "peak_bytes_in_use": None,
        "device": "NVIDIA H100 80GB HBM3",
        "num_devices": 1,
        "jax": "0.11.2",
        "date": "2026-11-27",
    }
    parts = {
        "reference": {"losses": [1.0, 0.5]},
        "losses float32 20": {"losses": [1.0, 0.504]},
        "losses float32 1": {"losses": [1.0, 0.504]},
        "losses tf32 20": {"losses": [1.001, 0.5]},
        "losses bfloat16 20": {"losses": [1.0, 0.51]},
        "whole excluded": {"digest": "a", "ms_per_step": 2.0},
        "resumed excluded": {"digest": "b"},
        "whole deterministic": {"digest": "c", "ms_per_step": 3.0},
        "resumed deterministic": {"digest": "c"},
        "flops kaggle": {"train": 98.9e9, "predict": 24.725e9},
        "speed kaggle bfloat16": speed,
        "speed fast float32": speed | {"device": "a new one"},
        "host": {
            "num_frames": 10,
            "evaluation_seconds_per_frame": 0.001,
            "report_seconds_per_frame": 0.002,
        },
    }
    content = {"parts": parts, "failures": {"torch float32 eager": "OSError: no gcc"}}
    (tmp_path / "accelerator.json").write_text(json.dumps(content))
    calculated = tmp_path / "compile" / "kaggle-bfloat16" / "compile.json"
    calculated.parent.mkdir(parents=True)
    programs = [{"name": "train_steps", "peak_bytes": 4_000_000_000}]
    calculated.write_text(json.dumps(programs))
    lines = measure_toy(tmp_path, "--report").stdout.splitlines()
    for row in (
        "| losses, float32 20 | 0.0e+00 | 8.0e-03 | True (0.0001, then 0.01) |",
        "| losses, tf32 20 | 1.0e-03 | 1.0e-03 | False (0.0001, then 0.01) |",
        "| losses, bfloat16 20 | 0.0e+00 | 2.0e-02 | False (0.0001, then 0.01) |",
        "| a scan against single steps | 0.0e+00 | 0.0e+00 | |",
        "| excluded | False | 2.0 |",
        "| deterministic | True | 3.0 |",
        "| kaggle bfloat16 | 1000.0 | 10.0 % | 2000.0 | 5.0 % | 40 | 4.10 | 4.00 |  |",
        "| fast float32 | 1000.0 |  | 2000.0 |  | 40 | 4.10 |  |  |",
        "| evaluation | 1.00 | 1127 | 1.1 |",
        "| report | 2.00 | 5635 | 11.3 |",
        "failed: torch float32 eager: OSError: no gcc",
    ):
        assert row in lines


def test_an_accelerator_without_packages_gets_the_command_that_installs_them():
    command = [sys.executable, "-S", "benchmarks/accelerator.py"]
    found = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    pins = dict(
        line.split("==") for line in (REPO / "requirements.txt").read_text().split()
    )
    for name in ("ml-collections", "surface-distance", "tensorboardX"):
        assert f"{name}=={pins[name]}" in found.stderr
    assert not any(name.replace("_", "-") in found.stderr for name in SPARED)


def test_finding_of_names_is_measured_on_the_phantom():
    command = [sys.executable, "benchmarks/cleaning.py", "--people=1"]
    done = subprocess.run(
        command,
        cwd=REPO,
        env={"PYTHONPATH": str(REPO)},
        check=True,
        capture_output=True,
        text=True,
    )
    header, _, *rows = [line for line in done.stdout.splitlines() if "|" in line]
    shares = {row.split(" | ")[1]: row.split(" | ")[2] for row in rows}
    assert header == "| frames | text | stills | stills, JPEG | clips | clips, JPEG |"
    assert list(shares) == [
        "none",
        *["grey 140", "grey 200", "white", "yellow", "cyan"],
    ]
    assert shares["white"] == "100.0 %"
    assert "with lettering left: 0;" in done.stdout
