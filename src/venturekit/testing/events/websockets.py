"""Events of API Gateway's WebSocket APIs.

Source: API Gateway Developer Guide, "Set up a WebSocket API integration request"; which keys there are as recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from venturekit.testing.events.common import REGION, digits, log_time, now_ms, text_of
from venturekit.testing.events.requests import SOURCE_IP, USER_AGENT, header_pairs, query_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.testing.events.requests import Headers, Query

WEBSOCKET_API_ID: Final = "abcdefghij"
CONNECTION_ID: Final = "L0SM9cOFvHcCIhw="


def websocket_connect_event(
    *,
    connection_id: str = CONNECTION_ID,
    query: Query | None = None,
    headers: Headers | None = None,
    authorizer: Mapping[str, Any] | None = None,
    stage: str = "dev",
    api_id: str = WEBSOCKET_API_ID,
    region: str = REGION,
    source_ip: str = SOURCE_IP,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A client asks for a connection::

        >>> from venturekit.testing import websocket_connect_event
        >>> event = websocket_connect_event(query={"token": "t"})
        >>> event["requestContext"]["routeKey"], event["queryStringParameters"]
        ('$connect', {'token': 't'})

    ``authorizer`` is what a Lambda authorizer of ``$connect`` has said.
    """
    moment = now_ms(time_epoch_ms)
    domain = f"{api_id}.execute-api.{region}.amazonaws.com"
    usual = {
        "Host": domain,
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Key": f"{digits(22)}==",
        "Sec-WebSocket-Version": "13",
        "User-Agent": USER_AGENT,
        "X-Amzn-Trace-Id": f"Root=1-{moment // 1000:08x}-{digits(24)}",
        "X-Forwarded-For": source_ip,
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    given = header_pairs(headers)
    names = {name.lower() for name, _ in given}
    pairs = [*((name, value) for name, value in usual.items() if name.lower() not in names), *given]
    event: dict[str, Any] = _headers(pairs)
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query_text(query), keep_blank_values=True):
        values.setdefault(name, []).append(value)
    if values:
        event["queryStringParameters"] = {name: texts[-1] for name, texts in values.items()}
        event["multiValueQueryStringParameters"] = values
    context = _context("$connect", "CONNECT", connection_id, stage, api_id, domain, source_ip, moment, moment)
    if authorizer is not None:
        context["authorizer"] = dict(authorizer)
    return {**event, "requestContext": context, "isBase64Encoded": False}


def websocket_message_event(
    message: Any,
    *,
    route: str | None = None,
    connection_id: str = CONNECTION_ID,
    authorizer: Mapping[str, Any] | None = None,
    stage: str = "dev",
    api_id: str = WEBSOCKET_API_ID,
    region: str = REGION,
    source_ip: str = SOURCE_IP,
    connected_at_ms: int | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A client sends a message: a text as it is, any other value as JSON::

        >>> from venturekit.testing import websocket_message_event
        >>> event = websocket_message_event({"action": "send", "text": "hi"}, route="send")
        >>> event["body"], event["requestContext"]["routeKey"]
        ('{"action":"send","text":"hi"}', 'send')

    The route is ``$default`` unless it is given: which one a message takes, an API decides by its own expression.
    """
    moment = now_ms(time_epoch_ms)
    domain = f"{api_id}.execute-api.{region}.amazonaws.com"
    since = moment if connected_at_ms is None else connected_at_ms
    context = _context(route or "$default", "MESSAGE", connection_id, stage, api_id, domain, source_ip, moment, since)
    context["messageId"] = f"{digits(14)}="
    if authorizer is not None:
        context["authorizer"] = dict(authorizer)
    return {"requestContext": context, "body": text_of(message), "isBase64Encoded": False}


def websocket_disconnect_event(
    *,
    connection_id: str = CONNECTION_ID,
    status_code: int = 1005,
    reason: str = "Client-side close frame status not set",
    stage: str = "dev",
    api_id: str = WEBSOCKET_API_ID,
    region: str = REGION,
    source_ip: str = SOURCE_IP,
    connected_at_ms: int | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A connection has ended::

    >>> from venturekit.testing import websocket_disconnect_event
    >>> websocket_disconnect_event(status_code=1001)["requestContext"]["disconnectStatusCode"]
    1001
    """
    moment = now_ms(time_epoch_ms)
    domain = f"{api_id}.execute-api.{region}.amazonaws.com"
    since = moment if connected_at_ms is None else connected_at_ms
    context = _context("$disconnect", "DISCONNECT", connection_id, stage, api_id, domain, source_ip, moment, since)
    context |= {"disconnectStatusCode": status_code, "disconnectReason": reason}
    headers = [("Host", domain), ("x-api-key", ""), ("X-Forwarded-For", ""), ("x-restapi", "")]
    return {**_headers(headers), "requestContext": context, "isBase64Encoded": False}


def _headers(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return {"headers": {name: values[-1] for name, values in many.items()}, "multiValueHeaders": many}


def _context(
    route_key: str,
    event_type: str,
    connection_id: str,
    stage: str,
    api_id: str,
    domain: str,
    source_ip: str,
    moment: int,
    since: int,
) -> dict[str, Any]:
    request_id = f"{digits(14)}="
    return {
        "routeKey": route_key,
        "eventType": event_type,
        "extendedRequestId": request_id,
        "requestTime": log_time(moment),
        "messageDirection": "IN",
        "stage": stage,
        "connectedAt": since,
        "requestTimeEpoch": moment,
        "identity": {"userAgent": USER_AGENT, "sourceIp": source_ip},
        "requestId": request_id,
        "domainName": domain,
        "connectionId": connection_id,
        "apiId": api_id,
    }
