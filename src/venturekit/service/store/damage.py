"""Is the database whole? Looked at before it is opened for writing, so that nothing overwrites what can be saved.

Source for the layout of the write-ahead log and its index: SQLite's page "WAL-mode File Format".
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from venturekit.service.store.connection import Trouble, classify
from venturekit.service.store.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreDiskError,
    StoreFailedError,
    StoreFullError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WHOLE_CHECK_BYTES: Final = 16 * 1024 * 1024
"""Up to this size every page is looked at: some 2 ms per MiB. In a larger one damage is found when it is met with."""

_NO_TEXT: Final = "Could not decode to UTF-8"
_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")
_MAGIC_LITTLE_ENDIAN: Final = 0x377F0682
_MAGIC_BIG_ENDIAN: Final = 0x377F0683
_LOG_VERSION: Final = 3_007_000
_LAST_FRAME_IN_INDEX: Final = struct.Struct("=16xI")
_WORD: Final = 0xFFFFFFFF


def check(path: Path, reserve: Path) -> None:
    """Raise StoreCorruptError if the database at ``path`` is damaged. A file that is not there yet is no damage.

    ``reserve`` is a file that is there once the database was set up. Neither the database nor its log is written to.
    """
    log = path.with_name(f"{path.name}-wal")
    if _size(path) == 0:
        # What SQLite would take for a new database, and drop its log.
        if _size(log):
            raise corrupt(path, f"it is empty or gone, but {log.name} holds changes of it")
        if path.exists() and reserve.exists():
            raise corrupt(path, "it is empty")
        return
    if (fault := log_header_fault(log)) is not None:
        raise corrupt(path, fault)
    with reading(path), closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as reader:
        _check_pages(reader, path)
        # As long as it is open, the index tells what SQLite took from the log.
        if _lost_transactions(log, path.with_name(f"{path.name}-shm")):
            raise corrupt(path, f"{log.name} is damaged in its midst")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the database and its disk into StoreCorruptError and StoreDiskError."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise corrupt(path, f"a document in it is no JSON: {error}") from error
    except sqlite3.DatabaseError as error:
        trouble = classify(error)
        # This one the sqlite3 module makes itself: it has no code.
        if trouble is Trouble.DAMAGE or str(error).startswith(_NO_TEXT):
            raise corrupt(path, str(error)) from error
        if trouble is Trouble.REFUSED:
            raise StoreDiskError(f"the disk refused to read {path}: {error}") from error
        raise


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn SQLite's errors while a database is opened into those of the store."""
    try:
        with reading(path):
            yield
    except (sqlite3.Error, StoreDiskError) as error:
        trouble = Trouble.REFUSED if isinstance(error, StoreDiskError) else classify(error)
        if trouble is Trouble.INTENTION:
            raise
        if trouble is Trouble.BUSY:
            raise StoreBusyError(f"another program holds the database {path}: {error}") from error
        # What SQLite says about a disk without any room is not always that.
        if trouble is Trouble.FULL or not os.statvfs(path.parent).f_bavail:
            raise StoreFullError(f"the disk is full: free some space to open the database {path}") from error
        if trouble is Trouble.REFUSED:
            raise
        raise StoreFailedError(f"the database {path} cannot be opened: {error}") from error


def corrupt(path: Path, what: str) -> StoreCorruptError:
    """The error about a database that was found damaged before anything was written to it."""
    return StoreCorruptError(f"the database {path} is damaged ({what}), and was left as it is. {advice(path)}")


def advice(path: Path) -> str:
    """What to do about a damaged database."""
    return (
        f"Put a copy of it back; or save what can be read with: sqlite3 {path} .recover | sqlite3 {path}.saved; or "
        f"move {path} away, together with {path.name}-wal and {path.name}-shm, to begin anew"
    )


def log_header_fault(log: Path) -> str | None:
    """What is wrong with the header of a write-ahead log. SQLite would ignore the log without a word, and overwrite it.

    A log that is no longer than its header holds nothing.
    """
    if _size(log) <= _LOG_HEADER.size:
        return None
    with log.open("rb") as file:
        header = file.read(_LOG_HEADER.size)
    magic, version, page_size, *_, first, second = _LOG_HEADER.unpack(header)
    order = {_MAGIC_LITTLE_ENDIAN: "<", _MAGIC_BIG_ENDIAN: ">"}.get(magic)
    if order is None or version != _LOG_VERSION or page_size & (page_size - 1) or not 512 <= page_size <= 65536:
        return f"{log.name} has no valid header"
    if _checksum(struct.unpack(f"{order}6I", header[:24])) != (first, second):
        return f"{log.name} has a header with a wrong checksum"
    return None


def _check_pages(reader: sqlite3.Connection, path: Path) -> None:
    (tables,) = reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and path.stat().st_size <= WHOLE_CHECK_BYTES:
        (found,) = reader.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise corrupt(path, " ".join(found.split()))


def _lost_transactions(log: Path, index: Path) -> bool:
    """Whether whole transactions lie behind the place where SQLite stopped to read the log.

    Each was synchronised before the next one began. So the last one alone can be torn, by a loss of power; were it two,
    the first of them was whole once.
    """
    if _size(log) <= _LOG_HEADER.size or _size(index) < _LAST_FRAME_IN_INDEX.size:
        return False
    with index.open("rb") as file:
        (last,) = _LAST_FRAME_IN_INDEX.unpack(file.read(_LAST_FRAME_IN_INDEX.size))
    return sum(_commits_behind(log, last)) > 1


def _commits_behind(log: Path, last: int) -> Iterable[bool]:
    """For each frame after the ``last`` valid one that belongs to the log's present round: whether it ends a
    transaction."""
    with log.open("rb", buffering=0) as file:
        _, _, page_size, _, *salts, _, _ = _LOG_HEADER.unpack(file.read(_LOG_HEADER.size))
        frame_size = _FRAME_HEADER.size + page_size
        for position in range(_LOG_HEADER.size + last * frame_size, _size(log) - frame_size + 1, frame_size):
            file.seek(position)
            _, pages_after_commit, *of_frame, _, _ = _FRAME_HEADER.unpack(file.read(_FRAME_HEADER.size))
            if of_frame == salts:
                yield pages_after_commit != 0


def _checksum(words: Iterable[int]) -> tuple[int, int]:
    first = second = 0
    pairs = iter(words)
    for one, other in zip(pairs, pairs, strict=True):
        first = (first + one + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
