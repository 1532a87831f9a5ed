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


class BrokenStreamError(Exception):
    """A streamed response failed after it had begun: nothing can be answered any more, but that it is not whole."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


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
    headers, many = value.get("headers") or {}, value.get("multiValueHeaders") or {}
    if not isinstance(headers, dict) or not isinstance(many, dict):
        raise InvalidResponseError("headers and multiValueHeaders of a result with statusCode must be dictionaries")
    cookies = value.get("cookies") or ()
    response = Response(value.get("body"), status, {str(name): str(text) for name, text in headers.items()}, cookies)
    for name, texts in many.items():
        listed = texts if isinstance(texts, list | tuple) else [texts]
        if str(name).lower() == "set-cookie":
            response.cookies += listed
        else:
            response.headers[str(name)] = ",".join(map(str, listed))
    if not isinstance(response.body, str | None):
        raise InvalidResponseError("body of a result with statusCode must be a text: write it with json.dumps")
    if value.get("isBase64Encoded") and response.body:
        from binascii import a2b_base64

        try:
            response.body = a2b_base64(response.body, strict_mode=True)
        except ValueError as problem:
            raise InvalidResponseError(f"isBase64Encoded is true, but body is no base64: {problem}") from None
    response.raw = value
    return response


def gateway_result(response: Response, added: Mapping[str, str], request: RequestEvent) -> dict[str, Any]:
    """The result for the front door that made the event. Raises InvalidResponseError, NotSerializableError."""
    status = response.status_code
    if type(status) is not int or not 100 <= status <= 599:
        raise InvalidResponseError(f"the status of the response is {status!r}, and no HTTP status")
    body, own_type = response.encoded()
    headers = response.headers if not added else _merged(response.headers, added)
    content_type = None
    for name, value in headers.items():
        check_header(name, value)
        if len(name) == 12 and name.lower() == "content-type":
            content_type = value
    if response.cookies:
        for cookie in response.cookies:
            check_header("Set-Cookie", cookie)
    if content_type is None and own_type is not None and response.raw is None:
        headers = {"Content-Type": own_type, **headers}
    elif headers is response.headers:
        headers = dict(headers)
    if isinstance(body, str):
        if not body.isascii() and not _is_unicode(body):
            raise InvalidResponseError("the body holds half of a surrogate pair, which is no character")
        return request.answer(status, headers, response.cookies, body, False)
    return request.answer(status, headers, response.cookies, b2a_base64(body, newline=False).decode(), True)


def check_header(name: Any, value: Any) -> None:
    """Raises InvalidResponseError for a header that could not be sent, or would be another one when it is."""
    if type(name) is not str or _TOKEN.fullmatch(name) is None:
        raise InvalidResponseError(f"{name!r} cannot be the name of a header")
    if type(value) is not str:
        raise InvalidResponseError(f"the header {name} is {value!r}, and not a text")
    if _CONTROL.search(value) is not None:
        raise InvalidResponseError(f"the header {name} holds a control character, which could end it early")
    if not value.isascii() and not _is_unicode(value):
        raise InvalidResponseError(f"the header {name} holds half of a surrogate pair, which is no character")


def _merged(headers: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """What was added for the whole response wins, however the same name is written."""
    if not headers:
        return dict(added)
    names = {str(name).lower() for name in added}
    return {**{name: value for name, value in headers.items() if str(name).lower() not in names}, **added}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
