"""What an answer says that is none of success. Pure.

Sources: AWS Lambda API reference, "Common Error Types"; the fact sheet's section on the wire format of errors, as
recorded; RFC 9110, "Retry-After".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.client.errors import LambdaClientError, MalformedAnswerError

if TYPE_CHECKING:
    from venturekit.client.commands import WireResponse

_SHOWN_BYTES = 200


def service_error(operation: str, response: WireResponse, url: str) -> LambdaClientError:
    """The error of a response, by its code; of one without code and message, that it is no Lambda service."""
    document = _document(response.body)
    code = _code(response, document)
    message = _first_text(document, "message", "Message", "errorMessage")
    if not code and message is None and response.status < 500:
        shown = response.body[:_SHOWN_BYTES].decode("utf-8", "replace")
        return MalformedAnswerError(
            f"what answers at {url} is no Lambda service: status {response.status} to {operation}, {shown!r}"
        )
    from venturekit.client.service_errors import error_for

    kind = error_for(code, response.status)
    return kind(
        message or "",
        code=code or str(response.status),
        status=response.status,
        request_id=response.headers.get("x-amzn-requestid"),
        details=document,
        retry_after=_retry_after(response),
    )


def skew_of(response: WireResponse, now: float) -> float | None:
    """The seconds by which the clock of the service is ahead of ours; None if it does not tell the time."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError):
        return None


def _document(body: bytes) -> dict[str, Any]:
    import json

    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _code(response: WireResponse, document: dict[str, Any]) -> str:
    found = response.headers.get("x-amzn-errortype") or _first_text(document, "__type", "code", "Code") or ""
    # Some services put a namespace before it, and an address behind it.
    return found.partition(":")[0].rpartition("#")[2].strip()


def _first_text(document: dict[str, Any], *names: str) -> str | None:
    return next((document[name] for name in names if isinstance(document.get(name), str)), None)


def _retry_after(response: WireResponse) -> float | None:
    milliseconds = response.headers.get("x-amz-retry-after", "")
    if milliseconds.isascii() and milliseconds.isdigit():
        return int(milliseconds) / 1000
    value = response.headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value)
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        now = parsedate_to_datetime(response.headers["date"])
        return max((parsedate_to_datetime(value) - now).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return None
