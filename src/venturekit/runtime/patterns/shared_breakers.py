"""Circuit breakers that execution environments share: one record for each, which is written when its state changes.

Whoever is told of a state takes it over; whoever finds that it has been written meanwhile looks first. So of all that
would be the probe after the reset timeout one writes the record, and is.
"""

from __future__ import annotations

import time
from os import urandom
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.context import current_context
from venturekit.runtime.errors import TaskError, VentureError
from venturekit.runtime.patterns.breakers import _NOTHING, CircuitBreaker, check_store
from venturekit.runtime.patterns.circuit_breaker import (
    FAILURE_THRESHOLD,
    RESET_TIMEOUT_MS,
    Answer,
    BreakerState,
    SharedMachine,
    Transition,
)
from venturekit.runtime.patterns.driving import AsyncStoreError, adrive, drive
from venturekit.runtime.patterns.record_checks import ForeignRecordError, check_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from venturekit.runtime.patterns.records import Record, RecordStore

    Flow = Generator[Any, Any, Any]

REFRESH_MS: Final = 1000
"""How old what is known of the others may be."""
LONGEST_PAUSE_MS: Final = 60_000
KEPT_SECONDS: Final = 86_400
KEYS: Final[Mapping[str, str]] = {"kind": "breaker"}
_NOT_OF_THE_STORE: Final = (VentureError, TaskError, AsyncStoreError)


