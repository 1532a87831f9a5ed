"""The front process's server in a thread, in front of a Lambda API that the test plays."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvloop

from venturekit.front.addresses import Hosts
from venturekit.front.application import Application
from venturekit.front.config import Configuration
from venturekit.front.connections_api import ConnectionsApi
from venturekit.front.feed import Feed
from venturekit.front.function_urls import FunctionUrls
from venturekit.front.http_client import Response, ServerGoneError
from venturekit.front.pages import build_pages
from venturekit.front.process import _server
from venturekit.front.server import sweep_forever
from venturekit.front.table import UrlTable
from venturekit.front.websocket_gateway import WebSocketGateway
from venturekit.front.websocket_integration import Integrations
from venturekit.front.websocket_limits import WebSocketLimits
from venturekit.protocol.eventstream import encode_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

BOUND_SECONDS = 20.0
ID = "abcdefghijklmnopqrstuvwxyz012345"
DOMAIN = "lambda-url.us-east-1.localhost"
ACCOUNT = "123456789012"
NOW = 1_700_000_000.5
API = "abcdefghij"
LIMITS = WebSocketLimits(integration_timeout_ms=300, connections=12)
TRACE = (b"x-amzn-trace-id", b"root=1-00000000-000000000000000000000000;sampled=0")


def entry(**members: Any) -> dict[str, Any]:
    """A function URL as the service's table has it; by default one that everybody may call."""
    return {
        "id": ID,
        "accountId": ACCOUNT,
        "functionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f",
        "authType": "NONE",
        "invokeMode": "BUFFERED",
        "cors": None,
        "publicAllowed": True,
        "refusal": None,
        "revision": 1,
        **members,
    }


def api_entry(**members: Any) -> dict[str, Any]:
    """A WebSocket API as the service's table has it; by default one with all predefined routes and ``send``."""
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:"
    keys = ("$connect", "$disconnect", "$default", "send", "ask")
    return {
        "kind": "websocket",
        "id": API,
        "accountId": ACCOUNT,
        "stage": "dev",
        "routeSelectionExpression": "$request.body.action",
        "routes": {key: arn + key.removeprefix("$") for key in keys},
        "routeResponses": ["ask"],
        "idleTimeoutSeconds": 600,
        "revision": 1,
        **members,
    }


def chunk(data: bytes) -> bytes:
    return encode_event("PayloadChunk", data, "application/octet-stream")


def complete(**members: str) -> bytes:
    return encode_event("InvokeComplete", json.dumps(members).encode(), "application/json")


class PlayedStream:
    """A response of InvokeWithResponseStream: bytes, or an exception to raise, or None to wait for the test."""

    def __init__(self, pieces: Iterable[bytes | Exception | None], status: int = 200, **headers: str) -> None:
        self.status = status
        given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        self.headers: Mapping[bytes, bytes] = dict([TRACE]) | given
        self._pieces = deque(pieces)
        self.went_on = threading.Event()
        self.given_up = threading.Event()

    async def read(self) -> bytes:
        piece = self._pieces.popleft() if self._pieces else b""
        if piece is None:
            while not self.went_on.is_set():
                if self.given_up.is_set():
                    raise ServerGoneError("given up")
                await asyncio.sleep(0.001)
            self.went_on.clear()
            return await self.read()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def abort(self) -> None:
        self.given_up.set()


class PlayedApi:
    """Stands for the Lambda API: what it answers is the test's."""

    def __init__(self) -> None:
        self.page: dict[str, Any] = {"revision": 0, "reset": True, "more": False, "urls": [], "removed": []}
        self.forget()

    def forget(self) -> None:
        """As at the beginning, but for the table."""
        self.events: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str, str]] = []
        self.authorized: list[tuple[str, dict[str, Any]]] = []
        self.decision: dict[str, Any] | None = {"allowed": False, "reason": "not signed"}
        self.result: Callable[[dict[str, Any]], bytes] = lambda event: json.dumps(event).encode()
        self.response: Response | PlayedStream | Exception | None = None
        self.refreshed = 0
        self.gate: Callable[[dict[str, Any]], Awaitable[None]] | None = None

    async def urls(self, after: int, wait: float) -> dict[str, Any]:
        if wait:
            await asyncio.sleep(3600)
        self.refreshed += 1
        return self.page

    async def invoke(self, arn: str, event: bytes, request_id: str, trace: str) -> Response:
        if self.gate is not None:
            await self.gate(json.loads(event))
        return self._answer(arn, event, request_id, trace)

    async def invoke_streamed(self, arn: str, event: bytes, request_id: str, trace: str) -> Any:
        return self._answer(arn, event, request_id, trace)

    async def authorize(self, url_id: str, request: dict[str, Any]) -> dict[str, Any] | None:
        self.authorized.append((url_id, request))
        return self.decision

    async def authorize_connection(self, api_id: str, request: dict[str, Any]) -> dict[str, Any] | None:
        self.authorized.append((api_id, request))
        return self.decision

    def _answer(self, arn: str, event: bytes, request_id: str, trace: str) -> Any:
        self.events.append(json.loads(event))
        self.calls.append((arn, request_id, trace))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response or Response(200, dict([TRACE]), self.result(self.events[-1]))


