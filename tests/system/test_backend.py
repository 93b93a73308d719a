import types

import jax
import pytest

from nerve_jax.system import backend
from nerve_jax.system.errors import InputError, RunError

GPU = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H100")


def test_programs_are_kept_in_the_users_cache_unless_another_folder_is_named(
    monkeypatch, tmp_path
):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        backend.keep_compiled_programs()
        chosen = jax.config.jax_compilation_cache_dir
        assert chosen.startswith(str(tmp_path / "nerve_jax"))
        jax.config.update("jax_compilation_cache_dir", "elsewhere")
        backend.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_run_says_what_it_runs_on(monkeypatch, capsys):
    monkeypatch.setattr(backend, "find_unused", lambda _: "")
    backend.report()
    assert capsys.readouterr().out.startswith("runs on 4 x CPU (")
    monkeypatch.setattr(backend.jax, "devices", lambda: 16 * [GPU])
    monkeypatch.setattr(backend.jax, "process_count", lambda: 2)
    backend.report()
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "runs on 16 x NVIDIA H100, 2 processes"
    assert said.err == ""


@pytest.fixture
def any_platform(monkeypatch):
    """As if the user had not asked for CPUs; no file names an accelerator."""
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", None)
    for name in ("NVIDIA_FILES", "TPU_FILES"):
        monkeypatch.setattr(backend, name, ())
    chips = lambda: (0, None)
    monkeypatch.setattr(
        backend.hardware_utils, "num_available_tpu_chips_and_device_id", chips
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
    backend.report()
    assert capsys.readouterr().err == ""
    (tmp_path / "chip0").touch()
    monkeypatch.setattr(backend, files, (str(tmp_path / "chip0"),))
    backend.report()
    warned = capsys.readouterr().err
    assert warned.startswith(
        f"warning: this machine has {said}, and JAX does not use it"
    )
    assert f'"jax[cuda13]=={jax.__version__}"' in warned
    assert backend.find_unused("gpu") == backend.find_unused("tpu") == ""
    jax.config.update("jax_platforms", "cpu")  # meant
    assert backend.find_unused("cpu") == ""


def test_hidden_gpus_are_not_missed(any_platform, monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "NVIDIA_FILES", (str(tmp_path),))
    for hidden, said in (("0", "an NVIDIA GPU"), ("", ""), ("-1", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert backend.find_unused("cpu") == said


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

    monkeypatch.setattr(backend.jax, "devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    with pytest.raises(kind, match=said):
        backend.start()


@pytest.mark.parametrize("home", ["none", "read-only"])
def test_without_a_home_no_program_is_kept(monkeypatch, tmp_path, home):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "file").touch()
    found = None if home == "none" else tmp_path / "file" / "nerve_jax"
    monkeypatch.setattr(backend, "find_cache_home", lambda: found)
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        backend.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_cores_are_used_unless_the_environment_says_otherwise(monkeypatch):
    chosen = []
    monkeypatch.setattr(backend.jax.config, "update", lambda _, n: chosen.append(n))
    monkeypatch.setattr(
        backend.os, "sched_getaffinity", lambda _: range(6), raising=False
    )
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    for batch_size in (8, 9, 5, 7, 1):
        backend.use_cpu_cores(batch_size, 1)
    backend.use_cpu_cores(24, 8)
    backend.use_cpu_cores(8, 1, folds_together=2)
    backend.use_cpu_cores(8, 1, folds_together=8)
    assert chosen == [4, 3, 5, 1, 1, 3, 4, 8]
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    backend.use_cpu_cores(8, 1)
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    backend.use_cpu_cores(8, 1)
    assert len(chosen) == 8
