import re
import types
from pathlib import Path

import numpy as np
import pytest

from nerve_jax.system import devices
from nerve_jax.system.errors import InputError
from tests.samples import mesh_of


def test_devices_are_dealt_evenly_to_folds_or_not_at_all():
    assert devices.create_mesh(2).shape == {"fold": 2, "batch": 2}
    for folds in (0, 3, 8):
        with pytest.raises(InputError, match=f"folds_together={folds}: 4 devices"):
            devices.create_mesh(folds)


class FakeDevice(types.SimpleNamespace):
    """As much of a device as a mesh looks at."""

    def __hash__(self):
        return self.id


def make_hosts(*counts, platform="gpu"):
    """Devices of several hosts, each a slice of its own, listed the other way round."""
    numbers = [host for host, count in enumerate(counts) for _ in range(count)]
    kind = {"platform": platform, "device_kind": "NVIDIA H100"}
    return [
        FakeDevice(id=i, process_index=host, slice_index=host, **kind)
        for i, host in reversed(list(enumerate(numbers)))
    ]


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize("folds", [1, 2, 4, 8, 16])
def test_hosts_of_their_own_slices_form_one_mesh(monkeypatch, platform, folds):
    monkeypatch.setattr(
        devices.jax, "devices", lambda: make_hosts(8, 8, platform=platform)
    )
    mesh = devices.create_mesh(folds)
    assert dict(mesh.shape) == {"fold": folds, "batch": 16 // folds}
    assert [device.id for device in mesh.devices.flat] == list(range(16))
    hosts = np.vectorize(lambda d: d.process_index)(mesh.devices)
    if folds > 1:  # most exchanges stay within a host
        assert all(len(set(row)) == 1 for row in hosts)


@pytest.mark.parametrize(
    ("hosts", "folds", "fitting"),
    [
        ((8, 8), 3, "1, 2, 4, 8, 16"),
        ((4, 4, 4), 2, "1, 3, 6, 12"),  # the second fold would begin amid a host
        ((4, 2), 2, "1, 3, 6"),
        ((1, 1), 4, "1, 2"),
    ],
)
def test_folds_that_do_not_fit_are_refused_with_those_that_do(
    monkeypatch, hosts, folds, fitting
):
    monkeypatch.setattr(devices.jax, "devices", lambda: make_hosts(*hosts))
    with pytest.raises(
        InputError, match=f"folds_together={folds}: .* is {fitting}, or"
    ):
        devices.create_mesh(folds)
    for fits in map(int, fitting.split(", ")):
        assert devices.create_mesh(fits).shape["fold"] == fits


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
        devices.check_batch_size(mesh_of(4), batch_size, accumulate_steps)


def test_the_numbers_of_folds_that_the_docs_name_are_those_that_fit():
    text = (Path(__file__).parents[2] / "docs/scaling.md").read_text()
    table = text.partition("| devices | processes | `folds_together` |")[2]
    rows = [line.split("|")[1:4] for line in table.splitlines()[2:6]]
    for kinds, processes, fitting in rows:
        count = int(re.search(r"(\d+)(?: of \d+)? GPUs", kinds)[1])
        for hosts in map(int, re.findall(r"\d+", processes)):
            found = devices.sort_devices(make_hosts(*[count // hosts] * hosts))
            fits = [n for n in range(1, count + 1) if devices._fits(found, n)]
            assert fits == [int(n) for n in fitting.split(",")]
