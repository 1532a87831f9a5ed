"""The page, and tokens for those who come by it: a function URL."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lib.names import checked_name
from lib.tokens import make_token

from venturekit.runtime import NotFoundError, RequestContext, Response, handler

PAGE = Path(__file__).parents[1] / "page" / "index.html"


@dataclass
class Login:
    """Who somebody wants to be. A real application asks for more than a name."""

    name: str


@handler(body=Login)
def login(body: Login) -> dict[str, str]:
    """A token, and where to go with it."""
    return {"token": make_token(checked_name(body.name)), "address": os.environ["CHAT_ADDRESS"]}


@handler
def page(_body: object, ctx: RequestContext) -> Response:
    """The page itself."""
    if ctx.path != "/":
        raise NotFoundError("Page", ctx.path)
    return Response(PAGE.read_text(), headers={"Content-Type": "text/html; charset=utf-8"})


def main(event: dict[str, object], context: object) -> object:
    """POST is a login, everything else asks for the page."""
    http = event["requestContext"]["http"]  # type: ignore[index]
    return (login if http["method"] == "POST" else page)(event, context)
