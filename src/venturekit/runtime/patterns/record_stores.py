"""Records in the memory of a process: for functions that run alone, for tests and for the dev server."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from heapq import heapify, heappop, heappush
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.patterns.record_checks import (
    StoreFullError,
    check_find,
    check_text,
    check_write,
    checked_keys,
    is_over,
    parse_value,
    serialize_value,
)
from venturekit.runtime.patterns.records import Record, RecordPage

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RECORDS: Final = 100_000


class _Held(NamedTuple):
    text: str
    version: int
    expires_at: float | None
    keys: dict[str, str]


class MemoryRecordStore:
    """Records in this process, which is one execution environment: ``MemoryRecordStore(max_records=1000)``

    Records that are over are forgotten with the next write. A record that is not over never is: the store that holds
    ``max_records`` of them raises StoreFullError. Values are copied, as JSON, on their way in and out. Threads
    may share it. Raises ValueError.
    """

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        if max_records < 1:
            raise ValueError("max_records is at least 1")
        self._max_records = max_records
        self._held: dict[str, _Held] = {}
        # The ids, in order, of each key's value.
        self._found: dict[tuple[str, str], list[str]] = {}
        # When which record is over, soonest first; entries of records that have since changed are passed over.
        self._ends: list[tuple[float, str]] = []
        self._lock = Lock()

    def read(self, id: str, now: float, /) -> Record | None:
        """The record, or None. Raises ValueError."""
        check_text("the id of a record", id)
        held = self._held.get(id)
        return None if held is None or is_over(held.expires_at, now) else _record(id, held)

    def write(
        self,
        id: str,
        value: dict[str, Any],
        now: float,
        /,
        *,
        version: int,
        expires_at: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether it was written. Raises RecordValueError, StoreFullError and ValueError."""
        check_write(id, version, expires_at)
        new = _Held(serialize_value(value), version + 1, expires_at, checked_keys(keys))
        with self._lock:
            self._forget_what_is_over(now)
            old = self._held.get(id)
            if (old.version if old is not None else 0) != version:
                return False
            if old is None and len(self._held) >= self._max_records:
                raise StoreFullError(
                    f"the store is full: {self._max_records} records are not over yet. Give records an expires_at, "
                    "raise max_records, or use a store outside of this process"
                )
            self._put(id, old, new)
            return True

    def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool:
        """Whether it was there and is gone. Raises ValueError."""
        check_text("the id of a record", id)
        with self._lock:
            held = self._held.get(id)
            if held is None or is_over(held.expires_at, now) or version not in (None, held.version):
                return False
            self._remove(id, held)
            return True

    def find(self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None) -> RecordPage:
        """A page of records. Raises ValueError."""
        check_find(key, value, limit, after)
        records: list[Record] = []
        with self._lock:
            ids = self._found.get((key, value), [])
            for place in range(0 if after is None else bisect_right(ids, after), len(ids)):
                held = self._held[ids[place]]
                if is_over(held.expires_at, now):
                    continue
                if len(records) == limit:
                    return RecordPage(records, records[-1].id)
                records.append(_record(ids[place], held))
        return RecordPage(records, None)

    def clear(self) -> None:
        """Forget all records."""
        with self._lock:
            self._held.clear()
            self._found.clear()
            self._ends.clear()

    def __len__(self) -> int:
        return len(self._held)

    def _put(self, id: str, old: _Held | None, new: _Held) -> None:
        if old is None or old.keys != new.keys:
            if old is not None:
                self._remove(id, old)
            for entry in new.keys.items():
                insort(self._found.setdefault(entry, []), id)
        self._held[id] = new
        if new.expires_at is not None:
            heappush(self._ends, (new.expires_at, id))
            if len(self._ends) > 2 * len(self._held) + 64:
                held = self._held.items()
                self._ends = [(one.expires_at, its_id) for its_id, one in held if one.expires_at is not None]
                heapify(self._ends)

    def _remove(self, id: str, held: _Held) -> None:
        del self._held[id]
        for entry in held.keys.items():
            ids = self._found[entry]
            del ids[bisect_left(ids, id)]
            if not ids:
                del self._found[entry]

    def _forget_what_is_over(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, first = heappop(self._ends)
            held = self._held.get(first)
            if held is not None and is_over(held.expires_at, now):
                self._remove(first, held)


def _record(id: str, held: _Held) -> Record:
    # A value of its own for everybody: whoever changes his must not change another's.
    return Record(id, parse_value(held.text, id, "memory"), held.version, held.expires_at, dict(held.keys))
