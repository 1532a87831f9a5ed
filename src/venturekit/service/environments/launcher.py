"""The service's side of the launcher processes: start them, hand them launches, hear of exits, replace the dead.

One `Launcher` is one child process per interpreter (see `launcher_process.py` for its protocol); a `LauncherSet`
keeps one per interpreter, started on first use. All calls are made on the event loop's thread and none of them
blocks.

What the callbacks of one launch say, in this order:

* `on_started`, then `on_exited`: the ordinary life. A process killed very early may exit without having started.
* `on_failed`: it never started and nothing is left of it. Also the answer for launches that were under way when their
  launcher died: they are failed, not sent again, because only the caller knows whether somebody still waits for them.
* `on_lost`: it had started, its launcher died, and the service itself has killed its tree; its exit status is unknown.

After `close()` no callback is made any more.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from venturekit.service.environments import packets, process_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from venturekit.service.environments.interpreters import Interpreter

_SCRIPT = Path(__file__).with_name("launcher_process.py")
MAX_QUEUED_MESSAGES = 1024
CLOSE_TIMEOUT_SECONDS = 5.0
_PACKETS_PER_WAKEUP = 64
_REAP_INTERVAL_SECONDS = 0.005


class LauncherError(Exception):
    """A launcher could not be started or used; the text says why."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What to start.

    `id` is the caller's and unique among the living. `mode` "fork" runs the preloaded ric in a fork of the launcher,
    "exec" executes `argv[0]` (a path; PATH is not searched). `environ` is the whole environment. `handler` None
    leaves it to `_HANDLER`. `python_path`, `pycache_prefix` and `writes_bytecode` matter in fork mode only: what
    PYTHONPATH, PYTHONPYCACHEPREFIX and PYTHONDONTWRITEBYTECODE would say. `isolation` is the launch's part of a policy
    (see `isolation/policy.py`), for a launcher that has one; None starts it without any isolation.
    """

    id: int
    mode: Literal["fork", "exec"]
    argv: Sequence[str]
    environ: Mapping[str, str]
    cwd: str
    handler: str | None = None
    python_path: Sequence[str] = ()
    pycache_prefix: str | None = None
    writes_bytecode: bool = True
    isolation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """Why a launch failed: `errno_name` is e.g. "ENOENT".

    `stage` is one of message, fork, prepare, isolation, working_directory, exec, launcher.
    """

    stage: str
    errno_name: str | None
    message: str


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a main process ended: exactly one of `code` (0..255) and `signal` (its number) is set."""

    code: int | None
    signal: int | None


@dataclass(frozen=True, slots=True)
class LauncherCallbacks:
    """Who hears of what: see the module's text. `on_started` gets id, pid, shared baseline in bytes (exec mode: 0).

    `on_dying` hears at once that a launcher has gone and which launches it had; `on_failed` and `on_lost` follow when
    nothing of them is left.
    """

    on_started: Callable[[int, int, int], None]
    on_failed: Callable[[int, LaunchFailure], None]
    on_exited: Callable[[int, ExitStatus], None]
    on_lost: Callable[[list[int]], None]
    on_dying: Callable[[list[int]], None] = lambda _: None


@dataclass(slots=True)
class _Launch:
    pid: int | None = None
    start_ticks: int | None = None
    has_started: bool = False


