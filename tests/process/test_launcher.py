"""The launcher with real processes: what they find, how their end is told, that nothing outlives its environment."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from venturekit.service.environments import launcher as launcher_module
from venturekit.service.environments import process_tree
from venturekit.service.environments.interpreters import Interpreter, find_interpreters, own_interpreter
from venturekit.service.environments.launcher import (
    ExitStatus,
    Launcher,
    LauncherError,
    LauncherSet,
    LaunchFailure,
    LaunchSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INTERPRETERS = find_interpreters(os.environ, os.path.expanduser("~"))
ONE_PER_VERSION = list({interpreter.version: interpreter for interpreter in reversed(INTERPRETERS)}.values())[::-1]
RIC = Path(launcher_module.__file__).parents[2] / "ric"
TREE_END_SECONDS = 2.0


def _open_fds(pid: int | str = "self") -> int:
    if pid == "self":
        # What other tests have left to the collector must not go while descriptors are counted.
        gc.collect()
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- what a forked main process finds ---------------------------------------------------------------------------------

REPORT = """
import json, os, resource, signal, sys
seen = {
    "environ": dict(os.environ), "argv": sys.argv, "cwd": os.getcwd(), "handler": handler, "path": sys.path,
    "sid": os.getsid(0), "pgid": os.getpgid(0), "pid": os.getpid(), "umask": os.umask(0),
    "stdin": os.read(0, 1).decode(), "version": list(sys.version_info[:2]), "site": "site-packages" in str(sys.path),
    "builtins": [name for name in ("exit", "quit", "help") if name in dir(__builtins__) or name in __builtins__],
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0], "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "sigint": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    "sigchld": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
    "sigpipe": signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN,
    "main": sorted(vars(sys.modules["__main__"])), "prefix": sys.pycache_prefix, "no_bytecode": sys.dont_write_bytecode,
    "bad_modules": sorted(name for name in sys.modules if name.startswith("venturekit")),
}
listing = os.listdir("/proc/self/fd")
seen["fds"] = sorted(int(name) for name in listing if os.path.exists("/proc/self/fd/" + name))
print(json.dumps(seen))
"""


@pytest.mark.parametrize("interpreter", ONE_PER_VERSION, ids=str)
def test_forked_main_process_looks_freshly_started(
    launching: Callable[..., None], tmp_path: Path, interpreter: Interpreter
) -> None:
    async def scenario(bench: Any) -> None:
        version = await bench.launcher.wait_ready()
        assert version.startswith(f"{interpreter.version[0]}.{interpreter.version[1]}.")
        assert bench.launcher.can_adopt_orphans
        environ = {"CODE": REPORT, "TZ": ":UTC", "NAME": "värde"}
        seen = json.loads(await bench.run(REPORT, environ=environ, handler="app.main", python_path=["/opt/python"]))
        assert seen["environ"] == environ
        assert seen["argv"] == ["bootstrap"]
        assert seen["cwd"] == str(tmp_path)
        assert seen["handler"] == "app.main"
        assert tuple(seen["version"]) == interpreter.version
        assert seen["path"][0] == "/opt/python"
        assert all("python3" in path for path in seen["path"][1:])
        assert not seen["site"]
        assert seen["builtins"] == ["exit", "quit", "help"]
        assert seen["sid"] == seen["pgid"] == seen["pid"]
        assert seen["sid"] not in (os.getsid(0), bench.launcher.pid)
        assert seen["umask"] == 0o022
        assert seen["stdin"] == ""
        assert seen["core"] == 0
        assert seen["files"] == 1024
        assert seen["blocked"] == 0
        assert seen["sigint"]
        assert seen["sigterm"]
        assert seen["sigchld"]
        assert seen["sigpipe"]
        assert "LauncherProcess" not in seen["main"]
        assert seen["bad_modules"] == []
        assert seen["prefix"] is None
        assert seen["no_bytecode"]
        assert seen["fds"] == [0, 1, 2]

    launching(scenario, interpreter=interpreter)


def test_log_descriptor_is_the_only_other_one(launching: Callable[..., None], piped: Callable[..., Any]) -> None:
    code = """
        import os
        fd = int(os.environ["_LAMBDA_TELEMETRY_LOG_FD"])
        os.write(fd, b"framed")
        print(fd, [name for name in sorted(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd/" + name)])
    """

    async def scenario(bench: Any) -> None:
        with piped() as (log, log_fd):
            text = await bench.run(code, log_fd=log_fd)
            os.close(log_fd)
            assert await asyncio.to_thread(log.wait_end) == "framed"
        assert text == "3 ['0', '1', '2', '3']\n"

    launching(scenario)


def test_two_forks_draw_different_random_numbers(launching: Callable[..., None]) -> None:
    code = "import random, tempfile, uuid; print(random.random(), uuid.uuid4(), next(tempfile._get_candidate_names()))"

    async def scenario(bench: Any) -> None:
        first, second = await bench.run(code), await bench.run(code)
        assert len(set(first.split()) | set(second.split())) == 6

    launching(scenario)


def test_byte_code_goes_to_the_given_prefix(launching: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("value = 42\n")
    code = "import sys; sys.path.insert(0, '.'); import module; print(module.value)"

    async def scenario(bench: Any) -> None:
        assert await bench.run(code) == "42\n"
        assert list(tmp_path.rglob("module*.pyc")) == []
        assert await bench.run(code, pycache_prefix=str(tmp_path / "cache")) == "42\n"
        written = list(tmp_path.rglob("module*.pyc"))
        assert len(written) == 1
        assert (tmp_path / "cache") in written[0].parents

    launching(scenario)


def test_time_zone_of_the_environment_is_in_force(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        code = "import time; print(time.localtime(0).tm_hour)"
        assert await bench.run(code, environ={"TZ": "XYZ-5"}) == "5\n"
        assert await bench.run(code, environ={"TZ": ":UTC"}) == "0\n"

    launching(scenario)


def test_real_exit_runs_exit_handlers_and_flushes(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        text = await bench.run("import atexit, sys; atexit.register(print, 'bye'); sys.stdout.write('no newline ')")
        assert text == "no newline bye\n"

    launching(scenario)


@pytest.mark.parametrize("interpreter", ONE_PER_VERSION, ids=str)
def test_own_runtime_interface_client_serves_an_event(
    launching: Callable[..., None], tmp_path: Path, interpreter: Interpreter
) -> None:
    (tmp_path / "app.py").write_text("def main(event, context):\n    return {'twice': event['n'] * 2}\n")
    event = b'{"n": 21}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(event)}\r\n"
    head += "Lambda-Runtime-Aws-Request-Id: 1234\r\nLambda-Runtime-Deadline-Ms: 99999999999999\r\n\r\n"

    async def scenario(bench: Any) -> None:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + event)
            await reader.readuntil(b"\r\n\r\n")
            answer.set_result(await reader.readexactly(len(b'{"twice": 42}')))

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            environ = {
                "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
                "LAMBDA_TASK_ROOT": str(tmp_path),
                "_HANDLER": "app.main",
            }
            identifier, _ = bench.launch("fork", ["bootstrap"], environ=environ)
            assert await asyncio.wait_for(answer, 20) == b'{"twice": 42}', bench.events
            assert bench.launcher.ric_error is None
            bench.launcher.kill(identifier)
            await bench.event("exited", identifier)

    launching(scenario, interpreter=interpreter, ric=RIC)


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", ExitStatus(0, None)),
        ("import sys; sys.exit(7)", ExitStatus(7, None)),
        ("import os; os._exit(255)", ExitStatus(255, None)),
        ("raise ValueError('boom')", ExitStatus(1, None)),
        ("import os; os.kill(os.getpid(), 9)", ExitStatus(None, signal.SIGKILL)),
        ("import os; os.kill(os.getpid(), 15)", ExitStatus(None, signal.SIGTERM)),
        ("import os; os.abort()", ExitStatus(None, signal.SIGABRT)),
        ("import signal; signal.raise_signal(signal.SIGSEGV)", ExitStatus(None, signal.SIGSEGV)),
    ],
)
def test_exit_status(launching: Callable[..., None], code: str, expected: ExitStatus) -> None:
    async def scenario(bench: Any) -> None:
        identifier, _ = bench.fork(code)
        kind, _, pid, baseline_bytes = await bench.event("started", identifier)
        assert baseline_bytes > 1_000_000
        assert await bench.event("exited", identifier) == ("exited", identifier, expected)
        assert [event[0] for event in bench.events] == ["started", "exited"]
        assert kind == "started"
        assert identifier not in bench.launcher
        assert bench.launcher.pid_of(identifier) is None
        assert pid != bench.launcher.pid

    launching(scenario)


def test_uncaught_exception_is_on_the_output(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork("raise ValueError('boom')")
        await bench.event("exited", identifier)
        assert "ValueError: boom" in await asyncio.to_thread(output.wait_end)

    launching(scenario)


def test_signal_reaches_the_process_group(launching: Callable[..., None]) -> None:
    code = """
        import os, signal
        child = os.fork()
        signal.signal(signal.SIGTERM, lambda *_: None if child else os._exit(4))
        print("up", flush=True)
        while True:
            if child:
                status = os.waitpid(child, 0)[1]
                print("child", os.WEXITSTATUS(status), flush=True)
                os._exit(5)
            signal.pause()
    """

    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork(code)
        await asyncio.to_thread(output.wait_lines, 2)
        bench.launcher.signal(identifier, signal.SIGTERM)
        assert (await bench.event("exited", identifier))[2] == ExitStatus(5, None)
        assert "child 4" in await asyncio.to_thread(output.wait_end)

    launching(scenario)


def test_term_sent_at_once_is_not_lost(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        for _ in range(20):
            identifier, _ = bench.fork("import signal; signal.pause()")
            bench.launcher.signal(identifier, signal.SIGTERM)
            assert (await bench.event("exited", identifier))[2] == ExitStatus(None, signal.SIGTERM)

    launching(scenario)


def test_signals_and_kills_of_the_ended_are_ignored(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        identifier, _ = bench.fork("pass")
        await bench.event("exited", identifier)
        bench.launcher.kill(identifier)
        bench.launcher.signal(identifier, 15)
        bench.launcher.kill(12345)
        assert await bench.run("print('fine')") == "fine\n"

    launching(scenario)


def test_cold_fork_is_quick(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        before = time.monotonic()
        identifier, _ = bench.fork("import signal; signal.pause()")
        await bench.event("started", identifier)
        assert time.monotonic() - before < 0.5

    launching(scenario)


def test_launches_before_ready_wait_in_the_socket(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        identifiers = [bench.fork("pass")[0] for _ in range(5)]
        for identifier in identifiers:
            assert (await bench.event("exited", identifier))[2] == ExitStatus(0, None)

    launching(scenario)


def test_runs_on_uvloop(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        assert await bench.run("print('fine')") == "fine\n"

    launching(scenario, runner=uvloop.run)


# --- exec mode --------------------------------------------------------------------------------------------------------


def test_executed_program_gets_exactly_the_environment(launching: Callable[..., None], tmp_path: Path) -> None:
    program = tmp_path / "bootstrap"
    program.write_text("#!/bin/sh\nexec /usr/bin/env\n")
    program.chmod(0o755)

    async def scenario(bench: Any) -> None:
        identifier, output = bench.launch("exec", ["./bootstrap"], environ={"A": "1", "B": "zwei\n"})
        started = await bench.event("started", identifier)
        assert started[3] == 0
        assert (await bench.event("exited", identifier))[2] == ExitStatus(0, None)
        lines = (await asyncio.to_thread(output.wait_end)).splitlines()
        assert set(lines) - {f"PWD={tmp_path}", "_=/usr/bin/env", "OLDPWD"} == {"A=1", "B=zwei", ""}

    launching(scenario, ric=None)


def test_executed_program_has_default_signals_and_no_other_descriptors(
    launching: Callable[..., None], piped: Callable[..., Any]
) -> None:
    argv = [
        "/bin/sh",
        "-c",
        'grep -E "^Sig(Blk|Ign):" /proc/self/status; ls /proc/self/fd; umask; ulimit -n; ulimit -c',
    ]

    async def scenario(bench: Any) -> None:
        with piped() as (_, log_fd):
            identifier, output = bench.launch("exec", argv, environ={"PATH": "/usr/bin:/bin"}, log_fd=log_fd)
            await bench.event("exited", identifier)
        lines = (await asyncio.to_thread(output.wait_end)).split()
        # `ls` opens one descriptor for its listing.
        assert lines[::2][:2] == ["SigBlk:", "SigIgn:"]
        # The two signals from 32 on are the C library's own.
        assert [int(mask, 16) & 0x7FFFFFFF for mask in lines[1:4:2]] == [0, 0]
        assert lines[4:] == ["0", "1", "2", "3", "4", "0022", "1024", "0"]

    launching(scenario, ric=None)


def _file(folder: Path, name: str, content: bytes, mode: int) -> str:
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("content", "mode", "errno_name", "text"),
    [
        (None, 0, "ENOENT", "No such file"),
        (b"#!/bin/sh\n", 0o644, "EACCES", "chmod +x"),
        (b"#!/no/such/interpreter\n", 0o755, "ENOENT", "first line"),
        (b"just text\n", 0o755, "ENOEXEC", "#!"),
        (b"", 0o755, "ENOEXEC", "#!"),
    ],
    ids=["missing", "not executable", "bad interpreter", "text", "empty"],
)
def test_program_that_cannot_be_executed(
    launching: Callable[..., None], tmp_path: Path, content: bytes | None, mode: int, errno_name: str, text: str
) -> None:
    path = str(tmp_path / "missing") if content is None else _file(tmp_path, "bootstrap", content, mode)

    async def scenario(bench: Any) -> None:
        identifier, output = bench.launch("exec", [path])
        _, _, failure = await bench.event("failed", identifier)
        assert (failure.stage, failure.errno_name) == ("exec", errno_name)
        assert text in failure.message
        assert repr(path) in failure.message
        assert await asyncio.to_thread(output.wait_end) == ""
        # Nothing more is said of it, and the launcher goes on.
        assert await bench.run("print('fine')") == "fine\n"
        assert [event[0] for event in bench.events if event[1] == identifier] == ["failed"]

    launching(scenario)


def test_folder_as_program_and_missing_working_directory(launching: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(bench: Any) -> None:
        identifier, _ = bench.launch("exec", [str(tmp_path)])
        assert (await bench.event("failed", identifier))[2].errno_name == "EACCES"
        for mode in ("exec", "fork"):
            identifier, _ = bench.launch(mode, ["/bin/true"], cwd=str(tmp_path / "gone"), environ={"CODE": "pass"})
            failure = (await bench.event("failed", identifier))[2]
            assert (failure.stage, failure.errno_name) == ("working_directory", "ENOENT")
            assert "gone" in failure.message

    launching(scenario)


# --- messages that cannot be served -----------------------------------------------------------------------------------


def test_large_environment_passes_and_too_large_one_fails_alone(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        code = "import os; print(len(os.environ['BIG']))"
        assert await bench.run(code, environ={"BIG": "x" * 100_000}) == "100000\n"
        identifier, _ = bench.fork(code, environ={"BIG": "x" * 140_000})
        failure = (await bench.event("failed", identifier))[2]
        assert failure.stage == "message"
        assert "131072" in failure.message
        assert await bench.run("print('fine')") == "fine\n"

    launching(scenario)


@pytest.mark.parametrize("packet", [b"not json", b"[]", b'{"id": 77}', b'{"op": "start", "id": 77}', b"x" * 140_000])
def test_launcher_survives_packets_it_does_not_understand(launching: Callable[..., None], packet: bytes) -> None:
    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        bench.launcher._control.send(packet)
        assert await bench.run("print('fine')") == "fine\n"

    launching(scenario)


def test_fork_without_a_usable_ric_says_why(launching: Callable[..., None], stand_in_ric: Path) -> None:
    async def without(bench: Any) -> None:
        identifier, _ = bench.fork("pass")
        assert "only execute" in (await bench.event("failed", identifier))[2].message

    launching(without, ric=None)
    (stand_in_ric / "__init__.py").write_text("def preload(): raise RuntimeError('no good')")

    async def broken(bench: Any) -> None:
        identifier, _ = bench.fork("pass")
        assert "RuntimeError: no good" in (await bench.event("failed", identifier))[2].message
        identifier, _ = bench.launch("exec", ["/bin/true"])
        assert (await bench.event("exited", identifier))[2] == ExitStatus(0, None)

    launching(broken)


def test_id_in_use_is_refused(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        bench.fork("import signal; signal.pause()")
        bench.next_id = 0
        with pytest.raises(ValueError, match="launch id 1 is in use"):
            bench.fork("pass")

    launching(scenario)


def test_missing_and_broken_interpreters(tmp_path: Path) -> None:
    def ignore(*_: object) -> None:
        return None

    async def scenario() -> None:
        callbacks: dict[str, Any] = {"on_started": ignore, "on_exited": ignore, "on_lost": ignore}
        with pytest.raises(LauncherError, match="missing"):
            Launcher.start([str(tmp_path / "missing")], None, on_failed=ignore, **callbacks)
        failed: asyncio.Future[LaunchFailure] = asyncio.get_running_loop().create_future()
        launcher = Launcher.start(
            ["/bin/false"], None, on_failed=lambda _, failure: failed.set_result(failure), **callbacks
        )
        launcher.launch(LaunchSpec(1, "exec", ["/bin/true"], {}, "/"), 1)
        with pytest.raises(LauncherError, match="exit code 1 before it was ready"):
            await launcher.wait_ready()
        failure = await asyncio.wait_for(failed, 10)
        assert failure.stage == "launcher"
        assert "/bin/false" in failure.message
        await launcher.close()

    asyncio.run(scenario())


# --- a launcher that does not keep up ---------------------------------------------------------------------------------


def test_messages_wait_in_a_bounded_queue(launching: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher_module, "MAX_QUEUED_MESSAGES", 5)

    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        before = _open_fds()
        os.kill(bench.launcher.pid, signal.SIGSTOP)
        launches = [bench.fork("print('ran')", environ={"BIG": "x" * 50_000}) for _ in range(20)]
        refused = []
        for identifier, _ in launches[-3:]:
            failure = (await bench.event("failed", identifier))[2]
            assert "does not keep up" in failure.message
            refused.append(identifier)
        os.kill(bench.launcher.pid, signal.SIGCONT)
        texts = [await asyncio.to_thread(output.wait_end) for _, output in launches]
        failed = {event[1] for event in bench.events if event[0] == "failed"}
        assert failed >= set(refused)
        assert [text for (identifier, _), text in zip(launches, texts, strict=True) if identifier not in failed] == [
            "ran\n"
        ] * (20 - len(failed))
        assert 5 <= 20 - len(failed) < 20
        assert _open_fds() == before + 20  # the reading ends of the bench

    launching(scenario)


def test_no_descriptor_leaks_over_many_launches(launching: Callable[..., None], full_counts: bool) -> None:
    async def scenario(bench: Any) -> None:
        await bench.run("pass")
        ours, theirs = _open_fds(), _open_fds(bench.launcher.pid)
        for number in range(200 if full_counts else 60):
            if number % 4:
                identifier, output = bench.fork("pass")
                await bench.event("exited", identifier)
            else:
                identifier, output = bench.launch("exec", ["/no/such/file"])
                await bench.event("failed", identifier)
            bench.outputs.remove(output)
            output.close()
            bench.events.clear()
        assert await bench.run("print('fine')") == "fine\n"
        assert _open_fds() == ours + 1  # the reading end of the last run
        # The spare child may be there or not yet there again: one process, one descriptor.
        assert abs(_open_fds(bench.launcher.pid) - theirs) <= 1
        assert len(process_tree.children(bench.launcher.pid)) <= 1

    launching(scenario)


# --- nothing outlives its environment ---------------------------------------------------------------------------------

TOOLS = """
import os, signal, subprocess, sys, threading, time
def say():
    os.write(1, b"%d\\n" % os.getpid())
def stay():
    say()
    while True:
        signal.pause()
def child(action):
    if os.fork() == 0:
        try:
            action()
        finally:
            os._exit(0)
def leave(action):  # fork and go: the grandchild is an orphan
    child(action)
    os._exit(0)
def daemon(action=stay):
    os.setsid()
    leave(action)
def ignore(*numbers):
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
"""

# name: (code, number of processes that report themselves)
DAEMONS = {
    "plain child": ("child(stay)", 1),
    "own process group": ("child(lambda: (os.setpgid(0, 0), stay()))", 1),
    "own session": ("child(lambda: (os.setsid(), stay()))", 1),
    "double fork": ("child(lambda: leave(stay))", 1),
    "daemon": ("child(daemon)", 1),
    "daemon of a daemon": ("child(lambda: daemon(daemon))", 1),
    "new session at every step": ("child(lambda: daemon(lambda: daemon(lambda: (os.setsid(), stay()))))", 1),
    "ignores TERM": ("ignore(15); child(lambda: daemon(stay))", 1),
    "ignores every signal": ("ignore(*(signal.valid_signals() - {9, 19, 32, 33})); child(daemon)", 1),
    "blocks every signal": ("signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 32)); child(daemon)", 1),
    "stopped": ("child(lambda: (say(), os.kill(os.getpid(), 19)))", 1),
    "stopped daemon": ("child(lambda: daemon(lambda: (say(), os.kill(os.getpid(), 19))))", 1),
    "stopped group": (
        "child(lambda: (os.setsid(), say(), child(lambda: (say(), os.killpg(0, 19))), signal.pause()))",
        2,
    ),
    "ten generations": (
        """
def down(n):
    say()
    child(lambda: down(n - 1)) if n else None
    signal.pause()
child(lambda: down(9))
""",
        10,
    ),
    "fork storm of 50": ("[child(lambda: (os.setsid(), stay())) for _ in range(50)]", 50),
    "storm of 50 daemons": ("[child(daemon) for _ in range(50)]", 50),
    "forked by a thread": ("threading.Thread(target=child, args=(stay,)).start()", 1),
    "executed program": (
        "subprocess.Popen(['/bin/sh', '-c', 'echo $$; exec sleep 1000'], start_new_session=True)",
        1,
    ),
    "nohup in a shell": ("os.system('nohup setsid sh -c \"echo $$; sleep 1000; true\" </dev/null &')", 1),
    "does not reap": ("signal.signal(17, signal.SIG_IGN); child(daemon); child(stay)", 2),
    "restarts what is killed": (
        """
def guard():
    os.setsid()
    say()
    while True:
        child(stay)
        os.wait()
child(guard)
""",
        2,
    ),
    "wakes the stopped": (
        """
def wake():
    os.setsid()
    main = os.getppid()
    say()
    while True:
        os.kill(main, 18)
        time.sleep(0.001)
child(wake); child(wake)
""",
        2,
    ),
    "hops from process to process": (
        """
def hop():
    n = 0
    while True:
        if os.fork():
            os._exit(0)
        n += 1
        time.sleep(0.002)
        if n == 20:
            say()
child(hop)
""",
        1,
    ),
    "forks all the time": (
        """
def bomb():
    os.setsid()
    say()
    for _ in range(300):
        child(signal.pause)
        time.sleep(0.001)
    signal.pause()
child(bomb)
""",
        1,
    ),
    "has closed all descriptors": (
        """
def close():
    say()
    os.closerange(0, 10)
    signal.pause()
child(lambda: daemon(close))
""",
        1,
    ),
}


def test_there_are_twenty_ways_and_more() -> None:
    assert len(DAEMONS) >= 20


@pytest.mark.parametrize("name", DAEMONS)
def test_kill_ends_the_whole_tree(launching: Callable[..., None], assert_gone: Callable[..., None], name: str) -> None:
    code, count = DAEMONS[name]

    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork(f"{TOOLS}\n{code}\nstay()")
        pids = [int(line) for line in await asyncio.to_thread(output.wait_lines, count + 1)]
        await bench.event("started", identifier)
        assert bench.launcher.pid_of(identifier) in pids
        before = time.monotonic()
        bench.launcher.kill(identifier)
        # Every descendant that did not close it holds the pipe: its end is the end of all of them.
        await asyncio.to_thread(output.wait_end, TREE_END_SECONDS)
        await asyncio.to_thread(assert_gone, pids, TREE_END_SECONDS - (time.monotonic() - before))
        assert (await bench.event("exited", identifier))[2] == ExitStatus(None, signal.SIGKILL)
        assert await bench.run("print('fine')") == "fine\n"

    launching(scenario)


@pytest.mark.parametrize("name", ["own session", "daemon", "storm of 50 daemons", "stopped daemon"])
def test_what_a_dead_main_process_leaves_is_killed(
    launching: Callable[..., None], assert_gone: Callable[..., None], name: str
) -> None:
    code, count = DAEMONS[name]

    async def scenario(bench: Any) -> None:
        # sigwait and not a handler: a handler that comes due just before pause() would wait for another signal.
        wait = "signal.pthread_sigmask(signal.SIG_BLOCK, [10])\nsay()\nsignal.sigwait([10])\nos._exit(3)"
        identifier, output = bench.fork(f"{TOOLS}\n{code}\n{wait}")
        bystander, _ = bench.fork("import signal; signal.pause()")
        await bench.event("started", bystander)
        pids = [int(line) for line in await asyncio.to_thread(output.wait_lines, count + 1)]
        await bench.event("started", identifier)
        main = bench.launcher.pid_of(identifier)
        os.kill(main, signal.SIGUSR1)
        await asyncio.to_thread(output.wait_end, TREE_END_SECONDS)
        assert (await bench.event("exited", identifier))[2] == ExitStatus(3, None)
        await asyncio.to_thread(assert_gone, pids)
        assert bystander in bench.launcher
        assert process_tree.is_running(bench.launcher.pid_of(bystander))

    launching(scenario)


def test_control_a_process_group_kill_would_have_missed_the_daemon(
    launching: Callable[..., None], assert_gone: Callable[..., None]
) -> None:
    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork(f"{TOOLS}\nchild(daemon)\nstay()")
        pids = [int(line) for line in await asyncio.to_thread(output.wait_lines, 2)]
        await bench.event("started", identifier)
        main = bench.launcher.pid_of(identifier)
        (daemon,) = set(pids) - {main}
        # The launcher is held still, so that only the plain kill acts.
        os.kill(bench.launcher.pid, signal.SIGSTOP)
        os.killpg(main, signal.SIGKILL)
        await asyncio.to_thread(assert_gone, [main])
        assert process_tree.is_running(daemon)
        os.kill(bench.launcher.pid, signal.SIGCONT)
        await asyncio.to_thread(assert_gone, [daemon])

    launching(scenario)


def test_close_ends_everything(stand_in_ric: Path, launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        code = "\n".join(
            [TOOLS, *(DAEMONS[name][0] for name in ("daemon", "ignores TERM", "stopped daemon")), "stay()"]
        )
        outputs = [bench.fork(code)[1] for _ in range(3)]
        for output in outputs:
            await asyncio.to_thread(output.wait_lines, 4)
        before = time.monotonic()
        await bench.launcher.close()
        for output in outputs:
            await asyncio.to_thread(output.wait_end, TREE_END_SECONDS - (time.monotonic() - before))
        await bench.launcher.close()
        with pytest.raises(LauncherError, match="has ended"):
            bench.fork("pass")
        assert not {"exited", "lost", "failed"} & {event[0] for event in bench.events}

    launching(scenario)


def test_close_of_a_stopped_launcher_is_bounded(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        _, output = bench.fork(f"{TOOLS}\nchild(daemon)\nstay()")
        await asyncio.to_thread(output.wait_lines, 2)
        os.kill(bench.launcher.pid, signal.SIGSTOP)
        await bench.launcher.close(timeout_seconds=0.1)
        await asyncio.to_thread(output.wait_end, TREE_END_SECONDS)

    launching(scenario)


def test_killed_launcher_is_told_and_leaves_nothing(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        code = "\n".join(
            [TOOLS, *(DAEMONS[name][0] for name in ("daemon", "ignores TERM", "stopped daemon")), "stay()"]
        )
        first, first_output = bench.fork(code)
        second, second_output = bench.launch("exec", ["/bin/sleep", "1000"])
        await asyncio.to_thread(first_output.wait_lines, 4)
        await bench.event("started", first)
        await bench.event("started", second)
        before = time.monotonic()
        os.kill(bench.launcher.pid, signal.SIGKILL)
        _, lost = await bench.event("lost", first)
        assert sorted(lost) == [first, second]
        for output in (first_output, second_output):
            await asyncio.to_thread(output.wait_end, TREE_END_SECONDS - (time.monotonic() - before))
        assert not bench.launcher.is_usable

    launching(scenario)


def test_launches_under_way_fail_when_the_launcher_dies(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        os.kill(bench.launcher.pid, signal.SIGSTOP)
        identifier, _ = bench.fork("pass")
        os.kill(bench.launcher.pid, signal.SIGKILL)
        _, _, failure = await bench.event("failed", identifier)
        assert failure.stage == "launcher"
        assert "signal 9" in failure.message
        assert [event[0] for event in bench.events] == ["failed"]

    launching(scenario)


SERVICE = """
import asyncio, os, sys
from venturekit.service.environments.interpreters import own_interpreter
from venturekit.service.environments.launcher import LauncherSet, LaunchSpec

def ignore(*_):
    pass

async def main():
    launchers = LauncherSet(sys.argv[1], on_started=ignore, on_failed=print, on_exited=ignore, on_lost=ignore)
    code = sys.argv[2]
    launchers.get(own_interpreter()).launch(LaunchSpec(1, "fork", ["x"], {"CODE": code}, "/"), 1)
    launchers.get(None).launch(LaunchSpec(2, "exec", [sys.executable, "-S", "-c", code], {}, "/"), 1)
    print("launcher", launchers.get(None).pid, launchers.get(own_interpreter()).pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_killed_service_leaves_nothing(
    stand_in_ric: Path, piped: Callable[..., Any], assert_gone: Callable[..., None]
) -> None:
    names = ("daemon", "ignores TERM", "stopped daemon", "fork storm of 50", "ten generations")
    code = "\n".join([TOOLS, *(DAEMONS[name][0] for name in names), "stay()"])
    processes = 2 * (sum(DAEMONS[name][1] for name in names) + 1)
    with piped() as (output, write_fd):
        service = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVICE), str(stand_in_ric), code],
            stdout=write_fd,
            stderr=subprocess.DEVNULL,
        )
        os.close(write_fd)
        try:
            lines = output.wait_lines(processes + 1)
        finally:
            service.kill()
            before = time.monotonic()
            service.wait()
        output.wait_end(TREE_END_SECONDS)
        pids = [int(word) for line in lines for word in line.split() if word.isdigit()]
        assert len(pids) == processes + 2
        assert_gone(pids, TREE_END_SECONDS - (time.monotonic() - before))


# --- the set ----------------------------------------------------------------------------------------------------------


def test_set_keeps_one_launcher_per_interpreter_and_replaces_the_dead(stand_in_ric: Path) -> None:
    async def scenario() -> None:
        lost = asyncio.Event()
        started = asyncio.Event()
        exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        launchers = LauncherSet(
            stand_in_ric,
            on_started=lambda *_: started.set(),
            on_failed=lambda *_: None,
            on_exited=lambda _, status: exited.set_result(status),
            on_lost=lambda _: lost.set(),
        )
        first = launchers.get(own_interpreter())
        assert launchers.get(own_interpreter()) is first
        assert launchers.get(None) is not first
        first.launch(LaunchSpec(1, "fork", ["x"], {"CODE": "import signal; signal.pause()"}, "/"), 1)
        assert launchers.holding(1) is first
        await asyncio.wait_for(started.wait(), 10)
        os.kill(first.pid, signal.SIGKILL)
        await asyncio.wait_for(lost.wait(), 10)
        second = launchers.get(own_interpreter())
        assert second is not first
        second.launch(LaunchSpec(1, "fork", ["x"], {"CODE": "raise SystemExit(9)"}, "/"), 1)
        assert await asyncio.wait_for(exited, 10) == ExitStatus(9, None)
        assert launchers.holding(1) is None
        pids = [second.pid, launchers.get(None).pid]
        await launchers.close()
        assert not any(process_tree.is_running(pid) for pid in pids)
        with pytest.raises(LauncherError, match="closed"):
            launchers.get(None)

    asyncio.run(scenario())


def test_terminal_interrupts_do_not_reach_the_launcher(launching: Callable[..., None]) -> None:
    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        assert os.getsid(bench.launcher.pid) == bench.launcher.pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(bench.launcher.pid, number)
        assert await bench.run("print('fine')") == "fine\n"

    launching(scenario)
