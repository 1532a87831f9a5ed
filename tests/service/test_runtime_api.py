"""The Runtime API over real sockets: what each call of a runtime is answered, and what its caller gets."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.service.runtime_support import INIT_ERROR, NEXT, PREFIX, request, scenario
from venturekit.service.environments import failures
from venturekit.service.environments.failures import RESPONSE_LIMIT_BYTES, Exit
from venturekit.service.environments.lifecycle import State

if TYPE_CHECKING:
    from tests.service.runtime_support import Answer, Bench, Event

CAUSE = "application/vnd.aws.lambda.error.cause+json"
UNHANDLED = b"Unhandled"


def error_of(answer: Answer) -> tuple[int, str]:
    """Status and error type, once the form is right."""
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body)
    assert body.keys() == {"errorMessage", "errorType"}
    return answer.status, body["errorType"]


@scenario()
async def test_an_event_has_its_headers_and_its_answer_is_acknowledged(bench: Bench) -> None:
    event = bench.submit(b'{"a":1}', extra_headers=b"Lambda-Runtime-Client-Context: {}\r\n")
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    answer = await runtime.call("GET", NEXT)
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert answer.headers == {
        "content-type": "application/json",
        "lambda-runtime-aws-request-id": event.request_id.decode(),
        "lambda-runtime-deadline-ms": str(int(bench.host.wall() * 1000) + 3000),
        "lambda-runtime-invoked-function-arn": event.invoked_arn.decode(),
        "lambda-runtime-trace-id": event.trace.decode(),
        "lambda-runtime-client-context": "{}",
        "content-length": "7",
    }
    accepted = await runtime.respond(event, b"not json")
    assert (accepted.status, accepted.headers["content-type"]) == (202, "application/json")
    assert accepted.body == b'{"status":"OK"}\n'
    assert event.outcome == (b"not json", b"")


@scenario()
async def test_large_events_arrive_whole(bench: Bench) -> None:
    payload = json.dumps("é" * 1_000_000).encode()
    _, runtime, event = await bench.runtime(payload=payload)
    await runtime.respond(event)
    assert event.outcome == (b'"done"', b"")


@scenario()
async def test_answer_and_next_in_one_write(bench: Bench) -> None:
    environment, runtime, first = await bench.runtime()
    later: list[Event] = []
    first.on_settled = lambda: later.append(bench.submit(b'"second"'))
    target = f"{PREFIX}/invocation/{first.request_id.decode()}/response"
    runtime.send(request("POST", target, runtime.port, None, b"1") + request("GET", NEXT, runtime.port))
    assert (await runtime.read()).status == 202
    assert (await runtime.read()).body == b'"second"'
    assert (await runtime.respond(later[0])).status == 202
    assert len(await bench.launched()) == 1
    assert environment.state is State.RESPONDED


@scenario()
async def test_next_twice_is_refused_on_another_connection(bench: Bench) -> None:
    environment, runtime = await bench.idle_runtime()
    other = await bench.connect(environment)
    answer = await other.call("GET", NEXT)
    assert error_of(answer) == (403, "InvalidStateTransition")
    assert json.loads(answer.body)["errorMessage"] == (
        "State transition from Ready to Ready failed for runtime. Error: State transition is not allowed"
    )
    event = bench.submit(b'"still served"')
    assert (await runtime.read()).body == b'"still served"'
    assert error_of(await other.call("GET", NEXT)) == (403, "InvalidStateTransition")
    await runtime.respond(event)


@scenario()
async def test_next_pipelined_twice_is_refused_once_the_first_has_its_event(bench: Bench) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    runtime.send(2 * request("GET", NEXT, runtime.port))
    assert (await runtime.read()).status == 200
    assert error_of(await runtime.read()) == (403, "InvalidStateTransition")
    assert (await runtime.respond(event)).status == 202


@scenario()
async def test_an_answer_counts_once(bench: Bench) -> None:
    _, runtime, event = await bench.runtime()
    assert (await runtime.respond(event, b"1")).status == 202
    assert error_of(await runtime.respond(event, b"2")) == (400, "InvalidRequestID")
    assert error_of(await runtime.fail(event)) == (400, "InvalidRequestID")
    assert event.outcome == (b"1", b"")


@pytest.mark.parametrize("target", ["invocation/unknown/response", "invocation/unknown/error", "invocation//response"])
@scenario()
async def test_an_unknown_id_changes_nothing(bench: Bench, target: str) -> None:
    _, runtime, event = await bench.runtime()
    answer = await runtime.call("POST", f"{PREFIX}/{target}", None, b"x")
    assert error_of(answer) == (400, "InvalidRequestID")
    assert json.loads(answer.body)["errorMessage"] == "Invalid request ID"
    assert event.ended == 0
    assert (await runtime.respond(event)).status == 202


@scenario()
async def test_the_id_of_another_environment_is_unknown(bench: Bench) -> None:
    _, first, one = await bench.runtime()
    _, second, two = await bench.runtime()
    assert error_of(await first.respond(two)) == (400, "InvalidRequestID")
    assert (one.ended, two.ended) == (0, 0)
    assert (await second.respond(two)).status == 202
    assert (await first.respond(one)).status == 202


@scenario()
async def test_a_late_answer_is_refused(bench: Bench) -> None:
    bench.launchers.dies_when_killed = False
    environment, runtime, event = await bench.runtime()
    bench.loop.advance(3.0)
    assert event.outcome == (failures.timed_out(event.request_id, 3000), UNHANDLED)
    assert environment.state is State.STOPPING
    assert error_of(await runtime.respond(event)) == (400, "InvalidRequestID")
    assert error_of(await runtime.call("GET", NEXT)) == (403, "InvalidStateTransition")
    assert event.ended == 1


# --- error bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "posted", "received"),
    [
        ("application/json", b'{"errorType":"E","errorCause":1}', b'{"errorType":"E","errorCause":1}'),
        (CAUSE, b'{"errorMessage":"\xc3\xa9", "errorCause":{"a":[1]}}', b'{"errorMessage":"\xc3\xa9"}'),
        (CAUSE.upper() + "; charset=utf-8 ", b'{"a":1,"errorCause":2}', b'{"a":1}'),
        (CAUSE, b'{"errorMessage":"\\ud800","errorCause":0}', b'{"errorMessage":"\\ud800"}'),
        (CAUSE, b'{"errorType": "E"}', b'{"errorType": "E"}'),
        *(
            (CAUSE, bad, b'"Invalid error body"')
            for bad in (b"{", b"[]", b"[1]", b'"text"', b"7", b"null", b"", b"\xff")
        ),
        (CAUSE, b"[" * 100_000, b'"Invalid error body"'),
        ("text/plain", b"", b""),
    ],
)
@scenario("uvloop")
async def test_the_error_cause_is_cut_out(bench: Bench, content_type: str, posted: bytes, received: bytes) -> None:
    _, runtime, event = await bench.runtime()
    answer = await runtime.fail(event, posted, Content_Type=content_type)
    assert answer.status == 202
    assert event.outcome == (received, UNHANDLED)


@scenario()
async def test_a_cause_header_of_a_mebibyte(bench: Bench) -> None:
    _, runtime, event = await bench.runtime()
    answer = await runtime.fail(event, Lambda_Runtime_Function_XRay_Error_Cause="x" * (1024 * 1024))
    assert answer.status == 202
    assert event.outcome == (b'{"errorType":"E"}', UNHANDLED)


# --- chunked bodies, trailers, modes ----------------------------------------------------------------------------------

GO_TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
ENCODED = base64.b64encode(b'{"errorType":"Error"}').decode()


def chunked(port: int, target: str, trailers: str, headers: str = "") -> bytes:
    """A response as Go's runtime sends it."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n"
        f"Trailer: {GO_TRAILERS}\r\n{headers}\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n{trailers}\r\n"
    ).encode()


