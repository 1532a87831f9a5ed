"""One service per data directory: an exclusive lock that dies with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from venturekit.service.store.errors import DataDirectoryForeignError, DataDirectoryInUseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK_NAME: Final = "lock"
# What file systems and version control put into an otherwise empty directory; the service has no such names.
_HARMLESS: Final = (".", "lost+found")


class DataDirectoryLock:
    """An exclusive ``flock`` on ``<data_dir>/lock``; the file's text names the holder for people to read."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, data_dir: Path, *, now: Callable[[], float] = time.time) -> DataDirectoryLock:
        """Take the lock, making the directory if need be; it is held until ``release`` or the end of the process.

        Raises DataDirectoryInUseError, at once, naming the pid of the holder, and DataDirectoryForeignError for a
        directory with files that was never locked: what a service cleans up at its start would be somebody's work.
        """
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _refuse_foreign(data_dir)
        path = data_dir / LOCK_NAME
        # The descriptor is not inheritable: a child that outlives the service must not keep the directory locked.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise DataDirectoryInUseError(
                f"the data directory {data_dir} is in use by another service ({holder or 'pid unknown'}): "
                "stop it, or choose another data directory"
            ) from None
        started = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}, started {started}\n".encode(), 0)
        return cls(path, descriptor)

    def release(self) -> None:
        """Let the next service in. The file stays: removing it would let two services hold two locks."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _refuse_foreign(data_dir: Path) -> None:
    names = os.listdir(data_dir)
    found = sorted(name for name in names if not name.startswith(_HARMLESS))
    if found and LOCK_NAME not in names:
        raise DataDirectoryForeignError(
            f"the data directory {data_dir} holds other files ({', '.join(found[:3])}{', ...' if found[3:] else ''}): "
            "choose a directory that is empty or does not exist yet"
        )
