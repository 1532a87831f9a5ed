"""What an answer says that is none of success. Pure.

Sources: AWS Lambda API reference, "Common Error Types"; the fact sheet's section on the wire format of errors, as
recorded; RFC 9110, "Retry-After".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.client.errors import LambdaClientError, MalformedAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.client.commands import WireResponse

_SHOWN_BYTES = 200


def service_error(operation: str, response: WireResponse, url: str, now: float) -> LambdaClientError:
    """The error of a response, by its code; of one without code and message, that it is no Lambda service.

    ``now`` is the time in epoch seconds, for answers that do not tell it.
    """
    document = _document(response.body)
    code = _code(response, document)
    message = _first_text(document, "message", "Message", "errorMessage")
    if not code and message is None and response.status < 500 and response.status != 429:
        shown = response.body[:_SHOWN_BYTES].decode("utf-8", "replace")
        location = response.headers.get("location")
        what = repr(shown) if location is None else f"which leads to {location[:_SHOWN_BYTES]!r}"
        return MalformedAnswerError(
            f"what answers at {url} is no Lambda service: status {response.status} to {operation}, {what}"
        )
    from venturekit.client.service_errors import error_for

    kind = error_for(code, response.status)
    return kind(
        message or "",
        code=code or str(response.status),
        status=response.status,
        request_id=response.headers.get("x-amzn-requestid"),
        details=document,
        retry_after=_retry_after(response, now),
    )


def check_coding(operation: str, headers: Mapping[str, str]) -> None:
    """Raises MalformedAnswerError for a body that is compressed: nobody asked for that, and it would be garbage."""
    coding = headers.get("content-encoding")
    if coding and coding.lower() != "identity":
        raise MalformedAnswerError(f"the answer to {operation} is encoded as {coding[:40]!r}, which nobody asked for")


def skew_of(response: WireResponse, now: float) -> float | None:
    """The seconds by which the clock of the service is ahead of ours; None if it does not tell the time."""
    served = _epoch_of(response.headers.get("date"))
    return None if served is None else served - now


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


def _retry_after(response: WireResponse, now: float) -> float | None:
    milliseconds = response.headers.get("x-amz-retry-after", "")
    if milliseconds.isascii() and milliseconds.isdigit():
        return float(milliseconds) / 1000
    value = response.headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value)
    wanted = _epoch_of(value)
    if wanted is None:
        return None
    served = _epoch_of(response.headers.get("date"))
    return max(wanted - (now if served is None else served), 0.0)


def _epoch_of(date: str | None) -> float | None:
    """A time of HTTP in epoch seconds."""
    if not date:
        return None
    from email.utils import mktime_tz, parsedate_tz

    try:
        parsed = parsedate_tz(date)
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
