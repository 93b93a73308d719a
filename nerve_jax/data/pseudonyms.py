"""Names for people that do not say who they are.

A pseudonym is a keyed hash (HMAC, RFC 2104, with SHA-256) of what a file says of its
person. The same person has the same pseudonym wherever the same key is used; without the
key nobody can find out who it is by trying numbers. The key lies beside the original
files, which name the people anyway, and never among what is passed on.
"""

import hmac
import os
import secrets
from pathlib import Path

from nerve_jax.system.errors import InputError
from nerve_jax.system.files import create_whole

KEY_NAME = "pseudonyms.key"
KEY_BYTES = 32
DIGITS = 10  # of 16: of 10,000 people two would share one once in 20,000 sets


def load_or_create_key(folder: Path) -> bytes:
    """The key beside original files, made when it is first needed.

    Raises:
      InputError: it is no key, or the folder cannot be written.
    """
    path = folder / KEY_NAME
    try:
        if not path.exists():
            create_whole(path, secrets.token_hex(KEY_BYTES) + "\n", mode=0o600)
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the key by which people are given pseudonyms cannot be read or made "
            f"({error}). Copy the files to a folder that can be written, or put the key "
            "back that was there"
        ) from error
    if len(key) != KEY_BYTES:
        raise InputError(
            f"{path}: not a key of {KEY_BYTES} bytes; put the right one back"
        )
    return key


def choose_key_folder(input_dir: Path, otherwise: Path) -> Path:
    """Where the key of some files lies or is to be: beside them, if that can be written.

    Args:
      input_dir: of the files; a scanner's disc cannot be written.
      otherwise: a folder beside what is passed on.
    """
    has_key = (input_dir / KEY_NAME).exists()
    return input_dir if has_key or os.access(input_dir, os.W_OK) else otherwise


def create_pseudonym(person: str, key: bytes) -> str:
    """A name of `DIGITS` letters and figures for what names a person."""
    return "p" + hmac.digest(key, person.encode(), "sha256").hex()[:DIGITS]
