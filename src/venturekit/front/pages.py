"""The front process's own pages, at the loopback names and those the user allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from venturekit.front.table import UrlTable

HEALTH = "/_venturekit/health"


def build_pages(table: UrlTable) -> Starlette:
    """The application that answers what is no function URL."""

    async def health(_request: Request) -> JSONResponse:
        counted = {"functionUrls": len(table), "webSocketApis": table.websocket_apis}
        return JSONResponse({"status": "ok", **counted, "revision": table.revision})

    async def nothing(_request: Request, _error: Exception) -> JSONResponse:
        text = "Function URLs are served here: http://<id>.lambda-url.<region>.localhost/ or /_url/<id>/"
        return JSONResponse({"message": text}, 404)

    return Starlette(routes=[Route(HEALTH, health, methods=["GET"])], exception_handlers={404: nothing})
