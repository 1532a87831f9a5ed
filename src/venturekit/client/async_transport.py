"""HTTP of the asynchronous client: a session of aiohttp, bare of all that it could do besides.

aiohttp comes with ``pip install 'venturekit[client]'``; it is imported when the first asynchronous client is made.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from venturekit.client.errors import ClientConfigError
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ConnectError,
    ConnectionLostError,
    ExchangeError,
    MalformedAnswerError,
    PoolError,
)

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from venturekit.client.calls import SignedRequest
    from venturekit.client.config import ResolvedConfig

IDLE_SECONDS: Final = 50.0
_PIECE_BYTES: Final = 65_536


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
        self._free = asyncio.Semaphore(resolved.config.max_connections)
        proxy = resolved.proxy
        self._proxy: dict[str, Any] = {}
        if proxy is not None:
            self._proxy["proxy"] = f"http://{f'[{proxy.host}]' if ':' in proxy.host else proxy.host}:{proxy.port}"
            if proxy.authorization is not None:
                self._proxy["proxy_headers"] = {"Proxy-Authorization": proxy.authorization}

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
        await self._acquire()
        is_open = False
        try:
            response = await self._requested(request, wait_seconds)
            is_open = True
        except Exception as problem:
            raise self._failure(problem) from problem
        finally:
            if not is_open:
                self._free.release()
        return AsyncResponse(self, response)

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _requested(self, request: SignedRequest, wait_seconds: float) -> ClientResponse:
        from yarl import URL

        aiohttp = self._aiohttp
        endpoint = self._resolved.endpoint
        config = self._resolved.config
        session = self._session
        if session is None:
            session = self._session = self._made()
        # sock_connect bounds the connection alone, sock_read each wait for some of the answer.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout, sock_read=wait_seconds)
        return await session.request(
            request.method,
            URL(f"{endpoint.scheme}://{endpoint.authority}{request.target}", encoded=True),
            data=request.body or None,
            headers=request.headers,
            timeout=timeout,
            allow_redirects=False,
            **self._proxy,
        )

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

    def release(self) -> None:
        """One connection is free again."""
        self._free.release()

    def failure(self, problem: Exception) -> Exception:
        """The transport's error of one of aiohttp's; others are given back."""
        return self._failure(problem)

    def _failure(self, problem: Exception) -> Exception:
        aiohttp = self._aiohttp
        url = self._resolved.endpoint.url
        if isinstance(problem, ExchangeError | ClientConfigError):
            return problem
        if isinstance(problem, aiohttp.ConnectionTimeoutError):
            seconds = self._resolved.config.connect_timeout
            return ConnectError(f"{url} cannot be reached: no connection within {seconds:.3g} s", is_timeout=True)
        if isinstance(problem, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError | aiohttp.InvalidURL):
            return ConnectError(f"{url} cannot be reached: {problem or type(problem).__name__}")
        if isinstance(problem, TimeoutError):
            return AnswerTimeoutError("no answer, or no more of it, came in time")
        if isinstance(problem, aiohttp.ClientResponseError):
            return MalformedAnswerError(f"this is no HTTP response: {problem.message[:200]}")
        if isinstance(problem, aiohttp.ClientPayloadError | aiohttp.ClientError | OSError):
            return ConnectionLostError(f"the connection broke: {problem or type(problem).__name__}")
        return problem


class AsyncResponse:
    """A response whose body is read piece by piece. Read to its end or close it: until then it has a connection."""

    def __init__(self, owner: AsyncTransport, response: ClientResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._owner = owner
        self._response: ClientResponse | None = response

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
        response = self._response
        assert response is not None
        try:
            body = await response.read()
        except Exception as problem:
            raise self._owner.failure(problem) from problem
        self._finish()
        return body

    async def finish(self, seconds: float) -> None:
        """Nothing more is wanted: keep the connection if the body ends now, within so many seconds, else close it."""
        try:
            async with asyncio.timeout(seconds):
                await self.read()
        except (TimeoutError, ExchangeError):
            pass
        self.close()

    def close(self) -> None:
        """Close the connection if the body has not ended."""
        response = self._response
        if response is not None:
            response.close()
            self._finish()

    def __del__(self) -> None:
        self.close()

    def _finish(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.release()
            self._owner.release()
