"""The Lambda API's listener application: admits a request, and gives it to the path that answers it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Final

from venturekit.protocol.sigv4 import SignatureError
from venturekit.service import credentials
from venturekit.service.api.edge import Answer, render_answer
from venturekit.service.api.errors import ApiError
from venturekit.service.api.guard import admit
from venturekit.service.api.json_edge import REQUEST_LIMIT_BYTES, render_json_error
from venturekit.service.wire.answers import answer
from venturekit.service.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from venturekit.protocol.sigv4 import SignatureVerifier
    from venturekit.service.access_control import AccessControl, Caller
    from venturekit.service.api.edge import Edge
    from venturekit.service.api.operations import OperationTable
    from venturekit.service.extras import Extras
    from venturekit.service.invocation.identifiers import Identifiers
    from venturekit.service.invocation.invoke import InvokePath
    from venturekit.service.observation import Observation
    from venturekit.service.wire.exchange import Exchange
    from venturekit.service.wire.listener import Clock

LIMITS: Final = Limits()
INLINE_HASH_BYTES: Final = 256 * 1024
SMALL_BODY_BYTES: Final = 65_536
INVOKES: Final = frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"})
# How the header of a signed request begins as all clients write it, with the access key right behind: what follows one
# of 12 digits, which selects an account, and how one begins that a function of another account was given.
CREDENTIAL: Final = b"AWS4-HMAC-SHA256 Credential="
HEADER_START: Final = slice(0, 28)
ACCOUNT_KEY_END: Final = slice(40, 41)
KEY_START: Final = slice(28, 33)
OTHER_PREFIX: Final = credentials.OTHER_PREFIX.encode()


class Endpoint:
    """Answers the Lambda API. An Application of the wire package.

    ``verifier`` is None while there is no access control: signatures are then not checked. Requests for CloudWatch Logs
    are signed for another service: ``logs_verifier`` is for them.
    """

    __slots__ = (
        "_access",
        "_allowed_hosts",
        "_clock",
        "_edge",
        "_extras",
        "_hosts",
        "_identifiers",
        "_invoke",
        "_log_reading",
        "_logs_edge",
        "_logs_verifier",
        "_spawn",
        "_table",
        "_verifier",
        "_wall",
    )

    def __init__(
        self,
        *,
        table: OperationTable,
        edge: Edge,
        invoke: InvokePath,
        extras: Extras,
        identifiers: Identifiers,
        access: AccessControl,
        verifier: SignatureVerifier | None,
        observation: Observation,
        logs_verifier: SignatureVerifier | None,
        allowed_hosts: frozenset[bytes],
        clock: Clock,
        wall: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._table = table
        self._edge = edge
        self._invoke = invoke
        self._extras = extras
        self._identifiers = identifiers
        self._access = access
        self._verifier = verifier
        self._logs_edge = observation.logs_edge
        self._log_reading = observation.log_reading
        self._logs_verifier = logs_verifier
        self._allowed_hosts = allowed_hosts
        self._hosts: set[bytes] = set()
        self._clock = clock
        self._wall = wall
        self._spawn = spawn

    # --- the wire's calls ---------------------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> int | None:
        """A large body is about to come: refuse it now if it would be refused then."""
        try:
            self._admit(exchange)
            if self._verifier is not None and not self._extras.is_open(exchange):
                self._expect_signature(exchange)
            if self._is_for_logs(exchange):
                return REQUEST_LIMIT_BYTES
            return self._edge.request_limit_bytes(exchange.method, exchange.target)
        except ApiError as error:
            self.answer_error(exchange, error, self._identifiers.request_id())
            return None

    def handle(self, exchange: Exchange) -> None:
        """Answer a request. One like nearly all others is looked at as little as is safe."""
        headers = exchange.headers
        authorization = headers.get(b"authorization", b"")
        if (
            headers.get(b"host") not in self._hosts
            or b"origin" in headers
            or self._verifier is not None
            or (
                (
                    authorization[HEADER_START] != CREDENTIAL
                    or authorization[ACCOUNT_KEY_END] == b"/"
                    or authorization[KEY_START] == OTHER_PREFIX
                )
                if authorization
                else b"x-amz-invocation-type" not in headers and b"amz-sdk-invocation-id" not in headers
            )
        ):
            self._handle_carefully(exchange)
            return
        own = self._access.own
        target = own.targets.get(exchange.target)
        if target is None or not self._invoke.invoke_known(exchange, target):
            # Without a header, the query may still name an account.
            self._route(exchange, own if authorization else self._access.unverified(exchange))

    def aborted(self, exchange: Exchange) -> None:
        """The caller has gone. As on AWS the function runs on; its answer is dropped."""
        if exchange.on_drain is not None:
            # A runtime that was held up for this caller goes on.
            exchange.on_drain()

    def malformed(self, status: int, reason: str) -> bytes:
        """The answer to what is no request, in AWS's form; ``reason`` says what is wrong with it."""
        code = {413: "RequestEntityTooLargeException", 408: "RequestTimeoutException"}.get(
            status, "MalformedHttpRequestException"
        )
        body = json.dumps({"message": reason}, separators=(",", ":")).encode()
        headers = [
            (b"Content-Type", b"application/json"),
            (b"x-amzn-ErrorType", code.encode()),
            (b"x-amzn-RequestId", self._identifiers.request_id().encode()),
        ]
        return answer(status, headers, body, close=True)

    # --- admission ----------------------------------------------------------------------------------------------

    def _handle_carefully(self, exchange: Exchange) -> None:
        try:
            self._admit(exchange)
            if self._extras.is_open(exchange):
                self._spawn(self._extras.answer(exchange, self._access.nobody))
                return
            if self._verifier is None:
                self._route_invoke_first(exchange, self._access.unverified(exchange))
                return
            if exchange.too_large:
                # The body was dropped, so no signature can match: all there is to say is that it is too large.
                self._spawn(self._too_large(exchange))
                return
            body = exchange.body
            if len(body) <= INLINE_HASH_BYTES:
                caller = self._verify(exchange, hashlib.sha256(body).hexdigest)
                self._route_invoke_first(exchange, caller)
                return
        except ApiError as error:
            self.answer_error(exchange, error, self._identifiers.request_id())
            return
        self._spawn(self._verify_large(exchange))

    def _admit(self, exchange: Exchange) -> None:
        signed_or_open = self._verifier is not None or self._extras.is_open(exchange)
        admit(exchange.headers, self._allowed_hosts, verified=signed_or_open, cache=self._hosts)

    def _expect_signature(self, exchange: Exchange) -> None:
        try:
            self._access.expect(exchange.headers, exchange.target, self._wall())
        except SignatureError as error:
            raise ApiError(error.code, error.message, status=error.status, type=None) from None

    def _verify(self, exchange: Exchange, payload_sha256: Callable[[], str]) -> Caller:
        verifier = self._logs_verifier if self._is_for_logs(exchange) else self._verifier
        assert verifier is not None
        now = self._wall()
        self._access.refresh(now)
        try:
            credentials = verifier.verify(exchange.method, exchange.target, exchange.headers, payload_sha256, now=now)
        except SignatureError as error:
            raise ApiError(error.code, error.message, status=error.status, type=None) from None
        return self._access.verified(credentials.access_key_id)

    async def _verify_large(self, exchange: Exchange) -> None:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(exchange.body).hexdigest())
        if exchange.gone:
            return
        try:
            caller = self._verify(exchange, lambda: digest)
        except ApiError as error:
            self.answer_error(exchange, error, self._identifiers.request_id())
            return
        self._route_invoke_first(exchange, caller)

    # --- routing ------------------------------------------------------------------------------------------------

    def _route_invoke_first(self, exchange: Exchange, caller: Caller) -> None:
        target = caller.targets.get(exchange.target)
        if target is None or not self._invoke.invoke_known(exchange, target):
            self._route(exchange, caller)

    def _route(self, exchange: Exchange, caller: Caller) -> None:
        if self._extras.handles(exchange.target):
            self._spawn(self._extras.answer(exchange, caller))
            return
        if self._is_for_logs(exchange):
            self._spawn(self._answer_logs(exchange, caller))
            return
        try:
            match = self._table.match(exchange.method.decode("latin-1"), exchange.target)
        except ApiError as error:
            self.answer_error(exchange, error, self._identifiers.request_id())
            return
        if match.operation.name in INVOKES:
            self._invoke.invoke(exchange, match, caller)
        else:
            self._spawn(self._answer_from_edge(exchange, caller))

    async def _answer_from_edge(self, exchange: Exchange, caller: Caller) -> None:
        request_id = self._identifiers.request_id()
        method, target = exchange.method, exchange.target
        if exchange.too_large:
            answered = self._edge.refuse_body(method, target, request_id)
        else:
            answered = await self._edge.answer(
                method,
                target,
                exchange.headers,
                exchange.body,
                request_id,
                operations=lambda: caller.account.operations,
                authorize=caller.authorize,
            )
        self._respond(exchange, answered)

    def _too_large(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        if self._is_for_logs(exchange):
            return self._answer_logs(exchange, self._access.nobody)
        return self._answer_from_edge(exchange, self._access.own)

    def _is_for_logs(self, exchange: Exchange) -> bool:
        return self._logs_edge.handles(exchange.method, exchange.target, exchange.headers)

    async def _answer_logs(self, exchange: Exchange, caller: Caller) -> None:
        answered = await self._logs_edge.answer(
            exchange.headers,
            None if exchange.too_large else exchange.body,
            self._identifiers.request_id(),
            lambda operation, members: self._log_reading.perform(caller, operation, members),
        )
        self._respond(exchange, answered)

    def answer_error(self, exchange: Exchange, error: ApiError, request_id: str) -> None:
        """Send an error in AWS's form."""
        render = render_json_error if self._is_for_logs(exchange) else render_answer
        self._respond(exchange, render(error, request_id))

    def _respond(self, exchange: Exchange, answered: Answer) -> None:
        if exchange.gone:
            return
        headers = [(b"Date", self._clock.date), *answered.headers]
        close = not (exchange.keep_alive and exchange.complete)
        exchange.respond(answer(answered.status, headers, answered.body, close=close))
