"""The body of a request, read as what its content type says it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from venturekit.runtime.errors import BadRequestError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
FORM: Final = "application/x-www-form-urlencoded"
MAX_FORM_FIELDS: Final = 10_000


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"the number {text[:40]} is too large")
    return number


_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode


def read_body(event: Mapping[str, Any], headers: Mapping[str, str], max_bytes: int = MAX_BODY_BYTES) -> Any:
    """The body of an event; None when it is empty.

    JSON (also ``application/...+json``, and what does not say what it is) becomes its value, a form a dictionary of
    texts, with a list where a name comes more than once, ``text/*`` a text, everything else bytes. Texts that are not
    UTF-8 are refused.

    Raises BadRequestError for what is not what it says, PayloadTooLargeError for more than ``max_bytes``.
    """
    given = event.get("body")
    if given is None or given == "":
        return None
    if not isinstance(given, str):
        raise BadRequestError("The body of the event is no text")
    if len(given) > max_bytes and len(given) > (max_bytes + 2) // 3 * 4:
        raise _too_large(max_bytes)
    content_type = headers.get("content-type", "")
    is_json = content_type == "application/json" or not content_type
    if not event.get("isBase64Encoded"):
        # The most frequent case of all goes straight on.
        if len(given) * 4 > max_bytes and len(given.encode("utf-8", "surrogatepass")) > max_bytes:
            raise _too_large(max_bytes)
        if is_json:
            return _json(given)
        return _typed(given, None, content_type)
    data = _bytes_of_base64(given)
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return _json(_text(data)) if is_json and content_type else _typed(None, data, content_type)


def _typed(text: str | None, data: bytes | None, content_type: str) -> Any:
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type and data is not None:
        # Neither text nor a type: API Gateway sends what does not say what it is as base64, JSON included.
        try:
            return _json(_text(data))
        except BadRequestError:
            return data
    if media_type == "application/json" or media_type.endswith("+json"):
        return _json(_text(data) if text is None else text)
    if media_type == FORM:
        return read_form(_text(data) if text is None else text)
    if media_type.startswith("text/") or text is not None:
        return _text(data) if text is None else text
    return data


def read_form(text: str) -> dict[str, Any]:
    """The fields of an urlencoded form; a name that comes more than once has a list. Raises BadRequestError."""
    from urllib.parse import parse_qs

    try:
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors="strict")
    except ValueError as problem:
        raise BadRequestError(f"The body is not a form: {problem}") from None
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _json(text: str) -> Any:
    try:
        return _decode(text)
    except ValueError as problem:
        raise BadRequestError(f"The body is not valid JSON: {problem}") from None
    except RecursionError:
        raise BadRequestError("The body is not valid JSON: it is nested too deeply") from None


def _text(data: bytes | None) -> str:
    try:
        return (data or b"").decode()
    except UnicodeDecodeError as problem:
        raise BadRequestError(f"The body is not UTF-8: {problem.reason} at byte {problem.start}") from None


def _bytes_of_base64(text: str) -> bytes:
    from binascii import a2b_base64

    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError as problem:
        raise BadRequestError(f"The body is not base64, as the event says it is: {problem}") from None


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body has more than {max_bytes} bytes", {"maxBytes": max_bytes})
