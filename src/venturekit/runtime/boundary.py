"""The error boundary: whatever was raised becomes a response that tells a caller only what callers may know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.errors import InternalError, VentureError
from venturekit.runtime.responses import Response, error_response

if TYPE_CHECKING:
    from venturekit.runtime.context import RequestContext

FIELDS_LIMIT: Final = 20
NAME_LIMIT: Final = 100


def field_names(details: Any) -> list[str]:
    """Which fields an error's details complain of, for logs: the names may be the caller's, so not without end."""
    fields = details.get("fields") if isinstance(details, dict) else None
    return [str(name)[:NAME_LIMIT] for name in list(fields)[:FIELDS_LIMIT]] if isinstance(fields, dict) else []


def error_to_response(error: Exception, ctx: RequestContext) -> Response:
    """The response of an error, which is logged here with all that is not sent.

    A VentureError below 500 is something that the caller did: it is logged as a warning, without a stack trace.
    """
    logger = ctx.logger
    if not isinstance(error, VentureError):
        logger.error("unhandled error", error=error)
        return error_response(InternalError())
    try:
        response = error_response(error)
        fields: dict[str, Any] = {"status": error.status_code, "code": error.code}
        if wrong := field_names(error.details):
            fields["fields"] = wrong
        if error.status_code < 500:
            logger.warn(error.message, fields)
        else:
            logger.error(error.message, fields, error=error)
    except Exception as problem:
        # An error of one's own with a status that is none, or properties that fail.
        logger.error("this error cannot be sent", {"reason": repr(problem)}, error=error)
        return error_response(InternalError())
    return response
