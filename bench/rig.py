"""What the rows of the bench are measured with: programs in C, RIE, the service, load, clocks. Standard library only."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BIN = HERE / "bin"
INSTALL_SECONDS = 600
RIE_WHEEL = "aws-sam-cli==1.170.0"
PROGRAMS = ("lg", "crt", "crouter", "cst")
ROLE = "arn:aws:iam::000000000000:role/bench"
PYTHON_RUNTIME = f"python3.{sys.version_info.minor}"
PYTHON_SOURCE = "def handler(event, context):\n    return event\n"
PINNED_CPU = min(os.sched_getaffinity(0))
# Marks a request as one that no web page could send; the service takes unsigned requests on loopback only with it.
SDK_HEADERS = {"amz-sdk-request": "attempt=1; max=1"}


class Unavailable(Exception):
    """A row cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Measured:
    """A value and what it was made of."""

    value: float
    note: str = ""


def build() -> None:
    """Compile the C programs that are missing or older than their source. Raises Unavailable without a compiler."""
    BIN.mkdir(exist_ok=True)
    for name in PROGRAMS:
        source, binary = HERE / f"{name}.c", BIN / name
        if binary.exists() and binary.stat().st_mtime >= source.stat().st_mtime:
            continue
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Unavailable("no C compiler on PATH (Debian: apt-get install gcc libc6-dev)")
        command = [compiler, "-O2", "-Wall", "-Wno-unused", "-Wno-format-truncation", "-Wno-stringop-truncation"]
        partial = BIN / f"{name}.{os.getpid()}"
        built = subprocess.run([*command, "-o", str(partial), str(source)], capture_output=True, text=True, timeout=120)
        if built.returncode:
            raise Unavailable(f"{source.name} does not compile: {built.stderr.strip()[:300]}")
        partial.rename(binary)


def rie_binary() -> Path:
    """AWS's Runtime Interface Emulator, taken once from the wheel it is shipped in. Raises Unavailable."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
    if machine is None:
        raise Unavailable(f"RIE is not published for {platform.machine()}")
    binary = BIN / f"aws-lambda-rie-{machine}"
    if binary.exists():
        return binary
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, RIE_WHEEL]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"RIE: downloading {RIE_WHEEL} took more than 300 s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel was found"])[-1]
            raise Unavailable(f"RIE: pip could not download {RIE_WHEEL}: {reason[:200]}")
        try:
            content = zipfile.ZipFile(wheels[0]).read(f"samcli/local/rapid/{binary.name}")
        except KeyError:
            raise Unavailable(f"RIE: {wheels[0].name} holds no {binary.name}") from None
    partial = BIN / f"{binary.name}.{os.getpid()}"
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(binary)
    return binary


def peer_environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of a virtual environment of that name that has the packages. Raises Unavailable."""
    folder = BIN / name
    python = folder / "bin" / "python"
    stamp = folder / "ready"
    if not stamp.exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        if done.returncode:
            raise Unavailable(f"pip could not install {', '.join(packages)}: {done.stderr.strip()[-200:]}")
        stamp.touch()
    return python


