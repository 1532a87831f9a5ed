"""What a call takes along of the invocation that makes it: trace, tenant, user; what is given explicitly wins.

Source: seed 001, "Auto-propagation"; names of the headers and the marker are ours, but for the two of seed 000.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from sys import modules
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime import environ
from venturekit.runtime._process import TRACING_API
from venturekit.runtime.context import current_context, trace_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.runtime.context import BaseContext

SOURCE_HEADER: Final = "x-venturekit-source"
INVOKE_ID_HEADER: Final = "x-venturekit-invoke-id"
TENANT_HEADER: Final = "x-venturekit-tenant-id"
USER_HEADER: Final = "x-venturekit-user-id"
TRACE_HEADER: Final = "x-amzn-trace-id"
W3C_HEADER: Final = "traceparent"
IDEMPOTENCY_HEADER: Final = "idempotency-key"
IDEMPOTENCY_MEMBER: Final = "idempotencyKey"
"""Of the marker of a call to a function, which has no headers."""


class Carried(NamedTuple):
    """What goes along. ``xray`` and ``traceparent`` are whole headers, None where there is none of the kind."""

    invoke_id: str
    tenant_id: str | None
    user_id: str | None
    xray: str | None
    traceparent: str | None

    def marker(self) -> dict[str, str]:
        """``requestContext.venturekit`` of an event, or ``custom.venturekit`` of a client context."""
        marker = {"invokeId": self.invoke_id}
        if self.tenant_id is not None:
            marker["tenantId"] = self.tenant_id
        if self.user_id is not None:
            marker["userId"] = self.user_id
        return marker

    def headers(self) -> dict[str, str]:
        """The headers of a route's event."""
        headers = {SOURCE_HEADER: "internal", INVOKE_ID_HEADER: self.invoke_id}
        known = {
            TENANT_HEADER: self.tenant_id,
            USER_HEADER: self.user_id,
            TRACE_HEADER: self.xray,
            W3C_HEADER: self.traceparent,
        }
        # The marker has every id as it is; one with a line break, from somebody's token, cannot be in a header.
        return headers | {name: value for name, value in known.items() if value is not None and value.isprintable()}


def carried(trace: str | None = None, tenant_id: str | None = None, user_id: str | None = None) -> Carried:
    """What a call made now takes along; arguments that are given win over the current context.

    Ids that are no texts, as databases have them, become texts. Raises ValueError for a trace that is no header.
    """
    ctx = current_context()
    if tenant_id is None and ctx is not None and ctx.tenant is not None:
        tenant_id = ctx.tenant.id
    if user_id is None and ctx is not None and ctx.user is not None:
        user_id = ctx.user.id
    xray, traceparent = _traces(trace, ctx)
    if trace is None and TRACING_API in modules:
        from venturekit.runtime.telemetry.spans import outgoing

        xray, traceparent = outgoing(xray, traceparent)
    return Carried(
        environ.new_request_id(),
        None if tenant_id is None else str(tenant_id),
        None if user_id is None else str(user_id),
        xray,
        traceparent,
    )


def _traces(given: str | None, ctx: BaseContext | None) -> tuple[str | None, str | None]:
    if given is not None:
        if not isinstance(given, str) or not (given.isascii() and given.isprintable()):
            raise ValueError(f"trace is a whole trace header, like ctx.trace, and not {given!r:.100}")
        return (given, None) if "=" in given else (None, given)
    trace = ctx.trace if ctx is not None else None
    if trace is not None and not (trace.isascii() and trace.isprintable()):
        # Whatever an event of one's own making had there, it cannot be a header of the call.
        trace = None
    own = environ.trace_header()
    if trace is None:
        return own, None
    if "=" not in trace:
        return own, trace
    # Lambda's own header has what it counts rounds of a loop by: without that, loops would go unseen.
    return (own if own is not None and trace_id_of(own) == trace_id_of(trace) else trace), None


def client_context(marker: Any) -> str:
    """The ``ClientContext`` of a call to a function."""
    import json

    return json.dumps({"custom": {"venturekit": marker}}, separators=(",", ":"))


class CallKeys:
    """The idempotency keys of the calls that one attempt of something makes: the same ones in every attempt.

    The first call of a target has the key itself, further ones of the same target have their number behind it.
    """

    __slots__ = ("_counts", "_key")

    def __init__(self, key: str) -> None:
        self._key = key
        self._counts: dict[str, Iterator[int]] = {}

    def next(self, target: str) -> str:
        """The key of a call that is about to be made."""
        number = next(self._counts.setdefault(target, count(1)))
        return self._key if number == 1 else f"{self._key}#{number}"


_call_keys: ContextVar[CallKeys | None] = ContextVar("venturekit_call_keys", default=None)


@contextmanager
def calls_with(keys: CallKeys) -> Iterator[None]:
    """Within it, and in threads and tasks begun in it with its context, calls carry these keys."""
    token = _call_keys.set(keys)
    try:
        yield
    finally:
        _call_keys.reset(token)


def idempotency_key(target: str, headers: Mapping[str, Any] | None = None) -> str | None:
    """The key of a call to a target; None where it has none, or brings its own header."""
    keys = _call_keys.get()
    if keys is None or any(isinstance(name, str) and name.lower() == IDEMPOTENCY_HEADER for name in headers or ()):
        return None
    return keys.next(target)
