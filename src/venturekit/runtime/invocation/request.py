"""A call as the transports carry it, and what they bring back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from venturekit.runtime.invocation.errors import (
    AccessDeniedError,
    InvokeError,
    TargetNotFoundError,
    ThrottledError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_RESPONSE: Final = "RequestResponse"
EVENT: Final = "Event"


class LambdaRequest(NamedTuple):
    """An Invoke. ``timeout_seconds`` is how long to wait for the answer; ``client_context`` is JSON, not yet base64."""

    function_name: str
    payload: bytes
    timeout_seconds: float
    invocation_type: str = REQUEST_RESPONSE
    client_context: str | None = None
    trace: str | None = None


class LambdaReply(NamedTuple):
    """What Lambda answered. ``function_error`` is the header of that name, None when the function went well."""

    status_code: int
    payload: bytes
    function_error: str | None = None


class LambdaInvoker(Protocol):
    """Who carries a call to Lambda, or to something that stands in for it (seed 001, ``LambdaInvoker``).

    Both methods raise InvokeError when the call itself failed; a function that failed is a reply.
    """

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call and wait for its answer."""

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """The same without blocking the event loop."""


_KINDS: Final[dict[str, type[InvokeError]]] = {
    "ResourceNotFoundException": TargetNotFoundError,
    "AccessDeniedException": AccessDeniedError,
    "TooManyRequestsException": ThrottledError,
    "EC2ThrottledException": ThrottledError,
}
_OF_STATUS: Final[dict[int, type[InvokeError]]] = {
    403: AccessDeniedError,
    404: TargetNotFoundError,
    429: ThrottledError,
}


def error_of_reply(target: str, status: int, headers: Mapping[str, str], body: bytes) -> InvokeError:
    """The error that an answer of the Lambda API which is none of success stands for."""
    code = headers.get("x-amzn-errortype", "").partition(":")[0]
    message, details = _told(body)
    kind = _KINDS.get(code) or _OF_STATUS.get(status, InvokeError)
    described = f"{code or status}: {message}" if message else code or f"HTTP status {status}"
    return kind(f"{target} could not be invoked: {described}", target=target, status_code=status, details=details)


def _told(body: bytes) -> tuple[str, Any]:
    import json

    try:
        document = json.loads(body)
    except ValueError:
        return body[:200].decode("utf-8", "replace"), None
    if not isinstance(document, dict):
        return "", document
    return str(document.get("Message") or document.get("message") or ""), document
