"""The service against its budget: one row a line, ratios from interleaved runs. Usage: see --help."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import selectors
import socket
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

import asynchronous
import client
import concurrency
import framework
import metrics
import node
import patterns
import scale
import sources
import streaming
import urls
import websocket
from rig import (
    PYTHON_RUNTIME,
    SDK_HEADERS,
    Load,
    Measured,
    Service,
    Unavailable,
    build,
    c_archive,
    children,
    cpu_ns,
    load,
    pss_mib,
    python_archive,
    raise_descriptor_limit,
    rie,
    router,
    service,
)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUTER_PATH = "/2015-03-31/functions/f/invocations"
RIE_PATH = "/2015-03-31/functions/function/invocations"
ECHO_BYTES = 6_000_000
KEYS = ("AKIABENCHBENCHBENCH0", "bench/secret/for/loopback/only/0000000000")


@dataclass(frozen=True)
class Row:
    """One line of the budget; ``at_least`` says on which side of it is good."""

    name: str
    unit: str
    budget: float
    at_least: bool
    measure: Callable[[Bench], Measured]

    def report(self, value: float | None, note: str) -> dict[str, object]:
        """The row as it is printed; a value of None stands for unavailable."""
        passed = value is not None and (value >= self.budget if self.at_least else value <= self.budget)
        sign = ">=" if self.at_least else "<="
        line: dict[str, object] = {
            "name": self.name,
            "value": None if value is None else round(value, 3),
            "unit": self.unit,
        }
        line |= {"budget": f"{sign} {self.budget:g}", "pass": passed}
        return line | ({"unavailable" if value is None else "note": note} if note else {})


@dataclass
class Plan:
    """How long and how often."""

    seconds: float = 1.5
    rounds: int = 5
    cold_functions: int = 30
    functions: int = 1000
    starts: int = 7
    echoes: int = 20
    samples: int = 200
    events: int = 1_000_000


QUICK = Plan(seconds=0.4, rounds=3, cold_functions=20, functions=1000, starts=3, echoes=6, samples=60)


@dataclass
class Bench:
    """What several rows share, started on first use and ended with the stack."""

    plan: Plan
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def _with_functions(self, running: Service) -> Service:
        running.create("c", "provided.al2023", "bootstrap", c_archive())
        running.create("python", PYTHON_RUNTIME, "app.handler", python_archive())
        for name in ("c", "python"):
            running.wait_active(name)
        return running

    @cached_property
    def pinned(self) -> Service:
        """A service whose processes all run on the one CPU that its client runs on."""
        return self._with_functions(self.stack.enter_context(service(pinned=True)))

    @cached_property
    def free(self) -> Service:
        """A service on all CPUs."""
        return self._with_functions(self.stack.enter_context(service()))

    @cached_property
    def router(self) -> int:
        """Port of the pinned C router."""
        return self.stack.enter_context(router(pinned=True))

    @cached_property
    def streaming(self) -> Service:
        """A service on all CPUs with a function that streams."""
        streaming.create(self.free)
        return self.free

    @cached_property
    def many(self) -> tuple[Service, list[float]]:
        """A service with a thousand functions, and what each creation took (ms)."""
        running, code = self.stack.enter_context(service()), python_archive(padding_bytes=800)
        names = [f"many-{number:04d}" for number in range(self.plan.functions)]
        return running, [running.create(name, PYTHON_RUNTIME, "app.handler", code) for name in names]

    @cached_property
    def scale(self) -> scale.Scale:
        """A service on a store with ten thousand functions."""
        return scale.Scale(self.stack, samples=self.plan.samples, starts=min(3, self.plan.starts))

    @cached_property
    def urls(self) -> urls.Urls:
        """A service with a function URL."""
        return urls.Urls(self.stack, seconds=self.plan.seconds, rounds=self.plan.rounds)

    @cached_property
    def environments(self) -> concurrency.Environments:
        """A service with a thousand environments that rest."""
        return concurrency.Environments(self.stack, seconds=self.plan.seconds)

    @cached_property
    def observed(self) -> metrics.Observed:
        """A service with a thousand functions that have been invoked."""
        return metrics.Observed(self.stack)

    @cached_property
    def websocket(self) -> websocket.Sockets:
        """A service with a WebSocket API."""
        return websocket.Sockets(self.stack, samples=self.plan.samples, rounds=self.plan.rounds)

    @cached_property
    def sources(self) -> sources.Sources:
        """A service and a stand-in for SQS, with queues that are mapped to a function."""
        return sources.Sources(self.stack, messages=min(4_000, 20 * self.plan.samples))

    @cached_property
    def asynchronous(self) -> asynchronous.Asynchronous:
        """Services with queues of events."""
        plan = self.plan
        return asynchronous.Asynchronous(
            self.stack, seconds=plan.seconds, rounds=plan.rounds, samples=plan.samples, events=plan.events
        )

    def interleaved(self, ours: Callable[[], Load], theirs: Callable[[], Load]) -> list[tuple[Load, Load]]:
        """Alternating runs: what disturbs the machine disturbs both. One short run of each goes first, unmeasured."""
        ours(), theirs()
        return [(ours(), theirs()) for _ in range(self.plan.rounds)]


def rate_ratio(pairs: list[tuple[Load, Load]]) -> Measured:
    """Median of the rounds' ratios of rates."""
    ours, theirs = (statistics.median(pair[side].rate for pair in pairs) for side in (0, 1))
    return Measured(statistics.median(a.rate / b.rate for a, b in pairs), f"{ours:,.0f}/s against {theirs:,.0f}/s")


