"""Events that fail, end to end with short delays: real processes, and what their history says of them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.async_support import Ledger, Meeting, Queue, recorder
from tests.service.harness import RunningService, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet

DELAYS = (0.05, 0.1)
SLOW = "import time\ndef handler(event, context):\n    time.sleep(0.2)\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose retries come soon."""
    started = RunningService(tmp_path_factory.mktemp("retries") / "data", async_retry_delays="0.05,0.1")
    yield started
    started.close()


@pytest.fixture
def functions(running: RunningService) -> Iterator[FunctionSet]:
    made = running.functions()
    yield made
    made.delete_all()


@pytest.fixture
def queue(running: RunningService) -> Queue:
    return Queue(running)


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    met = Meeting(tmp_path / "meeting")
    yield met
    met.close()


def configure(functions: FunctionSet, name: str, **members: Any) -> None:
    functions.client.put_function_event_invoke_config(FunctionName=name, **members)


def test_a_failing_event_is_run_three_times(functions: FunctionSet, queue: Queue, tmp_path: Path) -> None:
    ledger = Ledger(functions, tmp_path)
    request_id = ledger.send({"fail": 9, "n": 1})
    history = queue.ended(request_id, "failed")
    assert [line.kind for line in history] == ["accepted", *["started", "error"] * 3, "failed"]
    assert history[-1].detail == {"condition": "RetriesExhausted"}
    errors = [line for line in history if line.kind == "error"]
    for number, error in enumerate(errors, 1):
        assert error.detail["errorType"] == "ValueError"
        assert error.detail["errorMessage"] == f"run {number} fails as told"
        assert error.detail["executedVersion"] == "$LATEST"
    assert [error.detail.get("nextDelaySeconds") for error in errors] == [*DELAYS, None]
    runs = ledger.runs()
    assert [run.id for run in runs] == [request_id] * 3
    assert len({(run.trace, run.arn, str(run.event)) for run in runs}) == 1
    for delay, earlier, later in zip(DELAYS, runs, runs[1:], strict=False):
        assert later.at - earlier.at >= delay


@pytest.mark.parametrize("failures", [1, 2])
def test_a_retry_may_succeed(functions: FunctionSet, queue: Queue, tmp_path: Path, failures: int) -> None:
    ledger = Ledger(functions, tmp_path)
    request_id = ledger.send({"fail": failures})
    history = queue.ended(request_id)
    assert [line.kind for line in history] == [
        "accepted",
        *["started", "error"] * failures,
        "started",
        "succeeded",
    ]
    assert len(ledger.runs(request_id)) == failures + 1
    # The log has one START for each of them.
    starts = [line for line in functions.log_lines(ledger.name) if line.startswith(f"START RequestId: {request_id}")]
    assert len(starts) == failures + 1


@pytest.mark.parametrize("retries", [0, 1])
def test_the_event_invoke_config_is_obeyed(functions: FunctionSet, queue: Queue, tmp_path: Path, retries: int) -> None:
    ledger = Ledger(functions, tmp_path)
    configure(functions, ledger.name, MaximumRetryAttempts=retries)
    functions.publish(ledger.name)
    limited, free = ledger.send({"fail": 9}), ledger.send({"fail": 9}, Qualifier="1")
    queue.ended(limited, "failed")
    queue.ended(free, "failed")
    assert (len(ledger.runs(limited)), len(ledger.runs(free))) == (retries + 1, 3)


def test_a_retry_runs_the_newest_code(functions: FunctionSet, queue: Queue, tmp_path: Path, meeting: Meeting) -> None:
    ledger = Ledger(functions, tmp_path)
    request_id = ledger.send({**meeting.event, "fail": 9})
    meeting.wait_for(1)
    # Its first run is under way.
    functions.update(ledger.name, recorder(2))
    meeting.release(3)
    queue.ended(request_id, "failed")
    assert [run.code for run in ledger.runs(request_id)] == [1, 2, 2]


def test_a_retry_runs_what_the_alias_stands_for_then(
    functions: FunctionSet, queue: Queue, tmp_path: Path, meeting: Meeting
) -> None:
    ledger = Ledger(functions, tmp_path)
    functions.publish(ledger.name)
    functions.update(ledger.name, recorder(2))
    functions.publish(ledger.name)
    functions.client.create_alias(FunctionName=ledger.name, Name="live", FunctionVersion="1")
    request_id = ledger.send({**meeting.event, "fail": 1}, Qualifier="live")
    meeting.wait_for(1)
    functions.client.update_alias(FunctionName=ledger.name, Name="live", FunctionVersion="2")
    meeting.release(2)
    history = queue.ended(request_id)
    assert [line.detail["executedVersion"] for line in history if "executedVersion" in line.detail] == ["1", "2"]
    assert [run.version for run in ledger.runs(request_id)] == ["1", "2"]
    assert {run.arn.rpartition(":")[2] for run in ledger.runs()} == {"live"}


def test_a_timeout_is_a_function_error(functions: FunctionSet, queue: Queue, tmp_path: Path) -> None:
    ledger = Ledger(functions, tmp_path, Timeout=1)
    configure(functions, ledger.name, MaximumRetryAttempts=1)
    request_id = ledger.send({"fail": 1, "sleep": 60})
    history = queue.ended(request_id)
    assert [line.kind for line in history] == ["accepted", "started", "error", "started", "succeeded"]
    assert history[2].detail["errorType"] == "Sandbox.Timedout"
    assert history[2].detail["errorMessage"] == f"RequestId: {request_id} Error: Task timed out after 1.00 seconds"
    assert len(ledger.runs(request_id)) == 2


