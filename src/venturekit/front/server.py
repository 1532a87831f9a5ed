"""uvicorn's HTTP protocol with bounds: on heads, on time, on the number of connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from venturekit.front import answers
from venturekit.front.call import CUT
from venturekit.front.joined_writes import JoinedWrites

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from venturekit.front.answers import Answer
    from venturekit.front.call import Receive, Scope, Send

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


class FrontProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept it, unless there are too many."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self.since = self.loop.time()
        self.in_head = False
        self.head_bytes = 0
        self.body_bytes = 0
        self.has_spoken = False
        self.unread_bytes = 0
        self.unread_since = 0.0
        self.held_up = False
        if len(self.connections) > CONNECTIONS_LIMIT:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered as a request already, and the last one of its connection: what follows is nobody's.
            return
        except httptools.HttpParserError:
            self.refuse(answers.MALFORMED)
            return
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_LIMIT_BYTES:
                self.refuse(answers.HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins: its time runs."""
        super().on_message_begin()
        self.has_spoken = True
        self.in_head = True
        self.head_bytes = 0
        self.since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Look at the head before anybody else does."""
        self.in_head = False
        self.since = self.loop.time()
        self.body_bytes = 0
        self.scope["extensions"] = {CUT: {"cut": self.cut}}
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        refusal: Answer | None = None
        if size > HEAD_LIMIT_BYTES or len(self.headers) > HEADER_COUNT:
            refusal = answers.HEAD_TOO_LARGE
        elif self.parser.should_upgrade() and (self._get_upgrade() == b"websocket" or self._announces_body()):
            refusal = answers.NO_UPGRADE
        application = self.app
        if refusal is not None:
            self.app = _Refusing(refusal)
        try:
            super().on_headers_complete()
        finally:
            self.app = application
        if self.parser.should_upgrade():
            # The parser takes whatever follows for another protocol.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Count, for the rate."""
        self.body_bytes += len(body)
        super().on_body(body)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.held_up = True
        self.unread_since = self.loop.time()
        self.unread_bytes = self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.held_up = False
        super().resume_writing()

    def cut(self) -> None:
        """Close in the middle of a response, which the client then sees as broken off."""
        self.cycle.disconnected = True
        self.transport.close()

    def refuse(self, answer: Answer) -> None:
        """Answer what cannot be read, unless a response is on its way, and close."""
        self.in_head = False
        if self.cycle is None or self.cycle.response_complete:
            head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(
                STATUS_LINE[answer.status] + head % (answer.content_type, len(answer.body)) + answer.body
            )
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False
            return
        self.transport.close()

    def sweep(self, now: float) -> None:
        """Close the connection if it is past its time; ``now`` as the loop tells it."""
        if self.transport.is_closing():
            return
        if self.held_up:
            left = self.transport.get_write_buffer_size()
            if left < self.unread_bytes:
                self.unread_bytes, self.unread_since = left, now
            elif now - self.unread_since > UNREAD_SECONDS:
                self.transport.abort()
        elif not self.has_spoken:
            if now - self.since > FIRST_SECONDS:
                self.transport.close()
        elif self.in_head:
            if now - self.since > HEAD_SECONDS:
                self.refuse(answers.TOO_SLOW)
        elif self.cycle is not None and self.cycle.more_body and not self.flow.read_paused:
            late = now - self.since - BODY_GRACE_SECONDS
            if late > 0 and self.body_bytes < late * BODY_BYTES_PER_SECOND:
                self.transport.abort()

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


async def sweep_forever(state: ServerState) -> None:
    """Look at every connection once a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in tuple(state.connections):
            if isinstance(connection, FrontProtocol):
                connection.sweep(now)
