"""Several processes that train one model: finding each other, and taking turns.

All of them run the same code on their own devices' share of every batch. What must be
done once, such as writing a table, process 0 does while the others wait for the result.
"""

import itertools
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # no public way to its key-value store
from jax.experimental import multihost_utils

from nerve_jax.system import backend, clusters, signals
from nerve_jax.system.console import is_first
from nerve_jax.system.errors import (
    ElsewhereError,
    InputError,
    Interrupted,
    RunError,
    explain,
    first_line,
    is_out_of_memory,
)

HEARTBEAT_SECONDS = 30  # after which a silent process counts as dead
PARTING_SECONDS = 2
LONGEST_WAIT_MS = 7 * 24 * 3600 * 1000
FAILED = "failed"  # no JSON
ASKINGS_AHEAD = 6

_turns = itertools.count()  # the same in all processes: they run the same code


def connect(
    coordinator: str = "", num_processes: int = 0, process_id: int = -1
) -> bool:
    """Connect to the other processes of this run, if there are any.

    Without arguments these are found under Slurm, Open MPI, Kubernetes and on TPU pods,
    as JAX finds them; `num_processes=1` keeps a process by itself there. Must come
    before JAX looks for devices. From then on only the first process prints.

    If one process dies, JAX ends the others within a minute and names its number, or
    calls it the leader, which is process 0.

    Args:
      coordinator: host:port of the first process.
      num_processes: of the run; 0 where not given.
      process_id: of this one, counted from 0; -1 where not given.

    Returns:
      Whether this process is now one of a run's.

    Raises:
      InputError: only some of the arguments are given, or one process is asked for on one
        of several hosts of TPUs.
      RunError: the others cannot be found, or not be reached.
    """
    given = (bool(coordinator), num_processes > 0, process_id >= 0)
    if num_processes == 1 and not (coordinator or process_id > 0):
        clusters.check_tpu_hosts("--num_processes=1")
        return False
    if any(given) and not all(given):
        raise InputError(
            "--coordinator=HOST:PORT, --num_processes and --process_id go together; "
            "without all three the processes are found under Slurm, Open MPI, "
            "Kubernetes and on TPU pods"
        )
    if all(given):
        arguments = (coordinator, num_processes, process_id)
        if process_id >= num_processes or ":" not in coordinator:
            raise InputError(
                f"--coordinator={coordinator} --num_processes={num_processes} "
                f"--process_id={process_id}: the first is HOST:PORT, the last at most "
                "the second less 1"
            )
        _initialize(
            "the other processes of this run cannot be reached",
            "Check --coordinator, that its port is free and open, and that all processes "
            "were started; --num_processes=1 trains in this process alone",
            *arguments,
            cluster_detection_method="deactivate",
        )
    elif where := clusters.find_cluster():
        _initialize(
            f"{where}, but the other processes of this run cannot be found or reached",
            "Check that all were started and that its services answer; or name them: "
            "--coordinator=HOST:PORT --num_processes --process_id; or train in this "
            "process alone: --num_processes=1",
        )
    if not jax.distributed.is_initialized():
        return False
    backend.start()
    multihost_utils.sync_global_devices("connected")
    return True


def _initialize(problem: str, mend: str, *arguments, **options) -> None:
    # JAX handles SIGTERM itself from there on, and continues; here `signals` does.
    before = signal.getsignal(signal.SIGTERM)
    options |= {"heartbeat_timeout_seconds": HEARTBEAT_SECONDS}
    try:
        signals.wait_for(lambda: jax.distributed.initialize(*arguments, **options))
    except (
        Exception
    ) as error:  # of JAX, of the cluster's own library, or of its network
        raise RunError(f"{problem} ({first_line(error)}). {mend}") from error
    finally:
        signal.signal(signal.SIGTERM, before)


def share(function: Callable[[], Any]) -> Any:
    """Let the first process run a function, and give all of them what it returned.

    The result travels through JAX's coordination service, for which the others can wait
    as long as it takes; a collective operation on devices would time out.

    Args:
      function: returns what JSON can hold.

    Raises:
      Whatever the function raises, in the first process.
      ElsewhereError: in the others then.
    """
    if jax.process_count() == 1:
        return function()
    key, client = f"nerve_jax/share/{next(_turns)}", distributed.global_state.client
    if not is_first():
        answer = client.blocking_key_value_get(key, LONGEST_WAIT_MS)
        if answer == FAILED:
            raise ElsewhereError
        return json.loads(answer)
    try:
        answer = json.dumps(function())
    except BaseException:
        client.key_value_set(key, FAILED)
        raise
    client.key_value_set(key, answer)
    return json.loads(answer)


