"""The event of an HTTP request, payload format 2.0: made from a request, and read back.

One builder for function URLs, for HTTP APIs and for calls between functions, so that a function sees the same event
whoever made it. Where the two front doors differ (``Gateway``), each is as AWS's.

Sources: AWS Lambda Developer Guide, "Invoking Lambda function URLs"; API Gateway Developer Guide, "Create AWS Lambda
proxy integrations for HTTP APIs", payload format 2.0; what neither says is as seen in events of both. A choice of
ours is called one.
"""

from __future__ import annotations

import binascii
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

# Functions import this module at cold start. What takes longer to import than all of it (datetime, urllib.parse) is
# imported when it is needed.
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers of one connection only, which are in no event and leave with no response (RFC 9110, section 7.6.1)."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TEXT_TYPES: Final = frozenset(("application/json", "application/javascript", "application/xml"))


class Gateway(Enum):
    """Which front door of AWS makes the event and understands the response.

    A function URL gives ``rawPath`` as it was sent and leaves the ``cookie`` header in place; an HTTP API decodes the
    path and takes that header out.
    """

    FUNCTION_URL = "function-url"
    HTTP_API = "http-api"


class HttpRequest(NamedTuple):
    """A request as it came.

    ``path`` (with the stage of an HTTP API, unless that is ``$default``) and ``query`` (without the question mark)
    are still percent-encoded. ``headers`` may hold a name more than once. ``X-Forwarded-For`` and the like are the
    caller's to add.
    """

    method: str
    path: str
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"


class EventContext(NamedTuple):
    """What the front door knows besides the request; the defaults are those of a function URL without authorization.

    ``authorizer`` is ``{"iam": {...}}``, ``{"jwt": {"claims": ..., "scopes": ...}}`` or ``{"lambda": {...}}``.
    ``venturekit`` marks a call from function to function: only who writes the ``requestContext`` can say so.
    """

    request_id: str
    time_epoch_ms: int
    api_id: str
    domain_name: str
    account_id: str = "anonymous"
    gateway: Gateway = Gateway.FUNCTION_URL
    route_key: str = "$default"
    stage: str = "$default"
    path_parameters: Mapping[str, str] | None = None
    stage_variables: Mapping[str, str] | None = None
    authorizer: Mapping[str, Any] | None = None
    venturekit: Mapping[str, str] | None = None


class InvalidHttpEventError(ValueError):
    """What should be an event of payload format 2.0 is none. The text says what is wrong with it."""


class HttpEventView(NamedTuple):
    """An event as it is read: nothing is None that can be empty, and the body is bytes.

    ``path`` is the event's ``rawPath``. ``headers`` have names in lower case. ``query_parameters`` have repeated
    values joined by commas, as the event has them; ``query`` is the whole.
    """

    method: str
    path: str
    query: str
    query_parameters: dict[str, str]
    path_parameters: dict[str, str]
    headers: dict[str, str]
    cookies: list[str]
    body: bytes
    source_ip: str
    user_agent: str
    request_id: str
    route_key: str
    stage: str
    time_epoch_ms: int
    authorizer: Mapping[str, Any]
    venturekit: Mapping[str, Any] | None


def http_event(request: HttpRequest, context: EventContext) -> dict[str, Any]:
    """The event that the function gets: its keys as AWS's, those that may be absent only where they say something."""
    is_url = context.gateway is Gateway.FUNCTION_URL
    headers = _headers(request.headers)
    cookie = headers.get("cookie", "") if is_url else headers.pop("cookie", "")
    decoded_path = _percent_decoded(request.path)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": context.route_key,
        "rawPath": request.path if is_url else decoded_path,
        "rawQueryString": request.query,
    }
    cookies = [pair.strip() for pair in cookie.split(";") if pair.strip()]
    if cookies:
        event["cookies"] = cookies
    event["headers"] = headers
    query = _query_parameters(request.query)
    if query:
        event["queryStringParameters"] = query
    if context.path_parameters:
        event["pathParameters"] = dict(context.path_parameters)
    if context.stage_variables:
        event["stageVariables"] = dict(context.stage_variables)
    event["requestContext"] = _request_context(request, context, decoded_path, headers.get("user-agent", ""))
    text = _text_of(request.body, headers)
    if request.body:
        event["body"] = binascii.b2a_base64(request.body, newline=False).decode() if text is None else text
    event["isBase64Encoded"] = text is None
    return event


