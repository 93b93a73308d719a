import contextlib
import functools
import shutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from nerve_jax import checkpoints, parallel, train, train_step
from nerve_jax.augment import make_augment
from nerve_jax.errors import InputError, RunError
from nerve_jax.folds import create_fold_programs
from nerve_jax.losses import make_loss
from nerve_jax.models import create_model

KEY = jax.random.key(7)
STRONG = {
    "flip_prob": 0.5,
    "rotation_degrees": 20.0,
    "scale_fraction": 0.2,
    "shift_fraction": 0.1,
    "elastic_fraction": 0.02,
    "elastic_cells": 4,
    "gain_fraction": 0.2,
    "gamma_fraction": 0.2,
    "contrast_fraction": 0.2,
    "speckle_fraction": 0.1,
    "shadow_prob": 0.5,
    "shadow_strength": 0.5,
    "attenuation_fraction": 0.2,
}


def mesh_of(count, folds=1) -> Mesh:
    devices = jax.devices()[:count]
    kinds = (AxisType.Auto, AxisType.Auto)
    shape = (folds, count // folds)
    return jax.make_mesh(shape, ("fold", "batch"), kinds, devices=devices)


def optimizer_of(**changes):
    """AdamW of a short run, with some of its arguments changed."""
    options = {"learning_rate": 0.1, "num_train_steps": 5, "warmup_steps": 0}
    options |= {"weight_decay": 0.5, "clip_norm": 1.0}
    return train_step.create_optimizer(**(options | changes))


def frames(count=12):
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 16, 24), np.uint8)
    masks[1:, 5:11, 8:16] = 255
    images = (rng.integers(0, 90, masks.shape) + masks // 2).astype(np.uint8)
    return train_step.Frames(images, masks)


class Setup(NamedTuple):
    states: train_step.TrainState
    run: Callable
    take: Callable
    join: Callable


@functools.cache
def compile_for(num_devices, num_folds, accumulate_steps, dropout_rate):
    """A mesh, the state before training, the programs of its folds, and frames."""
    mesh = mesh_of(num_devices, num_folds)
    apply, init = create_model(widths=(8, 16), dropout_rate=dropout_rate)
    optimizer = optimizer_of(
        learning_rate=3e-3, num_train_steps=20, warmup_steps=5, weight_decay=0.01
    )
    loss = make_loss("bce_dice", presence_weight=0.1, coarse_weight=0.0)
    augment = make_augment(**STRONG)

    def objective(params, images, masks, keys):
        augment_keys, dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        images, masks = augment(images, masks, augment_keys)
        return loss(apply(params, images, dropout_keys), masks)

    step = train_step.make_train_step(
        objective,
        optimizer,
        ema_decay=0.99,
        accumulate_steps=accumulate_steps,
        axis_name="batch",
    )

    def create(key):
        return train_step.create_state(init(key), optimizer)

    train_steps = train_step.make_train_steps(lambda numbers: step)
    programs = create_fold_programs(create, train_steps, mesh)
    return mesh, create, programs, jax.device_put(frames(), parallel.replicated(mesh))


def setup(num_devices=1, accumulate_steps=1, dropout_rate=0.0, folds=(3,)):
    """Everything `train_interval` needs, as the programs put it together."""
    mesh, create, programs, placed = compile_for(
        num_devices, len(folds), accumulate_steps, dropout_rate
    )
    keys = [jax.random.fold_in(KEY, fold) for fold in folds]
    stacked = jax.device_put(jnp.stack(keys), parallel.split_folds(mesh))

    def run(states, rows):
        return programs.run(
            states, placed, parallel.put(rows, parallel.split_rows(mesh)), stacked, {}
        )

    states = programs.join(*map(create, keys))
    return Setup(states, run, programs.take, programs.join)


def positions(step, batch_size=8, folds=(3,)):
    rows = [(np.arange(batch_size) + 3 * step + 5 * fold) % 12 for fold in folds]
    return np.array(rows, np.int32)


def losses_of(num_steps=6, steps_per_call=1, **options):
    states, run, *_ = setup(**options)
    seen = []
    done = train.train_interval(
        states,
        run,
        functools.partial(positions, folds=options.get("folds", (3,))),
        first_step=0,
        last_step=num_steps,
        totals=np.zeros((len(options.get("folds", (3,))), 2)),
        steps_per_call=steps_per_call,
        on_step=lambda step, loss: seen.append((step, loss)),
        must_stop=lambda: False,
    )
    return done, seen


def assert_equal_trees(ours, theirs, **tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_training_learns():
    done, seen = losses_of(20)
    assert [step for step, _ in seen] == list(range(1, 21))
    early, late = (
        np.mean([loss for _, loss in part]) for part in (seen[:5], seen[-5:])
    )
    assert late < 0.9 * early
    np.testing.assert_allclose(done.totals, [[sum(loss for _, loss in seen), 20]])
    assert done.step == 20
    assert done.seconds > 0


def test_one_and_four_devices_give_the_same_losses():
    one, ones = losses_of(num_devices=1, dropout_rate=0.2)
    four, fours = losses_of(num_devices=4, dropout_rate=0.2)
    np.testing.assert_allclose(
        [loss for _, loss in ones], [loss for _, loss in fours], atol=1e-5
    )
    assert_equal_trees(one.states.params, four.states.params, atol=2e-3)


def test_steps_in_a_scan_equal_single_steps():
    single, singles = losses_of(7)
    scanned, pairs = losses_of(7, steps_per_call=3)
    assert [step for step, _ in pairs] == [3, 6, 7]
    assert scanned.states.step.tolist() == [7]
    # Adam amplifies rounding where a gradient is nearly 0, so later steps drift apart.
    np.testing.assert_allclose(pairs[0][1], singles[2][1], atol=1e-6)
    np.testing.assert_allclose(pairs[-1][1], singles[-1][1], atol=1e-3)
    np.testing.assert_allclose(scanned.totals, single.totals, atol=7e-3)


def test_gradient_accumulation_equals_the_whole_batch():
    _, whole = losses_of(4)
    _, parts = losses_of(4, accumulate_steps=2)
    np.testing.assert_allclose(
        [loss for _, loss in whole], [loss for _, loss in parts], atol=1e-5
    )


def test_the_same_run_twice_is_bit_for_bit_the_same():
    first, again = losses_of(5)[0].states, losses_of(5)[0].states
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_short_runs_are_not_averaged_with_their_initial_weights():
    """At step t the average keeps min(0.99, (1 + t) / (10 + t)) of itself."""
    state, run, *_ = setup()
    average = jax.device_get(state.ema_params)
    for t in range(4):
        state, _ = run(state, positions(t)[:, None])
        decay = (1 + t) / (10 + t)
        average = {
            name: decay * average[name] + (1 - decay) * value
            for name, value in state.params.items()
        }
    assert_equal_trees(state.ema_params, average, atol=1e-6)


def test_devices_share_out_the_batch_and_exchange_one_mean(plain_programs):
    """Each sees its own frames; loss and gradient meet in a single all-reduce."""
    mesh = mesh_of(4)
    seen = []

    def spy(params, images, dropout_keys=None):
        seen.append(images.shape)
        return apply(params, images, dropout_keys)

    apply, init = create_model(widths=(8,))
    programs = plain_programs(spy, init, optimizer_of(), mesh, ema_decay=0.9)
    keys, rows = KEY.reshape(1), positions(0)[:, None]
    states = jax.eval_shape(programs.init, keys)
    program = programs.run.lower(states, frames(), rows, keys, {}).compile()
    assert seen == [(2, 16, 24, 1)]
    assert program.as_text().count(" all-reduce(") == 1


def test_a_large_gradient_is_clipped():
    optimizer = optimizer_of(learning_rate=1.0, weight_decay=0.0)
    params = {"a/bias": jnp.zeros(4)}
    state = jax.jit(optimizer.update)(
        {"a/bias": jnp.full(4, 100.0)}, optimizer.init(params), params
    )[1]
    moments = [x for x in jax.tree.leaves(state) if x.shape == (4,)]
    np.testing.assert_allclose(moments[0], 0.1 * 0.5)  # 0.1 of the clipped gradient


@pytest.mark.parametrize("num_train_steps", [1, 2, 9, 100])
def test_any_number_of_steps_has_a_schedule(num_train_steps):
    optimizer = optimizer_of(
        learning_rate=1.0,
        num_train_steps=num_train_steps,
        warmup_steps=50,
        weight_decay=0.0,
        clip_norm=1e9,
    )
    params = {"a/kernel": jnp.ones(3)}
    state = optimizer.init(params)
    sizes = []
    for _ in range(num_train_steps):
        updates, state = optimizer.update(params, state, params)
        sizes.append(float(jnp.abs(updates["a/kernel"]).max()))
    assert min(sizes) > 0
    assert max(sizes) == pytest.approx(1.0, abs=0.01)
    if num_train_steps == 100:
        assert sizes[0] == pytest.approx(1 / 11, abs=0.01)  # warm-up: a tenth of all
        assert sizes[10] == pytest.approx(1.0, abs=0.01)
        assert sizes[55] == pytest.approx(0.5, abs=0.02)
        assert sizes[-1] < 0.01


def test_norms_and_biases_do_not_decay():
    optimizer = optimizer_of()
    _, init = create_model(widths=(8, 16), block="residual")
    params = {name: jnp.ones_like(p) for name, p in init(KEY).items()}
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimizer.update)(nothing, optimizer.init(params), params)
    decayed = {name.rsplit("/", 1)[1] for name, u in updates.items() if u.any()}
    assert decayed == {"kernel"}


def test_a_loss_that_is_not_finite_stops_with_its_step():
    state, run, *_ = setup()

    def poisoned(state, rows):
        state, measured = run(state, rows)
        bad = state.step[0] == 3
        return state, measured | {"loss": jnp.where(bad, jnp.nan, measured["loss"])}

    with pytest.raises(RunError, match="step 3: loss nan"):
        train.train_interval(
            state,
            poisoned,
            positions,
            first_step=0,
            last_step=6,
            totals=np.zeros((1, 2)),
            steps_per_call=1,
            on_step=lambda *_: None,
            must_stop=lambda: False,
        )


def train_to_the_end(
    directories,
    setup,
    *,
    num_train_steps=8,
    stop_after=None,
    folds=(3,),
    must_stop=lambda: False,
    rows=None,
):
    """Train folds to their end, or until `stop_after` evaluations have been saved."""
    evaluations = []
    rows = [] if rows is None else rows

    def validate(place, step, params):
        if stop_after is not None and len(evaluations) == stop_after:
            raise KeyboardInterrupt
        return {"dice": float(params["head/bias"][0])}

    def on_resume(place, step):
        if step:
            evaluations.append((place, step))

    def on_eval(place, row):
        evaluations.append((place, row["step"]))
        rows.append({"place": place, **row} | {"train_seconds": None})

    with contextlib.ExitStack() as stack:
        checkpointers = [
            stack.enter_context(checkpoints.open_checkpoints(directory))
            for directory in directories
        ]
        states, step, progress = train.train_folds(
            setup.states,
            setup.run,
            functools.partial(positions, folds=folds),
            validate,
            checkpointers,
            setup.take,
            setup.join,
            measure="dice",
            num_train_steps=num_train_steps,
            eval_every_steps=3,
            steps_per_call=1,
            started=0.0,
            on_resume=on_resume,
            on_step=lambda *_: None,
            on_eval=on_eval,
            before_save=lambda _: None,
            must_stop=must_stop,
        )
        assert step == states.step.max()
    return states, progress, evaluations


def assert_same_trees(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_resumed_fold_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    four = setup(num_devices=4, dropout_rate=0.2)
    whole, _, steps = train_to_the_end([tmp_path / "whole"], four)
    assert steps == [(0, 3), (0, 6), (0, 8)]
    with pytest.raises(KeyboardInterrupt):
        train_to_the_end([tmp_path / "cut"], four, stop_after=1)
    resumed, progress, steps = train_to_the_end([tmp_path / "cut"], four)
    assert steps == [(0, 3), (0, 6), (0, 8)]  # went on from 3
    assert progress.train_seconds > 0
    assert_same_trees(whole, resumed)


@pytest.mark.parametrize("num_devices", [2, 4])
def test_folds_together_equal_folds_one_by_one(num_devices):
    """Losses and weights to 1e-5, augmentation included."""
    together, _ = losses_of(6, num_devices=num_devices, folds=(1, 4))
    take = setup(num_devices=num_devices, folds=(1, 4)).take
    for place, number in enumerate((1, 4)):
        alone, _ = losses_of(6, num_devices=num_devices // 2, folds=(number,))
        np.testing.assert_allclose(together.totals[place], alone.totals[0], atol=6e-5)
        ours = take(together.states, place)
        theirs = setup(num_devices=num_devices // 2, folds=(number,)).take(
            alone.states, 0
        )
        assert_equal_trees(ours.params, theirs.params, atol=1e-5)
        assert_equal_trees(ours.ema_params, theirs.ema_params, atol=1e-5)


def test_a_fold_that_was_saved_later_waits_for_the_others(tmp_path):
    """The third evaluation is that of the first fold: the second one is behind it."""
    folds = (0, 1)
    two = setup(num_devices=2, folds=folds)
    options = {"num_train_steps": 8, "folds": folds}
    whole = train_to_the_end(
        [tmp_path / "whole_0", tmp_path / "whole_1"], two, **options
    )
    cut = [tmp_path / "cut_0", tmp_path / "cut_1"]
    with pytest.raises(KeyboardInterrupt):
        train_to_the_end(cut, two, stop_after=3, **options)
    resumed = train_to_the_end(cut, two, **options)
    assert resumed[2] == [(0, 6), (1, 3), (1, 6), (0, 8), (1, 8)]
    assert_same_trees(whole[0], resumed[0])


@pytest.mark.parametrize("folds", [(3,), (0, 1)])
def test_a_run_that_is_stopped_again_and_again_ends_the_same(tmp_path, folds):
    """Between two evaluations too: weights bit for bit, and the rows of the log."""
    one = setup(num_devices=len(folds), folds=folds)
    whole_rows, cut_rows, steps = [], [], []
    places = [tmp_path / f"{name}_{f}" for name in ("whole", "cut") for f in folds]
    whole, *_ = train_to_the_end(
        places[: len(folds)], one, folds=folds, rows=whole_rows
    )
    while not steps or steps[-1] < 8:
        asked = iter([False, False, False])
        stopped, *_ = train_to_the_end(
            places[len(folds) :],
            one,
            folds=folds,
            rows=cut_rows,
            must_stop=lambda asked=asked: next(asked, True),
        )
        steps.append(int(stopped.step[0]))
    assert steps == [2, 3, 5, 6, 8]
    assert_same_trees(whole, stopped)
    assert cut_rows == whole_rows


def test_a_run_told_to_stop_while_it_is_scored_saves_once(tmp_path):
    one = setup()
    told, rows = [], []

    def scored(place, row):
        rows.append(row["step"])
        told.append(True)

    with checkpoints.open_checkpoints(tmp_path / "c") as checkpointer:
        _, step, _ = train.train_folds(
            one.states,
            one.run,
            positions,
            lambda place, step, params: {"dice": 0.5},
            [checkpointer],
            one.take,
            one.join,
            measure="dice",
            num_train_steps=8,
            eval_every_steps=3,
            steps_per_call=1,
            started=0.0,
            on_resume=lambda *_: None,
            on_step=lambda *_: None,
            on_eval=scored,
            before_save=lambda _: None,
            must_stop=lambda: bool(told),
        )
    assert (step, rows) == (3, [3])
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["3"]


def test_a_fold_that_was_stopped_early_is_waited_for(tmp_path):
    """One stopped between two evaluations, another killed before: each its own steps."""
    folds = (0, 1)
    two = setup(num_devices=2, folds=folds)
    whole = [tmp_path / "whole_0", tmp_path / "whole_1"]
    expected, *_ = train_to_the_end(whole, two, folds=folds)
    cut = [tmp_path / "cut_0", tmp_path / "cut_1"]
    asked = iter([False] * 7)
    train_to_the_end(cut, two, folds=folds, must_stop=lambda: next(asked, True))
    assert sorted(p.name for p in cut[1].iterdir()) == ["3", "5"]
    shutil.rmtree(cut[1] / "5")
    rows = []
    resumed, *_ = train_to_the_end(cut, two, folds=folds, rows=rows)
    assert_same_trees(expected, resumed)
    assert [(row["place"], row["step"]) for row in rows] == [
        (0, 6),
        (1, 6),
        (0, 8),
        (1, 8),
    ]


def test_a_run_that_diverges_names_the_last_good_checkpoint(tmp_path):
    one = setup()

    def poisoned(state, rows):
        state, measured = one.run(state, rows)
        late = state.step[0] >= 5
        return state, measured | {
            "grad_norm": jnp.where(late, jnp.inf, 1.0).reshape(1, 1)
        }

    with pytest.raises(RunError, match=r"step 5: .*inf.*checkpoint: .*checkpoints/3$"):
        train_to_the_end([tmp_path / "checkpoints"], one._replace(run=poisoned))


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
        parallel.check_batch_size(mesh_of(4), batch_size, accumulate_steps)


def test_cores_are_used_unless_the_environment_says_otherwise(monkeypatch):
    chosen = []
    monkeypatch.setattr(parallel.jax.config, "update", lambda _, n: chosen.append(n))
    monkeypatch.setattr(
        parallel.os, "sched_getaffinity", lambda _: range(6), raising=False
    )
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    for batch_size in (8, 9, 5, 7, 1):
        parallel.use_cpu_cores(batch_size, 1)
    parallel.use_cpu_cores(24, 8)
    parallel.use_cpu_cores(8, 1, folds_together=2)
    parallel.use_cpu_cores(8, 1, folds_together=8)
    assert chosen == [4, 3, 5, 1, 1, 3, 4, 8]
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    parallel.use_cpu_cores(8, 1)
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    parallel.use_cpu_cores(8, 1)
    assert len(chosen) == 8
