"""The answer of InvokeWithResponseStream: the function's response as events (AWS page "InvokeWithResponseStream")."""

from __future__ import annotations

import base64
import json
from typing import Final

from venturekit.protocol.eventstream import encode_event
from venturekit.service.invocation.invocation import Invocation

CHUNK_BYTES: Final = 65_536
_BINARY: Final = "application/octet-stream"
_JSON: Final = "application/json"


class StreamedInvocation(Invocation):
    """An invocation whose caller reads events. The function has ended before the first one is sent."""

    __slots__ = ()

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """Answer with the payload in chunks, or none and the error, and how it ended."""
        self.concurrency.release()
        exchange = self.exchange
        body = response_events(payload, error, log_tail)
        head = (
            b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/vnd.amazon.eventstream\r\nContent-Length: %d\r\n"
            b"Connection: %b\r\nx-amzn-RequestId: %b\r\nx-amzn-Remapped-Content-Length: 0\r\n"
            b"X-Amz-Executed-Version: %b\r\nX-Amzn-Trace-Id: %b\r\n\r\n"
            % (
                self.path.clock.date,
                len(body),
                b"keep-alive" if exchange.keep_alive else b"close",
                self.request_id,
                self.version,
                self.shown_trace,
            )
        )
        exchange.respond_parts(head, body)


def response_events(payload: bytes | bytearray, error: bytes, log_tail: bytes) -> bytes:
    """The events of a whole response. ``error`` is the kind of function error, empty if there was none.

    A failed function sends no chunk: its payload is the ErrorDetails of InvokeComplete.
    """
    complete: dict[str, str] = {}
    events = []
    if error:
        complete["ErrorCode"] = error.decode()
        complete["ErrorDetails"] = payload.decode("utf-8", "replace")
    else:
        view = memoryview(payload)
        events = [
            encode_event("PayloadChunk", bytes(view[start : start + CHUNK_BYTES]), _BINARY)
            for start in range(0, len(view), CHUNK_BYTES)
        ]
    if log_tail:
        complete["LogResult"] = base64.b64encode(log_tail).decode()
    events.append(encode_event("InvokeComplete", json.dumps(complete).encode(), _JSON))
    return b"".join(events)
