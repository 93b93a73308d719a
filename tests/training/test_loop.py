import contextlib
import functools
import json
import shutil
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nerve_jax.model.unet import create_model
from nerve_jax.runs import checkpoints, damage
from nerve_jax.runs.folder import Fold, fold_dir
from nerve_jax.system import locks
from nerve_jax.system.errors import InputError, RunError
from nerve_jax.system.processes import StopPoint
from nerve_jax.training.augment import make_augment
from nerve_jax.training.engine import Engine
from nerve_jax.training.loop import Steps, advance, train_folds
from nerve_jax.training.losses import make_loss
from nerve_jax.training.optimizer import create_optimizer
from nerve_jax.training.progress import RunLog
from nerve_jax.training.step import make_train_step
from tests.samples import bright_feed, mesh_of

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


@dataclass
class Learning:
    """A task of seconds: augmented frames, scored by a weight.

    `watch` is called with the fold's number and the step before every score.
    """

    apply: object
    watch: object = lambda number, step: None
    measure = "dice"

    def loss(self, params, state, batch, keys):
        loss = make_loss("bce_dice", presence_weight=0.1, coarse_weight=0.0)
        augment_keys, dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        batch = make_augment(**STRONG)(batch, augment_keys)
        outputs = self.apply(params, batch.images, dropout_keys)
        return loss(outputs, batch.masks, batch.labelled)

    def begin(self, fold, params):
        return params

    def score(self, predict, fold, step, params):
        self.watch(fold.number, step)
        return {"dice": float(params["head/bias"][0])}

    def export(self, predict, fold, params):
        return {"bias.npy": np.asarray(params["head/bias"])}


class Ready(NamedTuple):
    engine: Engine
    task: Learning


@functools.cache
def setup(
    num_devices=1, accumulate_steps=1, dropout_rate=0.0, num_folds=1, steps_per_call=1
):
    """An engine of a small net, compiled once for all tests."""
    mesh = mesh_of(num_devices, num_folds)
    apply, init = create_model(widths=(8, 16), dropout_rate=dropout_rate)
    optimizer = create_optimizer(
        learning_rate=3e-3,
        num_train_steps=20,
        warmup_steps=5,
        weight_decay=0.01,
        clip_norm=1.0,
        ema_decay=0.99,
    )
    task = Learning(apply)
    engine = Engine(
        lambda key, scalars: optimizer.init(init(key), scalars),
        make_train_step(
            task.loss,
            optimizer.update,
            accumulate_steps=accumulate_steps,
            axis_name="batch",
        ),
        bright_feed(mesh, batch_size=8, seed=7),
        lambda members, images: None,
        mesh=mesh,
        steps_per_call=steps_per_call,
    )
    return Ready(engine, task)


class Asked:
    """False for so many times, then true."""

    def __init__(self, times=10**6):
        self.left = times

    def __bool__(self):
        self.left -= 1
        return self.left < 0


class Log(RunLog):
    """Remembers what it is given."""

    def __init__(self, workdir, folds):
        options = {"num_train_steps": 8, "batch_size": 8, "measure": "dice"}
        super().__init__(workdir, folds, **options)
        self.steps, self.rows = [], []

    def resume(self, checkpoints):
        super().resume(checkpoints)
        self.rows += [
            (fold, step)
            for fold, (step, _) in zip(self._folds, checkpoints, strict=True)
            if step
        ]

    def add_losses(self, step, losses):
        super().add_losses(step, losses)
        self.steps.append((step + losses.shape[1] - 1, float(losses[:, -1].mean())))

    def write(self, place, step, scores):
        self.rows.append((self._folds[place], step))
        super().write(place, step, scores)


def fold_of(workdir, number):
    everything = np.arange(12)
    return Fold(number, fold_dir(workdir, number), everything, everything, everything)


class Done(NamedTuple):
    states: object
    step: int
    totals: np.ndarray
    seconds: float


def losses_of(tmp_path, num_steps=6, folds=(3,), **options):
    """Train for some steps without evaluating; what came of it, and losses by step."""
    engine = setup(num_folds=len(folds), **options).engine
    log = Log(tmp_path, folds)
    stream = engine.feed.open([fold_of(tmp_path, number) for number in folds])
    states, step = advance(
        engine, stream, engine.init(stream.keys), 0, num_steps, log, StopPoint(Asked())
    )
    return Done(states, step, log.losses, log.train_seconds), log.steps