@pytest.mark.parametrize("mode", ["", "Lambda-Runtime-Function-Response-Mode: streaming\r\n"])
@pytest.mark.parametrize(
    ("trailers", "outcome"),
    [
        ("", (b"abcde", b"")),
        ("Other: x\r\n", (b"abcde", b"")),
        ("Lambda-Runtime-Function-Error-Type: \r\n", (b"abcde", b"")),
        (
            f"lambda-runtime-function-error-type: Error\r\nlambda-runtime-function-error-body: {ENCODED} \r\n",
            (b'{"errorType":"Error"}', UNHANDLED),
        ),
        (
            "Lambda-Runtime-Function-Error-Type: Function.Broken\r\n",
            (b'{"errorType":"Function.Broken","errorMessage":""}', UNHANDLED),
        ),
        (
            "Lambda-Runtime-Function-Error-Type: Error\r\nLambda-Runtime-Function-Error-Body: %%%\r\n",
            (b'{"errorType":"Runtime.Unknown","errorMessage":""}', UNHANDLED),
        ),
    ],
)
@scenario("uvloop")
async def test_chunked_answers(bench: Bench, trailers: str, outcome: tuple[bytes, bytes], mode: str) -> None:
    _, runtime, event = await bench.runtime()
    runtime.send(chunked(runtime.port, f"{PREFIX}/invocation/{event.request_id.decode()}/response", trailers, mode))
    assert (await runtime.read()).status == 202
    assert event.outcome == outcome


