"""Real ``vk`` processes: run to the end, or kept running while a test talks to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.warm import warm_command

BOUND_SECONDS = 30.0
END_SECONDS = 60.0
FUNCTION = '''
import json, os, sys
def handler(event, context):
    """Does what the event says, so that one function is enough for most tests."""
    if not isinstance(event, dict): return event
    if "say" in event: print(event["say"])
    if "fail" in event: raise ValueError(event["fail"])
    if "exit" in event: sys.exit(event["exit"])
    if "wait" in event:
        with open(event["started"], "w") as pipe: pipe.write("started")
        with open(event["wait"]) as pipe: pipe.readline()
    if "custom" in event: return context.client_context.custom
    if "variable" in event: return os.environ.get(event["variable"])
    if "version" in event: return context.function_version
    return event
'''


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this process without the user's settings of AWS's tools and of the service."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "VENTUREKIT_"))}
    kept.pop("NO_COLOR", None)
    return kept | dict(extra or {})


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "venturekit", *arguments]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_vk(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Done:
    """Run ``vk`` to its end, in a process that has imported it already: test_cli_process.py shows no difference."""
    status, out, err = warm_command("vk").run(
        arguments, cwd=cwd, env=clean_environment(env), stdin=stdin or b"", seconds=END_SECONDS
    )
    return Done(status, out, err.decode())


def run_process(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Done:
    """Run ``vk`` to its end, in an interpreter that starts for it."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=clean_environment(env),
        input=stdin or b"",
        capture_output=True,
        timeout=END_SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


@dataclass
class Running:
    """A ``vk`` process that goes on; its standard output is read line by line, within a bound."""

    process: subprocess.Popen[bytes]
    seen: bytearray = field(default_factory=bytearray)

    def read_until(self, wanted: bytes, *, error: bool = False) -> bytes:
        """All of the output so far (or of the standard error), once it holds these bytes. Use one of the two."""
        stream = self.process.stderr if error else self.process.stdout
        assert stream is not None
        descriptor = stream.fileno()
        give_up = time.monotonic() + BOUND_SECONDS
        while wanted not in self.seen:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, give_up - time.monotonic()))
            piece = os.read(descriptor, 65536) if ready else b""
            assert piece, f"no {wanted!r} in {bytes(self.seen)!r}"
            self.seen += piece
        return bytes(self.seen)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait. Exit status and standard error."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=BOUND_SECONDS)
        return self.process.returncode, err.decode()


@contextlib.contextmanager
def running_vk(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start ``vk``; it is killed at the end if it still runs."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate(timeout=BOUND_SECONDS)


@dataclass
class Served:
    """A running ``vk serve``."""

    running: Running
    url: str
    folder: Path

    def vk(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Done:
        """Run ``vk`` against this service."""
        return run_vk(
            *arguments, cwd=self.folder, env={"AWS_ENDPOINT_URL_LAMBDA": self.url, **(env or {})}, stdin=stdin
        )

    def create(self, name: str) -> None:
        """Create a function from FUNCTION."""
        source = self.folder / "app.py"
        source.write_text(FUNCTION)
        done = self.vk("functions", "create", name, str(source), "--timeout", "30")
        assert done.status == 0, done.err

    def resting_connection(self) -> http.client.HTTPConnection:
        """A connection that has been answered and that the service closes when it begins to end."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=BOUND_SECONDS)
        connection.request("GET", "/_venturekit/health")
        assert connection.getresponse().read()
        return connection


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """``vk serve`` on a free port, with its data in this folder."""
    with running_vk("serve", "--port", "0", *arguments, cwd=folder, env=env) as running:
        # The first of the two lines is enough; both are written at once.
        first = running.read_until(b"\n").decode().splitlines()[0]
        yield Served(running, first.split()[-1], folder)


class Pipe:
    """A named pipe by which a function tells that it runs, or is told to go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # Open for both: neither side waits for the other to open it.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self) -> None:
        ready, _, _ = select.select([self._descriptor], [], [], BOUND_SECONDS)
        assert ready, "the function did not start"
        os.read(self._descriptor, 100)

    def release(self) -> None:
        """Let the function go on, whether it reads already or not yet."""
        os.write(self._descriptor, b"go\n")

    def close(self) -> None:
        os.close(self._descriptor)


def descendants(pid: int) -> list[int]:
    """Everything that a process has started and that is still below it."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


@contextlib.contextmanager
def nothing_left_of(pid: int) -> Iterator[None]:
    """Everything below a process now has ended soon after the block."""
    handles = []
    for child in descendants(pid):
        with contextlib.suppress(ProcessLookupError):
            handles.append(os.pidfd_open(child))
    try:
        assert handles, "it has started nothing"
        yield
        give_up = time.monotonic() + 5
        for handle in handles:
            ended, _, _ = select.select([handle], [], [], max(0.0, give_up - time.monotonic()))
            assert ended, "a process is left"
    finally:
        for handle in handles:
            os.close(handle)


Vk = Callable[..., Done]


@pytest.fixture
def vk(tmp_path: Path) -> Vk:
    """Run ``vk`` in an empty folder, without a service."""

    def run(*arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Done:
        return run_vk(*arguments, cwd=tmp_path, env=env, stdin=stdin)

    return run


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with the function ``app``."""
    with serving(tmp_path_factory.mktemp("service")) as served:
        served.create("app")
        yield served


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Served]]:
    """Start a service of the test's own: ``with serve("--option", env={…}) as served``."""

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> contextlib.AbstractContextManager[Served]:
        return serving(tmp_path, *arguments, env=env)

    return start


@pytest.fixture
def start_vk(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Running]]:
    """Start a ``vk`` that goes on."""

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> contextlib.AbstractContextManager[Running]:
        return running_vk(*arguments, cwd=tmp_path, env=env)

    return start


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Callable[[str], Pipe]]:
    """Make a named pipe."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(contextlib.closing(Pipe(tmp_path / name)))


@pytest.fixture
def vanishing() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Check that what a process has started ends with the block."""
    return nothing_left_of


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