def assert_equal_trees(ours, theirs, **tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_training_learns(tmp_path):
    done, seen = losses_of(tmp_path, 20)
    assert [step for step, _ in seen] == list(range(1, 21))
    early, late = (
        np.mean([loss for _, loss in part]) for part in (seen[:5], seen[-5:])
    )
    assert late < 0.9 * early
    np.testing.assert_allclose(done.totals, [[sum(loss for _, loss in seen), 20]])
    assert done.step == 20
    assert done.seconds > 0


def test_one_and_four_devices_give_the_same_losses(tmp_path):
    one, ones = losses_of(tmp_path, num_devices=1, dropout_rate=0.2)
    four, fours = losses_of(tmp_path, num_devices=4, dropout_rate=0.2)
    np.testing.assert_allclose(
        [loss for _, loss in ones], [loss for _, loss in fours], atol=1e-5
    )
    assert_equal_trees(one.states.params, four.states.params, atol=2e-3)


def test_steps_in_a_scan_equal_single_steps(tmp_path):
    single, singles = losses_of(tmp_path, 7)
    scanned, pairs = losses_of(tmp_path, 7, steps_per_call=3)
    assert [step for step, _ in pairs] == [3, 6, 7]
    assert scanned.states.step.tolist() == [7]
    # Adam amplifies rounding where a gradient is nearly 0, so later steps drift apart.
    np.testing.assert_allclose(pairs[0][1], singles[2][1], atol=1e-6)
    np.testing.assert_allclose(pairs[-1][1], singles[-1][1], atol=1e-3)
    np.testing.assert_allclose(scanned.totals, single.totals, atol=7e-3)


@pytest.mark.parametrize(
    ("total", "eval_every", "steps_per_call", "rounded"),
    [
        (8500, 850, 20, 860),
        (8500, 860, 20, 860),
        (8500, 850, 1, 850),
        (100, 3, 20, 20),
        (100, 1000, 20, 1000),
        (19, 4, 20, 4),  # all of them are taken one by one
    ],
)
def test_evaluations_are_whole_calls_apart(total, eval_every, steps_per_call, rounded):
    steps = Steps(total, eval_every).in_whole_calls(steps_per_call)
    assert steps == (total, rounded)


def test_gradient_accumulation_equals_the_whole_batch(tmp_path):
    _, whole = losses_of(tmp_path, 4)
    _, parts = losses_of(tmp_path, 4, accumulate_steps=2)
    np.testing.assert_allclose(
        [loss for _, loss in whole], [loss for _, loss in parts], atol=1e-5
    )


def test_the_same_run_twice_is_bit_for_bit_the_same(tmp_path):
    first, again = (losses_of(tmp_path, 5)[0].states for _ in range(2))
    assert_same_trees(first, again)


@pytest.fixture
def poison(monkeypatch):
    """Return `poison(engine, spoil)`: spoils metrics of a step, given its number."""

    def poison(engine, spoil):
        step = engine.step

        def spoilt(states, rows, keys):
            states, metrics = step(states, rows, keys)
            return states, metrics | spoil(states.step[0], metrics)

        monkeypatch.setattr(engine, "step", spoilt)

    return poison


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path, poison):
    poison(
        setup(num_folds=1).engine,
        lambda step, metrics: {"loss": jnp.where(step == 3, jnp.nan, metrics["loss"])},
    )
    with pytest.raises(RunError, match="step 3: loss nan"):
        losses_of(tmp_path)


class Trained(NamedTuple):
    states: list
    log: Log
    step: int


def train_to_the_end(
    workdir,
    ready,
    *,
    folds=(3,),
    total=8,
    eval_every=3,
    stop_after=None,
    stop=None,
    watch=None,
):
    """Train folds to their end, or until `stop_after` evaluations have been saved."""
    log = Log(workdir, folds)
    chosen = [fold_of(workdir, number) for number in folds]

    def interrupt(number, step):
        if stop_after is not None and len(log.rows) == stop_after:
            raise KeyboardInterrupt

    with contextlib.ExitStack() as stack:
        for fold in chosen:
            stack.enter_context(locks.hold(fold.lock))
        stack.enter_context(log)
        step = train_folds(
            ready.engine,
            ready.engine.feed,
            Learning(ready.task.apply, watch or interrupt),
            chosen,
            log,
            steps=Steps(total, eval_every).in_whole_calls(ready.engine.steps_per_call),
            stop=StopPoint(Asked() if stop is None else stop),
        )
    return Trained([load_newest(ready.engine, fold) for fold in chosen], log, step)


def load_newest(engine, fold):
    """The state in a fold's newest checkpoint."""
    stream = engine.feed.open([fold] * engine._num_folds)
    shapes = next(engine.split(engine.init(stream.keys)))
    with checkpoints.open_checkpoints(fold.checkpoints) as checkpointer:
        return checkpoints.restore_latest(checkpointer, shapes)[0]


