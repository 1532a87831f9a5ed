"""Signed requests to one host, without an SDK: blocking or on an event loop, over connections that are kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.http1 import HttpError, ResponseParser, request_head
from venturekit.transport import connection
from venturekit.transport.connection import Limits, Outgoing, is_readable
from venturekit.transport.connections import Connections, HttpResponse
from venturekit.transport.dialing import usual_tls
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ConnectError,
    ConnectionLostError,
    ExchangeError,
    MalformedAnswerError,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.protocol.sigv4_signer import Credentials, RequestSigner
    from venturekit.transport.endpoint import Endpoint

KEPT_CONNECTIONS: Final = 8
CONNECT_SECONDS: Final = 5.0
READ_BYTES: Final = 65_536
REPLY_LIMIT_BYTES: Final = 64 * 1024 * 1024


class SignedHttp:
    """Requests to one host. ``credentials()`` gives the keys to sign with, or None: then they are not signed.

    ``authority`` is the header ``Host`` if it is not the host that is connected to. Threads may share it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        region: str,
        credentials: Callable[[], Credentials | None],
        service: str = "lambda",
        authority: str | None = None,
        kept: int = KEPT_CONNECTIONS,
    ) -> None:
        self.endpoint = endpoint
        self._region = region
        self._service = service
        self._credentials = credentials
        self._authority = authority or endpoint.authority
        self._kept = kept
        self._signer: RequestSigner | None = None
        self._connections = Connections(
            endpoint, connect_seconds=CONNECT_SECONDS, max_idle=kept, response_limit=REPLY_LIMIT_BYTES
        )
        self._streams: list[tuple[float, asyncio.AbstractEventLoop, Any, Any]] = []
        self._tls: Any = None

    def post(self, path: str, headers: dict[str, str], body: bytes, timeout_seconds: float) -> HttpResponse:
        """Send a POST and give its response, within so many seconds. Raises ExchangeError."""
        head = self._head(path, headers, body)
        return self._connections.exchange(Outgoing(head, body), Limits(None, time.monotonic() + timeout_seconds))

    async def apost(self, path: str, headers: dict[str, str], body: bytes, timeout_seconds: float) -> HttpResponse:
        """The same on the event loop."""
        import asyncio

        head = self._head(path, headers, body)
        writer = None
        try:
            async with asyncio.timeout(timeout_seconds):
                reader, writer = self._take_streams() or await self._connected(timeout_seconds)
                writer.write(head + body)
                await writer.drain()
                parser = ResponseParser(REPLY_LIMIT_BYTES)
                while not parser.complete:
                    received = await reader.read(READ_BYTES)
                    if received:
                        parser.feed(received)
                    else:
                        parser.end()
            if parser.reusable and len(self._streams) < self._kept:
                self._streams.append((time.monotonic(), asyncio.get_running_loop(), reader, writer))
                writer = None
        except (OSError, HttpError) as problem:
            raise _failure(problem) from problem
        finally:
            if writer is not None:
                writer.close()
        return HttpResponse(parser.status, parser.headers, parser.body)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()
        streams, self._streams = self._streams, []
        for _, loop, _, writer in streams:
            if not loop.is_closed():
                loop.call_soon_threadsafe(writer.close)

    def _head(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        target = self.endpoint.path + path
        headers = {"Host": self._authority, **headers}
        keys = self._credentials()
        if keys is not None:
            if self._signer is None:
                from venturekit.protocol.sigv4_signer import RequestSigner

                self._signer = RequestSigner(self._region, self._service)
            timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            headers |= self._signer.sign("POST", target, headers, body, keys, timestamp=timestamp)
        return request_head("POST", target, headers, len(body))

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
            if (
                is_open
                and time.monotonic() - since < connection.IDLE_SECONDS
                and not is_readable(writer.get_extra_info("socket"))
            ):
                found = reader, writer
            else:
                writer.close()
        self._streams += mine
        return found

    async def _connected(self, timeout_seconds: float) -> tuple[Any, Any]:
        import asyncio

        endpoint = self.endpoint
        try:
            if endpoint.scheme == "https" and self._tls is None:
                self._tls = usual_tls()
            async with asyncio.timeout(min(CONNECT_SECONDS, timeout_seconds)):
                return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=self._tls)
        except (OSError, UnicodeError) as problem:
            why = str(problem) or type(problem).__name__
            raise ConnectError(why, is_timeout=isinstance(problem, TimeoutError)) from problem


def _failure(problem: OSError | HttpError) -> ExchangeError:
    if isinstance(problem, TimeoutError):
        return AnswerTimeoutError("no answer came in time")
    kind = MalformedAnswerError if isinstance(problem, HttpError) else ConnectionLostError
    return kind(str(problem) or type(problem).__name__)
