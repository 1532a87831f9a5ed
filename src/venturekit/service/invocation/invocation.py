"""One synchronous invocation: what the environment runs, and how its outcome reaches the caller."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.invocation.concurrency import Concurrency
    from venturekit.service.invocation.invoke import InvokePath
    from venturekit.service.wire.exchange import Exchange

SMALL_PAYLOAD_BYTES: Final = 65_536


class Invocation:
    """An event on its way through the service. Satisfies the port of the environments."""

    __slots__ = (
        "concurrency",
        "enqueued",
        "exchange",
        "extra_headers",
        "invoked_arn",
        "path",
        "payload",
        "request_id",
        "shown_trace",
        "tail",
        "trace",
        "version",
    )

    def __init__(
        self,
        path: InvokePath,
        concurrency: Concurrency,
        exchange: Exchange,
        request_id: bytes,
        invoked_arn: bytes,
        version: bytes,
        payload: bytes | bytearray,
        trace: tuple[bytes, bytes],
        extra_headers: bytes,
        tail: bool,
    ) -> None:
        self.path = path
        self.concurrency = concurrency
        self.exchange = exchange
        self.request_id = request_id
        self.invoked_arn = invoked_arn
        self.version = version
        self.payload = payload
        self.trace, self.shown_trace = trace
        self.extra_headers = extra_headers
        self.tail = tail
        self.enqueued = 0.0

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """Answer the caller: 200 with the function's payload, function errors included."""
        path = self.path
        self.concurrency.release()
        exchange = self.exchange
        extra = b""
        if error:
            extra = b"X-Amz-Function-Error: %b\r\n" % error
        if log_tail:
            extra += b"X-Amz-Log-Result: %b\r\n" % base64.b64encode(log_tail)
        head = (
            b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: %b\r\nx-amzn-RequestId: %b\r\nx-amzn-Remapped-Content-Length: 0\r\n"
            b"X-Amz-Executed-Version: %b\r\n%bX-Amzn-Trace-Id: %b\r\n\r\n"
            % (
                path.clock.date,
                len(payload),
                b"keep-alive" if exchange.keep_alive else b"close",
                self.request_id,
                self.version,
                extra,
                self.shown_trace,
            )
        )
        if len(payload) <= SMALL_PAYLOAD_BYTES:
            exchange.respond(head + payload)
        else:
            exchange.respond_parts(head, payload)

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        """A streamed response is collected: the caller wants it in one piece."""
        return False

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        """Nothing is taken piece by piece."""
        raise NotImplementedError

    def reject(self, reason: str) -> None:
        """Answer the caller that the function was not run."""
        self.concurrency.release()
        self.path.refuse_unavailable(self.exchange, self.request_id, reason)


def with_response_form(trace: bytes) -> tuple[bytes, bytes]:
    """A caller's trace header, and the form in which Lambda answers it: root and sampling, names in lower case."""
    root = b""
    sampled = b"0"
    for field in trace.split(b";"):
        if field.startswith(b"Root="):
            root = field[5:]
        elif field.startswith(b"Sampled=1"):
            sampled = b"1"
    return trace, b"root=%b;sampled=%b" % (root, sampled)
