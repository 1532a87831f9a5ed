"""Streamed answers of the asynchronous client. Those of the blocking one are in ``event_streams.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.client.event_reading import EventReader
from venturekit.client.event_streams import DRAIN_SECONDS
from venturekit.client.failures import transport_error
from venturekit.client.invocation import completion_failure, decoded_log
from venturekit.transport.errors import ExchangeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
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
    one, TransportError if the connection is lost.
    """

    def __init__(self, response: AsyncResponse, operation: str, url: str) -> None:
        self._response = response
        self._operation = operation
        self._url = url
        self._events = self._read()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> InvokeWithResponseStreamResponseEvent:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Take nothing more. The connection is closed if the answer has not ended; the function runs on."""
        self._response.close()
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    async def _read(self) -> AsyncGenerator[InvokeWithResponseStreamResponseEvent, None]:
        reader = EventReader()
        try:
            while True:
                try:
                    data = await self._response.read()
                except ExchangeError as problem:
                    raise transport_error(problem, self._operation, self._url) from problem
                if not data:
                    reader.end()
                    return
                for event in reader.feed(data):
                    if reader.is_complete:
                        # Whoever stops here, as most do, would else leave the connection open and unused.
                        await self._response.finish(DRAIN_SECONDS)
                    yield event
        finally:
            self._response.close()


class AsyncInvocationStream:
    """What a function writes, chunk by chunk, as it comes::

        async with client.invoke_stream("story", {"prompt": "a cat"}) as stream:
            async for chunk in stream: ...

    The request is sent with ``async with``, or else with the first chunk that is asked for. Behind the last chunk
    ``completion`` has the last event, ``log_result`` the end of the log if it was asked for. A function that fails
    after it has begun raises StreamInvocationError there.
    """

    def __init__(self, begin: Callable[[], Awaitable[AsyncInvokeWithResponseStreamCommandOutput]]) -> None:
        self._begin = begin
        self._output: AsyncInvokeWithResponseStreamCommandOutput | None = None
        self._is_closed = False
        self.status_code = 0
        self.executed_version: str | None = None
        self.request_id: str | None = None
        self.completion: InvokeComplete | None = None
        self._chunks = self._read()

    @property
    def log_result(self) -> str | None:
        """The end of the log as a text, if it was asked for and the stream has ended."""
        return None if self.completion is None else decoded_log(self.completion.LogResult)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Take nothing more. The function runs on, and is not waited for."""
        self._is_closed = True
        if self._output is not None:
            await self._output.EventStream.aclose()
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        await self._begun()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    async def _begun(self) -> AsyncInvokeWithResponseStreamCommandOutput:
        output = self._output
        if output is None:
            output = self._output = await self._begin()
            self.status_code = output.StatusCode
            self.executed_version = output.ExecutedVersion
            self.request_id = output.metadata.request_id
        return output

    async def _read(self) -> AsyncGenerator[bytes, None]:
        if self._is_closed:
            return
        output = await self._begun()
        async with output.EventStream as events:
            async for event in events:
                if event.PayloadChunk is not None:
                    yield event.PayloadChunk.Payload
                elif event.InvokeComplete is not None:
                    self.completion = event.InvokeComplete
                    failure = completion_failure(
                        event.InvokeComplete, self.status_code, self.executed_version, self.request_id
                    )
                    if failure is not None:
                        raise failure
