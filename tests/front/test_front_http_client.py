"""The front process's HTTP client against a server that says exactly what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest
import uvloop

from venturekit.front import http_client
from venturekit.front.http_client import HttpClient, ServerGoneError, TooManyRequestsError

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPS = [pytest.param(None, id="stock"), pytest.param(uvloop.new_event_loop, id="uvloop")]


class Scene:
    """A server that does what its handler says, and a client of it."""

    def __init__(self, handler: Handler, limit: int) -> None:
        self._handler = handler
        self._limit = limit
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            self.writers.append(writer)
            try:
                await self._handler(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self.client = HttpClient("127.0.0.1", port, tls=None, limit=self._limit, loop=loop)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.close()
        self.server.close()
        for writer in self.writers:
            writer.close()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """One request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes = OK) -> None:
    while True:
        await request_of(reader)
        writer.write(answer)


@pytest.fixture(params=LOOPS)
def play(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a scenario with a server: ``play(handler, scenario, limit=...)``."""

    def run(handler: Handler, scenario: Callable[[Scene], Awaitable[Any]], limit: int = 8) -> Any:
        async def whole() -> Any:
            async with asyncio.timeout(20):
                async with Scene(handler, limit) as scene:
                    return await scenario(scene)

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(whole())

    return run


def test_connections_are_kept(play: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        for _ in range(5):
            response = await scene.client.request(HEAD)
            assert (response.status, response.body) == (200, b"ok")
        assert scene.connections == 1
        await asyncio.gather(*(scene.client.request(HEAD) for _ in range(3)))
        assert scene.connections == 3

    play(answering, scenario)


def test_a_kept_connection_holds_no_body(play: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        assert (await scene.client.request(HEAD)).body == b"ok"
        (connection,) = scene.client._idle
        assert connection._body == []

    play(answering, scenario)


def test_names_of_headers_are_in_lower_case(play: Callable[..., Any]) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(reader, writer, b"HTTP/1.1 429 Slow\r\nX-A: b\r\nContent-Length: 0\r\n\r\n")

    async def scenario(scene: Scene) -> None:
        response = await scene.client.request(HEAD)
        assert (response.status, response.headers[b"x-a"], response.body) == (429, b"b", b"")

    play(handler, scenario)


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_body_arrives_whole(play: Callable[..., Any], size: int) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = (await request_of(reader)).partition(b"\r\n\r\n")[2]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async def scenario(scene: Scene) -> None:
        body = bytes(range(256)) * (size // 256 + 1)
        head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await scene.client.request(head, body)).body == body

    play(handler, scenario)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_not_whole_is_an_error(play: Callable[..., Any], answer: bytes, streamed: bool) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer)

    async def scenario(scene: Scene) -> None:
        with pytest.raises(ServerGoneError):
            if streamed:
                response = await scene.client.stream(HEAD)
                while await response.read():
                    pass
            else:
                await scene.client.request(HEAD)

    play(handler, scenario)


def test_nothing_is_sent_twice(play: Callable[..., Any]) -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))

    async def scenario(scene: Scene) -> None:
        with pytest.raises(ServerGoneError, match="closed the connection"):
            await scene.client.request(HEAD)

    play(handler, scenario)
    assert len(seen) == 1


def test_a_server_that_is_not_there(play: Callable[..., Any]) -> None:
    async def scenario(scene: Scene) -> None:
        scene.server.close()
        await scene.server.wait_closed()
        with pytest.raises(ServerGoneError, match="no connection to 127"):
            await scene.client.request(HEAD)

    play(answering, scenario)


def test_connection_close_is_heeded(play: Callable[..., Any]) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(reader, writer, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async def scenario(scene: Scene) -> None:
        for _ in range(3):
            assert (await scene.client.request(HEAD)).body == b"ok"
        assert scene.connections == 3

    play(handler, scenario)


def test_requests_wait_for_a_connection_up_to_a_bound(play: Callable[..., Any]) -> None:
    gate: list[asyncio.Event] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            await gate[0].wait()
            writer.write(OK)

    async def scenario(scene: Scene) -> None:
        gate.append(asyncio.Event())
        running = [asyncio.ensure_future(scene.client.request(HEAD)) for _ in range(4)]
        while scene.connections < 2:
            await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError):
            await scene.client.request(HEAD)
        # One that waits is given up, and holds up nobody.
        running.pop().cancel()
        gate[0].set()
        assert [response.body for response in await asyncio.gather(*running)] == [b"ok"] * 3
        assert scene.connections == 2

    play(handler, scenario, limit=2)


def test_a_response_nobody_waits_for_is_not_taken_for_another(play: Callable[..., Any]) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = scene_number[0] = scene_number[0] + 1
        await request_of(reader)
        if number == 1:
            arrived[0].set()
            await reader.read()
        writer.write(OK)

    scene_number = [0]
    arrived: list[asyncio.Event] = []

    async def scenario(scene: Scene) -> None:
        arrived.append(asyncio.Event())
        given_up = asyncio.ensure_future(scene.client.request(HEAD))
        await arrived[0].wait()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert (await scene.client.request(HEAD)).body == b"ok"
        assert scene.connections == 2

    play(handler, scenario)


def test_a_stream_is_read_as_it_comes(play: Callable[..., Any]) -> None:
    go: list[asyncio.Event] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-B: c\r\n\r\n")
        for number in range(3):
            await go[number].wait()
            writer.write(b"5\r\npart%d\r\n" % number)
        writer.write(b"0\r\n\r\n")
        await answering(reader, writer)

    async def scenario(scene: Scene) -> None:
        go.extend(asyncio.Event() for _ in range(3))
        response = await scene.client.stream(HEAD)
        assert (response.status, response.headers[b"x-b"]) == (200, b"c")
        for number in range(3):
            go[number].set()
            assert await response.read() == b"part%d" % number
        assert await response.read() == b""
        assert await response.read() == b""
        # The connection is free again, and giving up what is complete cuts nothing.
        response.abort()
        assert (await scene.client.request(HEAD)).body == b"ok"
        assert scene.connections == 1

    play(handler, scenario)


def test_a_stream_that_is_not_read_is_held_up(play: Callable[..., Any]) -> None:
    sent = [0]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            await writer.drain()
            sent[0] += 65536
        writer.write(b"0\r\n\r\n")

    async def scenario(scene: Scene) -> None:
        response = await scene.client.stream(HEAD)
        former = -1
        while former != sent[0]:
            former = sent[0]
            await asyncio.sleep(0.1)
        # What sockets and buffers hold, and no more.
        assert sent[0] < 32 * 1024 * 1024
        size = 0
        while data := await response.read():
            size += len(data)
            assert len(data) <= http_client.HIGH_WATER_BYTES + 1024 * 1024
        assert size == 1000 * 65536

    play(handler, scenario)


def test_a_stream_that_is_given_up_cuts_its_connection(play: Callable[..., Any]) -> None:
    cut: list[asyncio.Event] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        try:
            await reader.read()
        finally:
            cut[0].set()

    async def scenario(scene: Scene) -> None:
        cut.append(asyncio.Event())
        response = await scene.client.stream(HEAD)
        assert await response.read() == b"x"
        waiting = asyncio.ensure_future(response.read())
        await asyncio.sleep(0)
        response.abort()
        with pytest.raises(ServerGoneError):
            await waiting
        await cut[0].wait()

    play(handler, scenario)


def test_an_endless_answer_is_bounded(play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "COLLECTED_LIMIT_BYTES", 100_000)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
            await writer.drain()

    async def scenario(scene: Scene) -> None:
        with pytest.raises(ServerGoneError, match="longer than 100000 bytes"):
            await scene.client.request(HEAD)

    play(handler, scenario)


def test_connections_that_rest_or_say_nothing_are_closed(
    play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(http_client, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(http_client, "SILENCE_SECONDS", 0.2)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)
        await reader.read()

    async def scenario(scene: Scene) -> None:
        await scene.client.request(HEAD)
        # The first connection was let go, so the second request has one of its own, on which nothing is said.
        while scene.client._all:
            await asyncio.sleep(0.005)
        scene._handler = lambda reader, _writer: reader.read()  # type: ignore[assignment,return-value]
        with pytest.raises(ServerGoneError):
            await scene.client.request(HEAD)
        assert scene.connections == 2

    play(handler, scenario)
