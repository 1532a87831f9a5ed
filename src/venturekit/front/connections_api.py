"""The management API of WebSocket connections: ``@connections``, as API Gateway's clients call it.

Source: API Gateway Developer Guide, "Use @connections commands in your backend service"; the errors from the API
Gateway Management API reference.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from venturekit.front import answers
from venturekit.front.websocket_connection import NORMAL, Sent
from venturekit.front.websocket_events import iso_text
from venturekit.front.websocket_gateway import refuse
from venturekit.front.websocket_ids import tag_of

if TYPE_CHECKING:
    from venturekit.front.addresses import WebSocketAddress
    from venturekit.front.call import Call
    from venturekit.front.lambda_api import LambdaApi
    from venturekit.front.table import UrlTable
    from venturekit.front.websocket_api import WebSocketApi
    from venturekit.front.websocket_connection import WebSocketConnection
    from venturekit.front.websocket_gateway import WebSocketGateway
    from venturekit.front.websocket_limits import WebSocketLimits

KEPT_DECISIONS: Final = 1000
METHODS: Final = ("POST", "GET", "DELETE")
FORBIDDEN: Final = "ForbiddenException"
GONE: Final = "GoneException"
_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]{1,128})/")
_OWN_PREFIXES: Final = ("x-amz-", "amz-sdk-")


class ConnectionsApi:
    """Answers requests about connections. ``signs`` tells whether the service verifies signatures."""

    def __init__(
        self, gateway: WebSocketGateway, table: UrlTable, api: LambdaApi, limits: WebSocketLimits, *, signs: bool
    ) -> None:
        self._gateway = gateway
        self._table = table
        self._api = api
        self._limits = limits
        self._signs = signs
        # Without access control a decision hangs on the access key alone: a broadcast asks once.
        self._decisions: dict[tuple[str, str], str | None] = {}

    async def answer(self, call: Call, address: WebSocketAddress) -> None:
        """Answer a request. Raises as the client of the Lambda API does, and ClientGoneError."""
        assert address.connection_id is not None
        body = await call.body()
        if body is None:
            await self._refuse_length(call, close=True)
            return
        if call.method not in METHODS:
            await refuse(call, 405, f"@connections is served for {', '.join(METHODS)}")
            return
        api = await self._api_of(address)
        refusal = "there is no such API" if api is None else await self._refusal(call, api, address, body)
        if refusal is not None:
            await refuse(call, 403, "Forbidden" if not refusal else f"Forbidden: {refusal}", FORBIDDEN)
            return
        connection = self._gateway.find(address.connection_id)
        if connection is None or (api is not None and connection.session.api_id != api.id):
            await refuse(call, 410, "Gone", GONE)
        elif call.method == "POST":
            await self._post(call, connection, body)
        elif call.method == "GET":
            await call.respond(200, _lines(call), orjson.dumps(_described(connection)))
        else:
            connection.close(*NORMAL)
            await call.respond(204, _lines(call), b"")

    async def _post(self, call: Call, connection: WebSocketConnection, body: bytes) -> None:
        if len(body) > self._limits.message_bytes:
            await self._refuse_length(call)
            return
        sent = connection.send(body, is_text=_is_text(body))
        if sent is Sent.TAKEN:
            await call.respond(200, _lines(call), b"")
        elif sent is Sent.THROTTLED:
            text = "The client does not read what it is sent: try again later."
            await refuse(call, 429, text, "LimitExceededException")
        else:
            await refuse(call, 410, "Gone", GONE)

    async def _refuse_length(self, call: Call, *, close: bool = False) -> None:
        if close:
            call.close_after()
        text = f"A message has {self._limits.message_bytes} bytes at most."
        await refuse(call, 413, text, "PayloadTooLargeException")

    # --- who may --------------------------------------------------------------------------------------------------

    async def _api_of(self, address: WebSocketAddress) -> WebSocketApi | None:
        """The API that the address names, or the connection's id if it names none."""
        if address.api_id is not None:
            return await self._gateway.api_of(address)
        connection_id = address.connection_id or ""
        connection = self._gateway.find(connection_id)
        if connection is not None:
            # Tags are short: those of two APIs may be the same.
            api = self._table.websocket_api(connection.session.api_id)
        else:
            api = self._table.websocket_api_with(tag_of(connection_id))
        return api if api is not None and api.stage == address.stage else None

    async def _refusal(self, call: Call, api: WebSocketApi, address: WebSocketAddress, body: bytes) -> str | None:
        """Why the request is refused, None if it is not. Nobody but a web page names its origin."""
        if call.origin is not None:
            return "web pages are not let in"
        found = _CREDENTIAL.search(call.headers.get("authorization", ""))
        is_presigned = b"x-amz-credential=" in call.scope["query_string"].lower()
        if self._signs or is_presigned:
            return await self._asked(call, api, address, body)
        if found is None:
            has_own = any(name.startswith(_OWN_PREFIXES) for name in call.headers)
            return None if has_own else "Missing Authentication Token: sign the request for execute-api"
        key = (api.id, found[1])
        if key not in self._decisions:
            if len(self._decisions) >= KEPT_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = await self._asked(call, api, address, body)
        return self._decisions[key]

    async def _asked(self, call: Call, api: WebSocketApi, address: WebSocketAddress, body: bytes) -> str | None:
        scope = call.scope
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        decision = await self._api.authorize_connection(
            api.id,
            {
                "method": call.method,
                "target": f"{path}?{query}" if query else path,
                "headers": call.pairs,
                "bodySha256": hashlib.sha256(body).hexdigest(),
                "connectionId": address.connection_id,
            },
        )
        if decision is None:
            return ""
        return None if decision["allowed"] else str(decision["reason"])


def _is_text(body: bytes) -> bool:
    """A message goes out as text if it can (choice): a request does not say what it is."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(call: Call) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", answers.JSON), (b"x-amzn-requestid", call.request_id.encode())]


def _described(connection: WebSocketConnection) -> dict[str, Any]:
    session = connection.session
    return {
        "connectedAt": iso_text(session.connected_at_ms),
        "identity": {"sourceIp": session.source_ip, "userAgent": session.user_agent or ""},
        "lastActiveAt": iso_text(connection.last_active_ms),
    }
