"""What a hostile function tries beyond the table of docs/isolation.md: secrets in memory, ways out of its tree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import FunctionSet, Leaks, RunningService, until

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = r"""
import re
# Itself it would find, too, if it were written in one piece.
PATTERN = re.compile(b"CAN" + b"ARY-[0-9]-[a-z]{40}")
def handler(event, context):
    found = []
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and "[v" not in line:
                memory.seek(start)
                found += [match.decode() for match in PATTERN.findall(memory.read(end - start))]
    return found
"""
TREE = r"""
import ctypes, errno, os
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE, PARENT, SUBREAPER = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x8000, 36
def handler(event, context):
    pid = LIBC.syscall(CLONE, PARENT | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    sibling = errno.errorcode.get(ctypes.get_errno()) if pid < 0 else "made"
    orphans = LIBC.prctl(SUBREAPER, 0, 0, 0, 0)
    return [sibling, orphans, LIBC.prctl(SUBREAPER, 1, 0, 0, 0)]
"""
RELAY = r"""
import os, tempfile, time
MARK = os.path.join(tempfile.gettempdir(), "mark")
def handler(event, context):
    if event == "look":
        return os.stat(MARK).st_size
    end = time.monotonic() + 8
    if os.fork() == 0:
        os.setsid()
        # No process lives longer than it takes to make the next one.
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
            with open(MARK, "ab") as mark:
                mark.write(b"x")
        os._exit(0)
    time.sleep(60)
"""
CLOSED = r"""
import os, tempfile
def handler(event, context):
    os.chdir(tempfile.gettempdir())
    os.mkdir("closed")
    open("closed/file", "w").close()
    os.mkdir("closed/below")
    os.chmod("closed/below", 0)
    os.chmod("closed", 0)
    for _ in range(1500):
        os.mkdir("deeper")
        os.chdir("deeper")
    os.chdir("/")
"""


@pytest.fixture(scope="module", params=["process", "confined", "namespace"])
def service(request: pytest.FixtureRequest) -> Iterator[RunningService]:
    # Not below /tmp, which confined functions may use.
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as folder:
        running = RunningService(Path(folder) / request.param, isolation=request.param)
        yield running
        running.close()


@pytest.fixture
def level(service: RunningService) -> str:
    return service.data_dir.name


@pytest.fixture
def made(service: RunningService) -> Iterator[FunctionSet]:
    """Functions on the service, of which nothing may be left, in memory or on disk."""
    leaks = Leaks(service)
    leaks.begin()
    functions = service.functions()
    yield functions
    functions.delete_all()
    leaks.settle()
    until(lambda: not list(service.data_dir.glob("environments/*")), "scratch folders are removed")


def test_no_function_finds_the_variables_of_others_in_its_memory(made: FunctionSet) -> None:
    for number in range(3):
        variables = {f"SECRET_{name}": f"CANARY-{number}-" + name * 40 * 5 for name in "abcdef"}
        other = made.create("def handler(event, context): return 1", Environment={"Variables": variables})
        assert made.invoke(other).value == 1
    own = {"OWN": "CANARY-9-" + "z" * 40}
    name = made.create(MEMORY, MemorySize=1024, Timeout=60, Environment={"Variables": own})
    # Its own are found: the search works.
    assert set(made.invoke(name).value) == {"CANARY-9-" + "z" * 40}


def test_no_process_leaves_the_tree_by_which_memory_is_counted(made: FunctionSet, level: str) -> None:
    name = made.create(TREE)
    expected = ["made", 0, 0] if level == "process" else ["EPERM", -1, 0]
    assert made.invoke(name).value == expected


def test_a_relay_of_processes_ends_with_its_environment(made: FunctionSet) -> None:
    name = made.create(RELAY, Timeout=2)
    assert made.invoke(name, "run").error == "Unhandled"
    first = made.invoke(name, "look")
    assert first.error is None, (first.raw, first.log)
    size = first.value
    assert size > 0
    assert [made.invoke(name, "look").value for _ in range(20)] == [size] * 20


def test_closed_and_deep_folders_are_removed(made: FunctionSet) -> None:
    # What is left is looked at in the end.
    name = made.create(CLOSED, Timeout=20)
    assert made.invoke(name).error is None
