import os
import signal

import pytest

from nerve_jax.system import backend, workers
from nerve_jax.system.errors import RunError


def work(item: int) -> tuple[int, int]:
    return item, os.getpid()


def die(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.parametrize(("cores", "num_items"), [(1, 10_000), (16, 1999), (16, 0)])
def test_little_work_or_a_single_core_starts_no_worker(cores, num_items, monkeypatch):
    monkeypatch.setattr(backend, "count_cores", lambda: cores)
    with workers.spread_out(num_items, "works") as spread:
        assert spread is map


def test_workers_keep_the_order_and_an_error_of_theirs_is_raised(monkeypatch):
    monkeypatch.setattr(backend, "count_cores", lambda: 2)
    monkeypatch.setattr(workers, "ITEMS_WORTH_A_WORKER", 10)
    with workers.spread_out(40, "works") as spread:
        items, places = zip(*spread(work, range(40)), strict=True)
        assert items == tuple(range(40))
        assert os.getpid() not in places
        with pytest.raises(ZeroDivisionError):
            list(spread(divmod, [1, 2], [1, 0]))


def test_a_killed_worker_ends_the_command_with_a_word_and_a_mend(monkeypatch):
    monkeypatch.setattr(backend, "count_cores", lambda: 2)
    monkeypatch.setattr(workers, "ITEMS_WORTH_A_WORKER", 10)
    told = r"a worker process that scores frames was killed.*memory.*There were 2,"
    with (
        pytest.raises(RunError, match=told),
        workers.spread_out(40, "scores frames") as spread,
    ):
        assert spread is not map  # or this process would be killed
        list(spread(die, range(40)))


def test_what_goes_wrong_in_the_work_itself_is_raised_as_it_is():
    with (
        pytest.raises(RuntimeError, match="^no frame$") as caught,
        workers.explain_loss("reads frames", "Lower it"),
    ):
        raise RuntimeError("no frame")
    assert not isinstance(caught.value, RunError)
