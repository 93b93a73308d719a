"""What runs on the devices, compiled once and shared by all folds."""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from nerve_jax.system import devices
from nerve_jax.training import folds
from nerve_jax.training.feed import Feed
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.step import make_train_steps

STEPS_PER_CALL = 20  # on accelerators; a CPU is faster one step at a time


class Engine:
    """Initialises, trains and predicts folds that train together.

    The functions given are written for one fold on one device; the engine runs them on
    every device of the mesh, each on its own fold and its own frames of the batch.
    States of all folds lie as `training.folds` says; `split` and `join` go from these to
    states of one fold each, which lie on all devices, and back.

    Args:
      init: (key, scalars) -> the state of one fold before the first step.
      train_step: of `make_train_step`, for the mesh axis "batch".
      feed: of the data set.
      predict: of `scoring.predictor.create_predictor`.
      mesh: of `devices.create_mesh`.
      scalars: hyperparameters that are arguments of the step, by name.
      steps_per_call: steps that one call takes; 0: one on a CPU, 20 elsewhere.

    Attributes:
      feed: as given.
      predict: (members, images) -> (probs, presence_probs); see `scoring.predictor`.
      steps_per_call: how many steps `step` takes at a time, unless one.
    """

    def __init__(
        self,
        init: Callable,
        train_step: Callable,
        feed: Feed,
        predict: Callable,
        *,
        mesh: Mesh,
        scalars: Mapping[str, float] | None = None,
        steps_per_call: int = 0,
    ):
        self.feed, self.predict = feed, predict
        self._scalars = _to_float32(scalars or {})
        on_cpu = devices.get_platform(mesh) == "cpu"
        self.steps_per_call = steps_per_call or (1 if on_cpu else STEPS_PER_CALL)
        self._num_folds, self._rows = mesh.shape["fold"], devices.split_rows(mesh)
        same, by_fold = devices.replicated(mesh), devices.split_folds(mesh)
        shapes = jax.eval_shape(init, jax.random.key(0), self._scalars)
        train_steps = make_train_steps(train_step, feed.pick)

        def init_own(keys, scalars):
            return folds.lay_out(init(keys[0], scalars))

        def step_own(states, frames, rows, keys):
            """One call on one device: its fold's arrays, all frames, its own rows."""
            state = folds.shape_as_one(states, shapes)
            own_rows = jax.tree.map(lambda x: x[0], rows)
            state, metrics = train_steps(state, frames, own_rows, keys[0])
            return folds.lay_out(state), jax.tree.map(lambda x: x[None], metrics)

        # shard_map hands each device what the specs deal it, so that what runs there is
        # the program of one fold on one device; only its "batch" mean crosses devices.
        self._init = jax.jit(
            folds.on_own_devices(init_own, mesh, (folds.FOLD, folds.EVERYWHERE)),
            in_shardings=(by_fold, same),
            out_shardings=by_fold,
        )
        specs = (folds.FOLD, folds.EVERYWHERE, self._rows.spec, folds.FOLD)
        self._step = jax.jit(
            folds.on_own_devices(step_own, mesh, specs),
            donate_argnums=0,  # the new states take the memory of the old ones
            in_shardings=(by_fold, same, self._rows, by_fold),
            out_shardings=(by_fold, same),  # metrics for every process to read
        )
        self._take = jax.jit(
            functools.partial(folds.take, shapes=shapes, num_folds=self._num_folds),
            static_argnums=1,
            out_shardings=same,
        )
        self._join = jax.jit(folds.join, out_shardings=by_fold)
        self._programs: dict = {}  # by number of steps per call

    def with_scalars(self, scalars: Mapping[str, float]) -> "Engine":
        """The same compiled programs with other values of the same hyperparameters."""
        other = copy.copy(self)
        other._scalars = _to_float32(scalars)
        return other

    def init(self, keys) -> TrainState:
        """States of all folds before the first step; `keys` are those of a `Stream`."""
        return self._init(keys, self._scalars)

    def compile(self, *num_steps: int) -> None:
        """Compile `step`, so that compiling is not timed as training.

        Args:
          *num_steps: numbers of steps that are taken between two stops; where they are
            no multiple of `steps_per_call`, the rest are taken one by one.
        """
        if max(num_steps) >= self.steps_per_call:
            self.get_program(self.steps_per_call)
        if any(steps % self.steps_per_call for steps in num_steps):
            self.get_program(1)

    def get_program(self, count: int):
        """The compiled `step` for so many steps at a time; compiled if need be."""
        if count not in self._programs:
            self._programs[count] = self.trace(count).lower().compile()
        return self._programs[count]

    def trace(self, count: int):
        """`step` for so many steps at a time, before it is lowered and compiled."""
        split = functools.partial(jax.random.split, num=self._num_folds)
        keys = jax.eval_shape(split, jax.random.key(0))
        states = jax.eval_shape(self._init, keys, self._scalars)
        return self._step.trace(states, self.feed.frames, self.feed.shape(count), keys)

    def step(self, states: TrainState, rows, keys) -> tuple[TrainState, dict]:
        """Take one step for every row.

        Args:
          states: of all folds; their buffers are donated.
          rows: [folds steps ...], those of this process, as the feed gives them.
          keys: of the `Stream`.

        Returns:
          The states, and metrics "loss" and "grad_norm", float32 [folds steps].
        """
        count = jax.tree.leaves(rows)[0].shape[1]
        rows = devices.put(rows, self._rows)
        return self.get_program(count)(states, self.feed.frames, rows, keys)

    def split(self, states: TrainState) -> Iterator[TrainState]:
        """The state of each fold, on all devices; one at a time, for memory's sake."""
        return (self._take(states, place) for place in range(self._num_folds))

    def join(self, each: Sequence[TrainState]) -> TrainState:
        """States of one fold each -> states of all folds."""
        return self._join(*each)

    def rejoin(self, states: TrainState, ahead: Mapping[int, TrainState]) -> TrainState:
        """Put states of single folds in the place of those that are there.

        Args:
          states: of all folds.
          ahead: states of folds that were ahead, by place.
        """
        if not ahead:
            return states
        return self.join(
            [ahead.get(place, one) for place, one in enumerate(self.split(states))]
        )


def _to_float32(scalars: Mapping[str, float]) -> dict[str, np.float32]:
    return {name: np.float32(value) for name, value in scalars.items()}
