"""How a saga is run: written down, done, written down. One flow for blocking and asynchronous stores and steps.

A record is written with the version that was read, so that of several who run one saga only one gets on; its lease
keeps the others from trying while a step runs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from venturekit.runtime.attempts import Deadline
from venturekit.runtime.context import NO_DEADLINE_MS, current_context
from venturekit.runtime.errors import TaskTimeoutError
from venturekit.runtime.patterns.saga_context import text_of_context
from venturekit.runtime.patterns.saga_errors import (
    SagaBusyError,
    SagaChangedError,
    SagaCompensationError,
    SagaSuspendedError,
)
from venturekit.runtime.patterns.saga_machine import Begin, SagaMachine
from venturekit.runtime.patterns.saga_outcomes import Attempt, is_cancellation
from venturekit.runtime.patterns.saga_record import (
    LISTED,
    SagaRecord,
    SagaResult,
    SagaStatus,
    StepRecord,
    StepState,
    error_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.patterns.records import RecordStore
    from venturekit.runtime.patterns.saga_definition import Definition
    from venturekit.runtime.patterns.saga_outcomes import Outcome

    Flow = Generator[Any, Any, SagaResult]

LEASE_SECONDS: Final = 60.0
SHORT_LEASE_MS: Final = 10_000
KEEP_SECONDS: Final = 30 * 86_400.0
STATE_KEY: Final = "state"
"""The key that a store finds sagas by: ``<name>#<status>``."""


class Worker(Protocol):
    """Who runs the attempts: see ``saga_workers``."""

    def begin(self, attempt: Attempt, *, alone: bool) -> None:
        """Take an attempt on."""

    def outcome(self) -> Any:
        """The next outcome, or an awaitable of it."""

    def abandon(self, *, wait: bool) -> Any:
        """Wait for what is in flight, or leave it; whether nothing goes on any more, or an awaitable of that."""


class Settings(NamedTuple):
    """What all runs of a saga share. ``lease_seconds`` is None for what the function's own time says."""

    definition: Definition
    store: RecordStore
    lease_seconds: float | None
    keep_seconds: float
    clock: Callable[[], float]


def store_id(name: str, id: str) -> str:
    """The id of a saga's record, which is also the beginning of its idempotency keys."""
    return f"{name}#{id.replace('%', '%25').replace('#', '%23')}"


