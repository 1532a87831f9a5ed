"""The answer to an asynchronous invocation: 202 once the event is durable, an error if it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from venturekit.service.api.errors import ApiError
    from venturekit.service.invocation.invoke import InvokePath
    from venturekit.service.wire.exchange import Exchange


class Acceptance:
    """A caller who waits to hear that the event was accepted."""

    __slots__ = ("_exchange", "_path", "_request_id", "_shown_trace")

    def __init__(self, path: InvokePath, exchange: Exchange, request_id: str, shown_trace: bytes) -> None:
        self._path = path
        self._exchange = exchange
        self._request_id = request_id
        self._shown_trace = shown_trace

    def settle(self, error: ApiError | None) -> None:
        """Answer: the event was committed, or why it was not."""
        exchange = self._exchange
        if error is not None:
            self._path.refuse(exchange, error, self._request_id)
        elif not exchange.gone:
            exchange.respond(
                b"HTTP/1.1 202 Accepted\r\nDate: %b\r\nContent-Length: 0\r\nConnection: %b\r\nx-amzn-RequestId: %b\r\n"
                b"x-amzn-Remapped-Content-Length: 0\r\nX-Amzn-Trace-Id: %b\r\n\r\n"
                % (
                    self._path.clock.date,
                    b"keep-alive" if exchange.keep_alive else b"close",
                    self._request_id.encode(),
                    self._shown_trace,
                )
            )
