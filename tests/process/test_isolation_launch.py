"""Isolated main processes of a launcher: they start in every way, end in every way, and nothing of them is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.forms import thinned
from venturekit.service.environments import process_tree
from venturekit.service.environments.interpreters import (
    Interpreter,
    find_interpreters,
    interpreter_files,
    own_interpreter,
)
from venturekit.service.environments.isolation.policy import Policy, Surroundings, make_policy
from venturekit.service.environments.isolation.probe import landlock_abi, prober
from venturekit.service.environments.launcher import ExitStatus
from venturekit.service.environments.ports import EnvironmentSpec

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = ("confined", "namespace")
INTERPRETERS = find_interpreters(os.environ, os.path.expanduser("~"))
ONE_PER_VERSION = list({interpreter.version: interpreter for interpreter in reversed(INTERPRETERS)}.values())[::-1]
ENDED = "ended"


class Place:
    """The folders of one isolated environment, and its policy."""

    def __init__(self, folder: Path, level: Any, **changes: Any) -> None:
        self.folder = folder
        for name in ("code", "scratch", "runtime", "bytecode", "mountpoint", "layer-1", "layer-2"):
            (folder / name).mkdir()
        around = Surroundings(
            data_directory=Path("/nonexistent"),
            runtime_directory=folder / "runtime",
            bytecode_directory=folder / "bytecode",
            mountpoint=folder / "mountpoint",
        )
        made: Policy = make_policy(level, landlock_abi(), around, (), ())
        self.policy = made
        self.common = made.common | changes
        self.layers: tuple[Path, ...] = ()
        self.needed = interpreter_files(own_interpreter().path)

    def launch(self, **changes: Any) -> dict[str, Any]:
        """The launch's own fields."""
        spec = EnvironmentSpec(
            identity="i",
            function_name="f",
            function_version="1",
            function_arn="arn",
            runtime="python3.12",
            handler="app.handler",
            timeout_ms=1000,
            memory_size_mb=128,
            ephemeral_storage_mb=512,
            code_key="k",
            code_directory=self.folder / "code",
            log_group="g",
            layers=self.layers,
        )
        own = self.policy.own_part(spec, tmp=self.folder / "scratch", ports=[1], needed=self.needed) | changes
        return {"isolation": own, "cwd": str(self.policy.inside(spec).code_directory)}


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Place]:
    def make(level: str, **changes: Any) -> Place:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return Place(folder, level, **changes)

    return make


async def gone(pids: list[int]) -> None:
    """Wait until none of these processes is left, not even unreaped."""

    async def wait() -> None:
        while any(process_tree.read_stat(pid) is not None for pid in pids):
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 10)


def test_this_kernel_can_do_both_levels() -> None:
    # Everything below would fail for the same reason: here it is said in words.
    examine = prober(own_interpreter().path)
    assert [(found.reason, found.gaps) for found in map(examine, LEVELS)] == [(None, ())] * 2


