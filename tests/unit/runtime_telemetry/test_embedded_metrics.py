"""Lines in CloudWatch's embedded metric format: their form, their limits, and when they are written."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.runtime import (
    Logger,
    MetricError,
    Metrics,
    batch_handler,
    create_metrics,
    handler,
    metrics_middleware,
    task_handler,
)
from venturekit.testing import http_api_event, sqs_event

SILENT = Logger(min_level="silent")


class Lines(list[Any]):
    """Lines as their values."""

    def take(self, line: str) -> None:
        assert "\n" not in line
        self.append(json.loads(line))


@pytest.fixture
def lines() -> Lines:
    return Lines()


def made(lines: Lines, dimensions: Any = None) -> Metrics:
    return create_metrics("Shop", dimensions, write=lines.take, clock=lambda: 1_700_000_000.1239)


def values_of(lines: list[Any], name: str) -> list[Any]:
    """All values of a metric, whichever lines they are in."""
    found = [line[name] for line in lines if name in line]
    return [value for given in found for value in (given if isinstance(given, list) else [given])]


def test_a_line(lines: Lines) -> None:
    metrics = made(lines, {"service": "orders"})
    metrics.add("orders", 1, "Count")
    metrics.add("latency", 12.5, "Milliseconds", high_resolution=True)
    metrics.add("latency", Decimal(7), "Milliseconds", high_resolution=True)
    metrics.add_dimensions(customer="acme")
    metrics.add_property("orderId", ["o-1", 2])
    metrics.flush()
    directive = {
        "Namespace": "Shop",
        "Dimensions": [["service", "customer"]],
        "Metrics": [
            {"Name": "orders", "Unit": "Count"},
            {"Name": "latency", "Unit": "Milliseconds", "StorageResolution": 1},
        ],
    }
    assert lines == [
        {
            "_aws": {"Timestamp": 1_700_000_000_123, "CloudWatchMetrics": [directive]},
            "orderId": ["o-1", 2],
            "service": "orders",
            "customer": "acme",
            "orders": 1,
            "latency": [12.5, 7.0],
        }
    ]
    # What an invocation has said of itself does not hold for the next one.
    metrics.add("orders", 1)
    metrics.flush()
    metrics.flush()
    assert len(lines) == 2
    assert lines[1]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


@given(
    st.dictionaries(st.integers(0, 250).map(lambda n: f"m{n}"), st.integers(1, 250), max_size=150),
)
def test_the_limits_of_a_line_hold_and_nothing_is_lost(counts: dict[str, int]) -> None:
    lines = Lines()
    metrics = made(lines)
    for name, count in counts.items():
        for value in range(count):
            metrics.add(name, value)
    metrics.flush()
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert 1 <= len(directive["Metrics"]) <= 100
        assert all(
            len(line[metric["Name"]]) <= 100
            for metric in directive["Metrics"]
            if isinstance(line[metric["Name"]], list)
        )
        assert len(line) == 1 + len(directive["Metrics"])
    assert {name: values_of(lines, name) for name in counts} == {name: list(range(n)) for name, n in counts.items()}


def test_what_waits_is_bounded(lines: Lines) -> None:
    metrics = made(lines)
    metrics.add_dimensions(customer="acme")
    for value in range(10_001):
        metrics.add("m", value)
    assert len(values_of(lines, "m")) == 10_000
    metrics.flush()
    assert values_of(lines, "m") == list(range(10_001))
    assert lines[-1]["customer"] == "acme"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, 2.0**361, True, "1", None, [1], 1j])
def test_values_that_are_none(value: Any, lines: Lines) -> None:
    metrics = made(lines)
    with pytest.raises(MetricError, match="the metric 'm'"):
        metrics.add("m", value)
    metrics.flush()
    assert lines == []


@pytest.mark.parametrize("value", [0, -1, 2.0**360, 1e-300, 10**100])
def test_values_at_the_edge(value: Any, lines: Lines) -> None:
    metrics = made(lines)
    metrics.add("m", value)
    metrics.flush()
    assert lines[0]["m"] == value


@pytest.mark.parametrize("name", ["", "  ", "x" * 1025, "ü", None, 3, "_aws", "a\tb"])
def test_names_that_are_none(name: Any, lines: Lines) -> None:
    metrics = made(lines)
    for use in (metrics.add, metrics.add_property):
        with pytest.raises(MetricError, match=r"name of|cannot be called"):
            use(name, 1)
    with pytest.raises(MetricError):
        metrics.add_dimensions({name: "x"})
    with pytest.raises(MetricError):
        create_metrics(name if name != "_aws" else "AWS/Lambda")
    metrics.add("x" * 1024, 1)


@pytest.mark.parametrize("namespace", ["x" * 256, "Shop!", ":Shop", "Shop(a)", "AWS/Shop"])
def test_namespaces_that_are_none(namespace: str) -> None:
    with pytest.raises(MetricError, match="namespace"):
        create_metrics(namespace)
    assert create_metrics("Shop/orders_1.2-3#4:5 6" + "x" * 232).namespace


def test_threads_of_an_invocation_lose_nothing(lines: Lines) -> None:
    """They have no context, unless somebody has taken it along."""
    metrics = made(lines, {"service": "orders"})

    def fn(event: Any) -> None:
        metrics.add_dimensions(customer="acme")
        metrics.add("inside", 1)
        threads = [threading.Thread(target=metrics.add, args=("outside", number)) for number in range(3)]
        threads.append(threading.Thread(target=metrics.add_dimensions, args=({"customer": "other"},)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    task_handler(fn, middleware=[metrics_middleware(metrics)], logger=SILENT)({})
    assert (values_of(lines, "inside"), sorted(values_of(lines, "outside"))) == ([1], [0, 1, 2])
    metrics.add("later", 1)
    metrics.flush()
    assert "customer" not in lines[-1]


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [
        ({"d": ""}, "the dimension 'd'"),
        ({"d": None}, "the dimension 'd'"),
        ({"d": "x" * 1025}, "the dimension 'd'"),
        ({"d": "ü"}, "the dimension 'd'"),
        ({"x" * 251: "x"}, "1 to 250 characters"),
        ({":d": "x"}, "cannot be called"),
        ({"d": "two\nlines"}, "the dimension 'd'"),
        ({"d\x00": "x"}, "a dimension"),
        ({f"d{n}": "x" for n in range(31)}, "has 30 dimensions at most, and not 31"),
    ],
)
def test_dimensions_that_are_none(dimensions: Any, said: str, lines: Lines) -> None:
    with pytest.raises(MetricError, match=said):
        create_metrics("Shop", dimensions)
    metrics = made(lines)
    with pytest.raises(MetricError, match=said):
        metrics.add_dimensions(dimensions)


def test_one_name_for_one_thing(lines: Lines) -> None:
    metrics = made(lines, {"service": "orders"})
    metrics.add("m", 1, "Count")
    metrics.add_property("p", 1)
    for act in (
        lambda: metrics.add("service", 1),
        lambda: metrics.add("p", 1),
        lambda: metrics.add("m", 1, "Bytes"),
        lambda: metrics.add("m", 1, "Count", high_resolution=True),
        lambda: metrics.add_dimensions(m="x"),
        lambda: metrics.add_dimensions(p="x"),
        lambda: metrics.add_property("m", 1),
        lambda: metrics.add_property("service", 1),
    ):
        with pytest.raises(MetricError, match="already"):
            act()
    with pytest.raises(MetricError, match="'count' is no unit of CloudWatch: Bits, "):
        metrics.add("n", 1, "count")
    with pytest.raises(TypeError):
        metrics.add_property("q", b"x")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_invocation_writes_its_metrics_at_its_end(kind: str, lines: Lines) -> None:
    metrics = made(lines)
    middleware = [metrics_middleware(metrics)]

    def fn(body: Any, ctx: Any) -> Any:
        metrics.add("orders", 1)
        assert lines == []
        if ctx.path == "/fails":
            raise KeyError("x")

    async def waiting(body: Any, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return fn(body, ctx)

    main = handler(fn if kind == "sync" else waiting, middleware=middleware, logger=SILENT)
    for path in ("/", "/fails"):
        main(http_api_event("GET", path))
        assert values_of(lines, "orders") == [1]
        lines.clear()


def test_invocations_on_one_event_loop_keep_theirs_apart(lines: Lines) -> None:
    metrics = made(lines)

    async def fn(body: Any, ctx: Any) -> None:
        metrics.add_dimensions(path=ctx.path)
        await asyncio.sleep(0)
        metrics.add("calls", 1)

    main = handler(fn, middleware=[metrics_middleware(metrics)], logger=SILENT)

    async def many() -> None:
        await asyncio.gather(*(main.acall(http_api_event("GET", f"/{n}")) for n in range(5)))

    asyncio.run(many())
    assert sorted((line["path"], line["calls"]) for line in lines) == [(f"/{n}", 1) for n in range(5)]


def test_the_records_of_a_batch_share_theirs(lines: Lines) -> None:
    metrics = made(lines)
    main = batch_handler(lambda body: metrics.add("n", body), middleware=[metrics_middleware(metrics)], logger=SILENT)
    main(sqs_event(1, 2, 3))
    assert len(lines) == 1
    assert values_of(lines, "n") == [1, 2, 3]


def test_lines_go_to_the_standard_output_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the format of the log is: CloudWatch reads nothing but JSON.
    monkeypatch.setenv("AWS_LAMBDA_LOG_FORMAT", "Text")
    metrics = create_metrics("Shop")

    def fn(event: Any) -> None:
        metrics.add("orders", 1, "Count")

    task_handler(fn, middleware=[metrics_middleware(metrics)], task_log=False)({})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["orders"] == 1


def test_nobody_reads_the_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    metrics = create_metrics("Shop")
    metrics.add("orders", 1)
    metrics.flush()
