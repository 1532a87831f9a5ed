"""Kept logs on disk: appending, rotating, removing, reading back. Blocks: for threads that may wait for a disk."""

from __future__ import annotations

import fcntl
import os
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from venturekit.service.environments import log_names
from venturekit.service.environments.log_names import ACCOUNT_FOLDER, GROUP_FOLDER, day_of, log_line, parse_file_name
from venturekit.service.environments.log_records import render

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from venturekit.service.environments.log_names import KeptFile, LogName
    from venturekit.service.environments.log_records import KeptRecord, Record

LOCK_NAME: Final = ".lock"
OPEN_LIMIT: Final = 64
"""How many files stay open."""
FILE_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""How large one file becomes, where the limit of all is large enough."""
FILES_AT_LEAST: Final = 8
"""Into how many files the limit is divided at least: whole files are removed."""
READ_BACK_BYTES: Final = 16 * 1024 * 1024
"""How much is read of a function's files, from their end, to find what earlier services wrote."""


class LogDirectoryError(Exception):
    """The log directory cannot be used; the text says why and what to do."""


class _Open:
    """A file that is being written."""

    __slots__ = ("day", "descriptor", "size", "torn")

    def __init__(self, path: str, day: int) -> None:
        self.day = day
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(path, flags, 0o600)
        self.size = os.fstat(self.descriptor).st_size
        # Whoever wrote it last may have been killed in the middle of a line.
        self.torn = self.size > 0 and os.pread(self.descriptor, 1, self.size - 1) != b"\n"

    def append(self, data: bytes) -> None:
        """Write whole lines. Raises OSError; what was written of a line by then is ended before the next one."""
        if self.torn:
            data = b"\n" + data
        while data:
            written = os.write(self.descriptor, data)
            self.size += written
            self.torn = written < len(data)
            data = data[written:]

    def close(self) -> None:
        os.close(self.descriptor)


