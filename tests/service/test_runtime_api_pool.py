"""Pools, environments and their host, with a scripted runtime and a manual clock: reuse, scaling, deadlines, ends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.service.runtime_support import INIT_ERROR, NEXT, scenario
from venturekit.service.environments import failures
from venturekit.service.environments.failures import Exit
from venturekit.service.environments.launcher import LaunchFailure
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.pool import GRACE_SECONDS, SHUTTING_DOWN

if TYPE_CHECKING:
    from tests.service.runtime_support import Bench, Event

UNHANDLED = b"Unhandled"
F_ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


# --- reuse and scaling ------------------------------------------------------------------------------------------------


@scenario()
async def test_the_latest_idle_environment_is_reused_first(bench: Bench) -> None:
    first, one, event_1 = await bench.runtime()
    second, two, event_2 = await bench.runtime()
    third, three, event_3 = await bench.runtime()
    for environment, runtime, event in ((second, two, event_2), (third, three, event_3), (first, one, event_1)):
        await runtime.respond(event)
        await bench.ask_next(environment, runtime)
    assert bench.pool.idle == [second, third, first]
    for environment, runtime in ((first, one), (third, three), (second, two)):
        event = bench.submit()
        assert environment.invocation is event
        assert (await runtime.read()).headers["lambda-runtime-aws-request-id"] == event.request_id.decode()
        assert (await runtime.respond(event)).status == 202
        await bench.ask_next(environment, runtime)
        bench.pool.idle.remove(environment)
    bench.pool.idle = [second, third, first]


@scenario()
async def test_every_waiting_invocation_gets_an_environment_of_its_own(bench: Bench) -> None:
    events = [bench.submit() for _ in range(5)]
    environments = await bench.launched(5)
    assert (bench.pool.starting, bench.host.starting, len(environments)) == (5, 5, 5)
    for environment in environments:
        await (await bench.connect(environment)).call("GET", NEXT)
    assert {environment.invocation for environment in environments} == set(events)
    bench.check_counters()
    assert [event.ended for event in events] == [0] * 5


@scenario()
async def test_an_environment_that_has_answered_is_trusted_to_come_back(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime()
    await runtime.respond(event)
    following = bench.submit()
    bench.loop.advance(GRACE_SECONDS * 0.9)
    assert (bench.pool.starting, bench.pool.responded) == (0, 1)
    await runtime.call("GET", NEXT)
    assert environment.invocation is following
    bench.loop.advance(GRACE_SECONDS)
    assert bench.pool.starting == 0


@scenario()
async def test_an_environment_that_does_not_come_back_is_not_waited_for(bench: Bench) -> None:
    _, runtime, event = await bench.runtime()
    await runtime.respond(event)
    following = bench.submit()
    bench.loop.advance(GRACE_SECONDS * 1.1)
    assert bench.pool.starting == 1
    _, other = await bench.launched(2)
    await (await bench.connect(other)).call("GET", NEXT)
    assert other.invocation is following


@scenario(timeout_ms=3000)
async def test_an_environment_that_never_asks_again_is_let_go(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime()
    await runtime.respond(event)
    bench.loop.advance(3.2)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert event.outcome == (b'"done"', b"")


@scenario()
async def test_more_starts_than_the_host_allows_wait_for_their_turn(bench: Bench) -> None:
    limit = bench.host.settings.starting_limit
    events = [bench.submit() for _ in range(limit + 3)]
    environments = await bench.launched(limit)
    assert (bench.host.starting, bench.pool.starting) == (limit, limit + 3)
    runtime = await bench.connect(environments[0])
    await runtime.call("GET", NEXT)
    await bench.launched(limit + 1)
    assert (bench.host.starting, bench.pool.starting) == (limit, limit + 2)
    # One serves two invocations: one of the queued starts is not needed any more.
    await runtime.respond(events[0])
    await runtime.call("GET", NEXT)
    bench.check_counters()
    for environment in environments[1:]:
        await (await bench.connect(environment)).call("GET", NEXT)
    bench.check_counters()
    await bench.until(lambda: not bench.tasks)
    assert len(bench.host.environments) == limit + 2
    assert bench.host.starting == bench.pool.starting == 2


@scenario()
async def test_idle_environments_are_let_go_in_time(bench: Bench) -> None:
    environment, _runtime = await bench.idle_runtime()
    bench.host.sweep(bench.clock.now + 299)
    assert environment.state is State.IDLE
    bench.host.sweep(bench.clock.now + 301)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert bench.pool.idle == []


@scenario(timeout_ms=3000)
async def test_an_invocation_does_not_wait_for_ever(bench: Bench) -> None:
    events = [bench.submit() for _ in range(2)]
    await bench.launched(2)
    bench.loop.now += 62.9
    bench.host.sweep(bench.clock.now)
    assert [event.ended for event in events] == [0, 0]
    bench.loop.now += 0.2
    bench.host.sweep(bench.clock.now)
    assert [event.rejections for event in events] == [["no execution environment could be started in time"]] * 2


# --- connections that go away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@scenario()
async def test_next_asked_again_on_a_new_connection(bench: Bench, how: str) -> None:
    environment, runtime = await bench.idle_runtime()
    getattr(runtime, how)()
    await bench.until(lambda: environment.state is State.RESPONDED or not environment.listens())
    again = await bench.connect(environment)
    await bench.ask_next(environment, again)
    event = bench.submit(b'"new connection"')
    assert (await again.read()).body == b'"new connection"'
    assert (await again.respond(event)).status == 202
    assert len(await bench.launched()) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
@scenario()
async def test_no_event_is_given_to_a_connection_that_is_gone(bench: Bench, how: str) -> None:
    environment, runtime = await bench.idle_runtime()
    getattr(runtime, how)()
    await bench.until(lambda: environment.state is State.RESPONDED or not environment.listens())
    event = bench.submit()
    assert environment.state is State.RESPONDED
    bench.check_counters()
    bench.loop.advance(GRACE_SECONDS * 1.1)
    _, other = await bench.launched(2)
    await (await bench.connect(other)).call("GET", NEXT)
    assert other.invocation is event
    # The one that lost its connection has ten seconds to come back.
    bench.loop.advance(2.0)
    assert environment.state is State.RESPONDED
    bench.launchers.exit(other.number, 0)
    bench.loop.advance(9.0)
    await bench.until(lambda: environment.state is State.TERMINATED)


@scenario()
async def test_an_answer_may_come_on_another_connection(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime()
    runtime.reset()
    again = await bench.connect(environment)
    assert (await again.respond(event)).status == 202
    assert event.outcome == (b'"done"', b"")


# --- deadlines --------------------------------------------------------------------------------------------------------


@scenario(timeout_ms=2000)
async def test_an_invocation_that_runs_out_of_time(bench: Bench) -> None:
    environment, _, event = await bench.runtime(tail=True)
    bench.loop.advance(1.99)
    assert event.ended == 0
    bench.loop.advance(0.02)
    assert event.outcome == (failures.timed_out(event.request_id, 2000), UNHANDLED)
    assert event.log_tail.endswith(b"\tInit Duration: 0.00 ms\tStatus: timeout\n")
    await bench.until(lambda: environment.state is State.TERMINATED)
    following, runtime, after = await bench.runtime()
    assert following.sandbox is environment.sandbox
    assert (await runtime.respond(after)).status == 202


@scenario(timeout_ms=5000)
async def test_an_init_that_takes_ten_seconds_is_run_again_within_the_invocation(bench: Bench) -> None:
    event = bench.submit(tail=True)
    (first,) = await bench.launched()
    bench.loop.advance(10.0)
    assert event.ended == 0
    await bench.until(lambda: first.state is State.TERMINATED)
    (second,) = await bench.launched()
    assert second.suppressed_init
    assert second.sandbox is first.sandbox
    assert "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\n" in bench.log()
    runtime = await bench.connect(second)
    bench.loop.advance(2.0)
    answer = await runtime.call("GET", NEXT)
    # What the init took is taken from the function's time and counted as its duration.
    remaining_ms = int(answer.headers["lambda-runtime-deadline-ms"]) - int(bench.host.wall() * 1000)
    assert abs(remaining_ms - 3000) <= 1
    bench.loop.advance(1.0)
    await runtime.respond(event)
    assert event.outcome == (b'"done"', b"")
    assert "\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\t" in event.log_tail.decode()
    assert "Init Duration" not in event.log_tail.decode()
    # The next invocation has all of its time.
    await bench.ask_next(second, runtime)
    bench.submit()
    answer = await runtime.read()
    assert abs(int(answer.headers["lambda-runtime-deadline-ms"]) - int(bench.host.wall() * 1000) - 5000) <= 1


@scenario(timeout_ms=5000)
async def test_a_suppressed_init_leaves_the_function_the_rest_of_its_time(bench: Bench) -> None:
    event = bench.submit()
    (first,) = await bench.launched()
    bench.loop.advance(10.0)
    await bench.until(lambda: first.state is State.TERMINATED)
    (second,) = await bench.launched()
    runtime = await bench.connect(second)
    bench.loop.advance(4.0)
    await runtime.call("GET", NEXT)
    bench.loop.advance(1.2)
    assert event.outcome == (failures.timed_out(event.request_id, 5000), UNHANDLED)


@scenario(timeout_ms=5000)
async def test_a_suppressed_init_that_runs_out_of_time_fails_the_invocation(bench: Bench) -> None:
    event = bench.submit()
    (first,) = await bench.launched()
    bench.loop.advance(10.0)
    await bench.until(lambda: first.state is State.TERMINATED)
    await bench.launched()
    bench.loop.advance(5.0)
    assert event.outcome == (failures.timed_out(event.request_id, 5000), UNHANDLED)
    assert "Phase: invoke\tStatus: timeout\n" in bench.log()
    await bench.until(lambda: not bench.host.environments)


@scenario(timeout_ms=900_000)
async def test_inits_that_hang_do_not_keep_other_functions_from_starting(bench: Bench) -> None:
    limit = bench.host.settings.starting_limit
    events = [bench.submit() for _ in range(limit)]
    await bench.launched(limit)
    bench.loop.advance(10.0)
    await bench.until(lambda: len(bench.host.environments) == limit and not bench.tasks)
    assert bench.host.starting == 0
    other = bench.pool_of("g")
    _, runtime, event = await bench.runtime(pool=other)
    await runtime.respond(event)
    assert event.outcome == (b'"done"', b"")
    # Longer than invocations usually wait for an environment, but within the function's own time.
    bench.loop.advance(100.0)
    bench.host.sweep(bench.clock.now)
    assert [each.ended for each in events] == [0] * limit


@scenario()
async def test_an_init_that_hangs_for_nobody_is_ended(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    bench.pool.waiting.popleft()
    bench.loop.advance(10.0)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert not bench.host.environments


# --- starts that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "error_type", "reason"),
    [
        (LaunchFailure("exec", "ENOENT", "x"), "Runtime.InvalidEntrypoint", "fork/exec python3.11: no such file or"),
        (LaunchFailure("exec", "E2BIG", "too big"), "Runtime.InvalidEntrypoint", "fork/exec python3.11: too big"),
        (LaunchFailure("launcher", None, "it died"), "Runtime.StartError", "it died"),
    ],
)
@scenario("uvloop")
async def test_a_process_that_cannot_be_started(
    bench: Bench, failure: LaunchFailure, error_type: str, reason: str
) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    bench.launchers.fail(environment.number, failure)
    payload, error = event.outcome
    assert error == UNHANDLED
    body = json.loads(payload)
    assert body["errorType"] == error_type
    assert body["errorMessage"].startswith(f"RequestId: {event.request_id.decode()} Error: {reason}")
    assert environment.state is State.TERMINATED


@pytest.mark.parametrize("fault", [OSError("disk full"), ValueError("the archive is damaged"), KeyError("key")])
@scenario("uvloop")
async def test_code_that_cannot_be_unpacked_fails_the_invocation(bench: Bench, fault: Exception) -> None:
    async def prepare(_key: str) -> None:
        raise fault

    bench.prepare = prepare
    event = bench.submit()
    await bench.until(lambda: event.ended)
    assert json.loads(event.outcome[0])["errorType"] == "Runtime.StartError"
    assert not bench.host.environments


@scenario("uvloop")
async def test_a_launcher_that_cannot_be_started(bench: Bench) -> None:
    bench.launchers.refuses = "no interpreter"
    event = bench.submit()
    await bench.until(lambda: event.ended)
    assert b"no interpreter" in event.outcome[0]
    assert not bench.host.environments


@scenario("uvloop", runtime="java21")
async def test_a_runtime_that_is_not_served(bench: Bench) -> None:
    event = bench.submit()
    await bench.until(lambda: event.ended)
    assert json.loads(event.outcome[0])["errorType"] == "Runtime.InvalidRuntime"


@scenario("uvloop")
async def test_a_failed_init_does_not_fail_those_who_wait_behind(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    one, two = await bench.launched(2)
    await (await bench.connect(one)).call("POST", INIT_ERROR, None, b"{}")
    assert (first.ended, second.ended) == (1, 0)
    await (await bench.connect(two)).call("GET", NEXT)
    assert two.invocation is second


# --- retiring and stopping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["idle", "busy", "responded", "starting"])
@scenario()
async def test_retire(bench: Bench, state: str) -> None:
    if state == "idle":
        environment, runtime = await bench.idle_runtime()
        event: Event | None = None
    elif state == "starting":
        event = bench.submit()
        (environment,) = await bench.launched()
        runtime = await bench.connect(environment)
    else:
        environment, runtime, event = await bench.runtime()
        if state == "responded":
            await runtime.respond(event)
    bench.host.keep_only(F_ARN, set())
    if state == "starting":
        assert environment.state is State.STARTING
        await runtime.call("GET", NEXT)
    if state in ("busy", "starting"):
        assert event is not None
        assert environment.state is State.INVOKE
        assert (await runtime.respond(event)).status == 202
        assert event.outcome == (b'"done"', b"")
        runtime.ask("GET", NEXT)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert bench.host.pools == {}
    await bench.until(lambda: bench.released)
    assert bench.pool.sandboxes == []


@scenario()
async def test_retire_keeps_what_is_live(bench: Bench) -> None:
    environment, _ = await bench.idle_runtime()
    bench.host.keep_only(F_ARN, {("$LATEST", "1")})
    bench.host.keep_only("other", set())
    assert environment.state is State.IDLE
    assert bench.host.running_code_keys() == {"key"}


@scenario()
async def test_a_late_invocation_of_a_retired_pool_is_still_served(bench: Bench) -> None:
    bench.host.keep_only(F_ARN, set())
    assert bench.host.pools == {}
    environment, runtime, event = await bench.runtime()
    bench.launchers.exit(environment.number, 1)
    assert event.ended == 1
    assert bench.pool.sandboxes == []
    environment, runtime, event = await bench.runtime()
    await runtime.respond(event)
    runtime.ask("GET", NEXT)
    await bench.until(lambda: environment.state is State.TERMINATED)


@scenario()
async def test_closing_answers_everybody_and_starts_nothing(bench: Bench) -> None:
    idle, _ = await bench.idle_runtime()
    busy_event = bench.submit()
    waiting = [bench.submit() for _ in range(3)]
    launched = await bench.launched(4)
    again: list[Event] = []
    busy_event.on_settled = lambda: again.append(bench.submit())
    started: list[object] = []
    bench.host.start = lambda pool, **_: started.append(pool)  # type: ignore[assignment,method-assign]
    await bench.host.close()
    assert started == []
    await bench.until(lambda: not bench.tasks)
    assert busy_event.outcome == (failures.exited(busy_event.request_id, Exit(signal=9)), UNHANDLED)
    assert [event.rejections for event in [*waiting, *again]] == [[SHUTTING_DOWN]] * 4
    assert all(environment.state is State.TERMINATED for environment in [idle, *launched])
    assert bench.host.environments == {}
    late = bench.submit()
    assert late.rejections == [SHUTTING_DOWN]


@pytest.mark.parametrize("before_close", [True, False])
@scenario()
async def test_closing_while_code_is_being_prepared(bench: Bench, before_close: bool) -> None:
    gate = asyncio.Event()

    async def prepare(_key: str) -> None:
        await gate.wait()

    bench.prepare = prepare
    event = bench.submit()
    if before_close:
        await bench.until(lambda: bench.host.environments)
    await bench.host.close()
    gate.set()
    await bench.until(lambda: not bench.tasks)
    assert event.rejections == [SHUTTING_DOWN]
    assert bench.host.environments == {}
    assert bench.launchers.launches == {}
    assert not bench.clock.listeners


@scenario()
async def test_stopping_while_code_is_being_prepared(bench: Bench) -> None:
    gate = asyncio.Event()

    async def prepare(_key: str) -> None:
        await gate.wait()

    bench.prepare = prepare
    bench.submit()
    await bench.until(lambda: bench.host.environments)
    (environment,) = bench.host.environments.values()
    bench.pool.waiting.clear()
    environment.stop()
    gate.set()
    await bench.until(lambda: not bench.host.environments)
    assert environment.state is State.TERMINATED


@scenario()
async def test_one_timer_watches_over_everything(bench: Bench) -> None:
    """A caller whose next invocation starts while its last one times out must not add a timer each time."""
    environment, runtime = await bench.idle_runtime()
    for _ in range(5):
        busy = bench.submit()
        await runtime.read()
        slow_environment, _, slow = await bench.runtime()
        await runtime.respond(busy)
        await bench.ask_next(environment, runtime)
        later: list[Event] = []
        slow.on_settled = lambda later=later: later.append(bench.submit())  # type: ignore[misc]
        bench.loop.advance(3.2)
        assert slow.ended == 1
        await runtime.read()
        assert environment.invocation is later[0]
        assert bench.loop.pending == 1
        await runtime.respond(later[0])
        await bench.ask_next(environment, runtime)
        await bench.until(lambda each=slow_environment: each.state is State.TERMINATED)  # type: ignore[misc]


@scenario()
async def test_a_kept_sandbox_expires_like_an_idle_environment(bench: Bench) -> None:
    environment, _, event = await bench.runtime()
    bench.launchers.exit(environment.number, 1)
    assert event.ended == 1
    [(kept_at, sandbox)] = bench.pool.sandboxes
    bench.pool.sweep(kept_at + 10.0, idle_seconds=10.0)
    assert [each for _, each in bench.pool.sandboxes] == [sandbox]
    bench.pool.sweep(kept_at + 10.1, idle_seconds=10.0)
    assert bench.pool.sandboxes == []
    await bench.until(lambda: not sandbox.directory.exists())