def agree(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask."""
    return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))


def take_turns(function: Callable[[], Any]) -> Any:
    """Run a function in the first process, then in all the others; each its own result.

    For what the first leaves on a disk that all share.
    """
    found = []
    share(lambda: found.append(function()))
    return found[0] if found else function()


def share_out(function: Callable[[np.ndarray], Any], count: int) -> Any:
    """Let each process work on its part of some rows, and give all of them the whole.

    Args:
      function: takes positions of rows, returns a tree of arrays with an entry for each.
      count: rows altogether; parts are made equal by working on the last ones again.
    """
    if jax.process_count() == 1:
        return function(np.arange(count))
    each = -(-count // jax.process_count())
    own = np.arange(each) + each * jax.process_index()
    part = function(np.minimum(own, count - 1))
    return jax.tree.map(lambda x: _gather(x)[:count], part)


def _gather(rows: np.ndarray) -> np.ndarray:
    """Rows of all processes, equally many of each; as bytes, for JAX narrows 64 bits."""
    rows = np.asarray(rows)
    sent = np.frombuffer(rows.tobytes(), np.uint8).reshape(len(rows), -1)
    whole = multihost_utils.process_allgather(sent, tiled=True)
    return np.frombuffer(whole.tobytes(), rows.dtype).reshape(-1, *rows.shape[1:])


def spread(function: Callable[..., dict[str, Any]], *items: Iterable) -> Iterable[dict]:
    """Like `map`, but each process works on its part, and all of them get the whole.

    Args:
      function: its results are numbers or arrays by name, alike for all items.
      items: at least one of each.
    """
    if jax.process_count() == 1:
        return map(function, *items)
    arguments, names = list(zip(*items, strict=True)), []

    def work(rows):
        found = [function(*arguments[row]) for row in rows]
        names[:] = found[0]
        return [np.array([result[name] for result in found]) for name in names]

    columns = share_out(work, len(arguments))
    return [
        dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)
    ]


class StopPoint:
    """Whether a run must stop, answered alike and at the same time in all processes.

    Each process must ask equally often. One that gets a signal announces at which asking
    all of them stop, some askings ahead: no process can be further on than those, for
    each call of a step waits for all of them (see `training.loop.STEPS_IN_FLIGHT`).

    Args:
      stop: of `signals.listen`, or anything else that is true once the run must stop.
    """

    def __init__(self, stop) -> None:
        self._stop, self._asked, self._announced = stop, 0, False
        self._folder = f"nerve_jax/stop/{next(_turns)}"

    def reached(self) -> bool:
        """Ask once."""
        if jax.process_count() == 1:
            return bool(self._stop)
        client = distributed.global_state.client
        self._asked += 1
        if self._stop and not self._announced:
            self._announced = True
            key = f"{self._folder}/{jax.process_index()}"
            client.key_value_set(key, str(self._asked + ASKINGS_AHEAD))
        announced = client.key_value_dir_get(self._folder)
        return self._asked >= min((int(at) for _, at in announced), default=math.inf)


def leave(error: BaseException) -> None:
    """Say why this process ends, and end it.

    One of several ends at once, for the others would be waited for. The first, without
    whom JAX ends the others, lets them go before. One that is interrupted does not wait
    for its threads either.
    """
    several = jax.distributed.is_initialized()
    lost = isinstance(error, jax.errors.JaxRuntimeError) and not is_out_of_memory(error)
    if several and lost:
        _await_explanation(error)
    exit_code = explain(error)
    sys.stdout.flush()
    sys.stderr.flush()
    if not several and not isinstance(error, Interrupted):
        sys.exit(exit_code)
    if several and distributed.global_state.process_id == 0:
        time.sleep(PARTING_SECONDS)
    os._exit(exit_code)


def _await_explanation(error: BaseException) -> None:
    """Where devices lost touch with a process, let JAX say which, and end this one."""
    print(
        f"error: {first_line(error)}. Another process may be gone; if so, its number "
        "(or, of process 0, leader) comes next. The same commands go on from the last "
        "checkpoint",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(2 * HEARTBEAT_SECONDS)
