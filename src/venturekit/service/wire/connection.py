"""One connection: httptools' events in, whole or streamed requests out, answers in the order of the requests.

Requests that a peer pipelines are parsed as they arrive but handed to the application one after the other,
each when the one before it has been answered. While any waits, the connection is not read.

A connection ends in two steps. It turns *deaf* when nothing that still comes in shall count: a request could not be
read, or the last answer is out. It is *dead* when nothing will be sent on it either. In between, the requests that
came whole before the fault get their answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from venturekit.service.wire import bodies, bounds, repeats, turns
from venturekit.service.wire.bodies import Body
from venturekit.service.wire.direct_body import DirectBody
from venturekit.service.wire.exchange import Exchange
from venturekit.service.wire.upgrade import has_body, resume

if TYPE_CHECKING:
    from venturekit.service.wire.exchange import BodySink
    from venturekit.service.wire.head import Fault
    from venturekit.service.wire.listener import Listener
    from venturekit.service.wire.repeats import Learned

SMALL_BODY_BYTES = 65_536
"""Bodies of at most this announced length need no decision by the application and no buffer of their own."""
USUAL = frozenset({b"keep-alive", b"Keep-Alive"})
SLASH = ord("/")
GET = ord("G")
CARRIAGE_RETURN = ord("\r")


class Connection(asyncio.Protocol):
    """The server's side of one connection."""

    __slots__ = (
        "advancing",
        "application",
        "body",
        "body_limit",
        "body_paused",
        "body_seen",
        "clock",
        "continue_owed",
        "crowded",
        "current",
        "dead",
        "deaf",
        "eof",
        "filled",
        "head_done",
        "head_seen",
        "learned",
        "length",
        "limits",
        "listener",
        "lost",
        "parser",
        "parsing",
        "reading_paused",
        "repeatable",
        "repeated_bytes",
        "repeated_count",
        "resting",
        "since",
        "sink",
        "target_buffer",
        "transport",
        "unsent",
        "upgrading",
        "waiting",
        "was_reset",
        "wire_seen",
        "write_paused",
    )

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.application = listener.application
        self.limits = listener.limits
        self.clock = listener.clock
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.parsing: Exchange | None = None
        self.repeatable: Exchange | None = None
        self.learned: Learned | None = None
        self.current: Exchange | None = None
        self.waiting: deque[Exchange] = deque()
        self.head_done = False
        self.head_seen = 0
        self.crowded = False
        self.repeated_bytes = 0
        self.repeated_count = 0
        self.upgrading: Exchange | None = None
        self.body = Body.SMALL
        self.body_limit = 0
        self.body_seen = 0
        self.body_paused = False
        self.wire_seen = 0
        self.continue_owed = False
        self.length: int | None = None
        self.target_buffer = bytearray()
        self.filled = 0
        self.sink: BodySink | None = None
        self.since = listener.clock.now
        self.unsent = 0
        self.advancing = False
        self.reading_paused = False
        self.resting = False
        self.write_paused = False
        self.deaf = False
        self.dead = False
        self.eof = self.lost = self.was_reset = False

    # --- the transport's events -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.listener.connections.add(self)
        limit = self.limits.connections
        # Closed: it was accepted in the same moment in which the listener went away.
        if self.listener.closed or (limit is not None and len(self.listener.connections) > limit):
            self.abort()

    def data_received(self, data: bytes) -> None:
        learned = self.learned
        if learned is not None and data.endswith(learned.data):
            if len(data) > len(learned.data):
                self._received(data[: -len(learned.data)])
            if self.parsing is None and self.current is None and not self.waiting and self._listens():
                repeats.handle_again(self, learned)
                return
            # Not at the start of a request, or not its turn: these bytes mean something else, or later.
            data = learned.data
        self._received(data)

    def _listens(self) -> bool:
        return not self.deaf and self.upgrading is None

    def _received(self, data: bytes) -> None:
        if self.deaf:
            return
        before = self.parsing
        if data[0] <= CARRIAGE_RETURN and before is None and not self._passes(bounds.blank_lines(self, data)):
            return
        # Only a read of this size can hide a head that is over the limit.
        self.crowded = len(data) > self.limits.head_bytes
        self.repeatable = None
        self._feed(data)
        if before is None and data[0] == GET:
            repeats.learn(self, data)
        if self.parsing is not None:
            if self.sink is not None:
                self.sink.flush()
            if len(data) >= turns.FULL_READ_BYTES:
                turns.rest(self)
            if not self.head_done:
                self._passes(bounds.unfinished_head(self, self.parsing, data, before))
            elif self.body is Body.FILLED:
                DirectBody.take_over(self)
            elif self.length is None:
                self._passes(bounds.framing(self, len(data)))
        if self.waiting and not self.reading_paused:
            self.pace_reading()

    def eof_received(self) -> bool:
        self.eof = True
        if self.parsing is not None:
            self.refuse(400, bounds.CUT_SHORT)
        if self.dead or (self.current is None and not self.waiting):
            return False
        # The peer has sent all it will send (curl, netcat): it still wants the answers to its whole requests.
        # TLS cannot close one direction only.
        return self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.dead = self.deaf = True
        self.was_reset = exc is not None
        self.listener.connections.discard(self)
        parsing, self.parsing, self.upgrading = self.parsing, None, None
        self.waiting.clear()
        self._drop_requests(parsing)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self.unsent = 0  # the peer has read: the time it may leave bytes unread starts anew
        current = self.current
        if current is not None and current.on_drain is not None:
            current.on_drain()

    # --- the parser's events ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.deaf:
            self.parsing = None
            return
        self.parsing = Exchange(self)
        self.head_done = False
        self.head_seen = 0
        self.since = self.clock.now

    def on_url(self, piece: bytes) -> None:
        if self.parsing is not None:
            self.parsing.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.parsing
        if exchange is None:
            return
        name = name.lower()
        if self.head_done:
            self._passes(bounds.trailer(self, exchange, name, value))
            return
        headers = exchange.headers
        if name in headers:
            self._passes(bounds.repeated_field(self, exchange, name, value))
        else:
            headers[name] = value

    def on_headers_complete(self) -> None:
        exchange = self.parsing
        if exchange is None:
            return
        parser = self.parser
        exchange.method = parser.get_method()
        exchange.keep_alive = parser.should_keep_alive()
        headers = exchange.headers
        self.body = Body.SMALL
        if (
            b"host" not in headers
            or not exchange.keep_alive
            # Without this header, only version 1.1 keeps alive; with its usual value there is no upgrade.
            or (
                b"connection" in headers and (headers[b"connection"] not in USUAL or parser.get_http_version() != "1.1")
            )
            or exchange.target[0] != SLASH
            or exchange.method == b"CONNECT"
            or exchange.repeated
            or self.crowded
            or self.head_seen
            or len(headers) > self.limits.header_count
        ) and not self._check_head(exchange):
            return
        self.head_done = True
        if b"content-length" in headers:
            self.length = length = int(headers[b"content-length"])
            if length <= SMALL_BODY_BYTES and b"expect" not in headers and length <= self.limits.body_bytes:
                if length:
                    self.expect_body()
            elif length:
                bodies.take(self, exchange)
        elif b"transfer-encoding" in headers:
            self.length = None
            if headers[b"transfer-encoding"].strip().lower() == b"chunked":
                bodies.take(self, exchange)
            else:
                self.head_done = False
                self.refuse(501, "the only transfer coding served is chunked")

    def on_body(self, piece: bytes) -> None:
        exchange = self.parsing
        if exchange is None:
            return
        self.body_seen += len(piece)
        body = self.body
        if body is Body.SMALL:
            exchange.body = exchange.body + piece if exchange.body else piece
        elif body is Body.FILLED:
            end = self.filled + len(piece)
            self.target_buffer[self.filled : end] = piece
            self.filled = end
        elif body is Body.STREAMED:
            if self.sink is not None:
                self.sink.chunk(piece)
        elif body is Body.HELD:
            self.target_buffer += piece
        elif body is Body.COLLECTED:
            if self.body_seen > self.body_limit:
                bodies.drop(self, exchange)
            else:
                self.target_buffer += piece
        elif self.body_seen > self.body_limit + self.limits.drain_bytes:
            bodies.give_up(self, exchange)

    def on_message_complete(self) -> None:
        exchange = self.parsing
        if exchange is None:
            return
        self.parsing = None
        if self.body is Body.SMALL and self.current is None and not self.waiting:
            exchange.complete = True
            self.current = exchange
            if exchange.method == b"GET":
                self.repeatable = exchange
            self.application.handle(exchange)
        else:
            self._complete(exchange)

    def expect_body(self) -> None:
        """A body starts: its time runs."""
        self.since = self.clock.now
        self.body_seen = 0

    # --- requests ---------------------------------------------------------------------------------------------

    def _complete(self, exchange: Exchange) -> None:
        exchange.complete = True
        body, self.body = self.body, Body.SMALL
        self.head_seen = 0
        if self.current is not exchange:
            if body is Body.HELD:
                exchange.body, self.target_buffer = self.target_buffer, bytearray()
            else:
                self.waiting.append(exchange)
            return
        self.filled = 0
        if self.body_paused:
            self.body_paused = False
            self.pace_reading()
        if body is Body.STREAMED:
            bodies.end_sink(self, exchange)
            return
        if body is not Body.DROPPED:
            exchange.body, self.target_buffer = self.target_buffer, bytearray()
        self.application.handle(exchange)

    def answered(self, exchange: Exchange) -> None:
        """The exchange's answer has been written: its connection closes, or the next request has its turn."""
        self.current = None
        self.since = self.clock.now
        if not exchange.complete:
            self._linger()
        elif not exchange.keep_alive or ((self.eof or self.listener.draining) and not self.waiting):
            if self.deaf:
                self._linger()
            else:
                self.close()
        elif self.waiting and not self.advancing:
            self._advance()

    def _advance(self) -> None:
        self.advancing = True
        try:
            while self.waiting and self.current is None and not self.dead:
                exchange = self.waiting.popleft()
                if not exchange.held:
                    self.current = exchange
                    self.application.handle(exchange)
                elif exchange.complete:
                    bodies.begin_held(self, exchange)
                else:
                    bodies.begin(self, exchange)
        except BaseException:
            self.abort()
            raise
        finally:
            self.advancing = False
        self.pace_reading()

    def pause_body(self, exchange: Exchange) -> None:
        """Stop reading, if it is this exchange's body that is being received."""
        if self.parsing is exchange and self.current is exchange:
            self.body_paused = True
            self.pace_reading()

    def resume_body(self, exchange: Exchange) -> None:
        """Read again after :meth:`pause_body`."""
        if self.parsing is exchange and self.current is exchange:
            self.body_paused = False
            # A body that was held back owes its rate from now on.
            self.since = self.clock.now
            self.pace_reading()

    def pace_reading(self) -> None:
        """Read, or do not, as it is wanted now."""
        pause = (bool(self.waiting) or self.body_paused or self.resting) and not self.dead
        if pause != self.reading_paused:
            self.reading_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # --- what is refused --------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                exchange, self.upgrading = self.upgrading, None
                if exchange is None:
                    self.parser = httptools.HttpRequestParser(self)
                else:
                    resume(self, exchange, self.parser.get_http_version())
                if data and not self.deaf:
                    continue
            except httptools.HttpParserCallbackError:
                self.parsing = None
                self.abort()
                raise
            except httptools.HttpParserError as error:
                self.refuse(400, f"the request is not HTTP/1.1: {error}")
            return

    def _check_head(self, exchange: Exchange) -> bool:
        """The rare checks: what the parser lets pass and a careful server does not. False: go no further for now."""
        if not self._passes(bounds.head(self, exchange)):
            return False
        if self.parser.should_upgrade() and has_body(exchange):
            # The parser stops here; the exchange goes on when a fresh one stands in front of the body.
            self.upgrading, self.parsing = exchange, None
            return False
        return True

    def _passes(self, fault: Fault | None) -> bool:
        if fault is not None:
            self.refuse(*fault)
        return fault is None

    def refuse(self, status: int, reason: str) -> None:
        """Answer that the request cannot be read, unless an earlier one is still owed its answer; then close."""
        if self.deaf:
            return
        self.deaf = True
        exchange, self.parsing, self.upgrading = self.parsing, None, None
        self.target_buffer = bytearray()
        if self.waiting and self.waiting[-1] is exchange:
            self.waiting.pop()
        current = self.current
        if current is not None and current is not exchange:
            # Whole requests that came before the fault are still served; the connection closes behind the last.
            last = self.waiting[-1] if self.waiting else current
            last.keep_alive = False
            if exchange is not None and self.head_done:
                self.application.aborted(exchange)
            return
        self._drop_requests(exchange)
        if current is not None and current.streaming:
            self.abort()  # in the middle of an answer, cutting it is the only way to tell
        else:
            self.transport.write(self.application.malformed(status, reason))
            self._linger()

    def _drop_requests(self, parsing: Exchange | None) -> None:
        """Tell the application that the request in hand and the one being received will not be answered."""
        exchange, self.current = self.current, None
        sink, self.sink = self.sink, None
        try:
            if sink is not None:
                sink.aborted()
        finally:
            if exchange is not None:
                self.application.aborted(exchange)
            if parsing is not None and parsing is not exchange and self.head_done:
                self.application.aborted(parsing)

    def _linger(self) -> None:
        """Close after the peer has had a moment to read the answer: what it still sends is dropped."""
        self.dead = self.deaf = True
        self.current = self.parsing = self.sink = None
        self.waiting.clear()
        self.target_buffer = bytearray()
        self.since = self.clock.now
        transport = self.transport
        if transport.is_closing():
            return
        transport.set_protocol(self)
        self.pace_reading()
        if self.eof or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()

    def announce_close(self) -> None:
        """The last request that is in hand is the last one of this connection, and its answer may say so."""
        last = self.waiting[-1] if self.waiting else self.current or self.parsing
        if last is not None:
            last.keep_alive = False

    def close(self) -> None:
        """Close when everything written has been sent."""
        self.dead = self.deaf = True
        self.transport.close()

    def abort(self) -> None:
        """Cut the connection at once."""
        self.dead = self.deaf = True
        self.transport.abort()
