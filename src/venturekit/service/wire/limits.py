"""What a listener lets a peer do: sizes and times."""

from __future__ import annotations

from dataclasses import dataclass

KIBIBYTE = 1024
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener. Times are in seconds, sizes in bytes; ``None`` means no limit.

    ``connections``: how many may be open at once; more are cut as soon as they are accepted.
    ``head_bytes``: request line and header fields together (one line may use it all); also trailers together.
    ``header_count``: header fields of one request, repeated ones counted each; also trailers.
    ``body_bytes``: the largest request body, unless the application names another one for a request.
    ``drain_bytes``: how much of a body over its limit is read and dropped so that the peer, which
    writes before it reads, still hears the refusal; past that the connection is closed at once.
    ``head_timeout``: from the first byte of a request to the end of its head.
    ``body_grace`` and ``body_bytes_per_second``: a body must keep up this mean rate once the grace is over.
    ``keep_alive``: how long a connection may rest between two requests.
    ``write_timeout``: how long a peer may leave written bytes unread without any progress, however slow.
    """

    connections: int | None = None
    head_bytes: int = 16 * KIBIBYTE
    header_count: int = 100
    body_bytes: int = 6 * MEBIBYTE
    drain_bytes: int = 64 * MEBIBYTE
    head_timeout: float | None = 10.0
    body_grace: float | None = 10.0
    body_bytes_per_second: int = 1000
    keep_alive: float | None = 120.0
    write_timeout: float | None = 30.0
