"""Calls over HTTP, without an SDK: one connection for each host is kept, requests are signed where there are keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.protocol.http1 import HttpError, ResponseParser, request_bytes
from venturekit.runtime.invocation.errors import InvokeTimeoutError, TransportError
from venturekit.runtime.invocation.request import EVENT, LambdaReply, LambdaRequest, error_of_reply

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from venturekit.protocol.sigv4_signer import Credentials

KEPT_SECONDS: Final = 50.0
"""How long a connection may rest: load balancers close theirs after a minute."""
KEPT_CONNECTIONS: Final = 8
CONNECT_SECONDS: Final = 5.0
READ_BYTES: Final = 65_536
REPLY_LIMIT_BYTES: Final = 64 * 1024 * 1024


class Endpoint(NamedTuple):
    """Where requests go."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port, as the header ``Host`` has them."""
        usual = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual else f"{host}:{self.port}"


def parse_endpoint(url: str) -> Endpoint:
    """An endpoint of its address. Raises ValueError."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of an endpoint: http://host:port or https://host is")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Endpoint(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


class HttpInvoker:
    """A LambdaInvoker of an endpoint. ``credentials()`` gives the keys to sign with, or None: then it is not signed."""

    def __init__(self, endpoint: Endpoint, *, region: str, credentials: Callable[[], Credentials | None]) -> None:
        self._endpoint = endpoint
        self._region = region
        self._credentials = credentials
        self._idle: list[tuple[float, socket.socket]] = []
        self._streams: list[tuple[float, asyncio.AbstractEventLoop, Any, Any]] = []
        self._tls: Any = None

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call. Raises InvokeError."""
        deadline = time.monotonic() + request.timeout_seconds
        data = self._request(request)
        connection = None
        try:
            connection = self._take() or self._connect(request, deadline)
            parser = ResponseParser(REPLY_LIMIT_BYTES)
            _send(connection, data, deadline)
            while not parser.complete:
                _limit(connection, deadline)
                received = connection.recv(READ_BYTES)
                if received:
                    parser.feed(received)
                else:
                    parser.end()
            if parser.reusable and len(self._idle) < KEPT_CONNECTIONS:
                self._idle.append((time.monotonic(), connection))
                connection = None
        except TransportError:
            raise
        except (OSError, HttpError) as problem:
            raise self._failure(request, problem) from problem
        finally:
            if connection is not None:
                connection.close()
        return _reply(request, parser)

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call on the event loop. Raises InvokeError."""
        import asyncio

        data = self._request(request)
        writer = None
        try:
            async with asyncio.timeout(request.timeout_seconds):
                reader, writer = self._take_streams() or await self._aconnect(request)
                writer.write(data)
                await writer.drain()
                parser = ResponseParser(REPLY_LIMIT_BYTES)
                while not parser.complete:
                    received = await reader.read(READ_BYTES)
                    if received:
                        parser.feed(received)
                    else:
                        parser.end()
            if parser.reusable and len(self._streams) < KEPT_CONNECTIONS:
                self._streams.append((time.monotonic(), asyncio.get_running_loop(), reader, writer))
                writer = None
        except TransportError:
            raise
        except (OSError, HttpError) as problem:
            raise self._failure(request, problem) from problem
        finally:
            if writer is not None:
                writer.close()
        return _reply(request, parser)

    def close(self) -> None:
        """Close the connections that are kept."""
        idle, self._idle = self._idle, []
        streams, self._streams = self._streams, []
        for _, connection in idle:
            connection.close()
        for _, loop, _, writer in streams:
            if not loop.is_closed():
                loop.call_soon_threadsafe(writer.close)

    # --- requests -------------------------------------------------------------------------------------------------

    def _request(self, request: LambdaRequest) -> bytes:
        from urllib.parse import quote

        endpoint = self._endpoint
        target = f"{endpoint.path}/2015-03-31/functions/{quote(request.function_name, safe='')}/invocations"
        headers = {
            "Host": endpoint.authority,
            "Content-Type": "application/json",
            "X-Amz-Invocation-Type": request.invocation_type,
        }
        if request.client_context is not None:
            from binascii import b2a_base64

            context = b2a_base64(request.client_context.encode(), newline=False).decode()
            headers["X-Amz-Client-Context"] = context
        if request.trace is not None:
            headers["X-Amzn-Trace-Id"] = request.trace
        keys = self._credentials()
        if keys is not None:
            from datetime import UTC, datetime

            from venturekit.protocol.sigv4_signer import sign_headers

            now = datetime.now(UTC)
            headers |= sign_headers("POST", target, headers, request.payload, keys, region=self._region, now=now)
        return request_bytes("POST", target, headers, request.payload)

    def _failure(self, request: LambdaRequest, problem: Exception) -> Exception:
        where = f"{self._endpoint.scheme}://{self._endpoint.authority}"
        if isinstance(problem, TimeoutError):
            message = f"{request.function_name} at {where} has not answered within {request.timeout_seconds:.1f} s"
            return InvokeTimeoutError(message, target=request.function_name)
        message = f"{request.function_name} could not be invoked at {where}: {problem or type(problem).__name__}"
        return TransportError(message, target=request.function_name)

    # --- connections ----------------------------------------------------------------------------------------------

    def _take(self) -> socket.socket | None:
        """A connection that is still open on the other side, as far as that can be known."""
        while True:
            try:
                # Threads share what is kept: asking first whether there is one would be asking too early.
                since, connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < KEPT_SECONDS and not _readable(connection):
                return connection
            connection.close()

    def _connect(self, request: LambdaRequest, deadline: float) -> socket.socket:
        import socket

        endpoint = self._endpoint
        seconds = max(min(CONNECT_SECONDS, deadline - time.monotonic()), 0.001)
        connection = None
        try:
            connection = socket.create_connection((endpoint.host, endpoint.port), timeout=seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.scheme == "https":
                return self._context().wrap_socket(connection, server_hostname=endpoint.host)  # type: ignore[no-any-return]
        except (OSError, UnicodeError) as problem:
            if connection is not None:
                connection.close()
            raise self._unconnected(request, problem) from problem
        return connection

    def _take_streams(self) -> tuple[Any, Any] | None:
        import asyncio

        loop = asyncio.get_running_loop()
        # A connection belongs to its event loop: those of others stay, unless their loop is gone.
        mine = [kept for kept in self._streams if kept[1] is loop]
        self._streams = [kept for kept in self._streams if kept[1] is not loop and not kept[1].is_closed()]
        found = None
        while mine and found is None:
            since, _, reader, writer = mine.pop()
            is_open = not (reader.at_eof() or writer.is_closing())
            # Between two invocations no event loop runs that would have noticed an end: the socket itself is asked.
            if is_open and time.monotonic() - since < KEPT_SECONDS and not _readable(writer.get_extra_info("socket")):
                found = reader, writer
            else:
                writer.close()
        self._streams += mine
        return found

    async def _aconnect(self, request: LambdaRequest) -> tuple[Any, Any]:
        import asyncio

        endpoint = self._endpoint
        tls = self._context() if endpoint.scheme == "https" else None
        try:
            async with asyncio.timeout(min(CONNECT_SECONDS, request.timeout_seconds)):
                return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls)
        except (OSError, UnicodeError) as problem:
            raise self._unconnected(request, problem) from problem

    def _unconnected(self, request: LambdaRequest, problem: Exception) -> TransportError:
        """Nothing was sent, so the function has not run: never a timeout of the call."""
        where = f"{self._endpoint.scheme}://{self._endpoint.authority}"
        why = "no connection in time" if isinstance(problem, TimeoutError) else problem or type(problem).__name__
        message = f"{request.function_name} could not be invoked at {where}: {why}"
        return TransportError(message, target=request.function_name)

    def _context(self) -> Any:
        if self._tls is None:
            import ssl

            self._tls = ssl.create_default_context()
        return self._tls


def _readable(connection: Any) -> bool:
    """Whether something has come before anything was asked: the end of the connection, or what nobody wants."""
    from select import POLLIN, poll

    # Not select(): it takes no descriptor above 1023.
    waiting = poll()
    waiting.register(connection, POLLIN)
    return bool(waiting.poll(0))


def _send(connection: socket.socket, data: bytes, deadline: float) -> None:
    _limit(connection, deadline)
    connection.sendall(data)


def _limit(connection: socket.socket, deadline: float) -> None:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    connection.settimeout(seconds)


def _reply(request: LambdaRequest, parser: ResponseParser) -> LambdaReply:
    wanted = 202 if request.invocation_type == EVENT else 200
    if parser.status != wanted:
        raise error_of_reply(request.function_name, parser.status, parser.headers, parser.body)
    return LambdaReply(parser.status, parser.body, parser.headers.get("x-amz-function-error"))
