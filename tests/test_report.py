import subprocess

from nerve_jax import report


def test_the_environment_names_versions_devices_and_commit():
    environment = report.describe_environment()
    assert environment["packages"]["jax"].count(".") == 2
    assert environment["num_devices"] == 4
    assert environment["device"]
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if head.returncode == 0:
        assert environment["commit"].rstrip("+") == head.stdout.strip()


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(report.subprocess, "run", missing)
    assert report.describe_environment()["commit"] == ""
