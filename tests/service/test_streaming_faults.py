"""Streams that die, that lie, that never end, and callers that go away or do not read."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until, wait_gone
from tests.service.streaming_support import ERROR, MODE, TWO_LINES, Puppets
from venturekit.service.environments import response_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet, RunningService
    from tests.service.streaming_support import Puppet, StreamClient

BEGIN = f"api.begin({MODE!r}, *{TWO_LINES!r})"
MEBIBYTE = 1024 * 1024
KERNEL_BYTES = 48 * MEBIBYTE
"""More than the buffers of two connections hold, however large the kernel lets them grow."""


@pytest.fixture
def puppets(leak_free: FunctionSet) -> Iterator[Puppets]:
    made = Puppets(leak_free)
    yield made
    made.close()


def failure(client: StreamClient) -> tuple[bytes, str, str]:
    """What came before the error, its type and its message."""
    payload, complete = client.rest()
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    return payload, details["errorType"], details.get("errorMessage", "")


def begun(puppets: Puppets, piece: bytes = b"part", **members: Any) -> tuple[str, StreamClient, Puppet]:
    """A stream whose first piece the client has."""
    name = puppets.create(**members)
    client = puppets.client(name)
    runtime = puppets.started()
    runtime.do("api.next()")
    runtime.do(f"[{BEGIN}, api.piece({piece!r})]")
    assert client.take(len(piece)) == piece
    return name, client, runtime


def serves_again(puppets: Puppets, name: str, runtime: Puppet, *, asked: bool = False) -> None:
    """The runtime serves the next invocation."""
    client = puppets.client(name)
    runtime.do("api.event()" if asked else "api.next()")
    runtime.do(f"[{BEGIN}, api.piece('well'), api.end(), api.answer()]")
    assert client.rest() == (b"well", {})


# --- runtimes that stop in the middle ---------------------------------------------------------------------------------


def test_a_runtime_that_closes_its_connection(puppets: Puppets) -> None:
    name, client, runtime = begun(puppets)
    runtime.do("api.close()")
    assert failure(client)[:2] == (b"", "Runtime.TruncatedResponse")
    runtime.do("globals().update(api=Api())")
    serves_again(puppets, name, runtime)


def test_a_runtime_that_ends_its_side_only(puppets: Puppets) -> None:
    name, client, runtime = begun(puppets)
    runtime.do("api.socket.shutdown(socket.SHUT_WR)")
    status, body = runtime.do("api.answer()")
    assert (status, json.loads(body)["errorType"]) == (400, "TruncatedHTTPRequest")
    assert failure(client)[:2] == (b"", "Runtime.TruncatedResponse")
    runtime.do("[api.close(), globals().update(api=Api())]")
    serves_again(puppets, name, runtime)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_runtime_that_dies(puppets: Puppets, number: int) -> None:
    name, client, runtime = begun(puppets)
    os.kill(runtime.pid, number)
    # Whichever is noticed first: the end of the connection, or that of the process.
    assert failure(client)[1] in ("Runtime.TruncatedResponse", "Runtime.ExitError")
    client = puppets.client(name)
    other = puppets.started()
    other.do("api.next()")
    other.do(f"[{BEGIN}, api.piece('other'), api.end(), api.answer()]")
    assert client.rest() == (b"other", {})


def test_the_memory_limit_names_itself(puppets: Puppets) -> None:
    _name, client, runtime = begun(puppets, MemorySize=128)
    runtime.start("[bytearray(b'x') * 400_000_000, signal.pause()]")
    _payload, kind, message = failure(client)
    assert kind == "Runtime.ExitError"
    assert message.endswith("Error: Runtime exited with error: signal: killed")


def test_the_timeout_in_the_middle(puppets: Puppets, shared_service: RunningService) -> None:
    name, client, runtime = begun(puppets)
    expire(shared_service)
    payload, kind, message = failure(client)
    assert (payload, kind) == (b"", "Sandbox.Timedout")
    assert message.endswith("Error: Task timed out after 60.00 seconds")
    wait_gone([runtime.pid])
    client = puppets.client(name)
    other = puppets.started()
    other.do("api.next()")
    other.do(f"[{BEGIN}, api.end(), api.answer()]")
    assert client.rest() == (b"", {})


def test_a_response_that_never_ends_is_stopped_by_the_timeout(puppets: Puppets, shared_service: RunningService) -> None:
    _name, client, runtime = begun(puppets)
    runtime.start("[api.piece('more') for _ in iter(int, 1)]")
    assert client.take(8).startswith(b"moremore")
    expire(shared_service)
    assert failure(client)[1] == "Sandbox.Timedout"
    wait_gone([runtime.pid])


def expire(running: RunningService) -> None:
    """Let the time of every invocation be over now."""

    def bring_forward() -> None:
        for environment in running.service._host.watch.environments:
            environment.deadline = 0.0

    running.do(bring_forward)


def test_the_service_ends_in_the_middle(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    puppets = Puppets(running.functions())
    try:
        _name, client, _runtime = begun(puppets)
        running.close()
        assert failure(client)[1] == "Runtime.ExitError"
    finally:
        puppets.close()


# --- runtimes that break the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "status", "error_type"),
    [
        ("other.post('/response', 'x')", 400, "InvalidRequestID"),
        (f"other.post('/response', 'x', {MODE!r})", 400, "InvalidRequestID"),
        ("other.post('/response', 'x', 'Lambda-Runtime-Function-Response-Mode: odd')", 400, "InvalidRequestID"),
        (f"[other.begin({MODE!r}), other.answer()][1]", 400, "InvalidRequestID"),
        ("other.post('/error', '{}')", 400, "InvalidRequestID"),
        ("[other.ask(), other.answer()][1]", 403, "InvalidStateTransition"),
    ],
)
def test_another_answer_during_a_stream(puppets: Puppets, call: str, status: int, error_type: str) -> None:
    name, client, runtime = begun(puppets)
    answer = runtime.do(f"(globals().update(other=Api()), {call})[1]")
    assert (answer[0], json.loads(answer[1])["errorType"]) == (status, error_type)
    runtime.do("[api.piece('whole'), api.end(), api.answer(), other.close()]")
    assert client.rest() == (b"whole", {})
    serves_again(puppets, name, runtime)


@pytest.mark.parametrize("action", ["/response", "/error"])
def test_half_of_another_answer_during_a_stream(puppets: Puppets, action: str) -> None:
    name, client, runtime = begun(puppets)
    runtime.do("globals().update(other=Api())")
    runtime.do(f"[other.head('POST', own + {action!r}, 'Content-Length: 9'), other.send('half')]")
    runtime.do("other.socket.shutdown(socket.SHUT_WR)")
    assert runtime.do("other.answer()")[0] == 400
    runtime.do("[other.close(), api.piece('whole'), api.end(), api.answer()]")
    assert client.rest() == (b"whole", {})
    serves_again(puppets, name, runtime)


@pytest.mark.parametrize(
    "garbage",
    ["zz\r\nx\r\n", "-1\r\n", "5\r\nabc\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "0\r\nno colon\r\n\r\n", "\0"],
)
def test_chunks_that_are_none(puppets: Puppets, garbage: str) -> None:
    name, client, runtime = begun(puppets)
    runtime.do(f"api.send({garbage!r})")
    assert failure(client)[1] == "Runtime.TruncatedResponse"
    assert runtime.do("api.answer()")[0] == 400
    runtime.do("[api.close(), globals().update(api=Api())]")
    serves_again(puppets, name, runtime)


def test_chunk_extensions_without_end(puppets: Puppets) -> None:
    name, client, runtime = begun(puppets)
    runtime.start("[api.send('1;' + 'x' * 1_000_000) for _ in range(30)]")
    assert failure(client)[1] == "Runtime.TruncatedResponse"
    assert runtime_is_free(runtime)
    runtime.do("[api.close(), globals().update(api=Api())]")
    serves_again(puppets, name, runtime)


def runtime_is_free(runtime: Puppet) -> bool:
    """What it was sending has been cut, or is through."""
    try:
        runtime.finish()
    except AssertionError as error:
        assert "BrokenPipe" in str(error) or "ConnectionReset" in str(error)  # noqa: PT017
    return True


def test_trailers_without_end(puppets: Puppets) -> None:
    name, client, runtime = begun(puppets)
    runtime.start("[api.send('0\\r\\n'), [api.send('a: ' + 'x' * 100_000 + '\\r\\n') for _ in range(30)]]")
    assert failure(client)[1] == "Runtime.TruncatedResponse"
    assert runtime_is_free(runtime)
    runtime.do("[api.close(), globals().update(api=Api())]")
    serves_again(puppets, name, runtime)


@pytest.mark.parametrize("mode", ["buffered", "streaming2"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_unknown_mode(puppets: Puppets, mode: str, chunked: bool) -> None:
    name, client, runtime = puppets.invoked()
    header = f"Lambda-Runtime-Function-Response-Mode: {mode}"
    if chunked:
        # Refused before its body has come.
        status, body = runtime.do(f"[api.begin({header!r}), api.answer()][1]")
    else:
        status, body = runtime.do(f"api.post('/response', 'x', {header!r})")
    assert (status, json.loads(body)["errorType"]) == (400, "InvalidFunctionResponseMode")
    assert failure(client)[:2] == (b"", "Runtime.InvalidResponseModeHeader")
    if chunked:
        runtime.do("[api.close(), globals().update(api=Api())]")
    serves_again(puppets, name, runtime)


@pytest.mark.parametrize(
    ("trailers", "details"),
    [
        ((f"{ERROR}Type: Function.Bad", f"{ERROR}Body: ***"), '{"errorType":"Function.Bad","errorMessage":""}'),
        ((f"{ERROR}Body: bm8gSlNPTg==",), "no JSON"),
        ((f"{ERROR}Body: ***",), '{"errorType":"Runtime.Unknown","errorMessage":""}'),
        ((f"{ERROR}Type: E", f"{ERROR}Body: /w=="), "\ufffd"),
        ((f"{ERROR}Type: \xe9", f"{ERROR}Body: "), '{"errorType":"Runtime.Unknown","errorMessage":""}'),
        ((f"{ERROR}Type: A", f"{ERROR}Type: Runtime.Bad"), '{"errorType":"Runtime.Bad","errorMessage":""}'),
    ],
)
def test_trailers_that_lie(puppets: Puppets, trailers: tuple[str, ...], details: str) -> None:
    name, client, runtime = begun(puppets)
    runtime.do(f"[api.end(*{trailers!r}), api.answer()]")
    assert client.rest() == (b"", {"ErrorCode": "Unhandled", "ErrorDetails": details})
    serves_again(puppets, name, runtime)


@pytest.mark.parametrize("trailers", [(f"{ERROR}Type: ", f"{ERROR}Body: "), ("X-Other: error",), (f"{ERROR}Types: E",)])
def test_trailers_that_say_nothing(puppets: Puppets, trailers: tuple[str, ...]) -> None:
    _name, client, runtime = begun(puppets)
    runtime.do(f"[api.end(*{trailers!r}), api.answer()]")
    assert client.rest() == (b"", {})


def test_an_error_that_no_event_can_hold_is_cropped(puppets: Puppets) -> None:
    _name, client, runtime = puppets.invoked()
    runtime.do("api.post('/error', chr(0) * 6_000_000)")
    payload, complete = client.rest()
    assert payload == b""
    assert complete["ErrorDetails"] == "\0" * MEBIBYTE


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_the_largest_stream_and_one_byte_more(puppets: Puppets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_body, "STREAM_LIMIT_BYTES", 7 * MEBIBYTE)
    check_the_limit(puppets, 7 * MEBIBYTE)


@pytest.mark.full
def test_the_largest_stream_of_all(puppets: Puppets) -> None:
    check_the_limit(puppets, 200 * MEBIBYTE)


def check_the_limit(puppets: Puppets, limit: int) -> None:
    name, client, runtime = puppets.invoked()
    pieces = f"[api.piece(bytes(65536)) for _ in range({limit // 65536})]"
    runtime.start(f"[{BEGIN}, {pieces}, api.end(), api.answer()][-1][0]")
    payload, complete = client.rest()
    assert (len(payload), complete) == (limit, {})
    assert runtime.finish() == 202
    client = puppets.client(name)
    runtime.do("api.next()")
    runtime.start(f"[{BEGIN}, {pieces}, api.piece('x'), api.answer()][-1]")
    payload, kind, message = failure(client)
    assert limit - 262_144 <= len(payload) <= limit
    assert (kind, message) == (
        "Function.ResponseSizeTooLarge",
        f"Response payload size exceeded maximum allowed payload size ({limit} bytes).",
    )
    status, body = runtime.finish()
    assert (status, json.loads(body)["errorType"]) == (413, "RequestEntityTooLarge")
    runtime.do("[api.close(), globals().update(api=Api())]")
    serves_again(puppets, name, runtime)


# --- callers ----------------------------------------------------------------------------------------------------------


def test_a_caller_who_goes_away(puppets: Puppets) -> None:
    name, client, runtime = begun(puppets)
    client.close()
    # As on AWS the function runs on; nobody gets what it sends.
    runtime.do("[api.piece(bytes(1_000_000)) for _ in range(20)][-1]")
    assert runtime.do("[api.end(), api.answer()][1][0]") == 202
    serves_again(puppets, name, runtime)


def test_a_caller_who_goes_away_while_he_holds_the_runtime_up(puppets: Puppets, shared_service: RunningService) -> None:
    name, client, runtime = begun(puppets)
    left = filled(shared_service, runtime, 2 * KERNEL_BYTES)
    client.close()
    runtime.do(f"api.send(bytes({left}))")
    assert runtime.do("[api.send('\\r\\n'), api.end(), api.answer()][2][0]") == 202
    serves_again(puppets, name, runtime)


def test_a_caller_who_does_not_read_holds_the_runtime_up(puppets: Puppets, shared_service: RunningService) -> None:
    total = 2 * KERNEL_BYTES
    _name, client, runtime = begun(puppets)
    left = filled(shared_service, runtime, total)
    assert left > total - KERNEL_BYTES, "what is under way is bounded"
    buffered = sum(buffers(shared_service))
    assert buffered < MEBIBYTE, "and the service keeps little of it"
    # He reads on: the rest comes, and all of it is right.
    runtime.start(f"[api.send(bytes({left})), api.send('\\r\\n'), api.end(), api.answer()][3][0]")
    payload, complete = client.rest()
    assert (len(payload), complete) == (total, {})
    assert runtime.finish() == 202


def test_a_caller_who_never_reads_is_cut_off(puppets: Puppets, start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    clock = running.service._host.clock
    mine = Puppets(running.functions())
    try:
        name, _client, runtime = begun(mine)
        left = filled(running, runtime, 2 * KERNEL_BYTES)
        # The first look notes what he leaves unread, which may still have changed at the second.
        for seconds in (0, 31, 31):
            running.do(lambda seconds=seconds: clock.advance(clock.now + seconds, time.time()))
        # The runtime goes on as if the caller had gone away.
        assert runtime.do(f"[api.send(bytes({left})), api.send('\\r\\n'), api.end(), api.answer()][3][0]") == 202
        serves_again(mine, name, runtime)
    finally:
        mine.close()


def test_the_timeout_while_the_caller_does_not_read(puppets: Puppets, shared_service: RunningService) -> None:
    _name, client, runtime = begun(puppets)
    filled(shared_service, runtime, 2 * KERNEL_BYTES)
    expire(shared_service)
    wait_gone([runtime.pid])
    payload, kind, _message = failure(client)
    assert (len(payload) < KERNEL_BYTES, kind) == (True, "Sandbox.Timedout")


def filled(running: RunningService, runtime: Puppet, total: int) -> int:
    """Let the runtime send one piece of ``total`` bytes until nothing goes on any more. Returns what is left of it."""
    runtime.do(f"api.send('{total:x}\\r\\n')")
    left = total

    def stuck() -> bool:
        nonlocal left
        sent = runtime.do(f"api.push({left})")
        left -= sent
        return not sent and running.do(lambda: any(each.reading_paused for each in runtime_connections(running)))

    until(stuck, "the runtime is held up")
    return left


def runtime_connections(running: RunningService) -> list[Any]:
    environments = running.service._host.environments.values()
    return [connection for environment in environments for connection in environment.listener.connections]


def buffers(running: RunningService) -> list[int]:
    """The bytes that the service has not sent yet, by connection of a caller."""
    connections = running.service._listener.connections
    return running.do(lambda: [each.transport.get_write_buffer_size() for each in connections])


# --- the others -------------------------------------------------------------------------------------------------------


def test_other_functions_are_served_while_a_stream_floods(puppets: Puppets) -> None:
    other = puppets.functions.create("def handler(event, context):\n    return event\n")
    assert puppets.functions.invoke(other, 0).value == 0
    _name, client, runtime = begun(puppets)
    # Pieces of one byte are the dearest there are. It goes on until it is told something else.
    told = "iter(lambda: select.select([control], [], [], 0)[0], [control])"
    runtime.start(f"len([api.send(b'1\\r\\nx\\r\\n' * 10_000) for _ in {told}])")
    reading = puppets.apart(client.rest)
    for number in range(10):
        assert puppets.functions.invoke(other, number).value == number
    assert not reading.done()
    runtime.start("[api.end(), api.answer()]")
    sent = runtime.finish() * 10_000
    runtime.finish()
    payload, complete = reading.result(60)
    assert (payload == b"x" * sent, complete) == (True, {})
