"""The operations DescribeLogGroups, DescribeLogStreams, GetLogEvents and FilterLogEvents.

Source: CloudWatch Logs API reference, the pages of these operations.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.cloudwatch.pages import EVENTS_LIMIT, Position, between, digits, place_of, take
from venturekit.service.cloudwatch.requests import (
    NEWEST_FIRST_SINCE_MS,
    invalid,
    list_token,
    log_group_of,
    matches_of,
    no_group,
    no_stream,
    parse_list_token,
    position_of,
    range_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.service.cloudwatch.ports import Caller, Logs, Row

    Members = Mapping[str, Any]

LIST_LIMIT: Final = 50
SERVED: Final = ("DescribeLogGroups", "DescribeLogStreams", "FilterLogEvents", "GetLogEvents")


class LogReading:
    """Answers the operations of :data:`SERVED` about the log groups of their callers' accounts."""

    def __init__(self, logs: Logs, *, region: str) -> None:
        self._logs = logs
        self._region = region
        self._operations = dict(
            zip(SERVED, (self._describe_groups, self._describe_streams, self._filter, self._get), strict=True)
        )

    async def perform(self, caller: Caller, operation: str, members: Members) -> dict[str, Any]:
        """The output members of an operation. Raises ApiError."""
        return await self._operations[operation](caller, members)

    async def _describe_groups(self, caller: Caller, members: Members) -> dict[str, Any]:
        caller.authorize_log_group("DescribeLogGroups", "")
        prefix, pattern = members.get("logGroupNamePrefix", ""), members.get("logGroupNamePattern", "")
        if prefix and pattern:
            raise invalid("Only one of the parameters logGroupNamePrefix and logGroupNamePattern may be specified.")
        wanted = members.get("logGroupIdentifiers")
        if wanted is not None:
            wanted = {self._group_of({"logGroupIdentifier": each}, caller) for each in wanted}
        last = parse_list_token(members, "name")
        limit = members.get("limit", LIST_LIMIT)
        found = [
            (name, created, stored_bytes)
            for name, created, stored_bytes in await self._logs.groups(caller.account_id)
            if name.startswith(prefix)
            and pattern in name
            and (wanted is None or name in wanted)
            and members.get("logGroupClass", "STANDARD") == "STANDARD"
            and (last is None or name > last[1])
        ]
        shown: dict[str, Any] = {"logGroups": [self._group(caller, *group) for group in found[:limit]]}
        return shown if len(found) <= limit else {**shown, "nextToken": list_token("name", 0, found[limit - 1][0])}

    async def _describe_streams(self, caller: Caller, members: Members) -> dict[str, Any]:
        log_group = self._group_of(members, caller)
        caller.authorize_log_group("DescribeLogStreams", log_group)
        prefix = members.get("logStreamNamePrefix", "")
        by_time = members.get("orderBy") == "LastEventTime"
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        kind = "time" if by_time else "name"
        last = parse_list_token(members, kind)
        limit, descending = members.get("limit", LIST_LIMIT), members.get("descending", False)
        spans = _spans(await self._rows(caller, log_group))
        ordered = sorted(((span[1] if by_time else 0, name) for name, span in spans.items()), reverse=descending)
        found = [
            (time, name)
            for time, name in ordered
            if name.startswith(prefix)
            and (last is None or ((time, name) < last if descending else (time, name) > last))
        ]
        arn = f"{self._arn(caller, log_group)}:log-stream:"
        shown: dict[str, Any] = {
            "logStreams": [_stream(name, *spans[name], arn=arn + name) for _, name in found[:limit]]
        }
        return shown if len(found) <= limit else {**shown, "nextToken": list_token(kind, *found[limit - 1])}

    async def _get(self, caller: Caller, members: Members) -> dict[str, Any]:
        log_group = self._group_of(members, caller)
        stream = members["logStreamName"]
        caller.authorize_log_group("GetLogEvents", log_group, stream)
        position = position_of(members, from_head=members.get("startFromHead", False))
        first_ms, last_ms = range_of(members, end_excluded=True)
        rows = [row for row in await self._rows(caller, log_group) if row[3] == stream]
        if not rows:
            raise no_stream()
        limit = members.get("limit", EVENTS_LIMIT)
        page = await asyncio.to_thread(
            take, between(rows, first_ms, last_ms), position, limit=limit, text=self._logs.text
        )
        events = page.events[::-1] if position.backward else page.events
        if events:
            ends = place_of(events[0][0]), place_of(events[-1][0])
        elif "nextToken" in members:
            ends = position.place, position.place
        else:
            # What is logged from now on comes behind it.
            ends = ((first_ms, 0, 0),) * 2
        return {
            "events": [
                {"timestamp": row[0], "message": text, "ingestionTime": _milliseconds(row[4])} for row, text in events
            ],
            "nextForwardToken": Position(ends[1], backward=False).token,
            "nextBackwardToken": Position(ends[0], backward=True).token,
        }

    async def _filter(self, caller: Caller, members: Members) -> dict[str, Any]:
        log_group = self._group_of(members, caller)
        caller.authorize_log_group("FilterLogEvents", log_group)
        names, prefix = frozenset(members.get("logStreamNames", ())), members.get("logStreamNamePrefix", "")
        if names and prefix:
            raise invalid("Only one of the parameters logStreamNames and logStreamNamePrefix may be specified.")
        matches = matches_of(members)
        first_ms, last_ms = range_of(members)
        from_head = members.get("startFromHead", True)
        if not from_head and first_ms < NEWEST_FIRST_SINCE_MS:
            raise invalid("startFromHead can be false only with a startTime of 2024-01-01T00:00:00Z or later.")
        position = position_of(members, from_head=from_head)
        rows = await self._rows(caller, log_group)
        limit = members.get("limit", EVENTS_LIMIT)

        def search() -> dict[str, Any]:
            found = between(rows, first_ms, last_ms)
            if names or prefix:
                found = [row for row in found if (row[3].startswith(prefix) if prefix else row[3] in names)]
            page = take(found, position, limit=limit, text=self._logs.text, matches=matches)
            shown: dict[str, Any] = {"events": [_event(row, text) for row, text in page.events]}
            if page.stopped_at is not None:
                shown["nextToken"] = Position(page.stopped_at, position.backward).token
            return {**shown, "searchedLogStreams": []}

        return await asyncio.to_thread(search)

    # --- parts --------------------------------------------------------------------------------------------------

    def _group_of(self, members: Members, caller: Caller) -> str:
        return log_group_of(members, region=self._region, account_id=caller.account_id)

    async def _rows(self, caller: Caller, log_group: str) -> Sequence[Row]:
        rows = await self._logs.rows(caller.account_id, log_group)
        if rows is None:
            raise no_group()
        return rows

    def _arn(self, caller: Caller, log_group: str) -> str:
        return f"arn:aws:logs:{self._region}:{caller.account_id}:log-group:{log_group}"

    def _group(self, caller: Caller, name: str, created: float, stored_bytes: int) -> dict[str, Any]:
        arn = self._arn(caller, name)
        return {
            "logGroupName": name,
            "creationTime": _milliseconds(created),
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "storedBytes": stored_bytes,
            "logGroupClass": "STANDARD",
        }


def _spans(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """The times of the first and last event of each stream, in epoch milliseconds."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        first = found.get(row[3], (row[0], 0))[0]
        found[row[3]] = first, row[0]
    return found


def _stream(name: str, first_ms: int, last_ms: int, *, arn: str) -> dict[str, Any]:
    return {
        "logStreamName": name,
        "creationTime": first_ms,
        "firstEventTimestamp": first_ms,
        "lastEventTimestamp": last_ms,
        "lastIngestionTime": last_ms,
        "arn": arn,
        "storedBytes": 0,
    }


def _event(row: Row, text: str) -> dict[str, Any]:
    milliseconds = _milliseconds(row[4])
    return {
        "logStreamName": row[3],
        "timestamp": row[0],
        "message": text,
        "ingestionTime": milliseconds,
        # Not of the time that is shown: that may change when older events are dropped.
        "eventId": digits((milliseconds, row[1], row[2])),
    }


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
