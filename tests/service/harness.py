"""A whole service in a thread of its own, and what tests need to talk to it and to look at its processes."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import itertools
import json
import logging
import os
import select
import stat
import sys
import threading
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
import uvloop
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import create_loader

from venturekit.service.app import Service
from venturekit.service.config import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

WAIT_SECONDS = 20.0
ROLE = "arn:aws:iam::000000000000:role/any"
PYTHON = f"python3.{sys.version_info.minor}"
_NUMBERS = itertools.count(1)
_MODELS = create_loader()


def zip_of(files: Mapping[str, str | bytes], modes: Mapping[str, int] | None = None, *, base: bytes = b"") -> bytes:
    """A code archive. ``modes`` are permission bits by name; without them a ``bootstrap`` alone is executable.

    ``base`` is an archive that it begins with.
    """
    data = io.BytesIO(base)
    with zipfile.ZipFile(data, "a" if base else "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            mode = (modes or {}).get(name, 0o755 if name == "bootstrap" else 0o644)
            entry.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(entry, content)
    return data.getvalue()


@cache
def session_of(region_name: str, *keys: str) -> boto3.Session:
    """A session; all of them read AWS's models once. ``keys``: access key id and secret."""
    session = botocore.session.Session()
    session.register_component("data_loader", _MODELS)
    return boto3.Session(*keys, region_name=region_name, botocore_session=session)


def client_of(url: str, *, signed: tuple[str, str] | None = None, **options: Any) -> Any:
    """An unmodified boto3 client that tries once. Unsigned, unless it is given a key pair."""
    options = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 64, **options}
    if signed is None:
        options["signature_version"] = UNSIGNED
    session = session_of(options.pop("region_name", "us-east-1"), *(signed or ()))
    return session.client("lambda", endpoint_url=url, config=Config(**options))


@dataclass(frozen=True)
class Response:
    """An HTTP answer as it came. ``headers`` ignores case in names."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(
    url: str,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 30.0,
) -> Response:
    """One request as it stands: no header is added but Host and Content-Length."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.putrequest(method, target, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@dataclass(frozen=True)
class Outcome:
    """What an invocation through boto3 gave."""

    status: int
    error: str | None
    raw: bytes
    log: str
    version: str | None
    request_id: str
    headers: Mapping[str, str]

    @property
    def value(self) -> Any:
        return json.loads(self.raw)


class TooLateError(AssertionError):
    """Something that had to happen within a bound did not."""


def until(
    condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS, *, pause_seconds: float = 0.001
) -> Any:
    """The first true value of ``condition``, which asks something that tells no event: /proc, or another process.

    ``pause_seconds`` is longer where asking gets in the way of what is waited for.
    """
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TooLateError(f"{what}: not within {seconds} s")
        # Leaves the processor to those that are waited for.
        never.wait(pause_seconds)
    return value


