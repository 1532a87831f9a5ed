"""Events that are redriven, dropped or forgotten: what becomes of each state, and who comes first."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.events.event_rows import FUTURE, LEASE, NOW, OTHER, OWN, QUEUE, TOPIC, WALL, Rows, delivery
from venturekit.service.store import Store, event_changes
from venturekit.service.store.event_documents import Settlement
from venturekit.service.store.events import take_turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from venturekit.service.store.event_changes import Changes

LATER = NOW + 10.0
WALL_LATER = WALL + 10.0


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    yield Rows(store)
    store.close()


def redriving(*numbers: int, account_id: str = OWN, deliveries_only: bool = False) -> Any:
    return partial(
        event_changes.redrive,
        account_id=account_id,
        event_ids=numbers,
        now=LATER,
        wall=WALL_LATER,
        deliveries_only=deliveries_only,
    )


def dropping(*numbers: int, account_id: str = OWN) -> Any:
    return partial(event_changes.drop, account_id=account_id, event_ids=numbers, now=LATER, wall=WALL_LATER)


def claiming(function: str = "f") -> Any:
    return partial(take_turn, lease=LEASE, settlements=[], claims=[((OWN, function), 10)], now=LATER, wall=WALL_LATER)


def redrive(rows: Rows, *numbers: int, **members: Any) -> Changes:
    changes: Changes = rows.do(redriving(*numbers, **members))
    return changes


def drop(rows: Rows, *numbers: int, **members: Any) -> Changes:
    changes: Changes = rows.do(dropping(*numbers, **members))
    return changes


def last_line(rows: Rows, number: int) -> tuple[str, float, Any]:
    """Kind, wall time and detail of the newest line of a history."""
    kind, wall, detail = rows.query(
        "SELECT kind, wall, detail FROM event_history WHERE event_id = ? ORDER BY number DESC LIMIT 1", number
    )[0]
    return kind, wall, json.loads(detail) if detail else {}


# --- redrive --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["failed", "dropped"])
def test_an_event_that_has_ended_without_success_begins_anew(rows: Rows, state: str) -> None:
    number = rows.add(state)
    changes = redrive(rows, number)
    assert (changes.events, changes.live, changes.lanes, changes.targets) == (1, 1, {(OWN, "f")}, frozenset())
    assert rows.row(number, "state", "attempts", "backoffs", "lease", "finished_wall") == ("queued", 0, 0, None, None)
    assert rows.row(number, "accepted_at", "accepted_wall", "due_at") == (LATER, WALL, LATER)
    assert last_line(rows, number) == ("redriven", WALL_LATER, {"from": state})
    assert [event.event_id for event in rows.do(claiming()).claimed] == [number]


def test_an_event_that_waits_for_its_retry_is_due_at_once_and_keeps_its_attempts(rows: Rows) -> None:
    number = rows.waiting()
    changes = redrive(rows, number)
    assert (changes.events, changes.live, changes.lanes) == (1, 0, {(OWN, "f")})
    assert rows.row(number, "state", "attempts", "backoffs", "accepted_at", "due_at") == ("queued", 2, 1, NOW, LATER)
    assert last_line(rows, number) == ("redriven", WALL_LATER, {})


def test_an_event_that_is_due_already_stays_as_it_is(rows: Rows) -> None:
    number = rows.add()
    changes = redrive(rows, number)
    assert (changes.found[number].state, changes.events, changes.live, changes.lanes) == ("queued", 0, 0, frozenset())
    assert (rows.row(number, "due_at"), rows.kinds(number)) == ((NOW,), ["accepted"])


@pytest.mark.parametrize("state", ["running", "succeeded"])
def test_an_event_that_runs_or_has_succeeded_is_not_run_again(rows: Rows, state: str) -> None:
    number = rows.add(state)
    before = rows.row(number, "*"), rows.kinds(number)
    changes = redrive(rows, number)
    found = changes.found[number]
    assert (found.state, found.has_payload, found.changed) == (state, state == "running", False)
    assert (changes.events, changes.live, changes.lanes) == (0, 0, frozenset())
    assert (rows.row(number, "*"), rows.kinds(number)) == before


def test_without_its_payload_an_event_is_not_run_again(rows: Rows) -> None:
    number = rows.add("failed")
    rows.query("DELETE FROM event_payloads")
    assert redrive(rows, number).found[number].has_payload is False
    assert rows.state(number) == "failed"


@pytest.mark.parametrize("state", ["failed", "succeeded"])
@pytest.mark.parametrize("deliveries_only", [False, True])
def test_what_is_owed_is_due_at_once(rows: Rows, state: str, deliveries_only: bool) -> None:
    other = rows.add("failed", owed=[delivery()])
    number = rows.add(state, owed=[delivery(), delivery(TOPIC, due_at=NOW)])
    changes = redrive(rows, number, deliveries_only=deliveries_only)
    assert (changes.deliveries, changes.targets) == (2, {QUEUE, TOPIC})
    assert rows.owed(number) == [(QUEUE, LATER), (TOPIC, NOW)]
    assert rows.owed(other) == [(QUEUE, FUTURE)]
    runs = state == "failed" and not deliveries_only
    assert rows.state(number) == ("queued" if runs else state)
    assert changes.live == changes.events == int(runs)
    assert last_line(rows, number) == ("redriven", WALL_LATER, {**({"from": state} if runs else {}), "deliveries": 2})


def test_events_of_other_accounts_and_of_none_are_not_found(rows: Rows) -> None:
    other = rows.add("failed", account_id=OTHER)
    for changes in (redrive(rows, other, 99), drop(rows, other, 99)):
        assert (changes.found, changes.events, changes.live) == ({}, 0, 0)
    assert rows.state(other) == "failed"


# --- drop -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Rows.add, Rows.waiting])
def test_a_queued_event_is_dropped_and_keeps_its_payload(rows: Rows, make: Any) -> None:
    number = make(rows)
    changes = drop(rows, number)
    assert (changes.events, changes.live, changes.targets) == (1, -1, frozenset())
    assert rows.row(number, "state", "due_at", "finished_wall") == ("dropped", LATER, WALL_LATER)
    assert last_line(rows, number) == ("dropped", WALL_LATER, {})
    assert rows.query("SELECT count(*) FROM event_payloads") == [(1,)]
    assert rows.do(claiming()).claimed == []


@pytest.mark.parametrize("state", ["failed", "succeeded"])
def test_what_is_owed_of_an_event_that_has_ended_is_dropped(rows: Rows, state: str) -> None:
    other = rows.add("failed", owed=[delivery()])
    number = rows.add(state, owed=[delivery(), delivery(TOPIC, kind="DeadLetter")])
    rows.query("UPDATE deliveries SET reason = 'no endpoint' WHERE target = ?", TOPIC)
    changes = drop(rows, number)
    assert (changes.events, changes.deliveries, changes.live, changes.targets) == (0, 2, 0, {QUEUE, TOPIC})
    assert (rows.state(number), rows.owed(number), rows.owed(other)) == (state, [], [(QUEUE, FUTURE)])
    assert rows.kinds(number) == ["accepted", state, "delivery-dropped", "delivery-dropped"]
    expected = {"kind": "DeadLetter", "target": TOPIC, "reason": "no endpoint"}
    assert last_line(rows, number) == ("delivery-dropped", WALL_LATER, expected)


def test_a_queued_event_is_dropped_with_what_is_owed_of_its_former_run(rows: Rows) -> None:
    number = rows.add("failed", owed=[delivery()])
    redrive(rows, number)
    changes = drop(rows, number)
    assert (changes.events, changes.deliveries, rows.owed(number)) == (1, 1, [])
    assert rows.kinds(number)[-2:] == ["dropped", "delivery-dropped"]


def test_an_event_that_runs_is_not_dropped_nor_what_is_owed_of_it(rows: Rows) -> None:
    number = rows.add("failed", owed=[delivery()])
    redrive(rows, number)
    rows.claim(number)
    changes = drop(rows, number)
    found = changes.found[number]
    assert (found.state, found.changed, found.deliveries) == ("running", False, 0)
    assert (rows.state(number), len(rows.owed(number))) == ("running", 1)


@pytest.mark.parametrize("state", ["succeeded", "failed", "dropped"])
def test_an_event_that_has_ended_and_owes_nothing_stays_as_it_is(rows: Rows, state: str) -> None:
    number = rows.add(state)
    before = rows.row(number, "*"), rows.kinds(number)
    assert (drop(rows, number).events, (rows.row(number, "*"), rows.kinds(number))) == (0, before)


# --- who comes first ------------------------------------------------------------------------------------------------


def held_together(rows: Rows, *intentions: Any) -> list[Any]:
    """Results of intentions that are carried out in one transaction, in this order."""
    started, go_on = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        started.set()
        assert go_on.wait(30)

    rows.store.submit(hold)
    assert started.wait(30)
    futures = [rows.store.submit(intention) for intention in intentions]
    go_on.set()
    return [future.result(30) for future in futures]


def test_an_event_is_claimed_or_dropped_never_both(rows: Rows) -> None:
    number = rows.add()
    turn, changes = held_together(rows, claiming(), dropping(number))
    assert ([event.event_id for event in turn.claimed], changes.events) == ([number], 0)
    number = rows.add(function="g")
    changes, turn = held_together(rows, dropping(number), claiming("g"))
    assert (turn.claimed, changes.events) == ([], 1)


def test_an_event_that_fails_at_this_moment_is_redriven_after_that(rows: Rows) -> None:
    number = rows.add("running")
    settlement = Settlement(
        event_id=number,
        state="failed",
        attempts=3,
        backoffs=0,
        due_at=NOW,
        history=(),
        deliveries=[delivery()],
        finished_wall=WALL,
    )
    settling = partial(take_turn, lease=LEASE, settlements=[settlement], claims=[], now=NOW, wall=WALL)
    too_early, _, changes, late = held_together(rows, redriving(number), settling, redriving(number), settling)
    assert (too_early.events, changes.events, changes.deliveries) == (0, 1, 1)
    assert list(late.stale) == [number], "the lease went with the run"
    assert rows.state(number) == "queued"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["redrive", "deliver", "drop", "claim", "fail", "retry", "succeed", "forget"]),
        st.integers(0, 2),
    ),
    max_size=20,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_number_of_live_events_is_what_the_changes_say(rows: Rows, steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: what is told to the dispatcher adds up, and histories have no gaps."""
    numbers = [rows.add() for _ in range(3)]
    live = 3
    for step, index in steps:
        number = numbers[index]
        if not rows.query("SELECT 1 FROM events WHERE id = ?", number):
            continue
        state = rows.state(number)
        if step in ("redrive", "deliver"):
            live += redrive(rows, number, deliveries_only=step == "deliver").live
        elif step == "drop":
            live += drop(rows, number).live
        elif step == "claim" and state == "queued":
            rows.claim(number)
        elif step == "forget":
            rows.do(partial(event_changes.forget, event_ids=[number]))
        elif step in ("fail", "succeed", "retry"):
            final = {"fail": "failed", "succeed": "succeeded", "retry": "queued"}[step]
            live -= rows.settle(number, final, [delivery()] if step == "fail" else ()) and step != "retry"
    marks = ", ".join("?" * len(numbers))
    counted = f"SELECT count(*) FROM events WHERE finished_wall IS NULL AND id IN ({marks})"
    assert rows.query(counted, *numbers) == [(live,)]
    is_live = f"SELECT count(*) FROM events WHERE state IN ('queued', 'running') AND id IN ({marks})"
    assert rows.query(is_live, *numbers) == [(live,)]
    gaps = "SELECT event_id FROM event_history GROUP BY event_id HAVING max(number) <> count(*)"
    assert rows.query(gaps) == []


# --- forget ---------------------------------------------------------------------------------------------------------


def test_what_has_ended_is_forgotten_whole(rows: Rows) -> None:
    gone = [rows.add(state) for state in ("succeeded", "failed", "dropped")]
    stays = [rows.add("queued"), rows.add("running"), rows.add("failed", owed=[delivery()]), rows.waiting()]
    newest = rows.add("failed")
    assert rows.do(partial(event_changes.forget, event_ids=[*gone, *stays, newest, 99])) == 3
    assert [number for (number,) in rows.query("SELECT id FROM events ORDER BY id")] == [*stays, newest]
    for table in ("event_history", "event_payloads"):
        left = {number for (number,) in rows.query(f"SELECT DISTINCT event_id FROM {table}")}
        assert left == {*stays, newest}


def test_no_number_is_given_twice(rows: Rows) -> None:
    newest = rows.add("failed")
    assert rows.do(partial(event_changes.forget, event_ids=[newest])) == 0
    assert rows.add() == newest + 1
    assert rows.do(partial(event_changes.forget, event_ids=[newest])) == 1
