"""How many environments there are, which one serves, and when they go."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import (
    client_of,
    descendants,
    fronts,
    launchers,
    pollings,
    send,
    until,
    wait_gone,
    warm_programs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet, Outcome, RunningService

# Says that it is there, and waits for a word: two named pipes are the events.
MEETING = """
import os

def handler(event, context):
    folder = event["folder"]
    here = os.open(folder + "/here", os.O_WRONLY)
    os.write(here, b"x")
    go = os.open(folder + "/go", os.O_RDONLY)
    word = os.read(go, 1)
    os.close(here), os.close(go)
    return os.getpid()
"""
COUNTER = "import os\nn = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return [n, os.getpid()]\n"


class Meeting:
    """Holds invocations of MEETING until they are let go."""

    def __init__(self, folder: Path) -> None:
        self.event = {"folder": str(folder)}
        os.mkfifo(folder / "here")
        os.mkfifo(folder / "go")
        # Both ends are kept open, so that nobody waits for the other side to open.
        self._here = os.open(folder / "here", os.O_RDWR)
        self._go = os.open(folder / "go", os.O_RDWR)

    def wait_for(self, count: int, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while count:
            ready, _, _ = select.select([self._here], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{count} invocations have not begun"
            count -= len(os.read(self._here, count))

    def someone_came(self) -> bool:
        return bool(select.select([self._here], [], [], 0)[0])

    def release(self, count: int) -> None:
        os.write(self._go, b"x" * count)

    def close(self) -> None:
        os.close(self._here)
        os.close(self._go)


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    met = Meeting(tmp_path)
    yield met
    met.close()


@contextmanager
def invoking(functions: FunctionSet, name: str, meeting: Meeting, count: int) -> Iterator[list[Any]]:
    """``count`` invocations at once; the list holds their futures. They are let go at the latest in the end."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(functions.invoke, name, meeting.event) for _ in range(count)]
        try:
            yield futures
        finally:
            meeting.release(sum(not future.done() for future in futures))


@pytest.mark.parametrize("count", [2, 12])
def test_parallel_invocations_get_environments_of_their_own(
    leak_free: FunctionSet, meeting: Meeting, count: int
) -> None:
    functions = leak_free
    name = functions.create(MEETING, Timeout=20)
    with invoking(functions, name, meeting, count) as futures:
        meeting.wait_for(count)
        meeting.release(count)
        pids = {future.result().value for future in futures}
    assert len(pids) == count


def test_serial_invocations_share_one_environment(functions: FunctionSet) -> None:
    name = functions.create(COUNTER)
    values = [functions.invoke(name, LogType="None").value for _ in range(200)]
    assert [value[0] for value in values] == list(range(1, 201))
    assert len({value[1] for value in values}) == 1


def test_the_environment_that_rested_last_serves_first(functions: FunctionSet, meeting: Meeting) -> None:
    name = functions.create(MEETING, Timeout=20)
    with invoking(functions, name, meeting, 3) as futures:
        meeting.wait_for(3)
        meeting.release(3)
        pids = {future.result().value for future in futures}
    assert len(pids) == 3
    meeting.release(1)
    served = functions.invoke(name, meeting.event).value
    meeting.wait_for(1)
    for _ in range(5):
        meeting.release(1)
        assert functions.invoke(name, meeting.event).value == served
        meeting.wait_for(1)


def test_functions_do_not_wait_for_one_another(functions: FunctionSet, meeting: Meeting) -> None:
    held = functions.create(MEETING, Timeout=20)
    free = functions.create(COUNTER)
    with invoking(functions, held, meeting, 1):
        meeting.wait_for(1)
        assert functions.invoke(free).value[0] == 1


def test_over_the_account_limit_is_a_throttle(start_service: Callable[..., RunningService], meeting: Meeting) -> None:
    running = start_service(concurrency=3)
    functions = running.functions()
    name = functions.create(MEETING, Timeout=20)
    other = functions.create(COUNTER)
    with invoking(functions, name, meeting, 3) as futures:
        meeting.wait_for(3)
        for refused in (name, other, name):
            answer = functions.post(refused)
            assert answer.status == 429
            assert answer.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json == {
                "Type": "User",
                "message": "Rate Exceeded.",
                "Reason": "ConcurrentInvocationLimitExceeded",
            }
        with pytest.raises(ClientError) as caught:
            functions.invoke(other)
        assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
        assert caught.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
        # Nothing that runs no function is bounded by it.
        assert running.client.get_function(FunctionName=name)["Configuration"]["State"] == "Active"
        assert functions.post(name, X_Amz_Invocation_Type="DryRun").status == 204
        assert not meeting.someone_came()
        meeting.release(1)
        until(lambda: any(future.done() for future in futures), "one invocation ends")
        until(lambda: running.health()["runningInvocations"] == 2, "its place is free")
        assert functions.invoke(other).value[0] == 1
    until(lambda: running.health()["runningInvocations"] == 0, "all places are free")


def test_clients_with_retries_get_through(start_service: Callable[..., RunningService], meeting: Meeting) -> None:
    running = start_service(concurrency=1)
    functions = running.functions()
    name = functions.create(MEETING, Timeout=20)
    other = functions.create(COUNTER)
    patient = client_of(running.url, retries={"mode": "standard", "total_max_attempts": 5})
    with invoking(functions, name, meeting, 1) as futures, ThreadPoolExecutor(1) as pool:
        meeting.wait_for(1)
        retried = pool.submit(patient.invoke, FunctionName=other)
        meeting.release(1)
        futures[0].result()
        assert retried.result(timeout=30)["StatusCode"] == 200
    patient.close()


