"""What can go wrong with a saga, beside its steps. The tree:

SagaError
├── SagaDefinitionError     its steps cannot make a saga
├── SagaContextError        its context is no JSON object, or too large
├── SagaNotFoundError       no saga has this id
├── SagaIdInUseError        the id belongs to a saga with another initial context
├── SagaChangedError        it was begun by another definition
├── SagaBusyError           somebody else runs it
├── SagaRecordError         what is stored under its id is no saga
├── SagaSuspendedError      no time is left: it goes on when it is resumed
├── SagaStepTimeoutError    an attempt took longer than it may
└── SagaCompensationError   a compensation has failed for good
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from venturekit.runtime.patterns.saga_record import SagaRecord, SagaResult


class SagaError(Exception):
    """Something is wrong with a saga itself. A step that fails is no such error, but a result."""


class SagaDefinitionError(SagaError, ValueError):
    """The steps cannot make a saga; the text says why."""


class SagaContextError(SagaError, ValueError):
    """The context is no JSON object, or too large. Of an initial context this is said before anything has run."""


class SagaNotFoundError(SagaError, LookupError):
    """No saga has this id in the store: it was never begun, or ended longer ago than its record is kept."""


class SagaIdInUseError(SagaError):
    """The id belongs to a saga that began with another context: it is not the one that is wanted."""


class SagaChangedError(SagaError):
    """The saga was begun by another definition: its steps had other names, another order, or were others."""


class SagaRecordError(SagaError):
    """What is stored under the id of a saga is none, or was written by a later version of this package."""


class SagaBusyError(SagaError):
    """Somebody else runs the saga. ``retry_after_seconds`` says when their lease ends, 0 if that is not known."""

    def __init__(self, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class SagaSuspendedError(SagaError):
    """The function's time does not allow the next step: nothing is lost, and ``resume(id)`` goes on with it.

    ``record`` is the saga as it is stored, still ``running`` or ``compensating``.
    """

    def __init__(self, message: str, record: SagaRecord) -> None:
        super().__init__(message)
        self.record = record


class SagaStepTimeoutError(SagaError, TimeoutError):
    """One attempt of a step took longer than its ``timeout_ms``. Whether it has done its work is not known."""

    def __init__(self, timeout_ms: int) -> None:
        super().__init__(f"the step did not end within {timeout_ms} ms")
        self.timeout_ms = timeout_ms


class SagaCompensationError(SagaError):
    """A compensation has failed for good: somebody has to look. ``result`` is the saga's, and its record says which."""

    def __init__(self, message: str, result: SagaResult) -> None:
        super().__init__(message)
        self.result = result
