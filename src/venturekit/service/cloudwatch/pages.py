"""Which events a page has, and where the next one begins. Pure.

A page ends with the wanted number of events, or with 1 MB of text (CloudWatch Logs API reference, "GetLogEvents" and
"FilterLogEvents").
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from venturekit.service.cloudwatch.ports import Row

EVENTS_LIMIT: Final = 10_000
PAGE_BYTES: Final = 1024 * 1024
ROWS_LIMIT: Final = 50_000
"""How many events one request searches at most: the next one goes on behind them."""
_TOKEN: Final = re.compile(r"([fb])/([0-9]{14})([0-9]{10})([0-9]{32})/s")
Place: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Position:
    """Between two events: pages go on behind ``place``, or before it if ``backward``."""

    place: Place
    backward: bool

    @property
    def token(self) -> str:
        """As it is sent to the caller."""
        return f"{'b' if self.backward else 'f'}/{digits(self.place)}/s"


def parse_token(text: str) -> Position | None:
    """The position of a token, or None for what is none."""
    found = _TOKEN.fullmatch(text)
    return found and Position((int(found[2]), int(found[3]), int(found[4])), found[1] == "b")


def digits(place: Place) -> str:
    """A place in 56 digits, as the ids of AWS's events have."""
    milliseconds, source, sequence = place
    return f"{milliseconds:014d}{source:010d}{sequence:032d}"


def place_of(row: Row) -> Place:
    """Where an event stands."""
    return row[:3]


def between(rows: Sequence[Row], first_ms: int, last_ms: int) -> Sequence[Row]:
    """The events of a time range, both ends included."""
    start = bisect_left(rows, first_ms, key=lambda row: row[0])
    return rows[start : bisect_right(rows, last_ms, key=lambda row: row[0])]


@dataclass(frozen=True, slots=True)
class Page:
    """Events with their texts, in the order in which they were looked at; ``stopped_at`` where there are more."""

    events: list[tuple[Row, str]]
    stopped_at: Place | None


def take(
    rows: Sequence[Row],
    position: Position,
    *,
    limit: int,
    text: Callable[[Row], str],
    matches: Callable[[str], bool] | None = None,
) -> Page:
    """The events behind (before) a position that match: at most ``limit``, and about 1 MB."""
    events: list[tuple[Row, str]] = []
    left_bytes = PAGE_BYTES
    seen: Row | None = None
    for count, row in enumerate(_beyond(rows, position)):
        if len(events) == limit or count == ROWS_LIMIT:
            assert seen is not None  # a limit is 1 at least
            return Page(events, place_of(seen))
        shown = text(row)
        if matches is None or matches(shown):
            left_bytes -= len(shown.encode("utf-8", "replace"))
            if left_bytes < 0 and events:
                assert seen is not None  # there was one before
                return Page(events, place_of(seen))
            events.append((row, shown))
        seen = row
    return Page(events, None)


def _beyond(rows: Sequence[Row], position: Position) -> Iterable[Row]:
    if position.backward:
        return reversed(rows[: bisect_left(rows, position.place, key=place_of)])
    return rows[bisect_right(rows, position.place, key=place_of) :]
