"""Events that end without being run, or not run any more: each with its reason, and with what is owed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.events.event_lab import HOURS, Held, Lab, run, times
from venturekit.protocol.lineage import key_of
from venturekit.service.api.errors import api_error
from venturekit.service.events.retry import EventPolicy

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = "arn:aws:sqs:us-east-1:123456789012:failures"
LETTERS = "arn:aws:sqs:us-east-1:123456789012:letters"
BOTH = EventPolicy(on_success=QUEUE, on_failure=QUEUE, dead_letter=LETTERS)
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"


def test_without_any_reserved_concurrency_an_event_ends_at_once(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(policy=BOTH)
        lab.targets.account.reserve("f", 0)
        events = [lab.put(payload=b'{"n": %d}' % number) for number in range(40)]
        await lab.quiet()
        assert function.runs == []
        for event in events:
            assert (lab.condition(event), lab.tries(event)) == ("ZeroReservedConcurrency", (0, 0))
            assert lab.kinds(event) == ["accepted", "started", "failed"]
            assert lab.owed(event) == [("OnFailure", QUEUE), ("DeadLetter", LETTERS)]
        bodies = lab.rows("SELECT body FROM deliveries JOIN delivery_bodies ON delivery_id = id WHERE event_id = 1")
        record, letter = (json.loads(body) for (body,) in bodies)
        assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
        assert record["requestContext"]["approximateInvokeCount"] == 0
        assert record["requestContext"]["functionArn"] == f"{ARN}:$LATEST"
        assert (record["requestPayload"], "responseContext" in record) == ({"n": 0}, False)
        assert letter == {"n": 0}
        assert lab.dispatcher.live == 0

    run(tmp_path, scenario)


def test_a_reserve_that_is_taken_away_ends_what_waits_for_its_retry(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        event = await lab.accept()
        lab.targets.account.reserve("f", 0)
        await lab.advance(HOURS)
        assert times(function) == [0.0]
        assert (lab.condition(event), lab.tries(event)) == ("ZeroReservedConcurrency", (1, 0))
        assert lab.history(event)[-1].after == 60.0

    run(tmp_path, scenario)


def test_a_function_deleted_with_events_queued(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.targets.create(behave=Held.fail, policy=BOTH)
        waiting = await lab.accept()
        lab.targets.delete("f")
        late = await lab.accept()
        assert lab.state(waiting) == "queued"
        await lab.advance(HOURS)
        for event, after in ((waiting, 60.0), (late, 0.0)):
            assert lab.condition(event) == "FunctionNotFound"
            assert "ResourceNotFoundException: Function not found: arn:" in lab.history(event)[-1].detail["reason"]
            assert lab.history(event)[-1].after == after
            assert lab.owed(event) == []
        assert lab.dispatcher.live == 0

    run(tmp_path, scenario)


def test_a_function_that_was_made_anew_runs_the_events_of_its_name(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.targets.create(behave=Held.fail)
        event = await lab.accept()
        lab.targets.delete("f")
        again = lab.targets.create()
        await lab.advance(HOURS)
        assert (times(again), lab.state(event)) == ([60.0], "succeeded")

    run(tmp_path, scenario)


def test_what_waited_for_too_long_is_not_run_any_more(tmp_path: Path) -> None:
    """Behind a flood, or while the service was down."""

    async def scenario(lab: Lab) -> None:
        policy = EventPolicy(maximum_event_age_seconds=60, on_failure=QUEUE)
        function = lab.targets.create(takes=50.0, policy=policy)
        events = [lab.put() for _ in range(3)]
        await lab.advance(HOURS)
        assert times(function) == [0.0, 50.0]
        assert [lab.state(event) for event in events] == ["succeeded", "succeeded", "failed"]
        assert (lab.condition(events[2]), lab.tries(events[2])) == ("EventAgeExceeded", (0, 0))
        assert lab.history(events[2])[-1].after == 100.0
        assert lab.owed(events[2]) == [("OnFailure", QUEUE)]

    run(tmp_path, scenario, concurrency=1)


def test_events_that_are_too_old_go_at_once_also_while_the_function_is_throttled(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(policy=EventPolicy(maximum_event_age_seconds=60))
        lab.targets.account.reserve("f", 1)
        assert function.concurrency.take()
        events = [lab.put() for _ in range(200)]
        await lab.advance(150.0)
        assert {lab.condition(event) for event in events} == {"EventAgeExceeded"}
        assert function.runs == []

    run(tmp_path, scenario)


def test_not_resolved_for_too_long(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.targets.create(not_resolved=api_error("ServiceException", "as told"))
        event = await lab.accept()
        await lab.advance(7 * HOURS)
        assert (lab.condition(event), lab.tries(event)[0]) == ("EventAgeExceeded", 0)

    run(tmp_path, scenario)


@pytest.mark.parametrize(("rounds", "stopped"), [(0, False), (15, False), (16, True), (40, True)])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_loop_is_stopped_unless_it_is_allowed(tmp_path: Path, rounds: int, stopped: bool, allowed: bool) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(recursion_allowed=allowed, policy=EventPolicy(on_failure=QUEUE))
        lineage = f";Lineage=1:{key_of(ARN)}:{rounds - 1}" if rounds else ""
        event = await lab.accept(trace=f"Root=1-2-3{lineage}")
        if stopped and not allowed:
            assert (lab.condition(event), lab.tries(event)) == ("RecursiveInvocation", (0, 0))
            assert (function.runs, lab.owed(event)) == ([], [("OnFailure", QUEUE)])
        else:
            assert lab.state(event) == "succeeded"
            assert function.runs[0].trace == f"Root=1-2-3;Lineage=1:{key_of(ARN)}:{rounds}"

    run(tmp_path, scenario)


def test_a_retry_is_no_further_round_of_a_loop(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        await lab.accept(trace=f"Root=1-2-3;Lineage=1:{key_of(ARN)}:14")
        await lab.advance(HOURS)
        assert len(function.runs) == 3
        assert {made.trace for made in function.runs} == {f"Root=1-2-3;Lineage=1:{key_of(ARN)}:15"}

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", b"[" * 100_000, b'{"errorMessage":"\\ud800"}', b'{"errorMessage":"' + b"x" * 400_000 + b'"}'],
    ids=["empty", "bytes", "deep", "half-a-character", "large"],
)
def test_no_answer_of_a_function_stops_the_others(tmp_path: Path, answer: bytes) -> None:
    async def scenario(lab: Lab) -> None:
        hostile = lab.targets.create("hostile", behave=lambda held: held.fail(answer), policy=BOTH)
        well = lab.targets.create("well")
        bad = await lab.accept("hostile")
        good = await lab.accept("well")
        await lab.advance(HOURS)
        assert (len(hostile.runs), len(well.runs)) == (3, 1)
        assert (lab.condition(bad), lab.state(good)) == ("RetriesExhausted", "succeeded")
        assert lab.warned == []

    run(tmp_path, scenario)
