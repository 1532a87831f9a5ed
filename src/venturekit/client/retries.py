"""When to try again, and how long to wait before: no I/O, and chance is an argument.

Source: AWS SDKs and Tools Reference Guide, "Retry behavior", the standard mode; ``Retry-After`` of RFC 9110 besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.client.errors import (
    ConnectError,
    LambdaClientError,
    LambdaServiceException,
    PoolError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ATTEMPTS: Final = 3
LONGEST_DELAY_SECONDS: Final = 20.0
_THROTTLE_SECONDS: Final = 1.0
_USUAL_SECONDS: Final = 0.05
_QUOTA: Final = 500
_RETRY_COST: Final = 5
_TIMEOUT_COST: Final = 10
_REFUND: Final = 1


class RetryQuota:
    """How many more retries a client makes while the service is down: each costs, successes give some back.

    Threads may share it; a lost update costs or spares a retry, nothing else.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _QUOTA

    def take(self, cost: int) -> bool:
        """Whether there is so much left; then it is taken."""
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def succeeded(self, paid: int) -> None:
        """A call went well; ``paid`` is what its last retry took."""
        if self._left < _QUOTA:
            self._left = min(self._left + (paid or _REFUND), _QUOTA)


class Attempts:
    """The attempts of one call.

    ``may_repeat``: carrying it out twice does no harm, or the caller has asked for it.
    """

    __slots__ = ("_chance", "_may_repeat", "_most", "_paid", "_quota", "made")

    def __init__(self, most: int, quota: RetryQuota, *, may_repeat: bool, chance: Callable[[], float]) -> None:
        self._most = most
        self._quota = quota
        self._may_repeat = may_repeat
        self._chance = chance
        self._paid = 0
        self.made = 1

    def succeeded(self) -> None:
        """The call went well."""
        self._quota.succeeded(self._paid)

    def delay(self, error: LambdaClientError) -> float | None:
        """The seconds to wait before the next attempt; None: there is none."""
        if self.made >= self._most or not self._is_repeatable(error):
            return None
        asked = error.retry_after if isinstance(error, LambdaServiceException) else None
        if asked is not None and asked > LONGEST_DELAY_SECONDS:
            # Asking earlier would be in vain, and nobody expects a call to wait so long.
            return None
        cost = _TIMEOUT_COST if isinstance(error, TransportError) else _RETRY_COST
        if not self._quota.take(cost):
            return None
        self._paid = cost
        is_throttle = isinstance(error, LambdaServiceException) and error.is_throttle
        base = _THROTTLE_SECONDS if is_throttle else _USUAL_SECONDS
        seconds: float = min(self._chance() * base * 2 ** (self.made - 1), LONGEST_DELAY_SECONDS)
        self.made += 1
        return seconds if asked is None else max(asked, seconds)

    def _is_repeatable(self, error: LambdaClientError) -> bool:
        if isinstance(error, LambdaServiceException):
            # Of an invocation that was throttled the function has not run.
            if error.is_throttle or error.is_transient:
                return True
            return self._may_repeat and error.outcome_unknown
        if isinstance(error, PoolError):
            # It has waited for as long as it may.
            return False
        return isinstance(error, ConnectError) or (self._may_repeat and isinstance(error, TransportError))
