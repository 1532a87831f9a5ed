"""The WebSocket APIs: who connects, what becomes of messages, and who has left."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from venturekit.front import answers
from venturekit.front.call import UPGRADE
from venturekit.front.websocket_api import CONNECT, DISCONNECT
from venturekit.front.websocket_connection import ABNORMAL, GOING_AWAY, WebSocketConnection
from venturekit.front.websocket_events import Session, connect_event, disconnect_event, message_event
from venturekit.front.websocket_ids import draw_connection_id, draw_id
from venturekit.front.websocket_integration import Failure, FunctionAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from venturekit.front.addresses import WebSocketAddress
    from venturekit.front.call import Call
    from venturekit.front.feed import Feed
    from venturekit.front.table import UrlTable
    from venturekit.front.websocket_api import WebSocketApi
    from venturekit.front.websocket_integration import Integrations
    from venturekit.front.websocket_limits import WebSocketLimits

logger = logging.getLogger("venturekit.front")
SWITCHING: Final = 101
FORBIDDEN: Final = "Forbidden"
INTERNAL: Final = "Internal server error"
TIMED_OUT: Final = "Endpoint request timed out"
UNAVAILABLE: Final = "Service Unavailable"
_REPLACED: Final = frozenset(("x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"))
_SUBPROTOCOL: Final = "sec-websocket-protocol"
_PLAIN: Final = b"text/plain; charset=utf-8"


class WebSocketGateway:
    """All WebSocket connections. ``domain`` is what functions reach this process by; ``wall`` gives epoch seconds."""

    def __init__(
        self,
        table: UrlTable,
        feed: Feed,
        integrations: Integrations,
        limits: WebSocketLimits,
        *,
        domain: str,
        port: int,
        scheme: str,
        wall: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._table = table
        self._feed = feed
        self._integrations = integrations
        self._limits = limits
        self._domain = domain
        self._wall = wall
        self._loop = loop
        self._forwarded = (("X-Forwarded-Proto", scheme), ("X-Forwarded-Port", str(port)))
        self._connections: dict[str, WebSocketConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends = False

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[WebSocketConnection]:
        return iter(tuple(self._connections.values()))

    def find(self, connection_id: str) -> WebSocketConnection | None:
        """The connection with this id if it is open."""
        found = self._connections.get(connection_id)
        return found if found is not None and found.is_open else None

    async def api_of(self, address: WebSocketAddress) -> WebSocketApi | None:
        """The API at an address. One that is not known may be new."""
        assert address.api_id is not None
        api = self._table.websocket_api(address.api_id)
        if api is None or api.stage != address.stage:
            await self._feed.refresh()
            api = self._table.websocket_api(address.api_id)
        return api if api is not None and api.stage == address.stage else None

    # --- connecting -----------------------------------------------------------------------------------------------

    async def connect(self, call: Call, address: WebSocketAddress) -> None:
        """Answer a request for a WebSocket: it is one when the API and the function of its ``$connect`` let it be."""
        api = await self.api_of(address)
        if api is None:
            await refuse(call, 403, FORBIDDEN)
        elif self._ends or len(self._connections) >= self._limits.connections:
            await refuse(call, 503, UNAVAILABLE)
        else:
            await self._shake_hands(call, address, api)

    async def _shake_hands(self, call: Call, address: WebSocketAddress, api: WebSocketApi) -> None:
        request = Request(call.scope["raw_path"].decode("latin-1"), Headers(call.pairs), call.method)
        response = ServerProtocol().accept(request)
        if response.status_code != SWITCHING:
            lines = [(b"content-type", _PLAIN)]
            if response.status_code == answers.UPGRADE_REQUIRED:
                lines.append((b"upgrade", b"websocket"))
            await call.respond(response.status_code, lines, bytes(response.body))
            return
        session = self._session(call, address, api)
        route = api.routes.get(CONNECT)
        if route is not None:
            event = self._connect_event(call, session)
            answer = await self._integrations.call(route, event)
            if isinstance(answer, Failure) or not 200 <= answer.status < 300:
                await self._refuse(call, session, answer)
                return
            chosen = answer.headers.get(_SUBPROTOCOL)
            if chosen is not None and chosen in _offered(call):
                response.headers["Sec-WebSocket-Protocol"] = chosen
        connection = WebSocketConnection(
            session, self, self._limits, idle_seconds=api.idle_timeout_seconds, loop=self._loop
        )
        head = response.serialize()
        if not self._ends and call.scope["extensions"][UPGRADE]["upgrade"](head, connection):
            self._connections[session.connection_id] = connection
            return
        self._spawn(self._say_goodbye(session, None, *ABNORMAL))
        if self._ends:
            await refuse(call, 503, UNAVAILABLE)

    def _session(self, call: Call, address: WebSocketAddress, api: WebSocketApi) -> Session:
        client = call.scope["client"]
        return Session(
            api_id=api.id,
            stage=api.stage,
            connection_id=draw_connection_id(api.id),
            domain_name=address.domain or self._domain,
            source_ip=client[0] if client else "127.0.0.1",
            user_agent=call.headers.get("user-agent"),
            connected_at_ms=self._now_ms(),
        )

    def _connect_event(self, call: Call, session: Session) -> dict[str, Any]:
        came_by = call.headers.get("x-forwarded-for")
        source = f"{came_by}, {session.source_ip}" if came_by else session.source_ip
        kept = [pair for pair in call.pairs if pair[0] not in _REPLACED]
        query = call.scope["query_string"].decode("latin-1")
        headers = [*kept, ("X-Forwarded-For", source), *self._forwarded]
        return connect_event(session, headers, query, request_id=draw_id(), now_ms=self._now_ms())

    async def _refuse(self, call: Call, session: Session, answer: FunctionAnswer | Failure) -> None:
        """Refuse the handshake with what ``$connect`` has answered."""
        if isinstance(answer, Failure) or answer.status < 200:
            failure = answer if isinstance(answer, Failure) else Failure.FUNCTION
            text = TIMED_OUT if failure is Failure.TIMEOUT else INTERNAL
            await refuse(call, failure.value, text, connectionId=session.connection_id, requestId=call.request_id)
            return
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body or b""
        content_type = answer.headers.get("content-type", "")
        usable = content_type.isascii() and content_type.isprintable() and content_type
        lines = [(b"content-type", content_type.encode() if usable else _PLAIN)]
        await call.respond(answer.status, lines, body if answer.status not in (204, 304) else b"")

    # --- messages -------------------------------------------------------------------------------------------------

    def received(self, connection: WebSocketConnection) -> None:
        """Handle the messages of a connection: one after the other, in the order in which they came."""
        connection.handling = self._spawn(self._handle(connection))

    async def _handle(self, connection: WebSocketConnection) -> None:
        try:
            while connection.messages:
                await self._answer(connection, connection.take())
        finally:
            connection.handling = None

    async def _answer(self, connection: WebSocketConnection, message: str | bytes) -> None:
        session = connection.session
        api = self._table.websocket_api(session.api_id)
        request_id = draw_id()
        route = api.route_of(message) if api is not None else None
        if route is None:
            await self._report(connection, FORBIDDEN, request_id)
            return
        event = message_event(
            session, route.key, message, message_id=draw_id(), request_id=request_id, now_ms=self._now_ms()
        )
        answer = await self._integrations.call(route, event)
        if isinstance(answer, Failure):
            await self._report(connection, TIMED_OUT if answer is Failure.TIMEOUT else INTERNAL, request_id)
        elif route.responds and answer.body:
            await connection.drained()
            is_text = isinstance(answer.body, str)
            data = answer.body.encode("utf-8", "replace") if isinstance(answer.body, str) else answer.body
            if len(data) > self._limits.message_bytes:
                logger.warning("WebSocket route %s: an answer of %d bytes is too long", route.key, len(data))
                await self._report(connection, INTERNAL, request_id)
            else:
                connection.send(data, is_text=is_text)

    async def _report(self, connection: WebSocketConnection, text: str, request_id: str) -> None:
        """Tell the client what went wrong, in AWS's words."""
        await connection.drained()
        document = {"message": text, "connectionId": connection.session.connection_id, "requestId": request_id}
        connection.send(json.dumps(document).encode(), is_text=True)

    # --- leaving --------------------------------------------------------------------------------------------------

    def lost(self, connection: WebSocketConnection) -> None:
        """A connection is gone: its ``$disconnect`` follows the messages that it has left."""
        if self._connections.pop(connection.session.connection_id, None) is not None:
            code, reason = connection.ending()
            self._spawn(self._say_goodbye(connection.session, connection.handling, code, reason))

    async def _say_goodbye(self, session: Session, handling: asyncio.Task[None] | None, code: int, reason: str) -> None:
        if handling is not None:
            await asyncio.wait((handling,))
        api = self._table.websocket_api(session.api_id)
        route = api.routes.get(DISCONNECT) if api is not None else None
        if route is not None:
            event = disconnect_event(session, code, reason, request_id=draw_id(), now_ms=self._now_ms())
            await self._integrations.call(route, event)

    def sweep(self, now: float) -> None:
        """Look at every connection; ``now`` as the loop tells it."""
        for connection in self:
            if self._table.websocket_api(connection.session.api_id) is None:
                connection.close(*GOING_AWAY)
            connection.sweep(now, is_farewell=self._ends)

    def drain(self) -> None:
        """Nobody connects any more, and all are told to go."""
        self._ends = True
        for connection in self:
            connection.close(*GOING_AWAY)

    async def drained(self, seconds: float) -> None:
        """Return when all have gone and all is told to their functions, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self._tasks or self._connections:
                    if self._tasks:
                        await asyncio.wait(tuple(self._tasks), timeout=0.05)
                    else:
                        await asyncio.sleep(0.02)
        except TimeoutError:
            logger.warning("%d WebSocket connections are cut off", len(self._connections))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a WebSocket connection's work failed", exc_info=task.exception())

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


async def refuse(call: Call, status: int, text: str, code: str = "", **members: str) -> None:
    """Answer a request with a message in the form of API Gateway."""
    lines = [(b"content-type", answers.JSON), (b"x-amzn-requestid", call.request_id.encode())]
    if code:
        lines.append((b"x-amzn-errortype", code.encode()))
    await call.respond(status, lines, json.dumps({"message": text, **members}).encode())


def _offered(call: Call) -> list[str]:
    return [offer.strip() for offer in call.headers.get(_SUBPROTOCOL, "").split(",")]
