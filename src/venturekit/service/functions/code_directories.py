"""Unpacked code: one read-only directory per archive, shared by all execution environments that run it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from venturekit.service.functions.archive import extract
from venturekit.service.functions.trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class CodeDirectories:
    """Directories ``<root>/<code_key>``, made from archives and therefore disposable.

    Nothing here is synced to disk. Files written before the machine went down may be empty now, so after a reboot
    everything is unpacked anew. All methods but ``path`` and ``ready_path`` block; concurrent calls are safe.
    """

    def __init__(self, root: Path, archive_path: Callable[[str], Path], *, boot_id: str | None = None) -> None:
        self._root = root
        self._archive_path = archive_path
        self._guard = threading.Lock()
        self._unpacking: dict[str, threading.Lock] = {}
        self._ready: set[str] = set()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._start_clean(boot_id or _BOOT_ID.read_text(encoding="ascii").strip())

    def path(self, code_key: str) -> Path:
        """Where the code with this key is, or would be."""
        return self._root / code_key

    def ready_path(self, code_key: str) -> Path | None:
        """The directory if it is known to be unpacked, without looking at the disk."""
        return self.path(code_key) if code_key in self._ready else None

    def ensure(self, code_key: str, archive: bytes | None = None) -> Path:
        """The directory, unpacked now unless it was already: from ``archive`` if given, else from the kept one.

        Raises ArchiveError, FileNotFoundError (no such archive), OSError.
        """
        path = self.path(code_key)
        if code_key in self._ready:
            return path
        with self._lock_of(code_key):
            if not path.exists():
                extract(self._archive_path(code_key) if archive is None else archive, path)
            self._ready.add(code_key)
        return path

    def keys(self) -> set[str]:
        """The keys of all directories there are."""
        return {path.name for path in self._root.iterdir() if path.is_dir() and not path.name.startswith(".")}

    def remove(self, code_key: str) -> None:
        """Remove one directory; one that is not there is no error."""
        with self._lock_of(code_key):
            self._ready.discard(code_key)
            path = self.path(code_key)
            if path.exists():
                # Out of its name first: a removal that is cut short must not leave half a directory that looks whole.
                leaving = self._root / f".leaving-{code_key}"
                path.rename(leaving)
                remove_tree(leaving)
        with self._guard:
            self._unpacking.pop(code_key, None)

    def collect(self, keys_in_use: Collection[str]) -> set[str]:
        """Remove every directory whose key is not in use; returns the keys removed."""
        unused = self.keys().difference(keys_in_use)
        for code_key in unused:
            self.remove(code_key)
        return unused

    def _lock_of(self, code_key: str) -> threading.Lock:
        with self._guard:
            return self._unpacking.setdefault(code_key, threading.Lock())

    def _start_clean(self, boot_id: str) -> None:
        marker = self._root / "boot-id"
        same_boot = marker.exists() and marker.read_text(encoding="ascii") == boot_id
        for path in self._root.iterdir():
            # A hidden directory was being unpacked when a former service ended.
            if path.is_dir() and (not same_boot or path.name.startswith(".")):
                remove_tree(path)
        if not same_boot:
            marker.write_text(boot_id, encoding="ascii")
