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

    __slots__ = ("async_fn", "fn", "hoisted", "name")

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
        if fn is not None and is_async(fn):
            fn, async_fn = None, fn
        self.name = name
        self.fn = fn
        self.async_fn = async_fn
        # Comes before the others wherever it stands: answers to preflights must not depend on who may ask.
        self.hoisted = hoisted

    def __repr__(self) -> str:
        return f"Middleware({self.name!r})"


def is_async(function: Any) -> bool:
    """Whether a call gives a coroutine, as far as that can be known without calling."""
    for _depth in range(16):
        code = getattr(function, "__code__", None)
        if code is not None:
            return bool(code.co_flags & _COROUTINE)
        inner = getattr(function, "__func__", None) or getattr(function, "func", None)
        if inner is None:
            inner = getattr(type(function), "__call__", None)  # noqa: B004 - what is called, not whether it can be
        if inner is None or inner is function:
            return False
        function = inner
    return False


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


def compose(middlewares: Sequence[Any]) -> Middleware:
    """One middleware out of many, the first the outermost (seed 001)::

    guarded = compose([request_id_middleware(), api_key_auth_middleware(keys=[...])])
    """
    chain = [middleware_of(given) for given in middlewares]
    name = "+".join(part.name for part in chain) or "nothing"
    blocks, waits = all(part.fn is not None for part in chain), all(part.async_fn is not None for part in chain)
    if not blocks and not waits:
        raise mixed(chain)

    def fn(ctx: BaseContext, next: Next) -> Any:
        return sync_chain(chain, lambda _: next())(ctx)

    async def async_fn(ctx: BaseContext, next: Callable[[], Awaitable[Any]]) -> Any:
        return await async_chain(chain, lambda _: next())(ctx)

    return Middleware(
        name,
        fn if blocks else None,
        async_fn=async_fn if waits else None,
        hoisted=any(part.hoisted for part in chain),
    )


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
