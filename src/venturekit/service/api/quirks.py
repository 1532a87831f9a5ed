"""Where the real Lambda API does otherwise than its service model, or where the model is silent.

Every entry says on what evidence. "Recorded" means an answer of the real service; "choice" means that no recording is
known and why this was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.model import Operation, Shape


@dataclass(frozen=True, slots=True)
class UnmodelledError:
    """An error that the service model does not have: status, key of the message, ``Type`` (None: left out)."""

    status: int
    message_key: str = "message"
    type: str | None = None


UNMODELLED_ERRORS: Final[Mapping[str, UnmodelledError]] = MappingProxyType(
    {
        # Recorded. ValidationException and RequestEntityTooLargeException have the message only; AccessDenied has it
        # as "Message", null for a function of another account.
        "ValidationException": UnmodelledError(400),
        "RequestEntityTooLargeException": UnmodelledError(413),
        "AccessDeniedException": UnmodelledError(403, message_key="Message"),
        # Published traces of the authentication layer: {"message": ...} alone.
        "MissingAuthenticationTokenException": UnmodelledError(403),
        "InvalidSignatureException": UnmodelledError(403),
        "UnrecognizedClientException": UnmodelledError(403),
        "ExpiredTokenException": UnmodelledError(403),
        # The Lambda API's page "Common Errors" gives these statuses (other services answer some with 400); the body is
        # taken to be that of the authentication layer.
        "IncompleteSignatureException": UnmodelledError(403),
        "IncompleteSignature": UnmodelledError(403),
        "NotAuthorized": UnmodelledError(401),
        "OptInRequired": UnmodelledError(403),
        "MalformedHttpRequestException": UnmodelledError(400),
        "RequestAbortedException": UnmodelledError(400),
        "RequestExpired": UnmodelledError(400),
        "RequestTimeoutException": UnmodelledError(408),
        "ThrottlingException": UnmodelledError(400),
        "UnknownOperationException": UnmodelledError(404),
        "ValidationError": UnmodelledError(400),
        "InternalFailure": UnmodelledError(500, type="Service"),
        "ServiceUnavailable": UnmodelledError(503, type="Service"),
        # Known from AWS services of the same framework; the Type is a choice.
        "SerializationException": UnmodelledError(400, type="User"),
        # Ours: AWS serves all its operations.
        "NotImplementedException": UnmodelledError(501, type="Service"),
    }
)

ENUM_ORDER: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"RecursiveLoop": ("Terminate", "Allow")})

REQUEST_LIMIT_BYTES: Final = 6291456
CODE_REQUEST_LIMIT_BYTES: Final = 70167211
EVENT_LIMIT_BYTES: Final = 1048576
INVOKE_ASYNC_LIMIT_BYTES: Final = 262144
CODE_OPERATIONS: Final = frozenset({"CreateFunction", "UpdateFunctionCode", "PublishLayerVersion"})

BARE_NAME_LIMIT: Final = 64
RUNTIME_OPERATIONS: Final = frozenset({"CreateFunction", "UpdateFunctionConfiguration"})

MAX_VIOLATIONS: Final = 100
MAX_PRINTED_CHARACTERS: Final = 16384
REDACTED: Final = "*** Sensitive Data Redacted ***"


def enum_values(shape: Shape) -> tuple[str, ...]:
    """The values of an enum in the order AWS prints them.

    Recorded: ``[Terminate, Allow]`` for RecursiveLoop, where the model has them the other way round, and
    ``[x86_64, arm64]`` in the model's order. AWS prints a hash set, so others are a choice: the model's.
    """
    return ENUM_ORDER.get(shape.name, shape.enum)


def request_limit_bytes(operation_name: str) -> int:
    """The largest request body of an operation, in bytes.

    Recorded: 70167211 for CreateFunction, 6291456 for Invoke. Choice: the former for the other operations that carry
    code, the latter for everything else (so that no request occupies the service for long). Documented: 256 KB for
    InvokeAsync.
    """
    if operation_name == "InvokeAsync":
        return INVOKE_ASYNC_LIMIT_BYTES
    return CODE_REQUEST_LIMIT_BYTES if operation_name in CODE_OPERATIONS else REQUEST_LIMIT_BYTES


def request_too_large(operation_name: str) -> tuple[str, str]:
    """Code and message for a body over :func:`request_limit_bytes`.

    Recorded: the code on the wire is RequestEntityTooLargeException although the model has RequestTooLargeException,
    and Invoke calls itself InvokeFunction.
    """
    shown = "InvokeFunction" if operation_name == "Invoke" else operation_name
    limit = request_limit_bytes(operation_name)
    return "RequestEntityTooLargeException", f"Request must be smaller than {limit} bytes for the {shown} operation"


def event_too_large(size_bytes: int) -> tuple[str, str]:
    """Code and message for the payload of an asynchronous invocation over ``EVENT_LIMIT_BYTES``.

    Recorded, with the limits of the time: 131072 in 2017, 262144 in 2021 to 2024.
    """
    text = f"{size_bytes} byte payload is too large for the Event invocation type (limit {EVENT_LIMIT_BYTES} bytes)"
    return "RequestEntityTooLargeException", text


def default_status(operation: Operation) -> int:
    """The status of a success whose output does not say.

    Recorded: DeleteFunction answers 204 with no body; the model says 200 and lets a member say otherwise.
    """
    return 204 if operation.name == "DeleteFunction" else operation.status


def checks_enum(operation_name: str, shape: Shape) -> bool:
    """Whether an enum is one of the model's constraints for this operation.

    Recorded: a Runtime that is unknown to CreateFunction or UpdateFunctionConfiguration is not a ValidationException,
    see :func:`find_refusal`. In the lists of a layer it is.
    """
    return not (shape.name == "Runtime" and operation_name in RUNTIME_OPERATIONS)


def find_refusal(operation: Operation, members: Mapping[str, Any]) -> tuple[str, str] | None:
    """Code and message of the checks that come after those of the model, or None.

    Recorded: a bare function name over 64 characters and an unknown runtime are InvalidParameterValueException (with
    ``Type``); the former has the wording of a validation error, the latter nearly (the value is not quoted).
    """
    name = members.get("FunctionName")
    if isinstance(name, str) and ":" not in name and len(name) > BARE_NAME_LIMIT:
        constraint = f"Member must have length less than or equal to {BARE_NAME_LIMIT}"
        return (
            "InvalidParameterValueException",
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: {constraint}",
        )
    runtime = members.get("Runtime")
    if operation.name in RUNTIME_OPERATIONS and runtime is not None:
        known = operation.input.members["Runtime"].shape.enum
        if runtime not in known:
            constraint = f"Member must satisfy enum value set: [{', '.join(known)}] or be a valid ARN"
            shown = shorten(str(runtime))
            return (
                "InvalidParameterValueException",
                f"Value {shown} at 'runtime' failed to satisfy constraint: {constraint}",
            )
    return None


def quote_value(text: str, *, sensitive: bool) -> str:
    """How a refused value stands in a message: ``Value '<text>'``.

    Recorded at Amazon Cognito: a sensitive value is left out (``Value at 'password' failed``).
    """
    return "Value" if sensitive else f"Value '{shorten(text)}'"


def shorten(text: str) -> str:
    """``text`` as it is repeated to the caller.

    Choice: a very long value is cut, which AWS is not known to do, so that an answer is no multiple of its request.
    """
    return text if len(text) <= MAX_PRINTED_CHARACTERS else text[:MAX_PRINTED_CHARACTERS] + "..."
