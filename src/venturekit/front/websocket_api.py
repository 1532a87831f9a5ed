"""WebSocket APIs as the front process knows them, and which route a message takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND: Final = "websocket"
CONNECT: Final = "$connect"
DISCONNECT: Final = "$disconnect"
DEFAULT: Final = "$default"
BODY: Final = "$request.body."


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages of a route go; ``responds`` tells whether the function's answer is sent to the client."""

    key: str
    function_arn: str
    responds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketApi:
    """One WebSocket API. ``selection`` is the path of the property, in a message, that names the route."""

    id: str
    account_id: str
    stage: str
    selection: tuple[str, ...]
    routes: Mapping[str, Route]
    idle_timeout_seconds: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> WebSocketApi:
        """The API in an entry of the service's table."""
        responding = frozenset(document["routeResponses"])
        return cls(
            id=document["id"],
            account_id=document["accountId"],
            stage=document["stage"],
            selection=tuple(document["routeSelectionExpression"].removeprefix(BODY).split(".")),
            routes={key: Route(key, arn, key in responding) for key, arn in document["routes"].items()},
            idle_timeout_seconds=document["idleTimeoutSeconds"],
        )

    def route_of(self, message: str | bytes) -> Route | None:
        """The route that a message takes, None if there is none.

        What is no JSON, is binary, or names no route takes ``$default`` (API Gateway Developer Guide, "Create routes
        for WebSocket APIs"). Nobody reaches ``$connect`` or ``$disconnect`` by a message.
        """
        key = None if isinstance(message, bytes) else self._selected(message)
        route = self.routes.get(key) if key is not None and not key.startswith("$") else None
        return route if route is not None else self.routes.get(DEFAULT)

    def _selected(self, message: str) -> str | None:
        try:
            found = orjson.loads(message)
        except ValueError:
            return None
        for name in self.selection:
            if not isinstance(found, dict):
                return None
            found = found.get(name)
        return found if isinstance(found, str) else None
