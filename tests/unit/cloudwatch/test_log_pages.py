"""Pages of log events: all events, each once, whatever the size of the pages and the direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.cloudwatch.pages import (
    PAGE_BYTES,
    ROWS_LIMIT,
    Position,
    between,
    parse_token,
    place_of,
    take,
)
from venturekit.service.cloudwatch.requests import FIRST, LAST

if TYPE_CHECKING:
    from venturekit.service.cloudwatch.ports import Row


def rows_of(times: list[int]) -> list[Row]:
    return sorted(
        (time, sequence % 3, sequence, "stream", time / 1000, f"{sequence}") for sequence, time in enumerate(times)
    )


def text(row: Row) -> str:
    return str(row[5])


@given(times=st.lists(st.integers(1, 50), max_size=40), limit=st.integers(1, 12), backward=st.booleans())
@settings(deadline=None, max_examples=150)
def test_pages_have_every_event_once(times: list[int], limit: int, backward: bool) -> None:
    rows = rows_of(times)
    position: Position | None = LAST if backward else FIRST
    seen: list[Row] = []
    while position is not None:
        page = take(rows, position, limit=limit, text=text)
        assert len(page.events) <= limit
        seen += [row for row, _ in page.events]
        stopped = page.stopped_at
        position = None if stopped is None else parse_token(Position(stopped, backward).token)
    assert seen == (rows[::-1] if backward else rows)


@given(times=st.lists(st.integers(1, 50), max_size=40), first=st.integers(0, 60), last=st.integers(0, 60))
@settings(deadline=None, max_examples=100)
def test_a_range_includes_its_ends(times: list[int], first: int, last: int) -> None:
    rows = rows_of(times)
    assert list(between(rows, first, last)) == [row for row in rows if first <= row[0] <= last]


def test_a_page_ends_before_it_is_too_large() -> None:
    rows = rows_of([1, 2, 3])
    page = take(rows, FIRST, limit=10, text=lambda _row: "x" * (PAGE_BYTES // 2))
    assert ([row for row, _ in page.events], page.stopped_at) == (rows[:2], place_of(rows[1]))


def test_one_event_is_on_a_page_however_large_it_is() -> None:
    page = take(rows_of([1]), FIRST, limit=10, text=lambda _row: "x" * (2 * PAGE_BYTES))
    assert (len(page.events), page.stopped_at) == (1, None)


def test_a_search_stops_after_so_many_events() -> None:
    rows = rows_of([1] * (ROWS_LIMIT + 5))
    page = take(rows, FIRST, limit=10, text=text, matches=lambda _text: False)
    assert (page.events, page.stopped_at) == ([], place_of(rows[ROWS_LIMIT - 1]))


@pytest.mark.parametrize("token", ["", "f/1/s", "x/" + "0" * 56 + "/s", "f/" + "0" * 56, "f/" + "٣" * 56 + "/s"])
def test_what_is_no_token(token: str) -> None:
    assert parse_token(token) is None
