"""What the front process asks about function URLs, below ``/_venturekit/function-urls``: the table, and who may call.

Only the front process is answered, with the key pair that it was given, and the root user of the service's account.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from venturekit.protocol.sigv4 import SignatureError
from venturekit.service.access.principals import Kind
from venturekit.service.access_control import claimed_access_key
from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.wire.answers import answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from venturekit.protocol.sigv4 import SignatureVerifier
    from venturekit.service.access_control import AccessControl, Caller
    from venturekit.service.url_table import UrlTable
    from venturekit.service.wire.exchange import Exchange

PATH: Final = b"/_venturekit/function-urls"
AUTHORIZE: Final = b"/authorize"
WAIT_LIMIT_SECONDS: Final = 60.0
WAITING_LIMIT: Final = 16
_JSON: Final = (b"Content-Type", b"application/json")
# Headers that mean something else when they come twice.
_SINGLE: Final = ("host", "authorization")


class UrlPages:
    """Answers the front process. ``verifier`` checks signatures of calls; None while there is no access control."""

    def __init__(
        self,
        table: UrlTable,
        access: AccessControl,
        *,
        verifier: SignatureVerifier | None,
        wall: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._table = table
        self._access = access
        self.verifier = verifier
        self._wall = wall
        self._loop = loop
        self._waiting: dict[Exchange, tuple[int, asyncio.TimerHandle]] = {}
        self._stopped = False
        table.changed = self.release

    def handles(self, path: bytes) -> bool:
        """Whether a path is one of these."""
        return path == PATH or path.startswith(PATH + b"/")

    def release(self) -> None:
        """Answer whoever waits for a change: at once, so that the news is on its way before the change is confirmed."""
        waiting, self._waiting = self._waiting, {}
        for exchange, (after, timer) in waiting.items():
            timer.cancel()
            self._send(exchange, self._table.page(after))

    def stop(self) -> None:
        """Let nobody wait any more: the service ends."""
        self._stopped = True
        self.release()

    def answer(self, exchange: Exchange, caller: Caller) -> None:
        """Answer a request; raises ApiError."""
        own_root = self._access.own.principal
        if caller.principal is not self._access.front.principal and caller.principal != own_root:
            raise api_error("AccessDeniedException", "Function URLs are shown to the front process only.", type=None)
        path, _, query = exchange.target.partition(b"?")
        identifier = path.removeprefix(PATH + b"/").removesuffix(AUTHORIZE).decode("latin-1")
        if exchange.method == b"GET" and path == PATH:
            self._list(exchange, parse_qs(query.decode("latin-1")))
        elif exchange.method == b"POST" and path.endswith(AUTHORIZE) and "/" not in identifier:
            self._send(exchange, self._authorize(identifier, bytes(exchange.body)))
        else:
            raise ApiError("NotFoundException", f"the service has no {path.decode('latin-1')}", status=404)

    # --- the table ------------------------------------------------------------------------------------------------

    def _list(self, exchange: Exchange, given: Mapping[str, list[str]]) -> None:
        try:
            after = int(given.get("after", ["0"])[0])
            wait = min(float(given.get("wait", ["0"])[0]), WAIT_LIMIT_SECONDS)
        except ValueError:
            raise ApiError(
                "InvalidParameterValueException", "after must be a revision, wait a number of seconds", status=400
            ) from None
        if after != self._table.revision or not wait > 0 or self._stopped:
            self._send(exchange, self._table.page(max(0, after)))
            return
        self._waiting = {kept: item for kept, item in self._waiting.items() if not kept.gone}
        if len(self._waiting) >= WAITING_LIMIT:
            raise api_error("TooManyRequestsException", f"{WAITING_LIMIT} requests wait already")
        self._waiting[exchange] = after, self._loop.call_later(wait, self._give_up, exchange)

    def _give_up(self, exchange: Exchange) -> None:
        after, _ = self._waiting.pop(exchange)
        self._send(exchange, self._table.page(after))

    # --- who may call ---------------------------------------------------------------------------------------------

    def _authorize(self, identifier: str, body: bytes) -> dict[str, Any]:
        entry = self._table.find(identifier)
        if entry is None:
            raise ApiError("ResourceNotFoundException", f"there is no function URL {identifier}", status=404)
        try:
            request = SignedRequest(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ApiError(
                "InvalidRequestContentException", f"this describes no request: {error!r}", status=400
            ) from None
        try:
            access_key_id = signer_of(request, self.verifier, self._access, self._wall)
        except SignatureError as error:
            return {"allowed": False, "reason": f"{error.code}: {error.message}"}
        caller = self._access.claimed(access_key_id) if self.verifier is None else self._access.verified(access_key_id)
        reason = caller.url_refusal(entry["functionArn"], entry["authType"])
        if reason is not None:
            return {"allowed": False, "reason": reason}
        return {"allowed": True, "identity": identity_of(caller, access_key_id)}

    def _send(self, exchange: Exchange, document: Mapping[str, Any]) -> None:
        if not exchange.gone:
            exchange.respond(answer(200, [_JSON], json.dumps(document, separators=(",", ":")).encode()))


class SignedRequest:
    """A request to the front process, as far as a signature is about it. Raises what a wrong document raises."""

    __slots__ = ("body_sha256", "headers", "method", "repeated", "target")

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.method = document["method"].encode("latin-1")
        self.target = document["target"].encode("latin-1")
        self.body_sha256: str = document["bodySha256"]
        if not isinstance(self.body_sha256, str):
            raise TypeError("bodySha256")
        self.headers: dict[bytes, bytes] = {}
        self.repeated: str | None = None
        for name, value in document["headers"]:
            key = name.lower().encode("latin-1")
            if key not in self.headers:
                self.headers[key] = value.encode("latin-1")
            elif name.lower() in _SINGLE or name.lower().startswith("x-amz-"):
                self.repeated = name
            else:
                self.headers[key] += b"," + value.encode("latin-1")


def signer_of(
    request: SignedRequest, verifier: SignatureVerifier | None, access: AccessControl, wall: Callable[[], float]
) -> str:
    """The access key of whoever signed the request, or, without a verifier, that it names. Raises SignatureError."""
    if request.repeated is not None:
        raise SignatureError("IncompleteSignatureException", f"the header {request.repeated} comes twice")
    if verifier is not None:
        now = wall()
        access.refresh(now)
        return verifier.verify(
            request.method, request.target, request.headers, lambda: request.body_sha256, now=now
        ).access_key_id
    claimed = claimed_access_key(request.headers.get(b"authorization", b""), request.target)
    if claimed is None:
        raise SignatureError("MissingAuthenticationTokenException", "the request is not signed")
    return claimed


def identity_of(caller: Caller, access_key_id: str) -> dict[str, str | None]:
    """Who called, as ``requestContext.authorizer.iam`` of the event has it.

    An account's root user has the account's id. The others have ids that AWS draws; here they are made from the ARN
    (choice). Source: Developer Guide, "Invoking Lambda function URLs".
    """
    principal = caller.principal
    user_id = principal.account_id
    if principal.kind is not Kind.ROOT:
        drawn = base64.b32encode(hashlib.sha256((principal.role_arn or principal.arn).encode()).digest()).decode()[:16]
        session = f":{principal.arn.rpartition('/')[2]}" if principal.kind is Kind.FUNCTION else ""
        user_id = f"{'AROA' if session else 'AIDA'}V{drawn}{session}"
    return {
        "accessKey": access_key_id,
        "accountId": principal.account_id,
        "callerId": user_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": principal.arn,
        "userId": user_id,
    }
