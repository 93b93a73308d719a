import io
import urllib.error

import pytest

from nerve_jax.system import clusters, processes
from nerve_jax.system.errors import InputError, RunError

KNOWN = (
    *("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "JOB_COMPLETION_INDEX"),
    *("KUBERNETES_SERVICE_HOST", "TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"),
    *("TPU_PROCESS_BOUNDS", "TPU_SKIP_MDS_QUERY", "MEGASCALE_NUM_SLICES"),
)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """An environment of which no scheduler and no cloud says anything."""
    for name in (*KNOWN, "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def with_tpu(monkeypatch):
    """As if this host had chips of a TPU, and its library."""
    monkeypatch.setattr(clusters.backend, "has_tpu", lambda: True)
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda _: True)


def answer(monkeypatch, content):
    """Let the cloud's metadata be some bytes, or an error."""

    def open_url(*_, **__):
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(clusters.urllib.request, "urlopen", open_url)


def test_a_process_by_itself_may_do_anything():
    assert clusters.find_cluster() == ""
    assert clusters.count_tpu_hosts() == 1
    clusters.check_alone("predict")


@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"])
def test_of_several_tasks_none_predicts_and_each_may_tune(monkeypatch, name):
    monkeypatch.setenv(name, "3")
    with pytest.raises(InputError, match="--mode=predict .* has started 3.*--ntasks=1"):
        clusters.check_alone("predict")
    clusters.check_alone("tune", apart=True)
    assert "3 processes" in clusters.find_cluster()


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({"TPU_WORKER_HOSTNAMES": "a,b,c,d"}, 4),
        ({"TPU_PROCESS_ADDRESSES": "a:1,b:1", "TPU_WORKER_HOSTNAMES": "x"}, 2),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_NUM_SLICES": "2"}, 4),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, 1),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_PROCESS_BOUNDS": "1,1,1"}, 1),
        ({"TPU_SKIP_MDS_QUERY": "1"}, 1),
    ],
)
def test_hosts_of_a_tpu_are_counted_by_the_environment(
    with_tpu, monkeypatch, environment, count
):
    answer(monkeypatch, AssertionError("not to be asked"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert clusters.count_tpu_hosts() == count


def test_or_by_the_metadata_of_their_cloud(with_tpu, monkeypatch):
    answer(monkeypatch, b"u:1:10.0.0.1,u:2:10.0.0.2")
    assert clusters.count_tpu_hosts() == 2
    answer(monkeypatch, urllib.error.URLError("no route"))
    with pytest.raises(RunError, match="does not say which hosts.*no route") as caught:
        processes.connect()
    assert "disk" not in str(caught.value)


@pytest.mark.parametrize("mode", ["predict", "tune", "plan"])
def test_one_host_of_a_pod_is_refused_what_it_would_wait_in_for_ever(
    with_tpu, monkeypatch, mode
):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
    with pytest.raises(InputError, match=f"--mode={mode} .* one of 2 that share a TPU"):
        clusters.check_alone(mode, apart=True)
    with pytest.raises(InputError, match="--num_processes=1 .* one of 2"):
        processes.connect("", 1, -1)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    clusters.check_alone(mode)


@pytest.mark.parametrize(
    "error",
    [
        OSError("HTTPConnectionPool: Max retries exceeded"),
        RuntimeError("deadline exceeded"),
        KeyError("SLURM_STEP_NODELIST"),
    ],
)
def test_whatever_keeps_the_processes_apart_is_named(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(processes.jax.distributed, "initialize", fail)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(RunError, match="started 2 processes, but") as caught:
        processes.connect()
    assert str(error.args[0]) in str(caught.value)
    assert "--num_processes=1" in str(caught.value)
