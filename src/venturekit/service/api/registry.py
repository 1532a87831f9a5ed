"""Which operations are served, and by what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from venturekit.service.api.model import service_model

if TYPE_CHECKING:
    from collections.abc import Collection

NOT_BUILT = "not built"


@dataclass(slots=True)
class Call:
    """One call of an operation: its name, the validated members under the model's names, the request id."""

    operation: str
    members: dict[str, Any]
    request_id: str


Handler: TypeAlias = Callable[[Call], Awaitable[Mapping[str, Any]]]


class Level(Enum):
    """How far an operation is served."""

    SERVED = "served"
    PARTLY = "partly"
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Status:
    """How far an operation is served, and why not further (empty when it is served)."""

    level: Level
    reason: str


class Registry:
    """Handlers by operation name.

    ``operations`` are the names that may be registered: those of the installed service model unless given.
    """

    __slots__ = ("_handlers", "_operations", "_status")

    def __init__(self, operations: Collection[str] | None = None) -> None:
        self._operations = frozenset(service_model().operations if operations is None else operations)
        self._handlers: dict[str, Handler] = {}
        self._status: dict[str, Status] = {}

    def serve(self, operation_name: str, *, partly: str | None = None) -> Callable[[Handler], Handler]:
        """Decorator: the coroutine function answers this operation. ``partly`` says what is missing.

        Raises LookupError for an unknown operation, ValueError for one that is registered already.
        """
        self._admit(operation_name)

        def register(handler: Handler) -> Handler:
            self._admit(operation_name)
            self._handlers[operation_name] = handler
            self._status[operation_name] = Status(Level.PARTLY if partly else Level.SERVED, partly or "")
            return handler

        return register

    def declare(self, operation_name: str, *, partly: str | None = None) -> None:
        """State that an operation is answered on another path than a handler (Invoke and its kind).

        Raises as :meth:`serve` does.
        """
        self._admit(operation_name)
        self._status[operation_name] = Status(Level.PARTLY if partly else Level.SERVED, partly or "")

    def decline(self, operation_name: str, reason: str) -> None:
        """State why an operation is not served. Raises as :meth:`serve` does."""
        self._admit(operation_name)
        self._status[operation_name] = Status(Level.NOT, reason)

    def handler(self, operation_name: str) -> Handler | None:
        """The handler of an operation, or None."""
        return self._handlers.get(operation_name)

    def status(self, operation_name: str) -> Status:
        """How far an operation is served. Raises LookupError for an unknown operation."""
        self._check_name(operation_name)
        return self._status.get(operation_name, Status(Level.NOT, NOT_BUILT))

    def _admit(self, operation_name: str) -> None:
        self._check_name(operation_name)
        if operation_name in self._status:
            raise ValueError(f"the operation {operation_name} is registered already")

    def _check_name(self, operation_name: str) -> None:
        if operation_name not in self._operations:
            raise LookupError(f"{operation_name!r} is not an operation of the Lambda API")
