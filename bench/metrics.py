"""What it costs the service to be asked for its figures, and what that costs those who invoke meanwhile."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from typing import TYPE_CHECKING

from concurrency import Crowd
from rig import SDK_HEADERS, Measured, Service, Unavailable, c_archive, cpu_ns, service

if TYPE_CHECKING:
    from contextlib import ExitStack

FUNCTIONS = 1_000
ENVIRONMENTS = 100
FRESH_SECONDS = 0.25
"""Asked less often than that, the service collects its figures anew."""
EVERY_SECONDS = 1.0
IDLE_TIMEOUT_SECONDS = 3
READY_SECONDS = 120
CLIENTS = 20


class Observed:
    """A service with a thousand functions that were all invoked, and a hundred environments that rest."""

    def __init__(self, stack: ExitStack) -> None:
        options = ("--idle-timeout", str(IDLE_TIMEOUT_SECONDS), "--concurrency", str(FUNCTIONS + ENVIRONMENTS))
        self.running: Service = stack.enter_context(service(options=options))
        code = c_archive()
        for number in range(FUNCTIONS):
            self.running.create(f"function-{number:04d}", "provided.al2023", "bootstrap", code)
        for number in range(FUNCTIONS):
            self.running.wait_active(f"function-{number:04d}")
            self.running.call("POST", self.running.invocation(f"function-{number:04d}")[0], {})
        self.running.create("c", "provided.al2023", "bootstrap", code)
        self.running.wait_active("c")
        version = self.running.call("POST", "/2015-03-31/functions/c/versions", {})["Version"]
        config = f"/2019-09-30/functions/c/provisioned-concurrency?Qualifier={version}"
        self.running.call("PUT", config, {"ProvisionedConcurrentExecutions": ENVIRONMENTS})
        give_up = time.monotonic() + READY_SECONDS
        while (found := self._environments()) != ENVIRONMENTS:
            if time.monotonic() > give_up:
                raise Unavailable(f"{found} environments, where {ENVIRONMENTS} should be left")
            time.sleep(0.5)

    def _environments(self) -> object:
        return self.running.call("GET", "/_venturekit/metrics.json")["executionEnvironmentsTotal"]


class Scraper:
    """Somebody who reads ``/metrics`` as Prometheus does, on one connection."""

    def __init__(self, running: Service) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)

    def scrape(self) -> tuple[float, int]:
        """The milliseconds it took, and the bytes that came."""
        begin = time.perf_counter()
        self._connection.request("GET", "/metrics", headers=SDK_HEADERS)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Unavailable(f"GET /metrics: {answer.status} {body[:200]!r}")
        return (time.perf_counter() - begin) * 1e3, len(body)

    def close(self) -> None:
        self._connection.close()


def scraped(observed: Observed, samples: int) -> Measured:
    """CPU of the service for one answer, of figures that are collected for it."""
    scraper, pid = Scraper(observed.running), observed.running.process.pid
    scraper.scrape()
    times, used = [], []
    for _ in range(max(5, samples // 10)):
        time.sleep(FRESH_SECONDS)
        before = cpu_ns(pid)
        took_ms, size_bytes = scraper.scrape()
        times.append(took_ms)
        used.append((cpu_ns(pid) - before) / 1e6)
    scraper.close()
    found = statistics.median(used)
    note = f"{FUNCTIONS:,} functions, {ENVIRONMENTS} environments; {size_bytes / 1e6:.1f} MB in"
    return Measured(found, f"{note} {statistics.median(times):.0f} ms; each second: {found / 10:.1f} % of a core")


def others_while_scraped(observed: Observed, seconds: float, rounds: int) -> Measured:
    """The p99 of warm invokes while ``/metrics`` is read each second, against that without."""
    from contextlib import ExitStack

    seconds = max(seconds, 1.5) * 2
    pairs = []
    with ExitStack() as stack:
        crowd = Crowd(stack, observed.running, "c", CLIENTS)
        crowd.invoke(0.5)
        for _ in range(rounds):
            alone = _p99(crowd.invoke(seconds))
            ended = threading.Event()
            reader = threading.Thread(target=_scrape_until, args=(observed.running, ended))
            reader.start()
            try:
                pairs.append((_p99(crowd.invoke(seconds)), alone))
            finally:
                ended.set()
                reader.join()
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    meanwhile, alone = (statistics.median(each) for each in zip(*pairs, strict=True))
    return Measured(ratio, f"p99 {meanwhile:.2f} ms against {alone:.2f} ms")


def _scrape_until(running: Service, ended: threading.Event) -> None:
    scraper = Scraper(running)
    while not ended.wait(EVERY_SECONDS):
        scraper.scrape()
    scraper.close()


def _p99(times_ms: list[float]) -> float:
    return statistics.quantiles(times_ms, n=100)[98]
