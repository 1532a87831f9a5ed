"""Circuit breakers around calls: the built-in ones of ``invoke()``, and those of one's own.

Source: seed 001, ``configureCircuitBreaker``, ``createCircuitBreaker``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from venturekit.runtime._process import state
from venturekit.runtime.patterns.circuit_breaker import (
    FAILURE_THRESHOLD,
    RESET_TIMEOUT_MS,
    BreakerMachine,
    BreakerState,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from venturekit.runtime.patterns.records import RecordStore

    T = TypeVar("T")

_NOTHING: Final[Any] = object()
_TARGETS_LIMIT: Final = 10_000


class CircuitOpenError(Exception):
    """The breaker is open and there is no fallback: nothing was called."""


class BreakerReport(NamedTuple):
    """A breaker as this environment sees it.

    ``failures`` are those in a row while it is closed; in ``retry_in_ms`` milliseconds a call is tried, 0 for now.
    """

    name: str | None
    state: BreakerState
    failures: int
    retry_in_ms: float
    is_shared: bool


class CircuitBreaker:
    """A breaker around any call::

        payments = create_circuit_breaker(failure_threshold=3)
        receipt = payments.call(lambda: charge(card), fallback=None)

    ``is_failure(error)`` tells which exceptions count; every one, unless it is given. What does not count is raised as
    it is, and is an answer of the target like any other: failures are no longer in a row. State is kept in memory, by
    this execution environment alone, unless there is a store (``create_circuit_breaker``).
    """

    is_shared = False
    instead_of_blocking = "acall() and amay_call(), or a store that blocks"
    """What an error says to do where nothing can be awaited."""

    def __init__(
        self,
        *,
        failure_threshold: int = FAILURE_THRESHOLD,
        reset_timeout_ms: int = RESET_TIMEOUT_MS,
        is_failure: Callable[[Exception], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        name: str | None = None,
    ) -> None:
        self.name = name
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

    def inspect(self) -> BreakerReport:
        """All that is known of it here, without asking a store."""
        with self._lock:
            machine = self._machine
            retry_in_ms = machine.retry_in_ms(self._clock() * 1000)
            return BreakerReport(self.name, machine.state, machine.failures, retry_in_ms, self.is_shared)

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

    async def amay_call(self) -> bool:
        """The same as ``may_call``, for breakers whose store is asynchronous too; and so on."""
        return self.may_call()

    async def asucceeded(self) -> None:
        """The call went well."""
        self.succeeded()

    async def afailed(self) -> None:
        """The call failed."""
        self.failed()

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
        if not self._is_counted(error):
            # The target has answered: to a probe that is an answer too.
            self.succeeded()
            return False
        self.failed()
        return True

    def _is_counted(self, error: Exception) -> bool:
        return self._is_failure is None or self._is_failure(error)

    def _instead(self, fallback: Any) -> Any:
        if fallback is _NOTHING:
            raise CircuitOpenError("the circuit is open: the target has failed too often lately")
        return fallback


class Breakers:
    """The built-in breakers, one for each target, all with the same limits."""

    def __init__(self) -> None:
        self.failure_threshold = FAILURE_THRESHOLD
        self.reset_timeout_ms = RESET_TIMEOUT_MS
        self.store: RecordStore | None = None
        self._of_target: dict[str, CircuitBreaker] = {}

    def of(self, target: str) -> CircuitBreaker:
        """The breaker of a target."""
        breaker = self._of_target.get(target)
        if breaker is None:
            if len(self._of_target) >= _TARGETS_LIMIT:
                del self._of_target[next(iter(self._of_target))]
            breaker = self._of_target[target] = create_circuit_breaker(
                failure_threshold=self.failure_threshold,
                reset_timeout_ms=self.reset_timeout_ms,
                name=f"invoke:{target}",
                store=self.store,
            )
            breaker.instead_of_blocking = "ainvoke(), or a store that blocks"
        return breaker

    def configure(self, failure_threshold: int, reset_timeout_ms: int, store: RecordStore | None = None) -> None:
        """Other limits, for all targets; those that were counted start anew."""
        BreakerMachine(failure_threshold, reset_timeout_ms)  # raises for limits that make no breaker
        if store is not None:
            check_store(store)
        self.failure_threshold = failure_threshold
        self.reset_timeout_ms = reset_timeout_ms
        self.store = store
        self._of_target.clear()

    def reports(self) -> list[BreakerReport]:
        """All of them, in the order in which they were first used."""
        return [breaker.inspect() for breaker in list(self._of_target.values())]


def check_store(store: Any) -> None:
    """Raises TypeError for what is no store of records."""
    if not callable(getattr(store, "read", None)) or not callable(getattr(store, "write", None)):
        raise TypeError(f"{store!r} is no store of records: it has no read() and write()")


def breakers() -> Breakers:
    """The built-in breakers of this process."""
    if state.breakers is None:
        state.breakers = Breakers()
    return state.breakers  # type: ignore[no-any-return]


def list_circuit_breakers() -> list[BreakerReport]:
    """The breakers built into ``invoke()`` that this process has used, with their states::

        open_ones = [report.name for report in list_circuit_breakers() if report.state.value == "open"]

    What all environments share is in their store: ``list_shared_breakers``.
    """
    return breakers().reports()


def configure_circuit_breaker(
    *,
    failure_threshold: int = FAILURE_THRESHOLD,
    reset_timeout_ms: int = RESET_TIMEOUT_MS,
    store: RecordStore | None = None,
) -> None:
    """Set the limits of the breakers built into ``invoke()``; once, where the function starts (seed 001)::

        configure_circuit_breaker(failure_threshold=3, reset_timeout_ms=60_000)

    ``store``: all environments with this store share what they know of a target (``create_circuit_breaker``). With one
    that is asynchronous calls that have a fallback are made by ``ainvoke()``.

    Raises ValueError, TypeError.
    """
    breakers().configure(failure_threshold, reset_timeout_ms, store)


def create_circuit_breaker(
    *,
    failure_threshold: int = FAILURE_THRESHOLD,
    reset_timeout_ms: int = RESET_TIMEOUT_MS,
    is_failure: Callable[[Exception], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
    name: str | None = None,
    store: RecordStore | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> CircuitBreaker:
    """A breaker for calls that are not ``invoke()`` (seed 001)::

        payments = create_circuit_breaker(name="payments", store=create_default_breaker_store())

    With a ``store`` all breakers of one ``name`` know when one of them opens or closes, within a second, and one of all
    of them is the probe. Failures are counted by each alone. A store that is down is logged once, and until it is back
    each decides for itself. ``clock`` gives seconds that only go on, ``wall_clock`` epoch seconds.

    Raises ValueError for limits that make no breaker, and for a store without a name; TypeError for what is no store.
    """
    if store is None:
        return CircuitBreaker(
            failure_threshold=failure_threshold,
            reset_timeout_ms=reset_timeout_ms,
            is_failure=is_failure,
            clock=clock,
            name=name,
        )
    from venturekit.runtime.patterns.shared_breakers import SharedCircuitBreaker

    return SharedCircuitBreaker(
        failure_threshold=failure_threshold,
        reset_timeout_ms=reset_timeout_ms,
        is_failure=is_failure,
        clock=clock,
        name=name,
        store=store,
        wall_clock=wall_clock,
    )
