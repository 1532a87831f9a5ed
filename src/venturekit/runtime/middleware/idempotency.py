"""Requests that take effect once. Source: seed 001, ``idempotencyMiddleware``; the idempotency guide."""

from __future__ import annotations

import time
from os import urandom
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime._process import apause, pause
from venturekit.runtime.context import RequestContext, TaskContext
from venturekit.runtime.errors import BadRequestError, VentureError
from venturekit.runtime.middleware.base import Middleware, MiddlewareError, is_async
from venturekit.runtime.middleware.kept_responses import dump_response, load_response
from venturekit.runtime.middleware.steps import NEXT, from_steps
from venturekit.runtime.patterns import idempotency_keys
from venturekit.runtime.patterns.idempotency_flow import TTL_SECONDS, UNKEPT, Call, Idempotency
from venturekit.runtime.patterns.idempotency_results import Results
from venturekit.runtime.patterns.idempotency_stores import store_of
from venturekit.runtime.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence
    from typing import Literal

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.patterns.records import RecordStore

METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
REPLAYED_HEADER: Final = "Idempotent-Replayed"
_COME_AGAIN: Final = (408, 425, 429)


def idempotency_middleware(
    store: RecordStore | None = None,
    *,
    ttl_seconds: float = TTL_SECONDS,
    key: Callable[[Any], Any] | None = None,
    header: str = "Idempotency-Key",
    payload: Callable[[Any], Any] | Sequence[str] | None = None,
    required: bool = False,
    methods: Collection[str] = METHODS,
    name: str | None = None,
    pending_seconds: float | None = None,
    on_pending: Literal["conflict", "wait"] = "conflict",
    on_store_error: Literal["refuse", "run"] = "refuse",
    keep: Callable[[Any], bool] | None = None,
    on_replay: Callable[[Any, Any], Any] | None = None,
    clock: Callable[[], float] = time.time,
) -> Middleware:
    """Answers a request that comes again, with the same key, as it did the first time, and runs nothing::

        main = handler(create_user, middleware=[idempotency_middleware()])

    ``key``: a function of the context that gives the key, None for none; without it that is the header ``header``, of a
    call by ``invoke()`` to a task the key that came along. A request without one passes through, or is refused with 400
    if ``required``. ``methods``: the others pass through. A key is its sender's own: the same one of another tenant,
    another user, or under another ``name`` (that of the Lambda function) is another key. Put the middleware behind
    those that find out who asks: when it turns out later, nothing is kept, and an error is logged. Who is not known to
    anybody, and has no ``Authorization`` header, shares one scope with everybody else. Calls by ``invoke()`` of a route
    have a scope of their own.

    With another method, path, query or body, a known key is refused with 422; ``payload`` says what has to be the same
    instead: method, path and some fields of the body (``["amount", "card.number"]``), or what a function of the context
    gives.

    While the first request runs, the others get 409, or with ``on_pending="wait"`` wait for its answer. Its key is free
    again when the handler raises or answers with 408, 425, 429 or 500 and above, and when the time of the invocation is
    over (outside of Lambda 15 minutes, or ``pending_seconds``). Everything else is kept for ``ttl_seconds``, a day:
    status, body, cookies, and headers but those of one request, like ``X-Request-Id``. ``keep``: a function of a
    response that says whether it is kept. A replay has the header ``Idempotent-Replayed: true``; ``on_replay`` is
    called with it and the context, and may give another one. When the store is down the answer is 503, or with
    ``on_store_error="run"`` the handler runs all the same. Streamed responses are refused, for they cannot be kept. Of
    an answer that is too large for the store it is kept that it was given: whoever comes again gets 500.

    In a task the result is kept as JSON, and errors are raised. ``clock`` gives epoch seconds.

    Raises MiddlewareError, TypeError, ValueError for what cannot work. Source: seed 001, ``idempotencyMiddleware``.
    """
    rules = Idempotency(
        store_of(store),
        ttl_seconds=ttl_seconds,
        pending_seconds=pending_seconds,
        on_pending=on_pending,
        on_store_error=on_store_error,
        clock=clock,
        log=idempotency_keys.log,
    )
    once = _Requests(rules, key, header, _payload_of(payload), name, keep, on_replay)
    served = frozenset(method.upper() for method in methods)

    def steps(ctx: BaseContext, wait: Callable[[float], Any]) -> Generator[Any, Any, Any]:
        if isinstance(ctx, RequestContext) and ctx.method not in served:
            return (yield NEXT)
        found = once.key_of(ctx)
        if hasattr(found, "__await__"):
            found = yield found
        if found is None:
            if required:
                what = (
                    f"The header {header}" if key is None and isinstance(ctx, RequestContext) else "An idempotency key"
                )
                raise BadRequestError(f"{what} is required")
            return (yield NEXT)
        return (yield from _only_what_waits(once.flow(ctx, found, wait)))

    waits = is_async(rules.store.write) or (key is not None and is_async(key))
    blocking = from_steps("idempotency", lambda ctx: steps(ctx, pause), waits=waits)
    waiting = from_steps("idempotency", lambda ctx: steps(ctx, apause), waits=waits)
    return Middleware("idempotency", blocking.fn, async_fn=waiting.async_fn)


