"""Responses as JSON, to be given again: what of them belongs to the answer, and what to the request that got it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.middleware.base import MiddlewareError
from venturekit.runtime.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_ONE_REQUEST: Final = frozenset(
    (
        *("age", "connection", "content-length", "date", "idempotent-replayed", "keep-alive", "retry-after"),
        *("server-timing", "traceparent", "tracestate", "transfer-encoding", "vary"),
        *("x-amzn-requestid", "x-amzn-trace-id", "x-request-id", "x-response-time"),
    )
)
_DEEPEST: Final = 100
_PREFIXES_OF_ONE_REQUEST: Final = ("access-control-", "ratelimit-", "x-venturekit-")


def lasting(headers: Mapping[str, str]) -> dict[str, str]:
    """Of some headers those that are the same whenever the response is sent."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _OF_ONE_REQUEST and not name.lower().startswith(_PREFIXES_OF_ONE_REQUEST)
    }


def dump_response(response: Response, added: Mapping[str, str]) -> dict[str, Any]:
    """A response as JSON, ``added`` being what the handler has put into ``ctx.response_headers``.

    Raises MiddlewareError for a stream, NotSerializableError for a body that is no JSON.
    """
    if response.is_streamed:
        raise _streamed(response)
    can_be_read_once = _has_iterator(response.body)
    body, own_type = response.encoded()
    if can_be_read_once:
        response.body = json.loads(body)
    headers = lasting(response.headers)
    if response.raw is None and own_type is not None and response.header("content-type") is None:
        headers["Content-Type"] = own_type
    kept: dict[str, Any] = {"status": response.status_code, "headers": headers}
    if isinstance(body, bytes):
        from binascii import b2a_base64

        kept["base64"] = b2a_base64(body, newline=False).decode()
    elif body:
        kept["body"] = body
    if response.cookies:
        kept["cookies"] = response.cookies
    if body and response.enveloped and type(response.body) is dict and "data" in response.body:
        kept["enveloped"] = True
    if changed := lasting(added):
        kept["added"] = changed
    return kept


def load_response(kept: Mapping[str, Any]) -> Response:
    """The response again, byte for byte; an envelope as the dictionary that it was."""
    body: Any = kept.get("body")
    if "base64" in kept:
        from binascii import a2b_base64

        body = a2b_base64(kept["base64"])
    enveloped = bool(kept.get("enveloped"))
    if enveloped:
        body = json.loads(body)
    response = Response(body, kept["status"], kept["headers"], kept.get("cookies", ()), enveloped=enveloped)
    # What it says of its type is all that there is to say.
    response.raw = {}
    return response


def _has_iterator(value: Any, depth: int = 0) -> bool:
    """Whether there is something in a value that is gone when it was written as JSON."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return hasattr(value, "__next__")
    return depth < _DEEPEST and any(_has_iterator(one, depth + 1) for one in value)


def _streamed(response: Response) -> MiddlewareError:
    close = getattr(response.body, "close", None)
    if close is not None:
        close()
    return MiddlewareError(
        "the handler streams its response, which cannot be kept to be given again: take idempotency_middleware() from "
        "it, or return a whole response"
    )
