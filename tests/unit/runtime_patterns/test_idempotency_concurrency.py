"""Many at once: threads and processes that call with one key, of which one runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from venturekit.runtime import Logger, handler, idempotency_middleware
from venturekit.runtime.patterns import (
    IdempotencyPendingError,
    create_memory_idempotency_store,
    create_sqlite_idempotency_store,
    idempotent,
)
from venturekit.testing import Client

SOURCE = Path(__file__).parents[3] / "src"
THREADS = 8


def together(work: Any) -> list[Any]:
    """What each of several threads gets, which begin at once."""
    barrier, got = threading.Barrier(THREADS), []

    def one() -> None:
        barrier.wait(20)
        got.append(work())

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return got


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("on_pending", ["conflict", "wait"])
def test_of_many_threads_one_runs(kind: str, on_pending: Any, tmp_path: Path) -> None:
    sqlite = kind == "sqlite"
    store = create_sqlite_idempotency_store(tmp_path / "i.db") if sqlite else create_memory_idempotency_store()
    ran: list[int] = []

    @idempotent(key=lambda key: key, store=store, on_pending=on_pending)
    def work(key: str) -> int:
        ran.append(1)
        return len(ran)

    def call() -> Any:
        try:
            return work("k")
        except IdempotencyPendingError:
            return "conflict"

    got = together(call)
    assert len(ran) == 1
    assert set(got) <= ({1, "conflict"} if on_pending == "conflict" else {1})
    assert len(got) == THREADS


def test_of_many_requests_one_runs() -> None:
    ran: list[int] = []
    entered = threading.Event()

    def fn(body: Any) -> Any:
        ran.append(1)
        entered.wait(20)
        return {"n": len(ran)}

    middleware = idempotency_middleware(create_memory_idempotency_store())
    client = Client(handler(fn, middleware=[middleware], access_log=False, logger=Logger(min_level="silent")))
    statuses: list[int] = []

    def call() -> None:
        status = client.post("/", headers={"Idempotency-Key": "k"}, json={}).status_code
        statuses.append(status)
        if statuses.count(409) == THREADS - 1:
            entered.set()

    together(call)
    assert sorted(statuses) == [201] + [409] * (THREADS - 1)
    assert len(ran) == 1


PROGRAM = """
import os, sys
from venturekit.runtime.patterns import create_sqlite_idempotency_store, idempotent

@idempotent(key=lambda key: key, store=create_sqlite_idempotency_store(sys.argv[1]), on_pending="wait", name="work")
def work(key):
    with open(sys.argv[2], "ab", buffering=0) as file:
        file.write(key.encode() + b"\\n")
    if key == "dies":
        os.kill(os.getpid(), 9)
    return os.getpid()

print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    print(work(f"k{number}"), flush=True)
"""


def test_of_several_processes_one_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "i.db"), str(tmp_path / "ran")]
    environ = {"PYTHONPATH": str(SOURCE)}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environ}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(20)
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 5
    assert sorted((tmp_path / "ran").read_text().split()) == [f"k{number}" for number in range(5)]


def test_a_process_that_is_killed_while_it_runs_keeps_its_key_for_its_time_only(tmp_path: Path) -> None:
    program = PROGRAM[: PROGRAM.index("print")] + 'work("dies")'
    command = [sys.executable, "-c", program, str(tmp_path / "i.db"), str(tmp_path / "ran")]
    done = subprocess.run(command, env={"PYTHONPATH": str(SOURCE)}, timeout=60)
    assert done.returncode == -9
    import time

    ahead = 0.0

    @idempotent(
        key=lambda key: key,
        store=create_sqlite_idempotency_store(tmp_path / "i.db"),
        name="work",
        clock=lambda: time.time() + ahead,
    )
    def work(key: str) -> str:
        return "second"

    with pytest.raises(IdempotencyPendingError):
        work("dies")
    ahead = 901.0
    assert work("dies") == "second"
