"""What the kernel does with our rules: version by version of Landlock, and the ways around that are closed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments.interpreters import interpreter_files, own_interpreter
from venturekit.service.environments.isolation import probe, probe_process
from venturekit.service.environments.isolation.levels import LEVELS, Finding, gaps_of
from venturekit.service.environments.isolation.policy import Surroundings, make_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = Path(probe_process.__file__).parent
WAIT_SECONDS = 60

# Enters confinement and runs the code of the test there; prints what `answer` is then.
RUN = """
import errno, json, os, signal, socket, sys
sys.path.insert(0, {folder!r})
from isolation.confine import Isolation
given = json.load(sys.stdin)
isolation = Isolation(given["policy"])
isolation.prepare().enter(given["own"])
def attempt(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
answer = None
{code}
print(json.dumps(answer))
"""


class Confined:
    """Runs code in a confined process; files lie outside of /tmp, which confined functions may use."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("code", "scratch", "runtime", "bytecode", "outside"):
            (base / name).mkdir()
        self.secret = base / "outside" / "secret"
        self.secret.write_text("secret")

    def run(self, code: str, *, abi: int = 6, connect: tuple[int, ...] = (), bind: tuple[int, ...] = ()) -> Any:
        """What ``answer`` is at the end of the code, in which ``s`` is the folder of scratch files."""
        around = Surroundings(
            data_directory=self.base,
            runtime_directory=self.base / "runtime",
            bytecode_directory=self.base / "bytecode",
            mountpoint=self.base,
        )
        policy = make_policy("confined", abi, around, connect, bind)
        own = {
            "read": [str(self.base / "code"), *interpreter_files(own_interpreter().path)],
            "write": [str(self.base / "scratch")],
            "connect_ports": [],
            "binds": [],
            "overlay": [],
        }
        text = RUN.format(folder=str(PACKAGE.parent), code=code)
        done = subprocess.run(
            [own_interpreter().path, "-S", "-c", text],
            input=json.dumps({"policy": policy.common, "own": own}),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            cwd=self.base / "scratch",
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def confined() -> Iterator[Confined]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="venturekit-") as folder:
        yield Confined(Path(folder))


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


FILES = """
secret = {secret!r}
answer = [
    attempt(lambda: open(secret)), attempt(lambda: open(secret, "a")),
    attempt(lambda: os.listdir(os.path.dirname(secret))),
    attempt(lambda: os.rename("moved", secret + "2")), attempt(lambda: os.link(secret, "linked")),
    attempt(lambda: os.remove(secret)), attempt(lambda: open("own", "w")), attempt(lambda: os.mkfifo("pipe")),
    attempt(lambda: open("/etc/hosts")), attempt(lambda: open("/dev/null", "w")), attempt(lambda: open("/dev/kmsg")),
    attempt(lambda: os.mkdir("/etc/new")), attempt(lambda: os.mknod("device", 0o20600, os.makedev(1, 3))),
]
"""


@pytest.mark.parametrize("abi", range(1, 7))
def test_files_at_every_version_of_landlock(confined: Confined, abi: int) -> None:
    (confined.base / "scratch" / "moved").write_text("")
    (confined.base / "scratch" / "pipe").unlink(missing_ok=True)
    answer = confined.run(FILES.format(secret=str(confined.secret)), abi=abi)
    assert answer[:3] == ["EACCES"] * 3
    assert set(answer[3:6]) <= {"EACCES", "EXDEV"}
    assert answer[6:10] == ["done"] * 4
    assert set(answer[10:]) <= {"EACCES", "EPERM", "ENOENT"}
    assert confined.secret.read_text() == "secret"


# How each gap shows, in the order of `levels.gaps_of`, and the version that closes it.
GAPS = [
    ("emptied", 3, "answer = attempt(lambda: os.truncate({secret!r}, 6))"),
    ("TCP ports", 4, "answer = attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 5))"),
    ("signalled", 6, "answer = attempt(lambda: os.kill({pid}, 0))"),
]


@pytest.mark.parametrize("abi", range(1, 7))
@pytest.mark.parametrize(("words", "since", "code"), GAPS, ids=[gap[0] for gap in GAPS])
def test_the_gaps_that_are_named_are_the_gaps_there_are(
    confined: Confined, port: int, words: str, since: int, code: str, abi: int
) -> None:
    is_open = any(words in gap for gap in gaps_of("confined", abi))
    assert is_open == (abi < since)
    answer = confined.run(code.format(secret=str(confined.secret), port=port, pid=os.getpid()), abi=abi)
    assert (answer == "done") == is_open


def test_listed_ports_may_be_connected_to_and_listened_on(confined: Confined, port: int) -> None:
    connect = f"answer = attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 5))"
    assert confined.run(connect) == "EACCES"
    assert confined.run(connect, connect=(port,)) == "done"
    assert confined.run(connect, bind=(port,)) == "done"
    with socket.socket() as passing:
        passing.bind(("127.0.0.1", 0))
        free = passing.getsockname()[1]
    listen = f"answer = attempt(lambda: socket.create_server(('127.0.0.1', {free})))"
    assert confined.run(listen) == "EACCES"
    assert confined.run(listen, connect=(free,)) == "EACCES"
    assert confined.run(listen, bind=(free,)) == "done"
    assert confined.run("answer = attempt(lambda: socket.create_server(('127.0.0.1', 0)))") == "done"


@pytest.mark.parametrize(
    ("code", "answers"),
    [
        # Sending with the connection's first packet would not ask Landlock.
        ("socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {port}))", {"EOPNOTSUPP", "ENOTSUP"}),
        ("socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', {port}))", {"EOPNOTSUPP", "ENOTSUP"}),
        # Nor do these, which can speak TCP.
        ("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)", {"EPROTONOSUPPORT"}),
        ("socket.socket(socket.AF_INET, socket.SOCK_STREAM, 256)", {"EPROTONOSUPPORT"}),
        ("socket.socket(43, socket.SOCK_STREAM)", {"EPERM"}),
        # An address of the new kind that means an old one.
        ("socket.create_connection(('::ffff:127.0.0.1', {port}), 5)", {"EACCES"}),
        ("socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)", {"EPERM"}),
        ("socket.socket(socket.AF_UNIX)", {"EPERM"}),
        ("socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)", {"EPERM"}),
        ("socket.socketpair()", {"done"}),
        ("socket.if_nameindex()", {"done"}),
        ("socket.getaddrinfo('localhost', 80)", {"done"}),
    ],
)
def test_ways_around_the_rule_on_ports(confined: Confined, port: int, code: str, answers: set[str]) -> None:
    assert confined.run(f"answer = attempt(lambda: {code.format(port=port)})") in answers


def test_a_connection_that_is_opened_late_asks_all_the_same(confined: Confined, port: int) -> None:
    code = f"""
def late():
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    s.connect(("127.0.0.1", {port}))
    s.send(b"x")
answer = attempt(late)
"""
    assert confined.run(code) == "EACCES"


RAW = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def raw(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
"""


def test_the_second_table_of_numbers_is_refused(confined: Confined) -> None:
    # getpid under its x32 number; on aarch64 there is no such number at all.
    getpid = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
    answer = confined.run(f"{RAW}\nanswer = [raw({getpid}), raw({0x40000000 + getpid})]")
    assert answer in (["done", "EPERM"], ["done", "ENOSYS"])
    assert answer[1] == "EPERM" or os.uname().machine == "aarch64"


def test_privileges_are_gone_and_do_not_come_back(confined: Confined) -> None:
    code = """
import subprocess
def status(text):
    return {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line[:3] in ("Cap", "NoN", "Sec")}
here = status(open("/proc/self/status").read())
below = status(subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True).stdout)
answer = [here, below]
"""
    for status in confined.run(code):
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_it_cannot_be_left_by_entering_again(confined: Confined) -> None:
    code = f"""
given["own"]["write"].append({str(confined.secret)!r})
given["own"]["read"].append("/")
again = attempt(lambda: Isolation(given["policy"]).prepare().enter(given["own"]))
answer = [again, attempt(lambda: open({str(confined.secret)!r}))]
"""
    assert confined.run(code)[1] == "EACCES"


# --- the probe --------------------------------------------------------------------------------------------------------


def test_the_probe_finds_what_this_kernel_can_do() -> None:
    examine = probe.prober(own_interpreter().path)
    for level in LEVELS[1:]:
        assert examine(level) == Finding(level)


def test_a_level_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(probe, "_try_out", lambda level, abi, interpreter: calls.append(level) or [])
    examine = probe.prober("python")
    assert examine("confined") is examine("confined")
    assert calls == ["confined"]


@pytest.mark.parametrize(("abi", "gaps"), [(1, 3), (3, 2), (5, 1), (6, 0)])
def test_an_older_kernel_is_found_to_have_gaps(monkeypatch: pytest.MonkeyPatch, abi: int, gaps: int) -> None:
    monkeypatch.setattr(probe, "landlock_abi", lambda: abi)
    found = probe.prober(own_interpreter().path)("confined")
    assert found.reason is None
    assert len(found.gaps) == gaps


def test_a_kernel_without_landlock_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "landlock_abi", lambda: 0)
    found = probe.prober(own_interpreter().path)("confined")
    assert found.reason is not None
    assert "has no Landlock" in found.reason


@pytest.mark.parametrize("interpreter", ["/nonexistent/python", "/bin/false"])
def test_a_probe_that_cannot_run_is_no_success(interpreter: str) -> None:
    found = probe.prober(interpreter)("confined")
    assert found.reason is not None
    assert "the probe failed" in found.reason


def holes() -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Policies with a hole, by what the probe has to say of them."""

    def open_files(given: dict[str, Any]) -> None:
        given["own"]["read"].append(str(Path(given["secret"]).parent))

    def no_scratch(given: dict[str, Any]) -> None:
        given["own"]["write"].clear()

    def open_port(given: dict[str, Any]) -> None:
        given["own"]["connect_ports"].append(1)

    return {
        "a file outside can be read": open_files,
        "its own scratch folder cannot be written": no_scratch,
        "a port that is not allowed can be reached": open_port,
    }


@pytest.mark.parametrize("words", holes())
def test_the_probe_sees_a_hole(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    run = subprocess.run

    def with_hole(*arguments: Any, **options: Any) -> Any:
        given = json.loads(options["input"])
        holes()[words](given)
        return run(*arguments, **{**options, "input": json.dumps(given)})

    monkeypatch.setattr(probe.subprocess, "run", with_hole)
    found = probe.prober(own_interpreter().path)("confined")
    assert found.reason == words


def test_user_namespaces_that_are_not_allowed_are_reported_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def confined_first(command: list[str], **options: Any) -> Any:
        # As in a container whose filter refuses them: this very filter does.
        code = f"""
import json, runpy, subprocess, sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
from isolation import kernel, seccomp
here = kernel.Kernel()
here.forbid_new_privileges()
seccomp.install(here, seccomp.build_filter(here.machine, unix_sockets=True, has_namespaces=True))
runpy.run_path({command[-1]!r}, run_name="__main__")
"""
        return run([sys.executable, "-I", "-S", "-c", code], **options)

    monkeypatch.setattr(probe.subprocess, "run", confined_first)
    found = probe.prober(own_interpreter().path)("namespace")
    assert found.reason is not None
    assert "unshare: Operation not permitted" in found.reason or "cannot make namespaces" in found.reason
    assert "user.max_user_namespaces" in found.reason
