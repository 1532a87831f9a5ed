"""Asynchronous invocation: how fast events are accepted, how soon they start, and what a million of them change."""

from __future__ import annotations

import asyncio
import http.client
import json
import sqlite3
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rig import PYTHON_RUNTIME, Measured, Service, Unavailable, archive, c_archive, load, pss_mib, service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rig import Load
    from venturekit.service.store import Store
    from venturekit.service.store.event_documents import ClaimedEvent, Lane, NewEvent, Settlement

ACCOUNT = "000000000000"
EVENT = {"X-Amz-Invocation-Type": "Event"}
CLIENTS = 16
DATABASE = "venturekit.sqlite3"
PATIENCE_SECONDS = 120.0
LANES = 100
LATER_SECONDS = 86_400.0
AT_ONCE = 1_000
# Tells when it was called before it does anything else.
TELLING_SOURCE = b"""import time
def handler(event, context):
    now = time.time()
    with open(event["file"], "a") as told:
        told.write(f"{now!r}\\n")
"""


def queued(running: Service) -> int:
    """How many events wait or run."""
    return int(running.call("GET", "/_venturekit/health")["queuedEvents"])  # type: ignore[call-overload]


def wait_for_queue(running: Service, at_most: int = 0) -> None:
    """Wait until no more events than that are queued. Raises Unavailable when that takes too long."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (left := queued(running)) > at_most:
        if time.monotonic() > give_up:
            raise Unavailable(f"{left} events were still queued after {PATIENCE_SECONDS:g} s")
        time.sleep(0.01)


def create(running: Service, *names: str) -> None:
    """Functions with the C runtime."""
    for name in names:
        running.create(name, "provided.al2023", "bootstrap", c_archive())
    for name in names:
        running.wait_active(name)


def put(running: Service, name: str, **options: object) -> Load:
    """Queue events for a function with the load generator."""
    path, _ = running.invocation(name)
    return load(running.port, path=path, headers=EVENT, clients=CLIENTS, **options)  # type: ignore[arg-type]


# --- rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flood:
    """What many clients saw that queued events at once, and what became of these."""

    accepted: Load
    drained_meanwhile: float
    drained_after: float


@dataclass
class Asynchronous:
    """What the rows share, started on first use and ended with the stack."""

    stack: ExitStack
    seconds: float = 1.5
    rounds: int = 5
    samples: int = 200
    events: int = 1_000_000
    drained: int = 5_000

    def directory(self) -> Path:
        """A directory of one's own, which is gone with the stack."""
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-bench-")))

    @cached_property
    def million(self) -> Million:
        """A data directory with very many queued events."""
        million = Million(self.directory() / "data", self.events, self.drained)
        million.prepare()
        return million


def accepting(shared: Asynchronous) -> Measured:
    """Floods of events while the dispatcher works them off. In the end every one of them must have run."""
    data_dir = shared.directory() / "data"
    # All of them are counted in the end.
    with service(data_dir=data_dir, options=["--event-history-limit", "100000000"]) as running:
        create(running, "c")
        # The first one starts the environments, and is not measured.
        floods = [_flood(running, shared.seconds) for _ in range(shared.rounds + 1)]
        memory = pss_mib(running.process.pid)
        check_that_all_ran(data_dir, sum(flood.accepted.requests for flood in floods))
    figures = [
        (flood.accepted.rate, flood.accepted.p50_us / 1e3, flood.drained_meanwhile, flood.drained_after)
        for flood in floods[1:]
    ]
    rate, p50, meanwhile, after = (statistics.median(column) for column in zip(*figures, strict=True))
    return Measured(
        rate, f"p50 {p50:.1f} ms; run meanwhile {meanwhile:,.0f}/s, then {after:,.0f}/s; all ran; {memory:.0f} MiB"
    )


def _flood(running: Service, seconds: float) -> Flood:
    begin = time.perf_counter()
    accepted = put(running, "c", seconds=seconds)
    taken, left = time.perf_counter() - begin, queued(running)
    begin = time.perf_counter()
    wait_for_queue(running)
    return Flood(accepted, (accepted.requests - left) / taken, left / (time.perf_counter() - begin))