def raise_descriptor_limit() -> None:
    """Thousands of clients need as many descriptors, here and in the service, which inherits the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _affinity(pinned: bool) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, {PINNED_CPU})) if pinned else None


@contextlib.contextmanager
def running(command: Sequence[str], *, pinned: bool, log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process group that is ended, politely first, when the block is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_affinity(pinned),
            **options,  # type: ignore[call-overload]
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    """Poll closely (the wait itself is measured) for at most 30 s. Raises Unavailable with the last line of the log."""
    give_up = time.monotonic() + 30
    while not condition():
        if process.poll() is not None or time.monotonic() > give_up:
            lines = log.read_text(errors="replace").strip().splitlines() or ["nothing was printed"]
            state = "did not get ready in 30 s" if process.poll() is None else f"exited with {process.returncode}"
            raise Unavailable(f"{what} {state}: {lines[-1][:200]}")
        time.sleep(0.0005)


def answers(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Load:
    """The outcome of one run of the load generator; times in microseconds."""

    requests: int
    rate: float
    p50_us: float
    p99_us: float


def load(
    port: int,
    *,
    clients: int = 1,
    seconds: float = 1.0,
    requests: int | None = None,
    path: str,
    headers: Mapping[str, str] | None = None,
    body_bytes: int | None = None,
    pinned: bool = False,
) -> Load:
    """Run ``lg`` once. Raises Unavailable when any answer was not a 2xx."""
    command = [str(BIN / "lg"), "-p", str(port), "-c", str(clients), "-u", path]
    command += ["-n", str(requests)] if requests else ["-d", str(seconds)]
    command += ["-B", str(body_bytes)] if body_bytes else []
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=_affinity(pinned))
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the load generator was not answered in 120 s at {path}") from None
    if done.returncode:
        raise Unavailable(f"requests to {path} failed: {done.stderr.strip()[:300] or done.stdout.strip()[:300]}")
    outcome = json.loads(done.stdout)
    return Load(outcome["n"], outcome["rps"], outcome["p50"], outcome["p99"])


def cpu_ns(pid: int) -> int:
    """CPU time of one process so far, ended threads included (the process CPU clock, nanoseconds)."""
    return time.clock_gettime_ns(((~pid) << 3) | 2)


def pss_mib(pid: int) -> float:
    """Proportional set size of one process: its private memory and its share of the shared one."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise Unavailable("this kernel reports no proportional set size")
    return int(found[1]) / 1024


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A zip of ``{name: (content, mode)}``."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, content)
    return target.getvalue()


def c_archive() -> bytes:
    """The C runtime as a custom runtime's ``bootstrap``."""
    return archive({"bootstrap": ((BIN / "crt").read_bytes(), 0o755)})


