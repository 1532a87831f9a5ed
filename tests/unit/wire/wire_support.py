"""A listener with a scriptable application, and raw clients that see every byte of its answers."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from venturekit.service.wire.answers import answer
from venturekit.service.wire.listener import Clock, Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from venturekit.service.wire.exchange import BodySink, Exchange
    from venturekit.service.wire.limits import Limits

BOUND_SECONDS = 10
START = 1000.0
WALL = 1_700_000_000.0
GOOD = b"GET /good HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body: bytes, target: bytes = b"/x", fields: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n%b" % (target, fields, len(body), body)


def chunked(*pieces: bytes, trailers: bytes = b"", target: bytes = b"/x", fields: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (target, fields)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailers + b"\r\n"


def echo(exchange: Exchange) -> None:
    fields = [(b"X-Target", exchange.target)]
    body = b"too large" if exchange.too_large else bytes(exchange.body)
    exchange.respond(answer(200, fields, body, close=not exchange.keep_alive))


@dataclass
class Seen:
    """What an application was given, copied at the time."""

    method: bytes
    target: bytes
    body: bytes
    headers: dict[bytes, bytes]
    trailers: dict[bytes, bytes] | None
    too_large: bool


class Recorder:
    """An application that notes every call; ``on_handle`` and ``on_begin`` say what it does."""

    def __init__(self) -> None:
        self.handled: list[Seen] = []
        self.begun: list[Exchange] = []
        self.abortions: list[Exchange] = []
        self.refusals: list[tuple[int, str]] = []
        self.pending: list[Exchange] = []
        self.on_handle: Callable[[Exchange], None] = echo
        self.on_begin: Callable[[Exchange], int | BodySink | None] = lambda exchange: None
        self.changed = asyncio.Event()

    def begin(self, exchange: Exchange) -> int | BodySink | None:
        self.begun.append(exchange)
        self.changed.set()
        return self.on_begin(exchange)

    def handle(self, exchange: Exchange) -> None:
        trailers = dict(exchange.trailers) if exchange.trailers is not None else None
        self.handled.append(
            Seen(
                exchange.method,
                exchange.target,
                bytes(exchange.body),
                dict(exchange.headers),
                trailers,
                exchange.too_large,
            )
        )
        self.changed.set()
        self.on_handle(exchange)

    def aborted(self, exchange: Exchange) -> None:
        self.abortions.append(exchange)
        self.changed.set()

    def malformed(self, status: int, reason: str) -> bytes:
        self.refusals.append((status, reason))
        self.changed.set()
        return answer(status, ((b"X-Refused", b"yes"),), reason.encode(), close=True)

    def keep(self, exchange: Exchange) -> None:
        """As ``on_handle``: answer later."""
        self.pending.append(exchange)
        self.changed.set()


class Sink:
    """A sink that keeps what it gets."""

    def __init__(self, recorder: Recorder, on_chunk: Callable[[bytes], None] | None = None) -> None:
        self.recorder = recorder
        self.pieces: list[bytes] = []
        self.size = 0
        self.flushed: list[int] = []
        self.trailers: dict[bytes, bytes] | None = None
        self.aborted_count = 0
        self.on_chunk = on_chunk
        self.on_end: Callable[[], None] | None = None

    def chunk(self, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)
        if self.on_chunk is not None:
            self.on_chunk(data)
        self.recorder.changed.set()

    def flush(self) -> None:
        self.flushed.append(self.size)

    def end(self, trailers: Mapping[bytes, bytes]) -> None:
        self.trailers = dict(trailers)
        if self.on_end is not None:
            self.on_end()
        self.recorder.changed.set()

    def aborted(self) -> None:
        self.aborted_count += 1
        self.recorder.changed.set()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str] = field(default_factory=dict)


class Client:
    """A raw connection to a listener. Every wait is bounded."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.ended = False

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(BOUND_SECONDS):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def push(self, data: bytes) -> int:
        """Send what the kernel takes at once; returns how much that was."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def push_tolerant(self, data: bytes) -> int:
        """As :meth:`push`, to a server that may have cut the connection."""
        try:
            return self.push(data)
        except ConnectionError:
            return 0

    async def send_tolerant(self, data: bytes) -> None:
        """Send to a server that may cut the connection in the meantime."""
        try:
            await self.send(data)
        except (ConnectionError, TimeoutError):
            pass

    async def more(self) -> bool:
        """Read once; False at the end of the connection."""
        if self.ended:
            return False
        async with asyncio.timeout(BOUND_SECONDS):
            try:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 262_144)
            except ConnectionError:
                data = b""
        self.buffer += data
        self.ended = not data
        return bool(data)

    async def _line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not await self.more():
                raise EOFError(bytes(self.buffer[:200]))
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    async def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not await self.more():
                raise EOFError(f"{len(self.buffer)} of {size} bytes")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def _fields(self) -> dict[str, str]:
        fields = {}
        while line := (await self._line()).decode("latin-1"):
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return fields

    async def answer(self) -> Answer:
        """The next answer; raises EOFError if the connection ends before it is whole."""
        start = await self._line()
        assert start.startswith(b"HTTP/1.1 "), start
        status = int(start.split()[1])
        headers = await self._fields()
        if headers.get("transfer-encoding") == "chunked":
            body = bytearray()
            while size := int(await self._line(), 16):
                body += await self._exactly(size)
                assert await self._exactly(2) == b"\r\n"
            return Answer(status, headers, bytes(body), await self._fields())
        return Answer(status, headers, await self._exactly(int(headers.get("content-length", "0"))))

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> list[Answer]:
        """All answers up to the end of the connection; raises EOFError if the last one is cut."""
        answers = []
        while self.buffer or await self.more():
            answers.append(await self.answer())
        return answers

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Bench:
    """A listener under test, a clock that only the test moves, and the means to watch both."""

    def __init__(self, limits: Limits | None) -> None:
        self.app = Recorder()
        self.clock = Clock(START, WALL)
        self.listener = Listener(self.app, self.clock, limits)
        self.clients: list[Client] = []
        self._beacon = Listener(Recorder(), Clock(START, WALL))

    async def start(self) -> None:
        await self.listener.start("127.0.0.1", 0)
        await self._beacon.start("127.0.0.1", 0)

    async def connect(self, listener: Listener | None = None, receive_buffer_bytes: int | None = None) -> Client:
        sock = socket.socket()
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setblocking(False)
        async with asyncio.timeout(BOUND_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", (listener or self.listener).port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(sock)
        self.clients.append(client)
        return client

    def advance(self, seconds: float) -> None:
        self.clock.advance(self.clock.now + seconds, WALL)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the application is told of."""
        async with asyncio.timeout(BOUND_SECONDS):
            while not condition():
                self.app.changed.clear()
                await self.app.changed.wait()

    async def settle(self, rounds: int = 4) -> None:
        """Let the loop handle what is ready: several requests to another listener on it are answered meanwhile."""
        client = await self.connect(self._beacon)
        for _ in range(rounds):
            await client.ask(GOOD)
        client.close()

    async def gone(self, limit: int = 0) -> None:
        """Wait until the listener holds no more than ``limit`` connections."""
        for _ in range(50):
            if len(self.listener.connections) <= limit:
                return
            await self.settle(1)
        raise AssertionError(f"{len(self.listener.connections)} connections are still there")

    async def still_serves(self) -> None:
        self.app.on_handle = echo
        client = await self.connect()
        assert (await client.ask(GOOD)).status == 200
        client.close()

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.listener.close()
        self._beacon.close()


@asynccontextmanager
async def bench(limits: Limits | None = None) -> AsyncIterator[Bench]:
    """A started bench. Fails the test when anything raised inside a callback of the loop."""
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    it = Bench(limits)
    await it.start()
    try:
        yield it
        await it.settle(1)
    finally:
        it.stop()
    await asyncio.sleep(0)
    assert not faults, faults
