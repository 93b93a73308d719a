import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerve_jax.model.layers import drop_out, pad_to, standardise
from nerve_jax.model.unet import create_model
from nerve_jax.system.errors import InputError

KEY = jax.random.key(0)


def images(*shape):
    return jax.random.uniform(jax.random.key(1), (*shape, 1))


def run(options, x):
    apply, init = create_model(**options)
    return jax.jit(apply)(init(KEY), x)


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1), (5, 100)])
def test_any_size_goes_in_and_comes_out(size):
    outputs = run({"widths": (8, 8, 16)}, images(2, *size))
    assert outputs.logits.shape == (2, *size, 1)
    assert outputs.presence_logits.shape == (2, 1)
    assert outputs.coarse_logits == ()
    assert np.isfinite(outputs.logits).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 4]))
def test_padding_is_undone_exactly_by_cropping(height, width, multiple):
    x = images(1, height, width)
    sizes = [s + -s % multiple for s in (height, width)]
    padded, (top, left) = pad_to(x, sizes)
    assert padded.shape[1:3] == tuple(sizes)
    np.testing.assert_array_equal(padded[:, top : top + height, left : left + width], x)
    np.testing.assert_array_equal(
        padded[0, :, :, 0],
        np.pad(
            x[0, :, :, 0],
            [(top, sizes[0] - height - top), (left, sizes[1] - width - left)],
            mode="edge",
        ),
    )


def test_a_network_of_exact_size_is_not_padded():
    x = images(1, 8, 16)
    padded, offset = pad_to(x, (8, 16))
    np.testing.assert_array_equal(padded, x)
    assert offset == [0, 0]


