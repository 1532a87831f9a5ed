"""When events are run, and run again, on the manual clock: to the second, and for six hours."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.unit.events.event_lab import HOURS, Held, Lab, run, times
from venturekit.service.api.errors import api_error
from venturekit.service.events.retry import EventPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUEUE = "arn:aws:sqs:us-east-1:123456789012:failures"
LETTERS = "arn:aws:sqs:us-east-1:123456789012:letters"
BACKOFF_TIMES = [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0, 255.0, 511.0]


def failing(times_: int) -> Callable[[Held], None]:
    """Fails so often, then succeeds."""
    left = [times_]

    def behave(held: Held) -> None:
        left[0] -= 1
        if left[0] >= 0:
            held.fail()
        else:
            held.succeed()

    return behave


def test_an_event_runs_at_the_moment_it_is_accepted(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(takes=0.25)
        event = await lab.accept(payload=b'{"a": 1}', trace="Root=1-2-3;Parent=4;Sampled=1")
        assert (times(function), lab.dispatcher.live, lab.dispatcher.running) == ([0.0], 1, 1)
        (made,) = function.runs
        assert (made.request_id, made.payload, made.version) == (event, b'{"a": 1}', "$LATEST")
        assert made.invoked_arn == "arn:aws:lambda:us-east-1:123456789012:function:f"
        assert made.trace.startswith("Root=1-2-3;Parent=4;Sampled=1;Lineage=1:")
        await lab.advance(1.0)
        assert [(line.after, line.kind) for line in lab.history(event)] == [
            (0.0, "accepted"),
            (0.0, "started"),
            (0.25, "succeeded"),
        ]
        assert lab.history(event)[2].detail == {"executedVersion": "$LATEST", "durationMs": 250.0}
        assert (lab.state(event), lab.tries(event), lab.owed(event)) == ("succeeded", (1, 0), [])
        assert (lab.dispatcher.live, lab.dispatcher.running) == (0, 0)
        assert lab.rows("SELECT count(*) FROM event_payloads") == [(0,)]
        await lab.advance(7 * HOURS)
        assert times(function) == [0.0]

    run(tmp_path, scenario)


@pytest.mark.parametrize("takes", [0.0, 0.25])
def test_a_failing_function_is_run_again_after_one_minute_and_after_two(tmp_path: Path, takes: float) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(takes=takes, behave=Held.fail)
        event = await lab.accept(payload=b'{"a": 1}')
        await lab.advance(takes + 60 - 0.001)
        assert times(function) == [0.0]
        await lab.advance(7 * HOURS)
        second, third = takes + 60, 2 * takes + 180
        assert times(function) == [0.0, second, third]
        assert {(made.request_id, made.payload) for made in function.runs} == {(event, b'{"a": 1}')}
        lines = lab.history(event)
        assert [(line.after, line.kind) for line in lines] == [
            (0.0, "accepted"),
            (0.0, "started"),
            (takes, "error"),
            (second, "started"),
            (second + takes, "error"),
            (third, "started"),
            (third + takes, "error"),
            (third + takes, "failed"),
        ]
        assert [line.detail.get("nextDelaySeconds") for line in lines if line.kind == "error"] == [60.0, 120.0, None]
        assert (lab.condition(event), lab.tries(event), lab.dispatcher.live) == ("RetriesExhausted", (3, 0), 0)
        # What has failed may be run again by hand.
        assert lab.rows("SELECT payload FROM event_payloads") == [(b'{"a": 1}',)]

    run(tmp_path, scenario)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_retry_may_succeed(tmp_path: Path, failures: int) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=failing(failures))
        event = await lab.accept()
        await lab.advance(HOURS)
        assert times(function) == [0.0, 60.0, 180.0][: failures + 1]
        assert (lab.state(event), lab.tries(event)) == ("succeeded", (failures + 1, 0))

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("delays", "expected"),
    [((0.05, 0.1), [0.0, 0.05, 0.15]), ((5.0,), [0.0, 5.0, 10.0]), ((0.0, 0.0), [0.0, 0.0, 0.0])],
)
def test_delays_are_a_setting(tmp_path: Path, delays: tuple[float, ...], expected: list[float]) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        await lab.accept()
        await lab.advance(HOURS)
        assert times(function) == expected

    run(tmp_path, scenario, delays_seconds=delays)


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_the_number_of_retries_is_a_setting_of_the_function(tmp_path: Path, retries: int) -> None:
    async def scenario(lab: Lab) -> None:
        policy = EventPolicy(maximum_retry_attempts=retries, on_failure=QUEUE, dead_letter=LETTERS)
        function = lab.targets.create(behave=Held.fail, policy=policy)
        event = await lab.accept()
        await lab.advance(HOURS)
        assert times(function) == [0.0, 60.0, 180.0][: retries + 1]
        assert (lab.condition(event), lab.tries(event)) == ("RetriesExhausted", (retries + 1, 0))
        assert lab.owed(event) == [("OnFailure", QUEUE), ("DeadLetter", LETTERS)]
        assert lab.delivered == [{QUEUE, LETTERS}]

    run(tmp_path, scenario)


def test_a_setting_that_changes_counts_from_then_on(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        event = await lab.accept()
        function.policy = EventPolicy(maximum_retry_attempts=0)
        await lab.advance(HOURS)
        assert times(function) == [0.0, 60.0]
        assert (lab.condition(event), lab.tries(event)) == ("RetriesExhausted", (2, 0))

    run(tmp_path, scenario)


def test_settings_are_those_of_the_qualifier(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        never = EventPolicy(maximum_retry_attempts=0)
        function = lab.targets.create(behave=Held.fail, policies={"live": never})
        aliased = await lab.accept(qualifier="live")
        unqualified = await lab.accept()
        await lab.advance(HOURS)
        assert len(times(function, aliased)) == 1
        assert len(times(function, unqualified)) == 3
        assert {made.invoked_arn.rpartition("function:")[2] for made in function.runs} == {"f:live", "f"}

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("age", "expected"), [(60, [0.0]), (61, [0.0, 60.01]), (179, [0.0, 60.01]), (181, [0.0, 60.01, 180.02])]
)
def test_the_maximum_age_looks_ahead(tmp_path: Path, age: int, expected: list[float]) -> None:
    """With 60 seconds there is one attempt, and it ends when that has failed (as recorded)."""

    async def scenario(lab: Lab) -> None:
        policy = EventPolicy(maximum_event_age_seconds=age, on_failure=QUEUE)
        function = lab.targets.create(takes=0.01, behave=Held.fail, policy=policy)
        event = await lab.accept()
        await lab.advance(HOURS)
        assert times(function) == expected
        condition = "RetriesExhausted" if len(expected) == 3 else "EventAgeExceeded"
        assert (lab.condition(event), lab.tries(event)) == (condition, (len(expected), 0))
        assert lab.history(event)[-1].after == round(expected[-1] + 0.01, 4)
        assert lab.owed(event) == [("OnFailure", QUEUE)]

    run(tmp_path, scenario)


def test_a_throttled_event_backs_off_for_six_hours_and_is_never_counted(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        policy = EventPolicy(on_failure=QUEUE, dead_letter=LETTERS, maximum_retry_attempts=0)
        function = lab.targets.create(policy=policy)
        lab.targets.account.reserve("f", 1)
        assert function.concurrency.take()
        event = await lab.accept()
        await lab.advance(7 * HOURS)
        assert function.runs == []
        expected = [*BACKOFF_TIMES, *(511.0 + 300.0 * number for number in range(1, 71))]
        assert expected[-1] <= 6 * HOURS < expected[-1] + 300
        lines = [line for line in lab.history(event) if line.kind == "throttled"]
        assert [line.after for line in lines] == expected
        assert [line.detail.get("nextDelaySeconds") for line in lines[:-1]] == [
            later - earlier for earlier, later in itertools.pairwise(expected)
        ]
        assert {line.detail["reason"] for line in lines} == {"ReservedFunctionConcurrentInvocationLimitExceeded"}
        # It ends when the next try would come too late, not at the sixth hour.
        assert lab.history(event)[-1].after == expected[-1]
        assert (lab.condition(event), lab.tries(event)) == ("EventAgeExceeded", (0, len(expected)))
        assert lab.owed(event) == [("OnFailure", QUEUE), ("DeadLetter", LETTERS)]
        assert (lab.dispatcher.live, function.concurrency.running) == (0, 1)
        # Nothing was polled: one timer for each try, and one for the end of the pause of the lane.
        assert lab.loop.fired <= 2 * len(expected) + 10

    run(tmp_path, scenario)


def test_the_age_bounds_throttles_too(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(policy=EventPolicy(maximum_event_age_seconds=60))
        lab.targets.account.reserve("f", 1)
        assert function.concurrency.take()
        event = await lab.accept()
        await lab.advance(HOURS)
        assert [line.after for line in lab.history(event) if line.kind == "throttled"] == BACKOFF_TIMES[:6]
        assert lab.condition(event) == "EventAgeExceeded"

    run(tmp_path, scenario)


def test_a_throttle_that_ends_lets_the_event_run_with_all_its_retries(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        lab.targets.account.reserve("f", 1)
        assert function.concurrency.take()
        event = await lab.accept()
        await lab.advance(20.0)
        assert (lab.tries(event), lab.state(event)) == ((0, 5), "queued")
        function.concurrency.release()
        await lab.advance(HOURS)
        assert times(function) == [31.0, 91.0, 211.0]
        assert lab.tries(event) == (3, 0)

    run(tmp_path, scenario)


def test_a_throttle_between_attempts_begins_its_back_off_anew(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        lab.targets.account.reserve("f", 1)
        event = await lab.accept()
        assert function.concurrency.take()
        await lab.advance(60 + 7 - 0.001)
        function.concurrency.release()
        await lab.advance(HOURS)
        assert [line.after for line in lab.history(event) if line.kind == "throttled"] == [60.0, 61.0, 63.0]
        assert times(function) == [0.0, 67.0, 187.0]
        assert lab.condition(event) == "RetriesExhausted"

    run(tmp_path, scenario)


def test_the_account_limit_throttles_as_a_reserve_does(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function, other = lab.targets.create("f"), lab.targets.create("other")
        assert other.concurrency.take()
        event = await lab.accept()
        await lab.advance(0.5)
        assert lab.history(event)[-1].detail["reason"] == "ConcurrentInvocationLimitExceeded"
        other.concurrency.release()
        await lab.advance(0.5)
        assert times(function) == [1.0]

    run(tmp_path, scenario, account_limit=1)


def test_a_function_that_cannot_run_yet_is_tried_again(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        pending = api_error("ResourceConflictException", "The function is currently in the following state: Pending")
        function = lab.targets.create(not_runnable=pending)
        event = await lab.accept()
        await lab.advance(6.0)
        lines = [line for line in lab.history(event) if line.kind == "system-error"]
        assert [line.after for line in lines] == [0.0, 1.0, 3.0]
        assert lines[0].detail == {"reason": f"{pending.code}: {pending.message}", "nextDelaySeconds": 1.0}
        assert (lab.tries(event), function.concurrency.running) == ((0, 3), 0)
        function.not_runnable = None
        await lab.advance(1.0)
        assert (times(function), lab.state(event), lab.tries(event)) == ([7.0], "succeeded", (1, 0))

    run(tmp_path, scenario)


@pytest.mark.parametrize("fault", [api_error("ServiceException", "as told"), RuntimeError("as told")])
def test_a_fault_of_the_service_backs_off_and_harms_no_other_event(tmp_path: Path, fault: Exception) -> None:
    async def scenario(lab: Lab) -> None:
        faulty, well = lab.targets.create("faulty", not_resolved=fault), lab.targets.create("well")
        bad, good = lab.put("faulty"), lab.put("well")
        await lab.advance(3.5)
        assert (lab.state(good), times(well)) == ("succeeded", [0.0])
        assert [line.after for line in lab.history(bad) if line.kind == "system-error"] == [0.0, 1.0, 3.0]
        assert "as told" in str(lab.history(bad)[2].detail["reason"])
        faulty.not_resolved = None
        await lab.advance(10.0)
        assert (lab.state(bad), times(faulty)) == ("succeeded", [7.0])
        # What nobody has thought of is logged, what is an answer of the API is not.
        assert lab.reported == [fault] * 3 * isinstance(fault, RuntimeError)
        lab.reported.clear()

    run(tmp_path, scenario)


def test_an_environment_that_cannot_be_had_backs_off(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=lambda held: held.reject("no execution environment could be started"))
        event = await lab.accept()
        await lab.advance(2.5)
        assert times(function) == [0.0, 1.0]
        assert lab.history(event)[2].detail["reason"] == "no execution environment could be started"
        assert (lab.tries(event), function.concurrency.running) == ((0, 2), 0)
        function.behave = Held.succeed
        await lab.advance(2.5)
        assert (lab.state(event), lab.tries(event)) == ("succeeded", (1, 0))

    run(tmp_path, scenario)


def test_the_newest_code_runs(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail, version="1")
        await lab.accept(qualifier="live")
        function.version = "2"
        await lab.advance(61.0)
        assert [made.version for made in function.runs] == ["1", "2"]

    run(tmp_path, scenario)


@pytest.mark.parametrize("jump", [-7 * 24 * HOURS, 7 * 24 * HOURS])
def test_a_jump_of_the_systems_clock_moves_no_retry(tmp_path: Path, jump: float) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        event = await lab.accept()
        lab.wall_offset += jump
        await lab.advance(59.9)
        assert times(function) == [0.0]
        lab.wall_offset -= 2 * jump
        await lab.advance(HOURS)
        assert times(function) == [0.0, 60.0, 180.0]
        assert lab.condition(event) == "RetriesExhausted"

    run(tmp_path, scenario)