def check_that_all_ran(data_dir: Path, accepted: int) -> None:
    """Count in the database. Raises Unavailable unless every event that was accepted has run."""
    with closing(sqlite3.connect(f"file:{data_dir / DATABASE}?mode=ro", uri=True)) as database:
        states = dict(database.execute("SELECT state, count(*) FROM events WHERE attempts > 0 GROUP BY state"))
        (started,) = database.execute(
            "SELECT count(DISTINCT event_id) FROM event_history WHERE kind = 'started'"
        ).fetchone()
    if states != {"succeeded": accepted} or started != accepted:
        raise Unavailable(f"{accepted} events were accepted, {started} were started, and now are: {states}")


def sync_meanwhile(shared: Asynchronous) -> Measured:
    """A client that invokes another function synchronously during a flood."""
    with service() as running, ThreadPoolExecutor(1) as threads:
        create(running, "c", "other")
        put(running, "c", seconds=shared.seconds)
        wait_for_queue(running)
        quiet = running.load("other", seconds=shared.seconds)
        flood = threads.submit(put, running, "c", seconds=shared.seconds * 2)
        # Well inside of the flood.
        time.sleep(shared.seconds / 4)
        disturbed = running.load("other", seconds=shared.seconds)
        accepted = flood.result()
    return Measured(
        disturbed.p99_us / 1e3,
        f"p50 {disturbed.p50_us / 1e3:.2f} ms, {disturbed.rate:,.0f}/s beside {accepted.rate:,.0f} events/s; "
        f"alone p99 {quiet.p99_us / 1e3:.2f} ms",
    )


def start_of_event(shared: Asynchronous) -> Measured:
    """One event after the other, each for an idle environment: the function's clock against its client's."""
    told = shared.directory() / "told"
    told.touch()
    body, delays = json.dumps({"file": str(told)}).encode(), list[float]()
    with service() as running, closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)) as client:
        running.create("telling", PYTHON_RUNTIME, "app.handler", archive({"app.py": (TELLING_SOURCE, 0o644)}))
        running.wait_active("telling")
        path, _ = running.invocation("telling")
        for number in range(shared.samples + 1):
            client.request("POST", path, body, EVENT)
            answer = client.getresponse()
            accepted = time.time()
            answer.read()
            if answer.status != 202:
                raise Unavailable(f"an event was answered {answer.status}")
            wait_for_queue(running)
            delays.append((float(told.read_text().splitlines()[number]) - accepted) * 1e3)
    delays = sorted(delays[1:])
    p99 = statistics.quantiles(delays, n=100)[98]
    return Measured(p99, f"p99 of {len(delays)}, p50 {statistics.median(delays):.2f}, slowest {delays[-1]:.2f}")


def claim(shared: Asynchronous) -> Measured:
    """What it takes to claim the events of a round, by the writer's clock: of one function, and of several."""
    one, many = shared.million.claims()
    return Measured(
        max(statistics.median(one.times_ms), statistics.median(many.times_ms)),
        f"{shared.events:,} queued; {one}; {many}",
    )


def memory(shared: Asynchronous) -> Measured:
    """Memory with a long queue beyond that with none, after as many events were run."""
    empty, full, ready_ms = shared.million.memory()
    return Measured(
        full - empty, f"{full:.1f} MiB with {shared.events:,} queued, {empty:.1f} with none; ready in {ready_ms:.0f} ms"
    )


# --- a million events ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claims:
    """How long claims took."""

    lanes: int
    events: int
    times_ms: list[float]

    def __str__(self) -> str:
        p50, p99 = statistics.median(self.times_ms), statistics.quantiles(self.times_ms, n=100)[98]
        of = "one function" if self.lanes == 1 else f"{self.lanes} functions"
        return f"{self.events} of {of} p50 {p50:.2f}, p99 {p99:.2f}"


