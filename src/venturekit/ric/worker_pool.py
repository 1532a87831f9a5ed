"""Several invocations at once: one process forks a worker for each, before the function's code is imported.

AWS's client does so, too (AWS page "Python runtime for Lambda Managed Instances"): the function is initialised in every
worker, and the workers share nothing. Beyond it, a worker that ends unasked harms only its own invocation, whose caller
is told at once, and another worker takes its place.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time

from . import worker_ends
from .faults import RuntimeApiError
from .logs import FunctionLog
from .marshal import Marshaller
from .worker_api import PoolApiClient, WorkerApiClient
from .worker_table import API_GONE, BUSY, READY, REFUSED, WorkerTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import NoReturn

    from .worker_table import WorkerSlot

CONCURRENCY_VARIABLE = "AWS_LAMBDA_MAX_CONCURRENCY"
MOST_WORKERS = 1600
_LOG_SOCKET_VARIABLE = "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET"
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
_WATCHED = _ENDING | {signal.SIGCHLD}
_END_LIMIT_SECONDS = 2.0
_FORK_RETRY_SECONDS = 1.0


def become_worker(address: str, environ: MutableMapping[str, str]) -> WorkerApiClient:
    """Fork as many workers as the environment's variable says; returns in each of them.

    Never returns in the process that calls it: it looks after the workers and raises SystemExit when none is left, with
    status 0 if the Runtime API went away and 1 if not. SIGTERM and SIGINT end it after the workers, to which they are
    passed on. Raises SystemExit for a variable that is no number from 1 to MOST_WORKERS.
    """
    count = worker_count(environ[CONCURRENCY_VARIABLE])
    pool = WorkerPool(count, PoolApiClient(address), environ)
    slot = pool.run()
    redirect_output(environ.get(_LOG_SOCKET_VARIABLE))
    return WorkerApiClient(address, slot, pool.lifeline)


def worker_count(text: str) -> int:
    """The value of AWS_LAMBDA_MAX_CONCURRENCY. Raises SystemExit for a text that is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST_WORKERS):
        raise SystemExit(f"{CONCURRENCY_VARIABLE} is {text[:40]!r}; it must be a number from 1 to {MOST_WORKERS}")
    return int(text)


def redirect_output(socket_path: str | None) -> None:
    """Send standard output and error to a unix socket, over a connection each; None leaves them as they are.

    So they are left, too, where nobody listens, or isolation allows no such socket: a log is better there than lost.
    """
    if not socket_path:
        return
    import _socket

    try:
        for descriptor in (1, 2):
            connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                connection.connect(socket_path)
                os.dup2(connection.fileno(), descriptor)
            finally:
                connection.close()
    except OSError as error:
        sys.stderr.write(f"[WARN] The log stays on standard output: {socket_path!r} takes no connection: {error}\n")


