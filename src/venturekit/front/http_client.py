"""A small HTTP/1.1 client for one server: kept connections, whole or streamed responses, back pressure.

A request is one write. Nothing is ever sent twice: whether a request whose connection was lost had been taken is not
known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

JOINED_BYTES: Final = 65_536
"""A head and a body that are smaller together are joined before they are written."""
COLLECTED_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""No response that is wanted in one piece is longer; one that is comes from something else."""
HIGH_WATER_BYTES: Final = 256 * 1024
LOW_WATER_BYTES: Final = 64 * 1024
CONNECT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 60.0
"""How long a connection is kept for the next request: less than the server keeps it."""
SILENCE_SECONDS: Final = 960.0
"""A function may run for 900 seconds, in which nothing comes."""
SWEEP_SECONDS: Final = 10.0


class ServerGoneError(ConnectionError):
    """There is no connection to the server, or it was lost before the response was complete."""


class TooManyRequestsError(RuntimeError):
    """All connections are in use, and enough requests wait for one."""


class Response:
    """A whole response; header names are in lower case, and the last one of a name counts."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class StreamedResponse:
    """A response whose head has come. ``await read()`` until it returns nothing."""

    __slots__ = ("_buffered", "_connection", "_ended", "_error", "_paused", "_pieces", "_wakened", "headers", "status")

    def __init__(self, connection: _Connection, status: int, headers: Mapping[bytes, bytes]) -> None:
        self.status = status
        self.headers = headers
        self._connection: _Connection | None = connection
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._wakened: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """What has come since, at least one byte; nothing at the end. Raises ServerGoneError."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._wakened = asyncio.get_running_loop().create_future()
            try:
                await self._wakened
            finally:
                self._wakened = None
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._paused and self._connection is not None:
            self._paused = False
            self._connection.read_again()
        return data

    def abort(self) -> None:
        """Nothing more of it is wanted: its connection is cut, unless all of it has come."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if not self._ended:
            self.fail(ServerGoneError("the response was given up"))

    # --- the connection's calls -----------------------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """The next piece."""
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER_BYTES and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.transport.pause_reading()
        self._wake()

    def end(self) -> None:
        """It is complete, and its connection free for another one."""
        if self._paused and self._connection is not None:
            self._connection.read_again()
        self._ended = True
        self._connection = None
        self._wake()

    def fail(self, error: Exception) -> None:
        """It will not be complete."""
        self._error = error
        self._connection = None
        self._wake()

    @property
    def is_held_up(self) -> bool:
        """Whether it does not come because it is not read."""
        return self._paused

    def _wake(self) -> None:
        if self._wakened is not None and not self._wakened.done():
            self._wakened.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    __slots__ = ("_body", "_client", "_headers", "_parser", "_size", "_streamed", "_wanted", "since", "transport")

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._wanted: asyncio.Future[Response | StreamedResponse] | None = None
        self._streamed: StreamedResponse | bool = False
        self.since = 0.0
        self.transport = cast(asyncio.Transport, None)

    def send(
        self, head: bytes, body: bytes, *, streamed: bool, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Future[Response | StreamedResponse]:
        """Send a request; the future gets the whole response, or the beginning of one that is streamed."""
        self.since = loop.time()
        self._headers = {}
        self._body = []
        self._size = 0
        self._streamed = streamed
        self._wanted = wanted = loop.create_future()
        if len(body) <= JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        return wanted

    def abort(self) -> None:
        """Cut it."""
        self.transport.abort()

    def read_again(self) -> None:
        """Read what was held up."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def silent_for(self, now: float) -> float:
        """How long nothing has come, in seconds."""
        streamed = self._streamed
        held_up = isinstance(streamed, StreamedResponse) and streamed.is_held_up
        return 0.0 if held_up else now - self.since

    # --- the transport's events -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.since = self._client.loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ServerGoneError(f"what answers is no HTTP server: {error}"))
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self)
        self._fail(ServerGoneError("the service closed the connection before its response was complete"))

    # --- the parser's events --------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._streamed is True:
            status = self._parser.get_status_code()
            if self._wanted is None or self._wanted.done():
                self.transport.abort()  # whoever asked has gone
                return
            self._streamed = StreamedResponse(self, status, self._headers)
            self._wanted.set_result(self._streamed)

    def on_body(self, data: bytes) -> None:
        if isinstance(self._streamed, StreamedResponse):
            self._streamed.put(data)
            return
        self._size += len(data)
        if self._size > COLLECTED_LIMIT_BYTES:
            self._fail(ServerGoneError(f"the response is longer than {COLLECTED_LIMIT_BYTES} bytes"))
            self.transport.abort()
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        wanted, self._wanted = self._wanted, None
        streamed, self._streamed = self._streamed, False
        if wanted is None:
            self.transport.abort()  # an answer to nothing
            return
        status, headers = self._parser.get_status_code(), self._headers
        if self._parser.should_keep_alive():
            self._client.free(self)
        else:
            self.transport.close()
        if isinstance(streamed, StreamedResponse):
            streamed.end()
            return
        # A connection that waits for its next request holds no body of the last one.
        pieces, self._body = self._body, []
        if not wanted.done():
            wanted.set_result(Response(status, headers, pieces[0] if len(pieces) == 1 else b"".join(pieces)))

    def _fail(self, error: Exception) -> None:
        wanted, self._wanted = self._wanted, None
        if isinstance(self._streamed, StreamedResponse):
            self._streamed.fail(error)
        elif wanted is not None and not wanted.done():
            wanted.set_exception(error)


