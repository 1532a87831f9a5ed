"""kill -9: of the service, its launcher, environments. Nothing survives, and everything that was kept is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError

from tests.service.harness import FunctionSet, RunningService, client_of, descendants, launchers, send, until, wait_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Has a child in a session of its own, tells both process ids through a pipe, and waits.
HELD = """
import os, signal, subprocess
def handler(event, context):
    if not event:
        return os.getpid()
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    pipe = os.open(event["pipe"], os.O_WRONLY)
    os.write(pipe, b"%d %d\\n" % (os.getpid(), child.pid))
    os.close(pipe)
    signal.pause()
"""


class ServeProcess:
    """``vk serve`` as users run it."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        command = [sys.executable, "-m", "venturekit", "serve", "--port", "0", "--data-dir", str(data_dir), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()
        assert self.url.startswith("http://"), self.complaint()
        self.functions = FunctionSet(self.url, client_of(self.url))

    def complaint(self) -> str:
        """What it said at its end."""
        return self.process.communicate(timeout=20)[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def end(self) -> None:
        self.functions.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture
def serve() -> Iterator[Callable[..., ServeProcess]]:
    started: list[ServeProcess] = []

    def start(data_dir: Path, *options: str) -> ServeProcess:
        started.append(ServeProcess(data_dir, *options))
        return started[-1]

    yield start
    for each in started:
        each.end()


@contextmanager
def held_invocations(
    functions: FunctionSet, name: str, folder: Path, count: int
) -> Iterator[tuple[list[int], list[Any]]]:
    """Invocations that have begun: the process ids of function and child of each, and the futures."""
    pipe = folder / "pids"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(functions.invoke, name, {"pipe": str(pipe)}) for _ in range(count)]
        read_end = os.open(pipe, os.O_RDWR)
        try:
            text = ""
            while text.count("\n") < count:
                text += os.read(read_end, 1000).decode()
        finally:
            os.close(read_end)
        yield [int(word) for word in text.split()], futures
    pipe.unlink()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_nothing_survives_a_kill_of_the_service(serve: Callable[..., ServeProcess], tmp_path: Path, start: str) -> None:
    data_dir = tmp_path / "data"
    running = serve(data_dir, "--python-start", start)
    name = running.functions.create(HELD, Timeout=60)
    idle = running.functions.create(HELD)
    idle_pid = running.functions.invoke(idle).value
    with held_invocations(running.functions, name, tmp_path, 3) as (pids, futures):
        below = descendants(running.process.pid)
        assert {*pids, idle_pid} <= below
        running.kill()
        killed_at = time.monotonic()
        wait_gone([*below, *pids, idle_pid], 2)
        assert time.monotonic() - killed_at < 2
        for future in futures:
            assert isinstance(future.exception(), BotoCoreError)

    again = serve(data_dir)
    assert [item["FunctionName"] for item in again.functions.client.list_functions()["Functions"]] == sorted(
        [name, idle]
    )
    assert again.functions.invoke(idle).value != idle_pid
    assert send(again.url, "GET", "/_venturekit/health").json["status"] == "ok"


def test_kills_at_any_moment_lose_no_function_that_was_answered(
    serve: Callable[..., ServeProcess], tmp_path: Path, full_counts: bool
) -> None:
    data_dir = tmp_path / "data"
    acknowledged: list[str] = []
    for number in range(20 if full_counts else 4):
        running = serve(data_dir)
        with ThreadPoolExecutor(1) as pool:

            def create(functions: FunctionSet = running.functions) -> None:
                while True:
                    made = functions.create(f"def handler(e, c):\n    return {len(acknowledged)}\n", wait=False)
                    acknowledged.append(made)

            creating = pool.submit(create)
            # Somewhere in the middle of a creation, each time at another place.
            goal = len(acknowledged) + number + 2
            while len(acknowledged) < goal and not creating.done():
                os.sched_yield()
            running.kill()
            assert creating.exception() is not None
    last = serve(data_dir)
    pages = last.functions.client.get_paginator("list_functions").paginate()
    present = {item["FunctionName"] for page in pages for item in page["Functions"]}
    assert set(acknowledged) <= present
    for expected, name in list(enumerate(acknowledged))[::5]:
        last.functions.wait_active(name)
        assert last.functions.invoke(name).value == expected


