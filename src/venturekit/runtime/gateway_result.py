"""From a Response to what the front door of an event takes, checked: nothing that would be torn on its way."""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.runtime.request_event import RequestEvent

RESULT_LIMIT_BYTES: Final = 6 * 1024 * 1024
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MEANT: Final = frozenset(("data", "meta"))


class InvalidResponseError(ValueError):
    """A response that cannot be sent; the text says what is wrong with it."""


def response_of(value: Any, default_status: int, *, enveloped: bool) -> Response:
    """The response that a handler's return value means.

    A Response is itself. A dictionary with an integer ``statusCode`` is a result in API Gateway's own form. A
    dictionary of exactly ``data`` and maybe ``meta`` is an envelope already; everything else is put into one, unless
    the handler has said that it sends its values bare.
    """
    if isinstance(value, Response):
        return value
    if type(value) is dict:
        if "statusCode" in value and type(value["statusCode"]) is int:
            return _raw(value)
        if enveloped and "data" in value and _MEANT.issuperset(value):
            return Response(value, default_status, enveloped=True)
    if hasattr(value, "__next__") or hasattr(value, "__aiter__") or default_status == 204:
        return Response(None if default_status == 204 else value, default_status)
    if enveloped:
        return Response({"data": value}, default_status, enveloped=True)
    return Response(value, default_status)


def _raw(value: dict[str, Any]) -> Response:
    status = value["statusCode"]
    if not 100 <= status <= 599:
        raise InvalidResponseError(f"statusCode is {status}, and no HTTP status")
    headers = value.get("headers") or {}
    response = Response(value.get("body"), status, {name: str(text) for name, text in headers.items()})
    response.cookies = list(value.get("cookies") or ())
    for name, texts in (value.get("multiValueHeaders") or {}).items():
        if name.lower() == "set-cookie":
            response.cookies += texts
        else:
            response.headers[name] = ",".join(map(str, texts))
    if not isinstance(response.body, str | None):
        raise InvalidResponseError("body of a result with statusCode must be a text: write it with json.dumps")
    if value.get("isBase64Encoded") and response.body:
        from binascii import a2b_base64

        try:
            response.body = a2b_base64(response.body)
        except ValueError as problem:
            raise InvalidResponseError(f"isBase64Encoded is true, but body is no base64: {problem}") from None
    response.raw = value
    return response


def gateway_result(response: Response, added: Mapping[str, str], request: RequestEvent) -> dict[str, Any]:
    """The result for the front door that made the event. Raises InvalidResponseError, NotSerializableError."""
    body, own_type = response.encoded()
    headers = response.headers if not added else {**response.headers, **added}
    content_type = None
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None:
            raise InvalidResponseError(f"{name!r} cannot be the name of a header")
        if type(value) is not str:
            raise InvalidResponseError(f"the header {name} is {value!r}, and not a text")
        if _CONTROL.search(value) is not None:
            raise InvalidResponseError(f"the header {name} holds a control character, which could end it early")
        if len(name) == 12 and name.lower() == "content-type":
            content_type = value
    if response.cookies:
        for cookie in response.cookies:
            if _CONTROL.search(cookie) is not None:
                raise InvalidResponseError("a cookie holds a control character, which could end it early")
    if content_type is None and own_type is not None and response.raw is None:
        headers = {"Content-Type": own_type, **headers}
    elif headers is response.headers:
        headers = dict(headers)
    if isinstance(body, str):
        return request.answer(response.status_code, headers, response.cookies, body, False)
    return request.answer(
        response.status_code, headers, response.cookies, b2a_base64(body, newline=False).decode(), True
    )
