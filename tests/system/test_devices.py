import types

import jax
import numpy as np
import pytest

from nerve_jax.system import devices
from nerve_jax.system.errors import InputError, RunError
from tests.samples import mesh_of


def test_programs_are_kept_in_the_users_cache_unless_another_folder_is_named(
    monkeypatch, tmp_path
):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        devices.keep_compiled_programs()
        chosen = jax.config.jax_compilation_cache_dir
        assert chosen.startswith(str(tmp_path / "nerve_jax"))
        jax.config.update("jax_compilation_cache_dir", "elsewhere")
        devices.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_devices_are_dealt_evenly_to_folds_or_not_at_all():
    assert devices.create_mesh(2).shape == {"fold": 2, "batch": 2}
    for folds in (0, 3, 8):
        with pytest.raises(InputError, match=f"folds_together={folds}: 4 devices"):
            devices.create_mesh(folds)


class FakeDevice(types.SimpleNamespace):
    """As much of a device as a mesh looks at."""

    def __hash__(self):
        return self.id


def make_hosts(*counts, platform="gpu"):
    """Devices of several hosts, each a slice of its own, listed the other way round."""
    numbers = [host for host, count in enumerate(counts) for _ in range(count)]
    kind = {"platform": platform, "device_kind": "NVIDIA H100"}
    return [
        FakeDevice(id=i, process_index=host, slice_index=host, **kind)
        for i, host in reversed(list(enumerate(numbers)))
    ]


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize("folds", [1, 2, 4, 8, 16])
def test_hosts_of_their_own_slices_form_one_mesh(monkeypatch, platform, folds):
    monkeypatch.setattr(
        devices.jax, "devices", lambda: make_hosts(8, 8, platform=platform)
    )
    mesh = devices.create_mesh(folds)
    assert dict(mesh.shape) == {"fold": folds, "batch": 16 // folds}
    assert [device.id for device in mesh.devices.flat] == list(range(16))
    hosts = np.vectorize(lambda d: d.process_index)(mesh.devices)
    if folds > 1:  # most exchanges stay within a host
        assert all(len(set(row)) == 1 for row in hosts)


@pytest.mark.parametrize(
    ("hosts", "folds", "fitting"),
    [
        ((8, 8), 3, "1, 2, 4, 8, 16"),
        ((4, 4, 4), 2, "1, 3, 6, 12"),  # the second fold would begin amid a host
        ((4, 2), 2, "1, 3, 6"),
        ((1, 1), 4, "1, 2"),
    ],
)
def test_folds_that_do_not_fit_are_refused_with_those_that_do(
    monkeypatch, hosts, folds, fitting
):
    monkeypatch.setattr(devices.jax, "devices", lambda: make_hosts(*hosts))
    with pytest.raises(
        InputError, match=f"folds_together={folds}: .* is {fitting}, or"
    ):
        devices.create_mesh(folds)
    for fits in map(int, fitting.split(", ")):
        assert devices.create_mesh(fits).shape["fold"] == fits


def test_a_run_says_what_it_runs_on(monkeypatch, capsys):
    monkeypatch.setattr(devices, "find_unused", lambda _: "")
    devices.report()
    assert capsys.readouterr().out.startswith("runs on 4 x CPU (")
    monkeypatch.setattr(devices.jax, "devices", lambda: make_hosts(8, 8))
    monkeypatch.setattr(devices.jax, "process_count", lambda: 2)
    devices.report()
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "runs on 16 x NVIDIA H100, 2 processes"
    assert said.err == ""


@pytest.fixture
def any_platform(monkeypatch):
    """As if the user had not asked for CPUs; no file names an accelerator."""
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", None)
    for name in ("NVIDIA_FILES", "TPU_FILES"):
        monkeypatch.setattr(devices, name, ())
    chips = lambda: (0, None)
    monkeypatch.setattr(
        devices.hardware_utils, "num_available_tpu_chips_and_device_id", chips
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    jax.config.update("jax_platforms", before)


@pytest.mark.parametrize(
    ("files", "said"), [("NVIDIA_FILES", "an NVIDIA GPU"), ("TPU_FILES", "a TPU")]
)
def test_an_accelerator_that_jax_leaves_unused_is_named_with_the_mend(
    any_platform, monkeypatch, tmp_path, capsys, files, said
):
    devices.report()
    assert capsys.readouterr().err == ""
    (tmp_path / "chip0").touch()
    monkeypatch.setattr(devices, files, (str(tmp_path / "chip0"),))
    devices.report()
    warned = capsys.readouterr().err
    assert warned.startswith(
        f"warning: this machine has {said}, and JAX does not use it"
    )
    assert f'"jax[cuda13]=={jax.__version__}"' in warned
    assert devices.find_unused("gpu") == devices.find_unused("tpu") == ""
    jax.config.update("jax_platforms", "cpu")  # meant
    assert devices.find_unused("cpu") == ""


def test_hidden_gpus_are_not_missed(any_platform, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "NVIDIA_FILES", (str(tmp_path),))
    for hidden, said in (("0", "an NVIDIA GPU"), ("", ""), ("-1", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert devices.find_unused("cpu") == said


@pytest.mark.parametrize(
    ("asked", "error", "kind", "said"),
    [
        ("cuda", AssertionError(), InputError, "JAX_PLATFORMS=cuda: .*none is visible"),
        ("foo", RuntimeError("unknown"), InputError, "JAX_PLATFORMS=foo: .*unknown"),
        (
            "",
            RuntimeError("in use by 7"),
            RunError,
            "its devices .*in use by 7.*JAX_PLATFORMS=cpu",
        ),
    ],
)
def test_devices_that_do_not_start_are_a_sentence(
    monkeypatch, asked, error, kind, said
):
    def fail():
        raise error

    monkeypatch.setattr(devices.jax, "devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    with pytest.raises(kind, match=said):
        devices.start()


@pytest.mark.parametrize("home", ["none", "read-only"])
def test_without_a_home_no_program_is_kept(monkeypatch, tmp_path, home):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "file").touch()
    found = None if home == "none" else tmp_path / "file" / "nerve_jax"
    monkeypatch.setattr(devices, "find_cache_home", lambda: found)
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        devices.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(
    ("batch_size", "accumulate_steps", "message"),
    [
        (6, 1, "over 4 devices: choose a multiple of 4"),
        (8, 3, "multiple of"),
        (0, 1, "at least 1"),
        (8, 4, "multiple of 16"),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(
    batch_size, accumulate_steps, message
):
    with pytest.raises(InputError, match=message):
        devices.check_batch_size(mesh_of(4), batch_size, accumulate_steps)


def test_cores_are_used_unless_the_environment_says_otherwise(monkeypatch):
    chosen = []
    monkeypatch.setattr(devices.jax.config, "update", lambda _, n: chosen.append(n))
    monkeypatch.setattr(
        devices.os, "sched_getaffinity", lambda _: range(6), raising=False
    )
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    for batch_size in (8, 9, 5, 7, 1):
        devices.use_cpu_cores(batch_size, 1)
    devices.use_cpu_cores(24, 8)
    devices.use_cpu_cores(8, 1, folds_together=2)
    devices.use_cpu_cores(8, 1, folds_together=8)
    assert chosen == [4, 3, 5, 1, 1, 3, 4, 8]
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    devices.use_cpu_cores(8, 1)
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    devices.use_cpu_cores(8, 1)
    assert len(chosen) == 8
