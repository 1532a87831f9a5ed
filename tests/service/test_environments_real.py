"""Execution environments with real processes: a host, its launcher and the runtime interface client, nothing else."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import venturekit
from tests.service.runtime_support import Event, environment_spec
from venturekit.service.environments import libraries, process_tree
from venturekit.service.environments.host import EnvironmentHost, HostSettings, Time
from venturekit.service.environments.interpreters import own_interpreter
from venturekit.service.environments.logs import GROUP_LIMIT_BYTES, GROUP_LIMIT_RECORDS, TRIMMED_AT_ONCE, LogStore
from venturekit.service.environments.runtimes import PythonSettings
from venturekit.service.wire.listener import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.pool import Pool

ROOT = Path(venturekit.__file__).parent
BOUND_SECONDS = 20.0
TREE_END_SECONDS = 2.0

HANDLER = """
import ctypes, os, signal, subprocess, sys, time

count = 0
DAEMON = '''
import os, signal, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1], "w") as ready: ready.write(str(os.getpid()))
signal.pause()
'''

def handler(event, context):
    global count
    count += 1
    scratch = os.path.join(os.environ["TMPDIR"], "kept")
    match event["do"]:
        case "count":
            return {"count": count, "pid": os.getpid(), "kept": os.path.exists(scratch), "tmp": os.environ["TMPDIR"]}
        case "keep":
            open(scratch, "w").close()
        case "exit":
            sys.stdout.flush()
            os._exit(event["code"])
        case "kill":
            os.kill(os.getpid(), event["signal"])
            time.sleep(60)
        case "segfault":
            ctypes.string_at(0)
        case "close":
            os.close(1)
            os.close(2)
            os._exit(4)
        case "hang":
            if "pid_file" in event:
                with open(event["pid_file"], "w") as file: file.write(str(os.getpid()))
            time.sleep(60)
        case "print":
            for number in range(event["bytes"] // 100):
                print(f"{number:099d}")
        case "allocate":
            blocks = []
            while True:
                blocks.append(b"x" * (4 * 1024 * 1024))
        case "daemon":
            subprocess.run([sys.executable, "-c", DAEMON, event["pid_file"]], check=True)
            while not os.path.exists(event["pid_file"]) or not open(event["pid_file"]).read(): time.sleep(0.001)
        case "import":
            import customers
            return customers.VALUE
    return None
"""


class RealBench:
    """A host with one pool of the function above, and callers."""

    def __init__(self, folder: Path, start: str = "fork", **spec: Any) -> None:
        self.folder = folder
        self.logs = LogStore()
        self.failures: list[object] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._sent = 0
        code = folder / "code"
        code.mkdir()
        (code / "app.py").write_text(HANDLER)
        own = own_interpreter()
        runtime = f"python{own.version[0]}.{own.version[1]}"
        python = PythonSettings(
            interpreters=[own],
            own=own,
            runtime="ric",
            start=start,  # type: ignore[arg-type]
            strict=True,
            spawn_script=Path(libraries.__file__).with_name("ric_spawn.py"),
            ric_directory=ROOT / "ric",
            awslambdaric_interpreter=None,
        )
        (folder / "runtime").mkdir()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self.failures.append(context))
        self.host = EnvironmentHost(
            HostSettings(
                directory=folder / "environments",
                runtime_directory=folder / "runtime",
                pycache_directory=folder / "pycache",
                ric_directory=ROOT / "ric",
                region="us-east-1",
                idle_seconds=300.0,
                starting_limit=8,
                python=python,
            ),
            loop=loop,
            clock=Clock(time.monotonic(), time.time()),
            time=Time(monotonic=time.monotonic, wall=time.time),
            logs=self.logs,
            new_token=lambda: os.urandom(16).hex(),
            prepare_code=self._nothing,
            release_code=lambda: self._nothing(""),
            spawn=self._spawn,
        )
        self.pool: Pool = self.host.pool_for(environment_spec(code, runtime=runtime, **spec))

    async def _nothing(self, _key: str) -> None:
        pass

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def submit(self, do: str, **event: Any) -> tuple[Event, asyncio.Event]:
        """Begin an invocation; the second part is set when it is over."""
        self._sent += 1
        over = asyncio.Event()
        payload = json.dumps({"do": do, **event}).encode()
        invocation = Event(f"{self._sent:08x}-0000-4000-8000-000000000000".encode(), payload, tail=True)
        invocation.on_settled = over.set
        self.pool.submit(invocation)
        return invocation, over

    async def invoke(self, do: str, **event: Any) -> tuple[Any, bytes]:
        """The value that an invocation gave, and its kind of error."""
        invocation, over = self.submit(do, **event)
        await asyncio.wait_for(over.wait(), BOUND_SECONDS)
        payload, error = invocation.outcome
        return json.loads(payload), error

    async def fails(self, do: str, error_type: str, text: str, **event: Any) -> None:
        """An invocation ends as AWS would end it."""
        value, error = await self.invoke(do, **event)
        assert error == b"Unhandled"
        assert (value["errorType"], value["errorMessage"].partition(" Error: ")[2]) == (error_type, text)

    async def works(self) -> dict[str, Any]:
        """The next invocation is served; what its environment looks like."""
        value, error = await self.invoke("count")
        assert error == b""
        assert isinstance(value, dict)
        return value

    def only_environment(self) -> Environment:
        (environment,) = self.pool.environments
        return environment

    def log(self) -> bytes:
        return b"".join(
            line.message
            for line in self.logs.group("arn:aws:lambda:us-east-1:000000000000:function:f").read(limit=1_000_000)
        )


@asynccontextmanager
async def real_bench(folder: Path, **settings: Any) -> AsyncIterator[RealBench]:
    """A bench that leaves no process, no descriptor and no directory behind."""
    bench = RealBench(folder, **settings)
    try:
        yield bench
    finally:
        await bench.host.close()
        while bench.tasks:
            await asyncio.wait(bench.tasks)
    assert bench.failures == []


def run(scenario: Callable[[RealBench], Coroutine[Any, Any, None]], folder: Path, **settings: Any) -> None:
    """Run a scenario on a loop of its own; nothing may be left of it."""
    before = set(process_tree.descendants(os.getpid()))

    async def body() -> None:
        async with real_bench(folder, **settings) as bench:
            await scenario(bench)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())
    assert set(process_tree.descendants(os.getpid())) <= before
    assert list((folder / "environments").iterdir()) == []


async def ended(pid: int, seconds: float) -> None:
    """Return when the process has ended; TimeoutError if it has not in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await asyncio.wait_for(over.wait(), seconds)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def pid_in(file: Path) -> int:
    """The process id that a function has written."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0)
    return int(file.read_text())


def test_a_cold_start_then_warm_invocations(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        first = await bench.works()
        second = await bench.works()
        assert (first["count"], second["count"], first["pid"]) == (1, 2, second["pid"])
        assert bench.only_environment().pid == first["pid"]
        lines = bench.log().decode().splitlines()
        assert [line.split()[0] for line in lines] == ["INIT_START", *["START", "END", "REPORT"] * 2]
        assert "Init Duration" in lines[3]
        assert "Init Duration" not in lines[6]

    run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"do": "exit", "code": 0}, "Runtime exited without providing a reason"),
        ({"do": "exit", "code": 1}, "Runtime exited with error: exit status 1"),
        ({"do": "close"}, "Runtime exited with error: exit status 4"),
        ({"do": "kill", "signal": 9}, "Runtime exited with error: signal: killed"),
        ({"do": "kill", "signal": 15}, "Runtime exited with error: signal: terminated"),
        ({"do": "segfault"}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_is_answered_and_the_next_invocation_is_served(
    tmp_path: Path, event: dict[str, Any], text: str
) -> None:
    async def scenario(bench: RealBench) -> None:
        before = await bench.works()
        await bench.invoke("keep")
        await bench.fails(error_type="Runtime.ExitError", text=text, **event)
        after = await bench.works()
        assert (after["count"], after["kept"], after["tmp"]) == (1, True, before["tmp"])
        assert after["pid"] != before["pid"]

    run(scenario, tmp_path)


def test_a_timeout_ends_the_environment(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        before = await bench.works()
        started = time.monotonic()
        await bench.fails("hang", "Sandbox.Timedout", "Task timed out after 1.00 seconds")
        assert 1.0 <= time.monotonic() - started < 3.0
        await ended(before["pid"], TREE_END_SECONDS)
        assert (await bench.works())["count"] == 1

    run(scenario, tmp_path, timeout_ms=1000)


def test_a_function_over_its_memory_is_killed(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        await bench.works()
        await bench.fails("allocate", "Runtime.ExitError", "Runtime exited with error: signal: killed")
        assert b"Max Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory\n" in bench.log()
        assert (await bench.works())["count"] == 1

    run(scenario, tmp_path, timeout_ms=15_000)


def test_a_launcher_that_is_killed_during_an_invocation(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        file = tmp_path / "pid"
        invocation, over = bench.submit("hang", pid_file=str(file))
        pid = await pid_in(file)
        launcher = bench.host.launchers.holding(bench.only_environment().number)
        assert launcher is not None
        os.kill(launcher.pid, signal.SIGKILL)
        await asyncio.wait_for(over.wait(), TREE_END_SECONDS)
        assert b"Runtime exited with error: signal: killed" in invocation.outcome[0]
        await ended(pid, TREE_END_SECONDS)
        assert (await bench.works())["count"] == 1

    run(scenario, tmp_path, timeout_ms=60_000)


def test_a_function_may_print_five_megabytes(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        invocation, over = bench.submit("print", bytes=5_000_000)
        await asyncio.wait_for(over.wait(), BOUND_SECONDS)
        assert invocation.outcome == (b"null", b"")
        assert len(invocation.log_tail) == 4096
        assert b"0" * 94 + b"49999\nEND RequestId" in invocation.log_tail
        lines = list(bench.logs.group("arn:aws:lambda:us-east-1:000000000000:function:f").read(limit=1_000_000))
        assert len(lines) <= GROUP_LIMIT_RECORDS + TRIMMED_AT_ONCE
        assert sum(len(line.message) for line in lines) <= GROUP_LIMIT_BYTES
        assert (await bench.works())["count"] == 2

    run(scenario, tmp_path, timeout_ms=20_000)


@pytest.mark.parametrize("event", [{"do": "exit", "code": 1}, {"do": "kill", "signal": 9}, {"do": "hang"}])
def test_daemons_end_with_their_environment(tmp_path: Path, event: dict[str, Any]) -> None:
    async def scenario(bench: RealBench) -> None:
        file = tmp_path / "pid"
        assert await bench.invoke("daemon", pid_file=str(file)) == (None, b"")
        pid = await pid_in(file)
        assert os.getsid(pid) != os.getsid(bench.only_environment().pid)
        _, error = await bench.invoke(**event)
        assert error == b"Unhandled"
        await ended(pid, TREE_END_SECONDS)
        assert (await bench.works())["count"] == 1

    run(scenario, tmp_path, timeout_ms=1000)


def test_nothing_is_left_of_many_resets(tmp_path: Path, full_counts: bool) -> None:
    def descriptors() -> Counter[str]:
        kinds: Counter[str] = Counter()
        for name in os.listdir("/proc/self/fd"):
            try:
                kinds[re.sub(r"\d+", "", os.readlink(f"/proc/self/fd/{name}"))] += 1
            except FileNotFoundError:
                continue
        return kinds

    async def scenario(bench: RealBench) -> None:
        first = await bench.works()
        gc.collect()
        before = descriptors()
        for number in range(50 if full_counts else 15):
            code = number % 3
            text = f"with error: exit status {code}" if code else "without providing a reason"
            await bench.fails("exit", "Runtime.ExitError", f"Runtime exited {text}", code=code)
        after = await bench.works()
        assert after["tmp"] == first["tmp"]
        gc.collect()
        assert descriptors() - before == Counter()
        assert len(bench.host.environments) == len(bench.pool.environments) == 1
        assert len(list((tmp_path / "environments").iterdir())) == 1
        # Below its launcher: the environment itself, and the child that the launcher keeps ready. Other services of
        # this test process have launchers of their own.
        trees = [process_tree.descendants(child) for child in process_tree.children(os.getpid()) if is_launcher(child)]
        (functions,) = (tree for tree in trees if after["pid"] in tree)
        assert len(functions) <= 2

    def command(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")

    def is_launcher(pid: int) -> bool:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return parent == os.getpid() and "launcher_process.py" in command(pid)

    run(scenario, tmp_path)


def test_parallel_invocations_have_environments_of_their_own(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        values = await asyncio.gather(*(bench.works() for _ in range(6)))
        assert len({value["tmp"] for value in values}) == len({value["pid"] for value in values})
        assert sum(Counter(value["pid"] for value in values).values()) == 6
        for pool in bench.host.pools.values():
            assert pool.starting + len(pool.idle) + pool.responded == len(pool.environments)

    run(scenario, tmp_path)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_the_customers_python_path_is_searched(tmp_path: Path, start: str) -> None:
    folder = tmp_path / "customers"
    folder.mkdir()
    (folder / "customers.py").write_text("VALUE = 'found'\n")

    async def scenario(bench: RealBench) -> None:
        assert await bench.invoke("import") == ("found", b"")

    run(scenario, tmp_path, start=start, variables={"PYTHONPATH": str(folder)})


def test_closing_during_an_invocation_answers_it(tmp_path: Path) -> None:
    async def scenario(bench: RealBench) -> None:
        file = tmp_path / "pid"
        invocation, over = bench.submit("hang", pid_file=str(file))
        pid = await pid_in(file)
        await bench.host.close()
        assert over.is_set()
        assert b"Runtime exited with error: signal: killed" in invocation.outcome[0]
        await ended(pid, TREE_END_SECONDS)

    run(scenario, tmp_path, timeout_ms=60_000)
