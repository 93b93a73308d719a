import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
print("begins", os.getpid(), flush=True)
from nerve_jax.system import memory
memory.use_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:])
"""


def run(**environment):
    without = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "a b", "--c=d"],
        env=without | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no GNU C library"
)
def test_a_program_starts_anew_once_with_its_arguments():
    first, again, said = run()
    assert first == again  # the same process
    assert said == "glibc.malloc.hugetlb=1 ['a b', '--c=d']"


def test_a_setting_of_the_user_is_left_alone():
    _, said = run(GLIBC_TUNABLES="")
    assert said == " ['a b', '--c=d']"
