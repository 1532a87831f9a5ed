"""What a front door makes of a function's result; it refuses what AWS refuses.

Sources: API Gateway Developer Guide, "Output format of a Lambda function for proxy integration"; Elastic Load
Balancing, "Use Lambda functions as targets of an Application Load Balancer", "Multi-value headers".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from venturekit.protocol.http_event import Gateway
from venturekit.protocol.http_response import HttpResponse, InvalidHttpResponseError, PreludeParser, http_response

if TYPE_CHECKING:
    from collections.abc import Mapping

GatewayName = Literal["http-api", "function-url", "rest-api", "alb", "alb-multi-value"]
GATEWAYS: Final[tuple[str, ...]] = get_args(GatewayName)

_SEPARATOR: Final = bytes(8)


def read_result(payload: bytes, gateway: GatewayName) -> HttpResponse:
    """The response in a function's result. Raises InvalidHttpResponseError."""
    if gateway in ("http-api", "function-url"):
        return _read_v2(payload, Gateway.HTTP_API if gateway == "http-api" else Gateway.FUNCTION_URL)
    try:
        result = json.loads(payload)
    except (ValueError, RecursionError) as problem:
        raise InvalidHttpResponseError(f"the function's result is not JSON: {problem}") from None
    if not isinstance(result, dict) or "statusCode" not in result:
        raise InvalidHttpResponseError("the function's result is no object with a statusCode, and must be one here")
    made = _as_v2(result, gateway)
    renames = Gateway.FUNCTION_URL if gateway == "rest-api" else Gateway.HTTP_API
    return http_response(json.dumps(made).encode(), renames)


def refusal(gateway: GatewayName) -> HttpResponse:
    """What the client gets when the function has failed, or has answered what is no response."""
    if gateway == "http-api":
        return _refused(500, "application/json", b'{"message":"Internal Server Error"}')
    if gateway == "rest-api":
        return _refused(502, "application/json", b'{"message": "Internal server error"}')
    if gateway == "function-url":
        return _refused(502, "application/json", b"Internal Server Error")
    return _refused(502, "text/html", b"<html><head><title>502 Bad Gateway</title></head></html>")


def not_found(gateway: GatewayName) -> HttpResponse:
    """What the client gets when there is no route."""
    if gateway == "rest-api":
        return _refused(403, "application/json", b'{"message":"Missing Authentication Token"}')
    return _refused(404, "application/json", b'{"message":"Not Found"}')


def _refused(status: int, content_type: str, body: bytes) -> HttpResponse:
    return HttpResponse(status, (("content-type", content_type),), (), body)


def _read_v2(payload: bytes, gateway: Gateway) -> HttpResponse:
    # A streamed response that was collected: status and headers come before the body.
    if payload[:1] == b"{" and _SEPARATOR in payload:
        found = PreludeParser(gateway).feed(payload)
        if found is not None:
            return found
    return http_response(payload, gateway)


def _as_v2(result: Mapping[str, Any], gateway: GatewayName) -> dict[str, Any]:
    """The same result as payload format 2.0 has it."""
    headers: dict[str, Any] = {}
    cookies: list[Any] = []
    if gateway != "alb-multi-value":
        for name, value in _object(result, "headers").items():
            if name.lower() == "set-cookie":
                cookies.append(value)
            else:
                headers[name] = value
    if gateway != "alb":
        for name, values in _object(result, "multiValueHeaders").items():
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise InvalidHttpResponseError(f"multiValueHeaders has no list of texts under {name}")
            if name.lower() == "set-cookie":
                # Of a name in both, the lists count.
                cookies = [*values]
            else:
                headers = {given: value for given, value in headers.items() if given.lower() != name.lower()}
                headers[name] = ", ".join(values)
    kept = {key: result[key] for key in ("statusCode", "body", "isBase64Encoded") if key in result}
    return {**kept, "headers": headers, "cookies": cookies}


def _object(result: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = result.get(key)
    if not isinstance(value, dict | None):
        raise InvalidHttpResponseError(f"{key} of the function's result is no object")
    return value or {}
