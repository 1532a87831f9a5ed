"""The ASGI application of the front process: function URLs, and its own pages for everything else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from venturekit.front import answers
from venturekit.front.addresses import HostRefusedError
from venturekit.front.call import Call

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from venturekit.front.addresses import Hosts
    from venturekit.front.call import Receive, Scope, Send
    from venturekit.front.feed import Feed
    from venturekit.front.function_urls import FunctionUrls


class Application:
    """Sends each request where its host and path say. Nothing is answered before the table of URLs has been read."""

    def __init__(self, hosts: Hosts, urls: FunctionUrls, pages: Starlette, feed: Feed) -> None:
        self._hosts = hosts
        self._urls = urls
        self._pages = pages
        self._loaded = feed.loaded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        hosts: list[str] = []
        headers: dict[str, str] = {}
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        for name, value in pairs:
            if name == "host":
                hosts.append(value)
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        try:
            address = self._hosts.address(hosts, scope["raw_path"].decode("latin-1"))
        except HostRefusedError as error:
            await _refuse(send, error)
            return
        if address is None:
            await self._pages(scope, receive, send)
            return
        if not self._loaded.is_set():
            await self._loaded.wait()
        await self._urls.answer(Call(scope, receive, send, address, pairs, headers))


async def _refuse(send: Send, error: HostRefusedError) -> None:
    body = json.dumps({"message": str(error)}).encode()
    headers = [
        (b"content-type", answers.JSON),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
