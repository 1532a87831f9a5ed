"""What a handler knows of a connection and its message. Source: API Gateway Developer Guide, "Set up a WebSocket API
integration request"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime import environ
from venturekit.runtime.context import BaseContext, TenantContext, UserContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.runtime.ws.connection_stores import ConnectionStore
    from venturekit.runtime.ws.connections import Connection

CONNECT: Final = "CONNECT"
MESSAGE: Final = "MESSAGE"
DISCONNECT: Final = "DISCONNECT"


class InvalidWebSocketEventError(TypeError):
    """What a handler was called with is no event of a WebSocket API."""


class WebSocketContext(BaseContext):
    """The context of an event of a WebSocket API.

    ``message`` is the body: JSON as its value, any other text as it is, bytes of a binary frame; None without one.
    ``action`` is its ``action``, or the route that API Gateway chose by it; None for other messages. ``event_type`` is
    ``CONNECT``, ``MESSAGE`` or ``DISCONNECT``; ``connection`` what the store knows, once it was looked up.
    """

    __slots__ = ("_store", "connection", "event_type", "message", "raw_event", "requested")

    def __init__(self, event: Mapping[str, Any], raw_context: Any, store: ConnectionStore) -> None:
        requested = event.get("requestContext") if hasattr(event, "get") else None
        if not isinstance(requested, dict) or not isinstance(requested.get("connectionId"), str):
            raise InvalidWebSocketEventError(
                "this is no event of a WebSocket API: requestContext.connectionId is missing. Test handlers with "
                "websocket_message_event() of venturekit.testing"
            )
        super().__init__(
            str(requested.get("requestId") or getattr(raw_context, "aws_request_id", "") or environ.new_request_id()),
            raw_context,
        )
        self.raw_event = event
        self.requested: dict[str, Any] = requested
        self.event_type = str(requested.get("eventType") or _type_of(self.route_key))
        self.message: Any = _message_of(event)
        self.connection: Connection | None = None
        self._store = store

    @property
    def connection_id(self) -> str:
        """The id of the connection."""
        return self.requested["connectionId"]  # type: ignore[no-any-return]

    @property
    def domain(self) -> str:
        """The domain of the API, by which messages are sent."""
        return str(self.requested.get("domainName") or "")

    @property
    def stage(self) -> str:
        """The stage of the API, by which messages are sent."""
        return str(self.requested.get("stage") or "")

    @property
    def api(self) -> str | None:
        """Which API it is: its id and stage, ``abc/dev``; None where the event does not tell."""
        api_id = self.requested.get("apiId")
        return f"{api_id}/{self.stage}" if isinstance(api_id, str) and api_id else None

    @property
    def route_key(self) -> str:
        """The route: ``$connect``, ``$disconnect``, ``$default`` or an action."""
        return str(self.requested.get("routeKey") or "")

    @property
    def action(self) -> str | None:
        """What the client wants: the ``action`` of its message, else the route, if it is none of API Gateway's own."""
        if isinstance(self.message, dict) and isinstance(self.message.get("action"), str):
            return self.message["action"]  # type: ignore[no-any-return]
        return None if self.route_key.startswith("$") or not self.route_key else self.route_key

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the handshake by names in lower case; messages have none."""
        return {name.lower(): value for name, value in (self.raw_event.get("headers") or {}).items()}

    @property
    def query_params(self) -> dict[str, str]:
        """The query of the handshake; messages have none."""
        return dict(self.raw_event.get("queryStringParameters") or {})

    @property
    def source_ip(self) -> str:
        """The address of the client, empty where the event does not tell."""
        return str((self.requested.get("identity") or {}).get("sourceIp") or "")

    @property
    def disconnect_code(self) -> int | None:
        """Why a connection has ended, as WebSockets count it (1000: as agreed); None for other events."""
        return self.requested.get("disconnectStatusCode")

    @property
    def disconnect_reason(self) -> str | None:
        """The same in words."""
        return self.requested.get("disconnectReason")

    def reply(self, data: Any) -> bool:
        """Send a message to the client; False when its connection has ended: ``ctx.reply({"action": "pong"})``

        Not while it connects: there is no connection before the handler has answered. Raises ManagementError.
        """
        return self._store.post_to_connection(self.domain, self.stage, self.connection_id, data)

    async def areply(self, data: Any) -> bool:
        """The same without blocking the event loop."""
        return await self._store.apost_to_connection(self.domain, self.stage, self.connection_id, data)

    def _epoch_ms(self) -> int | None:
        epoch_ms = self.requested.get("requestTimeEpoch")
        return epoch_ms if isinstance(epoch_ms, int) else None

    def _find_user(self) -> UserContext | None:
        known = self.connection
        if known is None or not known.is_authenticated or known.user_id is None:
            return None
        return UserContext(known.user_id, claims=known.metadata)

    def _find_tenant(self) -> TenantContext | None:
        known = self.connection
        if known is None or not known.is_authenticated or known.tenant_id is None:
            return None
        return TenantContext(known.tenant_id)

    def looked_up(self, connection: Connection | None) -> None:
        """What the store knows of this connection; user and tenant follow from it."""
        from venturekit.runtime.context import _UNSET

        self.connection = connection
        self._user = self._tenant = _UNSET

    def __repr__(self) -> str:
        return f"WebSocketContext({self.route_key}, connection_id={self.connection_id!r})"


def _type_of(route_key: str) -> str:
    return {"$connect": CONNECT, "$disconnect": DISCONNECT}.get(route_key, MESSAGE)


def _message_of(event: Mapping[str, Any]) -> Any:
    body = event.get("body")
    if not isinstance(body, str):
        return None
    if event.get("isBase64Encoded"):
        from binascii import Error, a2b_base64

        try:
            return a2b_base64(body.encode(), strict_mode=True)
        except (Error, ValueError):
            return body
    from venturekit.runtime.body import _decode

    try:
        return _decode(body)
    except (ValueError, RecursionError):
        # API Gateway lets everything through that is text.
        return body
