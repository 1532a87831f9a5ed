"""Streamed answers of the blocking client. Those of the asynchronous one are in ``async_streams.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.client.event_reading import EventReader
from venturekit.client.failures import transport_error
from venturekit.client.invocation import completion_failure, decoded_log
from venturekit.transport.errors import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from venturekit.client.invoke_commands import InvokeWithResponseStreamCommandOutput
    from venturekit.client.shapes import InvokeComplete, InvokeWithResponseStreamResponseEvent
    from venturekit.transport.connections import OpenResponse

DRAIN_SECONDS = 1.0
"""How long the end of an answer may follow its last event, for the connection to be kept."""


class EventStream:
    """The events of an answer, while the function writes it; once. Iterate to the end, or close it::

        with output.EventStream as events:
            for event in events: ...

    Iterating raises StreamError for a stream that is damaged or ends early, LambdaServiceException if the service sent
    one, TransportError if the connection is lost.
    """

    def __init__(self, response: OpenResponse, operation: str, url: str) -> None:
        self._response = response
        self._operation = operation
        self._url = url
        self._events = self._read()

    def __iter__(self) -> Iterator[InvokeWithResponseStreamResponseEvent]:
        return self._events

    def __next__(self) -> InvokeWithResponseStreamResponseEvent:
        return next(self._events)

    def close(self) -> None:
        """Take nothing more. The connection is closed if the answer has not ended; the function runs on."""
        self._response.close()
        self._events.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _read(self) -> Iterator[InvokeWithResponseStreamResponseEvent]:
        reader = EventReader()
        try:
            while True:
                try:
                    data = self._response.read()
                except ExchangeError as problem:
                    raise transport_error(problem, self._operation, self._url) from problem
                if not data:
                    reader.end()
                    return
                for event in reader.feed(data):
                    if reader.is_complete:
                        # Whoever stops here, as most do, would else leave the connection open and unused.
                        self._response.finish(DRAIN_SECONDS)
                    yield event
        finally:
            self._response.close()


class InvocationStream:
    """What a function writes, chunk by chunk, as it comes::

        with client.invoke_stream("story", {"prompt": "a cat"}) as stream:
            for chunk in stream:
                sys.stdout.buffer.write(chunk)

    Behind the last chunk ``completion`` has the last event, ``log_result`` the end of the log if it was asked for. A
    function that fails after it has begun raises StreamInvocationError there.
    """

    def __init__(self, output: InvokeWithResponseStreamCommandOutput) -> None:
        self.status_code = output.StatusCode
        self.executed_version = output.ExecutedVersion
        self.request_id = output.metadata.request_id
        self.completion: InvokeComplete | None = None
        self._events = output.EventStream
        self._chunks = self._read()

    @property
    def log_result(self) -> str | None:
        """The end of the log as a text, if it was asked for and the stream has ended."""
        return None if self.completion is None else decoded_log(self.completion.LogResult)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Take nothing more. The function runs on, and is not waited for."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _read(self) -> Iterator[bytes]:
        for event in self._events:
            if event.PayloadChunk is not None:
                yield event.PayloadChunk.Payload
            elif event.InvokeComplete is not None:
                self.completion = event.InvokeComplete
                failure = completion_failure(
                    event.InvokeComplete, self.status_code, self.executed_version, self.request_id
                )
                if failure is not None:
                    raise failure
