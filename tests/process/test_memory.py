"""Memory of process trees, measured on processes that allocate known amounts."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments import memory
from venturekit.service.environments.memory import TreeMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024

# Each line on standard input says what to do: `main <MiB>`, `child <MiB>`, `fork`, `end`; answered by a line when done.
PROGRAM = """
import os, signal, sys
kept, children = [], []
def hold(size):
    kept.append(b"x" * (int(size) << 20))
for line in sys.stdin:
    words = line.split()
    if words[0] == "main":
        hold(words[1])
    elif words[0] == "release":
        kept.clear()
    elif words[0] in ("child", "fork"):
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            if words[0] == "child":
                hold(words[1])
            os.write(tell, b".")
            signal.pause()
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        children.append(pid)
    elif words[0] == "end":
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        children.clear()
    print("done", flush=True)
"""


class Hog:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def do(self, command: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.do("end")
        self._process.kill()
        self._process.wait(20)


@pytest.fixture
def hog() -> Iterator[Hog]:
    command = [sys.executable, "-I", "-S", "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        hog = Hog(process)
        try:
            yield hog
        finally:
            if process.poll() is None:
                hog.kill()


@contextmanager
def _tree(pid: int, baseline_bytes: int = 0) -> Iterator[TreeMemory]:
    tree = TreeMemory(pid, baseline_bytes)
    try:
        yield tree
    finally:
        tree.close()


def _open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("sample", [TreeMemory.sample, TreeMemory.sample_main, TreeMemory.proportional_bytes])
def test_allocation_of_the_main_process_is_seen(hog: Hog, sample: Callable[[TreeMemory], int]) -> None:
    hog.do("main 1")
    with _tree(hog.pid) as tree:
        before = sample(tree)
        assert MIB < before < 100 * MIB
        hog.do("main 50")
        assert 48 * MIB < sample(tree) - before < 60 * MIB


def test_children_count_for_the_tree_only_while_they_live(hog: Hog) -> None:
    with _tree(hog.pid) as tree:
        alone = tree.sample_main()
        hog.do("child 30")
        hog.do("child 30")
        assert tree.sample() - alone > 60 * MIB
        assert tree.sample_main() - alone < 20 * MIB
        hog.do("end")
        assert tree.sample() - alone < 20 * MIB


def test_peak_is_kept(hog: Hog) -> None:
    with _tree(hog.pid) as tree:
        hog.do("main 40")
        top = tree.sample()
        hog.do("release")
        assert tree.sample() < top - 30 * MIB
        assert tree.peak_bytes == top
        hog.do("main 60")
        assert tree.sample_main() == tree.peak_bytes > top


def test_baseline_is_left_out_and_never_negative(hog: Hog) -> None:
    hog.do("main 40")
    with _tree(hog.pid) as whole, _tree(hog.pid, 30 * MIB) as less, _tree(hog.pid, 900 * MIB) as nothing:
        assert whole.sample_main() - less.sample_main() == 30 * MIB
        assert nothing.sample() == 0
        assert nothing.peak_bytes == 0


def test_pages_shared_by_a_fork_count_once_proportionally(hog: Hog) -> None:
    hog.do("main 60")
    hog.do("fork")
    with _tree(hog.pid) as tree:
        assert tree.sample() > 115 * MIB
        assert tree.proportional_bytes() < 90 * MIB


def test_process_that_has_ended_has_no_memory(hog: Hog) -> None:
    with _tree(hog.pid) as tree:
        top = tree.sample()
        hog.kill()
        assert tree.sample() == tree.sample_main() == tree.proportional_bytes() == 0
        assert tree.peak_bytes == top > 0
    with _tree(hog.pid) as late:
        assert late.sample() == 0


def test_descriptors_are_few_and_freed(hog: Hog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_OPEN_DESCRIPTORS", 3)
    before = _open_fds()
    tree = TreeMemory(hog.pid)
    for _ in range(6):
        hog.do("child 2")
    first = tree.sample()
    assert _open_fds() == before + 1 + 3
    assert tree.sample() == pytest.approx(first, rel=0.1)
    hog.do("end")
    tree.sample()
    assert _open_fds() == before + 1
    tree.close()
    tree.close()
    assert _open_fds() == before
    assert tree.sample_main() == 0


def test_recycled_pid_is_measured_anew(hog: Hog, tmp_path: Any) -> None:
    hog.do("child 20")
    with _tree(hog.pid) as tree:
        tree.sample()
        (pid,) = tree._others
        # As if the pid had belonged to a process that is gone now.
        gone = subprocess.Popen(["/bin/true"])
        os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
        stale = os.open(f"/proc/{gone.pid}/statm", os.O_RDONLY)
        gone.wait(20)
        os.dup2(stale, tree._others[pid])
        os.close(stale)
        assert tree.sample() > 20 * MIB