@dataclass
class Million:
    """A queue in which half of the events are one function's, which are due, and the others belong to 99 functions,
    for which it is too early."""

    data_dir: Path
    events: int
    drained: int

    def prepare(self) -> None:
        """Write the queue, for a function that a service has made before."""
        with service(data_dir=self.data_dir) as running:
            create(running, "c")
            self.empty_mib = self._memory_after(running, put_first=True)
        asyncio.run(self._populate())

    async def _populate(self) -> None:
        from venturekit.service.store.events import EventStore

        with closing(self._store()) as store:
            queue, waiting = EventStore(store), set[asyncio.Future[None]]()
            for begin in range(0, self.events, AT_ONCE):
                waiting.add(queue.put(list(self._events(begin, min(begin + AT_ONCE, self.events)))))
                if len(waiting) == 8:
                    await asyncio.gather(*waiting)
                    waiting.clear()
            await asyncio.gather(*waiting)

    def _store(self) -> Store:
        from venturekit.service.store import Store

        return Store.open(self.data_dir / DATABASE)

    def _events(self, begin: int, end: int) -> Iterator[NewEvent]:
        from venturekit.service.store.event_documents import NewEvent

        now = time.time()
        for number in range(begin, end):
            lane = 0 if number % 2 else number // 2 % (LANES - 1) + 1
            yield NewEvent(
                account_id=ACCOUNT,
                function_name=_name(lane),
                qualifier="",
                request_id=f"5f0c0e5e-0000-4000-8000-{number:012d}",
                payload=b'{"k":1}',
                trace=f"Root=1-00000000-{number:024x};Parent={number:016x};Sampled=0",
                accepted_at=now + (LATER_SECONDS if lane else 0.0),
                accepted_wall=now,
            )

    def claims(self, rounds: int = 300) -> tuple[Claims, Claims]:
        """Claim as the dispatcher does in a turn: of one function, and of as many as have part in it."""
        from venturekit.service.events.lanes import SHARE, TURN

        at_once = TURN // SHARE
        with closing(self._store()) as store:
            one = [[_name(0)]] * rounds
            many = [
                [_name((at_once * number + n) % (LANES - 1) + 1) for n in range(at_once)] for number in range(rounds)
            ]
            return self._claims(store, one, SHARE), self._claims(store, many, SHARE)

    def _claims(self, store: Store, turns: Sequence[Sequence[str]], share: int) -> Claims:
        from venturekit.service.store.events import Turn, take_turn

        taken, later = list[float](), time.time() + 2 * LATER_SECONDS

        def claim(connection: sqlite3.Connection, lanes: list[tuple[Lane, int]]) -> Turn:
            begin = time.perf_counter()
            turn = take_turn(connection, "bench", [], lanes, later, 0.0)
            taken.append((time.perf_counter() - begin) * 1e3)
            return turn

        for names in turns:
            lanes = [((ACCOUNT, name), share) for name in names]
            held = store.submit(partial(claim, lanes=lanes), essential=True).result().claimed
            if len(held) != share * len(names):
                raise Unavailable(f"{len(held)} events were claimed of {len(names)} functions")
            back = partial(
                take_turn,
                lease="bench",
                settlements=[_again(event) for event in held],
                claims=[],
                now=0.0,
                wall=0.0,
            )
            store.submit(back, essential=True).result()
        return Claims(len(turns[0]), share * len(turns[0]), taken)

    def memory(self) -> tuple[float, float, float]:
        """Of a service without a queue and of one with it (MiB), and how long the latter took to start (ms)."""
        with service(data_dir=self.data_dir) as running:
            return self.empty_mib, self._memory_after(running), running.ready_ms

    def _memory_after(self, running: Service, *, put_first: bool = False) -> float:
        """Memory after the function has run so many events."""
        if put_first:
            put(running, "c", requests=self.drained)
            wait_for_queue(running)
        else:
            wait_for_queue(running, at_most=self.events - self.drained)
        return pss_mib(running.process.pid)


def _name(lane: int) -> str:
    return f"queued-{lane:02d}" if lane else "c"


def _again(event: ClaimedEvent) -> Settlement:
    from venturekit.service.store.event_documents import QUEUED, Settlement

    return Settlement(
        event_id=event.event_id,
        state=QUEUED,
        attempts=event.attempts,
        backoffs=event.backoffs,
        due_at=event.accepted_at,
        history=(),
    )