def read_rows(log):
    """The rows of metrics.jsonl, but for their times."""
    times = ("train_seconds", "images_per_second")
    rows = log._metrics.read()
    return [{k: v for k, v in row.items() if k not in times} for row in rows]


def assert_same_trees(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_resumed_fold_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    four = setup(num_devices=4, dropout_rate=0.2)
    whole = train_to_the_end(tmp_path / "whole", four)
    assert whole.log.rows == [(3, 3), (3, 6), (3, 8)]
    with pytest.raises(KeyboardInterrupt):
        train_to_the_end(tmp_path / "cut", four, stop_after=1)
    resumed = train_to_the_end(tmp_path / "cut", four)
    assert resumed.log.rows == [(3, 3), (3, 6), (3, 8)]  # went on from 3
    assert resumed.log.train_seconds > 0
    assert_same_trees(whole.states, resumed.states)


def test_whole_calls_up_to_a_last_partial_stretch_resume_bit_for_bit(
    tmp_path, monkeypatch
):
    """Evaluations 4 steps apart, calls of 3: single steps are the last two alone."""
    ready, counts = setup(steps_per_call=3), []
    get_program = Engine.get_program

    def spy(engine, count):
        counts.append(count)
        return get_program(engine, count)

    monkeypatch.setattr(Engine, "get_program", spy)
    whole = train_to_the_end(tmp_path / "whole", ready, eval_every=4)
    assert whole.log.rows == [(3, 6), (3, 8)]
    assert counts == [3, 3, 1, 1]
    with pytest.raises(KeyboardInterrupt):
        train_to_the_end(tmp_path / "cut", ready, eval_every=4, stop_after=1)
    resumed = train_to_the_end(tmp_path / "cut", ready, eval_every=4)
    assert counts[4:] == [3, 3, 1, 1, 1, 1]
    assert_same_trees(whole.states, resumed.states)
    assert read_rows(whole.log) == read_rows(resumed.log)


def test_the_first_checkpoint_of_a_fold_is_read_back_and_no_other(
    tmp_path, monkeypatch
):
    read, check = [], damage.check_saved

    def note(checkpointer, step, state):
        read.append(step)
        check(checkpointer, step, state)

    monkeypatch.setattr(damage, "check_saved", note)
    with pytest.raises(KeyboardInterrupt):
        train_to_the_end(tmp_path, setup(), stop_after=2)
    train_to_the_end(tmp_path, setup())  # from a checkpoint that it reads anyway
    assert read == [3]


def test_training_ends_at_a_first_checkpoint_that_does_not_read_back(tmp_path):
    with pytest.raises(RunError, match=r"/3: the first checkpoint .* not read back"):
        train_to_the_end(tmp_path / "a[1]", setup())


def test_a_finished_fold_leaves_what_the_task_exports_and_a_summary(tmp_path):
    done = train_to_the_end(tmp_path, setup())
    fold = fold_of(tmp_path, 3)
    np.testing.assert_array_equal(
        np.load(fold.directory / "bias.npy"), done.states[0].ema_params["head/bias"]
    )
    assert (fold.directory / "summary.json").exists()
    assert done.step == 8


@pytest.mark.parametrize("num_devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_folds_together_equal_folds_one_by_one(tmp_path, num_devices):
    """Losses and weights to 1e-5, augmentation included."""
    together, _ = losses_of(tmp_path, 6, num_devices=num_devices, folds=(1, 4))
    each = setup(num_devices=num_devices, num_folds=2).engine.split(together.states)
    for place, (number, ours) in enumerate(zip((1, 4), each, strict=True)):
        half = num_devices // 2
        alone, _ = losses_of(tmp_path, 6, num_devices=half, folds=(number,))
        np.testing.assert_allclose(together.totals[place], alone.totals[0], atol=6e-5)
        theirs = next(setup(num_devices=half).engine.split(alone.states))
        assert_equal_trees(ours.params, theirs.params, atol=1e-5)
        assert_equal_trees(ours.ema_params, theirs.ema_params, atol=1e-5)


@pytest.mark.slow
def test_a_fold_that_was_saved_later_waits_for_the_others(tmp_path):
    """The third evaluation is that of the first fold: the second one is behind it."""
    folds = (0, 1)
    two = setup(num_devices=2, num_folds=2)
    whole = train_to_the_end(tmp_path / "whole", two, folds=folds)
    with pytest.raises(KeyboardInterrupt):
        train_to_the_end(tmp_path / "cut", two, stop_after=3, folds=folds)
    resumed = train_to_the_end(tmp_path / "cut", two, folds=folds)
    assert resumed.log.rows == [(0, 6), (1, 3), (1, 6), (0, 8), (1, 8)]
    assert_same_trees(whole.states, resumed.states)
    assert read_rows(whole.log) == sorted(
        read_rows(resumed.log), key=lambda row: (row["step"], row["fold"])
    )


def test_a_finished_fold_that_waits_for_another_is_left_as_it_is(tmp_path):
    two = setup(num_devices=2, num_folds=2)
    train_to_the_end(tmp_path, two, folds=(0, 1))
    done, other = (fold_of(tmp_path, number) for number in (0, 1))
    other.summary.unlink()
    shutil.rmtree(other.checkpoints / "8")
    done.summary.write_text("as it was")
    train_to_the_end(tmp_path, two, folds=(0, 1))
    assert done.summary.read_text() == "as it was"
    assert json.loads(other.summary.read_text())["num_train_steps"] == 8


@pytest.mark.parametrize("folds", [pytest.param((3,), marks=pytest.mark.slow), (0, 1)])
def test_a_run_that_is_stopped_again_and_again_ends_the_same(tmp_path, folds):
    """Between two evaluations too: weights bit for bit, and the rows of the log."""
    ready = setup(num_devices=len(folds), num_folds=len(folds))
    whole = train_to_the_end(tmp_path / "whole", ready, folds=folds)
    steps = []
    while not steps or steps[-1] < 8:
        stopped = train_to_the_end(
            tmp_path / "cut", ready, folds=folds, stop=Asked(times=3)
        )
        assert stopped.step == stopped.states[0].step
        steps.append(stopped.step)
    assert steps == [2, 3, 5, 6, 8]
    assert_same_trees(whole.states, stopped.states)
    assert read_rows(whole.log) == read_rows(stopped.log)


def test_a_run_told_to_stop_while_it_is_scored_saves_once(tmp_path):
    stop = []
    done = train_to_the_end(
        tmp_path, setup(), stop=stop, watch=lambda number, step: stop.append(step)
    )
    assert (done.step, done.log.rows) == (3, [(3, 3)])
    fold = fold_of(tmp_path, 3)
    assert [p.name for p in fold.checkpoints.iterdir()] == ["3"]


def test_a_fold_that_was_stopped_early_is_waited_for(tmp_path):
    """One stopped between two evaluations, another killed before: each its own steps."""
    folds = (0, 1)
    two = setup(num_devices=2, num_folds=2)
    whole = train_to_the_end(tmp_path / "whole", two, folds=folds)
    train_to_the_end(tmp_path / "cut", two, folds=folds, stop=Asked(times=7))
    kept = fold_of(tmp_path / "cut", 1).checkpoints
    assert sorted(p.name for p in kept.iterdir()) == ["3", "5"]
    shutil.rmtree(kept / "5")
    resumed = train_to_the_end(tmp_path / "cut", two, folds=folds)
    assert_same_trees(whole.states, resumed.states)
    begun = 2  # the first rows are those of the checkpoints that were found
    assert resumed.log.rows[begun:] == [(0, 6), (1, 6), (0, 8), (1, 8)]


def test_a_run_that_diverges_names_the_last_good_checkpoint(tmp_path, poison):
    ready = setup()
    poison(
        ready.engine,
        lambda step, _: {"grad_norm": jnp.where(step >= 5, jnp.inf, 1.0).reshape(1, 1)},
    )
    with pytest.raises(RunError, match=r"step 5: .*inf.*checkpoint: .*checkpoints/3$"):
        train_to_the_end(tmp_path, ready)


def test_a_checkpoint_after_the_last_step_is_named(tmp_path):
    train_to_the_end(tmp_path, setup(), stop=Asked(times=7))
    with pytest.raises(InputError, match=r"stands at step 5, .*num_train_steps=4"):
        train_to_the_end(tmp_path, setup(), total=4)


def test_nothing_is_written_once_another_run_has_taken_the_lock(tmp_path):
    def lose(number, step):
        fold_of(tmp_path, 3).lock.write_text(
            '{"host": "elsewhere", "pid": 1, "time": 1e12}'
        )

    with pytest.raises(RunError, match="took this lock over"):
        train_to_the_end(tmp_path, setup(), watch=lose)
    fold = fold_of(tmp_path, 3)
    assert list(fold.checkpoints.glob("[0-9]*")) == []
    assert not (fold.directory / "summary.json").exists()