def against_router(bench: Bench) -> Measured:
    options = {"seconds": bench.plan.seconds, "pinned": True}
    running, port = bench.pinned, bench.router
    return rate_ratio(
        bench.interleaved(lambda: running.load("c", **options), lambda: load(port, path=ROUTER_PATH, **options))
    )


def against_rie(bench: Bench, function: str, kind: str, *, clients: int) -> Measured:
    """RIE serves one invocation at a time, so it is always measured with one client: its best."""
    pinned = clients == 1
    running = bench.pinned if pinned else bench.free
    options = {"seconds": bench.plan.seconds, "pinned": pinned}
    with rie(kind, pinned=pinned) as port:
        load(port, path=RIE_PATH, requests=1)
        return rate_ratio(
            bench.interleaved(
                lambda: running.load(function, clients=clients, **options), lambda: load(port, path=RIE_PATH, **options)
            )
        )


def cpu_per_invoke(bench: Bench, running: Service) -> Measured:
    running.load("c", seconds=bench.plan.seconds, pinned=True)
    values = []
    for _ in range(bench.plan.rounds):
        before = cpu_ns(running.process.pid)
        done = running.load("c", seconds=bench.plan.seconds, pinned=True)
        values.append((cpu_ns(running.process.pid) - before) / 1e3 / done.requests)
    return Measured(statistics.median(values), "process CPU clock of the service, C runtime, 1 client")


def cpu_with_signatures(bench: Bench) -> Measured:
    with service(pinned=True, keys=KEYS) as running:
        running.create("c", "provided.al2023", "bootstrap", c_archive())
        running.wait_active("c")
        try:
            load(running.port, path=ROUTER_PATH.replace("/f/", "/c/"), requests=1, headers=SDK_HEADERS)
        except Unavailable:
            return cpu_per_invoke(bench, running)
        raise Unavailable("the service took an unsigned request although credentials were configured")