class SharedCircuitBreaker(CircuitBreaker):
    """A breaker whose state is that of all with its name and store: ``create_circuit_breaker(name=..., store=...)``.

    The store is read once a second at most, by one call; it is written when the state changes. When it is down, that is
    logged once, it is asked ever less often, up to once a minute, and this environment decides by itself.

    Raises ValueError, TypeError.
    """

    is_shared = True

    def __init__(
        self,
        *,
        name: str | None,
        store: RecordStore,
        failure_threshold: int = FAILURE_THRESHOLD,
        reset_timeout_ms: int = RESET_TIMEOUT_MS,
        is_failure: Callable[[Exception], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            failure_threshold=failure_threshold,
            reset_timeout_ms=reset_timeout_ms,
            is_failure=is_failure,
            clock=clock,
            name=name,
        )
        if not name:
            raise ValueError("a breaker with a store needs a name: those of one name share their state")
        check_text("the name of a breaker", name)
        check_store(store)
        self._id = name
        self._store = store
        self._machine: SharedMachine = SharedMachine(failure_threshold, reset_timeout_ms)
        self._wall_clock = wall_clock
        self._owner = urandom(8).hex()
        self._look_at_ms = float("-inf")
        self._pause_ms: float = REFRESH_MS
        self._is_down = False

    def may_call(self) -> bool:
        """Whether a call should be made now; its outcome must then be told by ``succeeded`` or ``failed``."""
        return drive(self._may_call(), instead=self.instead_of_blocking)  # type: ignore[no-any-return]

    def succeeded(self) -> None:
        """The call went well."""
        drive(self._succeeded(), instead=self.instead_of_blocking)

    def failed(self) -> None:
        """The call failed."""
        drive(self._failed(), instead=self.instead_of_blocking)

    async def amay_call(self) -> bool:
        """The same as ``may_call``, for any store; and so on."""
        return await adrive(self._may_call())

    async def asucceeded(self) -> None:
        """The call went well."""
        await adrive(self._succeeded())

    async def afailed(self) -> None:
        """The call failed."""
        await adrive(self._failed())

    async def acall(self, function: Callable[[], Awaitable[Any]], fallback: Any = _NOTHING) -> Any:
        """The result of a coroutine function, or the fallback: as with ``call``."""
        if not await self.amay_call():
            return self._instead(fallback)
        try:
            result = await function()
        except Exception as error:
            if not self._is_counted(error):
                await self.asucceeded()
                raise
            await self.afailed()
            if fallback is not _NOTHING:
                return fallback
            raise
        await self.asucceeded()
        return result

    # --- what is decided, and told --------------------------------------------------------------------------------

    def _may_call(self) -> Flow:
        now_ms = self._clock() * 1000
        with self._lock:
            looks = now_ms >= self._look_at_ms
            if looks:
                # The others go on with what is known meanwhile.
                self._look_at_ms = now_ms + self._pause_ms
        if looks:
            yield from self._look()
        with self._lock:
            answer = self._machine.asked(now_ms)
        if answer is not Answer.ELECT:
            return answer is Answer.CALL
        won: bool | None = False
        try:
            won = yield from self._tell(BreakerState.HALF_OPEN)
        finally:
            with self._lock:
                # Without a store there is nobody to be elected by.
                self._machine.not_elected() if won is False else self._machine.elected(now_ms)
        if won is False:
            yield from self._look()
        return won is not False

    def _succeeded(self) -> Flow:
        with self._lock:
            state = self._machine.told_success()
        if state is not None:
            yield from self._tell_outcome(state)

    def _failed(self) -> Flow:
        with self._lock:
            was_probe = self._machine.is_probe
            state = self._machine.told_failure(self._clock() * 1000)
        if state is None:
            return
        if was_probe:
            yield from self._tell_outcome(state)
        elif (yield from self._tell(state)) is False:
            news = yield from self._read()
            if news is not None and news.state is BreakerState.CLOSED:
                # They had not met these failures when they closed it.
                with self._lock:
                    self._machine.seen = news
                if (yield from self._tell(state)) is not False:
                    return
            yield from self._look()

    def _tell_outcome(self, state: BreakerState) -> Flow:
        """Tell what the probe has shown, unless another one has been elected since."""
        if (yield from self._tell(state)) is not False:
            return
        news = yield from self._read()
        if news is not None and news.owner == self._owner and news.state is BreakerState.HALF_OPEN:
            # It was elected after all: the answer of the store was lost.
            with self._lock:
                self._machine.seen = news
            if (yield from self._tell(state)) is not False:
                return
        yield from self._look()

    # --- the store ------------------------------------------------------------------------------------------------

    def _tell(self, state: BreakerState) -> Generator[Any, Any, bool | None]:
        """Whether the record was written over what was seen; None when the store is down."""
        now = self._wall_clock()
        with self._lock:
            version = self._machine.version
        value = {"state": state.value, "at": now, "owner": self._owner}
        try:
            won = yield self._store.write(
                self._id, value, now, version=version, expires_at=now + KEPT_SECONDS, keys=KEYS
            )
        except _NOT_OF_THE_STORE:
            raise
        except Exception as error:
            self._went_down(error)
            return None
        self._is_back()
        if won:
            with self._lock:
                self._machine.seen = Transition(state, now, self._owner, version + 1)
        return bool(won)

    def _look(self) -> Flow:
        """Take over what the others have told."""
        try:
            record = yield self._store.read(self._id, self._wall_clock())
            news = transition_of(record)
        except _NOT_OF_THE_STORE:
            raise
        except Exception as error:
            self._went_down(error)
            return
        self._is_back()
        age_ms = 0.0 if news is None else (self._wall_clock() - news.at) * 1000
        with self._lock:
            self._machine.learned(news, age_ms, self._clock() * 1000)

    def _read(self) -> Generator[Any, Any, Transition | None]:
        try:
            record = yield self._store.read(self._id, self._wall_clock())
            return transition_of(record)
        except _NOT_OF_THE_STORE:
            raise
        except Exception as error:
            self._went_down(error)
            return None

    def _went_down(self, error: Exception) -> None:
        with self._lock:
            first, self._is_down = not self._is_down, True
            self._pause_ms = min(self._pause_ms * 2, LONGEST_PAUSE_MS)
            self._look_at_ms = self._clock() * 1000 + self._pause_ms
        if first:
            fields = {"breaker": self.name, "errorType": type(error).__name__, "errorMessage": str(error)}
            _logger().warn("the store of the circuit breaker is down: this environment decides by itself", fields)

    def _is_back(self) -> None:
        with self._lock:
            again, self._is_down = self._is_down, False
            self._pause_ms = REFRESH_MS
            if again:
                self._look_at_ms = min(self._look_at_ms, self._clock() * 1000 + REFRESH_MS)
        if again:
            _logger().info("the store of the circuit breaker is back", {"breaker": self.name})


class SharedBreakerReport(NamedTuple):
    """A breaker as its store has it: its state since ``at``, in epoch seconds."""

    name: str
    state: BreakerState
    at: float


def list_shared_breakers(store: RecordStore, *, limit: int = 1000) -> list[SharedBreakerReport]:
    """The states of the breakers that a store knows, by name; ``limit`` at most. One that never opened is not there::

        for report in list_shared_breakers(create_default_breaker_store()):
            print(report.name, report.state.value)

    Raises what the store raises, ForeignRecordError, AsyncStoreError: ``alist_shared_breakers`` is for any store.
    """
    return drive(_listed(store, limit), instead="alist_shared_breakers()")


async def alist_shared_breakers(store: RecordStore, *, limit: int = 1000) -> list[SharedBreakerReport]:
    """The same for any store, within an event loop."""
    return await adrive(_listed(store, limit))


def _listed(store: RecordStore, limit: int) -> Generator[Any, Any, list[SharedBreakerReport]]:
    ((key, value),) = KEYS.items()
    found: list[SharedBreakerReport] = []
    after: str | None = None
    while len(found) < limit:
        page = yield store.find(key, value, time.time(), limit=min(100, limit - len(found)), after=after)
        for record in page.records:
            news = transition_of(record)
            assert news is not None
            found.append(SharedBreakerReport(record.id, news.state, news.at))
        after = page.after
        if after is None:
            break
    return found


def transition_of(record: Record | None) -> Transition | None:
    """What a record tells; None for none. Raises ForeignRecordError for what no breaker has written."""
    if record is None:
        return None
    value = record.value
    try:
        state, at = BreakerState(value.get("state")), value.get("at")
    except ValueError:
        state, at = None, None
    if state is None or not isinstance(at, int | float):
        raise ForeignRecordError(
            f"the record {record.id!r} was not written by a circuit breaker: give these a store of their own"
        )
    return Transition(state, at, str(value.get("owner")), record.version)


def _logger() -> Any:
    ctx = current_context()
    if ctx is not None:
        return ctx.logger
    from venturekit.runtime.logs import logger

    return logger
