"""What clients send: the route $default, told apart by the action of the message."""

from __future__ import annotations

from typing import TypedDict

from lib.names import checked_name
from lib.tokens import user_of

from venturekit.runtime.ws import WebSocketContext, auth_handler, connection_store, ws_handler, ws_routes


class Said(TypedDict):
    """A message to everybody."""

    action: str
    data: str


class SaidTo(Said):
    """A message to one user, on all of their devices."""

    to: str


@ws_handler(require_auth=False)
def ping(_message: object, ctx: WebSocketContext) -> None:
    """Keeps a connection from being idle."""
    ctx.reply({"action": "pong"})


@ws_handler
def who(_message: object, ctx: WebSocketContext) -> None:
    """Who is there."""
    users = sorted({connection.user_id or "" for connection in connection_store.get_all()})
    ctx.reply({"action": "who", "users": users})


@ws_handler(message=SaidTo)
def send(message: SaidTo, ctx: WebSocketContext) -> None:
    """To one user; the sender hears how many devices it has reached."""
    assert ctx.user is not None
    said = {"action": "said", "by": ctx.user.id, "data": message["data"], "direct": True}
    to = checked_name(message["to"])
    counts = connection_store.send_to_user(ctx.domain, ctx.stage, to, said)
    ctx.reply({"action": "sent", "to": to, "reached": counts.sent})


@ws_handler(message=Said)
def broadcast(message: Said, ctx: WebSocketContext) -> None:
    """To everybody, the sender included."""
    assert ctx.user is not None
    said = {"action": "said", "by": ctx.user.id, "data": message["data"], "direct": False}
    connection_store.broadcast(ctx.domain, ctx.stage, said)


main = ws_routes({"auth": auth_handler(user_of), "ping": ping, "who": who, "send": send, "broadcast": broadcast})
