"""What a command line asks for, and what a command takes of it."""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ml_collections import ConfigDict

from nerve_jax.system.files import Path, open_local, open_path


@dataclass(frozen=True)
class Request:
    """A command line, parsed.

    Attributes:
      mode: a key of `COMMANDS`.
      config: None without --config.
      config_file: that --config names; "" without.
      overrides: fields given by --config.name=, by dotted name.
      workdir: folder of the run; "" where none was named.
      workdirs: of two runs to compare.
      split: of the data set.
      input: folder of frames.
      output: folder of masks and tables.
      labels: format of another program, to turn into ours or to make; "" without.
      target: to compile for.
      submission: write the Kaggle file.
      keep_marked: write frames in which text remains.
      force: go on though configuration, data set or code differ.
      coordinator: HOST:PORT of process 0; "" where not given.
      num_processes: of the run; 0 where not given.
      process_id: of this process; -1 where not given.
      connected: whether this process is one of several of a run.
    """

    mode: str
    config: ConfigDict | None = None
    config_file: str = ""
    overrides: dict = field(default_factory=dict)
    workdir: str = ""
    workdirs: tuple[str, ...] = ()
    split: str = "train"
    input: str = ""
    output: str = ""
    labels: str = ""
    target: str = ""
    submission: bool = False
    keep_marked: bool = False
    force: bool = False
    coordinator: str = ""
    num_processes: int = 0
    process_id: int = -1
    connected: bool = False

    @property
    def folder(self) -> Path:
        """The run's folder, on a disk or in a bucket."""
        return open_path(self.workdir, "--workdir", plain=True)

    @property
    def local_folder(self) -> pathlib.Path:
        """The same of a command that needs it on a disk."""
        return open_local(self.workdir, "--workdir", plain=True)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Those of the runs to compare."""
        return tuple(open_path(text, "--workdirs") for text in self.workdirs)

    @property
    def input_folder(self) -> pathlib.Path:
        """The folder of frames."""
        return open_local(self.input, "--input")

    @property
    def output_folder(self) -> pathlib.Path:
        """The folder of masks and tables."""
        return open_local(self.output, "--output")


@dataclass(frozen=True)
class Command:
    """One --mode.

    Attributes:
      summary: what it does, a sentence.
      flags: names of the flags that it takes, beside --mode and --verbosity.
      needs: those without which it cannot run.
      run: does it.
      together: whether several processes can do it.
    """

    summary: str
    flags: tuple[str, ...]
    needs: tuple[str, ...]
    run: Callable[[Request], None]
    together: bool = False
