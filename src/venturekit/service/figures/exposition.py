"""The figures in the text format of Prometheus, version 0.0.4. Pure.

Source: Prometheus documentation, "Exposition formats", "Metric and label naming".
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from venturekit.service.figures.figures import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from venturekit.service.figures.figures import FunctionFigures, ServiceFigures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PIECE: Final = 50
"""How many functions a piece of the text tells one metric of: it is made in well under a millisecond."""
BUCKETS_MS: Final = tuple(step * 10**power / 10 for power in range(1, 7) for step in (1, 2.5, 5))
"""The upper bounds of the histogram's buckets, 1 ms to 500 s. Each has to be one of those that are counted by."""
Labelled = tuple["FunctionFigures", str]
"""A function, and the labels that name it, without the brace that ends them."""


def exposition(figures: ServiceFigures, bounds_ms: Sequence[float]) -> Iterator[str]:
    """All metrics, in pieces that make the text together. ``bounds_ms`` are those of the classes of durations."""
    functions = [
        (each, f'{{account_id="{_escaped(each.account_id)}",function="{_escaped(each.name)}"')
        for each in figures.functions
    ]
    yield _head("venturekit_build_info", "gauge", "Versions of the service.") + (
        f'venturekit_build_info{{version="{_escaped(figures.version)}",python="{_escaped(figures.python)}"}} 1\n'
    )
    yield from _counters(functions)
    yield from _histograms(functions, bounds_ms)
    yield from _gauges(functions)
    yield _head("venturekit_event_outcomes_total", "counter", "Tries to run queued events, by what became of them.")
    for name, count in sorted(figures.outcomes.items()):
        yield f'venturekit_event_outcomes_total{{outcome="{_escaped(name)}"}} {_number(count)}\n'
    yield from _process(figures)


def _counters(functions: Sequence[Labelled]) -> Iterator[str]:
    def counter(name: str, text: str, value: Callable[[FunctionFigures], float]) -> Iterator[str]:
        return _each(f"venturekit_{name}_total", "counter", text, functions, value)

    yield from counter("invocations", "Invocations that have ended.", lambda each: each.invocations)
    yield from counter("invocation_errors", "Invocations that ended with a function error.", lambda each: each.errors)
    yield from counter("throttles", "Synchronous invocations that were refused with 429.", lambda each: each.throttles)
    yield from counter("cold_starts", "Execution environments that were initialised.", lambda each: each.cold_starts)
    yield from counter("cold_start_seconds", "Time spent in init phases.", lambda each: each.init_ms / 1000)


def _gauges(functions: Sequence[Labelled]) -> Iterator[str]:
    def gauge(name: str, text: str, value: Callable[[FunctionFigures], float]) -> Iterator[str]:
        return _each(f"venturekit_{name}", "gauge", text, functions, value)

    yield _head("venturekit_environments", "gauge", "Execution environments by state.")
    for piece in _pieces([labelled for labelled in functions if labelled[0].environments]):
        yield "".join(
            f'venturekit_environments{labels},state="{state}"}} {each.environments[state]}\n'
            for each, labels in piece
            for state in STATES
        )
    yield from gauge(
        "environment_memory_bytes", "Resident memory of their main processes.", lambda each: each.memory_bytes
    )
    yield from gauge("invocations_waiting", "Invocations that wait for an environment.", lambda each: each.waiting)
    yield from gauge("queued_events", "Events of asynchronous invocations that wait.", lambda each: each.queued_events)
    yield from gauge(
        "oldest_queued_event_age_seconds",
        "How long ago the oldest of them was accepted.",
        lambda each: each.oldest_event_seconds,
    )


def _process(figures: ServiceFigures) -> Iterator[str]:
    for name, kind, text, value in (
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
    ):
        yield f"{_head(name, kind, text)}{name} {_number(value)}\n"


def _histograms(functions: Sequence[Labelled], bounds_ms: Sequence[float]) -> Iterator[str]:
    name = "venturekit_invocation_duration_seconds"
    yield _head(name, "histogram", "How long invocations took, without the init phase.")
    # What follows the function's labels, and up to which class it counts.
    buckets = [(f',le="{bucket_ms / 1000:g}"}}', bisect_right(bounds_ms, bucket_ms)) for bucket_ms in BUCKETS_MS]
    for piece in _pieces([labelled for labelled in functions if labelled[0].invocations]):
        lines: list[str] = []
        for each, labels in piece:
            counted = list(accumulate(each.classes, initial=0))
            start = f"{name}_bucket{labels}"
            lines += [f"{start}{bound} {counted[position]}\n" for bound, position in buckets]
            lines.append(
                f'{start},le="+Inf"}} {each.invocations}\n'
                f"{name}_sum{labels}}} {_number(each.duration_ms / 1000)}\n"
                f"{name}_count{labels}}} {each.invocations}\n"
            )
        yield "".join(lines)


def _each(
    name: str, kind: str, text: str, functions: Sequence[Labelled], value: Callable[[FunctionFigures], float]
) -> Iterator[str]:
    yield _head(name, kind, text)
    for piece in _pieces(functions):
        yield "".join([f"{name}{labels}}} {_number(value(each))}\n" for each, labels in piece])


def _pieces(functions: Sequence[Labelled]) -> Iterator[Sequence[Labelled]]:
    return (functions[begin : begin + PIECE] for begin in range(0, len(functions), PIECE))


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(round(value, 9))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
