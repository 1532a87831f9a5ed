"""Environments that have several invocations at once, with a scripted runtime and a manual clock."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.service.runtime_support import INIT_ERROR, NEXT, PREFIX, Answer, Event, ScriptedLaunchers, scenario
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.multi_concurrent import MultiConcurrentEnvironment
from venturekit.service.environments.pool import GRACE_SECONDS, UNSTARTED

if TYPE_CHECKING:
    from tests.service.runtime_support import Bench, RuntimeConnection

UNHANDLED = b"Unhandled"
MANAGED = {"initialization_type": "lambda-managed-instances", "log_format": "JSON"}
THREE = {**MANAGED, "max_concurrency": 3}
UNKNOWN = "ffffffff-0000-4000-8000-000000000000"


async def workers(bench: Bench, environment: MultiConcurrentEnvironment, count: int) -> list[RuntimeConnection]:
    """Workers of a runtime that wait for events."""
    found = []
    for _ in range(count):
        worker = await bench.connect(environment)
        before = len(environment._waiting_calls) + len(environment.running)
        worker.ask("GET", NEXT)
        await bench.until(lambda: len(environment._waiting_calls) + len(environment.running) > before)  # noqa: B023
        found.append(worker)
    return found


async def started(bench: Bench, count: int) -> tuple[MultiConcurrentEnvironment, list[RuntimeConnection], Event]:
    """An environment with so many workers, the first of which has an event."""
    event = bench.submit()
    environment = (await bench.launched())[-1]
    assert isinstance(environment, MultiConcurrentEnvironment)
    found = await workers(bench, environment, count)
    assert request_id(await found[0].read()) == event.request_id
    return environment, found, event


def request_id(answer: Answer) -> bytes:
    assert answer.status == 200
    return answer.headers["lambda-runtime-aws-request-id"].encode()


# --- several at once --------------------------------------------------------------------------------------------------


@scenario(**THREE)
async def test_invocations_share_an_environment_and_end_in_any_order(bench: Bench) -> None:
    environment, (one, two, three), first = await started(bench, 3)
    second, third = bench.submit(b'"2"'), bench.submit(b'"3"')
    assert [(await worker.read()).body for worker in (two, three)] == [b'"2"', b'"3"']
    assert len(environment.running) == 3
    bench.check_counters()
    assert (await two.respond(second, b'"second"')).status == 202
    assert (await three.fail(third)).status == 202
    bench.check_counters()
    assert (await one.respond(first, b'"first"')).status == 202
    outcomes = [event.outcome for event in (first, second, third)]
    assert outcomes == [(b'"first"', b""), (b'"second"', b""), (b'{"errorType":"E"}', UNHANDLED)]
    assert len(bench.host.environments) == 1
    bench.check_counters()


@scenario(**THREE)
async def test_an_answer_may_come_over_another_connection(bench: Bench) -> None:
    environment, _, event = await started(bench, 1)
    assert (await (await bench.connect(environment)).respond(event)).status == 202
    assert event.outcome == (b'"done"', b"")


@scenario(**THREE)
async def test_a_worker_may_wait_for_the_next_event_before_it_answers(bench: Bench) -> None:
    environment, (worker,), first = await started(bench, 1)
    results = await bench.connect(environment)
    for _ in range(5):
        worker.ask("GET", NEXT)
        await bench.until(lambda: environment.is_free)
        second = bench.submit()
        assert request_id(await worker.read()) == second.request_id
        assert [*environment.running] == [first.request_id, second.request_id]
        assert (await results.respond(first)).status == 202
        first = second
        bench.check_counters()
    assert len(bench.host.environments) == 1


@scenario(**THREE)
async def test_workers_take_turns(bench: Bench) -> None:
    _, (one, two, three), event = await started(bench, 3)
    for worker, following in ((one, two), (two, three), (three, one)):
        await worker.respond(event)
        worker.ask("GET", NEXT)
        event = bench.submit()
        assert request_id(await following.read()) == event.request_id


@scenario(**THREE)
async def test_no_more_than_its_limit_are_handed_to_an_environment(bench: Bench) -> None:
    environment, (worker,), first = await started(bench, 1)
    for _ in range(2):
        worker.ask("GET", NEXT)
        await bench.until(lambda: environment.is_free)
        bench.submit()
        await worker.read()
    worker.ask("GET", NEXT)
    await bench.until(lambda: environment._waiting_calls)
    fourth = bench.submit()
    assert len(environment.running) == 3
    assert fourth.request_id not in environment.running
    # Another environment starts for it, but this one has a place for it sooner.
    bench.loop.advance(GRACE_SECONDS * 1.1)
    await bench.launched(2)
    assert (await (await bench.connect(environment)).respond(first)).status == 202
    assert request_id(await worker.read()) == fourth.request_id
    bench.check_counters()


@scenario(**THREE)
async def test_one_environment_starts_for_as_many_as_it_takes(bench: Bench) -> None:
    events = [bench.submit() for _ in range(7)]
    assert bench.pool.starting == 3
    first, second, third = await bench.launched(3)
    for environment, begin in ((second, 0), (first, 3), (third, 6)):
        assert isinstance(environment, MultiConcurrentEnvironment)
        found = await workers(bench, environment, 3)
        expected = {event.request_id for event in events[begin : begin + 3]}
        got = {request_id(await worker.read()) for worker in found[: len(expected)]}
        assert got == expected
    bench.check_counters()


@scenario(**THREE)
async def test_calls_of_next_beyond_the_limit_get_500(bench: Bench) -> None:
    environment, (one, *_), event = await started(bench, 4)
    assert len(environment._waiting_calls) == 3
    refused = await (await bench.connect(environment)).call("GET", NEXT)
    assert (refused.status, json.loads(refused.body)["errorType"]) == (500, "Runtime.TooManyNextRequests")
    await one.respond(event)
    bench.check_counters()


@scenario(**THREE)
async def test_a_worker_that_has_answered_is_waited_for_a_moment(bench: Bench) -> None:
    _, (worker,), event = await started(bench, 1)
    await worker.respond(event)
    following = bench.submit()
    bench.loop.advance(GRACE_SECONDS * 0.9)
    assert bench.pool.starting == 0
    worker.ask("GET", NEXT)
    assert request_id(await worker.read()) == following.request_id
    await worker.respond(following)
    bench.submit()
    bench.loop.advance(GRACE_SECONDS * 1.1)
    assert bench.pool.starting == 1
    await bench.launched(2)
    bench.check_counters()


@scenario(**{**MANAGED, "max_concurrency": 1})
async def test_a_limit_of_one_is_allowed(bench: Bench) -> None:
    _, (worker,), event = await started(bench, 1)
    other = bench.submit()
    await worker.respond(event)
    worker.ask("GET", NEXT)
    assert request_id(await worker.read()) == other.request_id
    bench.check_counters()


# --- timeouts ---------------------------------------------------------------------------------------------------------


@scenario(timeout_ms=3000, **THREE)
async def test_one_that_runs_out_of_time_interrupts_nothing(bench: Bench) -> None:
    environment, (one, two), first = await started(bench, 2)
    bench.loop.advance(2)
    second = bench.submit()
    await two.read()
    bench.loop.advance(1.1)
    body, error = first.outcome
    assert error == UNHANDLED
    expected = f"RequestId: {first.request_id.decode()} Error: Task timed out after 3.00 seconds"
    assert json.loads(body) == {"errorType": "Sandbox.Timedout", "errorMessage": expected}
    assert (environment.state, bench.launchers.killed, second.ended) == (State.IDLE, [], 0)
    bench.check_counters()
    for action in ("response", "error"):
        late = await one.call("POST", f"{PREFIX}/invocation/{first.request_id.decode()}/{action}", body=b"1")
        assert (late.status, json.loads(late.body)["errorType"]) == (410, "InvocationTimedOut")
    unknown = await one.call("POST", f"{PREFIX}/invocation/{UNKNOWN}/response", body=b"1")
    assert (unknown.status, json.loads(unknown.body)["errorType"]) == (400, "InvalidRequestID")
    again = await two.respond(second)
    assert (again.status, (await two.respond(second)).status) == (202, 400)
    # The worker that was late comes back.
    one.ask("GET", NEXT)
    third = bench.submit()
    assert request_id(await one.read()) == third.request_id
    bench.check_counters()


@scenario(timeout_ms=1000, **THREE)
async def test_a_streamed_answer_that_is_late_ends_with_410(bench: Bench) -> None:
    _, (worker,), event = await started(bench, 1)
    target = f"{PREFIX}/invocation/{event.request_id.decode()}/response"
    fields = {
        "Lambda-Runtime-Function-Response-Mode": "streaming",
        "Transfer-Encoding": "chunked",
        "Content-Length": "",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    worker.send(f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{worker.port}\r\n{head}\r\n3\r\nabc\r\n".encode())
    environment = next(iter(bench.host.environments.values()))
    assert isinstance(environment, MultiConcurrentEnvironment)
    await bench.until(lambda: any(seat.streaming for seat in environment.running.values()))
    bench.loop.advance(1.1)
    assert event.outcome[1] == UNHANDLED
    worker.send(b"0\r\n\r\n")
    assert (await worker.read()).status == 410
    bench.check_counters()


@scenario(timeout_ms=1000, **THREE)
async def test_one_whose_workers_all_hang_goes_in_time(bench: Bench) -> None:
    environment, _, event = await started(bench, 1)
    bench.loop.advance(1.1)
    assert event.ended == 1
    bench.host.sweep(bench.clock.now + 299)
    assert environment.state is State.IDLE
    bench.submit()
    bench.loop.advance(GRACE_SECONDS * 1.1)
    await bench.launched(2)
    bench.host.sweep(bench.clock.now + 301)
    await bench.until(lambda: environment.state is State.TERMINATED)
    bench.check_counters()


# --- ends -------------------------------------------------------------------------------------------------------------


@scenario(**THREE)
async def test_all_fail_when_the_process_ends(bench: Bench) -> None:
    environment, (_, two, _three), first = await started(bench, 3)
    second = bench.submit()
    await two.read()
    bench.launchers.exit(environment.number, 3)
    for event in (first, second):
        body, error = event.outcome
        assert (error, json.loads(body)["errorType"]) == (UNHANDLED, "Runtime.ExitError")
        assert event.request_id.decode() in json.loads(body)["errorMessage"]
    assert environment.state is State.TERMINATED
    assert bench.pool.idle == []


@scenario(**THREE)
async def test_an_init_error_is_the_outcome_of_as_many_as_it_would_have_had(bench: Bench) -> None:
    events = [bench.submit() for _ in range(4)]
    environment, _ = await bench.launched(2)
    runtime = await bench.connect(environment)
    error = b'{"errorType":"Broken"}'
    assert (await runtime.call("POST", INIT_ERROR, body=error)).status == 202
    assert [event.outcomes for event in events] == [[(error, UNHANDLED)]] * 3 + [[]]
    assert (await (await bench.connect(environment)).call("POST", INIT_ERROR, body=error)).status == 403
    assert (await runtime.call("GET", NEXT)).status == 403


@scenario(**THREE)
async def test_an_init_phase_has_its_own_long_limit(bench: Bench) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    bench.loop.advance(129)
    assert environment.state is State.STARTING
    bench.loop.advance(2)
    assert json.loads(event.outcome[0])["errorType"] == "Sandbox.Timedout"
    assert bench.launchers.killed == [environment.number]


@scenario(timeout_ms=1_000_000, **THREE)
async def test_the_limit_of_the_init_phase_is_bounded(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    assert environment.deadline - environment.started_at == 900


@pytest.mark.parametrize("how", ["close", "reset"])
@scenario(**THREE)
async def test_a_worker_that_is_gone_gets_nothing(bench: Bench, how: str) -> None:
    environment, (one, two), event = await started(bench, 2)
    getattr(two, how)()
    if how == "reset":
        await bench.until(lambda: not environment._waiting_calls)
    else:
        await bench.until(
            lambda: any(call.connection.eof for call in environment._waiting_calls) or not environment._waiting_calls
        )
    following = bench.submit()
    bench.loop.advance(GRACE_SECONDS * 1.1)
    assert bench.pool.starting == 1
    await one.respond(event)
    one.ask("GET", NEXT)
    assert request_id(await one.read()) == following.request_id
    bench.check_counters()


@scenario(**THREE)
async def test_an_answer_that_breaks_off_fails_its_own_invocation_only(bench: Bench) -> None:
    _, (one, two), first = await started(bench, 2)
    second = bench.submit()
    await two.read()
    target = f"{PREFIX}/invocation/{second.request_id.decode()}/response"
    two.send(f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{two.port}\r\nContent-Length: 10\r\n\r\nabc".encode())
    two.close()
    await bench.until(lambda: second.ended)
    assert json.loads(second.outcome[0])["errorType"] == "Runtime.TruncatedResponse"
    assert (await one.respond(first)).status == 202
    bench.check_counters()


@scenario(**THREE)
async def test_an_outdated_one_goes_when_it_has_answered_all(bench: Bench) -> None:
    environment, (one, two), first = await started(bench, 2)
    second = bench.submit()
    await two.read()
    bench.pool.retire()
    await one.respond(first)
    assert environment.state is State.IDLE
    await two.respond(second)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert (first.outcome, second.outcome) == ((b'"done"', b""), (b'"done"', b""))
    assert bench.host.pools == {}


@scenario(**THREE)
async def test_idle_ones_are_let_go_and_busy_ones_are_not(bench: Bench) -> None:
    environment, (worker, *_), event = await started(bench, 2)
    bench.host.sweep(bench.clock.now + 10_000)
    assert environment.state is State.IDLE
    await worker.respond(event)
    bench.host.sweep(bench.clock.now + 301)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert bench.pool.idle == []


@scenario(**THREE)
async def test_the_service_stops(bench: Bench) -> None:
    environment, (_, two), first = await started(bench, 2)
    second = bench.submit()
    await two.read()
    bench.pool.stop()
    for event in (first, second):
        assert json.loads(event.outcome[0])["errorType"] == "Runtime.ExitError"
    await bench.until(lambda: environment.state is State.TERMINATED)


# --- logs -------------------------------------------------------------------------------------------------------------


def log_connection(bench: Bench) -> socket.socket:
    environ = next(iter(bench.launchers.launches.values())).environ
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(environ["_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET"])
    return connection


@scenario(**THREE)
async def test_lines_of_workers_do_not_mix(bench: Bench) -> None:
    _, (one, two), first = await started(bench, 2)
    second = bench.submit()
    await two.read()
    a, b = log_connection(bench), log_connection(bench)
    a.sendall(b"the first ")
    b.sendall(b"another line\nthe second ")
    a.sendall(b"half\n")
    await one.respond(first)
    assert [line for line in bench.log().splitlines() if line[:1] != "{"] == ["another line", "the first half"] or [
        line for line in bench.log().splitlines() if line[:1] != "{"
    ] == ["the first half", "another line"]
    b.close()
    await two.respond(second)
    assert "the second \n" in bench.log()
    a.close()


@scenario(application_log_level="WARN", **THREE)
async def test_levels_hold_for_what_workers_write(bench: Bench) -> None:
    _, (worker,), event = await started(bench, 1)
    connection = log_connection(bench)
    connection.sendall(b'{"level":"INFO","message":"hidden"}\n{"level":"ERROR","message":"shown"}\n')
    await worker.respond(event)
    assert "shown" in bench.log()
    assert "hidden" not in bench.log()
    connection.close()


@scenario(**THREE)
async def test_the_socket_goes_with_the_environment(bench: Bench) -> None:
    environment, *_ = await started(bench, 1)
    path = bench.launchers.launches[environment.number].environ["_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET"]
    assert os.path.exists(path)
    bench.pool.stop()
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert not os.path.exists(os.path.dirname(path))


@scenario(**THREE)
async def test_the_tail_of_a_log_is_what_names_the_invocation(bench: Bench) -> None:
    event = bench.submit(tail=True)
    (environment,) = await bench.launched()
    assert isinstance(environment, MultiConcurrentEnvironment)
    one, two = await workers(bench, environment, 2)
    await one.read()
    other = bench.submit(tail=True)
    await two.read()
    connection = log_connection(bench)
    for each in (event, other):
        connection.sendall(b'{"requestId":"%b","message":"mine"}\n' % each.request_id)
    connection.sendall(b'{"message":"nobody\'s"}\n')
    await one.respond(event)
    await two.respond(other)
    for each in (event, other):
        lines = [json.loads(line) for line in each.log_tail.splitlines()]
        assert [line.get("type", line.get("message")) for line in lines] == [
            "platform.start",
            "mine",
            "platform.report",
        ]
        assert all(each.request_id.decode() in json.dumps(line) for line in lines)
    connection.close()


@scenario(**THREE)
async def test_reports_have_the_times_of_their_own_invocations(bench: Bench) -> None:
    _, (one, two), first = await started(bench, 2)
    bench.loop.advance(1)
    second = bench.submit()
    await two.read()
    bench.loop.advance(0.5)
    await one.respond(first)
    await two.respond(second)
    records = [json.loads(line) for line in bench.log().splitlines()]
    reports = {
        each["record"]["requestId"]: each["record"]["metrics"] for each in records if each["type"] == "platform.report"
    }
    assert reports[first.request_id.decode()]["durationMs"] == 1500
    assert reports[second.request_id.decode()]["durationMs"] == 500
    assert "initDurationMs" not in reports[first.request_id.decode()]
    kinds = {each["record"]["initializationType"] for each in records if "init" in each["type"].lower()}
    assert kinds == {"lambda-managed-instances"}


# --- what the runtime is told -----------------------------------------------------------------------------------------


@scenario(**THREE)
async def test_the_variables_say_that_it_is_multi_concurrent(bench: Bench) -> None:
    environment, *_ = await started(bench, 1)
    environ = bench.launchers.launches[environment.number].environ
    assert environ["AWS_LAMBDA_MAX_CONCURRENCY"] == "3"
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    assert environ["AWS_LAMBDA_LOG_FORMAT"] == "JSON"


@scenario(**THREE)
async def test_extensions_hear_of_no_invocation(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    fields = {"Lambda-Extension-Name": "inside"}
    refused = await runtime.call("POST", "/2020-01-01/extension/register", fields, b'{"events":["INVOKE"]}')
    assert (refused.status, json.loads(refused.body)["errorType"]) == (403, "Extension.InvalidEventType")
    assert (await runtime.call("POST", "/2020-01-01/extension/register", fields, b'{"events":[]}')).status == 200


@scenario(**THREE)
async def test_a_crowd_of_invocations_is_answered_once_each(bench: Bench) -> None:
    events = [bench.submit(str(number).encode()) for number in range(60)]
    environments = await bench.launched(bench.host.settings.starting_limit)

    async def work(environment: MultiConcurrentEnvironment) -> None:
        connection = await bench.connect(environment)
        while True:
            answer = await connection.call("GET", NEXT)
            target = f"{PREFIX}/invocation/{answer.headers['lambda-runtime-aws-request-id']}/response"
            assert (await connection.call("POST", target, body=answer.body)).status == 202

    tasks = [asyncio.ensure_future(work(each)) for each in environments for _ in range(3)]  # type: ignore[arg-type]
    await bench.until(lambda: all(event.ended for event in events))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [event.outcome for event in events] == [(str(number).encode(), b"") for number in range(60)]


@scenario(**THREE)
async def test_the_other_workers_of_an_environment_are_waited_for(bench: Bench) -> None:
    events = [bench.submit() for _ in range(3)]
    (environment,) = await bench.launched()
    for event in events:
        worker = await bench.connect(environment)
        assert request_id(await worker.call("GET", NEXT)) == event.request_id
        assert bench.pool.starting == 0
        bench.check_counters()


# --- what happens in the middle of something else ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "extension"])
@scenario(**THREE)
async def test_what_follows_the_end_of_an_environment_is_not_handed_to_it(bench: Bench, how: str) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    assert isinstance(environment, MultiConcurrentEnvironment)
    extension = await bench.connect(environment)
    prefix, name = "/2020-01-01/extension", {"Lambda-Extension-Name": "inside"}
    registered = await extension.call("POST", f"{prefix}/register", name, b'{"events":[]}')
    fields = {
        "Lambda-Extension-Identifier": registered.headers["lambda-extension-identifier"],
        "Lambda-Extension-Function-Error-Type": "Extension.Odd",
    }
    extension.ask("GET", f"{prefix}/event/next", fields)
    one, _ = await workers(bench, environment, 2)
    assert request_id(await one.read()) == event.request_id
    following: list[Event] = []
    event.on_settled = lambda: following.append(bench.submit())
    if how == "exit":
        bench.launchers.exit(environment.number, 1)
    else:
        other = await bench.connect(environment)
        assert (await other.call("POST", f"{prefix}/exit/error", fields)).status == 202
    assert event.ended == 1
    assert environment.running == {}
    assert [*bench.pool.waiting] == following
    (another,) = [each for each in await bench.launched() if each is not environment]
    assert request_id(await (await bench.connect(another)).call("GET", NEXT)) == following[0].request_id


@scenario(**THREE)
async def test_starts_are_counted_after_an_init_phase_that_ran_out_of_time(bench: Bench) -> None:
    first = bench.submit()
    environment, *_ = await bench.launched()
    bench.loop.advance(131)
    assert first.ended == 1
    second = bench.submit()
    await bench.until(lambda: environment.state is State.TERMINATED)
    (another,) = await bench.launched()
    assert another.sandbox is not environment.sandbox
    bench.check_counters()
    assert request_id(await (await bench.connect(another)).call("GET", NEXT)) == second.request_id
    bench.check_counters()


@scenario(**{**MANAGED, "max_concurrency": 1})
async def test_a_worker_may_ask_again_while_an_extension_initialises(bench: Bench) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    assert isinstance(environment, MultiConcurrentEnvironment)
    extension = await bench.connect(environment)
    prefix, name = "/2020-01-01/extension", {"Lambda-Extension-Name": "inside"}
    registered = await extension.call("POST", f"{prefix}/register", name, b'{"events":[]}')
    (impatient,) = await workers(bench, environment, 1)
    impatient.writer.write_eof()
    await bench.until(lambda: environment._waiting_calls[0].connection.eof)
    again = await bench.connect(environment)
    again.ask("GET", NEXT)
    assert await impatient.at_end()
    identifier = {"Lambda-Extension-Identifier": registered.headers["lambda-extension-identifier"]}
    extension.ask("GET", f"{prefix}/event/next", identifier)
    assert request_id(await again.read()) == event.request_id


@scenario(**THREE)
async def test_an_environment_whose_launcher_is_dying_gets_nothing_new(bench: Bench) -> None:
    environment, (one, _), first = await started(bench, 2)
    bench.host._on_dying([environment.number])
    following = bench.submit()
    assert following.request_id not in environment.running
    assert (await one.respond(first)).status == 202
    assert following.ended == 0
    bench.launchers.lose(*[number for number in bench.launchers.launches if number == environment.number])
    (another,) = [each for each in await bench.launched() if each is not environment]
    assert request_id(await (await bench.connect(another)).call("GET", NEXT)) == following.request_id
    bench.check_counters()


# --- bounds -----------------------------------------------------------------------------------------------------------


def bounded(bench: Bench, most: int) -> None:
    bench.host.most_environments[bench.pool.spec.function_arn, bench.pool.spec.function_version] = most


@scenario(**THREE)
async def test_those_that_are_kept_initialised_count_as_soon_as_they_start(bench: Bench) -> None:
    bounded(bench, 2)
    bench.host.provisioner.want(bench.pool, 2)
    events = [bench.submit() for _ in range(4)]
    environments = await bench.launched(2)
    bench.loop.advance(1)
    assert len(await bench.launched(2)) == 2
    for environment in environments:
        assert isinstance(environment, MultiConcurrentEnvironment)
        for worker in await workers(bench, environment, 2):
            assert request_id(await worker.read()) in {event.request_id for event in events}
    bench.host.provisioner.want(bench.pool, 0)


@scenario(**THREE)
async def test_one_that_waits_for_its_extensions_counts_once(bench: Bench) -> None:
    bounded(bench, 2)
    bench.submit()
    (environment,) = await bench.launched()
    assert isinstance(environment, MultiConcurrentEnvironment)
    extension = await bench.connect(environment)
    name = {"Lambda-Extension-Name": "inside"}
    await extension.call("POST", "/2020-01-01/extension/register", name, b'{"events":[]}')
    await workers(bench, environment, 1)
    for _ in range(3):
        bench.submit()
    assert len(await bench.launched(2)) == 2


@scenario(timeout_ms=1000, **THREE)
async def test_one_that_is_kept_initialised_and_whose_workers_all_hang_is_replaced(bench: Bench) -> None:
    bench.host.provisioner.want(bench.pool, 1)
    (environment,) = await bench.launched()
    assert isinstance(environment, MultiConcurrentEnvironment)
    (worker,) = await workers(bench, environment, 1)
    bench.host.sweep(bench.clock.now + 10_000)
    assert environment.state is State.IDLE
    event = bench.submit()
    await worker.read()
    bench.loop.advance(1.1)
    assert event.ended == 1
    bench.host.sweep(bench.clock.now + 299)
    assert environment.state is State.IDLE
    bench.host.sweep(bench.clock.now + 301)
    await bench.until(lambda: environment.state is State.TERMINATED)
    await bench.launched()
    bench.host.provisioner.want(bench.pool, 0)


@scenario(**THREE)
async def test_a_request_id_that_an_invocation_has_already_is_refused(bench: Bench) -> None:
    environment, (one, _, _), first = await started(bench, 3)
    for _ in range(2):
        again = Event(first.request_id)
        bench.pool.submit(again)
        assert (again.outcomes, len(again.rejections)) == ([], 1)
        assert "request id" in again.rejections[0]
    assert [*environment.running] == [first.request_id]
    bench.check_counters()
    assert (await one.respond(first)).status == 202
    assert first.outcome == (b'"done"', b"")
    after = Event(first.request_id)
    bench.pool.submit(after)
    assert next(iter(environment.running.values())).invocation is after


@scenario(**THREE)
async def test_two_that_wait_with_one_request_id_do_not_run_together(bench: Bench) -> None:
    first, again, other = bench.submit(), Event(b"0" * 36), bench.submit()
    again.request_id = first.request_id
    bench.pool.waiting.insert(1, again)
    (environment,) = await bench.launched()
    assert isinstance(environment, MultiConcurrentEnvironment)
    found = await workers(bench, environment, 2)
    assert [request_id(await worker.read()) for worker in found] == [first.request_id, other.request_id]
    assert (again.outcomes, len(again.rejections)) == ([], 1)
    bench.check_counters()


@pytest.mark.parametrize("how", ["reset", "close"])
@scenario(timeout_ms=60_000, **THREE)
async def test_an_event_whose_worker_ended_before_it_had_read_it_fails_at_once(bench: Bench, how: str) -> None:
    environment, (_, two), first = await started(bench, 2)
    second = bench.submit()
    if how == "close":
        # A client may close after each call: that one has its event.
        await two.read()
    connection = environment.running[second.request_id].connection
    getattr(two, how)()
    await bench.until(lambda: connection.lost)
    bench.loop.advance(0.25)
    assert first.ended == 0
    if how == "close":
        assert second.ended == 0
    else:
        body, error = second.outcome
        assert (error, json.loads(body)["errorType"]) == (UNHANDLED, "Runtime.ExitError")
        late = await (await bench.connect(environment)).respond(second)
        assert late.status == 400
    bench.check_counters()


@scenario(**THREE)
async def test_the_end_of_one_does_not_break_a_line_of_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[int] = []
    monkeypatch.setattr(
        bench.launchers, "launch", lambda spec, output, _: (outputs.append(os.dup(output)), launch(spec, output))
    )
    launch = ScriptedLaunchers.launch.__get__(bench.launchers)
    _, (one, two), first = await started(bench, 2)
    second = bench.submit()
    await two.read()
    os.write(outputs[0], b"half of a line, ")
    await one.respond(first)
    os.write(outputs[0], b"and the rest\n")
    await two.respond(second)
    os.close(outputs[0])
    assert "half of a line, and the rest\n" in bench.log()


@scenario(**THREE)
async def test_the_queue_of_events_counts_workers_that_wait(bench: Bench) -> None:
    environment, (one, *_), event = await started(bench, 2)
    unstarted = UNSTARTED * 3
    # One waits, and one has not come yet.
    assert bench.pool.room == 1 + 1 + unstarted
    bench.submit()
    assert bench.pool.room == 1 + unstarted
    await one.respond(event)
    assert bench.pool.room == 2 + unstarted
    one.ask("GET", NEXT)
    await bench.until(lambda: environment.is_free)
    assert bench.pool.room == 1 + 1 + unstarted


@scenario(**THREE)
async def test_those_that_invocations_have_started_are_kept(bench: Bench) -> None:
    environment, (worker,), event = await started(bench, 1)
    bounded(bench, 1)
    bench.host.provisioner.want(bench.pool, 1)
    provision = bench.pool.provision
    assert provision is not None
    assert (provision.available, provision.allocated, provision.starting) == (1, 1, 0)
    await worker.respond(event)
    worker.ask("GET", NEXT)
    await bench.until(lambda: environment.is_free)
    bench.host.sweep(bench.clock.now + 10_000)
    assert environment.state is State.IDLE
    bench.check_counters()
    # Not any more.
    bench.host.provisioner.want(bench.pool, 0)
    await bench.until(lambda: environment.state is State.TERMINATED)
    bench.check_counters()
