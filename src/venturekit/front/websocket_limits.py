"""The bounds of WebSocket connections, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MESSAGE_BYTES: Final = 128 * 1024
FRAME_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketLimits:
    """Times in milliseconds, sizes in bytes. The idle timeout is the API's own.

    Source of the sizes, of ``life_ms`` and ``integration_timeout_ms``: API Gateway Developer Guide, "Quotas for
    configuring and running a WebSocket API"; the others are choices.
    """

    message_bytes: int = MESSAGE_BYTES
    frame_bytes: int = FRAME_BYTES
    life_ms: int = 7_200_000
    integration_timeout_ms: int = 29_000
    connections: int = 20_000
    queued_messages: int = 16
    """Messages of one connection that may wait for the one that is handled; then no more is read of it."""
    unsent_bytes: int = 256 * 1024
    """What may wait for a client that does not read; with more, posts to it are throttled."""
    unread_ms: int = 20_000
    """How long a client may leave bytes unread without any progress."""
    quiet_ms: int = 60_000
    """After so long without a word of the client it is asked with a ping whether it is there."""
    pong_ms: int = 20_000
    close_ms: int = 5_000
    """How long a client gets to take part in the closing handshake."""
    farewell_ms: int = 2_000
    """The same when the service ends, which waits for five seconds: the functions of ``$disconnect`` come after it."""
    integrations: int = 512
    """Functions that run at once for all WebSocket APIs together; the others' turns come."""
