"""What waits for one receiver of telemetry: gathered into batches, within bounds. Pure.

Source: AWS page "Accessing real-time telemetry data for extensions" (buffering). How much may wait behind a receiver
that does not keep up is our own choice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

ROOM_BATCHES: Final = 4
"""How many batches of the greatest size may wait; what comes then is dropped, and counted."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that go out together, and how many could not be kept before them."""

    records: tuple[bytes, ...]
    dropped_records: int = 0
    dropped_bytes: int = 0


class Buffer:
    """Records in their order. Times are monotonic seconds."""

    __slots__ = ("_dropped_bytes", "_dropped_records", "_max_bytes", "_max_items", "_records", "_size", "_timeout")

    def __init__(self, *, max_items: int, max_bytes: int, timeout_ms: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._timeout = timeout_ms / 1000
        self._records: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._dropped_records = self._dropped_bytes = 0

    def add(self, record: bytes, now: float) -> bool:
        """Take in a record. False when there is no room for it: it is counted as dropped."""
        size = len(record)
        if len(self._records) >= ROOM_BATCHES * self._max_items or self._size + size > ROOM_BATCHES * self._max_bytes:
            self._dropped_records += 1
            self._dropped_bytes += size
            return False
        self._records.append((now, record))
        self._size += size
        return True

    @property
    def due_at(self) -> float | None:
        """When the next batch is due; None when there is nothing."""
        if not self._records:
            return None
        since = self._records[0][0]
        return since if self._is_full else since + self._timeout

    @property
    def _is_full(self) -> bool:
        return len(self._records) >= self._max_items or self._size >= self._max_bytes

    def hurry(self) -> None:
        """Every batch is due at once from now on."""
        self._timeout = 0.0

    def take(self, now: float) -> Batch | None:
        """The next batch, if it is due. A record that is larger than a batch goes out by itself."""
        due_at = self.due_at
        if due_at is None or now < due_at:
            return None
        taken: list[bytes] = []
        size = 0
        while self._records and len(taken) < self._max_items:
            record = self._records[0][1]
            if taken and size + len(record) > self._max_bytes:
                break
            self._records.popleft()
            taken.append(record)
            size += len(record)
        self._size -= size
        dropped, self._dropped_records = self._dropped_records, 0
        dropped_bytes, self._dropped_bytes = self._dropped_bytes, 0
        return Batch(tuple(taken), dropped, dropped_bytes)

    def lost(self, batch: Batch) -> None:
        """A batch could not be delivered: it, and what was lost before it, is to be told with the next one."""
        self._dropped_records += batch.dropped_records + len(batch.records)
        self._dropped_bytes += batch.dropped_bytes + sum(map(len, batch.records))