@pytest.mark.parametrize("mode", ["streaming", "Streaming", "streaming "])
@scenario("uvloop")
async def test_the_streaming_mode_is_collected(bench: Bench, mode: str) -> None:
    _, runtime, event = await bench.runtime()
    answer = await runtime.respond(event, Lambda_Runtime_Function_Response_Mode=mode)
    assert answer.status == 202
    assert event.outcome == (b'"done"', b"")


@pytest.mark.parametrize("mode", ["buffered", "", "stream\xe9ng"])
@scenario("uvloop")
async def test_an_unknown_mode_fails_the_invocation(bench: Bench, mode: str) -> None:
    _, runtime, event = await bench.runtime()
    answer = await runtime.respond(event, Lambda_Runtime_Function_Response_Mode=mode)
    assert error_of(answer) == (400, "InvalidFunctionResponseMode")
    payload, error = event.outcome
    assert error == UNHANDLED
    assert json.loads(payload)["errorType"] == "Runtime.InvalidResponseModeHeader"


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["response", "error"])
@scenario()
async def test_the_largest_answer(bench: Bench, action: str) -> None:
    _, runtime, event = await bench.runtime()
    body = b"x" * RESPONSE_LIMIT_BYTES
    answer = await runtime.call("POST", f"{PREFIX}/invocation/{event.request_id.decode()}/{action}", None, body)
    assert RESPONSE_LIMIT_BYTES == 6291556
    assert answer.status == 202
    assert event.outcome == (body, UNHANDLED if action == "error" else b"")


@pytest.mark.parametrize("action", ["response", "error"])
@scenario()
async def test_one_byte_more_is_too_large(bench: Bench, action: str) -> None:
    environment, runtime, event = await bench.runtime()
    body = b"x" * (RESPONSE_LIMIT_BYTES + 1)
    answer = await runtime.call("POST", f"{PREFIX}/invocation/{event.request_id.decode()}/{action}", None, body)
    assert error_of(answer) == (413, "RequestEntityTooLarge")
    assert json.loads(answer.body)["errorMessage"] == "Exceeded maximum allowed payload size (6291556 bytes)."
    assert event.outcome == (failures.response_too_large(), UNHANDLED)
    await bench.ask_next(environment, runtime)


@scenario()
async def test_a_chunked_answer_that_is_too_large(bench: Bench) -> None:
    _, runtime, event = await bench.runtime()
    head = f"POST {PREFIX}/invocation/{event.request_id.decode()}/response HTTP/1.1\r\nHost: localhost\r\n"
    runtime.send(f"{head}Transfer-Encoding: chunked\r\n\r\n{RESPONSE_LIMIT_BYTES + 1:x}\r\n".encode())
    runtime.send(b"x" * (RESPONSE_LIMIT_BYTES + 1) + b"\r\n0\r\n\r\n")
    assert error_of(await runtime.read()) == (413, "RequestEntityTooLarge")
    assert event.outcome == (failures.response_too_large(), UNHANDLED)


@scenario()
async def test_an_init_error_that_is_too_large(bench: Bench) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    answer = await runtime.call("POST", INIT_ERROR, None, b"x" * (RESPONSE_LIMIT_BYTES + 1))
    assert error_of(answer) == (413, "RequestEntityTooLarge")
    assert event.outcome == (failures.response_too_large(), UNHANDLED)


@pytest.mark.parametrize("action", ["response", "error"])
@pytest.mark.parametrize("framing", ["Content-Length: 100000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"])
@pytest.mark.parametrize("how", ["close", "reset"])
@scenario()
async def test_a_truncated_answer(bench: Bench, framing: str, how: str, action: str) -> None:
    environment, runtime, event = await bench.runtime()
    other = await bench.connect(environment)
    target = f"{PREFIX}/invocation/{event.request_id.decode()}/{action}"
    other.send(f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}".encode())
    await bench.until(lambda: any(each.parsing is not None for each in environment.listener.connections))
    getattr(other, how)()
    await bench.until(lambda: event.ended)
    assert event.outcome == (failures.truncated_response(event.request_id), UNHANDLED)
    assert error_of(await runtime.respond(event)) == (400, "InvalidRequestID")
    await bench.ask_next(environment, runtime)


