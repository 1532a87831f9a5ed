"""The events of a streamed answer, from bytes that come in any pieces. No I/O.

Source: botocore model ``lambda/2015-03-31``, ``InvokeWithResponseStreamResponseEvent``; "Amazon Event Stream
Specification" of Smithy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.client.errors import LambdaServiceException, StreamError
from venturekit.client.shapes import InvokeComplete, InvokeWithResponseStreamResponseEvent, PayloadChunk
from venturekit.protocol.eventstream import EventStreamError, MessageDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from venturekit.protocol.eventstream import Message


class EventReader:
    """Feed it what comes, take the events, and call ``end`` when nothing more comes."""

    __slots__ = ("_decoder", "is_complete")

    def __init__(self) -> None:
        self._decoder = MessageDecoder()
        self.is_complete = False

    def feed(self, data: bytes) -> Iterator[InvokeWithResponseStreamResponseEvent]:
        """The events that are whole now. Raises StreamError, or LambdaServiceException if that is what was sent."""
        try:
            for message in self._decoder.feed(data):
                if self.is_complete:
                    raise StreamError("the stream goes on after its last event")
                yield self._event(message)
        except EventStreamError as problem:
            raise StreamError(str(problem)) from None

    def end(self) -> None:
        """Nothing more comes. Raises StreamError if the last event has not come."""
        try:
            self._decoder.end()
        except EventStreamError as problem:
            raise StreamError(str(problem)) from None
        if not self.is_complete:
            raise StreamError("the stream ended without its last event: the answer of the function is not whole")

    def _event(self, message: Message) -> InvokeWithResponseStreamResponseEvent:
        headers = message.headers
        kind = headers.get(":message-type")
        if kind == "event":
            name = headers.get(":event-type")
            if name == "PayloadChunk":
                return InvokeWithResponseStreamResponseEvent(PayloadChunk=PayloadChunk(Payload=message.payload))
            if name == "InvokeComplete":
                complete = InvokeComplete.of(_document(message))
                if not all(isinstance(complete.get(name, ""), str) for name in InvokeComplete.members):
                    raise StreamError(f"the last event of the stream holds what is no text: {message.payload[:80]!r}")
                self.is_complete = True
                return InvokeWithResponseStreamResponseEvent(InvokeComplete=complete)
            # Events that are not known yet are handed on under their own names.
            return InvokeWithResponseStreamResponseEvent.of({str(name): message.payload})
        if kind == "exception":
            found = _document(message)
            text = found.get("message") or found.get("Message") or ""
            raise _exception(str(headers.get(":exception-type", "")), str(text), found)
        if kind == "error":
            code, text = headers.get(":error-code", ""), headers.get(":error-message", "")
            raise _exception(str(code), str(text), {})
        raise StreamError(f"a message of the stream has the type {kind!r}")


def _document(message: Message) -> dict[str, Any]:
    import json

    try:
        found = json.loads(message.payload or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StreamError(f"an event of the stream is no JSON object: {message.payload[:80]!r}")
    return found


def _exception(code: str, message: str, details: dict[str, Any]) -> LambdaServiceException:
    from venturekit.client.service_errors import error_for

    return error_for(code, 0)(message, code=code, status=200, details=details)
