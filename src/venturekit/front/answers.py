"""What the front process answers by itself: AWS's words where they are known (recorded), else our own. Pure."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

REQUEST_LIMIT_BYTES: Final = 6_291_456
"""The largest event (AWS page "Lambda quotas"); the body of a request is a part of it."""
JSON: Final = b"application/json"
_TROUBLESHOOTING: Final = "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"


class Answer(NamedTuple):
    """A whole response. Header names are in lower case; the content type is not among them."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON


def message(status: int, text: str | None, code: str = "") -> Answer:
    """An answer whose body is a message in AWS's form."""
    headers = ((b"x-amzn-errortype", code.encode()),) if code else ()
    return Answer(status, json.dumps({"Message": text}, separators=(",", ":")).encode(), headers)


UNKNOWN_URL: Final = message(403, None, "AccessDeniedException")
FORBIDDEN: Final = message(
    403,
    f"Forbidden. For troubleshooting Function URL authorization issues, see: {_TROUBLESHOOTING}",
    "AccessDeniedException",
)
TOO_LARGE: Final = message(
    413,
    f"Request must be smaller than {REQUEST_LIMIT_BYTES} bytes for the InvokeFunction operation",
    "RequestEntityTooLargeException",
)
THROTTLED: Final = message(429, "Rate Exceeded.", "TooManyRequestsException")
BAD_GATEWAY: Final = Answer(502, b"Internal Server Error")
UNAVAILABLE: Final = message(503, "Service Unavailable", "ServiceUnavailableException")
PREFLIGHT: Final = Answer(200)
UPGRADE_REQUIRED: Final = 426
NO_UPGRADE: Final = message(400, "Function URLs speak HTTP/1.1 only: they do not upgrade to another protocol.")
UNKNOWN_CODING: Final = message(501, "The only transfer coding of a request is chunked.")
HEAD_TOO_LARGE: Final = message(431, "The headers of the request are too large.")
TOO_SLOW: Final = message(408, "The request did not come in time.")
MALFORMED: Final = message(400, "The request is not HTTP/1.1.")


def for_status(status: int) -> Answer:
    """The answer to a request whose invocation the Lambda API has refused."""
    known = {404: UNKNOWN_URL, 413: TOO_LARGE, 429: THROTTLED, 503: UNAVAILABLE}
    return known.get(status, BAD_GATEWAY)
