import subprocess

import jax

from nerve_jax.system import environment


def test_the_environment_names_versions_devices_and_commit():
    described = environment.describe()
    assert described["packages"]["jax"].count(".") == 2
    assert described["num_devices"] == 4
    assert described["device"]
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if head.returncode == 0:
        assert described["commit"].rstrip("+") == head.stdout.strip()


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(environment.subprocess, "run", missing)
    assert environment.describe()["commit"] == ""


def test_code_is_known_by_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "SOURCE", tmp_path)
    (tmp_path / "a.py").write_text("x = 1")
    before = environment.describe_code()
    assert {"nerve_jax", "python", "jax", "numpy"} <= before.keys()
    (tmp_path / "README.md").write_text("words")
    assert environment.describe_code() == before
    (tmp_path / "a.py").write_text("x = 2")
    assert environment.describe_code() != before


def test_without_a_home_there_is_no_cache(monkeypatch, tmp_path):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(environment.Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert environment.find_cache_home() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environment.find_cache_home() == tmp_path / "nerve_jax"


def test_settings_that_change_numbers_are_part_of_the_code(monkeypatch):
    before = environment.describe_code()
    assert before["jax_enable_x64"] == "False"
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    assert environment.describe_code() == before
    with jax.enable_x64(True):
        assert environment.describe_code() == before | {"jax_enable_x64": "True"}
    with jax.default_matmul_precision("bfloat16"):
        named = environment.describe_code()["jax_default_matmul_precision"]
        assert named == "bfloat16"
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true --xla_dump_to=x")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert environment.describe_code() == before | {
        "XLA_FLAGS": "--xla_gpu_deterministic_ops=true",
        "NVIDIA_TF32_OVERRIDE": "0",
    }