def first_answer_ms(port: int, path: str) -> float:
    """Time of one invoke on a new connection, the connection itself left out."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Amz-Invocation-Type: RequestResponse\r\n"
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        client.sendall(f'{head}Content-Length: 7\r\n\r\n{{"k":1}}'.encode())
        answer = client.recv(65536)
        taken = (time.perf_counter() - begin) * 1e3
    if not answer.startswith(b"HTTP/1.1 200") or b"X-Amz-Function-Error" in answer:
        raise Unavailable(f"cold invoke failed: {answer[:300]!r}")
    return taken


def cold_start(bench: Bench) -> Measured:
    running, code = bench.free, python_archive()
    names = [f"cold-{number:03d}" for number in range(bench.plan.cold_functions)]
    for name in names:
        running.create(name, PYTHON_RUNTIME, "app.handler", code)
        running.wait_active(name)
    times = sorted(first_answer_ms(running.port, f"/2015-03-31/functions/{name}/invocations") for name in names)
    return Measured(
        statistics.median(times),
        f"median of {len(times)} functions, {times[0]:.1f} to {times[-1]:.1f}; none invoked before",
    )


def node_cold_start(bench: Bench, kind: str) -> Measured:
    return node.cold_start(bench.free, kind, bench.plan.cold_functions, first_answer_ms)


def node_against_peer(bench: Bench) -> Measured:
    return node.against_peer(bench.free, bench.plan.seconds, bench.interleaved, rate_ratio)


def start_to_ready(bench: Bench) -> Measured:
    times = []
    for _ in range(bench.plan.starts):
        with service() as running:
            times.append(running.ready_ms)
    return Measured(statistics.median(times), f"median of {len(times)}, from the exec of vk to the ready file")


def idle_memory(bench: Bench) -> Measured:
    with service() as running:
        running.call("GET", "/2015-03-31/functions")
        pid = running.process.pid
        others = sum(pss_mib(child) for child in children(pid))
        return Measured(pss_mib(pid), f"PSS of the service process; its children another {others:.1f} MiB")


def create_p50(bench: Bench) -> Measured:
    times = bench.many[1]
    p99 = statistics.quantiles(times, n=100)[98]
    return Measured(statistics.median(times), f"{len(times):,} functions, zip of 1 KB; p99 {p99:.1f} ms")


def functions_listed(bench: Bench) -> Measured:
    running, names, marker, pages = bench.many[0], set[str](), "", 0
    begin = time.perf_counter()
    while True:
        page = running.call("GET", "/2015-03-31/functions" + (f"?Marker={quote(marker, safe='')}" if marker else ""))
        names |= {function["FunctionName"] for function in page["Functions"]}  # type: ignore[attr-defined]
        pages += 1
        marker = str(page.get("NextMarker") or "")
        if not marker or pages > bench.plan.functions:
            break
    return Measured(len(names), f"{pages} pages in {(time.perf_counter() - begin) * 1e3:.0f} ms")


def large_echo(bench: Bench) -> Measured:
    options = {"requests": bench.plan.echoes, "body_bytes": ECHO_BYTES, "pinned": True}
    running, port = bench.pinned, bench.router
    pairs = bench.interleaved(lambda: running.load("c", **options), lambda: load(port, path=ROUTER_PATH, **options))
    ours, theirs = (statistics.median(pair[side].p50_us for pair in pairs) / 1e3 for side in (0, 1))
    return Measured(
        statistics.median(a.p50_us / b.p50_us for a, b in pairs), f"p50 {ours:.1f} ms against {theirs:.1f} ms, 6 MB"
    )


def answered(client: socket.socket, buffer: bytearray) -> bool | None:
    """Read what there is: True or False when the answer is complete or the connection is lost, else None."""
    try:
        data = client.recv(65536)
    except OSError:
        return False
    if not data:
        return False
    buffer += data
    head, found, body = bytes(buffer).partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    if not found or (length and len(body) < int(length[1])):
        return None
    return head.startswith(b"HTTP/1.1 200")


def ask_all(clients: list[socket.socket], request: bytes) -> list[socket.socket]:
    """Send the request on every connection before reading any answer; gives the connections that got a 200."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.sendall(request)
            selector.register(client, selectors.EVENT_READ, bytearray())
        good, waiting, give_up = [], len(clients), time.monotonic() + 60
        while waiting and time.monotonic() < give_up:
            for key, _ in selector.select(1):
                outcome = answered(key.fileobj, key.data)  # type: ignore[arg-type]
                if outcome is not None:
                    selector.unregister(key.fileobj)
                    waiting -= 1
                    good += [key.fileobj] if outcome else []
    return good  # type: ignore[return-value]


def clients_held(bench: Bench) -> Measured:
    running, target = bench.free, "/2015-03-31/functions/python/configuration"
    host = f"127.0.0.1:{running.port}"
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\namz-sdk-request: attempt=1\r\n\r\n".encode()
    before = pss_mib(running.process.pid)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 30)) for _ in range(2000)]
        twice = ask_all(ask_all(clients, request), request)
        each_kib = (pss_mib(running.process.pid) - before) * 1024 / len(clients)
    return Measured(len(twice), f"answered twice on one connection, all at once; {each_kib:.1f} KiB each")


