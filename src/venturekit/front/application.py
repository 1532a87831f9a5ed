"""The ASGI application of the front process: function URLs, WebSocket APIs, its own pages for everything else."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from venturekit.front import answers
from venturekit.front.addresses import Address, HostRefusedError
from venturekit.front.call import UPGRADE, Call, ClientGoneError
from venturekit.front.http_client import ServerGoneError, TooManyRequestsError
from venturekit.front.websocket_gateway import refuse

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from venturekit.front.addresses import Hosts, WebSocketAddress
    from venturekit.front.call import Receive, Scope, Send
    from venturekit.front.connections_api import ConnectionsApi
    from venturekit.front.feed import Feed
    from venturekit.front.function_urls import FunctionUrls
    from venturekit.front.websocket_gateway import WebSocketGateway

logger = logging.getLogger("venturekit.front")


class Application:
    """Sends each request where its host and path say. Nothing is answered before the table of URLs has been read."""

    def __init__(
        self,
        hosts: Hosts,
        urls: FunctionUrls,
        websockets: WebSocketGateway,
        connections: ConnectionsApi,
        pages: Starlette,
        feed: Feed,
    ) -> None:
        self._hosts = hosts
        self._urls = urls
        self._websockets = websockets
        self._connections = connections
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
        wants_websocket = UPGRADE in scope["extensions"]
        if wants_websocket and (address is None or isinstance(address, Address)):
            await _answer(send, answers.NO_UPGRADE)
            return
        if address is None:
            await self._pages(scope, receive, send)
            return
        if not self._loaded.is_set():
            await self._loaded.wait()
        if isinstance(address, Address):
            await self._urls.answer(Call(scope, receive, send, address, pairs, headers))
        else:
            where = Address(address.api_id or "", "/")
            call = Call(scope, receive, send, where, pairs, headers)
            await self._answer_websocket(call, address, wants_websocket=wants_websocket)

    async def _answer_websocket(self, call: Call, address: WebSocketAddress, *, wants_websocket: bool) -> None:
        try:
            if address.connection_id is not None:
                await self._connections.answer(call, address)
            elif wants_websocket:
                await self._websockets.connect(call, address)
            else:
                complete = await call.drop_body()
                if not complete:
                    call.close_after()
                await refuse(
                    call, answers.UPGRADE_REQUIRED, "This is the address of a WebSocket API: connect to ws://."
                )
        except ServerGoneError as error:
            logger.warning("WebSocket API %s: %s", call.address.url_id, error)
            await refuse(call, 503, "Service Unavailable")
        except TooManyRequestsError:
            await refuse(call, 429, "Too Many Requests", "LimitExceededException")
        except ClientGoneError:
            pass


async def _refuse(send: Send, error: HostRefusedError) -> None:
    await _answer(send, answers.Answer(error.status, json.dumps({"message": str(error)}).encode()))


async def _answer(send: Send, answer: answers.Answer) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