class WorkerPool:
    """The workers, from the side of their parent."""

    def __init__(self, count: int, api: PoolApiClient, environ: MutableMapping[str, str]) -> None:
        self._api = api
        self._table = WorkerTable(count)
        self._strikes = [0] * count
        self._places: dict[int, int] = {}  # process id -> number of the slot
        self._vacant = list(range(count))
        self._is_proven = [False] * count  # a worker has been initialised in this place
        self._api_gone = False
        self._slot: WorkerSlot | None = None  # known in workers only
        self.lifeline, self._own_end = os.pipe()
        self._signal_mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._log = FunctionLog(environ)
        self._marshaller = Marshaller(environ.get("AWS_EXECUTION_ENV"))
        self._announce(count)

    def run(self) -> WorkerSlot:
        """In a worker: its slot. In the parent: see `become_worker`."""
        # Taken in turn from a queue instead of interrupting whatever is being done.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        while True:
            while self._vacant and self._fork():
                if self._slot is not None:
                    return self._slot
            if not self._places:
                raise SystemExit(0 if self._api_gone else 1)
            number = self._wait(_FORK_RETRY_SECONDS if self._vacant else None)
            if number in _ENDING:
                self._end(number)
            self._reap()

    def _announce(self, count: int) -> None:
        event = {
            "event": "runtime_worker_pool_initializing",
            "workerCount": count,
            "executionEnvironmentMaxConcurrency": count,
        }
        logging.getLogger().debug(event)
        # Every worker sets the log up for itself.
        logging.getLogger().handlers.clear()

    def _fork(self) -> bool:
        """Fill a vacant place; whether that was possible. In the worker its slot is known afterwards."""
        slot = self._table.slot(self._vacant[-1])
        slot.clear()
        try:
            pid = os.fork()
        except OSError as error:
            self._write("WARN", errorMessage=f"No worker can be forked: {error.strerror}")
            return False
        # A group of its own, so that a signal for all is passed on exactly once, also to what the function has started.
        # On both sides of the fork: whichever comes first.
        _lead_group(pid)
        if pid:
            self._places[pid] = self._vacant.pop()
        else:
            os.close(self._own_end)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._signal_mask)
            self._slot = slot
        return True

    @staticmethod
    def _wait(limit_seconds: float | None) -> int:
        if limit_seconds is None:
            return signal.sigwaitinfo(_WATCHED).si_signo
        news = signal.sigtimedwait(_WATCHED, limit_seconds)
        return signal.SIGCHLD if news is None else news.si_signo

    def _reap(self) -> None:
        """Bury all that are dead: workers, and orphans of the function's that were given to this process."""
        while True:
            try:
                news = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if news is None:
                return
            pid = news.si_pid
            if pid in self._places:
                # Not reaped yet, so the group's number is still its own. What it has left behind ends with it.
                _signal_group(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            number = self._places.pop(pid, None)
            if number is not None:
                self._bury(number, status)

    def _bury(self, number: int, status: int) -> None:
        slot = self._table.slot(number)
        phase = slot.phase
        self._api_gone = phase == API_GONE
        if phase == BUSY:
            self._report(slot, status)
        elif phase not in (API_GONE, REFUSED):
            self._write(
                "WARN", errorMessage=f"A worker without an invocation has ended: {worker_ends.exit_text(status)}"
            )
        strikes = worker_ends.strikes_after(self._strikes[number], phase, slot.has_served, self._is_proven[number])
        self._strikes[number] = strikes
        self._is_proven[number] |= phase in (READY, BUSY)
        if strikes < worker_ends.MOST_STRIKES:
            self._vacant.append(number)

    def _report(self, slot: WorkerSlot, status: int) -> None:
        ids = slot.ids
        request_id = ids[0].decode("utf-8", "surrogateescape")
        message = worker_ends.exit_message(request_id, status)
        self._write("ERROR", errorMessage=message, errorType=worker_ends.EXIT_ERROR, requestId=request_id)
        try:
            self._api.post_exit_error(*ids, worker_ends.exit_error(message))
        except RuntimeApiError as error:
            self._write("WARN", errorMessage=f"The end of a worker could not be told: {error}", requestId=request_id)

    def _write(self, level: str, **fields: str) -> None:
        record = {"timestamp": self._log.timestamp(), "level": level, **fields}
        self._log.write_error([self._marshaller.serialize_text(record)])

    def _end(self, number: int) -> NoReturn:
        """Pass the signal on, wait for the workers, and end by it."""
        for pid in self._places:
            _signal_group(pid, number)
        deadline = time.monotonic() + _END_LIMIT_SECONDS
        while self._places:
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0 or signal.sigtimedwait({signal.SIGCHLD}, left_seconds) is None:
                for pid in self._places:
                    _signal_group(pid, signal.SIGKILL)
                break
            self._forget_dead()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._signal_mask)
        # The first process of a namespace does not die of a signal.
        raise SystemExit(128 + number)

    def _forget_dead(self) -> None:
        for pid in list(self._places):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self._places[pid]


def _lead_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:
        pass
