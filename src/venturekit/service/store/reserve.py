"""Disk space kept aside, so that a full disk can still be worked off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_SIZE_BYTES: Final = 16 * 1024 * 1024


class ReserveFile:
    """A pre-allocated file that is given up when the disk is full.

    In WAL mode even a DELETE needs space, so without it a full disk could not be emptied by the service itself.
    """

    def __init__(self, path: Path, size_bytes: int = RESERVE_SIZE_BYTES) -> None:
        self.path = path
        self._size_bytes = size_bytes
        self.held = False

    def take(self) -> bool:
        """Allocate the space if it is not held; False if the disk has no room for it."""
        if self.held:
            return True
        try:
            # Asked first: some file systems fill all the room there is before they say that it does not suffice.
            disk = os.statvfs(self.path.parent)
            if not self.path.exists() and disk.f_bavail * disk.f_frsize < self._size_bytes:
                return False
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, self._size_bytes)
            self.held = True
        except OSError:
            self.path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return self.held

    def give_up(self) -> None:
        """Return the space to the disk."""
        self.path.unlink(missing_ok=True)
        self.held = False
