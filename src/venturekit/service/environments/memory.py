"""Resident memory of a process tree, for the memory limit and for REPORT's "Max Memory Used".

Polling the resident size is the limit that works everywhere: RLIMIT_AS counts reserved addresses, with which Node
hangs at 128 MB and threads fail. A reading costs microseconds because `/proc/<pid>/statm` stays open; an open
descriptor also keeps belonging to that very process, whoever gets the pid later.

Forks of a function share pages with it until they write; the resident size counts such pages once per process. Before
a function is ended for its memory, `proportional_bytes` (each page counted once, about 0.2 ms per process) tells the
truth.
"""

from __future__ import annotations

import os
import re

from venturekit.service.environments import process_tree

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_READ_BYTES = 128
_PROPORTIONAL = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
MAX_OPEN_DESCRIPTORS = 64


class TreeMemory:
    """Memory of the tree below and including `pid`, less `baseline_bytes` that it shares with the launcher.

    `peak_bytes` is the largest sample so far. Samples of a process that has ended are 0. Close it to free its
    descriptors.
    """

    __slots__ = ("_baseline_bytes", "_main_fd", "_others", "_pid", "peak_bytes")

    def __init__(self, pid: int, baseline_bytes: int = 0) -> None:
        self._pid = pid
        self._baseline_bytes = baseline_bytes
        self._main_fd = _open_statm(pid)
        self._others: dict[int, int] = {}
        self.peak_bytes = 0

    def sample_main(self) -> int:
        """Resident bytes of the main process alone, in a few microseconds."""
        return self._keep_peak(self._main_bytes())

    def sample(self) -> int:
        """Resident bytes of the whole tree."""
        pids = process_tree.descendants(self._pid)
        for gone in self._others.keys() - set(pids):
            os.close(self._others.pop(gone))
        return self._keep_peak(self._main_bytes() + sum(self._other_bytes(pid) for pid in pids))

    def proportional_bytes(self) -> int:
        """Bytes of the whole tree with shared pages divided among those who share them; the peak is not touched."""
        return sum(_proportional_bytes(pid) for pid in [self._pid, *process_tree.descendants(self._pid)])

    def close(self) -> None:
        """Close all descriptors; later samples are 0. May be called twice."""
        for descriptor in self._others.values():
            os.close(descriptor)
        self._others.clear()
        if self._main_fd is not None:
            os.close(self._main_fd)
            self._main_fd = None

    def _main_bytes(self) -> int:
        return 0 if self._main_fd is None else max(0, _resident_bytes(self._main_fd) - self._baseline_bytes)

    def _other_bytes(self, pid: int) -> int:
        descriptor = self._others.get(pid)
        if descriptor is not None:
            resident = _resident_bytes(descriptor)
            if resident:
                return resident
            # A zombie, or a new process that got the pid of a dead one.
            os.close(self._others.pop(pid))
        descriptor = _open_statm(pid)
        if descriptor is None:
            return 0
        if len(self._others) < MAX_OPEN_DESCRIPTORS:
            self._others[pid] = descriptor
            return _resident_bytes(descriptor)
        try:
            return _resident_bytes(descriptor)
        finally:
            os.close(descriptor)

    def _keep_peak(self, size_bytes: int) -> int:
        if size_bytes > self.peak_bytes:
            self.peak_bytes = size_bytes
        return size_bytes


def _open_statm(pid: int) -> int | None:
    try:
        return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _resident_bytes(descriptor: int) -> int:
    try:
        return int(os.pread(descriptor, _READ_BYTES, 0).split(b" ", 2)[1]) * _PAGE_BYTES
    except OSError:
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            match = _PROPORTIONAL.search(rollup.read())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0
