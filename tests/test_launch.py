"""Launch files: their syntax, and that what they run is what main.py takes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

LAUNCH = Path(__file__).parents[1] / "launch"


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sh")), ids=lambda p: p.name)
def test_scripts_pass_shellcheck(path):
    found = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [found if found.exists() else shutil.which("shellcheck"), path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def list_lost(given, kept, place=""):
    """Fields of a document that a schema does not know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{place}.{key}"
            else:
                yield from list_lost(value, kept[key], f"{place}.{key}")
    elif isinstance(given, list):
        for number, pair in enumerate(zip(given, kept, strict=True)):
            yield from list_lost(*pair, f"{place}[{number}]")
    elif given != kept:
        yield place


def test_the_jobset_fits_the_published_schema():
    document = yaml.safe_load((LAUNCH / "gke-jobset.yaml").read_text())
    kept = JobsetV1alpha2JobSet.from_dict(document).to_dict()
    assert list(list_lost(document, kept)) == []
    pod = document["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    pod["spec"]["restartPolitely"] = True
    kept = JobsetV1alpha2JobSet.from_dict(document).to_dict()
    assert len(list(list_lost(document, kept))) == 1


def test_hosts_of_the_jobset_are_as_many_as_its_topology_says():
    document = yaml.safe_load((LAUNCH / "gke-jobset.yaml").read_text())
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    rows, columns = map(
        int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    )
    chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] == job["completions"] == rows * columns // chips


def run_script(tmp_path, name, *words, **variables):
    """Run a launch file with `srun`, `gcloud` and the like replaced; what they got."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir(exist_ok=True)
    log = tmp_path / "log"
    for command in ("srun", "scontrol", "gcloud"):
        path = bin_dir / command
        path.write_text(
            f'#!/bin/bash\nprintf "%s\\n" "{command} $(printf "%q " "$@")" >> {log}\n'
            f"exit ${{CODE_OF_{command}:-0}}\n"
        )
        path.chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}"} | variables
    done = subprocess.run(
        ["bash", LAUNCH / name, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, log.read_text().splitlines() if log.exists() else []


def test_an_array_element_trains_its_fold_and_is_queued_again_when_stopped(tmp_path):
    code, said = run_script(
        tmp_path,
        "slurm.sh",
        "configs/kaggle.py",
        "runs/my run",
        "--config.seed=3",
        SLURM_JOB_ID="77",
        SLURM_ARRAY_JOB_ID="70",
        SLURM_ARRAY_TASK_ID="2",
        CODE_OF_srun="143",
    )
    assert code == 143
    words = shlex.split(said[0])
    assert words[:3] == ["srun", ".venv/bin/python", "main.py"]
    assert words[3:] == [
        "--config=configs/kaggle.py",
        "--workdir=runs/my run",
        "--config.folds=(2,)",
        "--config.seed=3",
    ]
    assert shlex.split(said[1]) == ["scontrol", "requeue", "70_2"]


def test_a_multi_node_job_trains_all_folds_and_a_failure_is_not_queued(tmp_path):
    code, said = run_script(
        tmp_path, "slurm.sh", "c.py", "w", SLURM_JOB_ID="77", CODE_OF_srun="2"
    )
    assert code == 2
    assert len(said) == 1
    assert "folds" not in said[0]


def test_the_tpu_script_gives_every_host_the_same_words(tmp_path):
    code, said = run_script(
        tmp_path, "tpu.sh", "train", "configs/kaggle.py", "gs://b/my run", "--force"
    )
    assert code == 0
    words = shlex.split(said[0])
    assert "--worker=all" in words
    [command] = [word for word in words if word.startswith("--command=")]
    inner = shlex.split(command.removeprefix("--command=").split("&&")[1])
    assert inner[1:] == [
        "main.py",
        "--config=configs/kaggle.py",
        "--workdir=gs://b/my run",
        "--force",
    ]
    assert run_script(tmp_path, "tpu.sh")[0] == 2


PARSE = """
import sys, main
main.parse(sys.argv)
data = main.CONFIG.value.data
print(data.name, data.manual_dir or data.records_dir)
"""


def list_commands():
    """Commands of main.py that launch files run or tell to run."""
    for path in sorted(LAUNCH.iterdir()):
        text = re.sub(r" *\\\n#? *", " ", path.read_text())
        for line in text.splitlines():
            run = re.search(r"python main\.py (--[^$]*)$", line)
            own = re.search(r"launch/\w+\.sh (?:train )?(configs/\S+) (\S+)(.*)", line)
            if run:
                yield shlex.split(run[1])
            elif own:
                words = shlex.split(own[3].partition("  ")[0])
                yield [f"--config={own[1]}", f"--workdir={own[2]}", *words]
    document = yaml.safe_load((LAUNCH / "gke-jobset.yaml").read_text())
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    yield job["template"]["spec"]["containers"][0]["command"][2:]


@pytest.mark.parametrize("words", list(list_commands()), ids=" ".join)
def test_commands_in_launch_files_are_taken_and_find_their_frames(words):
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *words],
        cwd=LAUNCH.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2  # the raw files or the records are named


def test_configurations_named_in_launch_files_are_there():
    for path in LAUNCH.iterdir():
        for name in re.findall(r"configs/\w+\.py", path.read_text()):
            assert (LAUNCH.parent / name).exists(), (path, name)
