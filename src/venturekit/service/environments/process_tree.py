"""Finding and ending whole process trees through /proc.

A process group is not enough to end an execution environment: a descendant that called `setsid` has left the group.
Here the tree itself is followed (`/proc/<pid>/task/<tid>/children`, see proc(5)), frozen from the top until nothing new
appears, and only then killed, so that a tree that forks all the time cannot outrun the killer.

A pid may be given to another process at any moment, so a process is known by its pid *and* its start time (field 22
of `/proc/<pid>/stat`), and is signalled through a pidfd where the interpreter offers them: the descriptor is opened
first and the start time checked afterwards, which leaves no gap for a wrong victim.

Standard library only, CPython 3.9 or later: the launcher process loads this file by its path.
"""

from __future__ import annotations

import os
import signal
import time

_KERNEL_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")
_HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")
# Stopped, traced, dead, or in an uninterruptible call: a signal that waits for the latter is taken before its next
# instruction.
_QUIET_STATES = frozenset("TtZXD")
_PAUSE_SECONDS = 0.0002


class ProcessStat:
    """One reading of `/proc/<pid>/stat`: `state` (one letter), `parent_pid`, `start_ticks` (clock ticks since boot)."""

    __slots__ = ("parent_pid", "start_ticks", "state")

    def __init__(self, state: str, parent_pid: int, start_ticks: int) -> None:
        self.state = state
        self.parent_pid = parent_pid
        self.start_ticks = start_ticks


def read_stat(pid: int, tid: int | None = None) -> ProcessStat | None:
    """State, parent and start time of a process (or of its thread `tid`); None when it does not exist."""
    path = f"/proc/{pid}/stat" if tid is None else f"/proc/{pid}/task/{tid}/stat"
    text = _read(path)
    if text is None:
        return None
    # The name in parentheses is the process's own choice and may hold spaces and parentheses.
    fields = text.rpartition(b")")[2].split()
    return ProcessStat(fields[0].decode("ascii"), int(fields[1]), int(fields[19]))


def start_ticks_of(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot (with the pid its identity); None when it is gone."""
    stat = read_stat(pid)
    return None if stat is None else stat.start_ticks


def own_identity() -> tuple[int, int | None]:
    """The process id and start time of this process, as `/proc` numbers it: in a namespace of its own, and before it
    has a `/proc` of its own, that is the number by which the others know it.
    """
    pid = int(os.readlink("/proc/self"))
    return pid, start_ticks_of(pid)


def is_running(pid: int, start_ticks: int | None = None) -> bool:
    """Whether the process exists and has not ended; with `start_ticks`, whether it is still the same process."""
    stat = read_stat(pid)
    if stat is None or stat.state in "ZX":
        return False
    return start_ticks is None or stat.start_ticks == start_ticks


def children(pid: int) -> list[int]:
    """The direct children of all threads of a process, zombies included; empty when it does not exist."""
    if not _KERNEL_LISTS_CHILDREN:
        return _children_by_scan(pid)
    found: list[int] = []
    for tid in _task_ids(pid):
        text = _read(f"/proc/{pid}/task/{tid}/children")
        if text:
            found.extend(int(part) for part in text.split())
    return found


def descendants(pid: int) -> list[int]:
    """All descendants of a process, parents before their children, the process itself not included.

    The answer is a snapshot: of processes that fork meanwhile, some children may be missing.
    """
    found: list[int] = []
    seen = {pid}
    queue = [pid]
    for parent in queue:
        for child in children(parent):
            if child not in seen:
                seen.add(child)
                found.append(child)
                queue.append(child)
    return found


def kill_tree(
    pid: int, *, start_ticks: int | None = None, include_root: bool = True, timeout_seconds: float = 1.0
) -> int:
    """Freeze a process and all its descendants, then kill them; the number of processes that were killed.

    With `start_ticks` nothing happens unless `pid` still is the process that started then. With `include_root=False`
    the root is left alone (the launcher ends everything below itself). Freezing is given up after `timeout_seconds`,
    killing is not. Never raises for processes that vanish or may not be signalled; does not wait for the killed to be
    reaped.
    """
    stat = read_stat(pid)
    if stat is None or (start_ticks is not None and stat.start_ticks != start_ticks):
        return 0
    known = {pid: stat.start_ticks}
    _freeze(known, pid, include_root, time.monotonic() + timeout_seconds)
    if not include_root:
        del known[pid]
    # Youngest first: a dead parent would leave a stopped orphaned process group behind, which the kernel wakes
    # (SIGCONT).
    return sum(send_signal(victim, ticks, signal.SIGKILL) for victim, ticks in reversed(list(known.items())))


def send_signal(pid: int, start_ticks: int, signal_number: int) -> bool:
    """Signal exactly the process that has this pid and start time; whether it was there to be signalled."""
    try:
        if not _HAS_PIDFD:
            return _send_by_pid(pid, start_ticks, signal_number)
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if start_ticks_of(pid) != start_ticks:
            return False
        signal.pidfd_send_signal(descriptor, signal_number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _send_by_pid(pid: int, start_ticks: int, signal_number: int) -> bool:
    if start_ticks_of(pid) != start_ticks:
        return False
    os.kill(pid, signal_number)
    return True


def _freeze(known: dict[int, int], root: int, include_root: bool, deadline: float) -> None:
    """Stop everything in `known` and below, adding what is found, until a pass finds no newcomer, nothing running.

    A relay, whose every process makes the next one and ends, is only caught by a pass that is as fast: so the dead are
    not looked at again, and the youngest children first.
    """
    dead: set[int] = set()
    while True:
        settled = True
        order = [pid for pid in known if pid not in dead]
        for parent in order:
            # The root that is left alone is the caller, which reaps nobody meanwhile.
            is_quiet = (parent == root and not include_root) or _is_quiet(parent)
            if not is_quiet:
                send_signal(parent, known[parent], signal.SIGSTOP)
                settled = False
            for child in reversed(children(parent)):
                if child in dead:
                    continue
                stat = read_stat(child)
                if is_quiet and stat is not None and known.get(child) == stat.start_ticks and _is_dead(child, stat):
                    # What it had has moved, and its number stays taken: nobody reaps it.
                    dead.add(child)
                    continue
                if known.get(child) is not None and (stat is None or stat.start_ticks == known[child]):
                    continue
                settled = False
                # Another parent means that it moved (its parent died): the next pass meets it where it is now.
                if stat is not None and stat.parent_pid == parent:
                    known[child] = stat.start_ticks
                    send_signal(child, stat.start_ticks, signal.SIGSTOP)
                    order.append(child)
        if settled or time.monotonic() > deadline:
            return
        time.sleep(_PAUSE_SECONDS)


def _is_dead(pid: int, stat: ProcessStat) -> bool:
    # A process whose first thread has ended looks the same, but for its other threads.
    return stat.state == "Z" and len(_task_ids(pid)) <= 1


def _is_quiet(pid: int) -> bool:
    for tid in _task_ids(pid):
        stat = read_stat(pid, tid)
        if stat is not None and stat.state not in _QUIET_STATES:
            return False
    return True


def _task_ids(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _children_by_scan(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None and stat.parent_pid == pid:
                found.append(int(name))
    return found


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(descriptor)
