"""Rate limits of handlers. Source: seed 001, ``rateLimitMiddleware``; the middleware guide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import RequestContext
from venturekit.runtime.errors import RateLimitError
from venturekit.runtime.middleware.base import MiddlewareError, is_async
from venturekit.runtime.middleware.steps import NEXT, from_steps
from venturekit.runtime.patterns.rate_limiter import RateLimitDecision, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware

    RateLimitCheck = RateLimiter | Callable[[str, Any], Any]

REMAINING: Final = "RateLimit-Remaining"
_MAPPED: Final = bytes(10) + b"\xff\xff"


def rate_limit_middleware(
    check: RateLimitCheck,
    *,
    key: Callable[[Any], Any] | None = None,
    skip_internal: bool = True,
    headers: bool = True,
) -> Middleware:
    """Refuses with 429 what is too much::

        limited = rate_limit_middleware(create_default_rate_limiter())
        main = handler(search, middleware=[limited])

    ``check``: a limiter, or a function of key and context that gives a ``RateLimitDecision`` or whether to go on.
    ``key``: a function of the context that says whose requests are counted together, None for those that are not
    counted; without it that is the caller's address (of an IPv6 address its network, the first 64 bits, for whoever has
    one address has them all), and in a task the function. Behind a proxy of your own every request has the proxy's
    address: give a ``key`` then. ``skip_internal``: calls from other functions are not counted. ``headers``: responses
    have ``RateLimit-Limit``, ``RateLimit-Remaining`` and ``RateLimit-Reset`` (seconds); of several limits in one chain
    that with the fewest left. A refusal has ``Retry-After`` in any case. In a task RateLimitError is raised.

    In asynchronous chains ``check`` and ``key`` may be coroutine functions, and stores asynchronous.

    Raises TypeError for a check that is none. Source: seed 001, ``rateLimitMiddleware``.
    """
    if not callable(check) and not isinstance(check, RateLimiter):
        raise MiddlewareError(f"{check!r} cannot check a rate: create_rate_limiter(...) makes what can")
    ask = (lambda found, ctx: check.ask(found)) if isinstance(check, RateLimiter) else check
    waits = check.is_async if isinstance(check, RateLimiter) else is_async(check)

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        if skip_internal and ctx.is_internal:
            return (yield NEXT)
        found = _usual_key(ctx) if key is None else key(ctx)
        if hasattr(found, "__await__"):
            found = yield found
        if found is None:
            return (yield NEXT)
        decision = ask(str(found), ctx)
        if hasattr(decision, "__await__"):
            decision = yield decision
        _apply(decision, ctx, headers=headers)
        return (yield NEXT)

    return from_steps("rate_limit", steps, waits=waits or (key is not None and is_async(key)))


def _apply(decision: Any, ctx: BaseContext, *, headers: bool) -> None:
    if isinstance(decision, bool):
        if not decision:
            raise RateLimitError()
        return
    if not isinstance(decision, RateLimitDecision):
        raise MiddlewareError(
            f"the check of a rate limit gave {decision!r}: a RateLimitDecision, or True or False, is expected"
        )
    reset_seconds = max(1, math.ceil(decision.reset_seconds))
    if headers and decision.known and isinstance(ctx, RequestContext):
        shown = ctx.response_headers.get(REMAINING)
        if shown is None or not decision.allowed or decision.remaining < int(shown):
            ctx.response_headers["RateLimit-Limit"] = str(decision.limit)
            ctx.response_headers[REMAINING] = str(decision.remaining)
            ctx.response_headers["RateLimit-Reset"] = str(reset_seconds)
    if not decision.allowed:
        raise RateLimitError(reset_seconds)


def _usual_key(ctx: BaseContext) -> str:
    if isinstance(ctx, RequestContext):
        return network_of(ctx.source_ip) or "unknown"
    return getattr(ctx, "function_name", "") or "task"


def network_of(address: str) -> str:
    """What stands for the owner of an address: an IPv4 address itself, of an IPv6 address the first 64 bits."""
    if ":" not in address:
        return address
    from socket import AF_INET6, inet_ntop, inet_pton

    try:
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return address
    if packed.startswith(_MAPPED):
        return ".".join(map(str, packed[12:]))
    return f"{inet_ntop(AF_INET6, packed[:8] + bytes(8))}/64"
