"""Queued events in the database: accepted, claimed, settled, put back."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.store.event_tables import ACCOUNT, event_tables, new_event
from venturekit.service.store import Store
from venturekit.service.store.event_documents import (
    FAILED,
    QUEUED,
    SUCCEEDED,
    ClaimedEvent,
    LaneState,
    NewDelivery,
    NewEvent,
    Settlement,
    Transition,
)
from venturekit.service.store.events import (
    EventStore,
    Turn,
    add_history,
    insert_events,
    lane_states,
    release,
    take_turn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

F, G, OTHER = (ACCOUNT, "f"), (ACCOUNT, "g"), ("999999999999", "f")
LANES = [F, G, OTHER]
NOW, WALL = 1000.0, 2000.0
DELIVERY = NewDelivery(
    kind="OnFailure",
    target="arn:aws:sqs:us-east-1:123456789012:q",
    body=b"{}",
    attributes="{}",
    source="arn",
    trace="",
    due_at=NOW,
    created_wall=WALL,
)


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with event_tables() as connection:
        yield connection


def claim(
    connection: sqlite3.Connection, lane: Any = F, count: int = 1000, *, now: float = NOW, lease: str = "l"
) -> Turn:
    return take_turn(connection, lease, [], [(lane, count)], now, WALL)


def settle(connection: sqlite3.Connection, *settlements: Settlement, lease: str = "l") -> list[int]:
    """The events whose settlement came too late."""
    return list(take_turn(connection, lease, settlements, [], NOW, WALL).stale)


def outcome(event: ClaimedEvent, state: str = SUCCEEDED, **members: Any) -> Settlement:
    given: dict[str, Any] = {
        "attempts": event.attempts + 1,
        "backoffs": 0,
        "due_at": NOW,
        "history": [Transition(WALL + 1, "any", '{"a":1}')],
        "finished_wall": None if state == QUEUED else WALL + 1,
    }
    return Settlement(event_id=event.event_id, state=state, **{**given, **members})


def kinds(connection: sqlite3.Connection, event_id: int) -> list[str]:
    query = "SELECT kind FROM event_history WHERE event_id = ? ORDER BY number"
    return [kind for (kind,) in connection.execute(query, (event_id,))]


def state_of(connection: sqlite3.Connection, event_id: int) -> tuple[Any, ...]:
    query = "SELECT state, attempts, backoffs, due_at, lease, finished_wall FROM events WHERE id = ?"
    (found,) = connection.execute(query, (event_id,))
    return tuple(found)


def count(connection: sqlite3.Connection, table: str) -> int:
    ((found,),) = connection.execute(f"SELECT count(*) FROM {table}")
    return int(found)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 15, 64, 85, 512])
def test_a_batch_is_stored_whole_and_in_order(tables: sqlite3.Connection, size: int) -> None:
    events = [
        new_event(payload=b"%d" % number, trace=f"Root={number}", qualifier=str(number % 3)) for number in range(size)
    ]
    insert_events(tables, events)
    turn = claim(tables)
    assert [(item.request_id, item.payload, item.trace, item.qualifier) for item in turn.claimed] == [
        (item.request_id, item.payload, item.trace, item.qualifier) for item in events
    ]
    assert [item.event_id for item in turn.claimed] == list(range(1, size + 1))
    assert {(item.attempts, item.backoffs, item.accepted_at) for item in turn.claimed} <= {(0, 0, 1000.0)}
    assert turn.next_due == {F: None}
    assert all(kinds(tables, item.event_id) == ["accepted", "started"] for item in turn.claimed)


def test_payloads_are_bytes_of_any_kind(tables: sqlite3.Connection) -> None:
    payloads = [b"", b"\x00\xff", bytearray(b"[1]"), b"x" * 1_048_576, "é".encode()]
    insert_events(tables, [new_event(payload=payload) for payload in payloads])
    assert [item.payload for item in claim(tables).claimed] == [bytes(payload) for payload in payloads]


def test_numbers_go_on_over_batches(tables: sqlite3.Connection) -> None:
    for _ in range(3):
        insert_events(tables, [new_event(), new_event()])
    assert [item.event_id for item in claim(tables).claimed] == [1, 2, 3, 4, 5, 6]


def test_only_what_is_due_in_this_lane_is_claimed_up_to_so_many(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(accepted_at=NOW + number) for number in range(5)])
    insert_events(tables, [new_event("g"), new_event(account=OTHER[0])])
    turn = claim(tables, F, 2, now=NOW + 3)
    assert ([item.accepted_at for item in turn.claimed], turn.next_due) == ([NOW, NOW + 1], {F: NOW + 2})
    turn = claim(tables, F, 10, now=NOW + 3)
    assert ([item.accepted_at for item in turn.claimed], turn.next_due) == ([NOW + 2, NOW + 3], {F: NOW + 4})
    assert {item.lane for item in turn.claimed} == {F}
    turn = take_turn(tables, "l", [], [(G, 5), (OTHER, 5), ((ACCOUNT, "none"), 5)], NOW, WALL)
    assert [item.lane for item in turn.claimed] == [G, OTHER]
    assert turn.next_due == {G: None, OTHER: None, (ACCOUNT, "none"): None}


def test_what_is_due_first_is_claimed_first_whatever_its_number(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(accepted_at=at) for at in (30.0, 10.0, 20.0, 10.0)])
    assert [item.event_id for item in claim(tables).claimed] == [2, 4, 3, 1]


def test_what_is_claimed_is_nobody_elses(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(), new_event()])
    (first,) = claim(tables, F, 1).claimed
    (second,) = claim(tables, F, 10, lease="another").claimed
    assert (first.event_id, second.event_id) == (1, 2)
    assert state_of(tables, 1)[:5] == ("running", 0, 0, NOW, "l")
    assert state_of(tables, 2)[4] == "another"


def test_a_success_ends_it_and_frees_its_payload(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event()])
    (event,) = claim(tables).claimed
    assert settle(tables, outcome(event)) == []
    assert state_of(tables, 1) == (SUCCEEDED, 1, 0, NOW, None, WALL + 1)
    assert kinds(tables, 1) == ["accepted", "started", "any"]
    assert (count(tables, "event_payloads"), count(tables, "deliveries")) == (0, 0)
    assert claim(tables, now=NOW + 1e9).claimed == []


def test_a_failure_keeps_its_payload_and_owes_its_messages_in_order(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(payload=b"[1]")])
    (event,) = claim(tables).claimed
    letter = replace(DELIVERY, kind="DeadLetter", body=b"[1]", attributes='{"A":1}')
    lines = [Transition(WALL, "error", "{}"), Transition(WALL, "failed", "{}")]
    settle(tables, outcome(event, FAILED, history=lines, deliveries=[DELIVERY, letter]))
    assert state_of(tables, 1)[0] == FAILED
    assert kinds(tables, 1) == ["accepted", "started", "error", "failed"]
    assert count(tables, "event_payloads") == 1
    owed = tables.execute(
        "SELECT event_id, kind, target, body, attributes, attempts, due_at FROM deliveries "
        "JOIN delivery_bodies ON delivery_id = id ORDER BY id"
    ).fetchall()
    assert owed == [
        (1, "OnFailure", DELIVERY.target, b"{}", "{}", 0, NOW),
        (1, "DeadLetter", DELIVERY.target, b"[1]", '{"A":1}', 0, NOW),
    ]


def test_a_retry_is_claimed_again_with_its_tries_when_it_is_due(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(payload=b"[1]")])
    (event,) = claim(tables).claimed
    settle(tables, outcome(event, QUEUED, backoffs=4, due_at=NOW + 60.0))
    turn = claim(tables, now=NOW + 59.0)
    assert (turn.claimed, turn.next_due) == ([], {F: NOW + 60.0})
    (again,) = claim(tables, now=NOW + 60.0).claimed
    assert (again.attempts, again.backoffs, again.payload) == (1, 4, b"[1]")
    assert (again.request_id, again.accepted_at) == (event.request_id, event.accepted_at)


def test_settling_and_claiming_are_one_turn(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(), new_event("g")])
    (event,) = claim(tables, F).claimed
    turn = take_turn(tables, "l", [outcome(event, QUEUED, due_at=NOW)], [(F, 5), (G, 5)], NOW, WALL)
    assert [(item.event_id, item.attempts) for item in turn.claimed] == [(1, 1), (2, 0)]
    assert turn.next_due == {F: None, G: None}


@pytest.mark.parametrize("state", [SUCCEEDED, FAILED, QUEUED])
@pytest.mark.parametrize("why", ["another lease", "put back", "settled before", "gone"])
def test_a_settlement_that_comes_too_late_changes_nothing(tables: sqlite3.Connection, state: str, why: str) -> None:
    insert_events(tables, [new_event(), new_event()])
    late, fine = claim(tables).claimed
    if why == "another lease":
        release(tables, WALL)
        claim(tables, count=1, lease="another")
        tables.execute("UPDATE events SET state = 'running', lease = 'l' WHERE id = 2")
    elif why == "put back":
        release(tables, WALL)
        tables.execute("UPDATE events SET state = 'running', lease = 'l' WHERE id = 2")
    elif why == "settled before":
        settle(tables, outcome(late, FAILED))
    else:
        tables.execute("DELETE FROM events WHERE id = 1")

    def rest() -> list[Any]:
        return [
            tables.execute(f"SELECT * FROM {table} WHERE {column} = 1").fetchall()
            for table, column in (("events", "id"), ("event_history", "event_id"), ("event_payloads", "event_id"))
        ]

    before = rest()
    assert settle(tables, outcome(late, state, deliveries=[DELIVERY]), outcome(fine)) == [1]
    assert rest() == before
    assert count(tables, "deliveries") == 0
    # Those beside it are not held up.
    assert state_of(tables, 2)[0] == SUCCEEDED


def test_what_was_being_run_is_put_back(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(), new_event(accepted_at=500.0), new_event(), new_event("g")])
    ended, running = claim(tables, F, 2).claimed
    assert (ended.event_id, running.event_id) == (2, 1)
    settle(tables, outcome(ended))
    assert release(tables, WALL + 9) == 1
    # As it was before: due when it was due, and nothing counted.
    assert state_of(tables, 1) == (QUEUED, 0, 0, NOW, None, None)
    assert kinds(tables, 1) == ["accepted", "started", "interrupted"]
    assert tables.execute("SELECT wall FROM event_history WHERE kind = 'interrupted'").fetchall() == [(WALL + 9,)]
    assert (state_of(tables, 2)[0], kinds(tables, 2)) == (SUCCEEDED, ["accepted", "started", "any"])
    assert [kinds(tables, number) for number in (3, 4)] == [["accepted"]] * 2
    assert release(tables, WALL) == 0
    assert [item.event_id for item in claim(tables, lease="another").claimed] == [1, 3]


def test_a_lane_state_says_how_many_wait_and_when_the_first_is_due(tables: sqlite3.Connection) -> None:
    assert lane_states(tables) == []
    insert_events(tables, [new_event(accepted_at=at) for at in (30.0, 10.0)])
    insert_events(tables, [new_event("g", accepted_at=40.0), new_event(account=OTHER[0], accepted_at=5.0)])
    claim(tables, G, now=50.0)
    assert sorted(lane_states(tables), key=lambda state: state.lane) == [
        LaneState(F, 2, 10.0),
        LaneState(OTHER, 1, 5.0),
    ]


def test_history_goes_on_where_it_is(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event()])
    add_history(tables, 1, [Transition(1.0, "a"), Transition(2.0, "b", '{"é":1}')])
    add_history(tables, 1, [])
    add_history(tables, 1, [Transition(3.0, "c")])
    rows = tables.execute("SELECT number, wall, kind, detail FROM event_history ORDER BY number").fetchall()
    assert rows == [
        (1, 2000.0, "accepted", ""),
        (2, 1.0, "a", ""),
        (3, 2.0, "b", '{"é":1}'),
        (4, 3.0, "c", ""),
    ]


def test_events_go_with_all_that_hangs_on_them_but_not_with_what_is_owed(tables: sqlite3.Connection) -> None:
    insert_events(tables, [new_event(), new_event()])
    first, second = claim(tables).claimed
    settle(tables, outcome(first, FAILED), outcome(second, FAILED, deliveries=[DELIVERY]))
    tables.execute("DELETE FROM events WHERE id = 1")
    assert (count(tables, "events"), count(tables, "event_payloads")) == (1, 1)
    assert tables.execute("SELECT DISTINCT event_id FROM event_history").fetchall() == [(2,)]
    with pytest.raises(sqlite3.IntegrityError):
        tables.execute("DELETE FROM events WHERE id = 2")


def test_no_statement_of_a_turn_looks_at_more_than_it_needs(tables: sqlite3.Connection) -> None:
    """With a million events in the table: everything is found by an index, nothing is sorted."""
    insert_events(tables, [new_event(), new_event(), new_event()])
    first, second = claim(tables, F, 2).claimed
    statements: list[str] = []
    tables.set_trace_callback(statements.append)
    endings = [outcome(first), outcome(second, FAILED, deliveries=[DELIVERY])]
    take_turn(tables, "l", endings, [(F, 16), (G, 16)], NOW, WALL)
    release(tables, WALL)
    tables.set_trace_callback(None)
    plans = {
        step[3]: statement
        for statement in statements
        if not statement.startswith("--")
        for step in tables.execute(f"EXPLAIN QUERY PLAN {statement}")
    }
    assert any("events_due (account_id=? AND function_name=?" in plan for plan in plans)
    assert any("events_running" in plan for plan in plans)
    for plan, statement in plans.items():
        assert not plan.startswith("SCAN events") or "USING" in plan, statement
        assert not plan.startswith("SCAN event_"), statement
        assert "TEMP B-TREE" not in plan, statement


# --- through the store --------------------------------------------------------------------------------------------


def inside(path: Path, scenario: Callable[[Store, EventStore], Coroutine[None, None, None]]) -> None:
    async def opened() -> None:
        store = Store.open(path / "events.db", reserve_size_bytes=4096)
        try:
            await scenario(store, EventStore(store))
        finally:
            assert store.close()

    asyncio.run(opened())


def test_puts_and_turns_of_one_moment_share_a_commit(tmp_path: Path) -> None:
    async def scenario(store: Store, events: EventStore) -> None:
        go_on = threading.Event()
        # The writer is busy; the others wait together.
        holding = store.submit(lambda _: go_on.wait(30))
        waiting = [events.put([new_event()]) for _ in range(50)]
        turn = events.turn("l", [], [(F, 100)], NOW, WALL)
        go_on.set()
        await asyncio.gather(*waiting)
        assert holding.result(30)
        assert len((await turn).claimed) == 50
        assert store.commits <= 2

    inside(tmp_path, scenario)


def test_what_was_accepted_is_there_after_reopening(tmp_path: Path) -> None:
    async def fill(_: Store, events: EventStore) -> None:
        await events.put([new_event(), new_event(), new_event("g")])
        await events.turn("l", [], [(F, 1)], NOW, WALL)

    async def look(_: Store, events: EventStore) -> None:
        assert await events.release(WALL) == 1
        assert sorted(state.lane for state in await events.lanes()) == [F, G]
        turn = await events.turn("m", [], [(F, 9), (G, 9)], NOW, WALL)
        assert [item.event_id for item in turn.claimed] == [1, 2, 3]

    inside(tmp_path, fill)
    inside(tmp_path, look)


# --- against a model ----------------------------------------------------------------------------------------------


@dataclass
class ModelEvent:
    event: NewEvent
    due_at: float
    state: str = QUEUED
    lease: str | None = None
    attempts: int = 0
    backoffs: int = 0
    lines: list[str] = field(default_factory=lambda: ["accepted"])
    owed: int = 0


class EventMachine(RuleBasedStateMachine):
    """Two processes, one of which may be dead without knowing it, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = event_tables()
        self.connection = self._opened.__enter__()
        self.now = NOW
        self.model: dict[int, ModelEvent] = {}
        self.held: dict[str, list[ClaimedEvent]] = defaultdict(list)

    @rule(lanes=st.lists(st.sampled_from(LANES), min_size=1, max_size=20))
    def put(self, lanes: list[tuple[str, str]]) -> None:
        events = [new_event(name, account=account, accepted_at=self.now) for account, name in lanes]
        first = max(self.model, default=0) + 1
        insert_events(self.connection, events)
        self.model |= {number: ModelEvent(event, self.now) for number, event in enumerate(events, first)}

    @rule(seconds=st.sampled_from([0.0, 1.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        lease=st.sampled_from(["one", "two"]),
        lanes=st.lists(
            st.tuples(st.sampled_from(LANES), st.integers(1, 7)), max_size=3, unique_by=lambda each: each[0]
        ),
        endings=st.lists(
            st.tuples(st.integers(0, 30), st.sampled_from([SUCCEEDED, FAILED, QUEUED]), st.integers(0, 2))
        ),
    )
    def turn(self, lease: str, lanes: list[tuple[tuple[str, str], int]], endings: list[tuple[int, str, int]]) -> None:
        settlements, stale = [], []
        for which, state, owed in endings:
            if not self.held[lease]:
                break
            event = self.held[lease].pop(which % len(self.held[lease]))
            due_at = self.now + 60.0 if state == QUEUED else self.now
            deliveries = [DELIVERY] * (owed if state == FAILED else 0)
            settlements.append(outcome(event, state, due_at=due_at, deliveries=deliveries))
            known = self.model[event.event_id]
            if known.lease != lease:
                stale.append(event.event_id)
                continue
            known.state, known.lease, known.due_at = state, None, due_at
            known.attempts, known.backoffs, known.owed = event.attempts + 1, 0, len(deliveries)
            known.lines.append("any")
        turn = take_turn(self.connection, lease, settlements, lanes, self.now, WALL)
        assert sorted(turn.stale) == sorted(stale)
        expected: list[int] = []
        for lane, count_ in lanes:
            waiting = sorted(
                (known.due_at, number)
                for number, known in self.model.items()
                if known.state == QUEUED and known.event.lane == lane and known.due_at <= self.now
            )
            expected += [number for _, number in waiting[:count_]]
        assert [item.event_id for item in turn.claimed] == expected
        for item in turn.claimed:
            known = self.model[item.event_id]
            assert (item.request_id, item.lane) == (known.event.request_id, known.event.lane)
            assert (item.attempts, item.backoffs) == (known.attempts, known.backoffs)
            known.state, known.lease = "running", lease
            known.lines.append("started")
        self.held[lease] += turn.claimed
        for lane, _ in lanes:
            dues = [known.due_at for known in self.model.values() if known.state == QUEUED and known.event.lane == lane]
            assert turn.next_due[lane] == min(dues, default=None)

    @precondition(lambda self: any(known.state == "running" for known in self.model.values()))
    @rule()
    def put_back(self) -> None:
        """A process starts. Others still hold what they had, and do not know."""
        running = [known for known in self.model.values() if known.state == "running"]
        assert release(self.connection, WALL) == len(running)
        for known in running:
            known.state, known.lease = QUEUED, None
            known.lines.append("interrupted")

    @invariant()
    def the_tables_are_the_model(self) -> None:
        rows = self.connection.execute("SELECT id, state, lease, attempts, backoffs, due_at FROM events").fetchall()
        assert {row[0]: row[1:] for row in rows} == {
            number: (known.state, known.lease, known.attempts, known.backoffs, known.due_at)
            for number, known in self.model.items()
        }
        lines: dict[int, list[str]] = defaultdict(list)
        for number, kind in self.connection.execute(
            "SELECT event_id, kind FROM event_history ORDER BY event_id, number"
        ):
            lines[number].append(kind)
        assert dict(lines) == {number: known.lines for number, known in self.model.items()}
        payloads = {number for (number,) in self.connection.execute("SELECT event_id FROM event_payloads")}
        assert payloads == {number for number, known in self.model.items() if known.state != SUCCEEDED}
        assert count(self.connection, "deliveries") == sum(known.owed for known in self.model.values())
        waiting = defaultdict(list)
        for known in self.model.values():
            if known.state == QUEUED:
                waiting[known.event.lane].append(known.due_at)
        assert {state.lane: (state.queued, state.next_due_at) for state in lane_states(self.connection)} == {
            lane: (len(dues), min(dues)) for lane, dues in waiting.items()
        }

    def teardown(self) -> None:
        self._opened.__exit__(None, None, None)


EventMachine.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=25)
test_events_against_a_model = EventMachine.TestCase
