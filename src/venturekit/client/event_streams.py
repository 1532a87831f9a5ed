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

OK = 200
DRAIN_SECONDS = 1.0
"""How long the end of an answer may follow its last event, for the connection to be kept."""

# No generators here: a generator of a method and its object hold each other, and whoever drops the stream would keep
# the connection until the garbage is collected.


class EventStream:
    """The events of an answer, while the function writes it; once. Iterate to the end, or close it::

        with output.EventStream as events:
            for event in events: ...

    Iterating raises StreamError for a stream that is damaged or ends early, LambdaServiceException if the service sent
    one, TransportError if the connection is lost. Another thread may close it: then the iteration ends. One thread at a
    time may iterate: RuntimeError.
    """

    def __init__(self, response: OpenResponse, operation: str, url: str) -> None:
        self._response = response
        self._operation = operation
        self._url = url
        self._reader = EventReader()
        self._ready: Iterator[InvokeWithResponseStreamResponseEvent] = iter(())
        # A dry run is answered without any event.
        self._is_over = response.status != OK
        self._is_reading = False
        if self._is_over:
            response.finish(DRAIN_SECONDS)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> InvokeWithResponseStreamResponseEvent:
        if self._is_reading:
            raise RuntimeError("another thread reads this stream")
        self._is_reading = True
        try:
            while not self._is_over:
                event = next(self._ready, None)
                if event is None:
                    self._ready = self._reader.feed(self._read())
                    continue
                if self._reader.is_complete:
                    # Whoever stops here, as most do, would else leave the connection open and unused.
                    self._ready = self._reader.feed(self._response.finish(DRAIN_SECONDS))
                return event
        except BaseException:
            self.close()
            raise
        finally:
            self._is_reading = False
        raise StopIteration

    def close(self) -> None:
        """Take nothing more. The connection is closed if the answer has not ended; the function runs on."""
        self._is_over = True
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _read(self) -> bytes:
        try:
            data = self._response.read()
        except ExchangeError as problem:
            if self._is_over:
                # It was closed meanwhile.
                return b""
            raise transport_error(problem, self._operation, self._url) from problem
        if not data and not self._is_over:
            self._reader.end()
            self._is_over = True
        return data


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

    @property
    def log_result(self) -> str | None:
        """The end of the log as a text, if it was asked for and the stream has ended."""
        return None if self.completion is None else decoded_log(self.completion.LogResult)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        for event in self._events:
            if event.PayloadChunk is not None:
                return event.PayloadChunk.Payload
            if event.InvokeComplete is not None:
                self._complete(event.InvokeComplete)
        raise StopIteration

    def close(self) -> None:
        """Take nothing more. The function runs on, and is not waited for."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _complete(self, completion: InvokeComplete) -> None:
        self.completion = completion
        failure = completion_failure(completion, self.status_code, self.executed_version, self.request_id)
        if failure is not None:
            self.close()
            raise failure
