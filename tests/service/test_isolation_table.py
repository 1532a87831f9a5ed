"""Every cell of the table in docs/isolation.md, tried by a function on a service at that level, the allowed ones too.

Run as root, the suite tries each cell as root and as an ordinary user, else as its own user only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import FunctionSet, client_of, until
from venturekit.service.environments.interpreters import find_interpreters

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "isolation.md"
PROBES = Path(__file__).with_name("isolation_probes.py")
LEVELS = ("process", "confined", "namespace")
WORDS = {"works", "stopped", "as the user", "root only"}
# Not tried by a probe: these end the environment, or have to be looked at from outside.
ENDING = {"Leave a process behind (setsid)", "Use more memory than it has"}
NOBODY = 65534
STOP_SECONDS = 20


def read_table() -> dict[str, tuple[str, ...]]:
    """The rows of the page's table of levels: what a function does, and one cell per level."""
    _, found, below = PAGE.read_text().partition(f"| What a function does | {' | '.join(LEVELS)} |\n")
    assert found, f"{PAGE.name} has no such table"
    lines = below.splitlines()[1:]
    rows = [tuple(cell.strip() for cell in re.split(r"\|", line)[1:-1]) for line in lines[: lines.index("")]]
    return {row[0]: row[1:] for row in rows}


TABLE = read_table()


@dataclass(frozen=True)
class User:
    """Whom the service runs as, and an interpreter that this user can execute."""

    name: str
    number: int
    interpreter: str

    @property
    def options(self) -> dict[str, Any]:
        """For subprocess.Popen."""
        if os.geteuid() == self.number:
            return {}
        return {"user": self.number, "group": self.number, "extra_groups": []}