@pytest.mark.parametrize("status", [0, 1, 77])
def test_a_crash_is_a_function_error(functions: FunctionSet, queue: Queue, tmp_path: Path, status: int) -> None:
    ledger = Ledger(functions, tmp_path)
    request_id = ledger.send({"fail": 1, "exit": status})
    history = queue.ended(request_id)
    assert [line.kind for line in history] == ["accepted", "started", "error", "started", "succeeded"]
    assert history[2].detail["errorType"] == "Runtime.ExitError"
    assert len(ledger.runs(request_id)) == 2


def test_a_function_that_cannot_be_initialised_fails_its_events(functions: FunctionSet, queue: Queue) -> None:
    name = functions.create("raise RuntimeError('not today')")
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    history = queue.ended(answer["ResponseMetadata"]["RequestId"], "failed")
    assert [line.kind for line in history] == ["accepted", *["started", "error"] * 3, "failed"]
    assert {line.detail["errorMessage"] for line in history if line.kind == "error"} == {"not today"}


@pytest.mark.parametrize(
    "message",
    ['"\\ud800" + "x" * 9', '"\\u0000"', '"m" * 200_000', '"é😀" * 2000'],
    ids=["half", "nul", "long", "wide"],
)
def test_any_error_message_is_history(functions: FunctionSet, queue: Queue, message: str) -> None:
    name = functions.create(f"def handler(event, context):\n    raise ValueError({message})\n")
    configure(functions, name, MaximumRetryAttempts=0)
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    history = queue.ended(answer["ResponseMetadata"]["RequestId"], "failed")
    assert [line.kind for line in history] == ["accepted", "started", "error", "failed"]
    assert history[2].detail["errorType"] == "ValueError"
    assert len(history[2].detail["errorMessage"]) <= 1024


def test_throttled_events_are_never_lost(
    functions: FunctionSet, queue: Queue, tmp_path: Path, meeting: Meeting
) -> None:
    ledger = Ledger(functions, tmp_path)
    functions.client.put_function_concurrency(FunctionName=ledger.name, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(functions.invoke, ledger.name, meeting.event)
        meeting.wait_for(1)
        sent = [ledger.send({"n": number}) for number in range(20)]
        until(lambda: any("throttled" in queue.kinds(each) for each in sent), "an event is throttled")
        meeting.release(1)
        assert holder.result(20).value == {"runs": 1}
    assert queue.all_ended(ledger.name) == {"succeeded": 20}
    assert {each: len(ledger.runs(each)) for each in sent} == dict.fromkeys(sent, 1)
    for request_id in sent:
        reasons = {line.detail["reason"] for line in queue.history(request_id) if line.kind == "throttled"}
        assert reasons <= {"ReservedFunctionConcurrentInvocationLimitExceeded"}
        # A throttle is no attempt.
        ((attempts,),) = queue.rows("SELECT attempts FROM events WHERE request_id = ?", request_id)
        assert attempts == 1


def test_a_function_deleted_with_events_queued(
    functions: FunctionSet, queue: Queue, tmp_path: Path, meeting: Meeting
) -> None:
    ledger = Ledger(functions, tmp_path)
    functions.client.put_function_concurrency(FunctionName=ledger.name, ReservedConcurrentExecutions=1)
    running_one = ledger.send(meeting.event)
    meeting.wait_for(1)
    waiting = ledger.send()
    functions.client.delete_function(FunctionName=ledger.name)
    meeting.release(1)
    assert queue.ended(waiting, "failed")[-1].detail["condition"] == "FunctionNotFound"
    # What ran when it was deleted has ended, as it would have or by the end of its environment.
    until(lambda: queue.state(running_one) != "running", "the running one ends")
    assert len(ledger.runs()) == 1


def put_flood(running: RunningService, name: str, count: int) -> None:
    """Accept many events at once, on one connection."""
    request = (
        b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        b"X-Amz-Invocation-Type: Event\r\nContent-Length: 2\r\n\r\n{}" % (name.encode(), running.port)
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        for sent in range(0, count, 50):
            connection.sendall(request * 50)
            received = b""
            while received.count(b"\r\n\r\n") < 50:
                part = connection.recv(65_536)
                assert part, f"closed after {sent} events"
                received += part
            assert received.count(b"HTTP/1.1 202 ") == 50


def test_a_flood_on_one_function_does_not_delay_another(
    running: RunningService, functions: FunctionSet, queue: Queue, tmp_path: Path
) -> None:
    flooded = functions.create(SLOW)
    ledger = Ledger(functions, tmp_path)
    functions.invoke(ledger.name)
    # 16 at a time and a fifth of a second each: 25 seconds of work.
    put_flood(running, flooded, 2000)
    answer = functions.client.invoke(FunctionName=flooded, InvocationType="Event", Payload=b"{}")
    behind_the_flood = answer["ResponseMetadata"]["RequestId"]
    delays = []
    for _ in range(10):
        history = queue.ended(ledger.send())
        delays.append(history[1].wall - history[0].wall)
    # The machine may be busy; one that waited behind the flood would have waited for many seconds.
    assert sorted(delays)[5] < 0.5
    assert max(delays) < 2.0
    assert queue.kinds(behind_the_flood) == ["accepted"]
    assert queue.states(flooded)["queued"] > 500
    functions.client.delete_function(FunctionName=flooded)
    ended = queue.all_ended(flooded)
    assert sum(ended.values()) == 2001
    assert running.health()["queuedEvents"] == 0
