import jax
import pytest

from nerve_jax import parallel
from nerve_jax.errors import InputError


def test_programs_are_kept_in_the_users_cache_unless_another_folder_is_named(
    monkeypatch, tmp_path
):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        parallel.keep_compiled_programs()
        chosen = jax.config.jax_compilation_cache_dir
        assert chosen.startswith(str(tmp_path / "nerve_jax"))
        jax.config.update("jax_compilation_cache_dir", "elsewhere")
        parallel.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == "elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_devices_are_dealt_evenly_to_folds_or_not_at_all():
    assert parallel.create_mesh(2).shape == {"fold": 2, "batch": 2}
    for folds in (0, 3, 8):
        with pytest.raises(InputError, match=f"folds_together={folds}: 4 devices"):
            parallel.create_mesh(folds)
