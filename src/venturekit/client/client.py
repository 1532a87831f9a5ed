"""The blocking client of the Lambda API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from venturekit.client.answers import check_coding
from venturekit.client.calls import RESPONSE_LIMIT_BYTES, Again, Call, Caller
from venturekit.client.commands import WireResponse
from venturekit.client.config import ClientConfig
from venturekit.client.conveniences import Conveniences
from venturekit.client.errors import ClientClosedError, LambdaClientError
from venturekit.client.event_streams import EventStream, InvocationStream
from venturekit.client.invocation import invoke_command, response_of, stream_command
from venturekit.client.invoke_commands import InvokeWithResponseStreamCommand, InvokeWithResponseStreamCommandOutput
from venturekit.client.resolution import resolve
from venturekit.protocol.http1 import request_head
from venturekit.transport.connection import Limits, Outgoing
from venturekit.transport.connections import Connections
from venturekit.transport.errors import ExchangeError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from venturekit.client.calls import SignedRequest
    from venturekit.client.commands import Command
    from venturekit.client.config import ClientOptions
    from venturekit.client.invocation import InvocationResponse, InvocationTypeName, InvokeOptions
    from venturekit.transport.connections import OpenResponse

OutputT = TypeVar("OutputT")


class LambdaClient(Conveniences):
    """A client of the Lambda API, AWS's or of a service of one's own::

        with LambdaClient(region="eu-west-1") as client:
            response = client.invoke("add-numbers", {"x": 1, "y": 2})
            assert response.json() == 3

    Options are those of ``ClientConfig``; they count more than those of a ``config`` that is given. Threads may share a
    client, and should: connections are kept. In a forked process it begins anew.

    Raises ClientConfigError for a configuration that makes no client.
    """

    # Half a client has a repr, too: some tracebacks show the variables of their frames.
    region = ""
    endpoint_url = ""

    def __init__(self, config: ClientConfig | None = None, /, **options: Unpack[ClientOptions]) -> None:
        from threading import Event

        base = ClientConfig() if config is None else config
        resolved = resolve(base.with_options(options) if options else base)
        self.config = resolved.config
        self.region = resolved.region
        self.endpoint_url = resolved.endpoint.url
        self._caller = Caller(resolved)
        self._closed = Event()
        self._connections = Connections(
            resolved.endpoint,
            connect_seconds=self.config.connect_timeout,
            max_open=self.config.max_connections,
            max_idle=self.config.max_connections,
            pool_seconds=self.config.pool_timeout,
            proxy=resolved.proxy,
            tls=resolved.tls(),
            response_limit=RESPONSE_LIMIT_BYTES,
        )

    def send(self, command: Command[OutputT]) -> OutputT:
        """Send a command and give its output (seed 002).

        A function that has failed is no exception here: look at ``FunctionError``.

        Raises LambdaServiceException when the service refuses, TransportError when request or answer is lost,
        CredentialsError without valid credentials.
        """
        call = self._caller.begin(command)
        if isinstance(command, InvokeWithResponseStreamCommand):
            return self._open(call)  # type: ignore[return-value]
        while True:
            request = self._signed(call)
            try:
                response = self._connections.exchange(self._outgoing(request), Limits(call.wait_seconds))
            except ExchangeError as problem:
                outcome: Any = call.lost(problem)
            else:
                outcome = call.answered(WireResponse(*response))
            if not isinstance(outcome, Again):
                return outcome  # type: ignore[no-any-return]
            self._wait(outcome.seconds)

    def invoke(
        self,
        name: str,
        payload: Any = None,
        *,
        invocation_type: InvocationTypeName | None = None,
        durable_execution_name: str | None = None,
        **options: Unpack[InvokeOptions],
    ) -> InvocationResponse:
        """Invoke a function by its name or ARN (seed 003)::

            response = client.invoke("add-numbers", {"x": 1, "y": 2}, log_type="Tail")

        ``payload``: a text or bytes are sent as they are, any other value as JSON, None as an empty payload.
        ``invocation_type``: ``RequestResponse`` waits for the answer, ``Event`` does not, ``DryRun`` checks only.
        ``log_type``: ``Tail`` for the end of the log. ``client_context``: a mapping, or the base64 of a JSON object.
        ``qualifier``: a version or alias. ``tenant_id``: of a function that keeps tenants apart.

        Raises LambdaInvocationError when the function fails, ParameterValidationError for an input that cannot be sent,
        and what ``send`` raises.
        """
        return response_of(self.send(invoke_command(name, payload, invocation_type, durable_execution_name, options)))

    def invoke_stream(self, name: str, payload: Any = None, **options: Unpack[InvokeOptions]) -> InvocationStream:
        """Invoke a function, and give its answer chunk by chunk as it comes; the options are those of ``invoke``::

            with client.invoke_stream("story", {"prompt": "a cat"}) as stream:
                for chunk in stream: ...

        Raises what ``invoke`` raises; a failure after the first chunk is raised by the iteration.
        """
        return InvocationStream(self.send(stream_command(name, payload, options)))

    def close(self) -> None:
        """Close the connections. Calls that other threads still wait for end by themselves, retries are given up.

        Calls that wait for a connection have sent nothing, and raise ClientClosedError.
        """
        self._closed.set()
        self._connections.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LambdaClient({self.endpoint_url}, {self.region})"

    # --- one attempt ------------------------------------------------------------------------------------------------

    def _open(self, call: Call[Any]) -> InvokeWithResponseStreamCommandOutput:
        while True:
            request = self._signed(call)
            try:
                response = self._connections.open(self._outgoing(request), Limits(call.wait_seconds))
                if 200 <= response.status < 300:
                    return self._begun(call, response)
                refusal = WireResponse(response.status, response.headers, response.read_all(_REFUSAL_LIMIT_BYTES))
            except ExchangeError as problem:
                again = call.lost(problem)
            else:
                again = call.failed(call.refusal(refusal), refusal)
            self._wait(again.seconds)

    def _begun(self, call: Call[Any], response: OpenResponse) -> InvokeWithResponseStreamCommandOutput:
        operation, headers = call.command.operation, response.headers
        try:
            check_coding(operation, headers)
        except LambdaClientError:
            response.close()
            raise
        output = InvokeWithResponseStreamCommandOutput.of(
            {
                "StatusCode": response.status,
                "ExecutedVersion": headers.get("x-amz-executed-version"),
                "ResponseStreamContentType": headers.get("content-type"),
                "EventStream": EventStream(response, operation, self.endpoint_url),
            }
        )
        call.succeeded(output, response.status, headers)
        return output

    def _signed(self, call: Call[Any]) -> SignedRequest:
        if self._closed.is_set():
            raise ClientClosedError(f"{call.command.operation}: the client is closed")
        return call.signed(self._caller.resolved.provider())

    def _outgoing(self, request: SignedRequest) -> Outgoing:
        target, headers = request.target, request.headers
        proxy, endpoint = self._caller.resolved.proxy, self._caller.resolved.endpoint
        if proxy is not None and endpoint.scheme == "http":
            # A proxy is asked for the whole address (RFC 9112, "absolute-form"); the signature is of the path.
            target = f"http://{endpoint.authority}{target}"
            if proxy.authorization is not None:
                headers = {**headers, "Proxy-Authorization": proxy.authorization}
        return Outgoing(request_head(request.method, target, headers, len(request.body)), request.body)

    def _wait(self, seconds: float) -> None:
        # close() ends it; the next attempt then says so.
        self._closed.wait(seconds)


_REFUSAL_LIMIT_BYTES = 1024 * 1024