class Run:
    """One run of one saga, from a record that was read, in ``version``; 0 if there is none yet."""

    __slots__ = ("_leases", "_machine", "_settings", "_version", "_waits_for", "_worker", "_written")

    def __init__(self, settings: Settings, record: SagaRecord, version: int, worker: Worker) -> None:
        self._settings = settings
        self._machine = SagaMachine(settings.definition, record)
        self._version = version
        self._worker = worker
        # Until when what is in flight may take, by the numbers of its steps.
        self._leases: dict[int, float] = {}
        # Why a step cannot go on with the saga that it runs itself.
        self._waits_for: BaseException | None = None
        self._written: dict[str, Any] = {}

    @property
    def record(self) -> SagaRecord:
        """The saga."""
        return self._machine.record

    def retry_compensations(self) -> None:
        """Try the compensations of a saga that has failed once more."""
        self._machine.retry_compensations()

    def flow(self) -> Flow:
        """Run it to its end. Raises SagaSuspendedError, SagaBusyError, SagaCompensationError, what the store raises."""
        machine = self._machine
        while True:
            try:
                begun = machine.advance(remaining_ms())
                yield from self._write(begun)
                for begin in begun:
                    self._worker.begin(self._attempt(begin), alone=begin.alone)
            except GeneratorExit:
                # Nobody is left who could wait.
                raise
            except BaseException as error:
                # Whoever began something waits for its end before it says that it cannot go on, if there is time.
                goes_on = isinstance(error, Exception) and not _is_limit(error)
                yield from self._give_up(wait=goes_on, releases=goes_on and not isinstance(error, SagaBusyError))
                raise
            if not machine.in_flight:
                break
            try:
                outcome: Outcome = yield self._worker.outcome()
            except GeneratorExit:
                raise
            except BaseException as error:
                yield from self._give_up(wait=False, releases=isinstance(error, Exception) or is_cancellation(error))
                raise
            self._take(outcome)
        if machine.short_of_time is not None:
            raise self._suspended(machine.short_of_time) from self._waits_for
        return ended(self.record)

    def _take(self, outcome: Outcome) -> None:
        """Tell the machine what became of an attempt."""
        machine, number = self._machine, outcome.number
        self._leases.pop(number, None)
        if outcome.is_interrupted:
            machine.interrupted(number)
            if isinstance(outcome.error, SagaBusyError | SagaSuspendedError):
                self._waits_for = outcome.error
        elif outcome.error is not None:
            machine.failed(number, error_of(outcome.error), uncertain=outcome.is_uncertain, final=outcome.is_final)
            self._log_failure(self.record.steps[number], outcome.error)
        else:
            machine.succeeded(number, outcome.context or {})

    def _log_failure(self, one: StepRecord, error: BaseException) -> None:
        fields: dict[str, Any] = {"step": one.name}
        if one.state is StepState.COMPENSATION_FAILED:
            log("error", "a compensation of the saga has failed for good", self.record, fields, error)
        elif one.state is StepState.FAILED:
            log("warn", "a step of the saga has failed", self.record, fields, error)
        else:
            told = error_of(error)
            fields |= {"errorType": told["type"], "errorMessage": told["message"]}
            log("warn", "an attempt of the saga has failed, trying again", self.record, fields)

    def _attempt(self, begin: Begin) -> Attempt:
        step, record = self._settings.definition.steps[begin.number], self.record
        function = step.compensate if begin.compensating else step.execute
        assert function is not None
        limit_ms, is_end_of_time = step.timeout_ms, False
        left_ms = remaining_ms() - begin.delay_ms
        if left_ms < NO_DEADLINE_MS // 2 and (limit_ms is None or left_ms < limit_ms):
            limit_ms, is_end_of_time = max(1, left_ms), True
        key = f"{store_id(record.name, record.id)}#{step.name}"
        return Attempt(
            begin.number,
            step.name,
            function,
            text_of_context(self._machine.context_of(begin)),
            begin.delay_ms,
            limit_ms,
            is_end_of_time,
            f"{key}#compensate" if begin.compensating else key,
        )

    # --- the record -----------------------------------------------------------------------------------------------

    def _write(self, begun: list[Begin]) -> Generator[Any, Any, None]:
        """Write the record as it is now. Raises SagaBusyError when somebody else has."""
        record, now = self.record, self._settings.clock()
        record.updated_at = now
        self._extend_lease(begun, now)
        self._written = record.to_dict()
        if not (yield self._put(self._version, now)):
            raise SagaBusyError(
                f"the saga {record.name!r} with the id {record.id!r} is run by somebody else, who has "
                "written its record"
            )
        self._version += 1

    def _put(self, version: int, now: float) -> Any:
        record = self.record
        ends_well = record.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)
        return self._settings.store.write(
            store_id(record.name, record.id),
            self._written,
            now,
            version=version,
            expires_at=now + self._settings.keep_seconds if ends_well else None,
            keys={STATE_KEY: f"{record.name}#{record.status.value}"} if record.status in LISTED else None,
        )

    def _give_up(self, *, wait: bool, releases: bool) -> Generator[Any, Any, None]:
        """Stop here, because of an error: ``wait`` for what is in flight, and let others go on at once if it has ended.

        A lease that is almost over is not worth another call of the store; nor is one where the process ends.
        """
        has_ended = yield self._worker.abandon(wait=wait)
        if has_ended and releases and remaining_ms() >= SHORT_LEASE_MS:
            with suppress(Exception):
                yield from self._release()

    def _release(self) -> Generator[Any, Any, None]:
        record, settings = self.record, self._settings
        now = settings.clock()
        found = yield settings.store.read(store_id(record.name, record.id), now)
        # A write that has failed may have been done all the same: then it is there as it was given.
        is_ours = found is not None and found.version - self._version in (0, 1)
        if not is_ours or (found.version > self._version and found.value != self._written):
            return
        record.updated_at, record.lease_until = now, None
        self._written = record.to_dict()
        yield self._put(found.version, now)

    def _extend_lease(self, begun: list[Begin], now: float) -> None:
        """This run has the saga for itself as long as what is in flight can take, also what began before."""
        seconds = self._settings.lease_seconds
        left_ms = remaining_ms()
        is_bounded = left_ms <= NO_DEADLINE_MS // 2
        if seconds is None:
            seconds = max(left_ms, 0) / 1000 + 1 if is_bounded else LEASE_SECONDS
        for one in begun:
            timeout_ms = self._settings.definition.steps[one.number].timeout_ms
            # What begins in a function of Lambda ends with it.
            attempt_seconds = timeout_ms / 1000 + 1 if timeout_ms else 0 if is_bounded else seconds
            self._leases[one.number] = now + one.delay_ms / 1000 + attempt_seconds
        self.record.lease_until = max(now + seconds, *self._leases.values()) if self._leases else None

    def _suspended(self, step: str) -> SagaSuspendedError:
        record, waits_for = self.record, self._waits_for
        why = (
            f"for which the function has too little time left ({max(remaining_ms(), 0)} ms)"
            if waits_for is None
            else f"which waits for a saga of its own: {waits_for}"
        )
        advice = (
            ". If that repeats itself, give the function a longer timeout, or the step a shorter timeout_ms"
            if waits_for is None
            else ""
        )
        return SagaSuspendedError(
            f"the saga {record.name!r} with the id {record.id!r} stops before or in its step {step!r}, {why}. Nothing "
            f"is lost: it is {record.status.value}, and resume({record.id!r}) goes on with it{advice}",
            record,
        )


