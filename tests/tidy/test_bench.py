"""The bench reports honestly: verdicts, rows that cannot be measured, and its parts in C against each other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PREAMBLE = "import sys, json; sys.path.insert(0, {folder!r}); import rig, run\n"


@pytest.fixture
def bench(root: Path) -> Any:
    """Runs a few lines in which the bench is imported, and gives the JSON they print."""

    def execute(lines: str) -> Any:
        script = PREAMBLE.format(folder=str(root / "bench")) + lines
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return execute


@pytest.mark.parametrize(
    ("at_least", "value", "passed"), [(True, 2.0, True), (True, 1.99, False), (False, 2.0, True), (False, 2.01, False)]
)
def test_a_value_is_held_against_its_budget(bench: Any, at_least: bool, value: float, passed: bool) -> None:
    line = bench(f"print(json.dumps(run.Row('n', 'ms', 2, {at_least}, None).report({value}, '')))")
    assert line == {
        "name": "n",
        "value": value,
        "unit": "ms",
        "budget": f"{'>=' if at_least else '<='} 2",
        "pass": passed,
    }


def test_a_row_that_cannot_be_measured_is_reported_with_its_reason(bench: Any) -> None:
    lines = """
def measure(bench): raise rig.Unavailable("no such binary")
print(json.dumps(list(run.measure(None, [run.Row("n", "x", 1, False, measure)]))))
"""
    expected = {
        "name": "n",
        "value": None,
        "unit": "x",
        "budget": "<= 1",
        "pass": False,
        "unavailable": "no such binary",
    }
    assert bench(lines) == [expected]


def test_every_row_of_the_budget_has_a_name_of_its_own(bench: Any) -> None:
    names = bench("print(json.dumps([row.name for row in run.ROWS]))")
    assert len(names) == len(set(names)) >= 13


def test_the_load_generator_reaches_the_c_runtime_through_the_c_router(bench: Any) -> None:
    # Compiled here if they were not yet: a missing compiler is named by the error.
    lines = """
rig.build()
with rig.router(pinned=False) as port:
    done = rig.load(port, path=run.ROUTER_PATH, requests=200, clients=3)
print(json.dumps(done.requests))
"""
    assert bench(lines) == 200


def test_a_pattern_that_matches_no_row_lists_the_rows(root: Path) -> None:
    command = [sys.executable, str(root / "bench" / "run.py"), "--only", "no such row"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "service idle memory" in done.stderr


def test_the_control_plane_is_measured_on_a_store_that_was_written_directly(bench: Any) -> None:
    # Sixty functions in the place of ten thousand; every call has to succeed for a row to have a value.
    lines = """
import contextlib, scale
with contextlib.ExitStack() as stack:
    small = scale.Scale(stack, functions=60, samples=2, starts=1)
    rows = [row(small) for row in (scale.start, scale.list_page, scale.slowest_read, scale.slowest_write, scale.memory)]
print(json.dumps([[row.value, row.note] for row in rows]))
"""
    start, page, read, write, memory = bench(lines)
    assert "2 pages" in page[1]
    assert min(start[0], page[0], memory[0]) > 0
    assert (read[1].count(", ") + 1, write[1].count(", ") + 1) == (12, 11)
    assert float(write[1].split(", ")[0].split()[1]) == pytest.approx(write[0], abs=0.01)


def test_asynchronous_invocation_is_measured_on_events_that_all_ran(bench: Any) -> None:
    # Four thousand events in the place of a million; a row has no value unless every event that was accepted has run.
    lines = """
import contextlib, asynchronous
with contextlib.ExitStack() as stack:
    small = asynchronous.Asynchronous(stack, seconds=0.2, rounds=1, samples=3, events=4_000, drained=200)
    rows = [row(small) for row in (asynchronous.accepting, asynchronous.sync_meanwhile, asynchronous.start_of_event)]
    rows += [row(small) for row in (asynchronous.claim, asynchronous.memory)]
print(json.dumps([[row.value, row.note] for row in rows]))
"""
    accepted, sync, started, claimed, memory = bench(lines)
    assert min(accepted[0], sync[0], started[0], claimed[0]) > 0
    assert "all ran" in accepted[1]
    assert "16 of one function" in claimed[1]
    assert "64 of 4 functions" in claimed[1]
    assert "with 4,000 queued" in memory[1]


def test_an_event_that_was_accepted_and_did_not_run_leaves_the_row_without_a_value(bench: Any) -> None:
    lines = """
import asyncio, pathlib, tempfile, asynchronous
from venturekit.service.store import Store
from venturekit.service.store.events import EventStore
async def put(folder):
    store = Store.open(folder / asynchronous.DATABASE)
    await EventStore(store).put(list(asynchronous.Million(folder, 3, 0)._events(0, 3)))
    store.close()
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(put(pathlib.Path(folder)))
    try:
        asynchronous.check_that_all_ran(pathlib.Path(folder), 3)
    except rig.Unavailable as reason:
        print(json.dumps(str(reason)))
"""
    assert bench(lines) == "3 events were accepted, 0 were started, and now are: {}"


def test_websockets_are_measured_on_clients_that_all_got_the_message(bench: Any) -> None:
    # Sixty connections in the place of five thousand.
    lines = """
import contextlib, websocket
with contextlib.ExitStack() as stack:
    small = websocket.Sockets(stack, connections=60, samples=5, rounds=1)
    rows = [row(small) for row in (websocket.round_trip, websocket.memory, websocket.broadcast)]
print(json.dumps([[row.value, row.note] for row in rows]))
"""
    trip, memory, everybody = bench(lines)
    assert min(trip[0], everybody[0]) > 0
    assert memory[1].startswith("60 connections")
    assert everybody[1].startswith("60 connections, 32 keep-alive senders")
