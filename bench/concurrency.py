"""Many environments that rest, and many clients that are connected: what they cost the service and the others."""

from __future__ import annotations

import contextlib
import selectors
import socket
import statistics
import time
from collections import deque
from functools import cached_property

from rig import Measured, Service, Unavailable, c_archive, cpu_ns, pss_mib, service

ENVIRONMENTS = 1_000
FEW, MANY = 100, 10_000
INVOKES_PER_SECOND = 500
READY_SECONDS = 300
SETTLE_SECONDS = 3
"""After which the last start has been digested: what is idle is measured."""


class Environments:
    """A service that keeps a thousand environments of a C function initialised."""

    def __init__(self, stack: contextlib.ExitStack, *, seconds: float) -> None:
        self.seconds = max(seconds, 1.5) * 4
        self.running: Service = stack.enter_context(service(options=("--concurrency", str(ENVIRONMENTS + 100))))
        self.running.create("kept", "provided.al2023", "bootstrap", c_archive())
        self.running.wait_active("kept")
        version = self.running.call("POST", "/2015-03-31/functions/kept/versions", {})["Version"]
        self._config = f"/2019-09-30/functions/kept/provisioned-concurrency?Qualifier={version}"
        # What the first environment brings along is not what one more costs.
        self._provision(1)
        self._before_mib = pss_mib(self.running.process.pid)

    def _provision(self, count: int) -> float:
        begin = time.monotonic()
        self.running.call("PUT", self._config, {"ProvisionedConcurrentExecutions": count})
        while True:
            found = self.running.call("GET", self._config)
            if found["Status"] == "READY":
                return time.monotonic() - begin
            if found["Status"] == "FAILED" or time.monotonic() - begin > READY_SECONDS:
                available = found["AvailableProvisionedConcurrentExecutions"]
                raise Unavailable(f"{available} of {count} environments: {found.get('StatusReason', 'too slow')}")
            time.sleep(0.05)

    @cached_property
    def began(self) -> float:
        """The seconds in which all of them were initialised."""
        seconds = self._provision(ENVIRONMENTS)
        time.sleep(SETTLE_SECONDS)
        return seconds


def idle_cpu(environments: Environments) -> Measured:
    """CPU of the service while nobody invokes, in percent of one core."""
    began = environments.began
    pid = environments.running.process.pid
    before, begin = cpu_ns(pid), time.monotonic_ns()
    time.sleep(environments.seconds)
    used = (cpu_ns(pid) - before) / (time.monotonic_ns() - begin) * 100
    note = f"{ENVIRONMENTS:,} environments, initialised in {began:.1f} s; {environments.seconds:.0f} s of idling"
    return Measured(used, note)


def idle_memory(environments: Environments) -> Measured:
    """What the service needs for them, less what it needed with one."""
    began = environments.began
    mib = pss_mib(environments.running.process.pid) - environments._before_mib
    return Measured(mib, f"{mib * 1024 / ENVIRONMENTS:.1f} KiB each; initialised in {began:.1f} s")


class Crowd:
    """Clients that stay connected and take turns at invoking, so many times a second together."""

    def __init__(self, stack: contextlib.ExitStack, running: Service, name: str, count: int) -> None:
        path, headers = running.invocation(name)
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{running.port}", "Content-Length: 7"]
        lines += [f"{field}: {value}" for field, value in headers.items()]
        self._request = "\r\n".join([*lines, "", '{"k":1}']).encode()
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._idle: deque[socket.socket] = deque()
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 30))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(client, selectors.EVENT_READ)
            self._idle.append(client)

    def invoke(self, seconds: float) -> list[float]:
        """The milliseconds every invoke took. One that is due while no client is free waits, and that counts."""
        times: list[float] = []
        under_way: dict[socket.socket, float] = {}
        begin = time.perf_counter()
        total, sent = int(seconds * INVOKES_PER_SECOND), 0
        while len(times) < total:
            now = time.perf_counter()
            while sent < total and self._idle and begin + sent / INVOKES_PER_SECOND <= now:
                client = self._idle.popleft()
                under_way[client] = begin + sent / INVOKES_PER_SECOND
                client.sendall(self._request)
                sent += 1
            pause = begin + sent / INVOKES_PER_SECOND - time.perf_counter() if sent < total and self._idle else 1.0
            for key, _ in self._selector.select(max(pause, 0.0)):
                client = key.fileobj
                answer = client.recv(65536)  # type: ignore[union-attr]
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise Unavailable(f"an invoke failed: {answer[:200]!r}")
                times.append((time.perf_counter() - under_way.pop(client)) * 1e3)  # type: ignore[arg-type]
                self._idle.append(client)  # type: ignore[arg-type]
            if time.perf_counter() - begin > 10 * seconds + 30:
                raise Unavailable(f"{len(times)} of {total} invokes were answered in time")
        return times


def crowded(running: Service, seconds: float, rounds: int) -> Measured:
    """The p99 of invokes by clients of whom there are ten thousand, against that by clients of whom there are few."""
    seconds = max(seconds, 1.0) * 2
    found: dict[int, list[list[float]]] = {FEW: [], MANY: []}
    for _ in range(rounds):
        for count, times in found.items():
            with contextlib.ExitStack() as stack:
                crowd = Crowd(stack, running, "c", count)
                crowd.invoke(0.5)
                times.append(crowd.invoke(seconds))
    p99s = {count: [statistics.quantiles(each, n=100)[98] for each in times] for count, times in found.items()}
    few, many = (statistics.median(p99s[count]) for count in (FEW, MANY))
    ratio = statistics.median(a / b for a, b in zip(p99s[MANY], p99s[FEW], strict=True))
    return Measured(ratio, f"p99 {many:.2f} ms against {few:.2f} ms, {INVOKES_PER_SECOND} invokes/s together")