SEEN = """
import ctypes, json, os, sqlite3, ssl, sys, zoneinfo
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
fds = sorted(os.listdir("/proc/self/fd"))
print(json.dumps({"cwd": os.getcwd(), "pid": os.getpid(), "sid": os.getsid(0), "fds": fds,
    "status": status, "prefix": sys.pycache_prefix, "quiet": sys.dont_write_bytecode}))
"""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("interpreter", thinned(ONE_PER_VERSION, 2), ids=str)
def test_a_forked_process_is_isolated(
    launching: Callable[..., None], place: Callable[..., Place], interpreter: Interpreter, level: str
) -> None:
    here = place(level)
    here.needed = interpreter_files(interpreter.path)

    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        # The first finds no spare that is ready; the second may find one.
        for _ in range(2):
            text = await bench.run(SEEN, pycache_prefix="/cache", writes_bytecode=False, **here.launch())
            seen = json.loads(text)
            assert seen["cwd"] == ("/var/task" if level == "namespace" else str(here.folder / "code"))
            assert (seen["pid"] == 2) == (level == "namespace")
            assert seen["sid"] == seen["pid"]
            assert seen["status"]["NoNewPrivs"] == "1"
            assert seen["status"]["Seccomp"] == "2"
            assert set(seen["status"]["CapEff"] + seen["status"]["CapPrm"] + seen["status"]["CapInh"]) == {"0"}
            # The fourth is the listing itself.
            assert len(seen["fds"]) == 4
            assert seen["fds"][:3] == ["0", "1", "2"]
            assert (seen["prefix"], seen["quiet"]) == ("/cache", True)

    launching(scenario, interpreter=interpreter, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
def test_a_program_is_executed_isolated(
    launching: Callable[..., None], place: Callable[..., Place], level: str
) -> None:
    here = place(level)
    bootstrap = here.folder / "code" / "bootstrap"
    bootstrap.write_text('#!/bin/sh\necho "$PWD $0"\necho err > /dev/stderr\ncat "$0" | wc -l\nexit 7\n')
    bootstrap.chmod(0o755)
    shown = "/var/task/bootstrap" if level == "namespace" else str(bootstrap)

    async def scenario(bench: Any) -> None:
        identifier, output = bench.launch("exec", [shown], **here.launch())
        text = await asyncio.to_thread(output.wait_end)
        assert text == f"{Path(shown).parent} {shown}\nerr\n5\n"
        assert (await bench.event("exited", identifier))[2] == ExitStatus(7, None)

    launching(scenario, ric=None, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(3)", ExitStatus(3, None)),
        ("os.kill(os.getpid(), signal.SIGTERM)", ExitStatus(None, signal.SIGTERM)),
        ("os.kill(os.getpid(), signal.SIGKILL)", ExitStatus(None, signal.SIGKILL)),
        ("os.abort()", ExitStatus(None, signal.SIGABRT)),
        ("ctypes.string_at(0)", ExitStatus(None, signal.SIGSEGV)),
    ],
)
def test_the_end_of_a_process_is_told_as_it_was(
    launching: Callable[..., None], place: Callable[..., Place], level: str, code: str, status: ExitStatus
) -> None:
    here = place(level)

    async def scenario(bench: Any) -> None:
        identifier, _ = bench.fork(f"import ctypes, os, signal\n{code}\nsignal.pause()", **here.launch())
        assert (await bench.event("exited", identifier))[2] == status

    launching(scenario, policy=here.common)


TREE = """
import os, signal, time
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            print("up", flush=True)
        time.sleep(600)
print("up", flush=True)
time.sleep(600)
"""


async def tree(bench: Any, here: Place) -> tuple[int, list[int]]:
    """Start a main process with daemons; its number, and all processes below the launcher but the spare's."""
    await bench.launcher.wait_ready()
    identifier, output = bench.fork(TREE, **here.launch())
    await asyncio.to_thread(output.wait_lines, 4)
    pid = (await bench.event("started", identifier))[2]
    return identifier, [pid, *process_tree.descendants(pid)]


