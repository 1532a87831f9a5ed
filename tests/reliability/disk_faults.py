"""A disk that fails on demand: a library that is preloaded into the service, and what tells it when."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from enum import IntEnum, IntFlag
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("disk_faults.c")
LAYOUT = struct.Struct("=IIiiI64s")
HITS = struct.Struct("=16xI")


class Operation(IntFlag):
    """What fails."""

    READS = 1
    WRITES = 2
    SYNCS = 4


class Action(IntEnum):
    """How it fails: as a whole, after half of the bytes were written, or so that the process dies in its midst."""

    FAIL = 0
    FAIL_TORN = 1
    KILL = 2


class DiskFaults:
    """The faults of one service: start it with ``environ``."""

    def __init__(self, library: Path, control: Path) -> None:
        control.write_bytes(bytes(LAYOUT.size))
        self.environ = {"LD_PRELOAD": str(library), "DISK_FAULTS": str(control)}
        with control.open("r+b") as file:
            self._block = mmap.mmap(file.fileno(), LAYOUT.size)

    def begin(
        self, operations: Operation, name: str, error: int, *, action: Action = Action.FAIL, skip: int = 0
    ) -> None:
        """From now on these operations on files whose path ends with ``name`` fail, the first ``skip`` excepted."""
        block = LAYOUT.pack(0, action, error, skip, 0, name.encode())
        self._block[: LAYOUT.size] = block
        # Last, for the others count only with it.
        self._block[:4] = struct.pack("=I", operations)

    def end(self) -> None:
        """All is well again."""
        self._block[:4] = bytes(4)

    @property
    def hits(self) -> int:
        """How many operations have failed since the last ``begin``."""
        (hits,) = HITS.unpack(self._block[: HITS.size])
        return int(hits)


def compiled(folder: Path) -> Path:
    """The library, compiled into this folder. Skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on PATH (Debian: apt-get install gcc libc6-dev)")
    library = folder / "disk_faults.so"
    subprocess.run(
        [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"],
        check=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C"},
    )
    return library