# --- change --------------------------------------------------------------------------------------------------------


def test_new_code_is_used_at_once_and_old_environments_go(functions: FunctionSet) -> None:
    source = "import os\ndef handler(event, context):\n    return [{}, os.getpid()]\n"
    name = functions.create(source.format(0))
    for number in range(1, 6):
        _, pid = functions.invoke(name).value
        functions.update(name, source.format(number))
        value = functions.invoke(name).value
        assert value[0] == number
        assert value[1] != pid
        wait_gone([pid])


def test_an_invocation_under_way_ends_in_the_old_code(
    shared_service: RunningService, functions: FunctionSet, meeting: Meeting
) -> None:
    name = functions.create(MEETING, Timeout=20)
    with invoking(functions, name, meeting, 1) as futures:
        meeting.wait_for(1)
        functions.update(name, "def handler(event, context):\n    return 'new'\n")
        assert functions.invoke(name).value == "new"
        meeting.release(1)
        old = futures[0].result().value
    assert isinstance(old, int)
    wait_gone([old])
    assert functions.invoke(name).value == "new"


def test_deleting_a_function_ends_its_environments(leak_free: FunctionSet, meeting: Meeting) -> None:
    functions = leak_free
    idle = functions.create(COUNTER)
    _, pid = functions.invoke(idle).value
    functions.client.delete_function(FunctionName=idle)
    wait_gone([pid])
    with pytest.raises(ClientError, match="Function not found"):
        functions.invoke(idle)
    busy = functions.create(MEETING, Timeout=20)
    with invoking(functions, busy, meeting, 1) as futures:
        meeting.wait_for(1)
        functions.client.delete_function(FunctionName=busy)
        meeting.release(1)
        outcome: Outcome = futures[0].result()
    assert outcome.error is None
    wait_gone([outcome.value])


def others() -> set[int]:
    """Processes of functions, or waiting to become some."""
    return descendants() - launchers() - fronts() - pollings() - warm_programs()


def test_idle_environments_are_let_go(start_service: Callable[..., RunningService]) -> None:
    running = start_service(idle_timeout=600)
    functions = running.functions()
    name = functions.create(COUNTER)
    # Each launcher may keep one process that it has forked in advance.
    before = max(len(others()), len(launchers()))
    first, pid = functions.invoke(name).value
    host = running.service._host
    running.do(lambda: host.sweep(time.monotonic() + 500))
    assert functions.invoke(name).value == [first + 1, pid]
    running.do(lambda: host.sweep(time.monotonic() + 601))
    wait_gone([pid])
    until(lambda: running.health()["executionEnvironments"] == 0, "the environment is forgotten")
    assert len(others()) <= before
    count, other = functions.invoke(name).value
    assert (count, other != pid) == (1, True)


def test_more_environments_than_may_start_at_once(functions: FunctionSet, meeting: Meeting) -> None:
    name = functions.create(MEETING, Timeout=30)
    with invoking(functions, name, meeting, 40) as futures:
        meeting.wait_for(40, seconds=30)
        meeting.release(40)
        assert len({future.result().value for future in futures}) == 40


@pytest.mark.parametrize("change", ["update", "delete"])
def test_the_code_of_an_invocation_that_waits_is_kept(
    start_service: Callable[..., RunningService], change: str
) -> None:
    running = start_service()
    host = running.service._host
    functions = running.functions()
    slow = functions.create("import time\ntime.sleep(1)\ndef handler(event, context):\n    return 'slow'\n")
    name = functions.create("def handler(event, context):\n    return 'old'\n")
    limit = host.settings.starting_limit
    with ThreadPoolExecutor(limit + 1) as threads:
        occupying = [threads.submit(functions.invoke, slow) for _ in range(limit)]
        until(lambda: running.do(lambda: host.starting) == limit, "as many environments start as may at once")
        waiting = threads.submit(functions.invoke, name)
        until(lambda: running.do(lambda: len(host._start_queue)), "an invocation waits for its turn")
        if change == "update":
            functions.update(name, "def handler(event, context):\n    return 'new'\n")
        else:
            running.client.delete_function(FunctionName=name)
        assert waiting.result().value == "old"
        assert {future.result().value for future in occupying} == {"slow"}


def test_a_caller_that_goes_away_does_not_stop_the_function(functions: FunctionSet, meeting: Meeting) -> None:
    name = functions.create(MEETING, Timeout=20)
    functions.invoke(functions.create(COUNTER))
    body = json.dumps(meeting.event).encode()
    port = int(functions.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(
            b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Amz-A: b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (name.encode(), port, len(body), body)
        )
        meeting.wait_for(1)
    meeting.release(1)

    def ended() -> bool:
        return any(line.startswith("REPORT") or "\nREPORT" in line for line in functions.log_lines(name))

    until(ended, "the invocation ends")
    meeting.release(1)
    assert functions.invoke(name, meeting.event).error is None
    health = send(functions.url, "GET", "/_venturekit/health").json
    assert health["runningInvocations"] == 0
