"""WebSockets: who is connected, messages to them, and handlers of what they send.

    from venturekit.runtime.ws import auth_handler, connection_store, ws_routes

Source: seed 001, ``@venturekit/runtime/ws``; the WebSocket guide and its example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from venturekit.runtime.ws.authentication import VerifyToken, auth_handler
    from venturekit.runtime.ws.connection_stores import ConnectionStore, connection_store, create_connection_store
    from venturekit.runtime.ws.connections import Connection, SendCounts
    from venturekit.runtime.ws.errors import (
        ConnectionNotFoundError,
        ManagementAccessError,
        ManagementError,
        ManagementThrottledError,
        ManagementTransportError,
        MessageTooLargeError,
        TokenError,
    )
    from venturekit.runtime.ws.management import ConnectionManagement
    from venturekit.runtime.ws.websocket_context import InvalidWebSocketEventError, WebSocketContext
    from venturekit.runtime.ws.websocket_handlers import WebSocketHandler, ws_handler, ws_routes

_LATER: Final = {
    "Connection": "connections",
    "ConnectionManagement": "management",
    "ConnectionNotFoundError": "errors",
    "ConnectionStore": "connection_stores",
    "InvalidWebSocketEventError": "websocket_context",
    "ManagementAccessError": "errors",
    "ManagementError": "errors",
    "ManagementThrottledError": "errors",
    "ManagementTransportError": "errors",
    "MessageTooLargeError": "errors",
    "SendCounts": "connections",
    "TokenError": "errors",
    "VerifyToken": "authentication",
    "WebSocketContext": "websocket_context",
    "WebSocketHandler": "websocket_handlers",
    "auth_handler": "authentication",
    "connection_store": "connection_stores",
    "create_connection_store": "connection_stores",
    "ws_handler": "websocket_handlers",
    "ws_routes": "websocket_handlers",
}

__all__ = [
    "Connection",
    "ConnectionManagement",
    "ConnectionNotFoundError",
    "ConnectionStore",
    "InvalidWebSocketEventError",
    "ManagementAccessError",
    "ManagementError",
    "ManagementThrottledError",
    "ManagementTransportError",
    "MessageTooLargeError",
    "SendCounts",
    "TokenError",
    "VerifyToken",
    "WebSocketContext",
    "WebSocketHandler",
    "auth_handler",
    "connection_store",
    "create_connection_store",
    "ws_handler",
    "ws_routes",
]


def __getattr__(name: str) -> Any:
    """What is loaded when it is first asked for."""
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