ROWS = (
    Row("warm rate / C router, 1 client pinned", "x", 0.70, True, against_router),
    Row("warm rate / RIE, C bootstrap, 1 client pinned", "x", 1.4, True, lambda b: against_rie(b, "c", "c", clients=1)),
    Row(
        "warm rate, 16 clients / RIE serial, C bootstrap", "x", 4, True, lambda b: against_rie(b, "c", "c", clients=16)
    ),
    Row("service CPU per warm invoke, pinned", "us", 42, False, lambda b: cpu_per_invoke(b, b.pinned)),
    Row("service CPU per warm invoke, pinned, SigV4 checked", "us", 72, False, cpu_with_signatures),
    Row(
        "Python function, our ric / RIE with awslambdaric, 1 client pinned",
        "x",
        1.5,
        True,
        lambda b: against_rie(b, "python", "awslambdaric", clients=1),
    ),
    Row("cold start, Python function, fork server", "ms", 8, False, cold_start),
    Row("cold start, Node.js function, CommonJS", "ms", 60, False, lambda b: node_cold_start(b, "CommonJS")),
    Row("cold start, Node.js function, ESM", "ms", 60, False, lambda b: node_cold_start(b, "ESM")),
    Row("Node.js function / serverless-offline, 1 client", "x", 1.7, True, node_against_peer),
    Row(
        "streamed response, first byte behind the runtime's first chunk",
        "ms",
        2,
        False,
        lambda b: streaming.first_byte(b.streaming, b.plan.samples),
    ),
    Row(
        "streamed response, bulk / copy of the same 64 KB chunks in C",
        "x",
        0.3,
        True,
        lambda b: streaming.bulk(b.streaming, b.plan.rounds),
    ),
    Row("import venturekit.runtime", "ms", 15, False, lambda b: framework.imported(2 * b.plan.rounds + 1)),
    *(
        Row(
            f"handler(), {kind}{', logging' if log else ''}, CPU of a call",
            "us",
            budget,
            False,
            lambda b, kind=kind, log=log, beside=beside: framework.called(kind, b.plan.rounds, log=log, beside=beside),
        )
        for kind, log, budget, beside in (
            ("sync", False, 10, ("powertools", "chalice", "starlette")),
            ("async", False, 20, ()),
            ("model", False, 35, ("fastapi",)),
            ("sync", True, 20, ()),
            ("async", True, 30, ()),
            ("model", True, 45, ()),
        )
    ),
    Row("invoke() / boto3, CPU of a call", "x", 0.25, False, lambda b: framework.calling(b.free, b.plan.rounds)),
    *(
        Row(
            f"saga of three steps over plain calls, {store}",
            "ms",
            1,
            False,
            lambda b, store=store: patterns.saga_run(store, b.plan.rounds),
        )
        for store in ("memory", "sqlite")
    ),
    *(
        Row(
            f"idempotent call over a plain one, SQLite, {which}",
            "us",
            150,
            False,
            lambda b, which=which: patterns.idempotent_call(which, b.plan.rounds),
        )
        for which in ("first", "replay")
    ),
    Row("import venturekit.client", "ms", 40, False, lambda b: client.imported(2 * b.plan.rounds + 1)),
    *(
        Row(
            f"{name} / {theirs}, CPU of a call{', 6 MB both ways' if what == 'large' else ''}",
            "x",
            budget,
            False,
            lambda b, ours=ours, theirs=theirs, what=what: client.against(ours, theirs, what, b.plan.rounds),
        )
        for name, ours, theirs, what, budget in (
            ("LambdaClient", "venturekit", "boto3", "call", 0.25),
            ("AsyncLambdaClient", "venturekit_async", "aiobotocore", "call", 0.35),
            ("LambdaClient", "venturekit", "boto3", "large", 1.0),
            ("AsyncLambdaClient", "venturekit_async", "aiobotocore", "large", 1.0),
        )
    ),
    Row("service start to ready", "ms", 250, False, start_to_ready),
    Row("service idle memory", "MiB", 40, False, idle_memory),
    Row("create function p50", "ms", 20, False, create_p50),
    Row("functions listed", "functions", 1000, True, functions_listed),
    Row("6 MB echo / C router", "x", 3, False, large_echo),
    Row("keep-alive clients held", "clients", 2000, True, clients_held),
    Row("1,000 idle environments, CPU of the service", "%", 1, False, lambda b: concurrency.idle_cpu(b.environments)),
    Row(
        "1,000 idle environments, memory of the service",
        "MiB",
        30,
        False,
        lambda b: concurrency.idle_memory(b.environments),
    ),
    Row(
        "warm p99 by 10,000 connected clients / by 100, 500 invokes/s",
        "x",
        2,
        False,
        lambda b: concurrency.crowded(b.free, b.plan.seconds, b.plan.rounds),
    ),
    Row("/metrics of 1,000 functions, CPU", "ms", 20, False, lambda b: metrics.scraped(b.observed, b.plan.samples)),
    Row(
        "warm p99 while /metrics is read each second / undisturbed",
        "x",
        2,
        False,
        lambda b: metrics.others_while_scraped(b.observed, b.plan.seconds, b.plan.rounds),
    ),
    Row("function URL call over a direct invoke, p50", "us", 400, False, lambda b: urls.over_invoke(b.urls)),
    Row(
        "warm p99 while a function URL echoes 6 MB / undisturbed",
        "x",
        2,
        False,
        lambda b: urls.others_while_echoing(b.urls),
    ),
    Row("WebSocket round trip through a function, p50", "us", 2000, False, lambda b: websocket.round_trip(b.websocket)),
    Row("5,000 WebSocket connections: memory each", "kB", 40, False, lambda b: websocket.memory(b.websocket)),
    Row("5,000 WebSocket connections: message to all", "s", 1, False, lambda b: websocket.broadcast(b.websocket)),
    Row(
        "5,000 WebSocket connections: message to all by the framework",
        "s",
        1,
        False,
        lambda b: websocket.framework_broadcast(b.websocket),
    ),
    Row("10,000 functions: start to ready", "ms", 3000, False, lambda b: scale.start(b.scale)),
    Row("10,000 functions: page of ListFunctions p50", "ms", 10, False, lambda b: scale.list_page(b.scale)),
    Row("10,000 functions: slowest read p50", "ms", 1, False, lambda b: scale.slowest_read(b.scale)),
    Row("10,000 functions: slowest write p50", "ms", 5, False, lambda b: scale.slowest_write(b.scale)),
    Row("10,000 functions: memory", "MiB", 120, False, lambda b: scale.memory(b.scale)),
    Row(
        "events accepted (durable 202), 16 clients, while they are run",
        "/s",
        5000,
        True,
        lambda b: asynchronous.accepting(b.asynchronous),
    ),
    Row(
        "sync invoke p99 while 16 clients queue events",
        "ms",
        20,
        False,
        lambda b: asynchronous.sync_meanwhile(b.asynchronous),
    ),
    Row("event started after its 202, p99", "ms", 20, False, lambda b: asynchronous.start_of_event(b.asynchronous)),
    Row(
        "SQS messages through a mapping at batch 10, of what moto gives",
        "ratio",
        0.7,
        True,
        lambda b: sources.against_moto(b.sources),
    ),
    Row("SQS messages/s through a mapping at batch 10", "messages/s", 2000, True, lambda b: sources.rate(b.sources)),
    Row("CPU of the service per 1,000 SQS messages", "ms", 40, False, lambda b: sources.service_cpu(b.sources)),
    Row(
        "warm invoke p99 while an SQS mapping is busy",
        "ms",
        2,
        False,
        lambda b: sources.invokes_meanwhile(b.sources),
    ),
    Row("1,000,000 queued events: claim p50", "ms", 2, False, lambda b: asynchronous.claim(b.asynchronous)),
    Row("1,000,000 queued events: memory they take", "MiB", 5, False, lambda b: asynchronous.memory(b.asynchronous)),
)


