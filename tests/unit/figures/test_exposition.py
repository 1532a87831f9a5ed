"""The figures in the text format of Prometheus, as its own parser reads them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from venturekit.service.environments.statistics import BOUNDS_MS, FunctionStatistics
from venturekit.service.figures.exposition import BUCKETS_MS, PIECE, exposition
from venturekit.service.figures.figures import FUNCTIONS_LIMIT, OTHERS, FunctionFigures, ServiceFigures, bounded


def service(functions: list[FunctionFigures], **members: Any) -> ServiceFigures:
    given = {
        "at": 1.0,
        "version": '1.0"\\\n',
        "python": "3.11.0",
        "started": 1.7e9,
        "cpu_seconds": 0.25,
        "memory_bytes": 1,
        "open_files": 2,
        "connections": 3,
        "owed_deliveries": 4,
        "outcomes": {"succeeded": 5},
        "environments": [],
        **members,
    }
    return ServiceFigures(functions=functions, **given)


def figures_of(name: str, durations_ms: list[float]) -> FunctionFigures:
    counted = FunctionStatistics()
    for duration_ms in durations_ms:
        counted.settled(duration_ms, failed=duration_ms > 100)
    made = FunctionFigures(account_id="000000000000", name=name)
    made.invocations, made.errors, made.duration_ms = counted.invocations, counted.errors, counted.duration_ms
    made.classes = counted.classes
    return made


def parsed(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_bucket_is_a_bound_that_is_counted_by() -> None:
    assert set(BUCKETS_MS) <= set(BOUNDS_MS)
    assert list(BOUNDS_MS) == sorted(BOUNDS_MS)


@given(durations=st.lists(st.floats(0, 2e6), max_size=40))
@settings(deadline=None, max_examples=100)
def test_a_histogram_counts_every_invocation(durations: list[float]) -> None:
    found = parsed("".join(exposition(service([figures_of("f", durations)]), BOUNDS_MS)))
    histogram = found["venturekit_invocation_duration_seconds"]
    buckets = {
        float(sample.labels["le"]): sample.value for sample in histogram.samples if sample.name.endswith("_bucket")
    }
    for bound_seconds, count in buckets.items():
        assert count == sum(duration <= round(bound_seconds * 1000, 6) for duration in durations)
    assert bool(buckets) is bool(durations)
    (errors,) = found["venturekit_invocation_errors"].samples
    assert errors.value == sum(duration > 100 for duration in durations)


def test_every_metric_has_a_type_and_a_text() -> None:
    found = parsed("".join(exposition(service([figures_of('odd"name\\', [1.0])]), BOUNDS_MS)))
    assert all(family.documentation and family.type in ("counter", "gauge", "histogram") for family in found.values())
    (build,) = found["venturekit_build_info"].samples
    assert build.labels == {"version": '1.0"\\\n', "python": "3.11.0"}
    (invocations,) = found["venturekit_invocations"].samples
    assert (invocations.labels["function"], invocations.value) == ('odd"name\\', 1)
    assert found["venturekit_event_outcomes"].samples[0].labels == {"outcome": "succeeded"}


def test_pieces_are_small_and_whole_lines() -> None:
    functions = [figures_of(f"f{number}", [1.0]) for number in range(3 * PIECE + 1)]
    pieces = list(exposition(service(functions), BOUNDS_MS))
    assert all(piece.endswith("\n") for piece in pieces)
    assert max(piece.count("\n") for piece in pieces) == PIECE * (len(BUCKETS_MS) + 3)
    assert len(parsed("".join(pieces))["venturekit_invocations"].samples) == len(functions)


def test_many_functions_become_one() -> None:
    functions = [figures_of(f"f{number}", [1.0] * (number % 7)) for number in range(FUNCTIONS_LIMIT + 30)]
    shown = bounded(functions)
    assert len(shown) == FUNCTIONS_LIMIT + 1
    assert shown[-1].name == OTHERS
    assert sum(each.invocations for each in shown) == sum(each.invocations for each in functions)
    assert min(each.invocations for each in shown[:-1]) >= shown[-1].invocations / 30
    assert sum(map(sum, (each.classes for each in shown))) == sum(map(sum, (each.classes for each in functions)))


@given(duration_ms=st.floats(0, 1e7))
@settings(deadline=None, max_examples=100)
def test_an_invocation_is_in_one_class(duration_ms: float) -> None:
    counted = FunctionStatistics()
    counted.settled(duration_ms, failed=False)
    assert counted.classes.index(1) == bisect_left(BOUNDS_MS, duration_ms)
    assert (sum(counted.classes), counted.errors) == (1, 0)
