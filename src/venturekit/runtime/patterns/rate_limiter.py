"""Rate limits in fixed windows: how many times something may be done with one key in so many seconds.

A window begins at a multiple of its length, for all keys at once, and with it everybody's count at nothing: around the
end of a window up to twice the limit may pass. In return a limit is one number to count up, atomically, in any store.

Source: seed 001 and the middleware guide: 100 requests a minute for each address, 20 for authentication.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime import environ
from venturekit.runtime.context import current_context
from venturekit.runtime.errors import ServiceUnavailableError, TaskTimeoutError
from venturekit.runtime.middleware.base import is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Literal

    from venturekit.runtime.patterns.rate_limit_stores import RateLimitStore

    OnStoreError = Literal["allow", "deny"]

PRESETS: Final[dict[str, tuple[int, int, OnStoreError]]] = {"default": (100, 60, "allow"), "auth": (20, 60, "deny")}
"""Limit, seconds, and what happens while the store is down. Guessing passwords must not be free then."""
LONGEST_KEY: Final = 200


class RateLimitDecision(NamedTuple):
    """Whether to go on, out of how many, how many are left, and in how many seconds they are new.

    ``known`` is False when the store could not be asked and the limiter lets through then.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float
    known: bool = True


class Window(NamedTuple):
    """One window of a limit, in epoch seconds."""

    number: int
    ends_at: float