@pytest.mark.parametrize("level", LEVELS)
def test_killing_ends_the_whole_tree(launching: Callable[..., None], place: Callable[..., Place], level: str) -> None:
    here = place(level)

    async def scenario(bench: Any) -> None:
        identifier, pids = await tree(bench, here)
        assert len(pids) == 7
        bench.launcher.kill(identifier)
        assert (await bench.event("exited", identifier))[2] == ExitStatus(None, signal.SIGKILL)
        await gone(pids)

    launching(scenario, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_survives_a_main_process_that_ends_by_itself(
    launching: Callable[..., None], place: Callable[..., Place], level: str
) -> None:
    here = place(level)
    code = TREE.replace('print("up", flush=True)\ntime.sleep(600)\n"""', "").rstrip()
    code = code[: code.rindex("\n")] + "\nos.read(0, 1)\ntime.sleep(0.05)"

    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork(code, **here.launch())
        await asyncio.to_thread(output.wait_lines, 3)
        await bench.event("exited", identifier)
        # The output has an end only when nobody holds it any more.
        await asyncio.to_thread(output.wait_end)

    launching(scenario, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("way", ["kill", "close"])
def test_nothing_survives_the_launcher(
    launching: Callable[..., None],
    place: Callable[..., Place],
    assert_gone: Callable[..., None],
    level: str,
    way: str,
) -> None:
    here = place(level)

    async def scenario(bench: Any) -> None:
        identifier, _ = await tree(bench, here)
        # With the spare, and the first processes of the namespaces.
        pids = process_tree.descendants(bench.launcher.pid)
        assert len(pids) >= 7 + (level == "namespace")
        if way == "kill":
            os.kill(bench.launcher.pid, signal.SIGKILL)
            await bench.event("lost", identifier)
        else:
            await bench.launcher.close()
        await asyncio.to_thread(assert_gone, pids)

    launching(scenario, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
def test_a_signal_reaches_the_group_of_the_main_process(
    launching: Callable[..., None], place: Callable[..., Place], level: str
) -> None:
    here = place(level)
    code = """
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print("up", flush=True)
        print(signal.sigwait([signal.SIGTERM]).name)
    """

    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork(code, **here.launch())
        await asyncio.to_thread(output.wait_lines, 1)
        bench.launcher.signal(identifier, signal.SIGTERM)
        assert await asyncio.to_thread(output.wait_end) == "up\nSIGTERM\n"
        assert (await bench.event("exited", identifier))[2] == ExitStatus(0, None)

    launching(scenario, policy=here.common)


def test_the_service_hears_the_process_id_of_its_own_namespace(
    launching: Callable[..., None], place: Callable[..., Place]
) -> None:
    here = place("namespace")

    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork(
            "import os; print(os.getpid(), flush=True); os.read(0, 1); os.kill(0, 19)", **here.launch()
        )
        assert await asyncio.to_thread(output.wait_lines, 1) == ["2"]
        _, _, pid, baseline_bytes = await bench.event("started", identifier)
        assert bench.launcher.pid_of(identifier) == pid
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"NSpid:\t{pid}\t2\n" in status
        assert baseline_bytes > 0
        parent = process_tree.read_stat(pid)
        assert parent is not None
        assert parent.parent_pid == bench.launcher.pid
        bench.launcher.kill(identifier)
        await bench.event("exited", identifier)

    launching(scenario, policy=here.common)


def test_the_end_of_the_first_process_ends_everything(
    launching: Callable[..., None], place: Callable[..., Place]
) -> None:
    here = place("namespace")

    async def scenario(bench: Any) -> None:
        identifier, pids = await tree(bench, here)
        namespace = os.readlink(f"/proc/{pids[0]}/ns/pid")
        others = [pid for pid in process_tree.children(bench.launcher.pid) if pid != pids[0]]
        (init,) = [pid for pid in others if os.readlink(f"/proc/{pid}/ns/pid") == namespace]
        os.kill(init, signal.SIGKILL)
        assert (await bench.event("exited", identifier))[2] == ExitStatus(None, signal.SIGKILL)
        await gone([init, *pids])
        assert await bench.run("print('ran')", **here.launch()) == "ran\n"

    launching(scenario, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
def test_many_starts_leave_no_process_and_no_descriptor(
    launching: Callable[..., None], place: Callable[..., Place], level: str
) -> None:
    here = place(level)

    async def held(bench: Any, most: int) -> int:
        """How many descriptors the launcher has when its spare is there; not more than ``most``, sooner or later."""
        folder = f"/proc/{bench.launcher.pid}"
        async with asyncio.timeout(10):
            while len(process_tree.descendants(bench.launcher.pid)) != 1 + (level == "namespace") or (
                len(os.listdir(f"{folder}/fd")) > most
            ):
                await asyncio.sleep(0.01)
        return len(os.listdir(f"{folder}/fd"))

    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        before = await held(bench, 1000)
        # All at once, so that most of them find no spare.
        started = [bench.fork("print('ran')", **here.launch()) for _ in range(8)]
        for identifier, output in started:
            assert await asyncio.to_thread(output.wait_end) == "ran\n"
            assert (await bench.event("exited", identifier))[2] == ExitStatus(0, None)
        assert await held(bench, before) <= before

    launching(scenario, policy=here.common)


@pytest.mark.parametrize("level", LEVELS)
def test_a_start_that_cannot_be_isolated_fails_with_the_reason(
    launching: Callable[..., None], place: Callable[..., Place], level: str
) -> None:
    here = place(level)

    async def scenario(bench: Any) -> None:
        identifier, _ = bench.fork("print('never')", **here.launch(write=["/nonexistent/scratch"]))
        failure = (await bench.event("failed", identifier))[2]
        assert (failure.stage, failure.errno_name) == ("isolation", "ENOENT")
        assert "/nonexistent/scratch" in failure.message
        # The launcher goes on.
        assert await bench.run("print('ran')", **here.launch()) == "ran\n"

    launching(scenario, policy=here.common)


def test_namespaces_that_cannot_be_made_fail_the_start(
    launching: Callable[..., None], place: Callable[..., Place]
) -> None:
    here = place("namespace", mountpoint="/nonexistent/mountpoint")

    async def scenario(bench: Any) -> None:
        identifier, _ = bench.fork("print('never')", **here.launch())
        failure = (await bench.event("failed", identifier))[2]
        assert (failure.stage, failure.errno_name) == ("isolation", "ENOENT")

    launching(scenario, policy=here.common)


def test_a_launcher_without_a_policy_does_not_start_what_is_to_be_isolated(
    launching: Callable[..., None], place: Callable[..., Place]
) -> None:
    here = place("confined")

    async def scenario(bench: Any) -> None:
        identifier, _ = bench.fork("print('never')", **here.launch())
        failure = (await bench.event("failed", identifier))[2]
        assert failure.stage == "message"
        assert "without a policy" in failure.message

    launching(scenario)


@pytest.mark.parametrize("level", LEVELS)
def test_a_launch_without_isolation_has_none(
    launching: Callable[..., None], place: Callable[..., Place], level: str
) -> None:
    here = place(level)
    code = "import os; print(os.path.exists('/var/task'), open('/proc/self/status').read().count('Seccomp:\\t0'))"

    async def scenario(bench: Any) -> None:
        assert await bench.run(code) == "False 1\n"

    launching(scenario, policy=here.common)


LAYERS = """
import os
for path in ("/opt/both", "/opt/one", "/opt/two", "/opt/folder/a", "/opt/folder/b"):
    print(os.path.exists(path) and open(path).read())
try:
    open("/opt/new", "w")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("name", ["plain", "with:colon,comma\\back"])
def test_layers_are_one_folder_in_which_later_ones_win(
    launching: Callable[..., None], place: Callable[..., Place], count: int, name: str
) -> None:
    here = place("namespace")
    layers = []
    for number, word in enumerate(("one", "two")):
        layer = here.folder / f"{name}-{number}"
        (layer / "folder").mkdir(parents=True)
        for path in ("both", word, f"folder/{'ab'[number]}"):
            (layer / path).write_text(word)
        layers.append(layer)
    here.layers = tuple(layers[:count])
    expected = [
        ["False"] * 5,
        ["one", "one", "False", "one", "False"],
        ["two", "one", "two", "one", "two"],
    ][count]

    async def scenario(bench: Any) -> None:
        lines = (await bench.run(LAYERS, **here.launch())).splitlines()
        assert lines[:5] == expected
        assert lines[5] in ("Permission denied", "Read-only file system")

    launching(scenario, policy=here.common)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_the_program_needs_in_opt_lies_beside_the_layers(
    launching: Callable[..., None], place: Callable[..., Place], count: int
) -> None:
    here = place("namespace")
    here.layers = (here.folder / "layer-1", here.folder / "layer-2")[:count]
    for layer in here.layers:
        (layer / "of-a-layer").write_text("layer")
    tool = here.folder / "code" / "tool"
    tool.write_text("tool")
    own = here.launch()
    own["isolation"]["read"].append(str(tool))
    own["isolation"]["binds"] += [[str(tool), "/opt/python/bin/tool"], [str(tool.parent), "/opt/python/lib"]]
    code = """
        import os
        print(open("/opt/python/bin/tool").read(), os.listdir("/opt/python/lib"), os.path.exists("/opt/of-a-layer"))
    """

    async def scenario(bench: Any) -> None:
        assert await bench.run(code, **own) == f"tool ['tool'] {count > 0}\n"

    launching(scenario, policy=here.common)


def test_the_mounts_of_a_namespace_are_seen_nowhere_else(
    launching: Callable[..., None], place: Callable[..., Place]
) -> None:
    here = place("namespace")
    before = Path("/proc/self/mountinfo").read_text()

    async def scenario(bench: Any) -> None:
        identifier, output = bench.fork("import time; print('up', flush=True); time.sleep(600)", **here.launch())
        await asyncio.to_thread(output.wait_lines, 1)
        assert Path("/proc/self/mountinfo").read_text() == before
        assert os.listdir(here.folder / "mountpoint") == []
        bench.launcher.kill(identifier)
        await bench.event("exited", identifier)

    launching(scenario, policy=here.common)


def test_the_launcher_loads_nothing_for_isolation_that_is_not_asked_for(tmp_path: Path) -> None:
    script = Path(process_tree.__file__).with_name("launcher_process.py")
    code = f"""
import runpy, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ours.close()
sys.argv = ["launcher_process.py", str(theirs.detach()), "", ""]
try:
    runpy.run_path({str(script)!r}, run_name="__main__")
except SystemExit:
    pass
print([name for name in sys.modules if "isolation" in name])
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
