"""WebSocket APIs over HTTP, below ``/_venturekit/websocket-apis``: made, seen and taken away; and who may write to
their connections, which only the front process asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from venturekit.protocol.sigv4 import SignatureError
from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.store.errors import StoreUnavailableError
from venturekit.service.url_pages import SignedRequest, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.protocol.sigv4 import SignatureVerifier
    from venturekit.service.access_control import AccessControl, Caller
    from venturekit.service.websocket_apis import WebSocketApi, WebSocketApis

PATH: Final = "/_venturekit/websocket-apis"
BODY_LIMIT_BYTES: Final = 65_536
LIST: Final = "ListWebSocketApis"
GET: Final = "GetWebSocketApi"
PUT: Final = "PutWebSocketApi"
DELETE: Final = "DeleteWebSocketApi"


class WebSocketPages:
    """Answers requests about the APIs of their caller's account.

    ``addresses(api)`` are the members that say where an API is; ``verifier`` checks signatures for ``execute-api``, and
    is None while there is no access control; ``wall`` tells epoch seconds.
    """

    def __init__(
        self,
        apis: WebSocketApis,
        access: AccessControl,
        *,
        addresses: Callable[[WebSocketApi], dict[str, str]],
        wall: Callable[[], float],
        verifier: SignatureVerifier | None = None,
    ) -> None:
        self._apis = apis
        self._access = access
        self._addresses = addresses
        self._wall = wall
        self.verifier = verifier

    def handles(self, path: str) -> bool:
        """Whether a path, still percent-encoded, is one of these."""
        return path == PATH or path.startswith(f"{PATH}/")

    async def answer(self, method: str, path: str, body: bytes, caller: Caller) -> dict[str, Any]:
        """The document that answers a request; raises ApiError."""
        parts = [unquote(part) for part in path.removeprefix(PATH).split("/")[1:]]
        try:
            match method, parts:
                case "GET", []:
                    caller.authorize_websockets(LIST)
                    found = self._apis.of_account(caller.account.account_id)
                    return {"webSocketApis": [self._shown(api) for api in found]}
                case "GET", [name]:
                    caller.authorize_websockets(GET)
                    return self._shown(self._apis.find(caller.account.account_id, name))
                case "PUT", [name]:
                    caller.authorize_websockets(PUT)
                    return self._shown(await self._apis.put(caller.account.functions, name, parsed(body)))
                case "DELETE", [name]:
                    caller.authorize_websockets(DELETE)
                    return self._shown(await self._apis.delete(caller.account.account_id, name))
                case "POST", [api_id, "authorize"]:
                    return self._authorize(api_id, body, caller)
        except StoreUnavailableError as error:
            raise ApiError("ServiceUnavailableException", f"The store: {error}", status=503) from error
        if len(parts) > 1:
            raise ApiError("NotFoundException", f"the service has no {path}", status=404)
        raise ApiError("MethodNotAllowedException", f"{path} is not served for {method}", status=405)

    def _shown(self, api: WebSocketApi) -> dict[str, Any]:
        return {**api.document(), **self._addresses(api)}

    def _authorize(self, api_id: str, body: bytes, caller: Caller) -> dict[str, Any]:
        """Whether a signed request to ``@connections`` is allowed."""
        own_root = self._access.own.principal
        if caller.principal is not self._access.front.principal and caller.principal != own_root:
            raise api_error("AccessDeniedException", "This is answered to the front process only.", type=None)
        api = self._apis.find_id(api_id)
        if api is None:
            raise ApiError("ResourceNotFoundException", f"there is no WebSocket API {api_id[:128]}", status=404)
        try:
            document = json.loads(body)
            request = SignedRequest(document)
            connection_id = str(document["connectionId"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ApiError(
                "InvalidRequestContentException", f"this describes no request: {error!r}", status=400
            ) from None
        try:
            access_key_id = signer_of(request, self.verifier, self._access, self._wall)
        except SignatureError as error:
            return {"allowed": False, "reason": f"{error.code}: {error.message}"}
        sender = self._access.claimed(access_key_id) if self.verifier is None else self._access.verified(access_key_id)
        method = request.method.decode("latin-1")
        resource = f"{api.id}/{api.stage}/{method}/@connections/{connection_id}"
        reason = sender.connections_refusal(api.account_id, resource)
        return {"allowed": reason is None, "reason": reason or ""}


def parsed(body: bytes) -> object:
    """The JSON of a request's body; raises ApiError."""
    if len(body) > BODY_LIMIT_BYTES:
        raise api_error("InvalidParameterValueException", f"the body has {BODY_LIMIT_BYTES} bytes at most")
    try:
        return json.loads(body)
    except ValueError as error:
        raise ApiError("InvalidRequestContentException", f"the body is no JSON: {error}", status=400) from None
