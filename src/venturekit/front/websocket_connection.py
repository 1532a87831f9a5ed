"""One WebSocket connection: frames in, messages out, and every bound on what its client can do.

The frames are parsed by the ``websockets`` library, which does no I/O; time and bounds are dealt with here. A
connection that waits has no task and no timer: the gateway looks at all of them once a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, cast

from websockets.frames import CloseCode, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from venturekit.front.sockets import queued_bytes

if TYPE_CHECKING:
    from websockets.frames import Frame

    from venturekit.front.websocket_events import Session
    from venturekit.front.websocket_limits import WebSocketLimits

SLICE_BYTES: Final = 16 * 1024
"""What is parsed in one turn of the loop: a client may send thousands of frames in one piece."""
QUEUED_BYTES: Final = 256 * 1024
NORMAL: Final = (1000, "Connection Closed Normally")
GOING_AWAY: Final = (1001, "Going away")
ABNORMAL: Final = (1006, "Connection closed abnormally")
NO_STATUS: Final = "Client-side close frame status not set"


class Sent(Enum):
    """What became of a message to a client."""

    TAKEN = "taken"
    THROTTLED = "throttled"
    GONE = "gone"


class Owner(Protocol):
    """Who is told what happens to a connection."""

    def received(self, connection: WebSocketConnection) -> None:
        """Messages wait in ``connection.messages``, and nobody handles them yet."""

    def lost(self, connection: WebSocketConnection) -> None:
        """The connection is gone."""


class WebSocketConnection(asyncio.Protocol):
    """A connection after its handshake. ``idle_seconds`` without a message, and it is closed."""

    __slots__ = (
        "_closing_at",
        "_drained",
        "_fragments",
        "_frames",
        "_heard_at",
        "_idle_seconds",
        "_is_deaf",
        "_is_text",
        "_limits",
        "_loop",
        "_opened_at",
        "_owner",
        "_pinged_at",
        "_progress_at",
        "_queued_bytes",
        "_sent_bytes",
        "_transport",
        "_unparsed",
        "_used_at",
        "_written_bytes",
        "handling",
        "is_full",
        "messages",
        "session",
    )

    def __init__(
        self,
        session: Session,
        owner: Owner,
        limits: WebSocketLimits,
        *,
        idle_seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.session = session
        self._owner = owner
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._loop = loop
        self._frames = ServerProtocol(state=OPEN, max_size=(limits.message_bytes, limits.frame_bytes))
        self._transport = cast(asyncio.Transport, None)
        self.messages: deque[str | bytes] = deque()
        self.handling: asyncio.Task[None] | None = None
        self.is_full = False
        self._queued_bytes = 0
        self._fragments: list[bytes] | None = None
        self._is_text = False
        self._unparsed = b""
        self._is_deaf = False
        self._drained: asyncio.Future[None] | None = None
        self._opened_at = self._heard_at = self._used_at = loop.time()
        self._pinged_at: float | None = None
        self._closing_at: float | None = None
        self._progress_at: float | None = None
        self._written_bytes = 0
        self._sent_bytes = 0

    # --- what is asked of it --------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent: neither side has begun to close it."""
        return self._frames.state is OPEN and not self._transport.is_closing()

    @property
    def last_active_ms(self) -> int:
        """When the last message was sent or received, in epoch milliseconds."""
        return self.session.connected_at_ms + int((self._used_at - self._opened_at) * 1000)

    def take(self) -> str | bytes:
        """The next of ``messages``."""
        message = self.messages.popleft()
        self._queued_bytes -= len(message)
        self._listen()
        return message

    def send(self, data: bytes, *, is_text: bool) -> Sent:
        """Send a message, or say why not."""
        if not self.is_open:
            return Sent.GONE
        if self.is_full:
            return Sent.THROTTLED
        if is_text:
            self._frames.send_text(data)
        else:
            self._frames.send_binary(data)
        self._used_at = self._loop.time()
        self._flush()
        return Sent.TAKEN

    async def drained(self) -> None:
        """Return when the client has read so much that it can be sent more, or is gone."""
        while self.is_full and self.is_open:
            self._drained = self._loop.create_future()
            await self._drained

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; whether the client takes part or not, the connection ends soon."""
        if self.is_open:
            self._frames.send_close(code, reason)
            self._flush()
            self._begin_end()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    def ending(self) -> tuple[int, str]:
        """Code and reason of the close, by whichever side began it; of a connection that is lost."""
        received, sent = self._frames.close_rcvd, self._frames.close_sent
        if received is not None and (self._frames.close_rcvd_then_sent or sent is None):
            is_unsaid = received.code == CloseCode.NO_STATUS_RCVD
            return int(received.code), NO_STATUS if is_unsaid else received.reason
        return ABNORMAL if sent is None else (int(sent.code), sent.reason)

    def sweep(self, now: float, *, is_farewell: bool = False) -> None:
        """Close the connection if it is past one of its times; ``now`` as the loop tells it."""
        limits = self._limits
        if self._closing_at is not None:
            if (now - self._closing_at) * 1000 > (limits.farewell_ms if is_farewell else limits.close_ms):
                self.abort()
        elif self._is_unread(now):
            self.abort()
        elif (now - self._opened_at) * 1000 > limits.life_ms or now - self._used_at > self._idle_seconds:
            self.close(*GOING_AWAY)
        elif self._is_deaf or self.is_full:
            # What the client says is not listened to, and what it should hear does not get to it.
            self._heard_at, self._pinged_at = now, None
        elif self._pinged_at is not None:
            if (now - self._pinged_at) * 1000 > limits.pong_ms:
                self.abort()
        elif (now - self._heard_at) * 1000 > limits.quiet_ms:
            self._pinged_at = now
            self._frames.send_ping(b"")
            self._flush()

    # --- the transport's calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.unsent_bytes)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._pinged_at = None
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._parse()

    def eof_received(self) -> None:
        while self._unparsed:
            self._parse()
        self._frames.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        self._wake()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """The client does not keep up: it gets nothing more, and nothing more is read of it."""
        self.is_full = True
        self._listen()

    def resume_writing(self) -> None:
        self.is_full = False
        self._wake()
        self._listen()

    # --- messages -------------------------------------------------------------------------------------------------

    def _parse(self) -> None:
        data, self._unparsed = self._unparsed[:SLICE_BYTES], self._unparsed[SLICE_BYTES:]
        was_open = self._frames.state is OPEN
        self._frames.receive_data(data)
        for frame in self._frames.events_received():
            self._take_frame(cast("Frame", frame))
        self._flush()
        if was_open and self._frames.state is not OPEN:
            self._begin_end()
        if self.messages and self.handling is None:
            self._owner.received(self)
        self._listen()

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            self._used_at = self._heard_at
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) or self._closing_at is not None:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            self._fragments = []
        fragments = self._fragments
        if fragments is None:
            return
        # A message in a thousand pieces of nothing takes no memory.
        if frame.data:
            fragments.append(bytes(frame.data))
        if frame.fin:
            self._fragments = None
            self._take_message(fragments[0] if len(fragments) == 1 else b"".join(fragments))

    def _take_message(self, data: bytes) -> None:
        message: str | bytes = data
        if self._is_text:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self._frames.fail(CloseCode.INVALID_DATA, "the message is not UTF-8")
                self._begin_end()
                return
        self._used_at = self._heard_at
        self._queued_bytes += len(message)
        self.messages.append(message)

    def _listen(self) -> None:
        """Read on, or no further, as the bounds have it."""
        if self._transport.is_closing():
            return
        is_behind = len(self.messages) >= self._limits.queued_messages or self._queued_bytes >= QUEUED_BYTES
        must_wait = (is_behind or self.is_full) and self._closing_at is None
        if self._unparsed and not must_wait:
            self._pause()
            self._loop.call_soon(self._go_on)
        elif must_wait:
            self._pause()
        elif self._is_deaf:
            self._is_deaf = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._is_deaf:
            self._is_deaf = True
            self._transport.pause_reading()

    def _go_on(self) -> None:
        if self._unparsed and not self._transport.is_closing():
            self._parse()

    # --- writing --------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        pieces = self._frames.data_to_send()
        if not pieces or self._transport.is_closing():
            return
        data = b"".join(pieces)
        if data:
            self._written_bytes += len(data)
            self._transport.write(data)
        if pieces[-1] == b"":
            if self._frames.close_rcvd is None and self._transport.can_write_eof():
                # The client reads why before it sees the end, also one that is still sending.
                self._transport.write_eof()
            else:
                self._transport.close()

    def _begin_end(self) -> None:
        if self._closing_at is None:
            self._closing_at = self._loop.time()
            self._wake()
            self._listen()

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _is_unread(self, now: float) -> bool:
        """Whether the client has read nothing for too long of what waits for it."""
        left = self._transport.get_write_buffer_size()
        if not left:
            self._progress_at = None
            return False
        sent = self._written_bytes - left - queued_bytes(self._transport)
        if self._progress_at is None or sent > self._sent_bytes:
            self._progress_at = now
        self._sent_bytes = sent
        return (now - self._progress_at) * 1000 > self._limits.unread_ms
