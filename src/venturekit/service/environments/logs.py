"""The functions' logs: what was captured and the platform's lines, kept in memory within bounds.

Platform lines of the warm path are kept as tuples and rendered when somebody reads them: an invocation that
nobody watches pays for three appends.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.journal import Journal, open_journal
from venturekit.service.environments.log_records import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from venturekit.service.environments.kept_logs import KeptGroup, KeptLogs
    from venturekit.service.environments.log_records import KeptRecord, Message, Record
    from venturekit.service.environments.ports import EnvironmentSpec

GROUP_LIMIT_BYTES: Final = 4 * 1024 * 1024
GROUP_LIMIT_RECORDS: Final = 20_000
DELETED_LIMIT: Final = 64
"""How many log groups outlive their functions: on AWS all do, here each may hold megabytes of memory."""
TRIMMED_AT_ONCE: Final = 1_000
"""How many records more than the limit are let in before the oldest go: one by one costs more."""

STREAMS_LIMIT: Final = GROUP_LIMIT_RECORDS
"""How many streams of a function in other log groups than its own are remembered."""
_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})
HISTORY_ROOM: Final = GROUP_LIMIT_RECORDS
"""The sequences that are kept free for what earlier services wrote: it is read when somebody asks for it."""


@dataclass(slots=True, frozen=True)
class LogLine:
    """One line as a reader sees it: ``sequence`` counts up per group, ``timestamp`` is in epoch seconds."""

    sequence: int
    timestamp: float
    stream: str
    message: bytes


class LogGroup:
    """The latest log records of one function, oldest dropped first. ``first`` is the sequence of the first one."""

    __slots__ = ("_followers", "_next", "_origin", "_records", "_size")

    def __init__(self, first: int = 0) -> None:
        self._records: deque[Record] = deque()
        self._size = 0
        self._next = self._origin = first
        self._followers: list[Callable[[], None]] = []

    def append(self, timestamp: float, stream: str, message: Message) -> None:
        """Add a record; ``timestamp`` in epoch seconds."""
        records = self._records
        records.append((timestamp, stream, message))
        self._next += 1
        # The other records are small and alike: their number bounds them.
        if type(message) is bytes:
            self._size += len(message)
        if len(records) >= GROUP_LIMIT_RECORDS + TRIMMED_AT_ONCE or self._size > GROUP_LIMIT_BYTES:
            self._trim()
        if self._followers:
            followers, self._followers = self._followers, []
            for wake in followers:
                wake()

    def _trim(self) -> None:
        records = self._records
        while self._size > GROUP_LIMIT_BYTES or len(records) > GROUP_LIMIT_RECORDS:
            dropped = records.popleft()[2]
            if type(dropped) is bytes:
                self._size -= len(dropped)

    def read(self, after: int = -1, limit: int = 1000) -> Iterator[LogLine]:
        """The records with a sequence greater than ``after``, oldest first, at most ``limit``."""
        first = self._next - len(self._records)
        start = min(max(after + 1 - first, 0), len(self._records))
        # Taken out now: whoever reads slowly gets what there was, while more is written and the oldest dropped.
        found = list(itertools.islice(self._records, start, start + limit))
        return (
            LogLine(sequence, timestamp, stream, render(timestamp, message))
            for sequence, (timestamp, stream, message) in enumerate(found, first + start)
        )

    def snapshot(self) -> tuple[int, list[Record]]:
        """All records as they are now, oldest first, and the sequence of the first one."""
        return self._next - len(self._records), list(self._records)

    @property
    def size_bytes(self) -> int:
        """About how much text there is; platform lines count for nothing."""
        return self._size

    def prepend(self, records: Sequence[KeptRecord]) -> None:
        """Put older records, oldest first, before those that there are, as far as there is room.

        Once records have been dropped there is none.
        """
        if self._origin + len(self._records) < self._next:
            return
        older = records[-self._origin :] if self._origin else ()
        self._records.extendleft(reversed(older))
        self._size += sum(len(message) for _, _, message in older)
        self._origin -= len(older)
        self._trim()

    @property
    def last(self) -> int:
        """The sequence of the newest record, -1 when there is none."""
        return self._next - 1

    def follow(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` once, at the next record."""
        self._followers.append(wake)

    def unfollow(self, wake: Callable[[], None]) -> None:
        """Take back :meth:`follow`."""
        if wake in self._followers:
            self._followers.remove(wake)


