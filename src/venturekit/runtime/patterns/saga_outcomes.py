"""What an attempt of a step is, and what its end says of the step's work: done, not done, or nobody knows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.patterns.saga_errors import (
    SagaBusyError,
    SagaCompensationError,
    SagaContextError,
    SagaStepTimeoutError,
    SagaSuspendedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOT_KNOWN: Final = ("Sandbox.", "Runtime.")
_OPEN: Final = (
    *(TimeoutError, ConnectionError, SagaContextError),
    # Of a saga within the step.
    *(SagaBusyError, SagaSuspendedError, SagaCompensationError),
)


class Attempt(NamedTuple):
    """One call of a step's function. ``limit_ms`` is how long it may take; ``is_end_of_time``: by the function's time.

    ``context`` is JSON, so that each attempt has a context of its own to change.
    """

    number: int
    name: str
    function: Callable[[Any], Any]
    context: str
    delay_ms: int
    limit_ms: int | None
    is_end_of_time: bool
    key: str


class Outcome(NamedTuple):
    """What became of an attempt: its context, or an error.

    ``is_interrupted``: the function's time was over, or the step waits for a saga that somebody else has to go on with.
    ``is_uncertain``: the step may have done its work although it failed. ``is_final``: another attempt would fail too.
    """

    number: int
    context: dict[str, Any] | None
    error: BaseException | None = None
    is_interrupted: bool = False
    is_uncertain: bool = False
    is_final: bool = False


class AsynchronousStepError(TypeError):
    """A step gave something to be awaited in a run that cannot wait for it."""


class Watch:
    """What has to be known from before an attempt to judge its error; it is what makes the error of its time limit."""

    __slots__ = ("_attempt", "_handled", "_was_reached")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        # Python hangs the error that whoever runs the saga deals with behind each error of a step.
        self._handled = sys.exc_info()[1]
        self._was_reached = False

    def __call__(self, limit_ms: int) -> SagaStepTimeoutError:
        self._was_reached = True
        return SagaStepTimeoutError(limit_ms)

    def failed(self, error: BaseException) -> Outcome:
        """The outcome of an attempt that raised an error, of whatever kind after its limit."""
        is_end_of_time = self._was_reached and self._attempt.is_end_of_time
        return Outcome(
            self._attempt.number,
            None,
            error,
            is_end_of_time or isinstance(error, SagaSuspendedError | SagaBusyError),
            self._was_reached or may_have_run(error, self._handled),
            isinstance(error, SagaContextError | AsynchronousStepError),
        )


def may_have_run(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether an error leaves open if the step has done its work: no answer in time, or none that can be read.

    An error that was made of such a one does too. ``handled`` is one that was there before.
    """
    return any(_leaves_open(one) for one in _behind(error, handled))


def _behind(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was made of or contains."""
    waiting, seen = [error], {id(handled)}
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        context = None if one.__suppress_context__ else one.__context__
        waiting += [each for each in (one.__cause__, context) if each is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _leaves_open(error: BaseException) -> bool:
    if isinstance(error, _OPEN) or is_cancellation(error):
        return True
    # The errors of invoke(), by their form: who does not call functions need not load them.
    kind = getattr(error, "kind", None)
    if kind == "function_error":
        details = getattr(error, "details", None)
        told = details.get("errorType") if isinstance(details, dict) else None
        # The function was stopped, or its process ended.
        return isinstance(told, str) and told.startswith(_NOT_KNOWN)
    return kind == "bad_response"


def is_cancellation(error: BaseException) -> bool:
    """Whether it is asyncio's CancelledError, or that of futures, which a blocking run does not load to ask."""
    return any(kind.__name__ == "CancelledError" for kind in type(error).__mro__)
