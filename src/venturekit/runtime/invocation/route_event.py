"""A call of a route: the event that API Gateway would make of the same request, and the result read back."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.function_names import filled_route
from venturekit.protocol.http_event import EventContext, Gateway, HttpRequest, http_event
from venturekit.runtime.encoding import to_json
from venturekit.runtime.invocation.errors import BadResponseError, ServerStatusError
from venturekit.runtime.invocation.result import InvokeResult
from venturekit.runtime.request_event import INTERNAL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.runtime.invocation.propagation import Carried

USER_AGENT: Final = "venturekit-invoke"
_SEPARATOR: Final = bytes(8)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def route_event(
    route: str,
    carried: Carried,
    *,
    method: str,
    body: Any,
    path_params: Mapping[str, Any],
    query_params: Mapping[str, Any],
    headers: Mapping[str, str],
    api_id: str,
    account_id: str,
) -> dict[str, Any]:
    """The event. A body that is no text and no bytes becomes JSON; of a query value that is a list every item is sent.

    Headers are only what a request could have: those that tell of the call itself are the call's, as is the length of
    the body. Raises InvalidRouteError, NotSerializableError, ValueError for a method or header that is none.
    """
    parameters = {name: str(value) for name, value in path_params.items()}
    data, content_type = _body(body)
    given = _checked_headers(headers)
    usual = {"accept": "application/json", "user-agent": USER_AGENT, "host": f"{api_id}.internal"}
    if data:
        usual["content-type"] = content_type
        given["content-length"] = str(len(data))
    method = _checked_method(method)
    path = filled_route(route, parameters)
    request = HttpRequest(
        method,
        path,
        _query(query_params),
        tuple({**usual, **given, **carried.headers()}.items()),
        data,
    )
    context = EventContext(
        request_id=carried.invoke_id,
        time_epoch_ms=int(time.time() * 1000),
        api_id=api_id,
        domain_name=f"{api_id}.internal",
        account_id=account_id,
        gateway=Gateway.HTTP_API,
        route_key=f"{method} /{route.strip('/')}",
        path_parameters=parameters,
        venturekit=carried.marker(),
    )
    return http_event(request, context)


def _checked_method(method: Any) -> str:
    if not isinstance(method, str) or _TOKEN.fullmatch(method) is None:
        raise ValueError(f"{method!r} is no method of HTTP: GET and POST are")
    return method.upper()


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of a caller, names in lower case, less those that only the call itself may write."""
    checked = {}
    for name, value in headers.items():
        text = str(value)
        if not isinstance(name, str) or _TOKEN.fullmatch(name) is None or _CONTROL.search(text) is not None:
            raise ValueError(f"the header {name!r} holds a line break or another control character, or has no name")
        if not name.lower().startswith(INTERNAL_PREFIX):
            checked[name.lower()] = text
    checked.pop("content-length", None)
    return checked


def _body(body: Any) -> tuple[bytes, str]:
    if body is None:
        return b"", ""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return to_json(body).encode(), "application/json"


def _query(parameters: Mapping[str, Any]) -> str:
    if not parameters:
        return ""
    from urllib.parse import urlencode

    values = {name: value for name, value in parameters.items() if value is not None}
    return urlencode({name: _texts(value) for name, value in values.items()}, doseq=True)


def _texts(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_texts(item) for item in value]
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def read_route_result(target: str, payload: bytes) -> InvokeResult[Any]:
    """What a route's function answered: its data where it says that there is an envelope around it.

    Raises ServerStatusError for a status of 500 and above, BadResponseError for what is no HTTP response.
    """
    status, headers, body = _parts(target, payload)
    data = _value(target, status, headers, body)
    if status >= 400:
        error = data.get("error", data) if isinstance(data, dict) else data
        if status >= 500:
            told = error.get("message") if isinstance(error, dict) else None
            raise ServerStatusError(
                f"{target} answered {status}{f': {told}' if told else ''}",
                target=target,
                status_code=status,
                details=error,
            )
        return InvokeResult(None, status, headers, error=error, target=target)
    if headers.pop("x-venturekit-envelope", None) == "data" and isinstance(data, dict):
        data = data.get("data")
    return InvokeResult(data, status, headers, target=target)


def _parts(target: str, payload: bytes) -> tuple[int, dict[str, str], bytes]:
    if _SEPARATOR in payload:
        # A streamed response that was collected: status and headers come before the body.
        head, _, body = payload.partition(_SEPARATOR)
        document = _document(target, head)
    else:
        document = _document(target, payload)
        body = _described_body(target, document)
    status = document.get("statusCode", 200)
    if type(status) is not int or not 100 <= status <= 599:
        raise BadResponseError(f"{target} answered the status {status!r}", target=target)
    given, many = document.get("headers") or {}, document.get("multiValueHeaders") or {}
    if not isinstance(given, dict) or not isinstance(many, dict):
        raise BadResponseError(f"{target} answered headers that are no object", target=target, details=document)
    headers = {str(name).lower(): str(value) for name, value in given.items()}
    for name, values in many.items():
        headers.setdefault(str(name).lower(), ",".join(map(str, values if isinstance(values, list) else [values])))
    return status, headers, body


def _document(target: str, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise BadResponseError(f"{target} answered no JSON: {problem}", target=target) from None
    if not isinstance(document, dict) or "statusCode" not in document:
        raise BadResponseError(
            f"{target} did not answer as a route does: there is no statusCode. A function that is no route is called "
            "by its name, invoke(function=...)",
            target=target,
            details=document,
        )
    return document


def _described_body(target: str, document: Mapping[str, Any]) -> bytes:
    body = document.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BadResponseError(f"{target} answered a body that is no text", target=target)
    if not document.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    from binascii import a2b_base64

    try:
        return a2b_base64(body, strict_mode=True)
    except ValueError:
        raise BadResponseError(f"{target} answered a body that is no base64", target=target) from None


def _value(target: str, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    if not body:
        return None
    said = headers.get("content-type")
    media_type = (said or "application/json").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as problem:
            # What does not say that it is JSON may be none, and an error is one however badly it is told.
            if said is None or status >= 400:
                return body.decode("utf-8", "replace")
            raise BadResponseError(f"{target} answered JSON that is none: {problem}", target=target) from None
    if media_type.startswith("text/"):
        return body.decode("utf-8", "replace")
    return body
