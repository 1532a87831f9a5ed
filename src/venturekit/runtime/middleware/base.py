"""Middleware: what is wrapped around a handler, and how several make one chain.

Source: seed 001, ``Middleware``, ``MiddlewareFn``, ``compose``; the middleware guide for their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from venturekit.runtime.context import BaseContext

    Next = Callable[[], Any]
    MiddlewareFn = Callable[[Any, Next], Any]
    AsyncMiddlewareFn = Callable[[Any, Callable[[], Awaitable[Any]]], Awaitable[Any]]

_COROUTINE: Final = 0x80
_ANY_NUMBER: Final = 0x04  # *args


class MiddlewareError(TypeError):
    """Middleware that cannot be what it is used for; the text says why and what to do."""


class Middleware:
    """A named function around the handlers of requests and tasks alike::

        def measure(ctx, next):
            began = time.monotonic()
            result = next()
            ctx.logger.info("measured", {"seconds": time.monotonic() - began})
            return result

        timing = Middleware("timing", measure)

    ``next()`` goes on and gives the ``Response`` of a request or the result of a task; it may be called once. Whoever
    does not call it answers instead of the handler. With ``async def`` and ``await next()`` the whole chain is
    asynchronous. ``async_fn`` is for those that can do both.
    """

    __slots__ = ("async_fn", "fn", "hoisted", "name", "parts")

    def __init__(
        self,
        name: str,
        fn: MiddlewareFn | None = None,
        *,
        async_fn: AsyncMiddlewareFn | None = None,
        hoisted: bool = False,
    ) -> None:
        if fn is None and async_fn is None:
            raise MiddlewareError(f"the middleware {name!r} has no function")
        for given in (fn, async_fn):
            if given is not None:
                _check_function(name, given)
        if fn is not None and is_async(fn):
            fn, async_fn = None, fn
        self.name = name
        self.fn = fn
        self.async_fn = async_fn
        # Comes before the others wherever it stands: answers to preflights must not depend on who may ask.
        self.hoisted = hoisted
        # What ``compose`` was given: a handler puts these in its chain, each in its own place.
        self.parts: tuple[Middleware, ...] = ()

    def __repr__(self) -> str:
        return f"Middleware({self.name!r})"


def code_flags(function: Any) -> int:
    """What the code of a function, method, partial or callable object is marked as; 0 where there is no code."""
    for _depth in range(16):
        code = getattr(function, "__code__", None)
        if code is not None:
            return int(code.co_flags)
        inner = getattr(function, "__func__", None) or getattr(function, "func", None)
        if inner is None:
            inner = getattr(type(function), "__call__", None)  # noqa: B004 - what is called, not whether it can be
        if inner is None or inner is function:
            return 0
        function = inner
    return 0


def is_async(function: Any) -> bool:
    """Whether a call gives a coroutine, as far as that can be known without calling."""
    return bool(code_flags(function) & _COROUTINE)


def arguments_by_position(function: Any) -> tuple[int, int | None]:
    """How many arguments a function needs by position, and how many it takes: None for any number.

    A wrapper of anything (``*args``) that names what it wraps, as ``functools.wraps`` does, takes what that takes.
    Raises TypeError or ValueError for what does not tell.
    """
    code = getattr(function, "__code__", None)
    while code is not None and code.co_flags & _ANY_NUMBER and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
        code = getattr(function, "__code__", None)
    if code is None:
        from inspect import Parameter, signature

        parameters = signature(function).parameters.values()
        by_position = [p for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
        least = sum(p.default is Parameter.empty for p in by_position)
        return least, None if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters) else len(by_position)
    bound = 0 if getattr(function, "__self__", None) is None else 1
    most = code.co_argcount - bound
    least = max(most - len(getattr(function, "__defaults__", None) or ()), 0)
    return least, None if code.co_flags & _ANY_NUMBER else most


def _check_function(name: str, function: Any) -> None:
    if not callable(function):
        raise MiddlewareError(f"the middleware {name!r} is made of {function!r}, which is no function")
    try:
        least, most = arguments_by_position(function)
    except (TypeError, ValueError):
        return
    if least > 2 or (most is not None and most < 2):
        raise MiddlewareError(
            f"the middleware {name!r} takes {most if least <= 2 else least} arguments by position: the function of a "
            "middleware takes (ctx, next). One that is made by a function, like cors_middleware(), has to be called"
        )


def middleware_of(given: Any) -> Middleware:
    """Middleware from what may stand in a list: one, a function, or ``{"name": ..., "fn": ...}``."""
    if isinstance(given, Middleware):
        return given
    if isinstance(given, dict) and callable(given.get("fn")):
        return Middleware(str(given.get("name") or "middleware"), given["fn"])
    if callable(given) and not isinstance(given, type):
        return Middleware(getattr(given, "__name__", type(given).__name__), given)
    raise MiddlewareError(
        f"{given!r} is no middleware: Middleware(name, fn) or a function of (ctx, next) is. "
        "One that is made by a function, like cors_middleware(), has to be called"
    )


def chain_of(given: Sequence[Any]) -> list[Middleware]:
    """A list of middleware as a handler goes through it: compositions taken apart, and those that are hoisted first."""
    parts = [part for one in map(middleware_of, given) for part in one.parts or (one,)]
    return sorted(parts, key=lambda part: not part.hoisted)


def compose(middlewares: Sequence[Any]) -> Middleware:
    """One middleware out of many, the first the outermost (seed 001)::

    guarded = compose([request_id_middleware(), api_key_auth_middleware(HASHES)])
    """
    chain = chain_of(middlewares)
    name = "+".join(part.name for part in chain) or "nothing"
    blocks, waits = all(part.fn is not None for part in chain), all(part.async_fn is not None for part in chain)
    if not blocks and not waits:
        raise mixed(chain)

    def fn(ctx: BaseContext, next: Next) -> Any:
        return sync_chain(chain, lambda _: next())(ctx)

    async def async_fn(ctx: BaseContext, next: Callable[[], Awaitable[Any]]) -> Any:
        return await async_chain(chain, lambda _: next())(ctx)

    composed = Middleware(name, fn if blocks else None, async_fn=async_fn if waits else None)
    composed.parts = tuple(chain)
    return composed


def mixed(chain: Sequence[Middleware]) -> MiddlewareError:
    """Why these cannot be in one chain."""
    blocking = [part.name for part in chain if part.async_fn is None]
    waiting = [part.name for part in chain if part.fn is None]
    because = f"the middleware {', '.join(waiting)} is" if waiting else "the handler is"
    return MiddlewareError(
        f"{because} asynchronous, so the chain is, but the middleware {', '.join(blocking)} is not: a function that "
        "blocks cannot wait for the rest. Write it with async def and await next()"
    )


class _Next:
    """What a middleware calls to go on: once."""

    __slots__ = ("_called", "_ctx", "_name", "_rest")

    def __init__(self, rest: Callable[[Any], Any], ctx: Any, name: str) -> None:
        self._rest = rest
        self._ctx = ctx
        self._name = name
        self._called = False

    def __call__(self) -> Any:
        if self._called:
            raise MiddlewareError(f"the middleware {self._name!r} called next() twice: the handler runs once")
        self._called = True
        return self._rest(self._ctx)


def sync_chain(chain: Sequence[Middleware], end: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The chain as one function of the context; ``end`` is innermost."""
    run = end
    for part in reversed(chain):
        run = _wrapped(part.fn, part.name, run)
    return run


def async_chain(chain: Sequence[Middleware], end: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """The same for coroutines."""
    run = end
    for part in reversed(chain):
        run = _wrapped(part.async_fn, part.name, run)
    return run


def _wrapped(fn: Any, name: str, rest: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda ctx: fn(ctx, _Next(rest, ctx, name))
