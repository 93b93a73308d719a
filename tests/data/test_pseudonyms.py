"""Pseudonyms: one per person and key, and nothing to find a person by."""

import concurrent.futures
import os
import stat

import pytest

from nerve_jax.data import pseudonyms
from nerve_jax.data.listing import scan
from nerve_jax.data.pseudonyms import (
    KEY_NAME,
    choose_key_folder,
    create_pseudonym,
    load_or_create_key,
)
from nerve_jax.system.errors import InputError


def test_one_person_one_name(tmp_path):
    key = load_or_create_key(tmp_path)
    assert load_or_create_key(tmp_path) == key
    name = create_pseudonym("/MRN-4711", key)
    assert name == create_pseudonym("/MRN-4711", key)
    assert name != create_pseudonym("/MRN-4712", key)
    assert name != create_pseudonym("/MRN-4711", bytes(32))
    assert name.startswith("p")
    assert len(name) == 11
    assert not {"MRN", "4711"} & {name[:3], name[1:5]}


def test_nobody_else_reads_the_key(tmp_path):
    load_or_create_key(tmp_path)
    mode = (tmp_path / KEY_NAME).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]
    assert scan(tmp_path).others == []  # no file of the data


def test_no_links_on_a_stick(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    key = load_or_create_key(tmp_path)
    assert load_or_create_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / KEY_NAME).stat().st_mode) == 0o600


def test_many_at_once_have_one_key(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create_key, [tmp_path] * 32))
    assert len(keys) == 1


@pytest.mark.parametrize("content", [b"", b"00ff\n", b"\xff\xfe", b"no key", b"0" * 63])
def test_a_damaged_key_is_not_replaced(tmp_path, content):
    (tmp_path / KEY_NAME).write_bytes(content)
    with pytest.raises(InputError, match=r"pseudonyms\.key: .*put the (right one|key)"):
        load_or_create_key(tmp_path)
    assert (tmp_path / KEY_NAME).read_bytes() == content


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(pseudonyms, "create_whole", refuse)
    with pytest.raises(InputError, match=r"Read-only.*Copy the files to a folder"):
        load_or_create_key(tmp_path)


def test_the_key_lies_beside_the_files_if_it_can(tmp_path, monkeypatch):
    disc, beside = tmp_path / "disc", tmp_path / "beside"
    disc.mkdir()
    assert choose_key_folder(disc, beside) == disc
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert choose_key_folder(disc, beside) == beside
    (disc / KEY_NAME).touch()  # made elsewhere, and copied with them
    assert choose_key_folder(disc, beside) == disc
