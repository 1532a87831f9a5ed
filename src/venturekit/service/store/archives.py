"""Code archives, each stored once under the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_KEY: Final = re.compile(r"[0-9a-f]{64}")
_TEMPORARY_PREFIX: Final = ".incoming-"


class Archives:
    """Files ``<directory>/<sha256>.zip``. A file that is there is whole: it is written aside, synced and renamed.

    Every method blocks on the disk; call them in a thread. Concurrent calls are safe.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in directory.glob(f"{_TEMPORARY_PREFIX}*"):
            leftover.unlink(missing_ok=True)

    def put(self, data: bytes) -> str:
        """Keep ``data`` durably and return its key, the hexadecimal SHA-256. Raises OSError."""
        key = hashlib.sha256(data).hexdigest()
        path = self.path(key)
        if not path.exists():
            self._write(path, data)
        # Also when the file was there already: another thread may have renamed it a moment ago and not synced yet.
        _sync_directory(self._directory)
        return key

    def path(self, key: str) -> Path:
        """Where the archive with this key is, or would be. Raises ValueError for what is not a key."""
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"not the key of an archive: {key!r}")
        return self._directory / f"{key}.zip"

    def remove(self, key: str) -> None:
        """Remove an archive; one that is not there is no error."""
        self.path(key).unlink(missing_ok=True)

    def keys(self) -> set[str]:
        """The keys of all archives."""
        return {path.stem for path in self._directory.glob("*.zip") if _KEY.fullmatch(path.stem)}

    def _write(self, path: Path, data: bytes) -> None:
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _sync_directory(directory: Path) -> None:
    # Without this the rename itself may be lost in a power cut, although the file's bytes are safe.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