class Launcher:
    """One launcher process, made by `Launcher.start`.

    `is_usable` turns false when it is closed or lost. Known once it is ready: `can_adopt_orphans` (false: the kernel
    refused, and daemons of an environment whose main process has ended by itself are out of reach) and `ric_error`
    (why fork mode fails).
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, callbacks: LauncherCallbacks) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._control = control
        self._callbacks = callbacks
        self._launches: dict[int, _Launch] = {}
        self._queued: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        self._ready: asyncio.Future[str] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._burial: asyncio.Future[int] | None = None
        self._is_closing = False
        self.is_usable = True
        self.can_adopt_orphans = True
        self.ric_error: str | None = None
        self._loop.add_reader(control.fileno(), self._on_readable)

    @classmethod
    def start(
        cls,
        interpreter_argv: Sequence[str],
        ric_directory: str | os.PathLike[str] | None,
        *,
        on_started: Callable[[int, int, int], None],
        on_failed: Callable[[int, LaunchFailure], None],
        on_exited: Callable[[int, ExitStatus], None],
        on_lost: Callable[[list[int]], None],
        on_dying: Callable[[list[int]], None] = lambda _: None,
        environ: Mapping[str, str] | None = None,
        policy: Mapping[str, Any] | None = None,
    ) -> Launcher:
        """Start a launcher process; launches may be given at once, before it is ready. Must run on the event loop.

        Without `ric_directory` only exec mode is served. `environ` is for interpreters that need e.g. LD_LIBRARY_PATH
        to start; it never reaches a function. `policy` is the part of the isolation that is the same for all launches.
        Raises LauncherError when the interpreter cannot be executed.
        """
        callbacks = LauncherCallbacks(on_started, on_failed, on_exited, on_lost, on_dying)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [*interpreter_argv, "-I", "-S", "-B", str(_SCRIPT), str(theirs.fileno())]
        arguments.append("" if ric_directory is None else os.fspath(ric_directory))
        passed = [theirs.fileno()]
        if policy is not None:
            passed.append(_in_memory(json.dumps(policy).encode()))
        arguments.append("" if policy is None else str(passed[-1]))
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=passed,
                env={"LC_CTYPE": "C.UTF-8", **(environ or {})},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise LauncherError(f"cannot start the launcher {interpreter_argv[0]!r}: {error.strerror}") from error
        finally:
            for descriptor in passed[1:]:
                os.close(descriptor)
            theirs.close()
        ours.setblocking(False)
        return cls(process, ours, callbacks)

    @property
    def pid(self) -> int:
        """Process id of the launcher."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Nothing is left of the launcher and of what it started."""
        return self._ended.done()

    def pid_of(self, identifier: int) -> int | None:
        """Process id of a living main process, None before its fork is known and after its exit."""
        launch = self._launches.get(identifier)
        return launch.pid if launch else None

    def __contains__(self, identifier: int) -> bool:
        return identifier in self._launches

    async def wait_ready(self, timeout_seconds: float = 10.0) -> str:
        """The interpreter's version, e.g. "3.12.1", once the launcher serves.

        Raises LauncherError when it ends first, TimeoutError.
        """
        return await asyncio.wait_for(asyncio.shield(self._ready), timeout_seconds)

    def launch(self, spec: LaunchSpec, stdout_fd: int, log_fd: int | None = None, stdin_fd: int | None = None) -> None:
        """Start a main process with `stdout_fd` as its standard output and error and `log_fd` as its framed log.

        Its standard input is empty, or for one with a framed log `stdin_fd`. The descriptors stay the caller's, who may
        close them on return. Whatever goes wrong arrives by `on_failed`.
        Raises LauncherError when the launcher is not usable any more, ValueError when the id is in use.
        """
        if not self.is_usable:
            raise LauncherError("the launcher has ended; get a new one from the LauncherSet")
        if spec.id in self._launches:
            raise ValueError(f"launch id {spec.id} is in use")
        self._launches[spec.id] = _Launch()
        head = {"op": "start", "id": spec.id, "mode": spec.mode, "isolated": spec.isolation is not None}
        body = {
            "argv": list(spec.argv),
            "environ": dict(spec.environ),
            "cwd": spec.cwd,
            "handler": spec.handler,
            "python_path": list(spec.python_path),
            "pycache_prefix": spec.pycache_prefix,
            "writes_bytecode": spec.writes_bytecode,
            "isolation": None if spec.isolation is None else dict(spec.isolation),
        }
        descriptors = [descriptor for descriptor in (stdout_fd, log_fd, stdin_fd) if descriptor is not None]
        problem = self._send(packets.encode(head, body), descriptors)
        if problem is not None:
            self._loop.call_soon(self._fail, spec.id, LaunchFailure("message", None, problem))

    def signal(self, identifier: int, number: int) -> None:
        """Signal the process group of a main process; nothing happens when it has exited."""
        if identifier in self._launches and self.is_usable:
            self._send(packets.encode({"op": "signal", "id": identifier, "signal": int(number)}), [])

    def kill(self, identifier: int) -> None:
        """Kill a main process and its whole tree; nothing happens when it has exited. `on_exited` follows."""
        if identifier in self._launches and self.is_usable:
            self._send(packets.encode({"op": "kill", "id": identifier}), [])

    async def close(self, timeout_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """End the launcher and through it everything it started; returns when it is gone. May be called twice."""
        self._is_closing = True
        self.is_usable = False
        self._drop_queue()
        if not self._ended.done() and self._control.fileno() >= 0:
            # Half closed: the launcher sees the end, and its own end of the socket tells when it is done.
            self._control.shutdown(socket.SHUT_WR)
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_seconds)
        except TimeoutError:
            process_tree.kill_tree(self._process.pid)
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_seconds)

    def _send(self, data: bytes, descriptors: list[int]) -> str | None:
        """Send or queue one packet; the text of the problem when neither is possible."""
        if len(data) > (most := packets.MAX_PACKET_BYTES):
            return f"environment and arguments are {len(data)} bytes long; at most {most} can be passed"
        if not self._queued:
            try:
                socket.send_fds(self._control, [data], descriptors)
            except BlockingIOError:
                pass
            except OSError as error:
                # A broken pipe is followed by end of file, which fails this launch with all others.
                return None if isinstance(error, ConnectionError) else f"cannot reach the launcher: {error.strerror}"
            else:
                return None
        if len(self._queued) >= MAX_QUEUED_MESSAGES:
            return f"the launcher does not keep up: {MAX_QUEUED_MESSAGES} messages are waiting"
        self._queued.append((data, [os.dup(descriptor) for descriptor in descriptors]))
        self._loop.add_writer(self._control.fileno(), self._on_writable)
        return None

    def _on_writable(self) -> None:
        while self._queued:
            data, descriptors = self._queued[0]
            try:
                socket.send_fds(self._control, [data], descriptors)
            except BlockingIOError:
                return
            except OSError:
                break
            self._queued.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        self._drop_queue()

    def _drop_queue(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_writer(self._control.fileno())
        while self._queued:
            for descriptor in self._queued.popleft()[1]:
                os.close(descriptor)

    def _on_readable(self) -> None:
        for _ in range(_PACKETS_PER_WAKEUP):
            try:
                data = self._control.recv(packets.MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._on_end_of_file()
                return
            self._on_message(json.loads(data))

    def _on_message(self, message: dict[str, Any]) -> None:
        if message["event"] == "ready":
            self.can_adopt_orphans, self.ric_error = message["subreaper"], message["ric_error"]
            self._ready.set_result(message["version"])
            return
        identifier = message["id"]
        launch = self._launches.get(identifier)
        if launch is None:
            return
        if message["event"] == "forked":
            launch.pid, launch.start_ticks = message["pid"], message["start_ticks"]
        elif message["event"] == "failed":
            self._fail(identifier, LaunchFailure(message["stage"], message["errno"], message["error"]))
        elif message["event"] == "started":
            launch.has_started = True
            if not self._is_closing:
                self._callbacks.on_started(identifier, message["pid"], message["baseline_bytes"])
        elif message["event"] == "exited":
            del self._launches[identifier]
            if not self._is_closing:
                status = message["status"]
                self._callbacks.on_exited(identifier, ExitStatus(status.get("code"), status.get("signal")))

    def _fail(self, identifier: int, failure: LaunchFailure) -> None:
        if self._launches.pop(identifier, None) is not None and not self._is_closing:
            self._callbacks.on_failed(identifier, failure)

    def _on_end_of_file(self) -> None:
        self.is_usable = False
        self._drop_queue()
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        if not self._is_closing:
            self._callbacks.on_dying(list(self._launches))
        # In a thread: freezing a large tree may take a while, and an invoke of another launcher must not wait for it.
        roots = [(launch.pid, launch.start_ticks) for launch in self._launches.values() if launch.pid is not None]
        self._burial = self._loop.run_in_executor(None, _kill_all, self._process.pid, roots)
        self._burial.add_done_callback(lambda _: self._reap())

    def _reap(self) -> None:
        """Collect the dead launcher; SIGKILL has been sent, so this takes a moment at most."""
        code = self._process.poll()
        if code is None:
            self._loop.call_later(_REAP_INTERVAL_SECONDS, self._reap)
            return
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        if not self._ready.done():
            self._ready.set_exception(LauncherError(f"the launcher ended with {how} before it was ready"))
            self._ready.exception()  # looked at: nobody has to wait for it
        lost = [identifier for identifier, launch in self._launches.items() if launch.has_started]
        text = f"the launcher {self._process.args[0]!r} ended with {how}"  # type: ignore[index]
        for identifier in [identifier for identifier in self._launches if identifier not in lost]:
            self._fail(identifier, LaunchFailure("launcher", None, text))
        self._launches.clear()
        if not self._ended.done():
            self._ended.set_result(None)
        if lost and not self._is_closing:
            self._callbacks.on_lost(lost)


def _in_memory(data: bytes) -> int:
    """A descriptor to read `data` from."""
    descriptor = os.memfd_create("policy")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _kill_all(launcher_pid: int, roots: list[tuple[int, int | None]]) -> int:
    killed = process_tree.kill_tree(launcher_pid)
    return killed + sum(process_tree.kill_tree(pid, start_ticks=start_ticks) for pid, start_ticks in roots)


class LauncherSet:
    """One launcher per interpreter, started on first use and replaced on the next use after its death."""

    def __init__(
        self,
        ric_directory: str | os.PathLike[str],
        *,
        on_started: Callable[[int, int, int], None],
        on_failed: Callable[[int, LaunchFailure], None],
        on_exited: Callable[[int, ExitStatus], None],
        on_lost: Callable[[list[int]], None],
        on_dying: Callable[[list[int]], None] = lambda _: None,
        environ: Mapping[str, str] | None = None,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        self._ric_directory = ric_directory
        self._policy = policy
        self._callbacks = LauncherCallbacks(on_started, on_failed, on_exited, on_lost, on_dying)
        self._environ = dict(environ or {})
        self._launchers: dict[str | None, Launcher] = {}
        self._replaced: list[Launcher] = []
        self._is_closed = False

    def get(self, interpreter: Interpreter | None = None) -> Launcher:
        """The launcher of an interpreter; None is the one that only executes (node, custom runtimes, extensions).

        Raises LauncherError when it cannot be started or the set is closed.
        """
        if self._is_closed:
            raise LauncherError("the launchers are closed")
        key = interpreter.path if interpreter else None
        launcher = self._launchers.get(key)
        if launcher is None or not launcher.is_usable:
            if launcher is not None:
                self._replaced = [dead for dead in self._replaced if not dead.has_ended] + [launcher]
            launcher = self._launchers[key] = self._start(key)
        return launcher

    def holding(self, identifier: int) -> Launcher | None:
        """The launcher that has this launch, None when it has ended."""
        return next((launcher for launcher in self._launchers.values() if identifier in launcher), None)

    async def close(self) -> None:
        """End all launchers and everything they started."""
        self._is_closed = True
        await asyncio.gather(*(launcher.close() for launcher in [*self._launchers.values(), *self._replaced]))

    def _start(self, path: str | None) -> Launcher:
        return Launcher.start(
            [path or sys.executable],
            self._ric_directory if path else None,
            on_started=self._callbacks.on_started,
            on_failed=self._callbacks.on_failed,
            on_exited=self._callbacks.on_exited,
            on_lost=self._callbacks.on_lost,
            on_dying=self._callbacks.on_dying,
            environ=self._environ,
            policy=self._policy,
        )
