"""A response that a runtime sends piece by piece (AWS page "Response streaming"): a sink of the wire.

Whoever invoked takes each piece as it comes, or has them collected. Back pressure goes all the way: a caller who does
not keep up stops the reading of the runtime's socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments import bad_answers
from venturekit.service.environments.failures import RESPONSE_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.runtime_api import RuntimeApi
    from venturekit.service.environments.seats import Seat
    from venturekit.service.wire.exchange import Exchange

STREAM_LIMIT_BYTES: Final = 200 * 1024 * 1024
"""AWS page "Lambda quotas": the most that a streamed response may have."""
CONTENT_TYPE_LIMIT_BYTES: Final = 1024
"""A runtime's header may have a mebibyte, and clients refuse an answer with such a line. No media type is longer."""
_BINARY: Final = b"application/octet-stream"


class ResponseBody:
    """Takes the body of one streamed response of a runtime."""

    __slots__ = (
        "_api",
        "_collected",
        "_exchange",
        "_invocation",
        "_left",
        "_limit",
        "_live",
        "_pieces",
        "_seat",
        "began_at",
    )

    def __init__(self, api: RuntimeApi, seat: Environment | Seat, exchange: Exchange) -> None:
        invocation = seat.invocation
        assert invocation is not None  # the runtime has been asked for which one it answers
        self._api = api
        self._seat = seat
        self._exchange = exchange
        self._invocation = invocation
        content_type = exchange.headers.get(b"content-type", b"").strip()
        if not 0 < len(content_type) <= CONTENT_TYPE_LIMIT_BYTES:
            content_type = _BINARY
        self.began_at = seat.host.monotonic()
        seat.streaming = True
        seat.streamed = self
        self._live = invocation.begin_stream(content_type, exchange.resume)
        self._limit = self._left = STREAM_LIMIT_BYTES if self._live else RESPONSE_LIMIT_BYTES
        self._collected = bytearray()
        self._pieces: list[bytes] = []

    def chunk(self, data: bytes) -> None:
        """The next piece."""
        if self._is_over:
            return  # timed out, or too large already: what still comes is nobody's
        self._left -= len(data)
        if self._left < 0:
            self._too_large()
        elif self._live:
            self._pieces.append(data)
        else:
            self._collected += data

    def flush(self) -> None:
        """Pass on what one read has brought: a function that sends many small pieces costs no event for each."""
        pieces = self._pieces
        if pieces:
            self._pieces = []
            if not self._invocation.chunks(pieces):
                self._exchange.pause()

    def end(self, trailers: Mapping[bytes, bytes]) -> None:
        """The body is complete; the trailers say whether the function failed in the middle of it."""
        self.flush()
        if self._is_over:
            self._api.refuse_late(self._exchange)
            return
        self._api.response_ended(self._seat, self._exchange, self._collected, trailers)

    def aborted(self) -> None:
        """The runtime's connection ended in the middle of the body."""
        self.flush()
        if not self._is_over:
            bad_answers.cut_off(self._seat)

    def _too_large(self) -> None:
        self.flush()
        self._collected = bytearray()
        bad_answers.too_large(self._seat, self._limit)
        self._api.refuse_too_large(self._exchange, self._limit)

    @property
    def received_bytes(self) -> int:
        """How much of the response has come."""
        return self._limit - self._left

    @property
    def _is_over(self) -> bool:
        return self._seat.invocation is not self._invocation