class FunctionSet:
    """Functions of one test, on one service; gone after the test."""

    def __init__(self, url: str, client: Any) -> None:
        self.url = url
        self.client = client
        self.names: list[str] = []

    def create(
        self,
        source: str | None = None,
        *,
        files: Mapping[str, str | bytes] | None = None,
        modes: Mapping[str, int] | None = None,
        base: bytes = b"",
        name: str | None = None,
        wait: bool = True,
        **members: Any,
    ) -> str:
        """Create a function (by default Python with handler app.handler) and wait until it is active."""
        name = name or f"function-{next(_NUMBERS)}"
        content = dict(files or {})
        if source is not None:
            content["app.py"] = source
        given = {"Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, **members}
        self.client.create_function(FunctionName=name, Code={"ZipFile": zip_of(content, modes, base=base)}, **given)
        self.names.append(name)
        if wait:
            self.wait_active(name)
        return name

    def bootstrap(self, source: str, *, modes: Mapping[str, int] | None = None, **members: Any) -> str:
        """Create a function with a runtime of its own."""
        files = {"bootstrap": source, **members.pop("files", {})}
        return self.create(files=files, modes=modes, **{"Runtime": "provided.al2023", "Handler": "any", **members})

    def update(self, name: str, source: str) -> None:
        """Change the code and wait until that has succeeded."""
        self.client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": source}))
        self.wait_updated(name)

    def wait_active(self, name: str) -> None:
        until(lambda: self._configuration(name)["State"] == "Active", f"{name} becomes active")

    def wait_updated(self, name: str) -> None:
        until(lambda: self._configuration(name)["LastUpdateStatus"] == "Successful", f"{name} is updated")

    def _configuration(self, name: str) -> Any:
        return self.client.get_function_configuration(FunctionName=name)

    def publish(self, name: str) -> str:
        """Publish a version and wait until it is active."""
        version = self.client.publish_version(FunctionName=name)["Version"]
        self.wait_active(f"{name}:{version}")
        return str(version)

    def invoke(self, name: str, event: Any = None, *, raw: bytes | None = None, **members: Any) -> Outcome:
        """Invoke with the log tail."""
        payload = raw if raw is not None else json.dumps({} if event is None else event).encode()
        given = {"LogType": "Tail", **members}
        answer = self.client.invoke(FunctionName=name, Payload=payload, **given)
        return Outcome(
            status=answer["StatusCode"],
            error=answer.get("FunctionError"),
            raw=answer["Payload"].read(),
            log=base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace"),
            version=answer.get("ExecutedVersion"),
            request_id=answer["ResponseMetadata"]["RequestId"],
            headers=answer["ResponseMetadata"]["HTTPHeaders"],
        )

    def post(self, name: str, body: bytes = b"{}", query: str = "", **headers: str) -> Response:
        """Invoke by hand: ``headers`` are given as in Python, with underscores."""
        given = {"X-Amz-Client": "test", **{key.replace("_", "-"): value for key, value in headers.items()}}
        target = f"/2015-03-31/functions/{quote(name, safe='')}/invocations{query}"
        return send(self.url, "POST", target, body, given)

    def log_lines(self, name: str) -> list[str]:
        """Everything in the function's log."""
        lines: list[str] = []
        after = -1
        while True:
            target = f"/_venturekit/logs/{name}?after={after}"
            page = send(self.url, "GET", target, headers={"X-Amz-Client": "test"}).json["events"]
            if not page:
                return lines
            lines += [event["message"] for event in page]
            after = page[-1]["sequence"]

    def delete_all(self) -> None:
        for name in self.names:
            with suppress(ClientError):
                self.client.delete_function(FunctionName=name)


class _Trouble(logging.Handler):
    """Keeps what the service logs as an error, and what reaches the loop unhandled."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self.thread: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        # The logger is the process's: other services of it have threads of their own.
        if record.thread == self.thread:
            self.found.append(self.format(record))


class RunningService:
    """A service in a thread of its own, on any free port."""

    def __init__(self, data_dir: Path, environ: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.data_dir = data_dir
        flags = {"port": 0, "data_dir": data_dir, **settings}
        self._settings, _ = load_settings(flags, {})
        self._environ = dict(os.environ if environ is None else environ)
        self._ready = threading.Event()
        self._stopped: asyncio.Event
        self._failure: BaseException | None = None
        self.trouble = _Trouble()
        self.loop: asyncio.AbstractEventLoop
        self.service: Service
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._thread.start()
        assert self._ready.wait(WAIT_SECONDS), "the service did not start"
        if self._failure is not None:
            raise self._failure
        self.url = self.service.url
        self.port = urlsplit(self.url).port or 0
        self.client = client_of(self.url)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _loop, context: self.trouble.found.append(repr(context)))
        self.trouble.thread = threading.get_ident()
        logging.getLogger("venturekit").addHandler(self.trouble)
        self._stopped = asyncio.Event()
        self.service = Service(self._settings, self._environ)
        await self.service.start()
        self._ready.set()
        try:
            await self._stopped.wait()
        finally:
            await self.service.close()
            logging.getLogger("venturekit").removeHandler(self.trouble)

    def functions(self) -> FunctionSet:
        return FunctionSet(self.url, self.client)

    def health(self) -> Any:
        return send(self.url, "GET", "/_venturekit/health").json

    def do(self, work: Callable[[], Any]) -> Any:
        """Call ``work`` on the service's loop."""

        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(WAIT_SECONDS)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_SECONDS)

    def close(self) -> None:
        """End the service; raises what went wrong in it unexpectedly."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(WAIT_SECONDS)
            assert not self._thread.is_alive(), "the service did not end"
        self.client.close()
        if self._failure is not None:
            raise self._failure
        assert self.trouble.found == [], f"logged by the service: {self.trouble.found}"


def parents() -> dict[int, int]:
    """The parent of every process that is alive; what is dead and not reaped yet is left out."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found[int(name)] = int(fields[1])
    return found


