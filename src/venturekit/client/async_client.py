"""The asynchronous client of the Lambda API."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from venturekit.client.answers import check_coding
from venturekit.client.async_conveniences import AsyncConveniences
from venturekit.client.async_streams import AsyncEventStream, AsyncInvocationStream
from venturekit.client.async_transport import AsyncTransport
from venturekit.client.calls import Again, Call, Caller
from venturekit.client.commands import WireResponse
from venturekit.client.config import ClientConfig
from venturekit.client.errors import ClientClosedError, LambdaClientError
from venturekit.client.invocation import invoke_command, response_of, stream_command
from venturekit.client.invoke_commands import (
    AsyncInvokeWithResponseStreamCommandOutput,
    InvokeWithResponseStreamCommand,
)
from venturekit.client.resolution import resolve
from venturekit.transport.errors import ExchangeError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from venturekit.client.async_transport import AsyncResponse
    from venturekit.client.calls import SignedRequest
    from venturekit.client.commands import Command
    from venturekit.client.config import ClientOptions
    from venturekit.client.invocation import InvocationResponse, InvocationTypeName, InvokeOptions

OutputT = TypeVar("OutputT")


class AsyncLambdaClient(AsyncConveniences):
    """The same client for programs with an event loop; it needs ``pip install 'venturekit[client]'``::

        async with AsyncLambdaClient(region="eu-west-1") as client:
            response = await client.invoke("add-numbers", {"x": 1, "y": 2})

    Options are those of ``ClientConfig``. A client belongs to one event loop; many tasks may use it at once.

    Raises ClientConfigError for a configuration that makes no client, and without aiohttp.
    """

    # Half a client has a repr, too: some tracebacks show the variables of their frames.
    region = ""
    endpoint_url = ""

    def __init__(self, config: ClientConfig | None = None, /, **options: Unpack[ClientOptions]) -> None:
        base = ClientConfig() if config is None else config
        resolved = resolve(base.with_options(options) if options else base)
        self.config = resolved.config
        self.region = resolved.region
        self.endpoint_url = resolved.endpoint.url
        self._caller = Caller(resolved)
        self._closed = asyncio.Event()
        self._transport = AsyncTransport(resolved)

    @overload
    async def send(self, command: InvokeWithResponseStreamCommand) -> AsyncInvokeWithResponseStreamCommandOutput: ...
    @overload
    async def send(self, command: Command[OutputT]) -> OutputT: ...
    async def send(self, command: Command[Any]) -> Any:
        """Send a command and give its output (seed 002).

        A function that has failed is no exception here: look at ``FunctionError``.

        Raises LambdaServiceException when the service refuses, TransportError when request or answer is lost,
        CredentialsError without valid credentials.
        """
        call = self._caller.begin(command)
        if isinstance(command, InvokeWithResponseStreamCommand):
            return await self._open(call)
        while True:
            request = await self._signed(call)
            try:
                response = await self._transport.exchange(request, call.wait_seconds)
            except ExchangeError as problem:
                outcome: Any = call.lost(problem)
            else:
                outcome = call.answered(WireResponse(*response))
            if not isinstance(outcome, Again):
                return outcome
            await self._wait(outcome.seconds)

    async def invoke(
        self,
        name: str,
        payload: Any = None,
        *,
        invocation_type: InvocationTypeName | None = None,
        durable_execution_name: str | None = None,
        **options: Unpack[InvokeOptions],
    ) -> InvocationResponse:
        """Invoke a function by its name or ARN; arguments, result and errors are those of ``LambdaClient.invoke``."""
        command = invoke_command(name, payload, invocation_type, durable_execution_name, options)
        return response_of(await self.send(command))

    def invoke_stream(self, name: str, payload: Any = None, **options: Unpack[InvokeOptions]) -> AsyncInvocationStream:
        """Invoke a function, and give its answer chunk by chunk as it comes::

            async with client.invoke_stream("story", {"prompt": "a cat"}) as stream:
                async for chunk in stream: ...

        Arguments and errors are those of ``LambdaClient.invoke_stream``.
        """
        command = stream_command(name, payload, options)
        return AsyncInvocationStream(lambda: self.send(command))

    async def aclose(self) -> None:
        """Close the connections; calls that wait for answers lose them, retries are given up."""
        self._closed.set()
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncLambdaClient({self.endpoint_url}, {self.region})"

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _open(self, call: Call[Any]) -> AsyncInvokeWithResponseStreamCommandOutput:
        while True:
            request = await self._signed(call)
            try:
                response = await self._transport.open(request, call.wait_seconds)
                if 200 <= response.status < 300:
                    return self._begun(call, response)
                refusal = WireResponse(response.status, response.headers, await response.read_all())
            except ExchangeError as problem:
                again = call.lost(problem)
            else:
                again = call.failed(call.refusal(refusal), refusal)
            await self._wait(again.seconds)

    def _begun(self, call: Call[Any], response: AsyncResponse) -> AsyncInvokeWithResponseStreamCommandOutput:
        operation, headers = call.command.operation, response.headers
        try:
            check_coding(operation, headers)
        except LambdaClientError:
            response.close()
            raise
        output = AsyncInvokeWithResponseStreamCommandOutput.of(
            {
                "StatusCode": response.status,
                "ExecutedVersion": headers.get("x-amz-executed-version"),
                "ResponseStreamContentType": headers.get("content-type"),
                "EventStream": AsyncEventStream(response, operation, self.endpoint_url),
            }
        )
        call.succeeded(output, response.status, headers)
        return output

    async def _signed(self, call: Call[Any]) -> SignedRequest:
        if self._closed.is_set():
            raise ClientClosedError(f"{call.command.operation}: the client is closed")
        provider = self._caller.resolved.provider
        asked = getattr(provider, "asked", None)
        if asked is not None:
            return call.signed(await asked())
        # What may wait for files or the network must not keep the event loop.
        blocks = getattr(provider, "blocks", False)
        return call.signed(await asyncio.to_thread(provider) if blocks else provider())

    async def _wait(self, seconds: float) -> None:
        # aclose() ends it; the next attempt then says so.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
