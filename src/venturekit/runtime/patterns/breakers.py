"""Circuit breakers around calls: the built-in ones of ``invoke()``, and those of one's own.

Source: seed 001, ``configureCircuitBreaker``, ``createCircuitBreaker``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from venturekit.runtime._process import state
from venturekit.runtime.patterns.circuit_breaker import (
    FAILURE_THRESHOLD,
    RESET_TIMEOUT_MS,
    BreakerMachine,
    BreakerState,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    T = TypeVar("T")

_NOTHING: Final[Any] = object()
_TARGETS_LIMIT: Final = 10_000


class CircuitOpenError(Exception):
    """The breaker is open and there is no fallback: nothing was called."""


class CircuitBreaker:
    """A breaker around any call::

        payments = create_circuit_breaker(failure_threshold=3)
        receipt = payments.call(lambda: charge(card), fallback=None)

    ``is_failure(error)`` tells which exceptions count; every one, unless it is given. What does not count is raised as
    it is, and is an answer of the target like any other: failures are no longer in a row. State is kept in memory, by
    this execution environment alone.
    """

    def __init__(
        self,
        *,
        failure_threshold: int = FAILURE_THRESHOLD,
        reset_timeout_ms: int = RESET_TIMEOUT_MS,
        is_failure: Callable[[Exception], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = BreakerMachine(failure_threshold, reset_timeout_ms)
        self._is_failure = is_failure
        self._clock = clock
        # Threads of one environment may share a breaker; a probe must be one probe.
        from threading import Lock

        self._lock = Lock()

    @property
    def state(self) -> BreakerState:
        """Whether calls are made."""
        return self._machine.state

    def may_call(self) -> bool:
        """Whether a call should be made now; its outcome must then be told by ``succeeded`` or ``failed``."""
        with self._lock:
            return self._machine.may_call(self._clock() * 1000)

    def succeeded(self) -> None:
        """The call went well."""
        with self._lock:
            self._machine.succeeded()

    def failed(self) -> None:
        """The call failed."""
        with self._lock:
            self._machine.failed(self._clock() * 1000)

    def call(self, function: Callable[[], T], fallback: Any = _NOTHING) -> T:
        """The result of a function, or the fallback: when it failed, and when it was not called.

        Raises CircuitOpenError, or what the function raised, when there is no fallback.
        """
        if not self.may_call():
            return self._instead(fallback)  # type: ignore[no-any-return]
        try:
            result = function()
        except Exception as error:
            if self._counts(error) and fallback is not _NOTHING:
                return fallback  # type: ignore[no-any-return]
            raise
        self.succeeded()
        return result

    async def acall(self, function: Callable[[], Awaitable[T]], fallback: Any = _NOTHING) -> T:
        """The same for a coroutine function."""
        if not self.may_call():
            return self._instead(fallback)  # type: ignore[no-any-return]
        try:
            result = await function()
        except Exception as error:
            if self._counts(error) and fallback is not _NOTHING:
                return fallback  # type: ignore[no-any-return]
            raise
        self.succeeded()
        return result

    def _counts(self, error: Exception) -> bool:
        if self._is_failure is not None and not self._is_failure(error):
            # The target has answered: to a probe that is an answer too.
            self.succeeded()
            return False
        self.failed()
        return True

    def _instead(self, fallback: Any) -> Any:
        if fallback is _NOTHING:
            raise CircuitOpenError("the circuit is open: the target has failed too often lately")
        return fallback


class Breakers:
    """The built-in breakers, one for each target, all with the same limits."""

    def __init__(self) -> None:
        self.failure_threshold = FAILURE_THRESHOLD
        self.reset_timeout_ms = RESET_TIMEOUT_MS
        self._of_target: dict[str, CircuitBreaker] = {}

    def of(self, target: str) -> CircuitBreaker:
        """The breaker of a target."""
        breaker = self._of_target.get(target)
        if breaker is None:
            if len(self._of_target) >= _TARGETS_LIMIT:
                del self._of_target[next(iter(self._of_target))]
            breaker = self._of_target[target] = CircuitBreaker(
                failure_threshold=self.failure_threshold, reset_timeout_ms=self.reset_timeout_ms
            )
        return breaker

    def configure(self, failure_threshold: int, reset_timeout_ms: int) -> None:
        """Other limits, for all targets; those that were counted start anew."""
        BreakerMachine(failure_threshold, reset_timeout_ms)  # raises for limits that make no breaker
        self.failure_threshold = failure_threshold
        self.reset_timeout_ms = reset_timeout_ms
        self._of_target.clear()


def breakers() -> Breakers:
    """The built-in breakers of this process."""
    if state.breakers is None:
        state.breakers = Breakers()
    return state.breakers  # type: ignore[no-any-return]


def configure_circuit_breaker(
    *, failure_threshold: int = FAILURE_THRESHOLD, reset_timeout_ms: int = RESET_TIMEOUT_MS
) -> None:
    """Set the limits of the breakers built into ``invoke()``; once, where the function starts (seed 001)::

        configure_circuit_breaker(failure_threshold=3, reset_timeout_ms=60_000)

    Raises ValueError.
    """
    breakers().configure(failure_threshold, reset_timeout_ms)


def create_circuit_breaker(
    *,
    failure_threshold: int = FAILURE_THRESHOLD,
    reset_timeout_ms: int = RESET_TIMEOUT_MS,
    is_failure: Callable[[Exception], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> CircuitBreaker:
    """A breaker for calls that are not ``invoke()`` (seed 001). Raises ValueError."""
    return CircuitBreaker(
        failure_threshold=failure_threshold, reset_timeout_ms=reset_timeout_ms, is_failure=is_failure, clock=clock
    )
