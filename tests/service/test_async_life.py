"""The queue over the life of a service: restarts, ends in order, and its bound."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.async_support import Ledger, Meeting, Queue
from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import RunningService


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    met = Meeting(tmp_path / "meeting")
    yield met
    met.close()


def attempts(queue: Queue, request_id: str) -> int:
    ((found,),) = queue.rows("SELECT attempts FROM events WHERE request_id = ?", request_id)
    return int(found)


def drain(running: RunningService) -> bool:
    """What the end of ``vk serve`` begins with."""
    drained: bool = running.run(running.service.drain())
    return drained


def test_a_restart_runs_what_was_queued_and_what_was_running(
    start_service: Callable[..., RunningService], tmp_path: Path, meeting: Meeting
) -> None:
    first = start_service(tmp_path / "data", async_concurrency=3)
    ledger = Ledger(first.functions(), tmp_path)
    sent = [ledger.send({**meeting.event, "n": number}) for number in range(8)]
    meeting.wait_for(3)
    queue = Queue(first)
    assert queue.states(ledger.name) == {"running": 3, "queued": 5}
    assert first.health()["queuedEvents"] == 8
    first.close()
    # Killing what ran was no outcome of it.
    assert queue.states(ledger.name) == {"running": 3, "queued": 5}

    meeting.release(8)
    second = start_service(tmp_path / "data")
    assert queue.all_ended(ledger.name) == {"succeeded": 8}
    interrupted = [each for each in sent if "interrupted" in queue.kinds(each)]
    assert len(interrupted) == 3
    for request_id in sent:
        expected = ["accepted", "started", "succeeded"]
        if request_id in interrupted:
            expected[1:1] = ["started", "interrupted"]
        assert queue.kinds(request_id) == expected
        assert (len(ledger.runs(request_id)), attempts(queue, request_id)) == (1 + (request_id in interrupted), 1)
    until(lambda: second.health()["queuedEvents"] == 0, "the queue is empty")


def test_a_retry_that_waits_comes_after_the_restart(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = start_service(tmp_path / "data", async_retry_delays="0.5,0.1")
    ledger = Ledger(first.functions(), tmp_path)
    request_id = ledger.send({"fail": 1})
    queue = Queue(first)
    until(lambda: "error" in queue.kinds(request_id), "its first run has failed")
    first.close()
    assert queue.state(request_id) == "queued"
    start_service(tmp_path / "data", async_retry_delays="0.5,0.1")
    history = queue.ended(request_id)
    assert [line.kind for line in history] == ["accepted", "started", "error", "started", "succeeded"]
    # No earlier than it was said to come, although another process runs it.
    assert history[3].wall - history[2].wall >= 0.499
    assert attempts(queue, request_id) == 2


def test_an_end_in_order_waits_for_what_runs(
    start_service: Callable[..., RunningService], tmp_path: Path, meeting: Meeting
) -> None:
    running = start_service(tmp_path / "data", async_concurrency=1, drain_timeout=20)
    ledger = Ledger(running.functions(), tmp_path)
    first = ledger.send(meeting.event)
    meeting.wait_for(1)
    second = ledger.send()
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(drain, running)
        until(lambda: running.do(lambda: not running.service._asynchronous.dispatcher._claims), "the drain has begun")
        meeting.release(1)
        assert drained.result(20)
    running.close()
    queue = Queue(running)
    assert (queue.state(first), queue.state(second)) == ("succeeded", "queued")
    assert len(ledger.runs()) == 1
    # The next one goes on.
    start_service(tmp_path / "data")
    queue.ended(second)


def test_an_end_in_order_does_not_wait_for_ever(
    start_service: Callable[..., RunningService], tmp_path: Path, meeting: Meeting
) -> None:
    running = start_service(tmp_path / "data", drain_timeout=0.2)
    ledger = Ledger(running.functions(), tmp_path)
    request_id = ledger.send(meeting.event)
    meeting.wait_for(1)
    assert not drain(running)
    running.close()
    queue = Queue(running)
    assert queue.state(request_id) == "running"
    meeting.release(1)
    start_service(tmp_path / "data")
    assert [line.kind for line in queue.ended(request_id)][1:4] == ["started", "interrupted", "started"]


def test_a_full_queue_is_a_throttle(
    start_service: Callable[..., RunningService], tmp_path: Path, meeting: Meeting
) -> None:
    running = start_service(async_concurrency=1, async_queue_limit=3)
    functions = running.functions()
    ledger = Ledger(functions, tmp_path)
    sent = [ledger.send(meeting.event) for _ in range(3)]
    meeting.wait_for(1)
    client = functions.client
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName=ledger.name, InvocationType="Event", Payload=b"{}")
    error: Any = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert error["Reason"] == "CallerRateLimitExceeded"
    assert error["retryAfterSeconds"] == "1"
    assert "3 events are queued (--async-queue-limit)" in error["Error"]["Message"]
    with pytest.raises(ClientError) as legacy:
        client.invoke_async(FunctionName=ledger.name, InvokeArgs=b"{}")
    assert legacy.value.response["Error"]["Code"] == "TooManyRequestsException"
    # It is full of events: a synchronous invoke has nothing to do with it.
    assert functions.invoke(ledger.name).value == {"runs": 1}
    meeting.release(1)
    queue = Queue(running)
    until(lambda: queue.states(ledger.name).get("succeeded") == 1, "one has ended")
    until(lambda: running.health()["queuedEvents"] == 2, "it is known that one has ended")
    sent.append(ledger.send(meeting.event))
    meeting.release(3)
    assert queue.all_ended(ledger.name) == {"succeeded": 4}
    assert [len(ledger.runs(each)) for each in sent] == [1, 1, 1, 1]


def test_a_queue_that_was_full_before_is_full_after_the_restart(
    start_service: Callable[..., RunningService], tmp_path: Path, meeting: Meeting
) -> None:
    first = start_service(tmp_path / "data", async_concurrency=1)
    ledger = Ledger(first.functions(), tmp_path)
    for _ in range(4):
        ledger.send(meeting.event)
    meeting.wait_for(1)
    first.close()
    second = start_service(tmp_path / "data", async_concurrency=1, async_queue_limit=4)
    answer = second.functions().post(ledger.name, X_Amz_Invocation_Type="Event")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    meeting.release(4)
    assert Queue(second).all_ended(ledger.name) == {"succeeded": 4}
