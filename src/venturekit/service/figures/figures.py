"""What the service knows of itself at one moment. Times in seconds unless a name says otherwise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

STATES: Final = ("starting", "idle", "busy", "stopping")
FUNCTIONS_LIMIT: Final = 500
"""How many functions are shown one by one: those that were invoked most. The others are one more."""
ENVIRONMENTS_LIMIT: Final = 500
OTHERS: Final = "_others"


@dataclass(slots=True, kw_only=True)
class FunctionFigures:
    """One function, or several as if they were one. ``classes`` are invocations by duration."""

    account_id: str
    name: str
    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    cold_starts: int = 0
    init_ms: float = 0.0
    duration_ms: float = 0.0
    classes: list[int] = field(default_factory=list)
    environments: Counter[str] = field(default_factory=Counter)
    memory_bytes: int = 0
    waiting: int = 0
    queued_events: int = 0
    oldest_event_seconds: float = 0.0

    def add(self, other: FunctionFigures) -> None:
        """Count another function in, all but its classes."""
        self.invocations += other.invocations
        self.errors += other.errors
        self.throttles += other.throttles
        self.cold_starts += other.cold_starts
        self.init_ms += other.init_ms
        self.duration_ms += other.duration_ms
        # Hardly any has environments of those that are counted in.
        if other.environments:
            self.environments.update(other.environments)
        self.memory_bytes += other.memory_bytes
        self.waiting += other.waiting
        self.queued_events += other.queued_events
        self.oldest_event_seconds = max(self.oldest_event_seconds, other.oldest_event_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFigures:
    """One execution environment."""

    number: int
    account_id: str
    function_name: str
    version: str
    state: str
    memory_bytes: int
    memory_limit_bytes: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFigures:
    """All of it. ``at`` is monotonic, ``started`` epoch seconds."""

    at: float
    version: str
    python: str
    started: float
    cpu_seconds: float
    memory_bytes: int
    open_files: int
    connections: int
    owed_deliveries: int
    outcomes: dict[str, int]
    functions: Sequence[FunctionFigures]
    environments: Sequence[EnvironmentFigures]


def bounded(functions: Sequence[FunctionFigures]) -> list[FunctionFigures]:
    """At most :data:`FUNCTIONS_LIMIT` functions, and one that stands for the others, if there are any."""
    if len(functions) <= FUNCTIONS_LIMIT:
        return sorted(functions, key=lambda each: (each.account_id, each.name))
    ordered = sorted(functions, key=lambda each: (-each.invocations, each.account_id, each.name))
    others = FunctionFigures(account_id="", name=OTHERS)
    for each in ordered[FUNCTIONS_LIMIT:]:
        others.add(each)
    classes = [each.classes for each in ordered[FUNCTIONS_LIMIT:] if each.classes]
    others.classes = [sum(counts) for counts in zip(*classes, strict=True)]
    return [*sorted(ordered[:FUNCTIONS_LIMIT], key=lambda each: (each.account_id, each.name)), others]