def _request_context(request: HttpRequest, context: EventContext, decoded_path: str, user_agent: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "accountId": context.account_id,
        "apiId": context.api_id,
        "domainName": context.domain_name,
        "domainPrefix": context.domain_name.partition(".")[0],
        "http": {
            "method": request.method,
            "path": decoded_path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": user_agent,
        },
        "requestId": context.request_id,
        "routeKey": context.route_key,
        "stage": context.stage,
        "time": _time_text(context.time_epoch_ms),
        "timeEpoch": context.time_epoch_ms,
    }
    if context.authorizer is not None:
        # Events of function URLs without authorization have neither; those with it have both.
        if context.gateway is Gateway.FUNCTION_URL:
            made["authentication"] = None
        made["authorizer"] = dict(context.authorizer)
    if context.venturekit is not None:
        made["venturekit"] = dict(context.venturekit)
    return made


def _headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names in lower case, values of one name joined; cookies by what separates them."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()
        if name in HOP_BY_HOP:
            continue
        if name in headers:
            separator = "; " if name == "cookie" else ","
            headers[name] = f"{headers[name]}{separator}{value}"
        else:
            headers[name] = value
    return headers


def _query_parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        name, _, value = (_percent_decoded(part.replace("+", " ")) for part in pair.partition("="))
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _percent_decoded(text: str) -> str:
    """Decoded once. What is not UTF-8 then is replaced by U+FFFD: an event is text (choice)."""
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def _text_of(body: bytes, headers: Mapping[str, str]) -> str | None:
    """The body where the event has it as text, None where it has it in base64.

    Text is what is ``text/*`` or JSON, JavaScript or XML, as seen with HTTP APIs: forms are base64 with both front
    doors, and so is a body that does not say what it is. Types that end in ``+json`` or ``+xml`` are text too, and
    what is compressed or is not UTF-8 is not (choice).
    """
    if not body:
        return ""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_text = media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(("+json", "+xml"))
    if not is_text or headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        return None


def _time_text(epoch_ms: int) -> str:
    """As web servers write it in their logs, months in English whatever the locale: 12/Mar/2020:19:03:58 +0000."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year:04}:{moment:%H:%M:%S} +0000"


def read_http_event(event: Mapping[str, Any]) -> HttpEventView:
    """Read an event of payload format 2.0, as AWS, ``http_event`` or a test makes it. Absent and null are the same.

    Raises InvalidHttpEventError for an event of another form, a value of another type, or a body that is no base64.
    """
    context = _mapping(event, "requestContext")
    http = _mapping(context, "http")
    if not http:
        raise InvalidHttpEventError(
            "this is no event of an HTTP request in payload format 2.0: it has no requestContext.http"
        )
    marker = context.get("venturekit")
    return HttpEventView(
        method=_text(http, "method"),
        path=_text(event, "rawPath") or _text(http, "path"),
        query=_text(event, "rawQueryString"),
        query_parameters=_texts(event, "queryStringParameters"),
        path_parameters=_texts(event, "pathParameters"),
        headers={name.lower(): value for name, value in _texts(event, "headers").items()},
        cookies=_cookies(event),
        body=_body(event),
        source_ip=_text(http, "sourceIp"),
        user_agent=_text(http, "userAgent"),
        request_id=_text(context, "requestId"),
        route_key=_text(context, "routeKey"),
        stage=_text(context, "stage"),
        time_epoch_ms=_typed(context, "timeEpoch", int) or 0,
        authorizer=_mapping(context, "authorizer"),
        venturekit=None if marker is None else _mapping(context, "venturekit"),
    )


def _typed(mapping: Mapping[str, Any], key: str, kind: type) -> Any:
    value = mapping.get(key)
    if value is not None and not isinstance(value, kind):
        raise InvalidHttpEventError(f"{key} of the event is of the type {type(value).__name__}, not {kind.__name__}")
    return value


def _text(mapping: Mapping[str, Any], key: str) -> str:
    return _typed(mapping, key, str) or ""


def _mapping(mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    return _typed(mapping, key, dict) or {}


def _texts(mapping: Mapping[str, Any], key: str) -> dict[str, str]:
    values = _mapping(mapping, key)
    return {name: _text(values, name) for name in values}


def _cookies(event: Mapping[str, Any]) -> list[str]:
    cookies: list[Any] = _typed(event, "cookies", list) or []
    if not all(isinstance(cookie, str) for cookie in cookies):
        raise InvalidHttpEventError("cookies of the event are not all texts")
    return cookies


def _body(event: Mapping[str, Any]) -> bytes:
    text = _text(event, "body")
    if not _typed(event, "isBase64Encoded", bool):
        return text.encode("utf-8", "replace")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise InvalidHttpEventError("the body of the event is said to be base64, but is not") from None