class LogStore:
    """The log groups of all functions, by the ARN of the function, and of those that were deleted last."""

    __slots__ = ("_deleted", "_elsewhere", "_groups", "_kept", "_restored")

    def __init__(self) -> None:
        self._groups: dict[str, LogGroup] = {}
        self._elsewhere: dict[str, dict[str, str]] = {}
        self._deleted: dict[str, None] = {}
        self._kept: KeptLogs | None = None
        self._restored: set[str] = set()

    def keep_in(self, kept: KeptLogs) -> None:
        """Keep all logs on disk as well, and know those of earlier services. Called before any group is asked for."""
        self._kept = kept

    def open(self, spec: EnvironmentSpec, stream: str) -> Journal:
        """The log of one execution environment, which writes to this stream."""
        keep = None if self._kept is None else self._kept.keep(spec.function_arn, spec.log_group)
        if spec.log_group != f"/aws/lambda/{spec.function_name}":
            self._note_elsewhere(spec.function_arn, stream, spec.log_group)
        return open_journal(spec, stream, self.group(spec.function_arn), keep)

    def group(self, function_arn: str) -> LogGroup:
        """The group of a function, made when it is first asked for."""
        group = self._groups.get(function_arn)
        if group is None:
            group = self._groups[function_arn] = LogGroup(0 if self._kept is None else HISTORY_ROOM)
        return group

    def functions(self) -> Iterator[tuple[str, LogGroup]]:
        """The ARNs of all functions that have records in memory, each with what it logged."""
        return ((arn, group) for arn, group in self._groups.items() if group.last >= 0)

    def elsewhere(self, function_arn: str) -> Mapping[str, str]:
        """The log groups of those of a function's streams that are not in ``/aws/lambda/<name>``."""
        return self._elsewhere.get(function_arn, _NOWHERE)

    async def kept_groups(self, account_id: str) -> Mapping[str, KeptGroup]:
        """The log groups of an account that are on disk, by name."""
        return {} if self._kept is None else await self._kept.groups(account_id)

    def _note_elsewhere(self, function_arn: str, stream: str, log_group: str) -> None:
        streams = self._elsewhere.setdefault(function_arn, {})
        streams[stream] = log_group
        if len(streams) > STREAMS_LIMIT:
            # The records of the oldest are long gone: a group has no more records than so many environments write.
            del streams[next(iter(streams))]

    def find(self, function_arn: str) -> LogGroup | None:
        """The group of a function, None when it never logged."""
        return self._groups.get(function_arn)

    async def recall(self, function_arn: str) -> LogGroup | None:
        """The group of a function, with what earlier services have kept of its log; None when it never logged."""
        kept = self._kept
        if kept is not None and function_arn not in self._restored:
            records, elsewhere = await kept.history(function_arn, records=HISTORY_ROOM, size_bytes=GROUP_LIMIT_BYTES)
            # Somebody else may have asked meanwhile. A name that nobody has ever used is not worth remembering.
            if function_arn not in self._restored and (records or function_arn in self._groups):
                self._restored.add(function_arn)
                for stream, log_group in elsewhere.items():
                    self._note_elsewhere(function_arn, stream, log_group)
                self.group(function_arn).prepend(records)
        return self._groups.get(function_arn)

    def function_exists(self, function_arn: str) -> None:
        """There is such a function, perhaps again: its group is kept."""
        self._deleted.pop(function_arn, None)

    def function_deleted(self, function_arn: str) -> None:
        """The function is gone: its group stays until :data:`DELETED_LIMIT` others have been deleted after it."""
        self._deleted[function_arn] = None
        if len(self._deleted) > DELETED_LIMIT:
            oldest = next(iter(self._deleted))
            del self._deleted[oldest]
            self._groups.pop(oldest, None)
            self._elsewhere.pop(oldest, None)
            self._restored.discard(oldest)
