"""The part of an execution environment that outlives its processes: its scratch directory and its log stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from venturekit.service.environments.removal import remove_tree

if TYPE_CHECKING:
    from pathlib import Path


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