# --- init -------------------------------------------------------------------------------------------------------------


@scenario()
async def test_an_init_error_is_the_outcome_of_the_invocation_that_waits(bench: Bench) -> None:
    event = bench.submit(tail=True)
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    error = b'{"errorMessage":"no","errorType":"Runtime.ImportModuleError","requestId":"","stackTrace":[]}'
    kind = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError "}
    answer = await runtime.call("POST", INIT_ERROR, kind, error)
    assert (answer.status, answer.body) == (202, b'{"status":"OK"}\n')
    assert event.outcome == (error, UNHANDLED)
    assert "\tStatus: error\tError Type: Runtime.ImportModuleError\n" in event.log_tail.decode()
    assert "INIT_REPORT Init Duration: 0.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.Imp" in bench.log()
    assert error_of(await runtime.call("GET", NEXT)) == (403, "InvalidStateTransition")
    assert error_of(await runtime.call("POST", INIT_ERROR, kind, error)) == (403, "InvalidStateTransition")
    bench.launchers.exit(environment.number, 1)
    assert environment.state is State.TERMINATED
    assert event.ended == 1


@scenario()
async def test_a_runtime_that_stays_after_its_init_error_is_ended(bench: Bench) -> None:
    bench.submit()
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    await runtime.call("POST", INIT_ERROR, None, b"{}")
    bench.loop.advance(1.2)
    await bench.until(lambda: environment.state is State.TERMINATED)
    assert bench.launchers.killed == [environment.number]


@scenario()
async def test_an_init_error_comes_too_late_after_next(bench: Bench) -> None:
    _, runtime, event = await bench.runtime()
    answer = await runtime.call("POST", INIT_ERROR, None, b"{}")
    assert error_of(answer) == (403, "InvalidStateTransition")
    assert json.loads(answer.body)["errorMessage"] == (
        "State transition from Running to InitError failed for runtime. Error: State transition is not allowed"
    )
    await runtime.respond(event)
    assert event.outcome == (b'"done"', b"")


@pytest.mark.parametrize("action", ["response", "error"])
@scenario()
async def test_answers_before_the_first_next(bench: Bench, action: str) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    answer = await runtime.call("POST", f"{PREFIX}/invocation/{event.request_id.decode()}/{action}", None, b"1")
    assert error_of(answer) == (400, "InvalidRequestID")
    assert (event.ended, environment.state) == (0, State.STARTING)


# --- who may ask, and for what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:{port}", "localhost:{port}"])
@scenario("uvloop")
async def test_loopback_names_are_served(bench: Bench, host: str) -> None:
    _, runtime, _event = await bench.runtime()
    answer = await runtime.call("GET", "/2018-06-01/ping", {"Host": host.format(port=runtime.port)})
    assert (answer.status, answer.body) == (200, b"pong")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
    ],
)
@pytest.mark.parametrize("size", [0, 5, 100_000])
@pytest.mark.parametrize("action", ["response", "error", "next", "init"])
@scenario("uvloop")
async def test_web_pages_are_refused(bench: Bench, headers: dict[str, str], size: int, action: str) -> None:
    environment, runtime, event = await bench.runtime()
    page = await bench.connect(environment)
    target = f"{PREFIX}/invocation/{event.request_id.decode()}/{action}"
    method, target = {"next": ("GET", NEXT), "init": ("POST", INIT_ERROR)}.get(action, ("POST", target))
    answer = await page.call(method, target, headers, b"x" * size)
    assert error_of(answer) == (403, "Forbidden")
    assert await page.at_end()
    assert (event.ended, environment.state) == (0, State.INVOKE)
    assert (await runtime.respond(event)).status == 202


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/2018-06-01"),
        ("POST", f"{PREFIX}/invocation/x"),
        ("POST", f"{PREFIX}/invocation/x/other"),
        ("POST", f"{PREFIX}/invocation/x/response/more"),
        ("GET", f"{PREFIX}/invocation/x/response"),
        ("PUT", f"{PREFIX}/invocation/x/error"),
        ("GET", INIT_ERROR),
        ("GET", f"{PREFIX}/restore/next"),
        ("POST", f"{PREFIX}/restore/error"),
        ("OPTIONS", "/2018-06-01/runtime"),
        ("DELETE", "/%00%ff"),
    ],
)
@scenario("uvloop")
async def test_unknown_paths(bench: Bench, method: str, target: str) -> None:
    _, runtime, event = await bench.runtime()
    assert error_of(await runtime.call(method, target)) == (404, "NotFound")
    assert (await runtime.respond(event)).status == 202


