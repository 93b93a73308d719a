"""Data sets too big for a device: batches read from the records while training.

Grain's worker processes decode, resize and hand over whole batches; which frames are in
which batch is the same function of (seed, fold, step) as for frames that lie on the
device, so both ways train alike.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from nerve_jax.data.batches import Frames, batch_positions
from nerve_jax.data.examples import Examples
from nerve_jax.data.outlines import Wanted, average, draw_outlines
from nerve_jax.data.resize import resize_image
from nerve_jax.system import backend, devices, workers

FEWEST_WORKERS, MOST_WORKERS = 2, 16  # per fold, where their number is not given
CORES_OF_THE_RUN = 2  # that are left to it then
BATCHES_AHEAD = 2  # per worker
LAST_STEP = 2**31 - 1  # streams do not end by themselves


class BatchLoader(NamedTuple):
    """Reads the batch of a step; runs in a worker process.

    Attributes:
      source: the records.
      records: where in it each training frame is.
      image_size: training height and width in px.
      wanted: structures, and whose outlines are their truth.
      batch_size: frames per step, over all processes.
      own: places in the batch that this process reads.
      seed: of the run.
      fold: number of the fold.
    """

    source: Any
    records: np.ndarray
    image_size: tuple[int, int]
    wanted: Wanted
    batch_size: int
    own: list[int]
    seed: int
    fold: int

    def __call__(self, step: int) -> Frames:
        positions = batch_positions(
            int(step),
            batch_size=self.batch_size,
            num_frames=len(self.records),
            seed=self.seed,
            fold=self.fold,
        )
        rows = [
            self._read(self.source[int(record)])
            for record in self.records[positions[self.own]]
        ]
        return Frames(*map(np.stack, zip(*rows, strict=True)))

    def _read(self, record: dict) -> Frames:
        """Image, masks and labelled structures of a record, without an axis of frames."""
        drawn = draw_outlines(record)
        names = self.wanted.structures
        chosen = [self.wanted.choose(drawn, name) for name in names]
        return Frames(
            resize_image(record["image"][..., 0], self.image_size),
            np.stack([average(own, self.image_size) for own in chosen]),
            np.array([bool(own) for own in chosen]),
        )


def open_streams(
    folds: Sequence[int],
    trains: Sequence[np.ndarray],
    *,
    examples: Examples,
    mesh,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
) -> Callable[[int], Frames]:
    """Read the batches of some folds; each process those of its own devices.

    Args:
      folds: their numbers.
      trains: positions of the training frames of each.
      examples: of the data set.
      mesh: of `create_mesh`.
      batch_size: frames per step, over all processes.
      seed: of the run.
      num_workers: processes that read for each fold; 0 for `choose_num_workers`. The
        batches are the same, however many read them.

    Returns:
      `next_rows(step)`, `Frames` with an axis of folds in front, as far as this process
      needs them; fast where steps follow one another, for workers read ahead. It raises
      `RunError` where a worker was killed.
    """
    own_folds, own_frames = devices.find_own_rows(mesh, batch_size)
    loaders = [
        BatchLoader(
            examples.source,
            examples.records[trains[place]],
            examples.images.shape[1:],
            examples.wanted,
            batch_size,
            own_frames,
            seed,
            folds[place],
        )
        for place in own_folds
    ]
    each = num_workers or choose_num_workers(backend.count_cores(), len(own_folds))
    fewer = f"There are {each} per fold: lower --config.data.num_workers"
    ahead: dict[str, Any] = {"step": None, "streams": []}

    def next_rows(step: int) -> Frames:
        if step != ahead["step"]:
            for stream in ahead["streams"]:
                stream.close()
            ahead["streams"] = [_read_from(loader, step, each) for loader in loaders]
        ahead["step"] = step + 1
        with workers.explain_loss("reads frames", fewer):
            rows = [next(stream) for stream in ahead["streams"]]
        return jax.tree.map(lambda *x: np.stack(x), *rows)

    return next_rows


def choose_num_workers(cores: int, num_folds: int) -> int:
    """How many processes read for each fold: the cores that the run can spare, shared."""
    spare = (cores - CORES_OF_THE_RUN) // num_folds
    return min(max(spare, FEWEST_WORKERS), MOST_WORKERS)


def _read_from(
    loader: BatchLoader, first_step: int, num_workers: int
) -> Iterator[Frames]:
    import grain  # a second that runs with frames on the device are spared

    options = grain.MultiprocessingOptions(num_workers, BATCHES_AHEAD)
    dataset = grain.MapDataset.range(first_step, LAST_STEP).map(loader)
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=BATCHES_AHEAD)
    ahead = dataset.to_iter_dataset(reading)
    return iter(ahead.mp_prefetch(options, worker_init_fn=_follow_run))


def _follow_run(worker: int, num_workers: int) -> None:
    """See `workers.follow_run`; what libraries log is left out, as it is in the run."""
    del worker, num_workers  # Grain hands them to whatever it starts a worker with
    logging.set_verbosity(logging.FATAL)
    workers.follow_run()