def descendants(root: int | None = None) -> set[int]:
    """All living processes below ``root``, by default this process."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    pending = [os.getpid() if root is None else root]
    while pending:
        below = children.get(pending.pop(), [])
        found.update(below)
        pending += below
    return found


def wait_gone(pids: Iterable[int], seconds: float = WAIT_SECONDS) -> None:
    """Wait until none of these processes runs any more."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(fd)
        if not ready:
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                raise TooLateError(f"process {pid} ({command!r}) still runs after {seconds} s")


def launchers() -> set[int]:
    """The launcher processes that this process has started. (What they fork has the same command line.)"""
    return _started(b"launcher_process.py")


def fronts() -> set[int]:
    """The front processes that services of this process have started, each when it is first needed."""
    return _started(b"front/__main__.py")


def pollings() -> set[int]:
    """The processes that poll queues for services of this process."""
    return _started(b"polling/__main__.py")


def warm_programs() -> set[int]:
    """The processes that tests of command lines fork: see tests/warm.py."""
    return _started(b"warm_commands.py")


def _started(program: bytes) -> set[int]:
    found = set()
    for pid, parent in parents().items():
        if parent == os.getpid():
            with suppress(OSError):
                if program in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(pid)
    return found


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def described(pids: Iterable[int]) -> str:
    """Processes for people: parent, state and command line of each."""
    found = []
    for pid in sorted(pids):
        with suppress(OSError):
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:150]
            found.append(f"{pid} (of {parent}, {state}) {command}")
    return "; ".join(found)


@dataclass
class Leaks:
    """Compares processes, descriptors and scratch directories with what there was at first."""

    running: RunningService
    strangers: frozenset[int] = frozenset()
    known: int = 0
    others: int = 0
    files: int = 0

    def begin(self) -> None:
        self.settle()
        self.strangers = self.unknown_launchers()
        self.known = len(self.known_launchers())
        self.others = len(self.processes())
        self.files = self.service_files()

    def unknown_launchers(self) -> frozenset[int]:
        """Launchers that are not this service's: those of others, and those that it has given up."""
        return frozenset(launchers() - self.known_launchers())

    def known_launchers(self) -> set[int]:
        """The launchers that this service would use."""
        return {launcher.pid for launcher in tuple(self.running.service._host.launchers._launchers.values())}

    def processes(self) -> set[int]:
        """All below this one but the launchers, front and polling processes, and those that wait for Node.js."""
        waiting = {spare.pid for spare in self.running.service._host.spares.waiting}
        return descendants() - launchers() - fronts() - pollings() - warm_programs() - waiting

    def service_files(self) -> int:
        """Open files, less those of the processes that wait for a Node.js function."""
        return open_files() - 2 * len(self.running.service._host.spares.waiting)

    def settle(self) -> None:
        """Let every execution environment of the service end."""
        until(lambda: self.running.health()["executionEnvironments"] == 0, "all execution environments end")

    def check(self) -> None:
        """All functions have been deleted: nothing of them may be left."""
        self.settle()
        # The service may have replaced a launcher, or started one more, but it knows those it has.
        until(lambda: self.unknown_launchers() <= self.strangers, "no launcher is left that the service has given up")
        # Each launcher may keep one process that it has forked in advance.
        try:
            until(
                lambda: len(self.processes()) <= max(self.others, len(launchers())),
                "no process of a function is left",
            )
        except TooLateError as late:
            late.add_note(f"{self.others} at first; launchers: {described(launchers())}")
            late.add_note(f"all: {described(descendants())}")
            raise
        # A launcher that was needed for the first time stays, and so does the socket to it.
        files = self.files + max(0, len(self.known_launchers()) - self.known)
        until(lambda: self.service_files() <= files, f"open files fall back to {files}, now {self.service_files()}")
        scratch = self.running.data_dir / "environments"
        until(lambda: not list(scratch.glob("*")), "scratch directories are removed")


def lines_starting(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(word)]
