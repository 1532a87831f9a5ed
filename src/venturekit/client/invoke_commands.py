"""The commands that invoke functions. Source: seed 002; botocore model ``lambda/2015-03-31``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from venturekit.client import checks
from venturekit.client.commands import DROPPED, HEADER, PATH, PAYLOAD, QUERY, Command, Field, Output
from venturekit.client.errors import PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.client import enums
    from venturekit.client.commands import WireResponse

    Payload = bytes | bytearray | memoryview | str

_INVOKE_FIELDS: Final[Mapping[str, Field]] = {
    "FunctionName": Field(PATH, checks.function_name),
    "LogType": Field(HEADER, checks.one_of(("None", "Tail")), "X-Amz-Log-Type"),
    "ClientContext": Field(HEADER, checks.client_context, "X-Amz-Client-Context"),
    "Payload": Field(PAYLOAD, checks.payload),
    "Qualifier": Field(QUERY, checks.qualifier),
    "TenantId": Field(HEADER, checks.tenant_id, "X-Amz-Tenant-Id"),
}


class InvokeCommandOutput(Output):
    """What Invoke gives. A function that has failed is no exception here: look at ``FunctionError``."""

    secret: ClassVar = frozenset({"Payload"})

    StatusCode: int
    Payload: bytes
    FunctionError: str | None = None
    LogResult: str | None = None
    ExecutedVersion: str | None = None
    DurableExecutionArn: str | None = None


class InvokeCommand(Command[InvokeCommandOutput]):
    """Invoke a function, and wait for its answer unless it is an ``Event``::

    output = client.send(InvokeCommand(FunctionName="my-function", Payload=b'{"key": "value"}'))
    """

    operation: ClassVar = "Invoke"
    path: ClassVar = "/2015-03-31/functions/{FunctionName}/invocations"
    secret: ClassVar = frozenset({"Payload", "ClientContext"})
    is_invocation: ClassVar = True
    fields: ClassVar = {
        **_INVOKE_FIELDS,
        "InvocationType": Field(HEADER, checks.one_of(("RequestResponse", "Event", "DryRun")), "X-Amz-Invocation-Type"),
        "DurableExecutionName": Field(HEADER, checks.execution_name, "X-Amz-Durable-Execution-Name"),
    }

    FunctionName: str
    InvocationType: enums.InvocationType | Literal["RequestResponse", "Event", "DryRun"] | None = None
    LogType: enums.LogType | Literal["None", "Tail"] | None = None
    ClientContext: str | None = None
    Payload: bytes | bytearray | memoryview | str | None = None
    Qualifier: str | None = None
    TenantId: str | None = None
    DurableExecutionName: str | None = None

    def problems(self) -> list[str]:
        """What is wrong with the input. Raises PayloadTooLargeError."""
        found = super().problems()
        if not found:
            is_event = self.InvocationType == "Event"
            limit = checks.EVENT_LIMIT_BYTES if is_event else checks.SYNCHRONOUS_LIMIT_BYTES
            check_size(self.operation, self.Payload, limit, "an Event" if is_event else "a RequestResponse")
        return found

    def may_repeat(self) -> bool:
        """A dry run may."""
        return self.InvocationType == "DryRun"

    def read(self, response: WireResponse) -> InvokeCommandOutput:
        """The output of a response."""
        headers = response.headers
        return InvokeCommandOutput.of(
            {
                "StatusCode": response.status,
                "Payload": response.body,
                "FunctionError": headers.get("x-amz-function-error"),
                "LogResult": headers.get("x-amz-log-result"),
                "ExecutedVersion": headers.get("x-amz-executed-version"),
                "DurableExecutionArn": headers.get("x-amz-durable-execution-arn"),
            }
        )


class InvokeWithResponseStreamCommandOutput(Output):
    """What InvokeWithResponseStream gives. Iterate over ``EventStream`` to its end, or close it::

    for event in output.EventStream:
        if event.PayloadChunk: ...
    """

    StatusCode: int
    EventStream: EventStreamOutput
    ExecutedVersion: str | None = None
    ResponseStreamContentType: str | None = None


class AsyncInvokeWithResponseStreamCommandOutput(Output):
    """The same of the asynchronous client: ``async for event in output.EventStream``."""

    StatusCode: int
    EventStream: AsyncEventStreamOutput
    ExecutedVersion: str | None = None
    ResponseStreamContentType: str | None = None


class InvokeWithResponseStreamCommand(Command[InvokeWithResponseStreamCommandOutput]):
    """Invoke a function, and get its answer while it writes it.

    ``InvokeMode`` of seed 002 is taken and not sent: the operation has no such parameter and always streams.
    """

    operation: ClassVar = "InvokeWithResponseStream"
    path: ClassVar = "/2021-11-15/functions/{FunctionName}/response-streaming-invocations"
    secret: ClassVar = frozenset({"Payload", "ClientContext"})
    is_invocation: ClassVar = True
    fields: ClassVar = {
        **_INVOKE_FIELDS,
        "InvocationType": Field(HEADER, checks.one_of(("RequestResponse", "DryRun")), "X-Amz-Invocation-Type"),
        "InvokeMode": Field(DROPPED, checks.one_of(("BUFFERED", "RESPONSE_STREAM"))),
    }

    FunctionName: str
    InvocationType: enums.InvocationType | Literal["RequestResponse", "DryRun"] | None = None
    InvokeMode: enums.InvokeMode | Literal["BUFFERED", "RESPONSE_STREAM"] | None = None
    LogType: enums.LogType | Literal["None", "Tail"] | None = None
    ClientContext: str | None = None
    Payload: bytes | bytearray | memoryview | str | None = None
    Qualifier: str | None = None
    TenantId: str | None = None

    def problems(self) -> list[str]:
        """What is wrong with the input. Raises PayloadTooLargeError."""
        found = super().problems()
        if not found:
            check_size(self.operation, self.Payload, checks.SYNCHRONOUS_LIMIT_BYTES, "a streamed invocation")
        return found

    def may_repeat(self) -> bool:
        """A dry run may."""
        return self.InvocationType == "DryRun"


class InvokeAsyncCommandOutput(Output):
    """What InvokeAsync gives: 202."""

    Status: int


class InvokeAsyncCommand(Command[InvokeAsyncCommandOutput]):
    """Have a function run later, in the old way. InvokeCommand with ``InvocationType="Event"`` is today's."""

    operation: ClassVar = "InvokeAsync"
    path: ClassVar = "/2014-11-13/functions/{FunctionName}/invoke-async"
    secret: ClassVar = frozenset({"InvokeArgs"})
    repeatable: ClassVar = False
    fields: ClassVar = {
        "FunctionName": Field(PATH, checks.function_name),
        "InvokeArgs": Field(PAYLOAD, checks.payload),
    }

    FunctionName: str
    InvokeArgs: bytes | bytearray | memoryview | str

    def problems(self) -> list[str]:
        """What is wrong with the input. Raises PayloadTooLargeError."""
        found = super().problems()
        if not found:
            check_size(self.operation, self.InvokeArgs, checks.INVOKE_ASYNC_LIMIT_BYTES, "InvokeAsync")
        return found

    def read(self, response: WireResponse) -> InvokeAsyncCommandOutput:
        """The output of a response."""
        return InvokeAsyncCommandOutput.of({"Status": response.status})


def check_size(operation: str, payload: Any, limit: int, what: str) -> None:
    """Raises PayloadTooLargeError for a payload that Lambda would refuse."""
    if payload is None or len(payload) * 4 <= limit:
        return
    size = len(payload.encode()) if isinstance(payload, str) else memoryview(payload).nbytes
    if size > limit:
        raise PayloadTooLargeError(operation, [f"the payload has {size} bytes, and {what} takes {limit}"])


if TYPE_CHECKING:
    from venturekit.client.async_streams import AsyncEventStream as AsyncEventStreamOutput
    from venturekit.client.event_streams import EventStream as EventStreamOutput
