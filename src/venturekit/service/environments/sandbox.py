"""The part of an execution environment that outlives its processes: its scratch directory and its log stream."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.removal import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

BYTECODE_ROOM_BYTES: Final = 32 * 1024 * 1024
"""Of free disk, below which functions write no compiled code."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``directory`` holds ``tmp`` (the function's TMPDIR); on AWS, too, both are kept when an environment is reset."""

    directory: Path
    log_stream: str

    @property
    def tmp(self) -> Path:
        """What stands in for ``/tmp``."""
        return self.directory / "tmp"

    def create(self) -> None:
        """Make the directories. Harmless when they are there."""
        self.tmp.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete everything below the directory, as far as that is possible."""
        remove_tree(self.directory)


def has_room_for_bytecode(directory: Path) -> bool:
    """Whether the disk has room: on a full one Python leaves half of a file, which no import survives later."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize >= BYTECODE_ROOM_BYTES
