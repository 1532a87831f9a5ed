"""The answer of InvokeWithResponseStream: the function's response as events (AWS page "InvokeWithResponseStream")."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.eventstream import PAYLOAD_LIMIT_BYTES, encode_event, encode_event_parts
from venturekit.service.invocation.invocation import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STREAMED_TYPE: Final = b"X-Venturekit-Response-Content-Type"
"""What the runtime says its stream is: a front end tells by it whether the stream begins with status and headers."""
CHUNK_BYTES: Final = 65_536
CROPPED_CHARACTERS: Final = 1024 * 1024
"""How much is told of an error that one event cannot hold: JSON may need twelve bytes for a character."""
_BINARY: Final = "application/octet-stream"
_JSON: Final = "application/json"


class StreamedInvocation(Invocation):
    """An invocation whose caller reads events: each piece as the runtime sends it, or all when the function ends."""

    __slots__ = ("_streaming",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._streaming = False

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        """The caller gets the head of the answer now, and the pieces as they come."""
        self._streaming = True
        exchange = self.exchange
        exchange.on_drain = resume
        framing = b"%b: %b\r\n" % (STREAMED_TYPE, content_type)
        if exchange.chunked:
            framing = b"Transfer-Encoding: chunked\r\n" + framing
        else:
            exchange.close_after()
        exchange.start(self._head(framing))
        return True

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        """What has come of the response, as one event. What a caller who has gone would have got is dropped."""
        exchange = self.exchange
        if exchange.gone:
            return True
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return exchange.write_parts(encode_event_parts("PayloadChunk", data, _BINARY)) or exchange.gone

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """Answer with what is left: the payload in chunks if it was not streamed, or the error, and how it ended."""
        self.concurrency.release()
        exchange = self.exchange
        if self._streaming:
            exchange.on_drain = None
            exchange.write(complete_event(payload, error, log_tail))
            exchange.finish()
            return
        body = response_events(payload, error, log_tail)
        exchange.respond_parts(self._head(b"Content-Length: %d\r\n" % len(body)), body)

    def _head(self, framing: bytes) -> bytes:
        return (
            b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/vnd.amazon.eventstream\r\n%b"
            b"Connection: %b\r\nx-amzn-RequestId: %b\r\nx-amzn-Remapped-Content-Length: 0\r\n"
            b"X-Amz-Executed-Version: %b\r\nX-Amzn-Trace-Id: %b\r\n\r\n"
            % (
                self.path.clock.date,
                framing,
                b"keep-alive" if self.exchange.keep_alive else b"close",
                self.request_id,
                self.version,
                self.shown_trace,
            )
        )


def response_events(payload: bytes | bytearray, error: bytes, log_tail: bytes) -> bytes:
    """The events of a whole response. ``error`` is the kind of function error, empty if there was none.

    A failed function sends no chunk: its payload is the ErrorDetails of InvokeComplete.
    """
    events = []
    if not error:
        view = memoryview(payload)
        events = [
            encode_event("PayloadChunk", bytes(view[start : start + CHUNK_BYTES]), _BINARY)
            for start in range(0, len(view), CHUNK_BYTES)
        ]
    events.append(complete_event(payload, error, log_tail))
    return b"".join(events)


def complete_event(payload: bytes | bytearray, error: bytes, log_tail: bytes) -> bytes:
    """The last event of every response; with ``error``, ``payload`` tells of it."""
    complete: dict[str, str] = {}
    if error:
        complete["ErrorCode"] = error.decode()
        complete["ErrorDetails"] = payload.decode("utf-8", "replace")
    if log_tail:
        complete["LogResult"] = base64.b64encode(log_tail).decode()
    told = json.dumps(complete).encode()
    if len(told) > PAYLOAD_LIMIT_BYTES:
        complete["ErrorDetails"] = complete["ErrorDetails"][:CROPPED_CHARACTERS]
        told = json.dumps(complete).encode()
    return encode_event("InvokeComplete", told, _JSON)
