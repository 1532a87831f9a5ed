"""The figures as JSON: what ``vk top`` reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.figures.figures import ENVIRONMENTS_LIMIT, STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from venturekit.service.figures.figures import EnvironmentFigures, FunctionFigures, ServiceFigures


def document(figures: ServiceFigures, bounds_ms: Sequence[float]) -> dict[str, Any]:
    """All figures. ``durationBoundsMs`` are the upper bounds of the classes in ``durationClasses``."""
    return {
        "atSeconds": round(figures.at, 6),
        "service": {
            "version": figures.version,
            "python": figures.python,
            "startedAt": figures.started,
            "cpuSeconds": round(figures.cpu_seconds, 3),
            "memoryBytes": figures.memory_bytes,
            "openFiles": figures.open_files,
            "connections": figures.connections,
            "owedDeliveries": figures.owed_deliveries,
            "eventOutcomes": figures.outcomes,
        },
        "durationBoundsMs": list(bounds_ms),
        "functions": [_function(each) for each in figures.functions],
        "executionEnvironments": [_environment(each) for each in figures.environments[:ENVIRONMENTS_LIMIT]],
        "executionEnvironmentsTotal": len(figures.environments),
    }


def _function(each: FunctionFigures) -> dict[str, Any]:
    return {
        "accountId": each.account_id,
        "functionName": each.name,
        "invocations": each.invocations,
        "errors": each.errors,
        "throttles": each.throttles,
        "coldStarts": each.cold_starts,
        "initMs": round(each.init_ms, 3),
        "durationMs": round(each.duration_ms, 3),
        "durationClasses": each.classes,
        "executionEnvironments": {state: each.environments[state] for state in STATES},
        "memoryBytes": each.memory_bytes,
        "waitingInvocations": each.waiting,
        "queuedEvents": each.queued_events,
        "oldestEventSeconds": round(each.oldest_event_seconds, 3),
    }


def _environment(each: EnvironmentFigures) -> dict[str, Any]:
    return {
        "number": each.number,
        "accountId": each.account_id,
        "functionName": each.function_name,
        "version": each.version,
        "state": each.state,
        "memoryBytes": each.memory_bytes,
        "memoryLimitBytes": each.memory_limit_bytes,
        "pid": each.pid,
    }