def test_a_second_service_on_the_directory_is_refused(serve: Callable[..., ServeProcess], tmp_path: Path) -> None:
    first = serve(tmp_path / "data")
    command = [sys.executable, "-m", "venturekit", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    second = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert str(first.process.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert send(first.url, "GET", "/_venturekit/health").json["status"] == "ok"
    first.kill()
    third = serve(tmp_path / "data")
    assert send(third.url, "GET", "/_venturekit/health").json["status"] == "ok"


def test_an_orderly_end_leaves_nothing(serve: Callable[..., ServeProcess], tmp_path: Path) -> None:
    running = serve(tmp_path / "data")
    name = running.functions.create(HELD)
    running.functions.invoke(name)
    below = descendants(running.process.pid)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
    wait_gone(below, 2)
    assert list((tmp_path / "data" / "environments").glob("*")) == []


# --- parts of the service ------------------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningService]:
    service = RunningService(tmp_path / "data")
    yield service
    service.close()


def test_a_killed_launcher_answers_its_invocations(running: RunningService, tmp_path: Path) -> None:
    functions = running.functions()
    name = functions.create(HELD, Timeout=60)
    for round_number in range(3):
        with held_invocations(functions, name, tmp_path, 2) as (pids, futures):
            began = time.monotonic()
            for pid in launchers():
                os.kill(pid, signal.SIGKILL)
            for future in futures:
                outcome = future.result(timeout=20)
                assert outcome.error == "Unhandled"
                assert outcome.value["errorType"] == "Runtime.ExitError"
                assert "signal: killed" in outcome.value["errorMessage"]
            assert time.monotonic() - began < 5, round_number
            wait_gone(pids, 2)
        assert isinstance(functions.invoke(name).value, int)


def test_killed_environments_are_answered_within_a_tenth_of_a_second(
    running: RunningService, tmp_path: Path, full_counts: bool
) -> None:
    functions = running.functions()
    name = functions.create(HELD, Timeout=60)
    slowest = []
    for _ in range(200 if full_counts else 25):
        with held_invocations(functions, name, tmp_path, 1) as (pids, futures):
            killed_at = time.monotonic()
            os.kill(pids[0], signal.SIGKILL)
            outcome = futures[0].result(timeout=20)
            slowest.append(time.monotonic() - killed_at)
            assert outcome.value["errorType"] == "Runtime.ExitError"
            wait_gone(pids, 2)
    # The median, because this machine may be busy with other things.
    assert sorted(slowest)[len(slowest) // 2] < 0.1
    assert isinstance(functions.invoke(name).value, int)


def test_an_idle_environment_that_is_killed_is_replaced(running: RunningService) -> None:
    functions = running.functions()
    name = functions.create(HELD)
    for _ in range(20):
        pid = functions.invoke(name).value
        os.kill(pid, signal.SIGKILL)
        wait_gone([pid])
        outcome = functions.invoke(name)
        # The kill may be noticed after the next event was handed out: then that one failed, and says so.
        assert outcome.error is None or outcome.value["errorType"] == "Runtime.ExitError"
        if outcome.error is None:
            assert outcome.value != pid
    assert json.loads(functions.invoke(name).raw)


def test_launchers_killed_while_idle_are_replaced(running: RunningService) -> None:
    functions = running.functions()
    name = functions.create(HELD)
    for _ in range(3):
        functions.invoke(name)
        former = launchers()
        for pid in former:
            os.kill(pid, signal.SIGKILL)
        wait_gone(former)
        # The environments of a dead launcher go with it, whatever they have in hand at that moment.
        until(lambda: functions.invoke(name).error is None, "a new launcher serves", 5)
    assert len({functions.invoke(name).value for _ in range(5)}) == 1
