import jax
import pytest

from nerve_jax.system import devices
from nerve_jax.system.errors import InputError
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