def measure(bench: Bench, chosen: list[Row]) -> Iterator[dict[str, object]]:
    """Measure the rows; one that cannot be measured is reported with its reason, never left out."""
    for row in chosen:
        try:
            measured = row.measure(bench)
        except Unavailable as reason:
            yield row.report(None, str(reason))
        else:
            yield row.report(measured.value, measured.note)


def print_row(line: dict[str, object]) -> None:
    value, reason = line["value"], line.get("unavailable")
    verdict = "unavailable" if reason else "pass" if line["pass"] else "short"
    shown = "-" if value is None else f"{value:,.2f} {line['unit']}"
    print(
        f"{line['name']:<66}{shown:>18}  {line['budget']:>8}  {verdict:<12}{reason or line.get('note', '')}", flush=True
    )


def main() -> int:
    """Exit status: 0 measured (whatever the verdicts), 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the service against its budget.")
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]} and nothing else on standard output')
    parser.add_argument("--quick", action="store_true", help="shorter runs, noisier figures")
    parser.add_argument("--only", metavar="REGEX", default="", help="only the rows whose name matches")
    options = parser.parse_args()
    try:
        chosen = [row for row in ROWS if re.search(options.only, row.name, re.IGNORECASE)]
    except re.error as error:
        parser.error(f"--only is not a regular expression: {error}")
    if not chosen:
        parser.error("no row matches; the rows are:\n  " + "\n  ".join(row.name for row in ROWS))
    raise_descriptor_limit()
    bench = Bench(QUICK if options.quick else Plan())
    rows = []
    with bench.stack:
        try:
            build()
        except Unavailable as reason:
            print(f"scripts/bench: {reason}", file=sys.stderr)
            return 1
        for line in measure(bench, chosen):
            rows.append(line)
            if not options.json:
                print_row(line)
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
