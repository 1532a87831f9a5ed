"""The commands that configure invocations, and those that look at functions.

Sources: seed 002, "Function Event Invoke Configuration" and "Recursion Control"; botocore model ``lambda/2015-03-31``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from venturekit.client import checks, enums
from venturekit.client.commands import JSON, PATH, QUERY, Command, Field, Output, WireResponse, document_of, output_of
from venturekit.client.paging import PagedCommand, Paging
from venturekit.client.shapes import (
    Concurrency,
    DestinationConfig,
    EnvironmentResponse,
    FunctionCodeLocation,
    RecursionConfig,
    time_of,
)
from venturekit.client.structures import structures_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import TypeAlias

    from venturekit.client.shapes import DestinationConfigInput, RecursionConfigInput

    _DestinationConfig: TypeAlias = DestinationConfig
    _RecursionConfig: TypeAlias = RecursionConfig

_QUALIFIED: Final[Mapping[str, Field]] = {
    "FunctionName": Field(PATH, checks.function_name),
    "Qualifier": Field(QUERY, checks.qualifier),
}
_EVENT_FIELDS: Final[Mapping[str, Field]] = {
    **_QUALIFIED,
    "MaximumRetryAttempts": Field(JSON, checks.number(0, 2)),
    "MaximumEventAgeInSeconds": Field(JSON, checks.number(60, 21_600)),
    "DestinationConfig": Field(JSON, checks.destination_config),
}
_EVENT_PATH: Final = "/2019-09-25/functions/{FunctionName}/event-invoke-config"
_RECURSION_PATH: Final = "/2024-08-31/functions/{FunctionName}/recursion-config"


class FunctionEventInvokeConfig(Output):
    """How asynchronous invocations of a function, version or alias are tried, and where their records go."""

    readers: ClassVar = {"LastModified": time_of, "DestinationConfig": DestinationConfig.of}

    LastModified: datetime | None = None
    FunctionArn: str | None = None
    MaximumRetryAttempts: int | None = None
    MaximumEventAgeInSeconds: int | None = None
    DestinationConfig: _DestinationConfig | None = None


class PutFunctionEventInvokeConfigCommand(Command[FunctionEventInvokeConfig]):
    """Set how asynchronous invocations are tried; what is not given has its default again."""

    operation: ClassVar = "PutFunctionEventInvokeConfig"
    method: ClassVar = "PUT"
    path: ClassVar = _EVENT_PATH
    fields: ClassVar = _EVENT_FIELDS

    FunctionName: str
    Qualifier: str | None = None
    MaximumRetryAttempts: int | None = None
    MaximumEventAgeInSeconds: int | None = None
    DestinationConfig: _DestinationConfig | DestinationConfigInput | None = None

    def read(self, response: WireResponse) -> FunctionEventInvokeConfig:
        """The output of a response."""
        return output_of(FunctionEventInvokeConfig, self.operation, document_of(self.operation, response))


class UpdateFunctionEventInvokeConfigCommand(Command[FunctionEventInvokeConfig]):
    """Change how asynchronous invocations are tried; what is not given stays."""

    operation: ClassVar = "UpdateFunctionEventInvokeConfig"
    method: ClassVar = "POST"
    path: ClassVar = _EVENT_PATH
    fields: ClassVar = _EVENT_FIELDS

    FunctionName: str
    Qualifier: str | None = None
    MaximumRetryAttempts: int | None = None
    MaximumEventAgeInSeconds: int | None = None
    DestinationConfig: _DestinationConfig | DestinationConfigInput | None = None

    def read(self, response: WireResponse) -> FunctionEventInvokeConfig:
        """The output of a response."""
        return output_of(FunctionEventInvokeConfig, self.operation, document_of(self.operation, response))


class GetFunctionEventInvokeConfigCommand(Command[FunctionEventInvokeConfig]):
    """How asynchronous invocations are tried."""

    operation: ClassVar = "GetFunctionEventInvokeConfig"
    method: ClassVar = "GET"
    path: ClassVar = _EVENT_PATH
    fields: ClassVar = _QUALIFIED

    FunctionName: str
    Qualifier: str | None = None

    def read(self, response: WireResponse) -> FunctionEventInvokeConfig:
        """The output of a response."""
        return output_of(FunctionEventInvokeConfig, self.operation, document_of(self.operation, response))


class DeleteFunctionEventInvokeConfigCommandOutput(Output):
    """What DeleteFunctionEventInvokeConfig gives: nothing."""


class DeleteFunctionEventInvokeConfigCommand(Command[DeleteFunctionEventInvokeConfigCommandOutput]):
    """Have the defaults again for all of it."""

    operation: ClassVar = "DeleteFunctionEventInvokeConfig"
    method: ClassVar = "DELETE"
    path: ClassVar = _EVENT_PATH
    fields: ClassVar = _QUALIFIED

    FunctionName: str
    Qualifier: str | None = None

    def read(self, response: WireResponse) -> DeleteFunctionEventInvokeConfigCommandOutput:
        """The output of a response."""
        return DeleteFunctionEventInvokeConfigCommandOutput.of({})


class ListFunctionEventInvokeConfigsCommandOutput(Output):
    """A page of configurations; ``NextMarker`` is where the next one begins."""

    readers: ClassVar = {"FunctionEventInvokeConfigs": structures_of(FunctionEventInvokeConfig)}

    FunctionEventInvokeConfigs: list[FunctionEventInvokeConfig] | None = None
    NextMarker: str | None = None


class ListFunctionEventInvokeConfigsCommand(
    PagedCommand[ListFunctionEventInvokeConfigsCommandOutput, FunctionEventInvokeConfig]
):
    """The configurations of a function, its versions and aliases: one page. ``paginate`` of a client gives all::

    for config in client.paginate(ListFunctionEventInvokeConfigsCommand(FunctionName="my-function")).items(): ...
    """

    paging: ClassVar = Paging("Marker", "NextMarker", "FunctionEventInvokeConfigs")
    operation: ClassVar = "ListFunctionEventInvokeConfigs"
    method: ClassVar = "GET"
    path: ClassVar = f"{_EVENT_PATH}/list"
    fields: ClassVar = {
        "FunctionName": Field(PATH, checks.function_name),
        "Marker": Field(QUERY, checks.text),
        "MaxItems": Field(QUERY, checks.number(1, 50)),
    }

    FunctionName: str
    Marker: str | None = None
    MaxItems: int | None = None

    def read(self, response: WireResponse) -> ListFunctionEventInvokeConfigsCommandOutput:
        """The output of a response."""
        document = {"FunctionEventInvokeConfigs": [], **document_of(self.operation, response)}
        return output_of(ListFunctionEventInvokeConfigsCommandOutput, self.operation, document)


class GetFunctionRecursionConfigCommandOutput(Output):
    """What happens to a function that calls itself in a loop: as the API has it, and as seed 002 has it."""

    readers: ClassVar = {
        "RecursiveLoop": enums.member_of(enums.RecursiveLoop),
        "RecursionConfig": RecursionConfig.of,
    }

    RecursiveLoop: enums.RecursiveLoop | None = None
    RecursionConfig: _RecursionConfig | None = None


def _recursion(operation: str, response: WireResponse) -> GetFunctionRecursionConfigCommandOutput:
    document = document_of(operation, response)
    if "RecursiveLoop" in document:
        document["RecursionConfig"] = {"RecursiveLoop": document["RecursiveLoop"]}
    return output_of(GetFunctionRecursionConfigCommandOutput, operation, document)


class PutFunctionRecursionConfigCommand(Command[GetFunctionRecursionConfigCommandOutput]):
    """Say what happens to a function that calls itself in a loop.

    ``RecursiveLoop`` is the API's form, ``RecursionConfig`` seed 002's, which is sent as the API's.
    """

    operation: ClassVar = "PutFunctionRecursionConfig"
    method: ClassVar = "PUT"
    path: ClassVar = _RECURSION_PATH
    fields: ClassVar = {
        "FunctionName": Field(PATH, checks.unqualified_name),
        "RecursiveLoop": Field(JSON, checks.recursive_loop),
        "RecursionConfig": Field(JSON, checks.recursion_config),
    }

    FunctionName: str
    RecursiveLoop: enums.RecursiveLoop | Literal["Allow", "Terminate"] | None = None
    RecursionConfig: _RecursionConfig | RecursionConfigInput | None = None

    def problems(self) -> list[str]:
        """What is wrong with the input."""
        found = super().problems()
        nested, flat = self.RecursionConfig, self.RecursiveLoop
        if nested is None and flat is None:
            found.append("RecursiveLoop must be given: 'Allow' or 'Terminate'")
        elif nested is not None and flat is not None and not found and nested["RecursiveLoop"] != flat:
            found.append(f"RecursiveLoop is {str(flat)!r}, and RecursionConfig says otherwise")
        return found

    def document_body(self, document: dict[str, Any]) -> bytes:
        """The form of the API."""
        nested = document.pop("RecursionConfig", None)
        return super().document_body(document if nested is None else dict(nested))

    def read(self, response: WireResponse) -> GetFunctionRecursionConfigCommandOutput:
        """The output of a response."""
        return _recursion(self.operation, response)


class GetFunctionRecursionConfigCommand(Command[GetFunctionRecursionConfigCommandOutput]):
    """What happens to a function that calls itself in a loop."""

    operation: ClassVar = "GetFunctionRecursionConfig"
    method: ClassVar = "GET"
    path: ClassVar = _RECURSION_PATH
    fields: ClassVar = {"FunctionName": Field(PATH, checks.unqualified_name)}

    FunctionName: str

    def read(self, response: WireResponse) -> GetFunctionRecursionConfigCommandOutput:
        """The output of a response."""
        return _recursion(self.operation, response)


class FunctionConfiguration(Output):
    """The configuration of a function or of one of its versions. ``LastModified`` is a text here, as in the API.

    A state that this version does not know is a text, and no member of its enumeration.
    """

    readers: ClassVar = {
        "Environment": EnvironmentResponse.of,
        "State": enums.member_of(enums.State),
        "LastUpdateStatus": enums.member_of(enums.LastUpdateStatus),
    }

    FunctionName: str | None = None
    FunctionArn: str | None = None
    Runtime: str | None = None
    Role: str | None = None
    Handler: str | None = None
    CodeSize: int | None = None
    Description: str | None = None
    Timeout: int | None = None
    MemorySize: int | None = None
    LastModified: str | None = None
    CodeSha256: str | None = None
    Version: str | None = None
    VpcConfig: Mapping[str, Any] | None = None
    DeadLetterConfig: Mapping[str, Any] | None = None
    Environment: EnvironmentResponse | None = None
    KMSKeyArn: str | None = None
    TracingConfig: Mapping[str, Any] | None = None
    MasterArn: str | None = None
    RevisionId: str | None = None
    Layers: list[Mapping[str, Any]] | None = None
    State: enums.State | None = None
    StateReason: str | None = None
    StateReasonCode: str | None = None
    LastUpdateStatus: enums.LastUpdateStatus | None = None
    LastUpdateStatusReason: str | None = None
    LastUpdateStatusReasonCode: str | None = None
    FileSystemConfigs: list[Mapping[str, Any]] | None = None
    PackageType: str | None = None
    ImageConfigResponse: Mapping[str, Any] | None = None
    SigningProfileVersionArn: str | None = None
    SigningJobArn: str | None = None
    Architectures: list[str] | None = None
    EphemeralStorage: Mapping[str, Any] | None = None
    SnapStart: Mapping[str, Any] | None = None
    RuntimeVersionConfig: Mapping[str, Any] | None = None
    LoggingConfig: Mapping[str, Any] | None = None
    TenancyConfig: Mapping[str, Any] | None = None
    CapacityProviderConfig: Mapping[str, Any] | None = None
    ConfigSha256: str | None = None
    DurableConfig: Mapping[str, Any] | None = None
    RuntimeConfig: Mapping[str, Any] | None = None
    AcceleratorConfig: Mapping[str, Any] | None = None


class GetFunctionConfigurationCommand(Command[FunctionConfiguration]):
    """The configuration of a function."""

    operation: ClassVar = "GetFunctionConfiguration"
    method: ClassVar = "GET"
    path: ClassVar = "/2015-03-31/functions/{FunctionName}/configuration"
    fields: ClassVar = _QUALIFIED

    FunctionName: str
    Qualifier: str | None = None

    def read(self, response: WireResponse) -> FunctionConfiguration:
        """The output of a response."""
        return output_of(FunctionConfiguration, self.operation, document_of(self.operation, response))


if TYPE_CHECKING:
    _Concurrency: TypeAlias = Concurrency


class GetFunctionCommandOutput(Output):
    """A function: its configuration, where its code is, its tags and its reserved concurrency."""

    readers: ClassVar = {
        "Configuration": FunctionConfiguration.of,
        "Code": FunctionCodeLocation.of,
        "Concurrency": Concurrency.of,
    }

    Configuration: FunctionConfiguration | None = None
    Code: FunctionCodeLocation | None = None
    Tags: Mapping[str, str] | None = None
    TagsError: Mapping[str, Any] | None = None
    Concurrency: _Concurrency | None = None


class GetFunctionCommand(Command[GetFunctionCommandOutput]):
    """A function: its configuration and where its code is."""

    operation: ClassVar = "GetFunction"
    method: ClassVar = "GET"
    path: ClassVar = "/2015-03-31/functions/{FunctionName}"
    fields: ClassVar = _QUALIFIED

    FunctionName: str
    Qualifier: str | None = None

    def read(self, response: WireResponse) -> GetFunctionCommandOutput:
        """The output of a response."""
        return output_of(GetFunctionCommandOutput, self.operation, document_of(self.operation, response))
