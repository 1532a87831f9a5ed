"""The machine of a saga: what is to be done next. Pure: the time that is left is an argument, in milliseconds.

    running ──(every step is done)──► completed
       │
       └──(a step has failed for good, nothing is in flight)──► compensating ──► compensated
                                                                      └──(a compensation could not be done)──► failed

Whoever runs a saga writes its record after ``advance`` and before doing what that says, then does it and tells the
outcome. A record that was written is therefore enough to go on from: what it says has begun may have run.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.encoding import to_json
from venturekit.runtime.patterns.saga_record import SagaRecord, SagaStatus, StepRecord, StepState

if TYPE_CHECKING:
    from venturekit.runtime.patterns.saga_definition import Definition

COMPENSATION_ATTEMPTS: Final = 3
COMPENSATION_DELAY_MS: Final = 1000
LEAST_STEP_MS: Final = 500
"""What a step without ``timeout_ms`` is expected to need at least."""
MAX_CONTEXT_BYTES: Final = 256 * 1024
"""Of a context as JSON: with it, a record fits into an item of DynamoDB (400 KB)."""


class StepEvent(Enum):
    """What happens to a step."""

    BEGIN = auto()
    SUCCEED = auto()
    RETRY = auto()
    FAIL = auto()
    UNDO = auto()
    UNDONE = auto()
    UNDO_FAIL = auto()


TRANSITIONS: Final = {
    (StepState.PENDING, StepEvent.BEGIN): StepState.RUNNING,
    # An attempt was interrupted: another one.
    (StepState.RUNNING, StepEvent.BEGIN): StepState.RUNNING,
    (StepState.RUNNING, StepEvent.SUCCEED): StepState.COMPLETED,
    (StepState.RUNNING, StepEvent.RETRY): StepState.PENDING,
    (StepState.RUNNING, StepEvent.FAIL): StepState.FAILED,
    (StepState.COMPLETED, StepEvent.UNDO): StepState.COMPENSATING,
    # May have done its work: an attempt of it was interrupted, or its outcome is not known.
    (StepState.FAILED, StepEvent.UNDO): StepState.COMPENSATING,
    (StepState.PENDING, StepEvent.UNDO): StepState.COMPENSATING,
    (StepState.COMPENSATING, StepEvent.UNDO): StepState.COMPENSATING,
    (StepState.COMPENSATING, StepEvent.UNDONE): StepState.COMPENSATED,
    (StepState.COMPENSATING, StepEvent.UNDO_FAIL): StepState.COMPENSATION_FAILED,
    (StepState.COMPENSATION_FAILED, StepEvent.UNDO): StepState.COMPENSATING,
}


class TransitionError(Exception):
    """An event that cannot happen to a step in its state. Nothing was changed."""


class Begin(NamedTuple):
    """An attempt that begins now, after ``delay_ms``. ``alone``: nothing else of the saga runs at the same time."""

    number: int
    compensating: bool
    delay_ms: int
    alone: bool


class SagaMachine:
    """One saga while somebody runs it. ``in_flight`` are the numbers of the steps that do something now.

    ``short_of_time`` is the name of the step that the time left does not allow; nothing is begun any more then.
    """

    __slots__ = ("_definition", "_delays_ms", "in_flight", "record", "short_of_time")

    def __init__(self, definition: Definition, record: SagaRecord) -> None:
        self._definition = definition
        self._delays_ms: dict[int, int] = {}
        self.record = record
        self.in_flight: set[int] = set()
        self.short_of_time: str | None = None
        for one in record.steps:
            if one.state is StepState.RUNNING:
                one.uncertain = True

    # --- what to do -----------------------------------------------------------------------------------------------

    def advance(self, remaining_ms: int) -> list[Begin]:
        """What begins now. Nothing, and nothing in flight: the saga has ended, or has no time for its next step."""
        if self.short_of_time is not None:
            return []
        if self.record.status is SagaStatus.RUNNING and (numbers := self._next_steps()):
            return self._begun(numbers, remaining_ms, compensating=False)
        if self.record.status is SagaStatus.COMPENSATING and not self.in_flight:
            return self._begun(self._next_compensation(), remaining_ms, compensating=True)
        return []

    def _next_steps(self) -> list[int]:
        """The steps to begin, or the saga changes its status."""
        stage = next((stage for stage in self._definition.stages if not self._is_done(stage)), None)
        if stage is None:
            self.record.status = SagaStatus.COMPLETED
            return []
        members = [self.record.steps[number] for number in stage]
        if not any(one.state is StepState.FAILED for one in members):
            idle = [number for number in stage if number not in self.in_flight]
            return [n for n in idle if self.record.steps[n].state in (StepState.PENDING, StepState.RUNNING)]
        if not self.in_flight:
            for one in members:
                # Interrupted beside one that had failed: doing it once more would only be undone.
                if one.state is StepState.RUNNING:
                    self._move(one, StepEvent.FAIL)
            self.record.status = SagaStatus.COMPENSATING
        return []

    def _is_done(self, stage: range) -> bool:
        return all(self.record.steps[number].state is StepState.COMPLETED for number in stage)

    def _next_compensation(self) -> list[int]:
        """The last step that is not undone yet, or the saga ends."""
        for number in reversed(range(len(self.record.steps))):
            if self._has_to_be_undone(number):
                return [number]
        failed = any(one.state is StepState.COMPENSATION_FAILED for one in self.record.steps)
        self.record.status = SagaStatus.FAILED if failed else SagaStatus.COMPENSATED
        return []

    def _has_to_be_undone(self, number: int) -> bool:
        if self._definition.steps[number].compensate is None:
            return False
        one = self.record.steps[number]
        if one.state in (StepState.COMPLETED, StepState.COMPENSATING):
            return True
        return one.uncertain and one.state in (StepState.FAILED, StepState.PENDING)

    def _begun(self, numbers: list[int], remaining_ms: int, *, compensating: bool) -> list[Begin]:
        begun = []
        for number in numbers:
            step = self._definition.steps[number]
            delay_ms = self._delays_ms.get(number, 0)
            if (step.timeout_ms or LEAST_STEP_MS) + delay_ms > remaining_ms:
                self.short_of_time = step.name
                return []
            alone = compensating or not self._has_siblings(number)
            begun.append(Begin(number, compensating, delay_ms, alone))
        for number in numbers:
            one = self.record.steps[number]
            self._move(one, StepEvent.UNDO if compensating else StepEvent.BEGIN)
            if compensating:
                one.compensation_attempts += 1
            else:
                one.attempts += 1
            self._delays_ms.pop(number, None)
            self.in_flight.add(number)
        return begun

    def context_of(self, begin: Begin) -> dict[str, Any]:
        """The context that an attempt gets; not to be changed."""
        one = self.record.steps[begin.number]
        # Of a group that was not done to its end each member undoes what it has done itself.
        return applied(self.record.context, one) if begin.compensating else self.record.context

    # --- what has become of it ------------------------------------------------------------------------------------

    def succeeded(self, number: int, context: dict[str, Any]) -> None:
        """A step is done, and this is the context now; or it is undone, and the context does not count."""
        self.in_flight.remove(number)
        one = self.record.steps[number]
        if one.state is StepState.COMPENSATING:
            self._move(one, StepEvent.UNDONE)
        elif one.group is None:
            self._move(one, StepEvent.SUCCEED)
            self.record.context = context
        else:
            self._member_succeeded(number, context)

    def failed(self, number: int, error: dict[str, str], *, uncertain: bool = False, final: bool = False) -> None:
        """An attempt has failed. ``uncertain``: it may have done its work. ``final``: another would fail like it."""
        self.in_flight.remove(number)
        if self.record.steps[number].state is StepState.COMPENSATING:
            self._compensation_failed(number, error)
        else:
            self._step_failed(number, error, uncertain, final)

    def _step_failed(self, number: int, error: dict[str, str], uncertain: bool, final: bool) -> None:
        one, step = self.record.steps[number], self._definition.steps[number]
        one.error = error
        one.failures += 1
        one.uncertain = one.uncertain or uncertain
        siblings = (self.record.steps[other].state for other in self._stage_of(number))
        if final or one.failures > step.retries or StepState.FAILED in siblings:
            self._move(one, StepEvent.FAIL)
            self.record.error = self.record.error or {"step": one.name, **error}
        else:
            self._move(one, StepEvent.RETRY)
            self._delays_ms[number] = step.retry_delay_ms * 2 ** (one.failures - 1)

    def _compensation_failed(self, number: int, error: dict[str, str]) -> None:
        one = self.record.steps[number]
        one.error = error
        one.compensation_failures += 1
        if one.compensation_failures >= COMPENSATION_ATTEMPTS:
            self._move(one, StepEvent.UNDO_FAIL)
        else:
            self._delays_ms[number] = COMPENSATION_DELAY_MS * 2 ** (one.compensation_failures - 1)

    def interrupted(self, number: int) -> None:
        """The function's time was over within an attempt: it goes on with another one when it is resumed."""
        self.in_flight.remove(number)
        one = self.record.steps[number]
        if one.state is StepState.RUNNING:
            one.uncertain = True
        self.short_of_time = one.name

    def retry_compensations(self) -> None:
        """Of a saga that has failed: the compensations that could not be done are tried anew."""
        for one in self.record.steps:
            if one.state is StepState.COMPENSATION_FAILED:
                self._move(one, StepEvent.UNDO)
                one.compensation_failures = 0
                self.record.status = SagaStatus.COMPENSATING

    # --- groups ---------------------------------------------------------------------------------------------------

    def _member_succeeded(self, number: int, context: dict[str, Any]) -> None:
        """What the steps of a group have changed becomes the context when the last of them is done."""
        one, stage = self.record.steps[number], self._stage_of(number)
        members = [self.record.steps[member] for member in stage]
        one.changed, one.removed = _difference(self.record.context, context)
        if (problem := _too_much(self.record.context, members)) is not None:
            one.changed = one.removed = None
            # It has run, and what it gave cannot be kept.
            self._step_failed(number, problem, uncertain=True, final=True)
            return
        self._move(one, StepEvent.SUCCEED)
        if not self._is_done(stage):
            return
        problem = _contradiction(members)
        if problem is not None:
            self.record.error = {"step": str(one.group), **problem}
            self.record.status = SagaStatus.COMPENSATING
            return
        for member in members:
            self.record.context = applied(self.record.context, member)
            member.changed = member.removed = None

    def _stage_of(self, number: int) -> range:
        return next(stage for stage in self._definition.stages if number in stage)

    def _has_siblings(self, number: int) -> bool:
        return len(self._stage_of(number)) > 1

    def _move(self, one: StepRecord, event: StepEvent) -> None:
        to = TRANSITIONS.get((one.state, event))
        if to is None:
            raise TransitionError(f"{event.name} cannot happen to the step {one.name!r}, which is {one.state.value}")
        one.state = to