def python_archive(padding_bytes: int = 0) -> bytes:
    """A Python function that returns its event, as large as asked for (incompressible padding)."""
    padding = base64.b64encode(os.urandom(padding_bytes * 3 // 4)).decode()
    source = f"{PYTHON_SOURCE}# {padding}\n" if padding else PYTHON_SOURCE
    return archive({"app.py": (source.encode(), 0o644)})


class Service:
    """A running ``vk serve``, and the calls of the Lambda API the bench makes of it."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, ready_ms: float, keys: tuple[str, str] | None
    ) -> None:
        self.process = process
        self.port = int(url.rstrip("/").rsplit(":", 1)[1])
        self.ready_ms = ready_ms
        self._keys = keys
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def signed(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers, with a signature if this service checks them. It is good for five minutes."""
        if self._keys is None:
            return dict(headers)
        from venturekit.protocol.sigv4 import Credentials, sign_headers

        host = {"Host": f"127.0.0.1:{self.port}"}
        extra = sign_headers(
            method,
            target,
            {**headers, **host},
            body,
            Credentials(*self._keys),
            region="us-east-1",
            now=datetime.now(UTC),
        )
        return {**headers, **extra}

    def call(self, method: str, target: str, document: object = None) -> dict[str, object]:
        """One call of the control plane. Raises Unavailable with the service's words when it is not a 2xx."""
        body = b"" if document is None else json.dumps(document).encode()
        headers = self.signed(method, target, {"Content-Type": "application/json", **SDK_HEADERS}, body)
        try:
            self._connection.request(method, target, body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"{method} {target}: {error!r}") from None
        if answer.status >= 300:
            raise Unavailable(f"{method} {target}: {answer.status} {content[:300].decode(errors='replace')}")
        return json.loads(content or b"{}")

    def create(self, name: str, runtime: str, handler: str, code: bytes) -> float:
        """Create a function; returns what the call took, in milliseconds."""
        document = {
            "FunctionName": name,
            "Runtime": runtime,
            "Role": ROLE,
            "Handler": handler,
            "Timeout": 30,
            "MemorySize": 512,
            "Code": {"ZipFile": base64.b64encode(code).decode()},
        }
        begin = time.perf_counter()
        self.call("POST", "/2015-03-31/functions", document)
        return (time.perf_counter() - begin) * 1e3

    def wait_active(self, name: str) -> None:
        """Wait until the function can be invoked, 30 s at most."""
        give_up = time.monotonic() + 30
        while True:
            state = self.call("GET", f"/2015-03-31/functions/{name}/configuration")
            if state["State"] == "Active":
                return
            if state["State"] == "Failed" or time.monotonic() > give_up:
                raise Unavailable(f"function {name} is {state['State']}: {state.get('StateReason')}")
            time.sleep(0.002)

    def invocation(self, name: str) -> tuple[str, dict[str, str]]:
        """Path and headers of a synchronous invoke with the load generator's standard body."""
        path = f"/2015-03-31/functions/{name}/invocations"
        headers = {"X-Amz-Invocation-Type": "RequestResponse"}
        return path, self.signed("POST", path, {"Content-Type": "application/json", **headers}, b'{"k":1}')

    def load(self, name: str, **options: object) -> Load:
        """Load one function."""
        path, headers = self.invocation(name)
        headers.pop("Content-Type", None)  # the load generator sends its own
        return load(self.port, path=path, headers=headers, **options)  # type: ignore[arg-type]


@contextlib.contextmanager
def service(
    *,
    pinned: bool = False,
    keys: tuple[str, str] | None = None,
    data_dir: Path | None = None,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Start the service on a free port, on a data directory of its own unless one is given, which then stays.

    The service is gone when the block is left.
    """
    with tempfile.TemporaryDirectory(prefix="vk-bench-") as folder:
        ready, log = Path(folder, "ready"), Path(folder, "log")
        command = [str(Path(sys.executable).parent / "vk"), "serve", "--port", "0", "--ready-file", str(ready)]
        command += ["--data-dir", str(data_dir or Path(folder, "data")), *options]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "VENTUREKIT_"))}
        # As after an installation: without kept byte code every start would compile the whole service.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= environ or {}
        if keys is not None:
            environment |= {"VENTUREKIT_ACCESS_KEY_ID": keys[0], "VENTUREKIT_SECRET_ACCESS_KEY": keys[1]}
        begin = time.perf_counter()
        with running(command, pinned=pinned, log=log, env=environment) as process:
            wait_until(lambda: ready.exists() and ready.stat().st_size > 8, process, log, "vk serve")
            ready_ms = (time.perf_counter() - begin) * 1e3
            yield Service(process, ready.read_text().strip(), ready_ms, keys)


@contextlib.contextmanager
def router(*, pinned: bool) -> Iterator[int]:
    """The C router with four C runtimes attached; gives its port."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = folder / "log"
        process = stack.enter_context(running([str(BIN / "crouter"), str(port)], pinned=pinned, log=log))
        wait_until(lambda: answers(port), process, log, "the C router")
        for number in range(4):
            command = [str(BIN / "crt"), f"127.0.0.1:{port}"]
            stack.enter_context(running(command, pinned=pinned, log=folder / f"runtime-{number}"))
        yield port


@contextlib.contextmanager
def rie(kind: str, *, pinned: bool) -> Iterator[int]:
    """RIE with the C runtime (``c``) or AWS's Python client (``awslambdaric``) in it; gives its port."""
    binary, port = rie_binary(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(PYTHON_SOURCE)
        log = Path(folder, "log")
        runtime = [str(BIN / "crt")] if kind == "c" else [sys.executable, "-m", "awslambdaric"]
        command = [str(binary), "--log-level", "error", "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
        command += ["--runtime-api-address", f"127.0.0.1:{free_port()}", *runtime, "app.handler"]
        names = {
            "LAMBDA_TASK_ROOT": folder,
            "PYTHONPATH": folder,
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_REGION": "us-east-1",
        }
        with running(command, pinned=pinned, log=log, env={**os.environ, **names}, cwd=folder) as process:
            wait_until(lambda: answers(port), process, log, "RIE")
            yield port
