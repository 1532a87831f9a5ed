"""Far more callers than a function may have: each gets an answer or a throttle, soon, and nobody is left waiting."""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.reliability.serving import ServedProcess
from tests.service.harness import send, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

CALLERS = 500
FULL_CALLERS = 10_000
BOUND_SECONDS = 60.0
BRIEF = "import time\ndef handler(event, context):\n    time.sleep(0.01)\n    return event\n"
ECHO = "def handler(event, context):\n    return event\n"


class Crowd:
    """Callers with a connection each, who all ask before the first one reads."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.callers = [socket.create_connection(("127.0.0.1", port), BOUND_SECONDS) for _ in range(count)]
        for caller in self.callers:
            caller.setblocking(False)

    def ask(self, name: str) -> None:
        body = b'{"k": 1}'
        request = (
            f"POST /2015-03-31/functions/{name}/invocations HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nX-Amz-A: b\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        for caller in self.callers:
            assert caller.send(request) == len(request)

    def answers(self) -> list[tuple[int, dict[str, str], bytes]]:
        """The answer of every caller, which comes within the bound."""
        answers = []
        deadline = time.monotonic() + BOUND_SECONDS
        with selectors.DefaultSelector() as selector:
            for caller in self.callers:
                selector.register(caller, selectors.EVENT_READ, bytearray())
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                assert ready, f"{len(selector.get_map())} callers have no answer"
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(65536)
                    assert data, "a caller was cut off"
                    key.data.extend(data)
                    answer = parsed(bytes(key.data))
                    if answer is not None:
                        answers.append(answer)
                        selector.unregister(key.fileobj)
        return answers

    def close(self) -> None:
        for caller in self.callers:
            caller.close()


def parsed(data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body, None while something is missing."""
    head, found, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    if not found or len(body) < int(headers["content-length"]):
        return None
    return int(lines[0].split()[1]), headers, body


def check(answers: list[tuple[int, dict[str, str], bytes]], least: int, reason: str) -> None:
    """Every answer is the function's own or a throttle, and the function was not kept from running."""
    found = Counter(status for status, _, _ in answers)
    assert found.keys() <= {200, 429}
    assert found[200] >= least
    for status, headers, body in answers:
        if status == 200:
            assert ("x-amz-function-error" not in headers, json.loads(body)) == (True, {"k": 1})
        else:
            assert json.loads(body) == {"Type": "User", "message": "Rate Exceeded.", "Reason": reason}
            assert (headers["x-amzn-errortype"], int(headers["retry-after"]) >= 1) == ("TooManyRequestsException", True)


def test_callers_of_one_function_get_an_answer_or_a_throttle(
    shared_service: RunningService, functions: FunctionSet
) -> None:
    name = functions.create(BRIEF)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    functions.invoke(name)
    crowd = Crowd(shared_service.port, CALLERS)
    try:
        for _ in range(2):
            crowd.ask(name)
            check(crowd.answers(), 3, "ReservedFunctionConcurrentInvocationLimitExceeded")
    finally:
        crowd.close()
    until(lambda: shared_service.health()["runningInvocations"] == 0, "all places are free")
    assert functions.invoke(name, {"k": 2}).value == {"k": 2}


def test_as_many_as_may_run_are_all_served(start_service: Callable[..., RunningService]) -> None:
    running = start_service(concurrency=CALLERS)
    functions = running.functions()
    name = functions.create(BRIEF)
    # One environment serves a queue of callers while others are being started.
    crowd = Crowd(running.port, 40)
    try:
        crowd.ask(name)
        check(crowd.answers(), 40, "")
    finally:
        crowd.close()


def test_a_crowd_at_one_function_does_not_keep_another_from_running(
    start_service: Callable[..., RunningService],
) -> None:
    running = start_service(concurrency=108)
    functions = running.functions()
    crowded, own, provisioned = functions.create(BRIEF), functions.create(ECHO), functions.create(ECHO)
    running.client.put_function_concurrency(FunctionName=own, ReservedConcurrentExecutions=4)
    version = functions.publish(provisioned)
    configured = {"FunctionName": provisioned, "Qualifier": version}
    running.client.put_provisioned_concurrency_config(**configured, ProvisionedConcurrentExecutions=4)
    until(
        lambda: running.client.get_provisioned_concurrency_config(**configured)["Status"] == "READY",
        "it is provisioned",
        pause_seconds=0.01,
    )
    counted = running.service._accounts.own.concurrency
    # The account is nearly full already: a crowd of a few hundred is one too many.
    running.do(lambda: setattr(counted, "unreserved_running", 97))
    crowd = Crowd(running.port, CALLERS)
    try:
        crowd.ask(crowded)
        assert [functions.invoke(own, number).value for number in range(20)] == [*range(20)]
        assert [functions.invoke(provisioned, number, Qualifier=version).value for number in range(20)] == [*range(20)]
        check(crowd.answers(), 3, "ConcurrentInvocationLimitExceeded")
    finally:
        crowd.close()
    running.do(lambda: setattr(counted, "unreserved_running", counted.unreserved_running - 97))
    until(lambda: running.health()["runningInvocations"] == 0, "all places are free")


def test_callers_that_go_away_leave_no_place_taken(shared_service: RunningService, functions: FunctionSet) -> None:
    name = functions.create(BRIEF)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    for _ in range(3):
        crowd = Crowd(shared_service.port, 50)
        crowd.ask(name)
        crowd.close()
    until(lambda: shared_service.health()["runningInvocations"] == 0, "all places are free")
    assert functions.invoke(name, {"k": 2}).value == {"k": 2}


@pytest.mark.full
def test_ten_thousand_callers(tmp_path: Path) -> None:
    # A process of its own has descriptors of its own.
    with ServedProcess(tmp_path / "data").wait_ready() as served:
        _ask_ten_thousand_times(served)


def _ask_ten_thousand_times(served: ServedProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FULL_CALLERS + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, FULL_CALLERS + 500), hard))
    functions = served.functions
    name = functions.create(BRIEF)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=8)
    functions.invoke(name)
    crowd = Crowd(urlsplit(served.url).port or 0, FULL_CALLERS)
    try:
        crowd.ask(name)
        check(crowd.answers(), 8, "ReservedFunctionConcurrentInvocationLimitExceeded")
        # The connections are still good.
        crowd.ask(name)
        check(crowd.answers(), 8, "ReservedFunctionConcurrentInvocationLimitExceeded")
    finally:
        crowd.close()
    health = send(served.url, "GET", "/_venturekit/health").json
    assert health["runningInvocations"] == 0
    assert functions.invoke(name, {"k": os.getpid()}).value == {"k": os.getpid()}
