"""``client.invoke(name, payload, ...)`` without I/O: the command it is, and the response it gives.

Source: seed 003, ``LambdaClient.invoke``; its corrections at the top of the fact sheet: ``payload`` is a text, and a
function that has failed raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from venturekit.client.errors import LambdaInvocationError, PayloadError, StreamInvocationError
from venturekit.client.invoke_commands import InvokeCommand, InvokeWithResponseStreamCommand

if TYPE_CHECKING:
    from typing import Literal, TypeAlias, TypedDict

    from venturekit.client import enums
    from venturekit.client.invoke_commands import InvokeCommandOutput
    from venturekit.client.shapes import InvokeComplete

    InvocationTypeName: TypeAlias = enums.InvocationType | Literal["RequestResponse", "Event", "DryRun"]
    LogTypeName: TypeAlias = enums.LogType | Literal["None", "Tail"]

    class InvokeOptions(TypedDict, total=False):
        """The options that ``invoke`` and ``invoke_stream`` have in common."""

        log_type: LogTypeName | None
        client_context: str | Mapping[str, Any] | None
        qualifier: str | None
        tenant_id: str | None


FailureT = TypeVar("FailureT", bound=LambdaInvocationError)


class InvocationResponse:
    """What a function has answered (seed 003).

    ``status_code``: 200, 202 for an Event, 204 for a dry run. ``executed_version``: the version that ran, None for an
    Event. ``log_result``: the end of the log as a text, if it was asked for. ``function_error``: None when the function
    went well. ``bytes``: its answer as it came. ``request_id``: AWS's id of the invocation.
    """

    __slots__ = ("bytes", "executed_version", "function_error", "log_result", "request_id", "status_code")

    def __init__(
        self,
        status_code: int,
        payload: bytes = b"",
        *,
        executed_version: str | None = None,
        log_result: str | None = None,
        function_error: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self.status_code = status_code
        self.bytes = payload
        self.executed_version = executed_version
        self.log_result = log_result
        self.function_error = function_error
        self.request_id = request_id

    @property
    def payload(self) -> str:
        """The answer as a text; what is no UTF-8 in it is replaced, ``bytes`` has it."""
        return self.bytes.decode("utf-8", "replace")

    def json(self) -> Any:
        """The value of the answer, None for an empty one. Raises ValueError if it is no JSON."""
        if not self.bytes:
            return None
        import json

        return json.loads(self.bytes)

    def __repr__(self) -> str:
        error = f", function_error={self.function_error!r}" if self.function_error else ""
        return f"InvocationResponse(status_code={self.status_code}, {len(self.bytes)} bytes{error})"


def invoke_command(
    name: str,
    payload: Any,
    invocation_type: InvocationTypeName | None,
    durable_execution_name: str | None,
    options: InvokeOptions,
) -> InvokeCommand:
    """The command of ``invoke``. Raises ParameterValidationError, PayloadError, PayloadTooLargeError."""
    return InvokeCommand(
        FunctionName=name,
        InvocationType=invocation_type,
        Payload=encoded("Invoke", payload),
        DurableExecutionName=durable_execution_name,
        **_common("Invoke", **options),
    )


def stream_command(name: str, payload: Any, options: InvokeOptions) -> InvokeWithResponseStreamCommand:
    """The command of ``invoke_stream``. Raises as ``invoke_command`` does."""
    operation = "InvokeWithResponseStream"
    return InvokeWithResponseStreamCommand(
        FunctionName=name, Payload=encoded(operation, payload), **_common(operation, **options)
    )


def response_of(output: InvokeCommandOutput) -> InvocationResponse:
    """The response of an output. Raises LambdaInvocationError if the function has failed."""
    response = InvocationResponse(
        output.StatusCode,
        output.Payload,
        executed_version=output.ExecutedVersion,
        log_result=decoded_log(output.LogResult),
        function_error=output.FunctionError,
        request_id=output.metadata.request_id,
    )
    if response.function_error is not None:
        raise _failure(LambdaInvocationError, response, response.bytes)
    return response


def completion_failure(
    complete: InvokeComplete, status_code: int, executed_version: str | None, request_id: str | None
) -> StreamInvocationError | None:
    """The error that the last event of a stream stands for; None if the function went well."""
    if complete.ErrorCode is None:
        return None
    response = InvocationResponse(
        status_code,
        executed_version=executed_version,
        log_result=decoded_log(complete.LogResult),
        function_error=complete.ErrorCode,
        request_id=request_id,
    )
    return _failure(StreamInvocationError, response, (complete.ErrorDetails or "").encode("utf-8", "replace"))


def decoded_log(log: str | None) -> str | None:
    """The end of the log as a text."""
    if log is None:
        return None
    from binascii import a2b_base64

    try:
        return a2b_base64(log).decode("utf-8", "replace")
    except ValueError:
        return log


def encoded(operation: str, payload: Any) -> bytes | bytearray | memoryview | str | None:
    """A payload as it is sent: texts and bytes as they are, everything else as JSON. Raises PayloadError."""
    if payload is None or isinstance(payload, str | bytes | bytearray | memoryview):
        return payload
    import json

    try:
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as problem:
        raise PayloadError(operation, [f"the payload is no JSON value: {problem}"]) from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a character of two, which JSON can only hold escaped.
        return json.dumps(payload, separators=(",", ":")).encode()


def _common(
    operation: str,
    log_type: LogTypeName | None = None,
    client_context: str | Mapping[str, Any] | None = None,
    qualifier: str | None = None,
    tenant_id: str | None = None,
) -> dict[str, Any]:
    if isinstance(client_context, Mapping):
        from binascii import b2a_base64

        document = encoded(operation, dict(client_context))
        assert isinstance(document, bytes)
        client_context = b2a_base64(document, newline=False).decode()
    return {"LogType": log_type, "ClientContext": client_context, "Qualifier": qualifier, "TenantId": tenant_id}


def _failure(kind: type[FailureT], response: InvocationResponse, answer: bytes) -> FailureT:
    import json

    try:
        details = json.loads(answer)
    except (ValueError, RecursionError):
        details = None
    if not isinstance(details, dict):
        details = {}
    told = ": ".join(str(details[name]) for name in ("errorType", "errorMessage") if details.get(name))
    text = told or answer[:200].decode("utf-8", "replace")
    return kind(f"{response.function_error}: {text}" if text else str(response.function_error), response, details)
