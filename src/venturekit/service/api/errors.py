"""Errors of the Lambda API and their form on the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.service.api.model import service_model
from venturekit.service.api.quirks import UNMODELLED_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = (b"Content-Type", b"application/json")


class ApiError(Exception):
    """An answer that is an error. Make it with :func:`api_error`, which knows status and message key.

    ``code`` goes into the header ``x-amzn-ErrorType``; ``type`` is ``User``, ``Service`` or None (the body then has no
    ``Type``); ``extra`` are further members of the body, ``headers`` further headers.
    """

    def __init__(
        self,
        code: str,
        message: str | None,
        *,
        status: int,
        message_key: str = "message",
        type: str | None = "User",  # noqa: A002 - the name of the member on the wire
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.message_key = message_key
        self.type = type
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


def api_error(
    code: str,
    message: str | None,
    *,
    type: str | None = "User",  # noqa: A002 - the name of the member on the wire
    **extra: Any,
) -> ApiError:
    """An :class:`ApiError` with the status, message key and header members that ``code`` has.

    Modelled errors take them from the service model; others from
    :data:`~venturekit.service.api.quirks.UNMODELLED_ERRORS`, whose errors mostly have no ``Type`` whatever is passed.
    A modelled error of status 5xx has ``Type`` ``Service`` unless None is passed. ``extra`` are further members, such
    as ``Reason`` and ``retryAfterSeconds`` (a header) of TooManyRequestsException.

    Raises LookupError for a code that is in neither table.
    """
    modelled = service_model().errors.get(code)
    if modelled is not None:
        names = modelled.header_names
        return ApiError(
            code,
            message,
            status=modelled.status,
            message_key=modelled.message_key,
            type="Service" if type is not None and modelled.status >= 500 else type,
            extra={name: value for name, value in extra.items() if name not in names},
            headers={names[name]: str(value) for name, value in extra.items() if name in names},
        )
    unmodelled = UNMODELLED_ERRORS.get(code)
    if unmodelled is None:
        raise LookupError(f"{code} is neither an error of the service model nor in quirks.UNMODELLED_ERRORS")
    return ApiError(
        code,
        message,
        status=unmodelled.status,
        message_key=unmodelled.message_key,
        type=unmodelled.type,
        extra=extra,
    )


def render_error(error: ApiError, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of ``error``.

    The body is compact JSON: ``Type`` (if any), the message under its key, further members. Source: recorded answers
    of the Lambda API; SDKs take the code from ``x-amzn-ErrorType``.
    """
    body: dict[str, Any] = {} if error.type is None else {"Type": error.type}
    body[error.message_key] = error.message
    body.update(error.extra)
    headers = [
        JSON_TYPE,
        (b"x-amzn-RequestId", header_value(request_id)),
        (b"x-amzn-ErrorType", header_value(error.code)),
    ]
    headers += [(header_value(name), header_value(value)) for name, value in error.headers.items()]
    return error.status, headers, json_bytes(body)


def json_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8. A lone surrogate (legal in JSON, not in UTF-8) becomes ``?``. NaN raises ValueError."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def header_value(text: str) -> bytes:
    """``text`` for a header field: line breaks and other control characters become blanks."""
    if text.isprintable():
        return text.encode("utf-8")
    return "".join(char if char.isprintable() else " " for char in text).encode("utf-8", "replace")
