"""Deletes what functions have written, whatever they made of it."""

from __future__ import annotations

import os
import secrets
from collections import deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(directory: Path) -> None:
    """Delete a folder and everything below it, as far as that is possible.

    Nesting of any depth takes a handful of descriptors and no recursion, and folders that a function closed to their
    owner are opened: `shutil.rmtree` would leave both behind. Links are not followed. Nobody may be writing below it.
    """
    try:
        top = _open_up(str(directory), None)
    except OSError:
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    with suppress(OSError):
        os.rmdir(directory)


def _empty(top: int) -> None:
    """Folders are brought up to the top one by one, so no path is ever longer than two names."""
    prefix = f".{secrets.token_hex(8)}-"
    fresh = (f"{prefix}{number}" for number in count())
    waiting = deque(_delete_files(top))
    while waiting:
        name = waiting.popleft()
        with suppress(OSError):
            folder = _open_up(name, top)
            try:
                for below in _delete_files(folder):
                    with suppress(OSError):
                        # Moving a folder takes the right to write to it, too.
                        os.close(_open_up(below, folder))
                        moved = next(fresh)
                        os.rename(below, moved, src_dir_fd=folder, dst_dir_fd=top)
                        waiting.append(moved)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _delete_files(folder: int) -> list[str]:
    """Delete all but the folders in a folder; the names of those."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def _open_up(name: str, parent: int | None) -> int:
    """A descriptor of a folder, which its owner may use from now on. Raises OSError."""
    place = os.open(name, os.O_PATH | _FOLDER, dir_fd=parent)
    try:
        here = f"/proc/self/fd/{place}"
        os.chmod(here, 0o700)
        return os.open(here, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(place)
