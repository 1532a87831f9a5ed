"""Who comes and who leaves: the routes $connect and $disconnect."""

from __future__ import annotations

from typing import Any

from venturekit.runtime.ws import WebSocketContext, connection_store, ws_routes


def left(_message: Any, ctx: WebSocketContext) -> None:
    """Tell the others; who never said who they are were not there."""
    if ctx.user is not None:
        connection_store.broadcast(ctx.domain, ctx.stage, {"action": "left", "user": ctx.user.id})


# Without a function for $connect everybody may connect: who they are they say later.
main = ws_routes({"$disconnect": left})
