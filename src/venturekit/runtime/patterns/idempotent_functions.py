"""Functions that take effect once for each key: ``@idempotent``."""

from __future__ import annotations

import time
from functools import wraps
from os import urandom
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from venturekit.runtime._process import apause, pause
from venturekit.runtime.context import NO_DEADLINE_MS, BaseContext, current_context
from venturekit.runtime.encoding import NotSerializableError
from venturekit.runtime.logs import Logger
from venturekit.runtime.middleware.base import arguments_by_position, code_flags, is_async
from venturekit.runtime.patterns import idempotency_keys
from venturekit.runtime.patterns.driving import adrive, drive
from venturekit.runtime.patterns.idempotency_flow import TTL_SECONDS, Call, Idempotency
from venturekit.runtime.patterns.idempotency_results import Results
from venturekit.runtime.patterns.idempotency_stores import store_of
from venturekit.runtime.wrapped import KEEPS_RESULTS, HandlerConfigError, WrappedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Literal

    from venturekit.runtime.patterns.records import RecordStore

P = ParamSpec("P")
R = TypeVar("R")
_GENERATORS: Final = 0x220
_INSTEAD: Final = "a function with async def, or a store that blocks"


def idempotent(
    *,
    key: Callable[..., Any] | None = None,
    store: RecordStore | None = None,
    payload: Callable[..., Any] | None = None,
    ttl_seconds: float = TTL_SECONDS,
    pending_seconds: float | None = None,
    on_pending: Literal["conflict", "wait"] = "conflict",
    on_store_error: Literal["refuse", "run"] = "refuse",
    name: str | None = None,
    result_type: Any = None,
    serialize: Callable[[Any], Any] | None = None,
    deserialize: Callable[[Any], Any] | None = None,
    on_replay: Callable[[Any], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run a function once for each key, and give its result again to whoever calls with that key later::

        @task_handler(retries=2)
        @idempotent(key=lambda event: event["orderId"])
        def main(event, ctx):
            return {"receipt": charge(event["card"])}

    ``key``: a function of the arguments, or of the first few, that gives a text or a number; None is no key, and the
    function runs as if it were not idempotent. Without it all arguments together are the key. ``payload``: a function
    of the arguments that gives what must be the same when the key is; without it that is all of them, less contexts
    and loggers. A key is one's own: the same key of another tenant, of another user, or under another ``name`` is
    another one; ``name`` is the Lambda function and the place of the function in the code. What has no such place, a
    lambda for example, needs a ``name``; so do functions that are made by one and the same function.

    What it returns is kept as JSON for ``ttl_seconds`` (a day): a replay gives a dictionary for a dataclass, unless
    ``result_type`` says what to make of it, or ``serialize`` and ``deserialize``, which make JSON and read it. A result
    that JSON cannot hold is returned all the same, and logged as an error: the function has run, and does not run
    again, so that later calls raise IdempotencyResultError. ``on_replay`` is called with each result that is given
    again.

    When the function raises, the key is free again, and a retry runs. While it runs, its key is taken until the time of
    the invocation is over, outside of Lambda for 15 minutes, or ``pending_seconds``: others get
    IdempotencyPendingError, or with ``on_pending="wait"`` wait for its result. When the store is down nothing runs
    (ServiceUnavailableError) unless ``on_store_error="run"``. With a store that is asynchronous the function is
    ``async def``. ``clock`` gives epoch seconds.

    Raises IdempotencyPendingError, IdempotencyKeyReusedError, IdempotencyResultError, ServiceUnavailableError,
    NotSerializableError for arguments that JSON cannot hold; HandlerConfigError, TypeError, ValueError when it is made.
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

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        _check(fn, rules.store, name)
        once = _Once(fn, rules, key, payload, name, on_replay)
        once.results = Results(once.shown, result_type, serialize, deserialize)
        if is_async(fn):

            @wraps(fn)
            async def waiting(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await adrive(once.flow(args, kwargs, apause))

            setattr(waiting, KEEPS_RESULTS, True)
            return waiting  # type: ignore[return-value]

        @wraps(fn)
        def blocking(*args: P.args, **kwargs: P.kwargs) -> Any:
            return drive(once.flow(args, kwargs, pause), instead=_INSTEAD)

        setattr(blocking, KEEPS_RESULTS, True)
        return blocking

    return decorate


def _check(fn: Any, store: RecordStore, name: str | None) -> None:
    if isinstance(fn, WrappedFunction):
        raise HandlerConfigError(
            f"@idempotent stands below the decorator that makes {fn.__name__} a handler, not above it; around a whole "
            "handler there is idempotency_middleware()"
        )
    if not callable(fn) or isinstance(fn, type):
        raise HandlerConfigError(f"@idempotent() is for functions, and not for {fn!r}: has it been called?")
    if code_flags(fn) & _GENERATORS:
        raise HandlerConfigError(f"{getattr(fn, '__name__', fn)} yields what it gives: only a whole result can be kept")
    if is_async(store.write) and not is_async(fn):
        raise HandlerConfigError(f"{getattr(fn, '__name__', fn)} blocks, and its store is asynchronous: use {_INSTEAD}")
    if not name and getattr(fn, "__qualname__", "<lambda>").endswith("<lambda>"):
        raise HandlerConfigError(
            f"{fn!r} has no name of its own: give it one, name='...', that no other function has, for its results are "
            "found by it"
        )


class _Once:
    """One function, its key and its payload."""

    __slots__ = (
        "_fn",
        "_key",
        "_key_arity",
        "_most",
        "_name",
        "_on_replay",
        "_payload",
        "_payload_arity",
        "_rules",
        "results",
        "shown",
    )
    results: Results

    def __init__(
        self,
        fn: Callable[..., Any],
        rules: Idempotency,
        key: Callable[..., Any] | None,
        payload: Callable[..., Any] | None,
        name: str | None,
        on_replay: Callable[[Any], None] | None,
    ) -> None:
        self._fn = fn
        self._rules = rules
        self._key, self._key_arity = key, _arity(key)
        self._payload, self._payload_arity = payload, _arity(payload)
        self._name = name
        self._on_replay = on_replay
        self._most = None if _has_keyword_only(fn) else _arity(fn)
        self.shown = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', type(fn).__name__)}"

    def flow(self, args: tuple[Any, ...], kwargs: dict[str, Any], wait: Callable[[float], Any]) -> Any:
        """The result, by way of the store."""
        ctx = current_context()
        positional, named = self._bound(args, kwargs)
        payload = self._payload_of(positional, named)
        found = None if self._key is None else self._key(*positional[: self._key_arity])
        if found is None and self._key is not None:
            return self._plain(args, kwargs)
        try:
            fingerprint = idempotency_keys.fingerprint(payload)
        except NotSerializableError as problem:
            raise NotSerializableError(
                f"the arguments of {self.shown} tell calls apart, and {problem}; payload= can choose what does"
            ) from None
        key = fingerprint if self._key is None else idempotency_keys.key_text(found, self.shown)
        name = self._name or f"{idempotency_keys.function_name(ctx)}/{self.shown}"
        remaining = (lambda: NO_DEADLINE_MS) if ctx is None else ctx.get_remaining_time_in_millis
        call = Call(idempotency_keys.record_id(name, ctx, key), fingerprint, urandom(8).hex(), remaining)
        return self._rules.around(
            call,
            lambda: self._fn(*args, **kwargs),
            dump=self.results.dump,
            replay=self._replay,
            pause=wait,
        )

    def _plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        return (yield self._fn(*args, **kwargs))

    def _replay(self, kept: Any) -> Any:
        result = self.results.load(kept)
        if self._on_replay is not None:
            self._on_replay(result)
        return result

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the function gets them, however they were written and with its defaults."""
        if not kwargs and len(args) == self._most:
            return args, kwargs
        from inspect import signature

        bound = signature(self._fn).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def _payload_of(self, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self._payload is not None:
            return self._payload(*positional[: self._payload_arity])
        told = [given for given in positional if not isinstance(given, BaseContext | Logger)]
        return [told, named] if named else told


def _arity(fn: Callable[..., Any] | None) -> int | None:
    if fn is None:
        return None
    try:
        return arguments_by_position(fn)[1]
    except (TypeError, ValueError):
        return None


def _has_keyword_only(fn: Any) -> bool:
    """Whether it has arguments by name only, whose defaults are arguments too; also when that is not known."""
    while (inner := getattr(fn, "__wrapped__", None)) is not None:
        fn = inner
    code = getattr(fn, "__code__", None)
    return code is None or code.co_kwonlyargcount > 0
