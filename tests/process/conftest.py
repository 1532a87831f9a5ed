"""Shared by the tests that start real processes: a bench around a launcher, bounded waits on pipes and processes."""

from __future__ import annotations

import asyncio
import os
import select
import textwrap
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments import process_tree
from venturekit.service.environments.interpreters import Interpreter, own_interpreter
from venturekit.service.environments.launcher import Launcher, LaunchSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

WAIT_SECONDS = 20.0

# Runs the code that it finds in its environment variables, in place of a function.
STAND_IN_RIC = """
import os

def preload():
    import json
    import random

def run(handler=None, runtime_api=None, environ=os.environ):
    exec(compile(environ["CODE"], "<code>", "exec"), {"handler": handler, "__name__": "function"})
    raise SystemExit(0)
"""


@pytest.fixture
def stand_in_ric(tmp_path: Path) -> Path:
    folder = tmp_path / "ric"
    folder.mkdir()
    (folder / "__init__.py").write_text(STAND_IN_RIC)
    return folder


class Output:
    """The reading end of a process's output."""

    def __init__(self, read_fd: int) -> None:
        self._fd = read_fd
        self.text = b""

    def _read_more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"no more output after {self.text!r}")
        part = os.read(self._fd, 65536)
        self.text += part
        return bool(part)

    def wait_end(self, seconds: float = WAIT_SECONDS) -> str:
        """Everything until no process holds the writing end any more."""
        deadline = time.monotonic() + seconds
        while self._read_more(deadline):
            pass
        return self.text.decode()

    def wait_lines(self, count: int, seconds: float = WAIT_SECONDS) -> list[str]:
        deadline = time.monotonic() + seconds
        while self.text.count(b"\n") < count:
            if not self._read_more(deadline):
                raise EOFError(f"ended after {self.text!r}")
        return self.text.decode().splitlines()

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Bench:
    launcher: Launcher
    folder: Path
    events: list[tuple[Any, ...]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    outputs: list[Output] = field(default_factory=list)
    next_id: int = 0

    def note(self, kind: str, *details: Any) -> None:
        self.events.append((kind, *details))
        self.changed.set()

    async def event(self, kind: str, identifier: int, seconds: float = WAIT_SECONDS) -> tuple[Any, ...]:
        async def wait() -> tuple[Any, ...]:
            while True:
                for event in self.events:
                    if event[0] == kind and (identifier == event[1] or (kind == "lost" and identifier in event[1])):
                        return event
                self.changed.clear()
                await self.changed.wait()

        try:
            return await asyncio.wait_for(wait(), seconds)
        except TimeoutError:
            raise AssertionError(f"no {kind} of {identifier} in {self.events}") from None

    def launch(self, mode: Any, argv: list[str], **fields: Any) -> tuple[int, Output]:
        self.next_id += 1
        log_fd = fields.pop("log_fd", None)
        given = {"environ": {}, "cwd": str(self.folder), **fields}
        read_fd, write_fd = os.pipe()
        output = Output(read_fd)
        self.outputs.append(output)
        try:
            self.launcher.launch(LaunchSpec(id=self.next_id, mode=mode, argv=argv, **given), write_fd, log_fd)
        finally:
            os.close(write_fd)
        return self.next_id, output

    def fork(self, code: str, **fields: Any) -> tuple[int, Output]:
        environ = {"CODE": textwrap.dedent(code), **fields.pop("environ", {})}
        return self.launch("fork", ["bootstrap"], environ=environ, **fields)

    async def run(self, code: str, **fields: Any) -> str:
        """The output of a forked process that ends by itself with code 0."""
        identifier, output = self.fork(code, **fields)
        text = await asyncio.to_thread(output.wait_end)
        event = await self.event("exited", identifier)
        assert event[2].code == 0, (event, text)
        return text


async def _bench(
    interpreter: Interpreter,
    ric: Path | None,
    folder: Path,
    scenario: Callable[[Bench], Awaitable[None]],
    policy: dict[str, Any] | None,
) -> None:
    bench: Bench

    def listener(kind: str) -> Callable[..., None]:
        return lambda *details: bench.note(kind, *details)

    launcher = Launcher.start(
        [interpreter.path],
        ric,
        on_started=listener("started"),
        on_failed=listener("failed"),
        on_exited=listener("exited"),
        on_lost=listener("lost"),
        policy=policy,
    )
    bench = Bench(launcher, folder)
    try:
        await scenario(bench)
    finally:
        await launcher.close()
        for output in bench.outputs:
            output.close()


@pytest.fixture
def launching(stand_in_ric: Path, tmp_path: Path) -> Callable[..., None]:
    """Run an async scenario with a launcher of its own: `launching(scenario, interpreter=..., ric=..., policy=...)`."""

    def run(
        scenario: Callable[[Bench], Awaitable[None]],
        interpreter: Interpreter | None = None,
        ric: Path | None = stand_in_ric,
        runner: Callable[..., None] = asyncio.run,
        policy: dict[str, Any] | None = None,
    ) -> None:
        runner(_bench(interpreter or own_interpreter(), ric, tmp_path, scenario, policy))

    return run


def _assert_gone(pids: list[int], seconds: float = 2.0) -> None:
    """All these processes end within the time (a zombie has ended)."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            stat = process_tree.read_stat(pid)
            assert ended, f"process {pid} is still there, state {stat and stat.state}"
        finally:
            os.close(descriptor)


@pytest.fixture
def assert_gone() -> Callable[..., None]:
    return _assert_gone


@pytest.fixture
def piped() -> Callable[..., Any]:
    """A context manager that gives (Output, writing end) and closes both."""

    @contextmanager
    def pipe() -> Iterator[tuple[Output, int]]:
        read_fd, write_fd = os.pipe()
        output = Output(read_fd)
        try:
            yield output, write_fd
        finally:
            output.close()
            try:
                os.close(write_fd)
            except OSError:
                pass  # the test has closed it to see the end of file

    return pipe
