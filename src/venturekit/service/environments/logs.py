"""The functions' logs: what was captured and the platform's lines, kept in memory within bounds.

Platform lines of the warm path are kept as tuples and rendered when somebody reads them: an invocation that
nobody watches pays for three appends.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.platform_lines import Report, end_line, report_line, start_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROUP_LIMIT_BYTES: Final = 4 * 1024 * 1024
GROUP_LIMIT_RECORDS: Final = 20_000
DELETED_LIMIT: Final = 64
"""How many log groups outlive their functions: on AWS all do, here each may hold megabytes of memory."""
TRIMMED_AT_ONCE: Final = 1_000
"""How many records more than the limit are let in before the oldest go: one by one costs more."""

# What a record holds beside time and stream: the text, or the platform's figures, as a flat tuple of plain values:
# the garbage collector lets go of such tuples for good, and twenty thousand of them cost it nothing.
Started = tuple[bytes, bytes]
"""A START line, not rendered yet: request id and version."""
Ended = tuple[bytes]
"""An END line, not rendered yet: request id."""
Reported = tuple[bytes, float, int, int, "float | None"]
"""The REPORT line of an invocation that ended well, not rendered yet: the first five fields of Report."""
Message = bytes | Started | Ended | Reported
Record = tuple[float, str, Message]


@dataclass(slots=True, frozen=True)
class LogLine:
    """One line as a reader sees it: ``sequence`` counts up per group, ``timestamp`` is in epoch seconds."""

    sequence: int
    timestamp: float
    stream: str
    message: bytes


def render(message: Message) -> bytes:
    """The text of a record."""
    if isinstance(message, bytes):
        return message
    if len(message) == 1:
        return end_line(*message)
    if len(message) == 2:
        return start_line(*message)
    return report_line(Report(*message))


class LogGroup:
    """The latest log records of one function, oldest dropped first."""

    __slots__ = ("_followers", "_next", "_records", "_size")

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._size = 0
        self._next = 0
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
            LogLine(sequence, timestamp, stream, render(message))
            for sequence, (timestamp, stream, message) in enumerate(found, first + start)
        )

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

    __slots__ = ("_deleted", "_groups")

    def __init__(self) -> None:
        self._groups: dict[str, LogGroup] = {}
        self._deleted: dict[str, None] = {}

    def group(self, function_arn: str) -> LogGroup:
        """The group of a function, made when it is first asked for."""
        group = self._groups.get(function_arn)
        if group is None:
            group = self._groups[function_arn] = LogGroup()
        return group

    def find(self, function_arn: str) -> LogGroup | None:
        """The group of a function, None when it never logged."""
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
