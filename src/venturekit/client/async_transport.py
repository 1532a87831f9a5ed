"""HTTP of the asynchronous client: a session of aiohttp, bare of all that it could do besides.

aiohttp comes with ``pip install 'venturekit[client]'``; it is imported when the first asynchronous client is made.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.client.calls import RESPONSE_LIMIT_BYTES
from venturekit.client.errors import ClientClosedError, ClientConfigError, LambdaClientError
from venturekit.transport.dialing import failure_text, proxy_refusal
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ConnectError,
    ConnectionLostError,
    ExchangeError,
    MalformedAnswerError,
    PoolError,
)
from venturekit.transport.timed_socket import LEAST_BYTES_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientResponse, ClientSession

    from venturekit.client.calls import SignedRequest
    from venturekit.client.resolution import ResolvedConfig

IDLE_SECONDS: Final = 50.0
_PIECE_BYTES: Final = 65_536
_PROXY_KEY: Final = "Proxy-Authorization"


class AsyncTransport:
    """The connections of one client. It belongs to the event loop of its first request."""

    def __init__(self, resolved: ResolvedConfig) -> None:
        try:
            import aiohttp
        except ImportError:
            raise ClientConfigError(
                "the asynchronous client needs aiohttp, which is not installed: pip install 'venturekit[client]'"
            ) from None
        self._aiohttp = aiohttp
        self._resolved = resolved
        self._session: ClientSession | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._open: set[ClientResponse] = set()
        self._free = asyncio.Semaphore(resolved.config.max_connections)
        proxy = resolved.proxy
        self._proxy: dict[str, Any] = {}
        if proxy is not None:
            self._proxy["proxy"] = f"http://{f'[{proxy.host}]' if ':' in proxy.host else proxy.host}:{proxy.port}"
        # aiohttp sends these headers where it asks for a tunnel, and nowhere else.
        self._proxy_headers = {} if proxy is None or proxy.authorization is None else {_PROXY_KEY: proxy.authorization}
        if self._proxy_headers and resolved.endpoint.scheme == "https":
            self._proxy["proxy_headers"] = self._proxy_headers

    async def exchange(self, request: SignedRequest, wait_seconds: float) -> tuple[int, dict[str, str], bytes]:
        """Send a request and read its response whole: status, headers by their names in lower case, body.

        Raises ExchangeError.
        """
        response = await self.open(request, wait_seconds)
        try:
            return response.status, response.headers, await response.read_all()
        finally:
            response.close()

    async def open(self, request: SignedRequest, wait_seconds: float) -> AsyncResponse:
        """Send a request and read the head of its response. Raises ExchangeError."""
        self._check_loop()
        await self._acquire()
        is_open = False
        try:
            # aclose() may have come while this waited: nobody would close what it makes now.
            if self._is_closed:
                raise ClientClosedError("the client was closed")
            response = await self._requested(request, wait_seconds)
            is_open = True
        except LambdaClientError:
            raise
        except Exception as problem:
            failure = self.failure(problem)
        finally:
            if not is_open:
                self._free.release()
        if not is_open:
            # Raised here, where aiohttp's error is forgotten: it and its frames hold all headers.
            raise failure
        self._open.add(response)
        return AsyncResponse(self, response, wait_seconds)

    async def aclose(self) -> None:
        """Close all connections."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is None:
            return
        if self.loop is not None and self.loop.is_closed():
            # Its connections ended with their event loop.
            session.detach()
            return
        for response in list(self._open):
            # aiohttp would close the connection, and let whoever waits for the body wait on.
            response.close()
        await session.close()

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            raise LambdaClientError(
                "this client belongs to the event loop of its first call, and this is another: make a client in each"
            )

    async def _requested(self, request: SignedRequest, wait_seconds: float) -> ClientResponse:
        from yarl import URL

        aiohttp = self._aiohttp
        endpoint = self._resolved.endpoint
        config = self._resolved.config
        session = self._session
        if session is None:
            session = self._session = self._made()
        # connect bounds the connection and a proxy's tunnel, sock_read each wait for some of the answer.
        timeout = aiohttp.ClientTimeout(total=None, connect=config.connect_timeout, sock_read=wait_seconds)
        # The head alone could trickle in for ever, each wait being short.
        whole_seconds = config.connect_timeout + 2 * wait_seconds + len(request.body) / LEAST_BYTES_PER_SECOND
        async with asyncio.timeout(whole_seconds):
            return await session.request(
                request.method,
                URL(f"{endpoint.scheme}://{endpoint.authority}{request.target}", encoded=True),
                data=self._payload(request.body),
                headers=self._headers(request),
                timeout=timeout,
                allow_redirects=False,
                **self._proxy,
            )

    def _headers(self, request: SignedRequest) -> Mapping[str, str]:
        if self._proxy_headers and self._resolved.endpoint.scheme == "http":
            return {**request.headers, **self._proxy_headers}
        return request.headers

    def _payload(self, body: bytes | bytearray | memoryview) -> Any:
        if len(body) <= _PIECE_BYTES:
            return body or None
        from venturekit.client.async_payload import SlicedPayload

        return SlicedPayload(body)

    def _made(self) -> ClientSession:
        aiohttp = self._aiohttp
        tls: Any = self._resolved.tls()() if self._resolved.endpoint.scheme == "https" else True
        session: ClientSession = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
            trust_env=False,
        )
        # Else aiohttp would repeat some requests by itself, which neither counts nor tells so.
        session._retry_connection = False
        return session

    async def _acquire(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        seconds = self._resolved.config.pool_timeout
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            most, url = self._resolved.config.max_connections, self._resolved.endpoint.url
            raise PoolError(f"all {most} connections to {url} were in use for {seconds:g} s") from None

    def release(self, response: ClientResponse) -> None:
        """Its connection is free again."""
        response.release()
        self._open.discard(response)
        self._free.release()

    def failure(self, problem: Exception) -> ExchangeError:
        """The transport's error of one of aiohttp's. Raises it if it is another one's."""
        aiohttp = self._aiohttp
        proxy = self._resolved.proxy
        by = "" if proxy is None else f" by the proxy {proxy.host}:{proxy.port}"
        unreached = f"{self._resolved.endpoint.url} cannot be reached{by}"
        if isinstance(problem, aiohttp.ConnectionTimeoutError):
            seconds = self._resolved.config.connect_timeout
            return ConnectError(f"{unreached}: no connection within {seconds:.3g} s", is_timeout=True)
        if isinstance(problem, aiohttp.ClientHttpProxyError):
            return ConnectError(f"{unreached}: {proxy_refusal(problem.status)}")
        if isinstance(problem, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
            cause = getattr(problem, "certificate_error", None) or getattr(problem, "os_error", None) or problem
            return ConnectError(f"{unreached}: {failure_text(cause)}")
        if isinstance(problem, TimeoutError):
            return AnswerTimeoutError("no answer, or no more of it, came in time")
        if isinstance(problem, aiohttp.ClientResponseError):
            return MalformedAnswerError(f"this is no HTTP response: {problem.message[:200]}")
        if isinstance(problem, aiohttp.ClientPayloadError) and _is_malformed(problem.__cause__):
            return MalformedAnswerError(f"this is no HTTP response: {str(problem.__cause__)[:200]}")
        if isinstance(problem, aiohttp.ClientPayloadError | aiohttp.ClientError | OSError):
            return ConnectionLostError(f"the connection broke: {problem or type(problem).__name__}")
        raise problem


class AsyncResponse:
    """A response whose body is read piece by piece. Read to its end or close it: until then it has a connection."""

    def __init__(self, owner: AsyncTransport, response: ClientResponse, wait_seconds: float) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._owner = owner
        self._response: ClientResponse | None = response
        self._wait_seconds = wait_seconds

    async def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises ExchangeError."""
        response = self._response
        if response is None:
            return b""
        try:
            piece = await response.content.readany()
        except Exception as problem:
            self.close()
            raise self._owner.failure(problem) from problem
        except BaseException:
            # Cancelled in the middle: what follows belongs to nobody.
            self.close()
            raise
        if not piece:
            self._finish()
        return piece

    async def read_all(self) -> bytes:
        """All of the body. Raises ExchangeError."""
        pieces, size = [], 0
        _check_size(int(self.headers.get("content-length", 0)))
        # What comes too slowly for longer than one wait may last comes from nobody: each wait would be short.
        started = time.monotonic()
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            _check_size(size)
            if time.monotonic() - started > self._wait_seconds + size / LEAST_BYTES_PER_SECOND:
                raise AnswerTimeoutError("the answer comes too slowly")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def finish(self, seconds: float) -> bytes:
        """The body should be over: keep the connection if it ends within so many seconds, else close it.

        Gives what came all the same.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.read()
        except (TimeoutError, ExchangeError):
            return b""
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection if the body has not ended."""
        response = self._response
        if response is not None:
            response.close()
            self._finish()

    def __del__(self) -> None:
        response = self.__dict__.get("_response")
        if response is None:
            return
        loop = self._owner.loop
        if loop is not None and not loop.is_closed():
            # The garbage may be collected by another thread, in the middle of anything.
            loop.call_soon_threadsafe(_abandon, response, self._owner)
        else:
            # Its connection has ended with its loop, and aiohttp would want to tell that loop so.
            response._closed = True

    def _finish(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            self._owner.release(response)


def _abandon(response: ClientResponse, owner: AsyncTransport) -> None:
    response.close()
    owner.release(response)


def _is_malformed(cause: BaseException | None) -> bool:
    """Whether a body is wrong as HTTP, and not only cut off, for which aiohttp has the same class."""
    from aiohttp.http_exceptions import HttpProcessingError

    return isinstance(cause, HttpProcessingError) and "Not enough data" not in str(cause)


def _check_size(size: int) -> None:
    if size > RESPONSE_LIMIT_BYTES:
        raise MalformedAnswerError(f"the answer is longer than {RESPONSE_LIMIT_BYTES} bytes")