def ended(record: SagaRecord) -> SagaResult:
    """The result of a saga that has ended. Raises SagaCompensationError when it could not be undone."""
    result = SagaResult(record.status is SagaStatus.COMPLETED, record.context, record)
    if record.status is not SagaStatus.FAILED:
        return result
    left = [one for one in record.steps if one.state is StepState.COMPENSATION_FAILED]
    told = "; ".join(f"{one.name}: {(one.error or {}).get('message', '')}" for one in left)
    raise SagaCompensationError(
        f"the saga {record.name!r} with the id {record.id!r} has failed, and could not be undone: {told}", result
    )


def check_resumable(settings: Settings, record: SagaRecord) -> None:
    """Raises SagaChangedError and SagaBusyError for a saga that cannot go on here and now."""
    ours = settings.definition.outline()
    theirs = record.outline()
    if ours != theirs:
        raise SagaChangedError(
            f"the saga {record.name!r} with the id {record.id!r} was begun with the steps {_listed(theirs)}, and now "
            f"it has {_listed(ours)}: end it with the code that began it, and give a saga whose steps change a new name"
        )
    now = settings.clock()
    if record.lease_until is not None and record.lease_until > now:
        left = record.lease_until - now
        raise SagaBusyError(
            f"the saga {record.name!r} with the id {record.id!r} is run by somebody else, or was until a moment ago: "
            f"it can be resumed in {left:.0f} s, when their lease has ended",
            left,
        )


def _listed(outline: list[tuple[str, str | None]]) -> str:
    return ", ".join(repr(name if group is None else f"{group}/{name}") for name, group in outline)


def _is_limit(error: BaseException) -> bool:
    """Whether it is the limit of the task or the request around the saga that has been reached."""
    if isinstance(error, TaskTimeoutError):
        return True
    from venturekit.runtime.middleware.timeouts import RequestTimeoutError

    return isinstance(error, RequestTimeoutError)


def remaining_ms() -> int:
    """What the function's own time leaves, less a margin for writing down how far the saga has come."""
    ctx = current_context()
    return NO_DEADLINE_MS if ctx is None else Deadline(ctx).remaining_ms()


def log(
    level: str, message: str, record: SagaRecord, fields: dict[str, Any], error: BaseException | None = None
) -> None:
    """A line of the log, with the name and id of the saga; and the stack trace of an error."""
    log_line(level, message, {"saga": record.name, "sagaId": record.id, **fields}, error)


def log_line(level: str, message: str, fields: dict[str, Any], error: BaseException | None = None) -> None:
    """A line of the log of the invocation that runs."""
    ctx = current_context()
    if ctx is not None:
        logger = ctx.logger
    else:
        from venturekit.runtime.logs import logger
    logger.log(level, message, fields, error=error)
