"""Process trees: finding descendants, freezing and killing them, and never touching the wrong process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments import process_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRELUDE = """
import os, signal, sys, threading, time
def say():
    os.write(1, b"%d\\n" % os.getpid())
def stay():
    say()
    while True:
        signal.pause()
def child(action=stay):
    if os.fork() == 0:
        action()
        os._exit(0)
"""


@pytest.fixture
def running(piped: Callable[..., Any], assert_gone: Callable[..., None]) -> Callable[..., Any]:
    """`with running(code, lines) as (main pid, reported pids, output)`: a process tree that is ended in any case."""

    @contextmanager
    def run(code: str, lines: int) -> Iterator[tuple[int, list[int], Any]]:
        with piped() as (output, write_fd):
            command = [sys.executable, "-I", "-S", "-c", f"{PRELUDE}\n{code}\nstay()"]
            main = subprocess.Popen(command, stdout=write_fd, start_new_session=True)
            os.close(write_fd)
            pids: list[int] = []
            try:
                pids = [int(line) for line in output.wait_lines(lines)]
                yield main.pid, pids, output
            finally:
                process_tree.kill_tree(main.pid)
                for pid in pids:
                    if process_tree.is_running(pid):
                        os.kill(pid, signal.SIGKILL)
                main.wait(20)

    return run


def test_descendants_are_listed_parents_first(running: Callable[..., Any]) -> None:
    code = "child(lambda: (child(lambda: (os.setsid(), stay())), stay())); child()"
    with running(code, 4) as (main, pids, _):
        found = process_tree.descendants(main)
        assert sorted([main, *found]) == sorted(pids)
        parents = {pid: process_tree.read_stat(pid).parent_pid for pid in found}  # type: ignore[union-attr]
        for place, pid in enumerate(found):
            assert parents[pid] == main or parents[pid] in found[:place]
        assert set(process_tree.children(main)) == {pid for pid in found if parents[pid] == main}


def test_children_of_threads_are_found(running: Callable[..., Any]) -> None:
    code = "threading.Thread(target=lambda: (child(), signal.sigwait([signal.SIGUSR1])), daemon=True).start()"
    with running(code, 2) as (main, pids, _):
        assert process_tree.children(main) == [pid for pid in pids if pid != main]


def test_scan_of_all_processes_finds_the_same(running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with running("child(); child(child)", 3) as (main, _, _output):
        listed = process_tree.children(main)
        monkeypatch.setattr(process_tree, "_KERNEL_LISTS_CHILDREN", False)
        assert sorted(process_tree.children(main)) == sorted(listed)


@pytest.mark.parametrize("name", ["plain", ") R 1 1 (", "a b) S 1", "((("])
def test_stat_of_a_process_that_chose_an_odd_name(running: Callable[..., Any], name: str) -> None:
    with running(f"open('/proc/self/comm', 'w').write({name!r})", 1) as (main, _, _output):
        stat = process_tree.read_stat(main)
        assert stat is not None
        assert stat.parent_pid == os.getpid()
        assert stat.state in "RS"
        assert stat.start_ticks > 0


def test_processes_that_do_not_exist() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait(20)
    assert process_tree.read_stat(gone.pid) is None
    assert process_tree.start_ticks_of(gone.pid) is None
    assert process_tree.children(gone.pid) == []
    assert process_tree.descendants(gone.pid) == []
    assert process_tree.kill_tree(gone.pid) == 0
    assert not process_tree.is_running(gone.pid)
    assert not process_tree.send_signal(gone.pid, 1, signal.SIGKILL)


def test_a_zombie_is_not_running_and_harmless() -> None:
    zombie = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert process_tree.read_stat(zombie.pid).state == "Z"  # type: ignore[union-attr]
    assert not process_tree.is_running(zombie.pid)
    process_tree.kill_tree(zombie.pid)
    assert zombie.wait(20) == 0


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_kill_tree_ends_root_and_descendants(
    running: Callable[..., Any],
    assert_gone: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    has_pidfd: bool,
) -> None:
    monkeypatch.setattr(process_tree, "_HAS_PIDFD", has_pidfd)
    code = "child(lambda: (os.setsid(), child(lambda: (os.setsid(), stay())), stay()))"
    with running(code, 3) as (main, pids, output):
        assert process_tree.kill_tree(main, start_ticks=process_tree.start_ticks_of(main)) == 3
        output.wait_end(2.0)
        assert_gone(pids)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_another_start_time_means_another_process(
    running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    monkeypatch.setattr(process_tree, "_HAS_PIDFD", has_pidfd)
    with running("child()", 2) as (main, pids, _):
        ticks = process_tree.start_ticks_of(main)
        assert process_tree.kill_tree(main, start_ticks=ticks - 1) == 0
        assert not process_tree.send_signal(main, ticks + 1, signal.SIGKILL)
        assert all(process_tree.is_running(pid) for pid in pids)
        assert process_tree.is_running(main, ticks)
        assert not process_tree.is_running(main, ticks + 1)


def test_root_can_be_spared(running: Callable[..., Any], assert_gone: Callable[..., None]) -> None:
    with running("child(); child(lambda: (os.setsid(), child(), stay()))", 4) as (main, pids, _):
        assert process_tree.kill_tree(main, include_root=False) == 3
        assert_gone([pid for pid in pids if pid != main])
        assert process_tree.read_stat(main).state in "RS"  # type: ignore[union-attr]


def test_a_tree_that_grows_is_frozen_before_it_is_killed(
    running: Callable[..., Any], assert_gone: Callable[..., None]
) -> None:
    code = """
def grow(depth):
    os.setsid()
    say()
    for _ in range(3):
        time.sleep(0.001)
        child(lambda: grow(depth - 1)) if depth else None
    signal.pause()
child(lambda: grow(5))
"""
    with running(code, 20) as (main, _, output):
        killed = process_tree.kill_tree(main)
        output.wait_end(2.0)
        assert_gone([int(line) for line in output.text.split()])
        assert killed >= 20


def test_control_killing_without_freezing_misses_the_restarted(
    running: Callable[..., Any], assert_gone: Callable[..., None]
) -> None:
    code = """
def guard():
    os.setsid()
    while True:
        child()
        os.wait()
child(guard)
"""
    with running(code, 2) as (main, _, output):
        # Children first and one by one, as a loop over a listing would: the guard replaces its child meanwhile.
        guard, worker = process_tree.descendants(main)
        os.kill(worker, signal.SIGKILL)
        replacement = int(output.wait_lines(3)[-1])
        os.kill(guard, signal.SIGKILL)
        os.kill(main, signal.SIGKILL)
        assert process_tree.is_running(replacement)
        os.kill(replacement, signal.SIGKILL)
        assert_gone([guard, worker, replacement])
    with running(code, 2) as (main, pids, output):
        process_tree.kill_tree(main)
        output.wait_end(2.0)
        assert_gone(pids)


def test_no_descriptors_are_left_open(running: Callable[..., Any]) -> None:
    with running("[child() for _ in range(10)]", 11) as (main, _, output):
        before = len(os.listdir("/proc/self/fd"))
        process_tree.descendants(main)
        process_tree.kill_tree(main)
        output.wait_end(2.0)
        assert len(os.listdir("/proc/self/fd")) == before