@pytest.mark.parametrize("block", ["classic", "residual"])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_deep_supervision_gives_coarser_logits_of_the_frame(block, stem_stride):
    options = {"widths": (8, 8, 16, 16), "block": block, "deep_supervision": True}
    outputs = run(options | {"stem_stride": stem_stride}, images(2, 30, 44))
    assert [c.shape for c in outputs.coarse_logits] == [(2, 30, 44, 1)] * 2
    for logits, side in zip(outputs.coarse_logits, (4, 2), strict=True):
        side *= stem_stride
        whole = logits[:, side - 1 : 31 - side, ::]  # padded by one row at the top
        cells = whole[:, : side * (whole.shape[1] // side)]
        cells = cells.reshape(2, -1, side, *cells.shape[2:])
        assert np.ptp(cells, axis=2).max() == 0  # equal within a coarse pixel


@pytest.mark.parametrize("size", [(32, 48), (31, 45)])
def test_a_strided_stem_keeps_the_size(size):
    outputs = run({"widths": (8, 16), "stem_stride": 2}, images(2, *size))
    assert outputs.logits.shape == (2, *size, 1)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_each_structure_has_channels_of_its_own(stem_stride):
    """What one column of a head says reaches one structure, at every level."""
    options = {"widths": (8, 8, 16), "deep_supervision": True}
    options |= {"num_structures": 3, "stem_stride": stem_stride}
    apply, init = create_model(**options)
    params = init(KEY)
    outputs = apply(params, images(2, 30, 44))
    assert outputs.logits.shape == (2, 30, 44, 3)
    assert outputs.presence_logits.shape == (2, 3)
    assert [c.shape for c in outputs.coarse_logits] == [(2, 30, 44, 3)]
    for name in [name for name in params if name.endswith("bias")]:
        if name.startswith(("head", "coarse_heads", "presence")):
            own = jnp.arange(len(params[name])) % 3 == 1
            moved = params | {name: params[name] + own.astype(jnp.float32)}
            after = apply(moved, images(2, 30, 44))
            for old, new in zip(*map(jax.tree.leaves, (outputs, after)), strict=True):
                np.testing.assert_array_equal(old[..., ::2], new[..., ::2])
            assert any(
                (old[..., 1] != new[..., 1]).all()
                for old, new in zip(*map(jax.tree.leaves, (outputs, after)))
            )
    with pytest.raises(InputError, match="num_structures=0"):
        create_model(widths=(8,), num_structures=0)


def test_options_add_what_they_say():
    def names(**options):
        _, init = create_model(widths=(8, 16), **options)
        return set(jax.eval_shape(init, KEY))

    plain = names(presence_head=False)
    assert names() - plain == {"presence/kernel", "presence/bias"}
    assert any("shortcut" in name for name in names(block="residual"))
    assert not any("shortcut" in name for name in plain)
    deeper = names(blocks_per_level=2, presence_head=False) - plain
    assert {name.split("/")[2] for name in deeper} == {"1"}
    headless = run({"widths": (8,), "presence_head": False}, images(1, 4, 4))
    assert headless.presence_logits is None


def test_bfloat16_computes_near_float32_on_float32_parameters():
    wide, init = create_model(widths=(8, 16))
    narrow, _ = create_model(widths=(8, 16), compute_dtype="bfloat16")
    params = init(KEY)
    assert {str(p.dtype) for p in params.values()} == {"float32"}
    x = images(2, 16, 16)
    ours, theirs = (jax.jit(f)(params, x).logits for f in (narrow, wide))
    assert ours.dtype == jnp.float32
    assert 0 < np.abs(ours - theirs).max() < 0.1


def test_dropout_needs_a_key_a_frame_and_follows_it():
    apply, init = create_model(widths=(8, 16), dropout_rate=0.5)
    apply = jax.jit(apply)
    params, x = init(KEY), images(2, 16, 16)
    still = apply(params, x).logits
    np.testing.assert_array_equal(still, apply(params, x).logits)
    keys = jax.random.split(KEY, 3)
    one, two = apply(params, x, keys[:2]).logits, apply(params, x, keys[1:]).logits
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, still)
    np.testing.assert_array_equal(one, apply(params, x, keys[:2]).logits)
    alone = apply(params, x[1:], keys[1:2]).logits  # whatever stands beside a frame
    np.testing.assert_allclose(one[1:], alone, atol=1e-5)


def test_dropout_keeps_the_mean():
    keys = jax.random.split(KEY, 8)
    dropped = drop_out(jnp.ones((8, 16, 16, 4)), 0.25, keys)
    assert set(np.unique(dropped).round(4)) == {0.0, np.float32(4 / 3).round(4)}
    assert abs(dropped.mean() - 1) < 0.03


def test_gain_and_offset_of_the_scanner_do_not_matter():
    x = images(2, 8, 8)
    np.testing.assert_allclose(standardise(x), standardise(x * 0.5 + 0.2), atol=0.03)
    np.testing.assert_array_equal(standardise(jnp.full((1, 4, 4, 1), 0.3)), 0)


def test_same_key_same_parameters():
    _, init = create_model(widths=(8, 16))
    first, again, other = init(KEY), init(KEY), init(jax.random.key(1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(
        first["encoder/0/0/conv_a/kernel"], other["encoder/0/0/conv_a/kernel"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "dense"}, "classic, residual"),
        ({"compute_dtype": "float16"}, "float32, bfloat16"),
        ({"widths": (12,)}, "12 does not divide into 8"),
        ({"widths": ()}, "one level at least"),
        ({"stem_stride": 0}, "no number below 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        create_model(**{"widths": (8, 16), **options})


def test_gradients_are_finite_however_the_compiler_rounds():
    """Without its optimisations a value worked out twice may differ in its last bit."""
    apply, init = create_model(widths=(8, 16), num_groups=8)
    images = jax.random.uniform(jax.random.key(0), (8, 24, 32, 1))

    def objective(params):
        return (apply(params, images).presence_logits ** 2).sum()

    literal = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    }
    gradient = jax.jit(jax.grad(objective), compiler_options=literal)
    for name, array in gradient(init(jax.random.key(0))).items():
        assert jnp.isfinite(array).all(), name


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(  # a level in cells above one of pixels
            {"widths": (4, 40, 48), "block": "residual", "deep_supervision": True},
            marks=pytest.mark.slow,
        ),
        {"widths": (4, 8), "stem_stride": 2, "num_groups": 4},
    ],
)
def test_the_form_for_tpus_computes_the_same(options):
    """Levels in cells, convolutions of few frames; values and gradients."""
    plain, init = create_model(**options)
    filled, _ = create_model(**options, for_tpu=True)
    params = init(KEY)
    keys = jax.random.split(jax.random.key(3), len(params))
    params = {
        name: value + 0.1 * jax.random.normal(key, value.shape)
        for key, (name, value) in zip(keys, params.items(), strict=True)
    }
    x, whole = images(2, 14, 18), images(2, 16, 8)
    visible = jnp.ones_like(whole).at[:, :8].set(0.0)

    def add_up(apply, params):
        shown, hidden = apply(params, x), apply(params, whole, visible=visible)
        outputs = jax.tree.leaves((shown, hidden))
        weights = [jax.random.normal(jax.random.key(4), o.shape) for o in outputs]
        total = sum(
            (w * jnp.tanh(o)).sum() for w, o in zip(weights, outputs, strict=True)
        )
        return total, outputs

    def both(apply):
        return jax.jit(jax.value_and_grad(lambda p: add_up(apply, p), has_aux=True))(
            params
        )

    (_, expected), slopes = both(plain)
    (_, found), own_slopes = both(filled)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4, rtol=2e-4)
    # A feature at 0, to rounding, may pass its gradient on in one and not in the other.
    for name, slope in slopes.items():
        apart = jnp.linalg.norm(own_slopes[name] - slope)
        assert apart < 5e-3 * (1 + jnp.linalg.norm(slope)), name
