"""The events that functions get of a WebSocket connection. Pure.

Source: API Gateway Developer Guide, "Set up integration request in WebSocket APIs"; the members as recorded.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SPELLED: Final = {"websocket": "WebSocket"}

Pairs = list[tuple[str, str]]


class Session:
    """What is said of a connection in all of its events; times in epoch milliseconds."""

    __slots__ = ("api_id", "connected_at_ms", "connection_id", "domain_name", "source_ip", "stage", "user_agent")

    def __init__(
        self,
        *,
        api_id: str,
        stage: str,
        connection_id: str,
        domain_name: str,
        source_ip: str,
        user_agent: str | None,
        connected_at_ms: int,
    ) -> None:
        self.api_id = api_id
        self.stage = stage
        self.connection_id = connection_id
        self.domain_name = domain_name
        self.source_ip = source_ip
        self.user_agent = user_agent
        self.connected_at_ms = connected_at_ms

    @property
    def identity(self) -> dict[str, str]:
        """The member ``identity``, of events and of what is said of a connection."""
        made = {"sourceIp": self.source_ip}
        if self.user_agent is not None:
            made["userAgent"] = self.user_agent
        return made


def connect_event(session: Session, headers: Pairs, query: str, *, request_id: str, now_ms: int) -> dict[str, Any]:
    """The event of ``$connect``; ``headers`` are those of the handshake, their names in any spelling."""
    event = _with_headers([(spelled(name), value) for name, value in headers])
    parameters = parse_qsl(query, keep_blank_values=True)
    if parameters:
        event["queryStringParameters"] = dict(parameters)
        event["multiValueQueryStringParameters"] = _multiple(parameters)
    event["requestContext"] = _context(session, "$connect", "CONNECT", request_id, now_ms)
    event["isBase64Encoded"] = False
    return event


def message_event(
    session: Session, route_key: str, message: str | bytes, *, message_id: str, request_id: str, now_ms: int
) -> dict[str, Any]:
    """The event of a message; a binary one is in base64."""
    context = _context(session, route_key, "MESSAGE", request_id, now_ms)
    context["messageId"] = message_id
    is_binary = isinstance(message, bytes)
    body = base64.b64encode(message).decode() if isinstance(message, bytes) else message
    return {"requestContext": context, "body": body, "isBase64Encoded": is_binary}


def disconnect_event(session: Session, code: int, reason: str, *, request_id: str, now_ms: int) -> dict[str, Any]:
    """The event of ``$disconnect``: how the connection was closed, by whichever side."""
    host = session.domain_name
    event = _with_headers([("Host", host), ("x-api-key", ""), ("X-Forwarded-For", ""), ("x-restapi", "")])
    context = _context(session, "$disconnect", "DISCONNECT", request_id, now_ms)
    event["requestContext"] = context | {"disconnectStatusCode": code, "disconnectReason": reason}
    event["isBase64Encoded"] = False
    return event


def spelled(name: str) -> str:
    """The name of a header as functions get it, however the client wrote it."""
    return "-".join(_SPELLED.get(part, part.capitalize()) for part in name.lower().split("-"))


def time_text(epoch_ms: int) -> str:
    """As ``12/Mar/2020:19:03:58 +0000``."""
    at = time.gmtime(epoch_ms // 1000)
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{clock} +0000"


def iso_text(epoch_ms: int) -> str:
    """As ``2020-03-12T19:03:58.123Z``."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(epoch_ms // 1000))}.{epoch_ms % 1000:03}Z"


def _context(session: Session, route_key: str, event_type: str, request_id: str, now_ms: int) -> dict[str, Any]:
    return {
        "routeKey": route_key,
        "eventType": event_type,
        "extendedRequestId": request_id,
        "requestTime": time_text(now_ms),
        "messageDirection": "IN",
        "stage": session.stage,
        "connectedAt": session.connected_at_ms,
        "requestTimeEpoch": now_ms,
        "identity": session.identity,
        "requestId": request_id,
        "domainName": session.domain_name,
        "connectionId": session.connection_id,
        "apiId": session.api_id,
    }


def _with_headers(pairs: Pairs) -> dict[str, Any]:
    return {"headers": dict(pairs), "multiValueHeaders": _multiple(pairs)}


def _multiple(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    made: dict[str, list[str]] = {}
    for name, value in pairs:
        made.setdefault(name, []).append(value)
    return made
