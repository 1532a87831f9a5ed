"""Handlers of the events of a WebSocket API: connections come and go, messages are answered by their action.

Source: the WebSocket guide and its example (auth, ping, broadcast, send); API Gateway Developer Guide, "Working with
routes for WebSocket APIs".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, overload

from venturekit.runtime.context import _current
from venturekit.runtime.errors import InternalError, NotFoundError, UnauthorizedError, ValidationError, VentureError
from venturekit.runtime.patterns.driving import adrive, drive
from venturekit.runtime.schema import SchemaError, fields_of, parsed
from venturekit.runtime.wrapped import HandlerConfigError, WrappedFunction
from venturekit.runtime.ws.connection_stores import ConnectionStore, connection_store
from venturekit.runtime.ws.errors import ManagementError
from venturekit.runtime.ws.routes import ARGUMENTS, EVERY_ROUTE, Action, action_for
from venturekit.runtime.ws.websocket_context import CONNECT, DISCONNECT, MESSAGE, WebSocketContext

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from venturekit.runtime.logs import Logger

OK: Final = 200
ACTION_LIMIT: Final = 128
"""What a route key has at most (API Gateway's quotas)."""


class WebSocketHandler(WrappedFunction):
    """What ``ws_handler()`` and ``ws_routes()`` make: the function that Lambda calls, ``main(event, context)``.

    ``await main.acall(event, context)`` is the same within a running event loop.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        routes: Mapping[str, Action],
        *,
        store: ConnectionStore | None = None,
        middleware: Sequence[Any] = (),
        log_level: str | None = None,
        logger: Logger | None = None,
        access_log: bool = True,
        error_replies: bool = True,
    ) -> None:
        super().__init__(
            fn, arguments=ARGUMENTS, middleware=middleware, log_level=log_level, logger=logger, transactional=False
        )
        self.routes = dict(routes)
        self.store = connection_store if store is None else store
        self.access_log = access_log
        self.error_replies = error_replies
        self._chain = self._chained(
            self._inner, self._ainner, waits=any(action.is_async for action in self.routes.values())
        )

    # --- the two doors --------------------------------------------------------------------------------------------

    def __call__(self, event: Any, context: Any = None) -> Any:
        """Answer one event; asynchronous functions too, on the one event loop that this process keeps.

        Raises InvalidWebSocketEventError, and RuntimeError inside a running event loop.
        """
        if self.is_async:
            return self._run(event, context)
        ctx = self._context(event, context)
        token = _current.set(ctx)
        try:
            began = time.perf_counter()
            try:
                result = _result_of(self._chain(ctx))
            except Exception as error:
                told = self._logged(ctx, error)
                result = {"statusCode": told.status_code}
                if self._is_told(ctx, error):
                    drive(_report(ctx, _failure(ctx, told), waits=False), instead="acall()")
            self._log_end(ctx, result, began)
            return result
        finally:
            _current.reset(token)

    async def acall(self, event: Any, context: Any = None) -> Any:
        """Answer one event, within an event loop."""
        if not self.is_async:
            return self(event, context)
        ctx = self._context(event, context)
        token = _current.set(ctx)
        try:
            began = time.perf_counter()
            try:
                result = _result_of(await self._chain(ctx))
            except Exception as error:
                told = self._logged(ctx, error)
                result = {"statusCode": told.status_code}
                if self._is_told(ctx, error):
                    await adrive(_report(ctx, _failure(ctx, told), waits=True))
            self._log_end(ctx, result, began)
            return result
        finally:
            _current.reset(token)

    def _context(self, event: Any, context: Any) -> WebSocketContext:
        ctx = WebSocketContext(event, context, self.store)
        ctx._logger = self.logger
        return ctx

    # --- inside the chain -----------------------------------------------------------------------------------------

    def _inner(self, ctx: WebSocketContext) -> Any:
        return drive(self._flow(ctx, waits=False), instead="async def")

    async def _ainner(self, ctx: WebSocketContext) -> Any:
        return await adrive(self._flow(ctx, waits=True))

    def _flow(self, ctx: WebSocketContext, *, waits: bool) -> Generator[Any, Any, Any]:
        action = action_for(self.routes, ctx)
        if ctx.event_type == CONNECT:
            result = yield from self._perform(action, ctx, waits)
            if _status_of(result) < 300:
                ctx.looked_up((yield from self.store.save_flow(ctx.connection_id)))
            return result
        if ctx.event_type == DISCONNECT:
            ctx.looked_up((yield from self.store.get_flow(ctx.connection_id)))
            try:
                return (yield from self._perform(action, ctx, waits))
            finally:
                yield from self.store.remove_flow(ctx.connection_id)
        if action is None:
            raise NotFoundError("Action", _shown(ctx.action))
        if action.require_auth:
            ctx.looked_up((yield from self.store.get_flow(ctx.connection_id)))
            if ctx.connection is None or not ctx.connection.is_authenticated:
                raise UnauthorizedError("This connection is not authenticated")
        return (yield from self._perform(action, ctx, waits))

    def _perform(self, action: Action | None, ctx: WebSocketContext, waits: bool) -> Generator[Any, Any, Any]:
        if action is None or (action.flow is not None and ctx.event_type != MESSAGE):
            return None
        message = ctx.message
        if action.schema is not None and ctx.event_type == MESSAGE:
            try:
                message = parsed(action.schema, message)
            except SchemaError as problem:
                raise ValidationError("Invalid message", fields_of(problem.issues)) from None
        if action.flow is not None:
            return (yield from action.flow(message, ctx, waits))
        value = action.fn(*(message, ctx, ctx.logger)[: action.arity])
        return (yield value) if action.is_async else self._checked(value)

    # --- errors and logs ------------------------------------------------------------------------------------------

    def _logged(self, ctx: WebSocketContext, error: Exception) -> VentureError:
        """The error as a client may know it; all of it is in the log."""
        fields = {"route": ctx.route_key, "connectionId": ctx.connection_id}
        if not isinstance(error, VentureError):
            ctx.logger.error("unhandled error", fields, error=error)
            return InternalError()
        fields["code"] = error.code
        if error.status_code < 500:
            ctx.logger.warn(error.message, fields)
        else:
            ctx.logger.error(error.message, fields, error=error)
        return error

    def _is_told(self, ctx: WebSocketContext, error: Exception) -> bool:
        """Whether the client hears of it: not while it connects, and not by what has just failed."""
        return self.error_replies and ctx.event_type == MESSAGE and not isinstance(error, ManagementError)

    def _log_end(self, ctx: WebSocketContext, result: Mapping[str, Any], began: float) -> None:
        if self.access_log and self.logger._level <= 20:
            duration_ms = round((time.perf_counter() - began) * 1000, 2)
            fields = {"route": ctx.route_key, "connectionId": ctx.connection_id, "status": result["statusCode"]}
            self.logger.info("message completed", {**fields, "durationMs": duration_ms})

    def __repr__(self) -> str:
        return f"<WebSocket handler {self.__module__}.{self.__name__}>"


def _status_of(result: Any) -> int:
    status = result.get("statusCode") if isinstance(result, dict) else None
    return status if type(status) is int else OK


def _result_of(value: Any) -> dict[str, Any]:
    """What API Gateway gets: a dictionary with a status as it is, nothing as 200, anything else as the body."""
    if value is None:
        return {"statusCode": OK}
    if isinstance(value, dict) and type(value.get("statusCode")) is int:
        return value
    from venturekit.runtime.encoding import to_json

    return {"statusCode": OK, "body": value if isinstance(value, str) else to_json(value)}


def _shown(action: str | None) -> str | None:
    """An action as it is told and logged: a client may send one that fills its message."""
    return None if action is None else action[:ACTION_LIMIT]


def _failure(ctx: WebSocketContext, error: VentureError) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "action": _shown(ctx.action),
        "success": False,
        "reason": error.code.lower(),
        "message": error.message,
    }
    if error.details:
        reply["details"] = error.details
    return reply


def _report(ctx: WebSocketContext, reply: dict[str, Any], *, waits: bool) -> Generator[Any, Any, None]:
    try:
        yield ctx.areply(reply) if waits else ctx.reply(reply)
    except Exception as problem:
        ctx.logger.warn("the client could not be told", {"why": str(problem)})


@overload
def ws_handler(
    fn: Callable[..., Any], /, *, message: Any = None, require_auth: bool = True, **options: Any
) -> WebSocketHandler: ...
@overload
def ws_handler(
    fn: None = None, /, *, message: Any = None, require_auth: bool = True, **options: Any
) -> Callable[[Callable[..., Any]], WebSocketHandler]: ...
def ws_handler(fn: Any = None, /, *, message: Any = None, require_auth: bool = True, **options: Any) -> Any:
    """Make a Lambda handler of a function of (message, ctx, logger), of which it may take fewer::

        from venturekit.runtime.ws import ws_handler

        @ws_handler
        def main(message, ctx):
            ctx.reply({"action": "echo", "text": message["text"], "user": ctx.user.id})

    It serves every route that leads to it. On ``$connect`` the connection is saved after the function, which refuses it
    by raising a VentureError (401, 403); on ``$disconnect`` it is removed after the function. Messages of connections
    that are not authenticated are refused unless ``require_auth=False``. ``message``: a schema for messages.

    What is raised is logged, and the client told: ``{"action", "success": false, "reason", "message"}``; not with
    ``error_replies=False``. ``store``: a ConnectionStore. ``middleware``, ``log_level``, ``logger``, ``access_log`` are
    as with ``handler()``.

    Raises HandlerConfigError, MiddlewareError, TypeError for what cannot work.
    """
    if fn is None:
        return lambda given: ws_handler(given, message=message, require_auth=require_auth, **options)
    return WebSocketHandler(fn, {EVERY_ROUTE: Action(fn, message=message, require_auth=require_auth)}, **options)


def ws_routes(routes: Mapping[str, Any], /, *, require_auth: bool = True, **options: Any) -> WebSocketHandler:
    """One Lambda handler for many routes, each with a function of its own::

        from venturekit.runtime.ws import auth_handler, connection_store, ws_handler, ws_routes

        def verify(token):
            return "alice" if token == "secret-of-alice" else None

        def send(message, ctx):
            connection_store.send_to_user(ctx.domain, ctx.stage, message["to"], {"action": "said", "by": ctx.user.id})

        def ping(message, ctx):
            ctx.reply({"action": "pong"})

        main = ws_routes({"auth": auth_handler(verify), "send": send, "ping": ws_handler(ping, require_auth=False)})

    Names are actions, or ``$connect``, ``$disconnect`` and ``$default``, which do nothing of their own unless they are
    given: connections are saved and removed all the same. It does not matter which routes the API knows, as long as
    ``$default`` leads here. An action that is unknown is answered with the reason ``not_found``. A function that
    ``ws_handler`` or ``auth_handler`` has made keeps its own ``require_auth``; options are as with ``ws_handler``.

    Raises HandlerConfigError, MiddlewareError, TypeError for what cannot work.
    """
    table = {name: _action_of(name, given, require_auth) for name, given in routes.items()}

    def chosen(message: Any, ctx: WebSocketContext, logger: Logger) -> None:
        """Stands for the functions of all routes."""

    chosen.__name__ = "ws_routes"
    return WebSocketHandler(chosen, table, **options)


def _action_of(name: str, given: Any, require_auth: bool) -> Action:
    if not isinstance(name, str) or not name:
        raise HandlerConfigError(f"{name!r} is no route: actions are texts, and so are $connect, $disconnect, $default")
    if name == EVERY_ROUTE:
        raise HandlerConfigError("'*' is no route: messages that take no other one take $default")
    if name.startswith("$") and name not in ("$connect", "$disconnect", "$default"):
        raise HandlerConfigError(f"{name!r} is no route of API Gateway: $connect, $disconnect and $default are")
    if not isinstance(given, WebSocketHandler):
        return Action(given, require_auth=require_auth)
    action = given.routes.get(EVERY_ROUTE)
    if action is None or given.middleware:
        raise HandlerConfigError(
            f"the function for {name!r} has routes or middleware of its own: give them to the outer ws_routes()"
        )
    return action
