"""What ``vk top`` shows, from two looks at the service's figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SORTS: Final = ("invokes", "p99", "errors", "throttles", "memory", "queue", "name")
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One function between two looks. Percentiles are None where nothing has ended."""

    name: str
    account_id: str
    invokes_per_second: float
    errors_per_second: float
    throttles_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    cold_starts: int
    starting: int
    idle: int
    busy: int
    stopping: int
    memory_bytes: int
    waiting: int
    queued_events: int
    oldest_event_seconds: float


_ORDERS: Final[dict[str, Callable[[Row], float]]] = {
    "invokes": lambda row: -row.invokes_per_second,
    "p99": lambda row: -(row.p99_ms or 0.0),
    "errors": lambda row: -row.errors_per_second,
    "throttles": lambda row: -row.throttles_per_second,
    "memory": lambda row: -row.memory_bytes,
    "queue": lambda row: -row.queued_events,
    "name": lambda row: 0.0,
}


def rows_of(before: dict[str, Any] | None, now: dict[str, Any], sort: str) -> list[Row]:
    """The functions of the document ``now``, sorted by one of :data:`SORTS`, and by name where that is the same.

    Without a look ``before``, or with one at another process, rates are 0 and percentiles those of all invocations.
    """
    former: dict[tuple[str, str], dict[str, Any]] = {}
    seconds = seconds_between(before, now)
    if before is not None and seconds is not None:
        former = {_key(each): each for each in before["functions"]}
    bounds = now["durationBoundsMs"]
    rows = [_row(former.get(_key(each)), each, bounds, seconds or 0.0) for each in now["functions"]]
    return sorted(rows, key=lambda row: (_ORDERS[sort](row), row.name, row.account_id))


def seconds_between(before: dict[str, Any] | None, now: dict[str, Any]) -> float | None:
    """How long after ``before`` these figures are; None if they are of different processes, or the same figures."""
    if before is None or before["service"]["startedAt"] != now["service"]["startedAt"]:
        return None
    passed: float = now["atSeconds"] - before["atSeconds"]
    return passed if passed > 0 else None


def percentile(bounds_ms: Sequence[float], classes: Sequence[int], fraction: float) -> float | None:
    """The duration that this fraction of invocations does not exceed, interpolated in its class."""
    total = sum(classes)
    if not total:
        return None
    wanted = fraction * total
    below = 0
    for number, count in enumerate(classes):
        if count and below + count >= wanted:
            lower: float = bounds_ms[number - 1] if number else 0.0
            # Beyond the last bound it is not known how far.
            upper: float = bounds_ms[number] if number < len(bounds_ms) else lower
            return lower + (upper - lower) * (wanted - below) / count
        below += count
    return bounds_ms[-1]


def document_of(rows: Sequence[Row], before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "service": {**now["service"], "cpuPercent": cpu_percent(before, now)},
        "functions": [
            {
                "functionName": row.name,
                "accountId": row.account_id,
                "invokesPerSecond": round(row.invokes_per_second, 3),
                "errorsPerSecond": round(row.errors_per_second, 3),
                "throttlesPerSecond": round(row.throttles_per_second, 3),
                "p50Ms": None if row.p50_ms is None else round(row.p50_ms, 3),
                "p99Ms": None if row.p99_ms is None else round(row.p99_ms, 3),
                "coldStarts": row.cold_starts,
                "executionEnvironments": {
                    "starting": row.starting,
                    "idle": row.idle,
                    "busy": row.busy,
                    "stopping": row.stopping,
                },
                "memoryBytes": row.memory_bytes,
                "waitingInvocations": row.waiting,
                "queuedEvents": row.queued_events,
                "oldestEventSeconds": row.oldest_event_seconds,
            }
            for row in rows
        ],
        "executionEnvironments": now["executionEnvironments"],
    }


def cpu_percent(before: dict[str, Any] | None, now: dict[str, Any]) -> float | None:
    """How much of one processor the service has used between two looks."""
    seconds = seconds_between(before, now)
    if before is None or seconds is None:
        return None
    used: float = now["service"]["cpuSeconds"] - before["service"]["cpuSeconds"]
    return round(100 * used / seconds, 1)


def _key(each: dict[str, Any]) -> tuple[str, str]:
    return each["accountId"], each["functionName"]


def _row(before: dict[str, Any] | None, now: dict[str, Any], bounds: Sequence[float], seconds: float) -> Row:
    if before is None or before["invocations"] > now["invocations"]:
        # New, or deleted and created again.
        before = {"invocations": 0, "errors": 0, "throttles": 0, "durationClasses": []}

    def rate(name: str) -> float:
        return max(now[name] - before[name], 0) / seconds if seconds else 0.0

    classes: list[int] = now["durationClasses"]
    former = before["durationClasses"] or [0] * len(classes)
    recent = [new - old for new, old in zip(classes, former, strict=True)] if classes else []
    environments = now["executionEnvironments"]
    return Row(
        name=now["functionName"],
        account_id=now["accountId"],
        invokes_per_second=rate("invocations"),
        errors_per_second=rate("errors"),
        throttles_per_second=rate("throttles"),
        p50_ms=percentile(bounds, recent, 0.5),
        p99_ms=percentile(bounds, recent, 0.99),
        cold_starts=now["coldStarts"],
        starting=environments["starting"],
        idle=environments["idle"],
        busy=environments["busy"],
        stopping=environments["stopping"],
        memory_bytes=now["memoryBytes"],
        waiting=now["waitingInvocations"],
        queued_events=now["queuedEvents"],
        oldest_event_seconds=now["oldestEventSeconds"],
    )
