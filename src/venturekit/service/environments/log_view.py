"""The captured logs by log groups, as CloudWatch Logs has them: a group may hold the logs of several functions."""

from __future__ import annotations

import asyncio
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from venturekit.service.environments.log_records import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from venturekit.service.environments.kept_logs import KeptGroup
    from venturekit.service.environments.log_records import Record
    from venturekit.service.environments.logs import LogStore

OWN: Final = "/aws/lambda/"
NO_STREAM: Final = "venturekit"
"""The stream of what the service itself says in a function's log."""
ACCOUNTS_LIMIT: Final = 256
STEP_BACK_MS: Final = 1000
"""By how much records of one stream may go back in time and still be shown in the order in which they were written."""
Row: TypeAlias = tuple[int, int, int, str, float, "Any"]
"""Epoch milliseconds, source, sequence; stream, time in epoch seconds, message."""


class GroupFigures(NamedTuple):
    """A log group: ``created`` in epoch seconds."""

    name: str
    created: float
    stored_bytes: int


class LogView:
    """What ``logs`` holds, by log group. ``exists(account_id, name)`` tells whether there is such a function."""

    def __init__(self, logs: LogStore, *, region: str, exists: Callable[[str, str], bool]) -> None:
        self._logs = logs
        self._region = region
        self._exists = exists
        # What earlier services wrote does not become more.
        self._earlier: dict[str, Mapping[str, KeptGroup]] = {}

    async def groups(self, account_id: str) -> list[GroupFigures]:
        """The log groups of an account, by name."""
        found: dict[str, GroupFigures] = {}
        for name, kept in (await self._earlier_of(account_id)).items():
            created = datetime.fromisoformat(kept.first_day).replace(tzinfo=UTC).timestamp()
            found[name] = GroupFigures(name, created, kept.size_bytes)
        for arn, group in self._functions(account_id):
            _, records = group.snapshot()
            created, size_bytes = (records[0][0] if records else 0.0), group.size_bytes
            elsewhere = self._logs.elsewhere(arn)
            names = set(elsewhere.values())
            if not elsewhere or any(record[1] not in elsewhere for record in records):
                names.add(OWN + arn.rpartition(":")[2])
            for name in names:
                known = found.get(name)
                figures = GroupFigures(name, created, size_bytes // len(names))
                if known is not None:
                    stored = max(known.stored_bytes, figures.stored_bytes)
                    figures = GroupFigures(name, min(known.created, created), stored)
                found[name] = figures
        return [found[name] for name in sorted(found)]

    async def rows(self, account_id: str, log_group: str) -> Sequence[Row] | None:
        """All records of a log group, sorted, or None if there is no such group."""
        earlier = (await self._earlier_of(account_id)).get(log_group)
        for name in () if earlier is None else earlier.functions:
            arn = self._arn(account_id, name)
            if await self._logs.recall(arn) is not None and not self._exists(account_id, name):
                self._logs.function_deleted(arn)
        sources = [
            (zlib.crc32(arn.encode()), *group.snapshot(), dict(self._logs.elsewhere(arn)), own)
            for arn, group in self._functions(account_id)
            if (own := log_group == OWN + arn.rpartition(":")[2]) or log_group in self._logs.elsewhere(arn).values()
        ]
        rows = await asyncio.to_thread(_rows, sources, log_group)
        return rows or None

    def text(self, row: Row) -> str:
        """The text of a record."""
        return render(row[4], row[5]).decode("utf-8", "replace")

    # --- inside -------------------------------------------------------------------------------------------------

    async def _earlier_of(self, account_id: str) -> Mapping[str, KeptGroup]:
        found = self._earlier.get(account_id)
        if found is None:
            found = await self._logs.kept_groups(account_id)
            if len(self._earlier) >= ACCOUNTS_LIMIT:
                self._earlier.clear()
            self._earlier[account_id] = found
        return found

    def _functions(self, account_id: str) -> Iterator[tuple[str, Any]]:
        owner = self._arn(account_id, "")
        return ((arn, group) for arn, group in self._logs.functions() if arn.startswith(owner))

    def _arn(self, account_id: str, name: str) -> str:
        return f"arn:aws:lambda:{self._region}:{account_id}:function:{name}"


def _rows(sources: Sequence[tuple[int, int, list[Record], Mapping[str, str], bool]], log_group: str) -> list[Row]:
    found: list[Row] = []
    for source, first, records, elsewhere, own in sources:
        latest: dict[str, int] = {}
        for sequence, (timestamp, stream, message) in enumerate(records, first):
            if own if elsewhere.get(stream) is None else elsewhere[stream] == log_group:
                milliseconds = int(timestamp * 1000)
                before = latest.get(stream, 0)
                # Lines are stamped when they are read, the platform's when what they tell of was measured.
                if before - STEP_BACK_MS < milliseconds < before:
                    milliseconds = before
                latest[stream] = milliseconds
                found.append((milliseconds, source, sequence, stream or NO_STREAM, timestamp, message))
    # No two have the same place: messages are never compared.
    found.sort()
    return found
