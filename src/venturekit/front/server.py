"""uvicorn's HTTP protocol with bounds: on heads, on time, on the number of connections."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from venturekit.front import answers
from venturekit.front.call import CUT, UPGRADE
from venturekit.front.joined_writes import JoinedWrites
from venturekit.front.sockets import queued_bytes

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from venturekit.front.answers import Answer
    from venturekit.front.call import Receive, Scope, Send
    from venturekit.front.websocket_gateway import WebSocketGateway

HEAD_LIMIT_BYTES: Final = 32 * 1024
"""Request line and headers together (choice)."""
HEADER_COUNT: Final = 200
CONNECTIONS_LIMIT: Final = 4096
SWEEP_SECONDS: Final = 1.0
HEAD_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 60.0
"""How long a connection may say nothing at all."""
BODY_GRACE_SECONDS: Final = 10.0
BODY_BYTES_PER_SECOND: Final = 1000
UNREAD_SECONDS: Final = 60.0
"""How long a client may leave bytes unread without any progress."""
# The form of a target that is meant for proxies, and that every server understands (RFC 9112, section 3.2.2).
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]+)((?:[/?#].*)?)", re.IGNORECASE | re.DOTALL)


class FrontProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept it, unless there are too many."""
        self.written = JoinedWrites(transport, self.loop)
        super().connection_made(self.written)  # type: ignore[arg-type]
        self.since = self.loop.time()
        self.in_head = False
        self.head_bytes = 0
        self.body_bytes = 0
        self.has_moved = False
        self.has_spoken = False
        self.is_deaf = False
        self.is_early = False
        self.sent_bytes = 0
        self.unread_since: float | None = None
        self.cycles: list[RequestResponseCycle] = []
        if len(self.connections) > CONNECTIONS_LIMIT:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it to all who answer: uvicorn tells the last of several requests in a row only."""
        for cycle in self.cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self.is_deaf:
            self.is_early = True
            return
        self.has_moved = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Answered as a request already, and the last one of its connection: what follows is nobody's.
            self.is_deaf = True
            self.is_early = len(data) > upgrade.args[0]
        except httptools.HttpParserError:
            self.refuse(answers.MALFORMED)
        else:
            if self.has_moved:
                return
            # All of it is one head, or what stands around the pieces of a body: their sizes, and trailers.
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_LIMIT_BYTES:
                self.refuse(answers.HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins: its time runs."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self.has_spoken = True
        self.in_head = True
        self.head_bytes = 0
        self.since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that comes after the body (a trailer) is passed over, for it could belie the head."""
        if self.in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Look at the head before anybody else does."""
        self.in_head = False
        self.has_moved = True
        self.since = self.loop.time()
        self.head_bytes = 0
        self.body_bytes = 0
        refusal = self._refusal()
        application = self.app
        if refusal is not None:
            self.app = _Refusing(refusal)
            self.url = b"/"
        try:
            super().on_headers_complete()
        finally:
            self.app = application
        cycle = self.cycle
        self.scope["extensions"] = {CUT: {"cut": lambda: self.cut(cycle)}}
        if refusal is None and self._wants_websocket():
            self.scope["extensions"][UPGRADE] = {"upgrade": lambda head, made: self.upgrade(cycle, head, made)}
        self.cycles = [kept for kept in self.cycles if not kept.response_complete]
        self.cycles.append(cycle)
        if self.parser.should_upgrade():
            # The parser takes whatever follows for another protocol.
            cycle.keep_alive = False

    def _refusal(self) -> Answer | None:
        """What to answer to a head that nobody else should see. Brings a target in absolute form to the usual one."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_LIMIT_BYTES or len(self.headers) > HEADER_COUNT:
            return answers.HEAD_TOO_LARGE
        if self.parser.should_upgrade() and self._announces_body():
            return answers.NO_UPGRADE
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            return answers.UNKNOWN_CODING
        if self.url.startswith(b"/"):
            return None
        absolute = _ABSOLUTE.fullmatch(self.url)
        if absolute is None:
            return answers.MALFORMED
        # Its host counts, and not the header's.
        self.headers[:] = [(b"host", absolute[1]), *(line for line in self.headers if line[0] != b"host")]
        self.url = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        return None

    def on_body(self, body: bytes) -> None:
        """Count, for the rate."""
        self.has_moved = True
        self.head_bytes = 0
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self.has_moved = True
        super().on_message_complete()

    def cut(self, cycle: RequestResponseCycle) -> None:
        """Close in the middle of a response, which the client then sees as broken off."""
        cycle.disconnected = True
        self.transport.close()

    def upgrade(self, cycle: RequestResponseCycle, head: bytes, made: asyncio.Protocol) -> bool:
        """Answer a request with ``head``, and leave the connection to another protocol; False if that is too late.

        So it is when the client has gone, or has sent something before it knew of the other protocol.
        """
        if cycle.disconnected or self.is_early or self.transport.is_closing():
            self.transport.abort()
            return False
        cycle.disconnected = True
        cycle.response_complete = True
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        transport = self.written.release()
        made.connection_made(transport)
        transport.set_protocol(made)
        transport.write(head)
        # What is read from now on is the other's; nothing here may hold on to it.
        self.cycles.clear()
        self.flow.resume_reading()
        return True

    def refuse(self, answer: Answer) -> None:
        """Answer what cannot be read, after the responses to what could be, and close."""
        self.in_head = False
        self.is_deaf = True
        answering = [cycle for cycle in self.cycles if not cycle.response_complete]
        if answering and answering[-1].more_body and not answering[-1].response_started:
            # A request that will never be whole.
            broken = answering.pop()
            broken.disconnected = True
            broken.message_event.set()
        if answering:
            answering[-1].keep_alive = False
            return
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[answer.status] + head % (answer.content_type, len(answer.body)) + answer.body)
        self.transport.close()

    def sweep(self, now: float) -> None:
        """Close the connection if it is past its time; ``now`` as the loop tells it."""
        if self._is_unread(now):
            # Also one that closes as soon as its client has read.
            self.transport.abort()
        elif self.unread_since is not None or self.transport.is_closing():
            return
        elif not self.has_spoken:
            if now - self.since > FIRST_SECONDS:
                self.transport.close()
        elif self.in_head:
            if now - self.since > HEAD_SECONDS:
                self.refuse(answers.TOO_SLOW)
        elif self._wants_body() and not self.flow.read_paused:
            late = now - self.since - BODY_GRACE_SECONDS
            if late > 0 and self.body_bytes < late * BODY_BYTES_PER_SECOND:
                self.transport.abort()

    def _is_unread(self, now: float) -> bool:
        """Whether the client has read nothing for too long of what waits for it."""
        left = self.written.get_write_buffer_size()
        sent = self.written.bytes - left - (queued_bytes(self.transport) if left else 0)
        if not left:
            self.unread_since = None
        elif self.unread_since is None or sent > self.sent_bytes:
            self.unread_since = now
        self.sent_bytes = sent
        return self.unread_since is not None and now - self.unread_since > UNREAD_SECONDS

    def _wants_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def _wants_websocket(self) -> bool:
        return self.parser.should_upgrade() and self._get_upgrade() == b"websocket"

    def _announces_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in self.headers
        )


class _Refusing:
    """An application that gives every request the same answer, and closes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        answer = self._answer
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def sweep_forever(state: ServerState, websockets: WebSocketGateway) -> None:
    """Look at every connection once a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in tuple(state.connections):
            if isinstance(connection, FrontProtocol):
                connection.sweep(now)
        websockets.sweep(now)
