"""The structures that commands take and give. Source: seed 002, "Core Types"; botocore model ``lambda/2015-03-31``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from venturekit.client.enums import RecursiveLoop, member_of
from venturekit.client.structures import Structure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Literal, TypeAlias, TypedDict

    class DestinationInput(TypedDict, total=False):
        """``OnSuccess`` and ``OnFailure`` as a dictionary."""

        Destination: str | None

    class DestinationConfigInput(TypedDict, total=False):
        """``DestinationConfig`` as a dictionary."""

        OnSuccess: DestinationInput | OnSuccess | None
        OnFailure: DestinationInput | OnFailure | None

    class RecursionConfigInput(TypedDict, total=False):
        """``RecursionConfig`` as a dictionary."""

        RecursiveLoop: _RecursiveLoop | Literal["Allow", "Terminate"]

    _RecursiveLoop: TypeAlias = RecursiveLoop


class OnSuccess(Structure):
    """Where the record of an event goes that was processed: an ARN of a queue, topic, function or event bus."""

    Destination: str | None = None


class OnFailure(Structure):
    """Where the record of an event goes that was not processed: an ARN of a queue, topic, function, bus or bucket."""

    Destination: str | None = None


if TYPE_CHECKING:
    # Inside of classes their members hide what has the same name.
    _OnSuccess: TypeAlias = OnSuccess
    _OnFailure: TypeAlias = OnFailure


class DestinationConfig(Structure):
    """Where records of asynchronous invocations go."""

    readers: ClassVar = {"OnSuccess": OnSuccess.of, "OnFailure": OnFailure.of}

    OnSuccess: _OnSuccess | DestinationInput | None = None
    OnFailure: _OnFailure | DestinationInput | None = None


class RecursionConfig(Structure):
    """What happens to a function that calls itself in a loop, in the form of seed 002; the API has it flat."""

    readers: ClassVar = {"RecursiveLoop": member_of(RecursiveLoop)}

    RecursiveLoop: _RecursiveLoop | Literal["Allow", "Terminate"] | None = None


class PayloadChunk(Structure):
    """A piece of what a function streams."""

    secret: ClassVar = frozenset({"Payload"})

    Payload: bytes = b""


class InvokeComplete(Structure):
    """The last event of a stream; ``ErrorCode`` and ``ErrorDetails`` are there if the function has failed."""

    ErrorCode: str | None = None
    ErrorDetails: str | None = None
    LogResult: str | None = None


if TYPE_CHECKING:
    _PayloadChunk: TypeAlias = PayloadChunk
    _InvokeComplete: TypeAlias = InvokeComplete


class InvokeWithResponseStreamResponseEvent(Structure):
    """An event of a stream: one of the two members is there."""

    readers: ClassVar = {"PayloadChunk": PayloadChunk.of, "InvokeComplete": InvokeComplete.of}

    PayloadChunk: _PayloadChunk | None = None
    InvokeComplete: _InvokeComplete | None = None


class EnvironmentResponse(Structure):
    """The environment variables of a function, or why they cannot be shown."""

    secret: ClassVar = frozenset({"Variables"})

    Variables: Mapping[str, str] | None = None
    Error: Mapping[str, Any] | None = None


class FunctionCodeLocation(Structure):
    """Where the code of a function can be fetched. ``Location`` is an address that needs no signature."""

    secret: ClassVar = frozenset({"Location"})

    RepositoryType: str | None = None
    Location: str | None = None
    ImageUri: str | None = None
    ResolvedImageUri: str | None = None
    ResolvedS3Object: Mapping[str, Any] | None = None
    SourceKMSKeyArn: str | None = None
    Error: Mapping[str, Any] | None = None


class Concurrency(Structure):
    """The concurrency that is reserved for a function."""

    ReservedConcurrentExecutions: int | None = None


def time_of(value: object) -> datetime:
    """A moment of the API: seconds since the epoch as a number, or an ISO 8601 text."""
    from datetime import UTC, datetime

    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(str(value))