class HttpClient:
    """Requests to one server, over ``limit`` connections at most; as many requests again may wait for one."""

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None, limit: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._limit = limit
        self.loop = loop
        self._idle: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    async def request(self, head: bytes, body: bytes = b"") -> Response:
        """Send a request (``head`` with its length and the empty line) and take the whole response.

        Raises ServerGoneError, TooManyRequestsError.
        """
        return cast(Response, await self._exchange(head, body, streamed=False))

    async def stream(self, head: bytes, body: bytes = b"") -> StreamedResponse:
        """Send a request and return when the head of its response has come. Raises as ``request`` does."""
        return cast(StreamedResponse, await self._exchange(head, body, streamed=True))

    def close(self) -> None:
        """Cut all connections."""
        self._sweeper.cancel()
        for connection in tuple(self._all):
            connection.abort()

    async def _exchange(self, head: bytes, body: bytes, *, streamed: bool) -> Response | StreamedResponse:
        connection = self._idle.pop() if self._idle else await self._connection()
        try:
            return await connection.send(head, body, streamed=streamed, loop=self.loop)
        except asyncio.CancelledError:
            # Its response, which nobody waits for any more, must not be taken for that of the next request.
            connection.abort()
            raise

    async def _connection(self) -> _Connection:
        while True:
            if self._idle:
                return self._idle.pop()
            if len(self._all) + self._opening < self._limit:
                return await self._open()
            if len(self._waiting) >= self._limit:
                raise TooManyRequestsError(f"{self._limit} requests run, and as many wait")
            turn = self.loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next_turn()
                raise

    async def _open(self) -> _Connection:
        self._opening += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await self.loop.create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._tls
                )
        except OSError as error:
            self._next_turn()
            raise ServerGoneError(f"no connection to {self._host}:{self._port}: {error}") from error
        finally:
            self._opening -= 1
        if connection.transport.is_closing():
            raise ServerGoneError(f"{self._host}:{self._port} closed the connection at once")
        self._all.add(connection)
        return connection

    # --- the connections' calls -----------------------------------------------------------------------------------

    def free(self, connection: _Connection) -> None:
        """A connection can take the next request."""
        self._idle.append(connection)
        self._next_turn()

    def lost(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._next_turn()

    def _next_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _sweep(self) -> None:
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        now = self.loop.time()
        idle = set(self._idle)
        for connection in tuple(self._all):
            limit = IDLE_SECONDS if connection in idle else SILENCE_SECONDS
            if connection.silent_for(now) > limit:
                if connection in idle:
                    # No request may take it before it is lost.
                    self._idle.remove(connection)
                connection.abort()