class LogDisk:
    """The files below one directory, which no other service writes to as long as this one is open.

    ``limit_bytes`` bounds all files together, ``days`` their age. Times are arguments, in epoch seconds.
    """

    def __init__(self, directory: Path, *, limit_bytes: int, days: int, now: float) -> None:
        """Raises LogDirectoryError."""
        self.directory = directory
        self._limit_bytes = limit_bytes
        self._file_limit_bytes = min(FILE_LIMIT_BYTES, limit_bytes // FILES_AT_LEAST)
        self._days = days
        # Everything from before is an earlier service's. Times in files are cut to milliseconds.
        self._began = (int(now * 1000) - 0.5) / 1000
        self._open: OrderedDict[LogName, _Open] = OrderedDict()
        self._size = 0
        self._pruned_on = -1
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self._acquire()
        except OSError as error:
            raise LogDirectoryError(
                f"the log directory {directory} cannot be used: {error.strerror}; choose another --log-dir, or none"
            ) from error
        self.prune(now)

    def _acquire(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.directory / LOCK_NAME, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LogDirectoryError(
                f"the log directory {self.directory} is in use by another service: stop it, or choose another --log-dir"
            ) from None
        return descriptor

    def write(self, name: LogName, records: Sequence[Record]) -> None:
        """Append records of one log, oldest first. Raises OSError when the disk takes no more."""
        day = day_of(records[0][0])
        lines: list[bytes] = []
        for timestamp, stream, message in records:
            if day_of(timestamp) != day:
                self._append(name, day, b"".join(lines))
                day, lines = day_of(timestamp), []
            lines.append(log_line(timestamp, stream, render(timestamp, message)))
        self._append(name, day, b"".join(lines))

    def prune_if_due(self, now: float) -> None:
        """Remove what is too old or too much, when there may be something."""
        if self._size > self._limit_bytes or self._pruned_on != day_of(now):
            self.prune(now)

    def prune(self, now: float) -> None:
        """Remove what is too old or too much. Files that cannot be removed stay."""
        self._pruned_on = day_of(now)
        files = list(self.files())
        removed = log_names.outdated(files, today=day_of(now), days=self._days, limit_bytes=self._limit_bytes)
        for file in removed:
            with suppress(OSError):
                (self.directory / file.path).unlink()
        for folder in {file.folder for file in removed}:
            # As far as they are empty now.
            with suppress(OSError):
                os.removedirs(self.directory / folder)
        self._size = sum(file.size_bytes for file in files) - sum(file.size_bytes for file in removed)

    def history(
        self,
        account_id: str,
        function_name: str,
        *,
        records: int,
        size_bytes: int,
        folders: dict[str, str] | None = None,
    ) -> list[KeptRecord]:
        """The latest that services before this one have kept of a function, oldest first, within both limits.

        ``folders`` takes the log group's folder of each stream.
        """
        function = log_names.safe_name(function_name)
        files = [file for file in self.files(account_id) if file.function == function]
        found: list[KeptRecord] = []
        left = READ_BACK_BYTES
        for file in sorted(files, key=lambda file: file.age_order, reverse=True):
            for line in reversed(self._end_of(file, left)):
                record = log_names.parse_line(line)
                if record is None or record[0] >= self._began:
                    continue
                size_bytes -= len(record[2])
                if size_bytes < 0 or len(found) == records:
                    break
                found.append(record)
                if folders is not None:
                    folders[record[1]] = file.folder
            left -= file.size_bytes
            if left <= 0 or size_bytes < 0 or len(found) == records:
                break
        # A function may have written to several log groups, each of which has files of its own.
        found.reverse()
        found.sort(key=lambda record: record[0])
        return found

    def files(self, account_id: str | None = None) -> Iterator[KeptFile]:
        """All kept files, or those of one account. What has another form is not ours."""
        for account in self._folders("", ACCOUNT_FOLDER):
            if account_id is None or account == account_id:
                for group in self._folders(account, GROUP_FOLDER):
                    yield from self._files_in(f"{account}/{group}")

    def close(self) -> None:
        """Close all files and let the next service in."""
        while self._open:
            self._open.popitem()[1].close()
        os.close(self._lock)

    # --- inside -------------------------------------------------------------------------------------------------

    def _append(self, name: LogName, day: int, data: bytes) -> None:
        file = self._file(name, day)
        if file.size and file.size + len(data) > self._file_limit_bytes:
            self._rotate(name, day)
            file = self._file(name, day)
        before = file.size
        try:
            file.append(data)
        finally:
            self._size += file.size - before

    def _file(self, name: LogName, day: int) -> _Open:
        file = self._open.get(name)
        if file is not None:
            # It may have been removed meanwhile, by us or by its owner.
            if file.day == day and os.fstat(file.descriptor).st_nlink:
                self._open.move_to_end(name)
                return file
            self._close(name)
        folder = self.directory / name.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._open[name] = _Open(str(folder / name.file(day)), day)
        if len(self._open) > OPEN_LIMIT:
            self._close(next(iter(self._open)))
        return file

    def _close(self, name: LogName) -> None:
        self._open.pop(name).close()

    def _rotate(self, name: LogName, day: int) -> None:
        """Give the file that is written the next number: the one without a number is the newest."""
        self._close(name)
        current = parse_file_name(name.folder, name.file(day), 0, 0.0)
        assert current is not None  # it is a name of ours
        files = self._files_in(name.folder)
        numbers = [file.number or 0 for file in files if (file.function, file.day) == (current.function, current.day)]
        following = current.name(max(numbers, default=0) + 1)
        (self.directory / current.path).rename(self.directory / name.folder / following)

    def _end_of(self, file: KeptFile, limit: int) -> list[bytes]:
        """The lines at the end of a file, as far as they lie within ``limit`` bytes."""
        try:
            with open(self.directory / file.path, "rb") as opened:
                start = max(0, file.size_bytes - limit)
                opened.seek(start)
                lines = opened.read(limit).split(b"\n")
        except OSError:
            return []
        return lines[1:] if start else lines

    def _folders(self, below: str, form: re.Pattern[str]) -> list[str]:
        try:
            with os.scandir(self.directory / below) as entries:
                return [it.name for it in entries if form.fullmatch(it.name) and it.is_dir(follow_symlinks=False)]
        except OSError:
            return []

    def _files_in(self, folder: str) -> Iterator[KeptFile]:
        try:
            with os.scandir(self.directory / folder) as entries:
                for entry in entries:
                    with suppress(OSError):
                        if entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            file = parse_file_name(folder, entry.name, status.st_size, status.st_mtime)
                            if file is not None:
                                yield file
        except OSError:
            return
