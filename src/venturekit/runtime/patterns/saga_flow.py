"""How a saga is run: written down, done, written down. One flow for blocking and asynchronous stores and steps.

A record is written with the version that was read, so that of several who run one saga only one gets on; its lease
keeps the others from trying while a step runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from venturekit.runtime.attempts import Deadline
from venturekit.runtime.context import NO_DEADLINE_MS, current_context
from venturekit.runtime.patterns.saga_context import text_of_context
from venturekit.runtime.patterns.saga_errors import (
    SagaBusyError,
    SagaChangedError,
    SagaCompensationError,
    SagaSuspendedError,
)
from venturekit.runtime.patterns.saga_machine import Begin, SagaMachine
from venturekit.runtime.patterns.saga_record import (
    LISTED,
    SagaRecord,
    SagaResult,
    SagaStatus,
    StepRecord,
    StepState,
    error_of,
)
from venturekit.runtime.patterns.saga_workers import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.patterns.records import RecordStore
    from venturekit.runtime.patterns.saga_definition import Definition
    from venturekit.runtime.patterns.saga_workers import Outcome

    Flow = Generator[Any, Any, SagaResult]

LEASE_SECONDS: Final = 60.0
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
        """Wait for what is in flight, or leave it."""


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

    __slots__ = ("_machine", "_settings", "_version", "_worker")

    def __init__(self, settings: Settings, record: SagaRecord, version: int, worker: Worker) -> None:
        self._settings = settings
        self._machine = SagaMachine(settings.definition, record)
        self._version = version
        self._worker = worker

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
            begun = machine.advance(remaining_ms())
            try:
                yield from self._write(begun)
            except Exception:
                # Whoever began something waits for its end before it says that it cannot go on.
                yield self._worker.abandon(wait=True)
                raise
            if not machine.in_flight:
                break
            for begin in begun:
                self._worker.begin(self._attempt(begin), alone=begin.alone)
            try:
                outcome: Outcome = yield self._worker.outcome()
            except GeneratorExit:
                # Nobody is left who could wait.
                raise
            except BaseException:
                yield self._worker.abandon(wait=False)
                raise
            self._take(outcome)
        if machine.short_of_time is not None:
            raise self._suspended(machine.short_of_time)
        return ended(self.record)

    def _take(self, outcome: Outcome) -> None:
        """Tell the machine what became of an attempt."""
        machine, number = self._machine, outcome.number
        if outcome.is_interrupted:
            machine.interrupted(number)
        elif outcome.error is not None:
            machine.failed(number, error_of(outcome.error), uncertain=outcome.is_uncertain, final=outcome.is_final)
            self._log_failure(self.record.steps[number], outcome.error)
        else:
            machine.succeeded(number, outcome.context or {})

    def _log_failure(self, one: StepRecord, error: Exception) -> None:
        fields: dict[str, Any] = {"step": one.name}
        if one.state is StepState.COMPENSATION_FAILED:
            log("error", "a compensation of the saga has failed for good", self.record, fields, error)
        elif one.state is StepState.FAILED:
            log("warn", "a step of the saga has failed", self.record, fields, error)
        else:
            fields |= {"errorType": type(error).__name__, "errorMessage": error}
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
        record, settings = self.record, self._settings
        now = settings.clock()
        record.updated_at = now
        record.lease_until = now + self._lease_seconds(begun) if self._machine.in_flight else None
        ends_well = record.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)
        written = yield settings.store.write(
            store_id(record.name, record.id),
            record.to_dict(),
            now,
            version=self._version,
            expires_at=now + settings.keep_seconds if ends_well else None,
            keys={STATE_KEY: f"{record.name}#{record.status.value}"} if record.status in LISTED else None,
        )
        if not written:
            raise SagaBusyError(
                f"the saga {record.name!r} with the id {record.id!r} is run by somebody else, who has "
                "written its record"
            )
        self._version += 1

    def _lease_seconds(self, begun: list[Begin]) -> float:
        """How long this run has the saga for itself: as long as what begins now can take."""
        seconds = self._settings.lease_seconds
        if seconds is None:
            left_ms = remaining_ms()
            seconds = LEASE_SECONDS if left_ms > NO_DEADLINE_MS // 2 else max(left_ms, 0) / 1000 + 1
        steps = self._settings.definition.steps
        needed = [one.delay_ms + (steps[one.number].timeout_ms or 0) for one in begun]
        return max([seconds, *(ms / 1000 + 1 for ms in needed if ms)])

    def _suspended(self, step: str) -> SagaSuspendedError:
        record = self.record
        return SagaSuspendedError(
            f"the saga {record.name!r} with the id {record.id!r} stops before or in its step {step!r}, for which the "
            f"function has too little time left ({max(remaining_ms(), 0)} ms). Nothing is lost: it is "
            f"{record.status.value}, and resume({record.id!r}) goes on with it. If that repeats itself, give the "
            "function a longer timeout, or the step a shorter timeout_ms",
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


def remaining_ms() -> int:
    """What the function's own time leaves, less a margin for writing down how far the saga has come."""
    ctx = current_context()
    return NO_DEADLINE_MS if ctx is None else Deadline(ctx).remaining_ms()


def log(
    level: str, message: str, record: SagaRecord, fields: dict[str, Any], error: BaseException | None = None
) -> None:
    """A line of the log, with the name and id of the saga; and the stack trace of an error."""
    ctx = current_context()
    if ctx is not None:
        logger = ctx.logger
    else:
        from venturekit.runtime.logs import logger
    logger.log(level, message, {"saga": record.name, "sagaId": record.id, **fields}, error=error)
