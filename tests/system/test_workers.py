import os

import pytest

from nerve_jax.system import backend, workers


def work(item: int) -> tuple[int, int]:
    return item, os.getpid()


@pytest.mark.parametrize(("cores", "num_items"), [(1, 10_000), (16, 1999), (16, 0)])
def test_little_work_or_a_single_core_starts_no_worker(cores, num_items, monkeypatch):
    monkeypatch.setattr(backend, "count_cores", lambda: cores)
    with workers.spread_out(num_items) as spread:
        assert spread is map


def test_workers_keep_the_order_and_an_error_of_theirs_is_raised(monkeypatch):
    monkeypatch.setattr(backend, "count_cores", lambda: 2)
    monkeypatch.setattr(workers, "ITEMS_WORTH_A_WORKER", 10)
    with workers.spread_out(40) as spread:
        items, places = zip(*spread(work, range(40)), strict=True)
        assert items == tuple(range(40))
        assert os.getpid() not in places
        with pytest.raises(ZeroDivisionError):
            list(spread(divmod, [1, 2], [1, 0]))