def variables(home: Path) -> dict[str, str]:
    """Of processes that run the project from the source, in whatever interpreter of this version."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join([str(ROOT / "src"), *packages]), "HOME": str(home)}


def users() -> list[User]:
    """This user and, for root, an ordinary one, if some interpreter of this version lets it in."""
    found = [User("root" if os.geteuid() == 0 else "user", os.geteuid(), sys.executable)]
    if os.geteuid() == 0:
        for interpreter in find_interpreters(os.environ, "/nonexistent"):
            if interpreter.version != sys.version_info[:2]:
                continue
            user = User("nobody", NOBODY, interpreter.path)
            command = [interpreter.path, "-c", "import httptools, venturekit.service.config"]
            try:
                subprocess.run(
                    command, check=True, capture_output=True, cwd="/", env=variables(Path("/")), **user.options
                )
            except (OSError, subprocess.CalledProcessError):
                continue
            found.append(user)
            break
    return found


USERS = users()


@dataclass
class Stand:
    """A service at a level, run by a user, with two functions and all that one of them may try to get at."""

    user: User
    level: str
    base: Path
    resources: ExitStack = field(default_factory=ExitStack)
    event: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Start everything."""
        self.base.chmod(0o755)
        home = self.own(self.base / "home")
        for name in ("file", "file_to_empty"):
            (home / name).write_text("the user's")
            os.chown(home / name, self.user.number, -1)
            self.event[name] = str(home / name)
        self.event["unlisted_port"] = self.listen()
        self.event["listed_port"] = self.listen()
        self.listen_otherwise()
        self.serve(home)
        self.functions = FunctionSet(self.url, client_of(self.url, read_timeout=60))
        self.resources.callback(self.functions.client.close)
        files = {"app.py": PROBES.read_bytes()}
        self.name = self.functions.create(files=files, Timeout=60, MemorySize=128)
        self.describe(files)

    def own(self, folder: Path) -> Path:
        """Make a folder that belongs to the user."""
        folder.mkdir()
        os.chown(folder, self.user.number, self.user.number if os.geteuid() == 0 else -1)
        return folder

    def listen(
        self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)
    ) -> Any:
        """Listen until the end; the port, if there is one."""
        listener = self.resources.enter_context(socket.socket(family, kind))
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        return listener.getsockname()[1]

    def listen_otherwise(self) -> None:
        """All that is no TCP port which is listened on."""
        self.event["udp_port"] = self.listen(socket.SOCK_DGRAM)
        unix_socket = self.base / "s"
        self.listen(family=socket.AF_UNIX, address=str(unix_socket))
        unix_socket.chmod(0o777)
        datagram_socket = self.base / "d"
        self.listen(socket.SOCK_DGRAM, socket.AF_UNIX, str(datagram_socket))
        datagram_socket.chmod(0o777)
        self.event["datagram_socket"] = str(datagram_socket)
        abstract = f"venturekit-isolation-{os.getpid()}-{self.user.name}-{self.level}"
        self.listen(family=socket.AF_UNIX, address="\0" + abstract)
        in_tmp = Path(tempfile.mkdtemp(dir="/tmp"), "file")
        self.resources.callback(shutil.rmtree, in_tmp.parent)
        in_tmp.write_text("another's")
        in_tmp.parent.chmod(0o755)
        self.event |= {"unix_socket": str(unix_socket), "abstract_socket": abstract, "free_port": free_port()}
        self.event["file_in_tmp"] = str(in_tmp)

    def serve(self, home: Path) -> None:
        """Start the service and wait until it is ready."""
        self.data = self.own(self.base / "data")
        ready = home / "ready"
        ports = f"default,{self.event['listed_port']}"
        command = [self.user.interpreter, "-m", "venturekit", "serve", "--port", "0", "--data-dir", str(self.data)]
        command += ["--ready-file", str(ready), "--isolation", self.level, "--connect-ports", ports]
        with open(self.base / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=home, env=variables(home), stderr=log, stdout=log, **self.user.options
            )
        self.resources.callback(self.stop)
        until(lambda: ready.exists() or self.process.poll() is not None, "the service is ready")
        assert self.process.poll() is None, (self.base / "log").read_text()
        self.url = until(lambda: ready.read_text().strip(), "the address is written")

    def describe(self, files: dict[str, bytes]) -> None:
        """Invoke two other functions, which stay where they are, and find out where that is."""
        other = self.functions.create(files=files)
        seen = self.functions.invoke(other, {"row": "describe"}).value
        [scratch] = self.data.glob("environments/*/tmp/own")
        self.event |= {
            "other_file": str(scratch),
            "other_code": str(self.another_code()),
            "other_api_port": seen["port"],
            "service_pid": self.process.pid,
            "service_port": int(self.url.rpartition(":")[2]),
            "database": str(self.data / "venturekit.sqlite3"),
        }

    def another_code(self) -> Path:
        """The code of a function that has been invoked."""
        name = self.functions.create("def handler(event, context): return 'third'")
        assert self.functions.invoke(name).value == "third"
        [found] = [path for path in self.data.glob("code/*/app.py") if "third" in path.read_text()]
        return found

    def try_out(self, row: str, **more: Any) -> Any:
        """What the function finds."""
        outcome = self.functions.invoke(self.name, {**self.event, **more, "row": row})
        assert outcome.error is None, (outcome.raw, outcome.log)
        return outcome.value

    def as_the_user(self, row: str) -> str:
        """What the user finds who tries the same without any service."""
        done = subprocess.run(
            [self.user.interpreter, "-I", "-S", "-c", PROBES.read_text()],
            input=json.dumps({**self.event, "row": row}),
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env={},
            **self.user.options,
        )
        return str(json.loads(done.stdout)["outcome"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)


@pytest.fixture(
    scope="module", params=[(user, level) for user in USERS for level in LEVELS], ids=lambda p: f"{p[0].name}-{p[1]}"
)
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    # Not below /tmp: what lies there is open to confined functions.
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as base:
        made = Stand(*request.param, Path(base))
        with made.resources:
            made.start()
            yield made


def free_port() -> int:
    """A port that nobody listens on and that the kernel gives to nobody who does not ask for it."""
    for port in range(20000 + os.getpid() % 5000, 32000):
        with socket.socket() as passing, suppress(OSError):
            passing.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def expected(stand: Stand, row: str) -> str:
    """The outcome that the page promises."""
    cell = TABLE[row][LEVELS.index(stand.level)]
    if cell == "as the user":
        return stand.as_the_user(row)
    if cell == "root only":
        return "works" if stand.user.number == 0 else "stopped"
    return cell


def running(seconds: str) -> list[str]:
    """The processes that sleep for so long."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\0" + seconds.encode() + b"\0":
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_the_table_is_about_what_is_tried() -> None:
    scope: dict[str, Any] = {"__name__": "probes"}
    exec(compile(PROBES.read_text(), PROBES.name, "exec"), scope)
    assert set(TABLE) == set(scope["PROBES"]) | ENDING
    assert {cell for cells in TABLE.values() for cell in cells} <= WORDS
    assert all(len(cells) == len(LEVELS) for cells in TABLE.values())
    # A level stops what the one before it stops, but for a few things that AWS has and `confined` cannot give.
    given_back = {
        row for row, (_, confined, namespace) in TABLE.items() if (confined, namespace) == ("stopped", "works")
    }
    assert given_back == {"List the root folder", "Make a Unix socket of its own", "Use System V shared memory"}


@pytest.mark.parametrize("row", [row for row in TABLE if row not in ENDING])
def test_a_cell_of_the_table_holds(stand: Stand, row: str) -> None:
    wanted = expected(stand, row)
    found = stand.try_out(row)
    assert found["outcome"] == wanted, found["why"]


def test_a_process_that_is_left_behind_ends_with_its_environment(stand: Stand) -> None:
    assert TABLE["Leave a process behind (setsid)"] == ("stopped",) * 3
    seconds = f"8{os.getpid()}{LEVELS.index(stand.level)}{stand.user.number}"
    name = stand.functions.create(files={"app.py": PROBES.read_bytes()}, MemorySize=256)
    assert stand.functions.invoke(name, {"row": "leave_behind", "seconds": seconds}).error is None
    assert len(until(lambda: running(seconds), "the process is left behind")) == 1
    stand.functions.client.delete_function(FunctionName=name)
    until(lambda: not running(seconds), "the process ends with its environment")


def test_too_much_memory_ends_the_environment(stand: Stand) -> None:
    assert TABLE["Use more memory than it has"] == ("stopped",) * 3
    name = stand.functions.create(files={"app.py": PROBES.read_bytes()}, MemorySize=128, Timeout=30)
    outcome = stand.functions.invoke(name, {"row": "take_memory"})
    assert outcome.error == "Unhandled"
    assert "Runtime.OutOfMemory" in outcome.log, (outcome.raw, outcome.log)
