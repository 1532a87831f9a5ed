"""The second phase of a connection: ``{"action": "auth", "token": ...}``. Source: the WebSocket guide.

Everything that is not a token which the function accepts is refused, and the client is told one word why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.runtime.context import UserContext
from venturekit.runtime.errors import ForbiddenError, UnauthorizedError
from venturekit.runtime.wrapped import HandlerConfigError
from venturekit.runtime.ws.errors import ConnectionNotFoundError, TokenError
from venturekit.runtime.ws.routes import EVERY_ROUTE, Action
from venturekit.runtime.ws.websocket_handlers import WebSocketHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Mapping

    from venturekit.runtime.ws.connection_stores import ConnectionStore
    from venturekit.runtime.ws.connections import Connection
    from venturekit.runtime.ws.websocket_context import WebSocketContext

    User = Mapping[str, Any] | UserContext | str | None

MISSING: Final = "missing_token"
INVALID: Final = "invalid_token"
EXPIRED: Final = "expired_token"
CONNECTION_EXPIRED: Final = "connection_expired"
ALREADY: Final = "already_authenticated"
UNAVAILABLE: Final = "verification_unavailable"
# The roots of the exceptions of libraries for tokens, by name: importing all of them to look is out of the question.
_LIBRARIES: Final = frozenset(("PyJWTError", "JoseError", "JWTError", "JWException"))


class VerifyToken(Protocol):
    """What ``auth_handler`` is given, as a function, blocking or ``async def``: who has this token?

    The user: a dictionary with ``user_id`` (or ``sub``, as in the claims of a JWT), perhaps ``tenant_id``, and whatever
    else to keep; a UserContext; or just the id. None, ``TokenError(reason)``, ValueError, UnauthorizedError,
    ForbiddenError and the exceptions of libraries for JWT refuse the token; any other exception is a fault: it is
    logged, and the token not accepted either.
    """

    def __call__(self, token: str, /) -> User | Awaitable[User]:
        """The user whose token it is."""


def auth_handler(verify: VerifyToken, *, field: str = "token", **options: Any) -> WebSocketHandler:
    """The handler of the action ``auth``: a connection that sends a good token is authenticated from then on::

        from venturekit.runtime.ws import TokenError, auth_handler

        def verify(token):
            user = {"secret-of-alice": "alice"}.get(token)
            if user is None:
                raise TokenError("invalid_token")
            return {"user_id": user, "tenant_id": "acme"}

        main = auth_handler(verify)

    The client is answered ``{"action": "auth", "success": true}``, or ``false`` with a ``reason``: ``missing_token``,
    ``invalid_token``, ``expired_token``, the reason of a TokenError, ``connection_expired`` (nothing was sent within 30
    seconds), ``already_authenticated`` (as somebody else: the same user may renew it), ``verification_unavailable``.

    A route of ``ws_routes()``, or a Lambda function of its own. ``field`` is where the token is in the message. Options
    are as with ``ws_handler``. Raises HandlerConfigError for what is no function.
    """
    if not callable(verify):
        raise HandlerConfigError(f"auth_handler() takes the function that verifies tokens, and not {verify!r}")
    store: ConnectionStore | None = options.get("store")

    def flow(message: Any, ctx: WebSocketContext, waits: bool) -> Generator[Any, Any, Any]:
        chosen = ctx._store if store is None else store
        reason = yield from _authenticate(verify, _token_of(message, field), ctx, chosen)
        reply: dict[str, Any] = {"action": ctx.action or "auth", "success": reason is None}
        if reason is not None:
            reply["reason"] = reason
            ctx.logger.warn("authentication refused", {"connectionId": ctx.connection_id, "reason": reason})
        yield ctx.areply(reply) if waits else ctx.reply(reply)
        return {"statusCode": 200 if reason is None else 401}

    action = Action(verify, require_auth=False, flow=flow)
    return WebSocketHandler(verify, {EVERY_ROUTE: action}, **options)


def _authenticate(
    verify: VerifyToken, token: str | None, ctx: WebSocketContext, store: ConnectionStore
) -> Generator[Any, Any, str | None]:
    """Why the connection is not authenticated; None when it is."""
    if token is None:
        return MISSING
    known = yield from store.get_flow(ctx.connection_id)
    if known is None:
        return CONNECTION_EXPIRED
    try:
        metadata = _metadata_of((yield verify(token)))
    except Exception as problem:
        return _reason_of(problem, ctx)

    def check(known: Connection) -> None:
        # Of what is written over: somebody else may have come in by now.
        if _is_somebody_else(known, metadata):
            raise TokenError(ALREADY)

    try:
        ctx.looked_up((yield from store.authenticate_flow(ctx.connection_id, metadata, check)))
    except ConnectionNotFoundError:
        return CONNECTION_EXPIRED
    except TokenError as problem:
        return problem.reason
    return None


def _token_of(message: Any, field: str) -> str | None:
    token = message.get(field) if isinstance(message, dict) else None
    return token if isinstance(token, str) and token else None


def _metadata_of(user: Any) -> dict[str, Any]:
    """What is kept of a user. Raises TokenError for none, TypeError for what is no user."""
    from venturekit.runtime.ws.connections import checked_metadata

    if user is None:
        raise TokenError(INVALID)
    if isinstance(user, UserContext):
        user = {"user_id": user.id, "email": user.email, "scopes": user.scopes}
    elif isinstance(user, str):
        user = {"user_id": user}
    elif not hasattr(user, "keys"):
        raise TypeError(f"the function that verifies tokens returned {user!r:.100}, which is no user")
    metadata = dict(user)
    if metadata.get("user_id") is None:
        metadata["user_id"] = metadata.get("sub")
    try:
        checked = checked_metadata(metadata)
    except ValueError as problem:
        # A ValueError of verify() is the token's fault; this one is not.
        raise TypeError(f"the function that verifies tokens returned no user: {problem}") from problem
    if "user_id" not in checked:
        raise TypeError("the function that verifies tokens returned a user without user_id or sub")
    return checked


def _is_somebody_else(known: Connection, metadata: Mapping[str, Any]) -> bool:
    return known.is_authenticated and (known.user_id, known.tenant_id) != (
        metadata.get("user_id"),
        metadata.get("tenant_id"),
    )


def _reason_of(problem: Exception, ctx: WebSocketContext) -> str:
    if isinstance(problem, TokenError):
        return problem.reason
    names = {kind.__name__ for kind in type(problem).__mro__}
    if isinstance(problem, ValueError | UnauthorizedError | ForbiddenError) or names & _LIBRARIES:
        return EXPIRED if any("Expired" in name for name in names) else INVALID
    ctx.logger.error("a token could not be verified", {"connectionId": ctx.connection_id}, error=problem)
    return UNAVAILABLE