@pytest.mark.parametrize("target", [NEXT, f"{NEXT}?x=1"])
@scenario("uvloop")
async def test_next_takes_get_only(bench: Bench, target: str) -> None:
    _, runtime, _event = await bench.runtime()
    answer = await runtime.call("POST", target)
    assert error_of(answer) == (405, "MethodNotAllowed")
    assert answer.headers["allow"] == "GET"


@scenario()
async def test_garbage_is_refused_in_json_and_hurts_nobody(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime()
    other = await bench.connect(environment)
    other.send(b"garbage\r\n\r\n")
    answer = await other.read()
    assert error_of(answer) == (400, "InvalidRequest")
    assert answer.headers["connection"] == "close"
    assert await other.at_end()
    assert (await runtime.respond(event)).status == 202


# --- the end of the process -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "signal", "text"),
    [
        (0, None, "Runtime exited without providing a reason"),
        (1, None, "Runtime exited with error: exit status 1"),
        (None, 9, "Runtime exited with error: signal: killed"),
        (None, 11, "Runtime exited with error: signal: segmentation fault"),
    ],
)
@scenario("uvloop")
async def test_an_exit_during_an_invocation(bench: Bench, code: int | None, signal: int | None, text: str) -> None:
    environment, _runtime, event = await bench.runtime(tail=True)
    environment.wrote(b"last words\n")
    bench.launchers.exit(environment.number, code, signal)
    message = f"RequestId: {event.request_id.decode()} Error: {text}"
    assert event.outcome == (
        json.dumps({"errorType": "Runtime.ExitError", "errorMessage": message}, separators=(",", ":")).encode(),
        UNHANDLED,
    )
    tail = event.log_tail.decode()
    assert tail.startswith(f"START RequestId: {event.request_id.decode()} Version: $LATEST\nlast words\nEND RequestId")
    assert tail.endswith("Init Duration: 0.00 ms\tStatus: error\tError Type: Runtime.ExitError\n")
    assert environment.state is State.TERMINATED
    # The scratch directory and the log stream outlive the reset.
    following, runtime, after = await bench.runtime()
    assert following.sandbox is environment.sandbox
    assert (await runtime.respond(after)).status == 202


@scenario()
async def test_an_exit_during_init(bench: Bench) -> None:
    event = bench.submit()
    (environment,) = await bench.launched()
    bench.launchers.exit(environment.number, 3)
    assert event.outcome == (failures.exited(event.request_id, Exit(code=3)), UNHANDLED)
    assert environment.state is State.TERMINATED


@pytest.mark.parametrize("how", ["idle", "responded", "init_failed", "stopping"])
@scenario("uvloop")
async def test_an_exit_when_nobody_waits(bench: Bench, how: str) -> None:
    if how == "idle":
        environment, _runtime = await bench.idle_runtime()
    elif how == "init_failed":
        bench.submit()
        (environment,) = await bench.launched()
        await (await bench.connect(environment)).call("POST", INIT_ERROR, None, b"{}")
    else:
        bench.launchers.dies_when_killed = False
        environment, runtime, event = await bench.runtime()
        if how == "responded":
            await runtime.respond(event)
        else:
            environment.stop()
    assert environment.state.name.lower() == how
    bench.launchers.exit(environment.number, 0)
    assert environment.state is State.TERMINATED
    bench.check_counters()
    _, runtime, event = await bench.runtime()
    await runtime.respond(event)


@scenario()
async def test_a_lost_launcher_answers_its_invocations(bench: Bench) -> None:
    one, _, first = await bench.runtime()
    two, _, second = await bench.runtime()
    bench.launchers.lose(one.number, two.number)
    for event in (first, second):
        assert event.outcome == (failures.exited(event.request_id, Exit(signal=9)), UNHANDLED)


@scenario()
async def test_the_tail_is_bounded_and_ends_with_the_report(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime(tail=True)
    for number in range(100_000):
        environment.wrote(b"line %d of very many\n" % number)
        assert environment.journal._tail is not None
        assert len(environment.journal._tail) <= 66_000
    await runtime.respond(event)
    assert len(event.log_tail) == 4096
    assert b"line 99999 of very many\nEND RequestId: " in event.log_tail
    assert event.log_tail.endswith(b"\t\n")
