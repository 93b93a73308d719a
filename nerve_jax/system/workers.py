"""Worker processes of a command: they share out its work, and end with it."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from nerve_jax.system import backend, signals
from nerve_jax.system.errors import RunError

ITEMS_WORTH_A_WORKER = 1000  # at a millisecond each, what starting one takes
ITEMS_AT_A_TIME = 16
GRAIN_SAYS = "Worker process was terminated unexpectedly"  # in a plain RuntimeError


def follow_run() -> None:
    """Let this worker end with the run, however that ends; Ctrl-C goes to both of them.

    To be called once, as the worker starts.
    """
    for number in signals.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    run = multiprocessing.parent_process()

    def watch() -> None:
        run.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def explain_loss(task: str, mend: str) -> Iterator[None]:
    """Raise `RunError` where a worker of a pool or of Grain ends before its work does.

    Args:
      task: what the workers do, as in "scores frames".
      mend: how to have fewer of them.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, BrokenProcessPool) and GRAIN_SAYS not in str(error):
            raise
        raise RunError(
            f"a worker process that {task} was killed, most often for want of memory. "
            f"The same command goes on from what is saved. {mend}"
        ) from error


@contextlib.contextmanager
def spread_out(num_items: int, task: str) -> Iterator[Callable]:
    """Open workers on all cores, if there is enough to do for them.

    Args:
      num_items: that will be worked on altogether, a millisecond each or more.
      task: as of `explain_loss`.

    Yields:
      `spread(function, *items)`: like `map`, and in the same order. Function and items
      are pickled where there are workers; with few items or one core it is `map` itself.

    Raises:
      RunError: a worker was killed.
    """
    count = min(backend.count_cores(), num_items // ITEMS_WORTH_A_WORKER)
    if count < 2:
        yield map
        return
    # JAX has threads, so that a fork of this process may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=follow_run)
    fewer = (
        f"There were {count}, by the cores that the command may use; on Linux "
        '"taskset --cpu-list 0,1" before it leaves two'
    )
    try:
        with explain_loss(task, fewer):
            yield lambda function, *items: pool.map(
                function, *items, chunksize=ITEMS_AT_A_TIME
            )
    finally:
        pool.shutdown(cancel_futures=True)
