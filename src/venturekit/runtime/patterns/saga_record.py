"""What is stored of a saga: how far it has come, with which context, and what went wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.patterns.saga_errors import SagaRecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT: Final = 1
_LONGEST_MESSAGE: Final = 1000


class SagaStatus(StrEnum):
    """Where a saga is. It ends ``completed``, ``compensated``, or ``failed``: a compensation could not be done."""

    RUNNING = "running"
    COMPLETED = "completed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    FAILED = "failed"


UNFINISHED: Final = (SagaStatus.RUNNING, SagaStatus.COMPENSATING)
LISTED: Final = (*UNFINISHED, SagaStatus.FAILED)
"""Statuses by which a store finds sagas: nobody looks for those that have ended well."""


class StepState(StrEnum):
    """Where a step is. ``running`` in the record of a saga that nobody runs: it was interrupted, and may have run."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class StepRecord:
    """One step of a saga.

    ``attempts`` counts those that were begun, ``failures`` those of them that are known to have failed. ``uncertain``:
    an attempt was interrupted, or its outcome is not known, so that it may have done its work. ``error`` is the last
    one, ``{"type", "message"}``. ``changed`` and ``removed`` are what a step of a group has done to the context, until
    all of the group have ended.
    """

    __slots__ = (
        *("attempts", "changed", "compensation_attempts", "compensation_failures", "error", "failures", "group"),
        *("name", "removed", "state", "uncertain"),
    )

    def __init__(self, name: str, group: str | None = None) -> None:
        self.name = name
        self.group = group
        self.state = StepState.PENDING
        self.attempts = 0
        self.failures = 0
        self.uncertain = False
        self.compensation_attempts = 0
        self.compensation_failures = 0
        self.error: dict[str, str] | None = None
        self.changed: dict[str, Any] | None = None
        self.removed: list[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: what is not there is left out."""
        made: dict[str, Any] = {"name": self.name, "state": self.state.value, "attempts": self.attempts}
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value or value == {}:
                made[name] = value
        return made

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> StepRecord:
        """From what is stored. Raises KeyError, TypeError, ValueError."""
        made = cls(_text(stored["name"]), stored.get("group"))
        made.state = StepState(stored["state"])
        made.attempts = _count(stored["attempts"])
        for name in ("failures", "compensation_attempts", "compensation_failures"):
            setattr(made, name, _count(stored.get(name, 0)))
        made.uncertain = bool(stored.get("uncertain", False))
        made.error, made.changed, made.removed = (stored.get(name) for name in ("error", "changed", "removed"))
        return made

    def __repr__(self) -> str:
        return f"StepRecord({self.name!r}, {self.state.value}, attempts={self.attempts})"


_OPTIONAL: Final = (
    *("group", "failures", "uncertain", "compensation_attempts", "compensation_failures", "error"),
    *("changed", "removed"),
)


class SagaRecord:
    """A saga as it is stored: its ``id``, ``name``, ``status``, ``steps``, ``context`` and ``error``.

    ``error`` is ``{"step", "type", "message"}`` of the step that failed, None while none has. ``started_at`` and
    ``updated_at`` are epoch seconds, ``lease_until`` until when somebody has it for themselves, None when nobody has.
    """

    __slots__ = (
        *("context", "error", "fingerprint", "id", "lease_until", "name", "started_at", "status", "steps"),
        "updated_at",
    )

    def __init__(
        self,
        id: str,
        name: str,
        steps: Iterable[tuple[str, str | None]],
        context: dict[str, Any],
        *,
        fingerprint: str = "",
        now: float = 0.0,
    ) -> None:
        self.id = id
        self.name = name
        self.status = SagaStatus.RUNNING
        self.steps = [StepRecord(*outline) for outline in steps]
        self.context = context
        self.error: dict[str, str] | None = None
        self.fingerprint = fingerprint
        self.started_at = now
        self.updated_at = now
        self.lease_until: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do: completed, compensated or failed."""
        return self.status not in UNFINISHED

    def outline(self) -> list[tuple[str, str | None]]:
        """Names and groups of the steps."""
        return [(one.name, one.group) for one in self.steps]

    def to_dict(self) -> dict[str, Any]:
        """As it is stored, and for logs."""
        return {
            "format": FORMAT,
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "steps": [one.to_dict() for one in self.steps],
            "context": self.context,
            "error": self.error,
            "fingerprint": self.fingerprint,
            "started_at": self.started_at,
            "updated_at": self.updated_at,
            "lease_until": self.lease_until,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], id: str) -> SagaRecord:
        """From what is stored under an id. Raises SagaRecordError."""
        if stored.get("format") != FORMAT:
            raise SagaRecordError(
                f"what is stored for the saga {id!r} has the format {stored.get('format')!r}, and not {FORMAT}: it is "
                "no saga, or was written by another version of venturekit"
            )
        try:
            made = cls(_text(stored["id"]), _text(stored["name"]), (), dict(stored["context"]))
            made.status = SagaStatus(stored["status"])
            made.steps = [StepRecord.from_dict(one) for one in stored["steps"]]
            made.error = stored["error"]
            made.fingerprint = _text(stored["fingerprint"])
            made.started_at, made.updated_at = float(stored["started_at"]), float(stored["updated_at"])
            lease = stored["lease_until"]
            made.lease_until = None if lease is None else float(lease)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise SagaRecordError(f"what is stored for the saga {id!r} is no saga: {problem!r}") from None
        return made

    def __repr__(self) -> str:
        return f"SagaRecord({self.name!r}, {self.id!r}, {self.status.value})"


class SagaResult(NamedTuple):
    """How a saga has ended. ``success``: every step is done; else what had been done is undone.

    ``context`` is the last one that there was, ``record`` what is stored, its ``error`` included. Source: the saga
    guide, ``success``, ``context``, ``record``.
    """

    success: bool
    context: dict[str, Any]
    record: SagaRecord


def error_of(error: BaseException) -> dict[str, str]:
    """An error as it is stored: its type and its message, which is cut where it is endless."""
    try:
        message = str(error)
    except Exception as problem:
        message = f"its message cannot be had: {type(problem).__name__}"
    return {"type": type(error).__name__, "message": message[:_LONGEST_MESSAGE]}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is expected, and not {value!r:.100}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a number is expected, and not {value!r:.100}")
    return value