class Lab:
    """The server and its client side."""

    def __init__(self, *urls: dict[str, Any], limits: WebSocketLimits = LIMITS) -> None:
        self.limits = limits
        self._open: list[socket.socket] = []
        self._urls = urls
        self.api = PlayedApi()
        self.configure(*urls)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(BOUND_SECONDS)

    def configure(self, *urls: dict[str, Any]) -> None:
        """What the service's table holds from now on; the front process hears of it when it looks."""
        former = self.api.page["revision"]
        self.api.page = {"revision": former + 1, "reset": True, "more": False, "urls": list(urls), "removed": []}

    def reset(self) -> None:
        """Be as new for the next test."""
        for made in self._open:
            made.close()
        self._open.clear()
        until(lambda: not self.server.server_state.connections and not self.websockets, "all connections are gone")
        until(lambda: not self.websockets._tasks, "all that was begun has ended")
        self.api.forget()
        self.configure(*self._urls)
        self.refresh()
        self.api.refreshed = 1

    def refresh(self) -> None:
        """Let the front process read the table now."""
        asyncio.run_coroutine_threadsafe(self.feed.refresh(), self.loop).result(BOUND_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.table = UrlTable()
        self.feed = Feed(self.api, self.table)  # type: ignore[arg-type]
        urls = FunctionUrls(
            self.table,
            self.feed,
            self.api,  # type: ignore[arg-type]
            domain=DOMAIN,
            port=9002,
            scheme="http",
            wall=lambda: NOW,
        )
        self.websockets = WebSocketGateway(
            self.table,
            self.feed,
            Integrations(self.api, self.limits, lambda: NOW),  # type: ignore[arg-type]
            self.limits,
            domain=f"127.0.0.1:{self.port}",
            port=9002,
            scheme="http",
            wall=lambda: NOW,
            loop=self.loop,
        )
        connections = ConnectionsApi(self.websockets, self.table, self.api, self.limits, signs=False)  # type: ignore[arg-type]
        self.application = Application(
            Hosts(("front.example",)), urls, self.websockets, connections, build_pages(self.table), self.feed
        )
        self.server = _server(self._configuration(), self.application)
        owned = [
            self.loop.create_task(self.feed.run()),
            self.loop.create_task(sweep_forever(self.server.server_state, self.websockets)),
        ]
        await self.feed.loaded.wait()
        self._ready.set()
        await self.server.serve(sockets=[self._listening])
        for task in owned:
            task.cancel()

    def _configuration(self) -> Configuration:
        return Configuration(
            service_url="http://127.0.0.1:1",
            access_key_id="k",
            secret_access_key="s",
            signs=False,
            region="us-east-1",
            domain=DOMAIN,
            port=9002,
            host="127.0.0.1",
            allowed_hosts=(),
            sockets=(),
            tls_certificate=None,
            tls_key=None,
            behind_tls=False,
            log_level="info",
            drain_seconds=5,
        )

    def connect(self, *, receive_buffer: int = 0) -> Client:
        """A connection whose bytes are the test's."""
        made = socket.socket()
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(BOUND_SECONDS)
        made.connect(("127.0.0.1", self.port))
        self._open.append(made)
        return Client(made)

    def ask(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes | None = None,
        headers: Iterable[tuple[str, str]] = (),
        *,
        host: str = f"{ID}.{DOMAIN}:9002",
    ) -> Answer:
        """One request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        client = self.connect()
        client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        return client.answer(method)

    def sweep(self, seconds: float) -> None:
        """Let the server look at its connections as it would after so many seconds."""

        def look() -> None:
            for connection in tuple(self.server.server_state.connections):
                connection.sweep(self.loop.time() + seconds)  # type: ignore[union-attr]
            self.websockets.sweep(self.loop.time() + seconds)

        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (look(), done.set()))
        assert done.wait(BOUND_SECONDS)

    def close(self) -> None:
        for made in self._open:
            made.close()
        self.server.should_exit = True
        self.server.force_exit = True
        self._thread.join(BOUND_SECONDS)
        assert not self._thread.is_alive()


class Answer:
    """A whole response. ``lines`` are its headers, names in lower case."""

    def __init__(self, status: int, lines: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.lines = lines
        self.body = body

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.lines if given == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection of a client, read no further than asked."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return int(first.split()[1]), [(name.lower(), value) for name, value in pairs]

    def piece(self) -> bytes:
        """The next chunk of a chunked body, empty at its end."""
        while b"\r\n" not in self._buffer:
            self._receive()
        size = int(self._buffer.partition(b"\r\n")[0], 16)
        start = self._buffer.index(b"\r\n") + 2
        while len(self._buffer) < start + size + 2:
            self._receive()
        data, self._buffer = self._buffer[start : start + size], self._buffer[start + size + 2 :]
        return data

    def answer(self, method: str = "GET") -> Answer:
        status, lines = self.head()
        found = dict(lines)
        body = b""
        if method != "HEAD" and status not in (204, 304):
            if "content-length" in found:
                while len(self._buffer) < int(found["content-length"]):
                    self._receive()
                body, self._buffer = (
                    self._buffer[: int(found["content-length"])],
                    self._buffer[int(found["content-length"]) :],
                )
            else:
                assert found["transfer-encoding"] == "chunked"
                while piece := self.piece():
                    body += piece
        return Answer(status, lines, body)

    def at_end(self) -> bool:
        """Whether the server has closed the connection, or does within the bound, with nothing more to read."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def drop(self) -> None:
        with suppress(OSError):
            self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError("the server closed the connection")
        self._buffer += data


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for what tells no event, within the bound."""
    give_up = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < give_up, what
        threading.Event().wait(0.002)
