"""Worker processes of a command: they share out its work, and end with it."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from nerve_jax.system import backend, signals

ITEMS_WORTH_A_WORKER = 1000  # at a millisecond each, what starting one takes
ITEMS_AT_A_TIME = 16


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
def spread_out(num_items: int) -> Iterator[Callable]:
    """Open workers on all cores, if there is enough to do for them.

    Args:
      num_items: that will be worked on altogether, a millisecond each or more.

    Yields:
      `spread(function, *items)`: like `map`, and in the same order. Function and items
      are pickled where there are workers; with few items or one core it is `map` itself.
    """
    count = min(backend.count_cores(), num_items // ITEMS_WORTH_A_WORKER)
    if count < 2:
        yield map
        return
    # JAX has threads, so that a fork of this process may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=follow_run)
    try:
        yield lambda function, *items: pool.map(
            function, *items, chunksize=ITEMS_AT_A_TIME
        )
    finally:
        pool.shutdown(cancel_futures=True)
