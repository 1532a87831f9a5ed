"""Unpacking a code archive without trusting it. All of it blocks; call it in a thread."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from venturekit.service.functions.archive_rules import ArchiveEntry, ArchiveListing, EntryKind, list_archive
from venturekit.service.functions.trees import remove_tree
from venturekit.service.functions.zip_content import inflated
from venturekit.service.functions.zip_format import ArchiveError, Buffer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArchiveEntry", "ArchiveError", "ArchiveListing", "EntryKind", "extract", "inspect"]

_READ_ONLY: Final = 0o555


def inspect(source: bytes | Path) -> ArchiveListing:
    """Check everything that can be checked without inflating the files.

    Raises ArchiveError, with kind ``too_large`` above 262144000 unzipped bytes; OSError if the file cannot be read.
    """
    with _buffer(source) as archive:
        return list_archive(archive)


def extract(source: bytes | Path, target: Path) -> ArchiveListing:
    """Unpack into ``target``, which must not exist and appears only when complete; everything in it is read-only.

    Directories get mode 0555, files 0555 if any execute bit is set in the archive and 0444 otherwise.
    Raises ArchiveError, after which nothing is left behind; FileExistsError; OSError.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    with _buffer(source) as archive:
        listing = list_archive(archive)
        temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
        try:
            _write_all(archive, listing, temporary)
            os.rename(temporary, target)
        except BaseException:
            remove_tree(temporary)
            raise
    return listing


@contextmanager
def _buffer(source: bytes | Path) -> Iterator[Buffer]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise ArchiveError("the archive is empty", "empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            yield view


def _write_all(archive: Buffer, listing: ArchiveListing, root: Path) -> None:
    directories = _directories(listing.entries)
    for parts in directories:
        os.mkdir(root.joinpath(*parts), 0o700)
    for entry in listing.entries:
        if entry.kind is EntryKind.FILE:
            _write_file(root.joinpath(*entry.parts), archive, entry)
    # Links come last: while files are written there is none that a write could follow.
    for entry in listing.entries:
        if entry.link_target is not None:
            os.symlink(entry.link_target, root.joinpath(*entry.parts))
    for parts in reversed(directories):
        os.chmod(root.joinpath(*parts), _READ_ONLY)
    os.chmod(root, _READ_ONLY)


def _directories(entries: tuple[ArchiveEntry, ...]) -> list[tuple[str, ...]]:
    """All directories, named or implied, parents first."""
    found: set[tuple[str, ...]] = set()
    for entry in entries:
        parts = entry.parts if entry.kind is EntryKind.DIRECTORY else entry.parts[:-1]
        while parts and parts not in found:
            found.add(parts)
            parts = parts[:-1]
    return sorted(found)


def _write_file(path: Path, archive: Buffer, entry: ArchiveEntry) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for piece in inflated(archive, entry.raw):
            _write_whole(file.fileno(), piece)
        os.fchmod(file.fileno(), _READ_ONLY if entry.executable else 0o444)


def _write_whole(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
