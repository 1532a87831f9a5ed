"""Calls over HTTP, without an SDK: one connection for each host is kept, requests are signed where there are keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.http1 import HttpError, ResponseParser, request_head
from venturekit.runtime.invocation.errors import InvokeError, InvokeTimeoutError, TransportError
from venturekit.runtime.invocation.request import EVENT, LambdaReply, LambdaRequest, error_of_reply
from venturekit.transport import connection
from venturekit.transport.connection import Limits, Outgoing, is_readable
from venturekit.transport.connections import Connections
from venturekit.transport.dialing import usual_tls
from venturekit.transport.errors import AnswerTimeoutError, ConnectError, ExchangeError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.protocol.sigv4_signer import Credentials, RequestSigner
    from venturekit.transport.endpoint import Endpoint

KEPT_CONNECTIONS: Final = 8
CONNECT_SECONDS: Final = 5.0
READ_BYTES: Final = 65_536
REPLY_LIMIT_BYTES: Final = 64 * 1024 * 1024


class HttpInvoker:
    """A LambdaInvoker of an endpoint. ``credentials()`` gives the keys to sign with, or None: then it is not signed."""

    def __init__(self, endpoint: Endpoint, *, region: str, credentials: Callable[[], Credentials | None]) -> None:
        self._endpoint = endpoint
        self._region = region
        self._credentials = credentials
        self._signer: RequestSigner | None = None
        self._connections = Connections(
            endpoint,
            connect_seconds=CONNECT_SECONDS,
            max_idle=KEPT_CONNECTIONS,
            response_limit=REPLY_LIMIT_BYTES,
        )
        self._streams: list[tuple[float, asyncio.AbstractEventLoop, Any, Any]] = []
        self._tls: Any = None

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call. Raises InvokeError."""
        head, payload = self._request(request)
        limits = Limits(None, time.monotonic() + request.timeout_seconds)
        try:
            response = self._connections.exchange(Outgoing(head, payload), limits)
        except ExchangeError as problem:
            raise self._failure(request, problem) from problem
        return _reply(request, *response)

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call on the event loop. Raises InvokeError."""
        import asyncio

        head, payload = self._request(request)
        writer = None
        try:
            async with asyncio.timeout(request.timeout_seconds):
                reader, writer = self._take_streams() or await self._aconnect(request)
                writer.write(head + payload)
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
        except (OSError, HttpError, ExchangeError) as problem:
            raise self._failure(request, problem) from problem
        finally:
            if writer is not None:
                writer.close()
        return _reply(request, parser.status, parser.headers, parser.body)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()
        streams, self._streams = self._streams, []
        for _, loop, _, writer in streams:
            if not loop.is_closed():
                loop.call_soon_threadsafe(writer.close)

    # --- requests -------------------------------------------------------------------------------------------------

    def _request(self, request: LambdaRequest) -> tuple[bytes, bytes]:
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
            headers |= self._signed(target, headers, request.payload, keys)
        return request_head("POST", target, headers, len(request.payload)), request.payload

    def _signed(self, target: str, headers: dict[str, str], payload: bytes, keys: Credentials) -> dict[str, str]:
        if self._signer is None:
            from venturekit.protocol.sigv4_signer import RequestSigner

            self._signer = RequestSigner(self._region)
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return self._signer.sign("POST", target, headers, payload, keys, timestamp=timestamp)

    def _failure(self, request: LambdaRequest, problem: Exception) -> InvokeError:
        target = request.function_name
        where = f"{self._endpoint.scheme}://{self._endpoint.authority}"
        if isinstance(problem, AnswerTimeoutError | TimeoutError):
            message = f"{target} at {where} has not answered within {request.timeout_seconds:.1f} s"
            return InvokeTimeoutError(message, target=target)
        # Without a connection nothing was sent, so the function has not run: never a timeout of the call.
        if isinstance(problem, ConnectError):
            why = "no connection in time" if problem.is_timeout else problem.reason
        else:
            why = str(problem) or type(problem).__name__
        return TransportError(f"{target} could not be invoked at {where}: {why}", target=target)

    # --- connections ----------------------------------------------------------------------------------------------

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

    async def _aconnect(self, request: LambdaRequest) -> tuple[Any, Any]:
        import asyncio

        endpoint = self._endpoint
        try:
            if endpoint.scheme == "https" and self._tls is None:
                self._tls = usual_tls()
            async with asyncio.timeout(min(CONNECT_SECONDS, request.timeout_seconds)):
                return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=self._tls)
        except (OSError, UnicodeError) as problem:
            is_timeout = isinstance(problem, TimeoutError)
            raise ConnectError(str(problem) or type(problem).__name__, is_timeout=is_timeout) from problem


def _reply(request: LambdaRequest, status: int, headers: dict[str, str], body: bytes) -> LambdaReply:
    wanted = 202 if request.invocation_type == EVENT else 200
    if status != wanted:
        raise error_of_reply(request.function_name, status, headers, body)
    return LambdaReply(status, body, headers.get("x-amz-function-error"))
