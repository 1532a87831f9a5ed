"""``/metrics`` and ``/_venturekit/metrics.json``: the service's own figures."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from tests.clients.client_support import Key, create, statement, write_keys
from tests.service.harness import send, until
from venturekit.protocol.sigv4 import Credentials
from venturekit.protocol.sigv4_signer import sign_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

OURS = {"X-Amz-Client": "test"}
SOURCE = """
import time
def handler(event, context):
    if event == "fail":
        raise ValueError("as told")
    if isinstance(event, dict) and "hold" in event:
        with open(event["hold"]) as pipe: pipe.read()
    return event
"""


def scrape(running: RunningService, path: str = "/_venturekit/metrics") -> dict[str, Any]:
    answer = send(running.url, "GET", path, headers=OURS)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(families: dict[str, Any], metric: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (metric, labels, found)
    return float(found[0])


def function_of(running: RunningService, name: str) -> Any:
    """What is said of a function; figures are up to 0.2 seconds old, so that it may not be known at once."""

    def found() -> Any:
        document = send(running.url, "GET", "/_venturekit/metrics.json", headers=OURS).json
        return [each for each in document["functions"] if each["functionName"] == name]

    return until(found, f"{name} is shown")[0]


def test_invocations_are_counted(functions: FunctionSet, shared_service: RunningService) -> None:
    name = functions.create(SOURCE)
    for event in ("x", "fail", "x"):
        functions.invoke(name, event)
    counted = until(lambda: (found := scrape(shared_service)) and _has(found, name, 3), "three are counted")
    assert value(counted, "venturekit_invocation_errors_total", function=name) == 1
    assert value(counted, "venturekit_throttles_total", function=name) == 0
    assert value(counted, "venturekit_cold_starts_total", function=name) == 1
    assert value(counted, "venturekit_cold_start_seconds_total", function=name) > 0
    assert value(counted, "venturekit_invocation_duration_seconds_count", function=name) == 3
    assert 0 < value(counted, "venturekit_invocation_duration_seconds_sum", function=name) < 60
    assert value(counted, "venturekit_invocation_duration_seconds_bucket", function=name, le="+Inf") == 3
    assert value(counted, "venturekit_environments", function=name, state="idle") == 1
    assert value(counted, "venturekit_environment_memory_bytes", function=name) > 100_000


def _has(families: dict[str, Any], name: str, invocations: int) -> dict[str, Any] | None:
    ended = sum(
        sample.value
        for sample in families["venturekit_invocations"].samples
        if sample.name == "venturekit_invocations_total" and sample.labels["function"] == name
    )
    idle = [
        sample.value
        for sample in families["venturekit_environments"].samples
        if sample.labels["function"] == name and sample.labels["state"] == "idle"
    ]
    return families if (ended, idle) == (invocations, [1]) else None


def test_throttles_and_what_runs_are_counted(
    functions: FunctionSet, shared_service: RunningService, tmp_path: Path
) -> None:
    name = functions.create(SOURCE, Timeout=30)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=functions.invoke, args=(name, {"hold": str(tmp_path / "pipe")}))
    thread.start()
    with open(tmp_path / "pipe", "w"):
        until(lambda: function_of(shared_service, name)["executionEnvironments"]["busy"] == 1, "it runs")
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            functions.invoke(name, "x")
    thread.join(30)
    until(lambda: function_of(shared_service, name)["throttles"] == 1, "the throttle is counted")
    assert until(lambda: function_of(shared_service, name)["invocations"] == 1, "the invocation is counted")


def test_queued_events_and_their_outcomes(start_service: Callable[..., RunningService]) -> None:
    running = start_service(async_retry_delays=(0.0, 0.0))
    functions = running.functions()
    name = functions.create(SOURCE)
    for event in (b'"x"', b'"x"', b'"fail"'):
        functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=event)
    counted = until(
        lambda: (found := scrape(running)) and _outcomes(found)["failed"] == 1 and found, "the last event has failed"
    )
    assert _outcomes(counted) == {"succeeded": 2, "retried": 2, "failed": 1}
    assert value(counted, "venturekit_queued_events", function=name) == 0
    assert value(counted, "venturekit_oldest_queued_event_age_seconds", function=name) == 0


def test_events_that_wait_are_counted_with_their_age(start_service: Callable[..., RunningService]) -> None:
    running = start_service(async_retry_delays=(3600.0, 3600.0))
    functions = running.functions()
    name = functions.create(SOURCE)
    for _ in range(2):
        functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"fail"')
    found = until(lambda: (each := function_of(running, name))["queuedEvents"] == 2 and each, "both wait")
    later = until(lambda: (each := function_of(running, name)) != found and each, "the figures are renewed")
    assert 0 < found["oldestEventSeconds"] < later["oldestEventSeconds"] < 60
    assert later["errors"] == 2


def _outcomes(families: dict[str, Any]) -> dict[str, float]:
    return {sample.labels["outcome"]: sample.value for sample in families["venturekit_event_outcomes"].samples}


def test_the_service_tells_of_itself(shared_service: RunningService) -> None:
    found = scrape(shared_service, "/metrics")
    assert value(found, "venturekit_build_info") == 1
    assert value(found, "venturekit_connections") >= 1
    assert value(found, "process_cpu_seconds_total") > 0
    assert value(found, "process_resident_memory_bytes") > 10_000_000
    assert value(found, "process_open_fds") > 3
    assert abs(value(found, "process_start_time_seconds") - time.time()) < 3600
    assert value(found, "venturekit_owed_deliveries") == 0


def test_a_scraper_needs_what_a_web_page_cannot_send(shared_service: RunningService) -> None:
    for path in ("/metrics", "/_venturekit/metrics", "/_venturekit/metrics.json"):
        assert send(shared_service.url, "GET", path).status == 403
        assert send(shared_service.url, "GET", path, headers={**OURS, "Origin": "http://page.test"}).status == 403
        assert send(shared_service.url, "POST", path, b"", OURS).status == 405
    # As docs/metrics.md has Prometheus do it.
    authorization = {"Authorization": "AWS4-HMAC-SHA256 prometheus"}
    assert send(shared_service.url, "GET", "/metrics", headers=authorization).status == 200


def test_a_deleted_function_is_not_counted_any_more(functions: FunctionSet, shared_service: RunningService) -> None:
    name = functions.create(SOURCE)
    functions.invoke(name, "x")
    functions.client.delete_function(FunctionName=name)
    assert until(lambda: name not in str(scrape(shared_service)), "it is gone")
    functions.create(SOURCE, name=name)
    function_of(shared_service, name)
    assert value(scrape(shared_service), "venturekit_invocations_total", function=name) == 0


def test_who_may_see_figures_and_whose(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    reader = Key("figures", (statement("venturekit:GetMetrics"),), account_id="111122223333")
    keys = (Key("full", (statement("lambda:*"),)), Key("theirs", (statement("lambda:*"),), "111122223333"), reader)
    write_keys(tmp_path / "keys.json", keys)
    running = start_service(
        credentials=tmp_path / "keys.json", access_key_id="AKIDROOT", secret_access_key="root-secret"
    )
    for key, name in zip(keys, ("ours", "theirs"), strict=False):
        client = key.client(running.url)
        create(client, name)
        client.close()

    def seen(access_key_id: str, secret: str) -> Any:
        headers = {"Host": f"127.0.0.1:{running.port}"}
        target = "/_venturekit/metrics.json"
        signed = sign_headers(
            "GET", target, headers, b"", Credentials(access_key_id, secret), region="us-east-1", now=datetime.now(UTC)
        )
        return send(running.url, "GET", target, headers={**headers, **signed})

    assert send(running.url, "GET", "/metrics", headers=OURS).status == 403
    assert seen(keys[0].access_key_id, keys[0].secret).status == 403
    theirs = seen(reader.access_key_id, reader.secret).json
    assert [each["functionName"] for each in theirs["functions"]] == ["theirs"]
    everything = seen("AKIDROOT", "root-secret").json
    assert sorted(each["functionName"] for each in everything["functions"]) == ["ours", "theirs"]


def test_counting_costs_next_to_nothing() -> None:
    from venturekit.service.environments.statistics import FunctionStatistics

    counted = FunctionStatistics()
    best = min(_timed(counted) for _ in range(5))
    assert best < 5e-6  # about 0.3 µs on an idle machine
    assert counted.invocations == 5 * 2000


def _timed(counted: Any) -> float:
    began = time.process_time()
    for _ in range(2000):
        counted.settled(1.5, failed=False)
    return (time.process_time() - began) / 2000
