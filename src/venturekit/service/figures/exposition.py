"""The figures in the text format of Prometheus, version 0.0.4. Pure.

Source: Prometheus documentation, "Exposition formats", "Metric and label naming".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.figures.figures import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from venturekit.service.figures.figures import FunctionFigures, ServiceFigures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_MS: Final = tuple(step * 10**power / 10 for power in range(1, 7) for step in (1, 2.5, 5))
"""The upper bounds of the histogram's buckets, 1 ms to 500 s. Each has to be one of those that are counted by."""
Sample = tuple[str, str, float]
"""What follows the metric's name, its labels, and the value."""


def exposition(figures: ServiceFigures, bounds_ms: Sequence[float]) -> str:
    """All metrics. ``bounds_ms`` are those of the classes of durations."""
    functions = figures.functions
    parts = [
        _metric("venturekit_build_info", "gauge", "Versions of the service.", [("", _build(figures), 1)]),
        *_counters(functions),
        _metric(
            "venturekit_invocation_duration_seconds",
            "histogram",
            "How long invocations took, without the init phase.",
            (sample for each in functions for sample in _histogram(each, bounds_ms)),
        ),
        *_gauges(functions),
        _metric(
            "venturekit_event_outcomes_total",
            "counter",
            "Tries to run queued events, by what became of them.",
            [("", _labels(outcome=name), count) for name, count in sorted(figures.outcomes.items())],
        ),
        *_process(figures),
    ]
    return "".join(parts)


def _counters(functions: Sequence[FunctionFigures]) -> list[str]:
    def counter(name: str, text: str, value: Callable[[FunctionFigures], float]) -> str:
        samples = [("", _of(each), value(each)) for each in functions]
        return _metric(f"venturekit_{name}_total", "counter", text, samples)

    return [
        counter("invocations", "Invocations that have ended.", lambda each: each.invocations),
        counter("invocation_errors", "Invocations that ended with a function error.", lambda each: each.errors),
        counter("throttles", "Synchronous invocations that were refused with 429.", lambda each: each.throttles),
        counter("cold_starts", "Execution environments that were initialised.", lambda each: each.cold_starts),
        counter("cold_start_seconds", "Time spent in init phases.", lambda each: each.init_ms / 1000),
    ]


def _gauges(functions: Sequence[FunctionFigures]) -> list[str]:
    def gauge(name: str, text: str, value: Callable[[FunctionFigures], float]) -> str:
        return _metric(f"venturekit_{name}", "gauge", text, [("", _of(each), value(each)) for each in functions])

    states = [
        ("", _of(each, state=state), each.environments[state])
        for each in functions
        for state in STATES
        if each.environments
    ]
    return [
        _metric("venturekit_environments", "gauge", "Execution environments by state.", states),
        gauge("environment_memory_bytes", "Resident memory of their main processes.", lambda each: each.memory_bytes),
        gauge("invocations_waiting", "Invocations that wait for an environment.", lambda each: each.waiting),
        gauge("queued_events", "Events of asynchronous invocations that wait.", lambda each: each.queued_events),
        gauge(
            "oldest_queued_event_age_seconds",
            "How long ago the oldest of them was accepted.",
            lambda each: each.oldest_event_seconds,
        ),
    ]


def _process(figures: ServiceFigures) -> list[str]:
    single = (
        (
            "venturekit_owed_deliveries",
            "gauge",
            "Records that destinations still have to get.",
            figures.owed_deliveries,
        ),
        ("venturekit_connections", "gauge", "Open connections of clients.", figures.connections),
        ("process_cpu_seconds_total", "counter", "CPU time of the service's process.", figures.cpu_seconds),
        ("process_resident_memory_bytes", "gauge", "Its resident memory.", figures.memory_bytes),
        ("process_open_fds", "gauge", "Its open files.", figures.open_files),
        ("process_start_time_seconds", "gauge", "When it was started, in epoch seconds.", figures.started),
    )
    return [_metric(name, kind, text, [("", "", value)]) for name, kind, text, value in single]


def _histogram(each: FunctionFigures, bounds_ms: Sequence[float]) -> Iterable[Sample]:
    if not each.invocations:
        return
    total = position = 0
    for bucket_ms in BUCKETS_MS:
        while position < len(bounds_ms) and bounds_ms[position] <= bucket_ms:
            total += each.classes[position]
            position += 1
        yield "_bucket", _of(each, le=f"{bucket_ms / 1000:g}"), total
    yield "_bucket", _of(each, le="+Inf"), each.invocations
    yield "_sum", _of(each), each.duration_ms / 1000
    yield "_count", _of(each), each.invocations


def _metric(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = "".join(f"{name}{suffix}{labels} {_number(value)}\n" for suffix, labels, value in samples)
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{lines}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(round(value, 9))


def _build(figures: ServiceFigures) -> str:
    return _labels(version=figures.version, python=figures.python)


def _of(each: FunctionFigures, **more: str) -> str:
    return _labels(account_id=each.account_id, function=each.name, **more)


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
