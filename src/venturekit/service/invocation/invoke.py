"""The operations Invoke, InvokeWithResponseStream and InvokeAsync (seed 002; AWS page "Invoke", Lambda API reference).

An invocation that looks like nearly all others takes the short path: its address was resolved before, nothing is
parsed but the syntax of its payload is checked, and the event goes to an idle environment in the same callback.
Everything else takes the careful path through the model's parser and validator.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from venturekit.protocol.lineage import ROUNDS_LIMIT, STOPPED, advanced, continued, first, key_of
from venturekit.protocol.tenants import tenant_header
from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.api.parse import parse_request
from venturekit.service.api.quirks import EVENT_LIMIT_BYTES, event_too_large, request_limit_bytes, request_too_large
from venturekit.service.api.validate import validate_members
from venturekit.service.invocation.acceptance import Acceptance
from venturekit.service.invocation.client_context import ClientContextError, decode_client_context
from venturekit.service.invocation.invocation import Invocation, with_response_form
from venturekit.service.invocation.payload import is_json
from venturekit.service.invocation.response_stream import StreamedInvocation

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from venturekit.service.api.operations import Match
    from venturekit.service.invocation.identifiers import Identifiers
    from venturekit.service.invocation.ports import Caller, EventQueue, Pool, Resolved
    from venturekit.service.wire.exchange import Exchange
    from venturekit.service.wire.listener import Clock

INVOKE: Final = "Invoke"
WITH_RESPONSE_STREAM: Final = "InvokeWithResponseStream"
INVOKE_ASYNC: Final = "InvokeAsync"
TARGETS_LIMIT: Final = 10_000
KEPT_TARGET_BYTES: Final = 512
"""No address is longer; a presigned one is, and comes once."""
QUICK_DIAGNOSIS_BYTES: Final = 65_536
CLIENT_CONTEXT_LIMIT_BYTES: Final = 3583
RARE_HEADERS: Final = frozenset({b"x-amz-client-context", b"x-amz-tenant-id", b"x-amz-durable-execution-name"})
GIVEN_IDS: Final = frozenset({b"x-amzn-requestid", b"x-amzn-trace-id"})
"""What the front process and functions that call functions send, and nobody else."""
UNCOMMON_HEADERS: Final = RARE_HEADERS | GIVEN_IDS
REQUEST_ID: Final = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
TRACE: Final = re.compile(rb"(?=(?:[^;]*;)*Root=)[\x21-\x7e]{1,1024}")


_UNUSUAL: Final = b"", (b"", b"")


class Target:
    """An address that was resolved: everything about it that does not change until a function does."""

    __slots__ = (
        "account_id",
        "concurrency",
        "first_lineage",
        "function_name",
        "invoked_arn",
        "lineage_key",
        "pool",
        "qualifier",
        "recursion_allowed",
        "tenant_id",
        "version",
        "writes_json",
    )

    def __init__(self, resolved: Resolved, *, writes_json: bool) -> None:
        self.writes_json = writes_json
        self.account_id = resolved.account_id
        self.function_name = resolved.function_name
        self.qualifier = resolved.qualifier
        self.pool: Pool = resolved.pool
        self.concurrency = resolved.concurrency
        self.invoked_arn = resolved.invoked_arn.encode()
        self.version = resolved.executed_version.encode()
        self.recursion_allowed = resolved.recursion_allowed
        self.tenant_id = resolved.tenant_id
        self.lineage_key = key_of(resolved.invoked_arn)
        self.first_lineage = first(self.lineage_key)


class InvokePath:
    """Answers Invoke, InvokeWithResponseStream and InvokeAsync."""

    def __init__(
        self,
        *,
        identifiers: Identifiers,
        clock: Clock,
        wall: Callable[[], float],
        events: EventQueue,
        answer_error: Callable[[Exchange, ApiError, str], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        loop: asyncio.AbstractEventLoop,
        throttled: Callable[[str, str], None] = lambda _account_id, _function_name: None,
    ) -> None:
        """``throttled(account_id, function_name)`` is told of each invocation that is refused."""
        self.clock = clock
        self._identifiers = identifiers
        self._wall = wall
        self._events = events
        self._answer_error = answer_error
        self._spawn = spawn
        self._loop = loop
        self._throttled = throttled

    def invoke_known(self, exchange: Exchange, target: Target) -> bool:
        """The short path. False when this request needs the careful one; nothing has happened then."""
        headers = exchange.headers
        uncommon = not UNCOMMON_HEADERS.isdisjoint(headers)
        invocation_type = headers.get(b"x-amz-invocation-type")
        if (
            (invocation_type is not None and invocation_type != b"RequestResponse" and invocation_type != b"Event")
            or exchange.method != b"POST"
            or exchange.too_large
            or (uncommon and not RARE_HEADERS.isdisjoint(headers))
        ):
            return False
        tail = False
        log_type = headers.get(b"x-amz-log-type")
        if log_type is not None:
            tail = log_type == b"Tail"
            if not tail and log_type != b"None":
                return False
        payload = exchange.body or b"{}"
        if not target.writes_json and not is_json(payload):
            return False
        identifiers = self._identifiers
        given = self._given_ids(exchange, target) if uncommon else None
        if given is not None and (given is _UNUSUAL or invocation_type == b"Event"):
            return False
        if invocation_type == b"Event":
            return self._accept_known(exchange, target, payload)
        if not target.concurrency.take():
            return False
        if given is None:
            request_id = identifiers.request_id().encode()
            trace = identifiers.trace(self._wall(), target.first_lineage)
        else:
            request_id, trace = given
        target.pool.submit(
            Invocation(
                self,
                target.concurrency,
                exchange,
                request_id,
                target.invoked_arn,
                target.version,
                payload,
                trace,
                b"",
                tail,
            )
        )
        return True

    def invoke(self, exchange: Exchange, match: Match, caller: Caller) -> None:
        """The careful path: every check, every message."""
        headers = exchange.headers
        request_id = self._identifiers.request_id()
        try:
            operation = match.operation.name
            if exchange.too_large or len(exchange.body) > request_limit_bytes(operation):
                raise api_error(*request_too_large(operation))
            members = parse_request(match, headers, exchange.body)
            validate_members(match.operation, members)
            request_id = self._request_id(headers, request_id)
            resolved = caller.resolve(operation, members)
            if "TenantId" in members:
                resolved = resolved.of_tenant(members["TenantId"])
            target = Target(resolved, writes_json=caller.writes_json)
            extra = self._extra_headers(members)
            payload = exchange.body or b"{}"
            if not target.writes_json and not is_json(payload):
                self._refuse_payload(exchange, request_id, bytes(payload))
                return
            invocation_type = members.get("InvocationType", "RequestResponse")
            if invocation_type == "DryRun":
                self._answer_dry_run(exchange, request_id)
                return
            if invocation_type == "Event" or operation == INVOKE_ASYNC:
                trace = self._trace_of(exchange, kept=invocation_type == "Event")
                self._accept(exchange, target, payload, request_id, trace)
                self._keep(exchange, operation, target, resolved, caller)
                return
            trace = self._next_round(exchange, target)
            if not target.concurrency.take():
                reason = target.concurrency.exceeded
                self._throttled(target.account_id, target.function_name)
                raise api_error("TooManyRequestsException", "Rate Exceeded.", Reason=reason, retryAfterSeconds=1)
        except ApiError as error:
            self._answer_error(exchange, error, request_id)
            return
        self._keep(exchange, operation, target, resolved, caller)
        tail = members.get("LogType") == "Tail"
        kind = StreamedInvocation if operation == WITH_RESPONSE_STREAM else Invocation
        target.pool.submit(
            kind(
                self,
                target.concurrency,
                exchange,
                request_id.encode(),
                target.invoked_arn,
                target.version,
                payload,
                trace,
                extra,
                tail,
            )
        )

    def refuse_unavailable(self, exchange: Exchange, request_id: bytes, reason: str) -> None:
        """Answer that no execution environment could be had."""
        self._answer_error(exchange, api_error("ServiceException", reason), request_id.decode())

    def refuse(self, exchange: Exchange, error: ApiError, request_id: str) -> None:
        """Answer with an error."""
        self._answer_error(exchange, error, request_id)

    def _accept_known(self, exchange: Exchange, target: Target, payload: bytes | bytearray) -> bool:
        """The short path of an event. False when the careful one has to say what is wrong with it."""
        if len(payload) > EVENT_LIMIT_BYTES:
            return False
        request_id = self._identifiers.request_id()
        try:
            self._accept(exchange, target, payload, request_id, self._new_trace())
        except ApiError as error:
            self._answer_error(exchange, error, request_id)
        return True

    def _accept(
        self,
        exchange: Exchange,
        target: Target,
        payload: bytes | bytearray,
        request_id: str,
        trace: tuple[bytes, bytes],
    ) -> None:
        """Queue an event; the caller is answered when it is durable. Raises ApiError: too large, the queue is full."""
        if len(payload) > EVENT_LIMIT_BYTES:
            raise api_error(*event_too_large(len(payload)))
        sent, shown = trace
        self._events.put(
            account_id=target.account_id,
            function_name=target.function_name,
            qualifier=target.qualifier,
            request_id=request_id,
            payload=payload,
            trace=sent.decode("latin-1"),
            done=Acceptance(self, exchange, request_id, shown).settle,
            tenant_id=target.tenant_id,
        )

    def _keep(self, exchange: Exchange, operation: str, target: Target, resolved: Resolved, caller: Caller) -> None:
        """Remember what an address of Invoke stands for, for the short path: others are other kinds of requests."""
        if operation == INVOKE and resolved.lasting and len(exchange.target) <= KEPT_TARGET_BYTES:
            if len(caller.targets) >= TARGETS_LIMIT:
                caller.targets.clear()
            caller.targets[exchange.target] = target

    def _new_trace(self) -> tuple[bytes, bytes]:
        return self._identifiers.trace(self._wall())

    def _trace_of(self, exchange: Exchange, *, kept: bool = True) -> tuple[bytes, bytes]:
        """The caller's trace, or a new one where there is none, or none of use, or it is not to be ``kept``.

        The lineage goes on in either case: a loop must not end at a header that somebody has spoilt.
        """
        given = exchange.headers.get(b"x-amzn-trace-id", b"")
        if kept and TRACE.fullmatch(given):
            return with_response_form(given)
        sent, shown = self._new_trace()
        return continued(sent, given), shown

    def _next_round(self, exchange: Exchange, target: Target) -> tuple[bytes, bytes]:
        """The trace for a run of the function. Raises ApiError where it has run too often in this chain of requests."""
        sent, shown = self._trace_of(exchange)
        sent, rounds = advanced(sent, target.lineage_key)
        if rounds >= ROUNDS_LIMIT and not target.recursion_allowed:
            raise api_error("RecursiveInvocationException", STOPPED)
        return sent, shown

    def _given_ids(self, exchange: Exchange, target: Target) -> tuple[bytes, tuple[bytes, bytes]]:
        """Request id and trace where the caller has sent one of them; ``_UNUSUAL`` when the careful path must look."""
        headers = exchange.headers
        request_id = headers.get(b"x-amzn-requestid")
        trace = headers.get(b"x-amzn-trace-id")
        if (request_id is not None and REQUEST_ID.fullmatch(request_id) is None) or (
            trace is not None and TRACE.fullmatch(trace) is None
        ):
            return _UNUSUAL
        sent, shown = self._new_trace() if trace is None else with_response_form(trace)
        sent, rounds = advanced(sent, target.lineage_key)
        if rounds >= ROUNDS_LIMIT and not target.recursion_allowed:
            return _UNUSUAL
        return request_id.lower() if request_id is not None else self._identifiers.request_id().encode(), (sent, shown)

    def _request_id(self, headers: Mapping[bytes, bytes], made: str) -> str:
        given = headers.get(b"x-amzn-requestid")
        if given is None:
            return made
        if REQUEST_ID.fullmatch(given) is None:
            text = "The request ID in the header x-amzn-RequestId is not a UUID; leave the header out or send a UUID."
            raise api_error("InvalidRequestContentException", text)
        return given.decode().lower()

    def _extra_headers(self, members: Mapping[str, Any]) -> bytes:
        if "DurableExecutionName" in members:
            raise api_error(
                "InvalidParameterValueException",
                "The function is not durable (DurableConfig): send no X-Amz-Durable-Execution-Name.",
            )
        tenant = tenant_header(members.get("TenantId", ""))
        context = members.get("ClientContext")
        if context is None:
            return tenant
        if len(context) > CLIENT_CONTEXT_LIMIT_BYTES:
            raise api_error(
                "ValidationException",
                f"1 validation error detected: Value '{context}' at 'clientContext' failed to satisfy constraint: "
                f"Member must have length less than or equal to {CLIENT_CONTEXT_LIMIT_BYTES}",
            )
        try:
            decoded = decode_client_context(context.encode("latin-1", "replace"))
        except ClientContextError as error:
            raise api_error("InvalidRequestContentException", str(error)) from None
        return b"%bLambda-Runtime-Client-Context: %b\r\n" % (tenant, decoded)

    def _refuse_payload(self, exchange: Exchange, request_id: str, payload: bytes) -> None:
        if len(payload) <= QUICK_DIAGNOSIS_BYTES:
            self._answer_error(exchange, _not_json(payload), request_id)
        else:
            # Finding the place in megabytes takes long: not on the loop.
            self._spawn(self._diagnose(exchange, request_id, payload))

    async def _diagnose(self, exchange: Exchange, request_id: str, payload: bytes) -> None:
        error = await self._loop.run_in_executor(None, _not_json, payload)
        if not exchange.gone:
            self._answer_error(exchange, error, request_id)

    def _answer_dry_run(self, exchange: Exchange, request_id: str) -> None:
        exchange.respond(
            b"HTTP/1.1 204 No Content\r\nDate: %b\r\nConnection: %b\r\nx-amzn-RequestId: %b\r\n"
            b"x-amzn-Remapped-Content-Length: 0\r\nX-Amzn-Trace-Id: %b\r\n\r\n"
            % (
                self.clock.date,
                b"keep-alive" if exchange.keep_alive else b"close",
                request_id.encode(),
                self._trace_of(exchange)[1],
            )
        )


def _not_json(payload: bytes) -> ApiError:
    # Compiling the scanner's patterns is not part of a start of the service.
    from venturekit.service.invocation.json_scanner import fault_message, fault_of

    fault = fault_of(payload)
    detail = fault_message(fault) if fault is not None else "Could not parse request body into json"
    return api_error("InvalidRequestContentException", detail)
