"""Looking at stored events: pages, filters, one with all there is to it, counts; on a real store."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.events.event_rows import FUTURE, NOW, OTHER, OWN, QUEUE, WALL, Rows, delivery
from venturekit.service.store import Store, event_queries
from venturekit.service.store.event_documents import STATES
from venturekit.service.store.event_queries import EventQueries
from venturekit.service.store.event_views import UNDELIVERED, EventFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

FILTERS = ("", *STATES, UNDELIVERED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    yield opened
    opened.close()


@pytest.fixture
def rows(store: Store) -> Rows:
    return Rows(store)


@pytest.fixture
def queries(store: Store) -> EventQueries:
    return EventQueries(store)


def pages(queries: EventQueries, wanted: EventFilter, *, limit: int, oldest_first: bool = False) -> list[int]:
    """All events that a filter means, page by page."""

    async def read() -> list[int]:
        found: list[int] = []
        after: int | None = None
        while True:
            page = await queries.page(wanted, limit=limit, after=after, oldest_first=oldest_first)
            assert len(page.events) <= limit
            found += [event.event_id for event in page.events]
            if page.marker is None:
                return found
            assert after is None or (page.marker > after) is oldest_first, "no page is read twice"
            after = page.marker

    return asyncio.run(read())


# --- pages ----------------------------------------------------------------------------------------------------------


def test_an_event_in_a_list_tells_where_it_stands(rows: Rows, queries: EventQueries) -> None:
    number = rows.waiting(function="orders", request_id="0a" * 16)
    (event,) = asyncio.run(queries.page(EventFilter(account_id=OWN), limit=10)).events
    assert (event.event_id, event.function_name, event.request_id) == (number, "orders", "0a" * 16)
    assert (event.state, event.attempts, event.backoffs, event.due_at) == ("queued", 2, 1, FUTURE)
    assert (event.accepted_at, event.accepted_wall, event.finished_wall, event.owed) == (NOW, WALL, None, 0)
    assert (event.last.kind, event.last.wall) == ("error", WALL + 1)
    assert event.last_error == event.last


def test_the_last_error_is_told_also_when_more_has_happened_since(rows: Rows, queries: EventQueries) -> None:
    number = rows.waiting()
    rows.claim(number)
    rows.settle(number, "failed", [delivery()])
    (event,) = asyncio.run(queries.page(EventFilter(account_id=OWN), limit=10)).events
    assert (event.last.kind, event.owed) == ("failed", 1)
    assert event.last_error is not None
    assert event.last_error.kind == "error"


@pytest.mark.parametrize("oldest_first", [False, True])
def test_the_newest_come_first_unless_the_oldest_are_wanted(
    rows: Rows, queries: EventQueries, oldest_first: bool
) -> None:
    numbers = [rows.add() for _ in range(5)]
    found = pages(queries, EventFilter(account_id=OWN), limit=2, oldest_first=oldest_first)
    assert found == sorted(numbers, reverse=not oldest_first)


def test_accounts_do_not_see_one_another(rows: Rows, queries: EventQueries) -> None:
    own, other = rows.add(), rows.add(account_id=OTHER)
    assert pages(queries, EventFilter(account_id=OWN), limit=10) == [own]
    assert pages(queries, EventFilter(account_id=OTHER), limit=10) == [other]
    assert asyncio.run(queries.details(OWN, other)) is None
    assert asyncio.run(queries.find(OWN, "00000000", limit=10)) == [(own, rows.row(own, "request_id")[0])]
    assert list(asyncio.run(queries.counts(OTHER))) == ["f"]


EVENT = st.tuples(
    st.sampled_from(["queued", "running", "succeeded", "failed", "dropped", "owing", "gap"]),
    st.sampled_from([OWN, OTHER]),
    st.sampled_from(["f", "g"]),
)


@settings(max_examples=40)
@given(
    made=st.lists(EVENT, max_size=12),
    function=st.sampled_from(["", "f", "g", "h"]),
    state=st.sampled_from(FILTERS),
    limit=st.integers(1, 5),
    oldest_first=st.booleans(),
    span=st.integers(1, 4),
    spans=st.integers(1, 3),
)
def test_pages_hold_exactly_what_is_asked_for(
    made: list[tuple[str, str, str]],
    function: str,
    state: str,
    limit: int,
    oldest_first: bool,
    span: int,
    spans: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(event_queries, "SPAN_IDS", span)
        patched.setattr(event_queries, "SPANS_AT_ONCE", spans)
        opened = Store.open(Path(folder) / "store.db", reserve_size_bytes=4096)
        rows = Rows(opened)
        expected = []
        for kind, account_id, name in made:
            is_owing = kind == "owing"
            real = {"owing": "failed", "gap": "queued"}.get(kind, kind)
            number = rows.add(real, account_id=account_id, function=name, owed=[delivery()] * 2 if is_owing else ())
            if kind == "gap":
                rows.query(
                    "DELETE FROM events WHERE id = ? AND id NOT IN (SELECT event_id FROM deliveries)", number - 1
                )
            if (
                account_id == OWN
                and function in ("", name)
                and (state in ("", real) or (is_owing and state == UNDELIVERED))
            ):
                expected.append(number)
        left = {number for (number,) in rows.query("SELECT id FROM events")}
        wanted = EventFilter(account_id=OWN, function_name=function, state=state)
        found = pages(EventQueries(opened), wanted, limit=limit, oldest_first=oldest_first)
        opened.close()
        assert found == [number for number in sorted(expected, reverse=not oldest_first) if number in left]


def test_a_search_that_takes_too_long_is_answered_with_where_to_go_on(
    rows: Rows, queries: EventQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queries, "SPAN_IDS", 2)
    monkeypatch.setattr(event_queries, "SPANS_AT_ONCE", 2)
    oldest = rows.add("dropped")
    numbers = [rows.add() for _ in range(10)]
    wanted = EventFilter(account_id=OWN, state="dropped")
    page = asyncio.run(queries.page(wanted, limit=10))
    assert (page.events, page.marker) == ([], numbers[-4])
    assert pages(queries, wanted, limit=10) == [oldest]


@pytest.mark.parametrize("of_function", [False, True])
@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("state", FILTERS)
def test_no_page_sorts_or_walks_the_table(rows: Rows, state: str, oldest_first: bool, of_function: bool) -> None:
    statement = event_queries._page_statement(of_function, state, oldest_first)
    values = [1, 2, OWN, *(["f"] if of_function else []), *([state] if state in STATES else []), 10]
    plan = [text for *_, text in rows.query(f"EXPLAIN QUERY PLAN {statement}", *values)]
    assert plan[0] == "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    assert not [text for text in plan if "TEMP B-TREE" in text or text.startswith("SCAN")], plan


def test_what_runs_and_what_is_owed_is_found_by_its_index(rows: Rows, queries: EventQueries) -> None:
    asked: list[str] = []
    rows.store._reader.set_trace_callback(asked.append)
    for state in ("running", UNDELIVERED):
        asyncio.run(queries.page(EventFilter(account_id=OWN, state=state), limit=10))
    looked = [statement for statement in asked if statement.startswith("SELECT max(")]
    plans = [text for statement in looked for *_, text in rows.query(f"EXPLAIN QUERY PLAN {statement}")]
    assert [text.partition(" USING ")[2].partition(" (")[0] for text in plans] == [
        "INDEX events_running",
        "COVERING INDEX deliveries_of",
    ]


# --- one event ------------------------------------------------------------------------------------------------------

IDS = (
    "aaaaaaaa-0000-4000-8000-000000000001",
    "aaaaaaaa-0000-4000-8000-000000000002",
    "abcdef01-2345-4789-8abc-def012345678",
)


@pytest.mark.parametrize(
    ("prefix", "limit", "expected"),
    [
        ("aaaaaaaa", 5, [IDS[1], IDS[0]]),
        ("aaaaaaaa", 1, [IDS[1]]),
        (IDS[0], 1, [IDS[0]]),
        (IDS[0][:-1], 5, [IDS[1], IDS[0]]),
        ("abcdef01", 5, [IDS[2]]),
        ("abcdef02", 5, []),
        ("bcdef012", 5, []),
        ("ffffffff", 5, []),
    ],
)
@pytest.mark.parametrize("span", [1, 2, 100])
def test_an_event_is_found_by_the_beginning_of_its_request_id(
    rows: Rows,
    queries: EventQueries,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    limit: int,
    expected: list[str],
    span: int,
) -> None:
    monkeypatch.setattr(event_queries, "SPAN_IDS", span)
    for request_id in IDS:
        rows.add(request_id=request_id)
    found = asyncio.run(queries.find(OWN, prefix, limit=limit))
    assert [request_id for _, request_id in found] == expected
    assert all(rows.row(number, "request_id") == (request_id,) for number, request_id in found)


def test_details_are_all_there_is(rows: Rows, queries: EventQueries) -> None:
    number = rows.waiting(payload=b'{"order":7}')
    rows.claim(number)
    rows.settle(number, "failed", [delivery(due_at=NOW + 5), delivery("arn:other", kind="DeadLetter")])
    details = asyncio.run(queries.details(OWN, number, with_payload=True))
    assert details is not None
    assert (details.payload, details.payload_size_bytes, details.omitted) == (b'{"order":7}', 11, 0)
    assert [line.kind for line in details.history] == ["accepted", "error", "failed"]
    assert [(item.kind, item.target, item.size_bytes, item.due_at) for item in details.deliveries] == [
        ("OnFailure", QUEUE, 6, NOW + 5),
        ("DeadLetter", "arn:other", 6, FUTURE),
    ]
    without = asyncio.run(queries.details(OWN, number))
    assert without is not None
    assert (without.payload, without.payload_size_bytes) == (None, 11)


def test_a_payload_that_is_gone_has_no_size(rows: Rows, queries: EventQueries) -> None:
    details = asyncio.run(queries.details(OWN, rows.add("succeeded"), with_payload=True))
    assert details is not None
    assert (details.payload, details.payload_size_bytes) == (None, None)
    assert asyncio.run(queries.details(OWN, 99)) is None


def test_of_a_very_long_history_the_end_is_shown(
    rows: Rows, queries: EventQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queries, "HISTORY_LINES", 2)
    number = rows.waiting()
    rows.claim(number)
    rows.settle(number, "failed")
    details = asyncio.run(queries.details(OWN, number))
    assert details is not None
    assert ([line.kind for line in details.history], details.omitted) == (["error", "failed"], 1)


# --- counts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", [1, 3, 100])
def test_counts_by_function_and_state(
    rows: Rows, queries: EventQueries, monkeypatch: pytest.MonkeyPatch, span: int
) -> None:
    monkeypatch.setattr(event_queries, "SPAN_IDS", span)
    expected: dict[str, Counter[str]] = {"f": Counter(), "g": Counter()}
    for function, state, count in [("f", "queued", 3), ("f", "failed", 2), ("g", "running", 1), ("g", "succeeded", 2)]:
        for _ in range(count):
            rows.add(state, function=function)
            expected[function][state] += 1
    rows.add("failed", owed=[delivery(), delivery()])
    expected["f"] += Counter({"failed": 1, UNDELIVERED: 1})
    rows.add(account_id=OTHER)
    found = asyncio.run(queries.counts(OWN))
    assert {name: +states for name, states in found.items()} == expected
    assert {name: +states for name, states in asyncio.run(queries.counts(OWN, "g")).items()} == {"g": expected["g"]}
    assert asyncio.run(queries.counts(OWN, "h")) == {}


def test_the_number_of_the_newest(rows: Rows, queries: EventQueries) -> None:
    assert asyncio.run(queries.newest()) == 0
    numbers = [rows.add(), rows.add(account_id=OTHER)]
    assert asyncio.run(queries.newest()) == numbers[-1]
