"""Streamed answers of the asynchronous client. Those of the blocking one are in ``event_streams.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.client.event_reading import EventReader
from venturekit.client.event_streams import DRAIN_SECONDS, OK
from venturekit.client.failures import transport_error
from venturekit.client.invocation import completion_failure, decoded_log
from venturekit.transport.errors import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType
    from typing import Self

    from venturekit.client.async_transport import AsyncResponse
    from venturekit.client.invoke_commands import AsyncInvokeWithResponseStreamCommandOutput
    from venturekit.client.shapes import InvokeComplete, InvokeWithResponseStreamResponseEvent


class AsyncEventStream:
    """The events of an answer, while the function writes it; once. Iterate to the end, or close it::

        async with output.EventStream as events:
            async for event in events: ...

    Iterating raises StreamError for a stream that is damaged or ends early, LambdaServiceException if the service sent
    one, TransportError if the connection is lost. Another task may close it: then the iteration ends. One task at a
    time may iterate: RuntimeError.
    """

    def __init__(self, response: AsyncResponse, operation: str, url: str) -> None:
        self._response = response
        self._operation = operation
        self._url = url
        self._reader = EventReader()
        self._ready: Iterator[InvokeWithResponseStreamResponseEvent] = iter(())
        # A dry run is answered without any event.
        self._is_over = response.status != OK
        self._is_reading = False
        if self._is_over:
            response.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> InvokeWithResponseStreamResponseEvent:
        if self._is_reading:
            raise RuntimeError("another task reads this stream")
        self._is_reading = True
        try:
            while not self._is_over:
                event = next(self._ready, None)
                if event is None:
                    self._ready = self._reader.feed(await self._read())
                    continue
                if self._reader.is_complete:
                    # Whoever stops here, as most do, would else leave the connection open and unused.
                    self._ready = self._reader.feed(await self._response.finish(DRAIN_SECONDS))
                return event
        except BaseException:
            self._close()
            raise
        finally:
            self._is_reading = False
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Take nothing more. The connection is closed if the answer has not ended; the function runs on."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._is_over = True
        self._response.close()

    async def _read(self) -> bytes:
        try:
            data = await self._response.read()
        except ExchangeError as problem:
            if self._is_over:
                # It was closed meanwhile.
                return b""
            raise transport_error(problem, self._operation, self._url) from problem
        if not data and not self._is_over:
            self._reader.end()
            self._is_over = True
        return data


class AsyncInvocationStream:
    """What a function writes, chunk by chunk, as it comes::

        async with client.invoke_stream("story", {"prompt": "a cat"}) as stream:
            async for chunk in stream: ...

    The request is sent with ``async with``, or else with the first chunk that is asked for. Behind the last chunk
    ``completion`` has the last event, ``log_result`` the end of the log if it was asked for. A function that fails
    after it has begun raises StreamInvocationError there.
    """

    def __init__(self, begin: Callable[[], Awaitable[AsyncInvokeWithResponseStreamCommandOutput]]) -> None:
        self._begin: Callable[[], Awaitable[AsyncInvokeWithResponseStreamCommandOutput]] | None = begin
        self._events: AsyncEventStream | None = None
        self._is_closed = False
        self.status_code = 0
        self.executed_version: str | None = None
        self.request_id: str | None = None
        self.completion: InvokeComplete | None = None

    @property
    def log_result(self) -> str | None:
        """The end of the log as a text, if it was asked for and the stream has ended."""
        return None if self.completion is None else decoded_log(self.completion.LogResult)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_closed:
            raise StopAsyncIteration
        await self._open()
        if self._events is not None:
            async for event in self._events:
                if event.PayloadChunk is not None:
                    return event.PayloadChunk.Payload
                if event.InvokeComplete is not None:
                    self._complete(event.InvokeComplete)
        self._is_closed = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Take nothing more. The function runs on, and is not waited for."""
        self._is_closed = True
        if self._events is not None:
            await self._events.aclose()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    async def _open(self) -> None:
        """Send the request, once: a function that is asked twice runs twice."""
        begin, self._begin = self._begin, None
        if begin is None:
            if self._events is None and not self._is_closed:
                raise RuntimeError("another task begins this stream, or it could not be begun")
            return
        output = await begin()
        self.status_code = output.StatusCode
        self.executed_version = output.ExecutedVersion
        self.request_id = output.metadata.request_id
        self._events = output.EventStream
        if self._is_closed:
            # Meanwhile, by another task.
            await self._events.aclose()

    def _complete(self, completion: InvokeComplete) -> None:
        self.completion = completion
        failure = completion_failure(completion, self.status_code, self.executed_version, self.request_id)
        if failure is not None:
            self._is_closed = True
            raise failure