class _Requests:
    """What the calls of one middleware have in common."""

    __slots__ = ("_header", "_keep", "_key", "_name", "_on_replay", "_payload", "_rules")

    def __init__(
        self,
        rules: Idempotency,
        key: Callable[[Any], Any] | None,
        header: str,
        payload: Callable[[Any], Any],
        name: str | None,
        keep: Callable[[Any], bool] | None,
        on_replay: Callable[[Any, Any], Any] | None,
    ) -> None:
        self._rules = rules
        self._key = key
        self._header = header.lower()
        self._payload = payload
        self._name = name
        self._keep = keep
        self._on_replay = on_replay

    def key_of(self, ctx: Any) -> Any:
        """The key, None for none, or something to be awaited."""
        if self._key is not None:
            return self._key(ctx)
        if isinstance(ctx, RequestContext):
            return ctx.headers.get(self._header)
        return ctx._propagated().get("idempotencyKey")

    def flow(self, ctx: BaseContext, found: Any, wait: Callable[[float], Any]) -> Generator[Any, Any, Any]:
        """The response or result, by way of the store."""
        shown = self._name or idempotency_keys.function_name(ctx)
        key = idempotency_keys.key_text(found, shown or "this request")
        fingerprint = idempotency_keys.fingerprint(self._payload(ctx))
        record_id = idempotency_keys.record_id(shown, ctx, key, *_door(ctx))
        call = Call(record_id, fingerprint, urandom(8).hex(), ctx.get_remaining_time_in_millis)
        owner = idempotency_keys.owner_of(ctx)
        before = dict(ctx.response_headers) if isinstance(ctx, RequestContext) else {}
        results = Results(shown)
        return self._rules.around(
            call,
            lambda: NEXT,
            dump=lambda result: self._dump(ctx, result, before, results, owner),
            replay=lambda kept: self._replay(ctx, kept, results),
            pause=wait,
        )

    def _dump(
        self, ctx: BaseContext, result: Any, before: dict[str, str], results: Results, owner: tuple[Any, Any]
    ) -> Any:
        if isinstance(result, Response) and (result.status_code >= 500 or result.status_code in _COME_AGAIN):
            return UNKEPT
        if idempotency_keys.owner_of(ctx) != owner:
            # It would be given to whoever comes with the key, without asking who that is.
            said = "idempotency_middleware() stands before what finds out who asks: nothing is kept. Put it behind"
            idempotency_keys.log("error", said, {})
            return UNKEPT
        if isinstance(ctx, RequestContext) and result is None:
            return UNKEPT
        if self._keep is not None and not self._keep(result):
            return UNKEPT
        if not isinstance(result, Response) or not isinstance(ctx, RequestContext):
            return results.dump(result)
        added = {name: value for name, value in ctx.response_headers.items() if before.get(name) != value}
        return dump_response(result, added)

    def _replay(self, ctx: BaseContext, kept: Any, results: Results) -> Any:
        if isinstance(ctx, RequestContext):
            ctx.response_headers[REPLAYED_HEADER] = "true"
        if "status" in kept:
            assert isinstance(ctx, RequestContext)
            ctx.response_headers.update(kept.get("added", {}))
            result: Any = load_response(kept)
        else:
            result = results.load(kept)
        if self._on_replay is None:
            return result
        instead = self._on_replay(ctx, result)
        return result if instead is None else instead


def _only_what_waits(flow: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The flow for a chain, which takes nothing but NEXT and what has to be awaited: the rest is there already."""
    try:
        asked = flow.send(None)
        while True:
            try:
                given = (yield asked) if asked is NEXT or hasattr(asked, "__await__") else asked
            except GeneratorExit:
                flow.close()
                raise
            except BaseException as error:
                asked = flow.throw(error)
            else:
                asked = flow.send(given)
    except StopIteration as done:
        return done.value


def _payload_of(given: Callable[[Any], Any] | Sequence[str] | None) -> Callable[[Any], Any]:
    if given is None:
        return _whole
    if callable(given):
        return given
    if isinstance(given, str) or not all(isinstance(field, str) for field in given):
        raise MiddlewareError(f"payload is a list of names of fields, or a function of the context, and not {given!r}")
    fields = tuple(given)
    return lambda ctx: [*_route_of(ctx), *idempotency_keys.chosen(_sent(ctx), fields)]


def _whole(ctx: BaseContext) -> Any:
    if not isinstance(ctx, RequestContext):
        return _sent(ctx)
    return [*_route_of(ctx), ctx.query_lists, _sent(ctx)]


def _route_of(ctx: BaseContext) -> list[str]:
    return [ctx.method, ctx.path] if isinstance(ctx, RequestContext) else []


def _door(ctx: BaseContext) -> tuple[str, ...]:
    """By what a request has come in, where its user does not tell: one door asks for more than another."""
    if not isinstance(ctx, RequestContext):
        return ()
    if ctx.is_internal:
        # No scopes are asked of it.
        return ("internal",)
    token = ctx.headers.get("authorization", "")
    # A signature is another one with every attempt.
    if ctx.user is not None or not token or token.startswith("AWS4-"):
        return ()
    return ("authorization", idempotency_keys.digest(token.encode("utf-8", "surrogatepass")))


def _sent(ctx: BaseContext) -> Any:
    if isinstance(ctx, TaskContext):
        return ctx.event
    if not isinstance(ctx, RequestContext):
        message = getattr(ctx, "message", None)
        return idempotency_keys.digest(message) if isinstance(message, bytes) else message
    try:
        body = ctx.body
    except VentureError:
        # What is wrong with it is for the handler to say, which may not want one.
        body = ctx.raw_event.get("body")
    return idempotency_keys.digest(body) if isinstance(body, bytes) else body