def applied(context: dict[str, Any], one: StepRecord) -> dict[str, Any]:
    """A context with what a step of a group has changed of it."""
    if one.changed is None and one.removed is None:
        return context
    removed = one.removed or ()
    return {name: value for name, value in context.items() if name not in removed} | (one.changed or {})


def _difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
    """What was set, and what was removed."""
    changed = {
        name: value
        for name, value in after.items()
        if name not in before or _compared(before[name]) != _compared(value)
    }
    return changed, [name for name in before if name not in after] or None


def _compared(value: Any) -> str:
    """A value of JSON as what it is compared by: 1 is not True, and the order of names does not matter."""
    return json.dumps(value, sort_keys=True)


def _contradiction(members: list[StepRecord]) -> dict[str, str] | None:
    """Why what these have changed cannot be brought together: the error of the group."""
    setters: dict[str, tuple[str, str]] = {}
    for one in members:
        changes = {name: _compared(value) for name, value in (one.changed or {}).items()}
        for name, text in (*changes.items(), *((name, "") for name in one.removed or ())):
            other, set_to = setters.setdefault(name, (one.name, text))
            if set_to != text:
                return {
                    "type": "ParallelContextError",
                    "message": f"the parallel steps {other!r} and {one.name!r} set {name!r} differently",
                }
    return None


def _too_much(context: dict[str, Any], members: list[StepRecord]) -> dict[str, str] | None:
    size_bytes = len(to_json([context, *(one.changed for one in members if one.changed)]).encode())
    if size_bytes <= MAX_CONTEXT_BYTES:
        return None
    message = f"the context with what the parallel steps add has {size_bytes:,} bytes, more than {MAX_CONTEXT_BYTES:,}"
    return {"type": "SagaContextError", "message": message}
