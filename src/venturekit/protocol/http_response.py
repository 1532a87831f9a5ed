"""What a function's result is as an HTTP response: payload format 2.0, and the prelude of a streamed response.

Sources: AWS Lambda Developer Guide, "Invoking Lambda function URLs" and "Response streaming"; API Gateway Developer
Guide, "Create AWS Lambda proxy integrations for HTTP APIs"; what is called recorded was seen with AWS. A choice of
ours is called one.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.protocol.http_event import HOP_BY_HOP, Gateway

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

HEADERS_LIMIT_BYTES: Final = 65_536
"""Names and values of all headers and cookies of one response (choice: clients refuse more)."""
PRELUDE_LIMIT_BYTES: Final = 1 << 20
"""How long the JSON before a streamed response may be (choice)."""
PRELUDE_TYPE: Final = "application/vnd.awslambda.http-integration-response"
"""The content type that a runtime gives a streamed response which begins with a prelude."""

_SEPARATOR: Final = bytes(8)
_JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_STATUS_RANGE: Final = range(200, 600)
_NO_BODY: Final = (204, 304)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What would end a header, and begin another one or the body: control characters other than the tab.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Framing belongs to who sends the response.
_DROPPED: Final = HOP_BY_HOP | {"content-length"}


class InvalidHttpResponseError(ValueError):
    """A function's result that is no HTTP response; the text says why, for the log of whoever wrote the function.

    The caller of a function URL gets ``502`` and the text ``Internal Server Error``, of an HTTP API ``500`` and
    ``{"message":"Internal Server Error"}``.
    """


class InvalidPreludeError(InvalidHttpResponseError):
    """A streamed response that should begin with a prelude, and does not."""


class HttpResponse(NamedTuple):
    """A response: header names in lower case, each once. Every cookie is a ``set-cookie`` header of its own."""

    status: int
    headers: tuple[tuple[str, str], ...]
    cookies: tuple[str, ...] = ()
    body: bytes = b""

    def header_lines(self) -> list[tuple[bytes, bytes]]:
        """Headers and cookies as they are sent, in UTF-8 (choice)."""
        lines = [*self.headers, *(("set-cookie", cookie) for cookie in self.cookies)]
        return [(name.encode(), value.encode("utf-8", "replace")) for name, value in lines]


def http_response(result: bytes | bytearray, gateway: Gateway = Gateway.FUNCTION_URL) -> HttpResponse:
    """The response that a function's result stands for, which is not a function error.

    An object with ``statusCode`` says what the response is. Any other JSON is the body of a 200: a function URL writes
    it without blanks, and a text without its quotes (recorded); an HTTP API takes the result as it is, JSON or not (as
    AWS's test tool for .NET has seen it). ``multiValueHeaders`` and unknown keys mean nothing in this format.

    Raises InvalidHttpResponseError.
    """
    try:
        value = _parse(result)
    except ValueError as problem:
        if gateway is Gateway.HTTP_API:
            return _plain(bytes(result))
        raise InvalidHttpResponseError(f"the function's result is not JSON: {problem}") from None
    if isinstance(value, dict) and "statusCode" in value:
        return _described(value, gateway)
    return _plain(bytes(result) if gateway is Gateway.HTTP_API else _rewritten(value, result))


def _parse(data: bytes | bytearray) -> Any:
    """The value of JSON. Raises ValueError with the reason."""
    try:
        return json.loads(str(data, "utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _plain(body: bytes) -> HttpResponse:
    return HttpResponse(200, (("content-type", _JSON),), (), body)


def _rewritten(value: object, result: bytes | bytearray) -> bytes:
    if isinstance(value, str):
        return _encoded(value)
    try:
        return _encoded(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except (ValueError, RecursionError):
        # A number like 1e999, which is JSON, but no number of ours.
        return bytes(result)


def _described(value: Mapping[str, Any], gateway: Gateway) -> HttpResponse:
    status = _status(value["statusCode"])
    default_type = _JSON if gateway is Gateway.FUNCTION_URL else "text/plain; charset=utf-8"
    headers, cookies = _head(value, gateway, default_type, lists=False)
    body = _body(value)
    return HttpResponse(status, headers, cookies, b"" if status in _NO_BODY else body)


def _status(value: object) -> int:
    """A number or its digits (recorded); only what can end an exchange (choice)."""
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{3}", value) else value
    if type(number) is not int or number not in _STATUS_RANGE:
        raise InvalidHttpResponseError(f"statusCode is {_shown(value)}, not a number from 200 to 599")
    return number


def _head(
    value: Mapping[str, Any], gateway: Gateway, default_type: str, *, lists: bool
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Headers and cookies. What is null is absent (choice), for languages that write every field."""
    given, cookies = value.get("headers"), value.get("cookies")
    if not isinstance(given, dict | None):
        raise InvalidHttpResponseError(f"headers are {_shown(given)}, not an object")
    if not isinstance(cookies, list | None) or not all(isinstance(cookie, str) for cookie in cookies or ()):
        raise InvalidHttpResponseError(f"cookies are {_shown(cookies)} and must be a list of texts")
    headers: dict[str, str] = {}
    all_cookies = [_checked("a cookie", cookie) for cookie in cookies or ()]
    for name, content in (given or {}).items():
        if not _TOKEN.fullmatch(name):
            raise InvalidHttpResponseError(f"{_shown(name)} cannot be the name of a header")
        values = content if lists and isinstance(content, list) else [content]
        texts = [_header_text(name, value) for value in values if value is not None]
        sent_as = _name_sent(name.lower(), gateway)
        if sent_as == "set-cookie":
            all_cookies += texts
        elif sent_as is not None and texts:
            # Of names that differ in case only, the last one counts (choice).
            headers[sent_as] = ", ".join(texts)
    headers.setdefault("content-type", default_type)
    size_bytes = len("".join([*headers, *headers.values(), *all_cookies]).encode("utf-8", "replace"))
    if size_bytes > HEADERS_LIMIT_BYTES:
        raise InvalidHttpResponseError(
            f"headers and cookies are {size_bytes} bytes long, more than {HEADERS_LIMIT_BYTES}"
        )
    return tuple(headers.items()), tuple(all_cookies)


def _name_sent(name: str, gateway: Gateway) -> str | None:
    """The name under which a header leaves, None if it does not.

    A function URL renames ``www-authenticate``, as was seen; ``date`` and ``server`` after the list that API Gateway
    documents for REST APIs (choice), and behind an HTTP API a function's date gives way to the real one (choice).
    """
    if name in _DROPPED:
        return None
    if gateway is Gateway.FUNCTION_URL:
        return f"x-amzn-remapped-{name}" if name in ("www-authenticate", "date", "server") else name
    return None if name == "date" else name


def _header_text(name: str, value: object) -> str:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    if not isinstance(value, str):
        raise InvalidHttpResponseError(f"the header {name} is {_shown(value)}, not a text, a number or a boolean")
    return _checked(f"the header {name}", value)


def _checked(what: str, text: str) -> str:
    """A value without the blanks around it, which no header has."""
    found = _CONTROL.search(text)
    if found is not None:
        raise InvalidHttpResponseError(f"{what} holds the control character {found[0]!r}, which could end it early")
    return text.strip(" \t")


def _body(value: Mapping[str, Any]) -> bytes:
    body, is_base64 = value.get("body"), value.get("isBase64Encoded")
    if not isinstance(body, str | None):
        raise InvalidHttpResponseError(
            f"body is {_shown(body)}, not a text: write it as JSON, for example by json.dumps or JSON.stringify"
        )
    if not isinstance(is_base64, bool | None):
        raise InvalidHttpResponseError(f"isBase64Encoded is {_shown(is_base64)}, not true or false")
    if not is_base64:
        return _encoded(body or "")
    try:
        return binascii.a2b_base64(body or "", strict_mode=True)
    except ValueError as problem:
        raise InvalidHttpResponseError(f"isBase64Encoded is true, but body is no base64: {problem}") from None


def _encoded(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, which JSON can hold, becomes U+FFFD as with JavaScript."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _shown(value: object) -> str:
    """A value for an error text, cut to a readable length."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:80]}..."


class PreludeParser:
    """Reads the prelude of a streamed response (``PRELUDE_TYPE``): JSON, eight NULs, then the body as it comes.

    Feed it what arrives until it returns the response; its body is then what has come after the prelude, and whatever
    comes later goes straight to the client.
    """

    __slots__ = ("_buffer", "_gateway")

    def __init__(self, gateway: Gateway = Gateway.FUNCTION_URL) -> None:
        self._gateway = gateway
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> HttpResponse | None:
        """The response with the beginning of its body, which is the end of this parser, or None as long as it goes on.

        A prelude without ``statusCode`` means 200, one without a content type ``application/octet-stream`` (choice).
        A header may have several values in a list, which is how the Rust runtime writes them.

        Raises InvalidPreludeError as soon as it cannot become a prelude any more.
        """
        # The separator may have begun at the end of what was there before.
        seen = max(0, len(self._buffer) - len(_SEPARATOR) + 1)
        self._buffer += data
        end = self._buffer.find(_SEPARATOR, seen)
        if end > PRELUDE_LIMIT_BYTES or (end < 0 and len(self._buffer) > PRELUDE_LIMIT_BYTES + len(_SEPARATOR)):
            raise InvalidPreludeError(f"the prelude is longer than {PRELUDE_LIMIT_BYTES} bytes: 8 NULs must end it")
        if end < 0:
            self._check_beginning()
            return None
        try:
            value = _parse(self._buffer[:end])
        except ValueError as problem:
            raise InvalidPreludeError(f"the prelude is not JSON: {problem}") from None
        return self._response(value, bytes(self._buffer[end + len(_SEPARATOR) :]))

    def end(self) -> NoReturn:
        """The stream has ended before the prelude has. Raises InvalidPreludeError."""
        raise InvalidPreludeError(
            f"the streamed response ended after {len(self._buffer)} bytes, before the 8 NULs that end its prelude"
        )

    def _check_beginning(self) -> None:
        """A client does not wait for the end of a stream that has never been a prelude."""
        beginning = self._buffer[:80].lstrip(b" \t\r\n")
        if beginning and not beginning.startswith(b"{"):
            raise InvalidPreludeError(
                f"the streamed response begins with {bytes(beginning[:20])!r}, not with a JSON object and 8 NULs, "
                f"which its content type {PRELUDE_TYPE} promises"
            )

    def _response(self, value: object, body: bytes) -> HttpResponse:
        if not isinstance(value, dict):
            raise InvalidPreludeError(f"the prelude is {_shown(value)}, not an object")
        try:
            status = _status(value.get("statusCode", 200))
            headers, cookies = _head(value, self._gateway, _BINARY, lists=True)
        except InvalidHttpResponseError as problem:
            raise InvalidPreludeError(f"the prelude: {problem}") from None
        return HttpResponse(status, headers, cookies, body)
