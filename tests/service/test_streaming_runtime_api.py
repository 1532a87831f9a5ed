"""Streamed responses at the Runtime API alone: the test is the runtime and the caller, and turns the clock."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.service.runtime_support import NEXT, PREFIX, Event, request, scenario
from venturekit.service.environments import failures, response_body
from venturekit.service.environments.lifecycle import State

if TYPE_CHECKING:
    from tests.service.runtime_support import Bench, RuntimeConnection

STREAMING = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked"}
UNHANDLED = b"Unhandled"
END = b"0\r\n\r\n"


def head(runtime: RuntimeConnection, event: Event, **headers: str) -> bytes:
    """How a streamed response begins."""
    lines = {"Host": f"127.0.0.1:{runtime.port}", **STREAMING}
    lines.update({name.replace("_", "-"): value for name, value in headers.items()})
    fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {target(event)} HTTP/1.1\r\n{fields}\r\n".encode()


def target(event: Event) -> str:
    return f"{PREFIX}/invocation/{event.request_id.decode()}/response"


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@scenario()
async def test_pieces_reach_the_caller_as_they_come(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event, Content_Type=" text/event-stream "))
    await bench.until(lambda: event.content_type)
    assert event.content_type == b"text/event-stream"
    for number in range(4):
        runtime.send(piece(b"%d" % number))
        await bench.until(lambda: len(event.received) == number + 1)  # noqa: B023 - it is awaited here
    assert (environment.state, event.ended) == (State.INVOKE, 0)
    runtime.send(END)
    assert (await runtime.read()).status == 202
    assert event.outcome == (b"", b"")
    assert event.received == [b"0", b"1", b"2", b"3"]
    assert environment.state is State.RESPONDED


@scenario()
async def test_what_one_write_brings_goes_on_in_one_go(bench: Bench) -> None:
    _environment, runtime, event = await bench.runtime(streams=True)
    goes: list[int] = []
    take = event.chunks

    def chunks(pieces: list[bytes]) -> bool:
        goes.append(len(pieces))
        return take(pieces)

    event.chunks = chunks  # type: ignore[method-assign, assignment]
    runtime.send(head(runtime, event) + b"".join(piece(b"x") for _ in range(200)) + END)
    assert (await runtime.read()).status == 202
    assert (b"".join(event.received), sum(goes)) == (b"x" * 200, 200)
    assert len(goes) < 20


@scenario()
async def test_a_caller_who_does_not_keep_up_stops_the_reading(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime(streams=True, keeps_up=False)
    (connection,) = environment.listener.connections
    runtime.send(head(runtime, event) + piece(b"a" * 100_000))
    await bench.until(lambda: connection.reading_paused)
    got = len(event.received)
    runtime.send(piece(b"b" * 100_000) * 40 + END)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (len(event.received), event.ended) == (got, 0), "nothing is read while he has not caught up"
    event.keeps_up = True
    assert event.resume is not None
    event.resume()
    assert (await runtime.read()).status == 202
    assert b"".join(event.received) == b"a" * 100_000 + b"b" * 4_000_000
    event.resume()  # too late to mean anything
    await bench.ask_next(environment, runtime)


@scenario()
async def test_the_time_runs_out_while_the_reading_is_stopped(bench: Bench) -> None:
    bench.launchers.dies_when_killed = False
    environment, runtime, event = await bench.runtime(streams=True, keeps_up=False)
    (connection,) = environment.listener.connections
    runtime.send(head(runtime, event) + piece(b"a"))
    await bench.until(lambda: connection.reading_paused)
    bench.loop.advance(3.0)
    assert event.outcome == (failures.timed_out(event.request_id, 3000), UNHANDLED)
    assert event.resume is not None
    event.resume()
    runtime.send(piece(b"late") + END)
    answer = await runtime.read()
    assert (answer.status, json.loads(answer.body)["errorType"]) == (400, "InvalidRequestID")
    assert event.received == [b"a"]


@scenario()
async def test_more_than_the_limit_is_told_as_soon_as_it_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_body, "STREAM_LIMIT_BYTES", 1000)
    environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event) + piece(b"x" * 1000) + piece(b"y"))
    assert (await runtime.read()).status == 413
    assert event.outcome == (failures.response_too_large(1000), UNHANDLED)
    assert b"".join(event.received) == b"x" * 1000
    # What still comes of it is dropped with its connection.
    runtime.send(piece(b"z") + END)
    assert await runtime.at_end()
    again = await bench.connect(environment)
    await bench.ask_next(environment, again)


@scenario()
async def test_exactly_the_limit_is_fine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_body, "STREAM_LIMIT_BYTES", 1000)
    _environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event) + piece(b"x" * 1000) + END)
    assert (await runtime.read()).status == 202
    assert event.outcome == (b"", b"")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (" text/html;charset=x\t", b"text/html;charset=x"),
        ("a" * 1024, b"a" * 1024),
        ("a" * 1025, b"application/octet-stream"),
        ("a" * 1_000_000, b"application/octet-stream"),
        ("", b"application/octet-stream"),
    ],
)
@scenario("uvloop")
async def test_what_the_stream_is_said_to_be(bench: Bench, given: str, told: bytes) -> None:
    _environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event, Content_Type=given) + piece(b"x") + END)
    assert (await runtime.read()).status == 202
    assert (event.content_type, event.received) == (told, [b"x"])


@pytest.mark.parametrize("streams", [True, False])
@scenario()
async def test_collected_or_not_by_what_the_caller_wants(bench: Bench, streams: bool) -> None:
    _environment, runtime, event = await bench.runtime(streams=streams)
    runtime.send(head(runtime, event) + piece(b"a") + piece(b"b") + END)
    assert (await runtime.read()).status == 202
    assert (b"".join(event.received), event.outcome) == ((b"ab", (b"", b"")) if streams else (b"", (b"ab", b"")))
    assert event.content_type == b"application/octet-stream"


@scenario()
async def test_a_stream_behind_a_request_that_is_not_answered_yet(bench: Bench) -> None:
    """Pipelined behind its own next: it is held until its turn has come, and may be an answer then."""
    environment, runtime, first = await bench.runtime(streams=True)
    assert (await runtime.respond(first)).status == 202
    event = bench.submit(streams=True)
    ask = request("GET", NEXT, runtime.port)
    runtime.send(ask + head(runtime, event) + piece(b"early") + END)
    assert (await runtime.read()).status == 200
    assert (await runtime.read()).status == 202
    assert (event.received, event.outcome) == ([b"early"], (b"", b""))
    await bench.ask_next(environment, runtime)


@scenario()
async def test_a_held_stream_that_goes_on_when_its_turn_has_come(bench: Bench) -> None:
    _environment, runtime, first = await bench.runtime(streams=True)
    assert (await runtime.respond(first)).status == 202
    event = bench.submit(streams=True)
    ask = request("GET", NEXT, runtime.port)
    runtime.send(ask + head(runtime, event) + piece(b"early"))
    assert (await runtime.read()).status == 200
    # What was held goes on at once, not with the next read.
    await bench.until(lambda: event.received)
    runtime.send(piece(b"late") + END)
    assert (await runtime.read()).status == 202
    assert (event.received, event.outcome) == ([b"early", b"late"], (b"", b""))


@pytest.mark.parametrize("how", ["close", "reset", "eof"])
@scenario()
async def test_a_stream_that_is_cut_off(bench: Bench, how: str) -> None:
    environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event) + piece(b"part") + b"100\r\nha")
    await bench.until(lambda: b"".join(event.received) == b"partha")
    if how == "close":
        runtime.close()
    elif how == "reset":
        runtime.reset()
    else:
        runtime.writer.write_eof()
        answer = await runtime.read()
        assert (answer.status, json.loads(answer.body)["errorType"]) == (400, "TruncatedHTTPRequest")
    await bench.until(lambda: event.ended)
    assert event.outcome == (failures.truncated_response(event.request_id), UNHANDLED)
    again = await bench.connect(environment)
    await bench.ask_next(environment, again)


@scenario()
async def test_an_exit_ends_a_stream_as_it_ends_everything(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event) + piece(b"part"))
    await bench.until(lambda: event.received)
    bench.launchers.exit(environment.number, 3)
    assert event.outcome == (failures.exited(event.request_id, failures.Exit(code=3)), UNHANDLED)
    assert event.received == [b"part"]


@scenario()
async def test_one_that_is_killed_for_its_memory_is_answered_for_when_it_is_gone(bench: Bench) -> None:
    bench.launchers.dies_when_killed = False
    environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event) + piece(b"part"))
    await bench.until(lambda: event.received)
    environment.over_memory = True
    bench.host.kill(environment)
    runtime.close()
    await bench.until(lambda: not environment.listener.connections)
    assert event.ended == 0
    bench.launchers.exit(environment.number, None, 9)
    assert event.outcome == (failures.exited(event.request_id, failures.Exit(signal=9)), UNHANDLED)


@pytest.mark.parametrize("mode", ["streaming", "STREAMING", " streaming\t"])
@scenario("uvloop")
async def test_the_mode_in_other_spellings(bench: Bench, mode: str) -> None:
    _environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event, Lambda_Runtime_Function_Response_Mode=mode) + piece(b"x") + END)
    assert (await runtime.read()).status == 202
    assert event.received == [b"x"]


@scenario("uvloop")
async def test_expect_is_answered(bench: Bench) -> None:
    _environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event, Expect="100-continue"))
    assert (await runtime.read()).status == 100
    runtime.send(piece(b"x") + END)
    assert (await runtime.read()).status == 202
    assert event.received == [b"x"]


@scenario("uvloop")
async def test_a_stream_for_another_invocation_changes_nothing(bench: Bench) -> None:
    environment, runtime, event = await bench.runtime(streams=True)
    other = await bench.connect(environment)
    stranger = Event(b"8476a536-0000-4000-8000-000000000000")
    other.send(head(other, stranger) + piece(b"x"))
    answer = await other.read()
    assert (answer.status, json.loads(answer.body)["errorType"]) == (400, "InvalidRequestID")
    assert event.received == []
    runtime.send(head(runtime, event) + piece(b"x") + END)
    assert (await runtime.read()).status == 202
    await bench.ask_next(environment, runtime)


@scenario("uvloop")
async def test_a_web_page_cannot_stream(bench: Bench) -> None:
    _environment, runtime, event = await bench.runtime(streams=True)
    runtime.send(head(runtime, event, Origin="http://evil.example") + piece(b"x"))
    assert (await runtime.read()).status == 403
    assert (event.received, event.content_type) == ([], b"")