def window_at(now: float, window_seconds: float) -> Window:
    """The window that a moment is in."""
    number = int(now // window_seconds)
    return Window(number, (number + 1) * window_seconds)


def decide(count: int, limit: int, window: Window, now: float) -> RateLimitDecision:
    """What the ``count``-th request of a window gets."""
    return RateLimitDecision(count <= limit, limit, max(0, limit - count), max(0.0, window.ends_at - now))


class _Pending:
    """A decision that has to be awaited; whoever cannot do so closes what it waits for."""

    __slots__ = ("_counted", "_limiter", "_now", "_window")

    def __init__(self, limiter: RateLimiter, counted: Awaitable[int], window: Window, now: float) -> None:
        self._limiter = limiter
        self._counted = counted
        self._window = window
        self._now = now

    def __await__(self) -> Generator[Any, Any, RateLimitDecision]:
        return self._limiter._awaited(self._counted, self._window, self._now).__await__()

    def close(self) -> None:
        close = getattr(self._counted, "close", None)
        if close is not None:
            close()


class RateLimiter:
    """Counts by key: ``create_rate_limiter`` makes it, ``rate_limit_middleware`` asks it, and so may anyone else::

        attempts = create_rate_limiter(limit=5, window_seconds=300, name="login", on_store_error="deny")
        if not attempts.check(email).allowed:
            raise RateLimitError(300)

    ``name`` tells limiters apart that share a store: those of one name count together.
    """

    __slots__ = ("_clock", "_store", "is_async", "limit", "name", "on_store_error", "window_seconds")

    def __init__(
        self,
        *,
        limit: int,
        window_seconds: float,
        store: RateLimitStore | None = None,
        name: str = "default",
        on_store_error: OnStoreError = "allow",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if limit < 1 or window_seconds <= 0:
            raise ValueError("limit is at least 1, and window_seconds more than 0")
        if on_store_error not in ("allow", "deny"):
            raise ValueError(f"on_store_error is 'allow' or 'deny', and not {on_store_error!r}")
        self.limit = limit
        self.window_seconds = window_seconds
        self.name = name
        self.on_store_error = on_store_error
        self._clock = clock
        self._store = default_store() if store is None else store
        if not callable(getattr(self._store, "increment", None)):
            raise TypeError(f"{store!r} is no store of a rate limiter: it has no increment(id, now, expires_at)")
        # Whether the store is known to answer with awaitables before it was asked.
        self.is_async = is_async(self._store.increment)

    def check(self, key: str, ctx: Any = None) -> RateLimitDecision:
        """Count one more for a key, and say whether it is within the limit.

        Raises ServiceUnavailableError when the store is down and the limiter refuses then, TypeError when the store is
        asynchronous: ``acheck`` is for that.
        """
        decision = self.ask(key)
        if isinstance(decision, RateLimitDecision):
            return decision
        decision.close()
        raise TypeError("the store of this rate limiter is asynchronous: use `await limiter.acheck(key)`")

    async def acheck(self, key: str, ctx: Any = None) -> RateLimitDecision:
        """The same for any store, within an event loop."""
        decision = self.ask(key)
        return decision if isinstance(decision, RateLimitDecision) else await decision

    def ask(self, key: str) -> RateLimitDecision | _Pending:
        """The decision, to be awaited if the store is asynchronous."""
        now = self._clock()
        window = window_at(now, self.window_seconds)
        try:
            count = self._store.increment(self._id(key, window), now, window.ends_at)
        except Exception as error:
            return self._without_store(error, window, now)
        if isinstance(count, int):
            return decide(count, self.limit, window, now)
        return _Pending(self, count, window, now)

    async def _awaited(self, counted: Awaitable[int], window: Window, now: float) -> RateLimitDecision:
        try:
            count = await counted
        except Exception as error:
            return self._without_store(error, window, now)
        return decide(count, self.limit, window, now)

    def _id(self, key: str, window: Window) -> str:
        if len(key) > LONGEST_KEY:
            # Whoever chooses the key must not choose how much is kept of it.
            from hashlib import sha256

            key = f"sha256:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return f"{self.name}#{self.window_seconds:g}#{window.number}#{key}"

    def _without_store(self, error: Exception, window: Window, now: float) -> RateLimitDecision:
        from venturekit.runtime.middleware.timeouts import RequestTimeoutError

        if isinstance(error, TaskTimeoutError | RequestTimeoutError):
            # The time of the request is over, which says nothing of the store.
            raise error
        opens = self.on_store_error == "allow"
        fields = {"limiter": self.name, "errorType": type(error).__name__, "errorMessage": str(error)}
        message = "the store of the rate limiter is down: the request is let through unlimited"
        if not opens:
            message = "the store of the rate limiter is down: the request is refused"
        _logger().warn(message, fields)
        if not opens:
            raise ServiceUnavailableError("The rate limiter") from error
        return RateLimitDecision(True, self.limit, self.limit, max(0.0, window.ends_at - now), known=False)

    def __repr__(self) -> str:
        return f"RateLimiter({self.name}: {self.limit} in {self.window_seconds:g} s)"


def create_rate_limiter(
    *,
    limit: int,
    window_seconds: float,
    store: RateLimitStore | None = None,
    name: str = "default",
    on_store_error: OnStoreError = "allow",
    clock: Callable[[], float] = time.time,
) -> RateLimiter:
    """A limiter of one's own::

        uploads = create_rate_limiter(limit=10, window_seconds=3600, name="uploads")
        main = handler(upload, middleware=[rate_limit_middleware(uploads, key=lambda ctx: ctx.user.id)])

    Windows are fixed: around the end of one, up to twice the limit may pass. Without a ``store`` it counts where the
    default limiters do. While the store is down, ``on_store_error="allow"`` lets everything through, and ``"deny"``
    refuses everything with 503; both log a warning. ``clock`` gives epoch seconds.

    Raises ValueError and TypeError. Source: seed 001, ``rateLimitMiddleware``.
    """
    return RateLimiter(
        limit=limit,
        window_seconds=window_seconds,
        store=store,
        name=name,
        on_store_error=on_store_error,
        clock=clock,
    )


def create_default_rate_limiter(
    preset: Literal["default", "auth"] = "default", store: RateLimitStore | None = None
) -> RateLimiter:
    """One of the two documented limiters: ``rate_limit_middleware(create_default_rate_limiter("auth"))``

    ``default``: 100 requests a minute for each address; while the store is down it lets through. ``auth``: 20 a minute,
    for what can be guessed; while the store is down it refuses with 503.

    Without a ``store``, they count in DynamoDB in a Lambda function that has the variable ``VENTURE_RATE_LIMIT_TABLE``,
    or is on AWS itself (table ``venturekit-rate-limits``). Elsewhere they count in memory, each execution environment
    by itself.

    Raises ValueError for another preset. Source: the middleware guide, ``createDefaultRateLimiter``.
    """
    if preset not in PRESETS:
        raise ValueError(f"{preset!r} is no preset of the rate limiter: {', '.join(PRESETS)} are")
    limit, window_seconds, on_store_error = PRESETS[preset]
    return RateLimiter(
        limit=limit, window_seconds=window_seconds, store=store, name=preset, on_store_error=on_store_error
    )


def default_store() -> RateLimitStore:
    """Where limiters count that were not told: DynamoDB where it can be expected, else memory.

    DynamoDB in a Lambda function that has the variable ``VENTURE_RATE_LIMIT_TABLE``, or is on AWS, where the table is
    ``venturekit-rate-limits``. In memory each execution environment counts by itself.
    """
    table = environ.rate_limit_table()
    if table is None:
        from venturekit.runtime.patterns.rate_limit_stores import MemoryRateLimitStore

        return MemoryRateLimitStore()
    from venturekit.runtime.patterns.rate_limit_stores_dynamodb import DynamoDbRateLimitStore

    return DynamoDbRateLimitStore(table)


def _logger() -> Any:
    ctx = current_context()
    if ctx is not None:
        return ctx.logger
    from venturekit.runtime.logs import logger

    return logger
