"""One function for blocking and for waiting chains: how the middleware of the framework is written.

A generator says what comes before and after the rest of the chain, and whoever runs it decides how to wait::

    def steps(ctx):
        began = time.monotonic()
        result = yield NEXT  # the rest of the chain: its result, or what it raised
        ctx.logger.info("measured", {"seconds": time.monotonic() - began})
        return result

    measured = from_steps("measured", steps)

Returning without ``yield NEXT`` answers instead of the handler. An awaitable may be yielded too, and gives its result.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.middleware.base import Middleware, MiddlewareError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Steps = Callable[[Any], Generator[Any, Any, Any]]

NEXT: Final[Any] = object()
"""Yielded to go on with the rest of the chain; once."""


def from_steps(name: str, steps: Steps, *, hoisted: bool = False, waits: bool = False) -> Middleware:
    """The middleware of a generator function of the context.

    ``waits``: it is known to yield awaitables, so that every chain with it is asynchronous. Without it an awaitable in
    a blocking chain is a MiddlewareError.
    """

    def fn(ctx: Any, next: Callable[[], Any]) -> Any:
        running = steps(ctx)
        try:
            asked = running.send(None)
            while True:
                if asked is not NEXT:
                    running.close()
                    raise _cannot(name, asked)
                try:
                    given = next()
                except BaseException as error:
                    asked = running.throw(error)
                    continue
                asked = running.send(given)
        except StopIteration as done:
            return done.value

    async def async_fn(ctx: Any, next: Callable[[], Awaitable[Any]]) -> Any:
        running = steps(ctx)
        try:
            asked = running.send(None)
            while True:
                if asked is not NEXT and not isinstance(asked, Awaitable):
                    running.close()
                    raise _cannot(name, asked)
                try:
                    given = await (next() if asked is NEXT else asked)
                except BaseException as error:
                    asked = running.throw(error)
                    continue
                asked = running.send(given)
        except StopIteration as done:
            return done.value

    return Middleware(name, None if waits else fn, async_fn=async_fn, hoisted=hoisted)


def _cannot(name: str, asked: Any) -> MiddlewareError:
    """Why what was yielded cannot be had here."""
    if not isinstance(asked, Awaitable):
        return MiddlewareError(
            f"the middleware {name!r} yielded {asked!r}: NEXT, or in asynchronous chains an awaitable"
        )
    close = getattr(asked, "close", None)
    if close is not None:
        close()
    return MiddlewareError(
        f"the middleware {name!r} was given something asynchronous, and the handler is not: write the handler with "
        "async def, or give the middleware what does not have to be awaited"
    )
