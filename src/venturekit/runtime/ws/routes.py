"""Which function answers which event of a WebSocket API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.middleware.base import is_async
from venturekit.runtime.schema import schema_of
from venturekit.runtime.wrapped import HandlerConfigError, arity_of
from venturekit.runtime.ws.websocket_context import CONNECT, DISCONNECT, WebSocketContext

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from venturekit.runtime.schema import Schema

    ActionFlow = Callable[[Any, WebSocketContext, bool], Generator[Any, Any, Any]]

EVERY_ROUTE: Final = "*"
ARGUMENTS: Final = "(message, ctx, logger)"


class Action:
    """A function for a route, of up to three arguments, or a flow: a generator that serves both kinds of chains.

    Raises HandlerConfigError, TypeError for what cannot work.
    """

    __slots__ = ("arity", "flow", "fn", "is_async", "require_auth", "schema")

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        message: Any = None,
        require_auth: bool = True,
        flow: ActionFlow | None = None,
    ) -> None:
        if not callable(fn):
            raise HandlerConfigError(f"{fn!r} is no function")
        self.fn = fn
        self.flow = flow
        self.is_async = is_async(fn)
        self.require_auth = require_auth
        self.schema: Schema[Any] | None = None if message is None else schema_of(message)
        self.arity = arity_of(fn, 3, ARGUMENTS) if flow is None else 0


def action_for(routes: Mapping[str, Action], ctx: WebSocketContext) -> Action | None:
    """The function for an event; None when there is none.

    The route that API Gateway has chosen counts, and for ``$default`` the action of the message.
    """
    if EVERY_ROUTE in routes:
        return routes[EVERY_ROUTE]
    if ctx.event_type == CONNECT:
        return routes.get("$connect")
    if ctx.event_type == DISCONNECT:
        return routes.get("$disconnect")
    if not ctx.route_key.startswith("$") and ctx.route_key in routes:
        return routes[ctx.route_key]
    action = ctx.action
    # A client that writes "$connect" there does not connect again.
    if action is not None and not action.startswith("$") and action in routes:
        return routes[action]
    return routes.get("$default")
