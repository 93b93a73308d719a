import subprocess

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
