"""Was a promise broken? Joins what the clients were told, what the functions ran, and what the database says."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections import Counter, defaultdict
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.reliability.workload import ATTEMPTS, DESTINATION, FAILS, FAILS_ONCE, HANGS, SYNCHRONOUS, Files
from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LOST: Final = "lost"
TERMINAL: Final = "terminal"
HISTORY: Final = "history"
DESTINED: Final = "destined"
EXTRA_RUNS: Final = "extra runs"
OUTCOME: Final = "outcome"
DAMAGED: Final = "damaged"
LATE: Final = "late"
SHOWN: Final = 5
LOOK_SECONDS: Final = 0.02

# One letter for each line of a history, and how lines may follow one another: every start has one end, and after the
# last of them nothing is run. A function may have been shut down in its midst: an interruption.
LETTERS: Final = {
    "accepted": "a",
    "started": "s",
    "succeeded": "o",
    "error": "e",
    "throttled": "t",
    "system-error": "y",
    "interrupted": "i",
    "failed": "f",
    "delivery-failed": "x",
    "delivered": "d",
}
HISTORIES: Final = {
    "succeeded": re.compile(r"a(s[etyi])*so"),
    "failed": re.compile(r"a(s[etyi])*s[ety]f(x*d)?"),
}
TIMED_OUT: Final = "Task timed out"


@dataclass(frozen=True)
class StoredEvent:
    """What the database holds of an event. ``kinds`` and ``details`` are the lines of its history."""

    event_id: int
    request_id: str
    function: str
    state: str
    attempts: int
    kinds: tuple[str, ...]
    details: tuple[dict[str, Any], ...]
    walls: tuple[float, ...]
    owed: int

    @property
    def interruptions(self) -> int:
        """How often it was running when the service died."""
        return self.kinds.count("interrupted")

    @property
    def letters(self) -> str:
        """Its history in letters; what is no known kind is a question mark."""
        return "".join(LETTERS.get(kind, "?") for kind in self.kinds)


@dataclass
class Findings:
    """What a check has found: broken promises by kind, and figures for people."""

    violations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        """A promise was broken."""
        self.violations[kind].append(text)

    @property
    def kinds(self) -> set[str]:
        """Which promises were broken."""
        return set(self.violations)

    def report(self) -> str:
        """The first few of each kind, for people; empty if there are none."""
        lines = []
        for kind, texts in self.violations.items():
            lines.append(f"{kind}: {len(texts)}")
            lines += [f"  {text}" for text in texts[:SHOWN]]
        return "\n".join(lines)


@contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, whether a service runs on the database or was killed on it."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        yield connection


def wait_at_rest(database: Path, seconds: float) -> None:
    """Wait until every event has ended and every record was delivered. Raises TooLateError."""
    never = threading.Event()
    with reading(database) as connection:

        def is_at_rest() -> bool:
            (waiting,) = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM events WHERE state = 'queued') "
                "OR EXISTS (SELECT 1 FROM events WHERE state = 'running') OR EXISTS (SELECT 1 FROM deliveries)"
            ).fetchone()
            # The service has better use for the processor than these questions.
            return not waiting or never.wait(LOOK_SECONDS)

        until(is_at_rest, "every event and record ends", seconds)


@dataclass(frozen=True)
class Remains:
    """What a killed service has left: the ids of events that it ran, how many were queued, and how many of all these
    are for workers.
    """

    running: tuple[str, ...]
    queued: int
    of_workers: int


def remains(database: Path) -> Remains:
    """Look at what a killed service has left."""
    with reading(database) as connection:
        running = connection.execute("SELECT request_id FROM events WHERE state = 'running'").fetchall()
        (queued,) = connection.execute("SELECT count(*) FROM events WHERE state = 'queued'").fetchone()
        (of_workers,) = connection.execute(
            "SELECT count(*) FROM events WHERE state IN ('queued', 'running') AND function_name <> ?", (DESTINATION,)
        ).fetchone()
    return Remains(tuple(request_id for (request_id,) in running), queued, of_workers)


def stored_events(connection: sqlite3.Connection) -> Iterator[StoredEvent]:
    """Every event with its history, in the order in which they were accepted."""
    owed = dict(connection.execute("SELECT event_id, count(*) FROM deliveries GROUP BY 1").fetchall())
    history: dict[int, list[tuple[int, str, str, float]]] = defaultdict(list)
    for event_id, *line in connection.execute(
        "SELECT event_id, number, kind, detail, wall FROM event_history ORDER BY event_id, number"
    ):
        history[event_id].append(tuple(line))
    for event_id, request_id, function, state, attempts in connection.execute(
        "SELECT id, request_id, function_name, state, attempts FROM events ORDER BY id"
    ):
        lines = history[event_id]
        numbers = [number for number, *_ in lines]
        yield StoredEvent(
            event_id,
            request_id,
            function,
            state,
            attempts,
            # A gap in the numbers is shown as a line that no history may have.
            tuple(kind for _, kind, _, _ in lines) if numbers == list(range(1, len(lines) + 1)) else ("gap",),
            tuple(json.loads(detail) if detail else {} for _, _, detail, _ in lines),
            tuple(wall for *_, wall in lines),
            owed.get(event_id, 0),
        )


def check(files: Files, deaths: Iterable[Remains] = (), *, destined: bool = True) -> Findings:
    """Everything that must hold when all has come to rest. ``deaths`` is what each kill has left."""
    findings = Findings()
    with reading(files.database) as connection:
        (sound,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if sound != "ok":
            findings.add(DAMAGED, sound)
        events = list(stored_events(connection))
    by_request: dict[str, StoredEvent] = {}
    for event in events:
        if event.request_id in by_request:
            findings.add(TERMINAL, f"{event.request_id} is stored twice")
        by_request[event.request_id] = event
    acknowledged = files.acknowledged()
    for told in acknowledged:
        if told.request_id not in by_request:
            findings.add(
                LOST, f"event {told.number} ({told.request_id}, {told.kind}) was acknowledged and is not there"
            )
    for event in events:
        _check_history(findings, event)
    _check_runs(findings, files, by_request, list(deaths))
    if destined:
        _check_destined(findings, events, files.all_arrived())
    findings.figures |= _figures(files, events, len(acknowledged))
    return findings


def _check_history(findings: Findings, event: StoredEvent) -> None:
    name = f"event {event.event_id} of {event.function} ({event.request_id})"
    shape = HISTORIES.get(event.state)
    if shape is None:
        findings.add(TERMINAL, f"{name} has not ended: {event.state}, {event.letters}")
    elif event.letters.count("o") + event.letters.count("f") != 1:
        findings.add(TERMINAL, f"{name} has more or less than one end: {event.letters}")
    elif shape.fullmatch(event.letters) is None:
        findings.add(HISTORY, f"{name} is {event.state}, its history {event.letters}")
    if event.owed:
        findings.add(DESTINED, f"{name} is still owed {event.owed} deliveries")
    if list(event.walls) != sorted(event.walls):
        findings.add(HISTORY, f"{name} has a history that goes back in time: {event.walls}")


def _check_runs(findings: Findings, files: Files, by_request: dict[str, StoredEvent], deaths: list[Remains]) -> None:
    """Each run was claimed before, what ran once too often was running at a kill, and each ended as it had to."""
    kind_of = {run.request_id: run.kind for run in files.all_runs() if run.kind != SYNCHRONOUS}
    runs = Counter(run.request_id for run in files.all_runs() if run.kind != SYNCHRONOUS)
    running = Counter(request_id for death in deaths for request_id in death.running)
    for request_id, event in by_request.items():
        name = f"event {event.event_id} ({request_id}, {kind_of.get(request_id)})"
        if event.function != DESTINATION and runs[request_id] > event.kinds.count("started"):
            findings.add(EXTRA_RUNS, f"{name} ran {runs[request_id]} times: {event.letters}")
        if event.interruptions > running[request_id]:
            findings.add(EXTRA_RUNS, f"{name} was running at {running[request_id]} kills: {event.letters}")
        if event.function != DESTINATION and runs[request_id]:
            _check_outcome(findings, name, kind_of[request_id], event, runs[request_id])
    for request_id in runs.keys() - by_request.keys():
        findings.add(LOST, f"{request_id} ran and is not there")


def _check_outcome(findings: Findings, name: str, kind: str, event: StoredEvent, runs: int) -> None:
    errors = [
        detail.get("errorMessage", "")
        for line, detail in zip(event.kinds, event.details, strict=False)
        if line == "error"
    ]
    # On a busy machine any function may take longer than its time.
    planned = [text for text in errors if TIMED_OUT not in text]
    tries = ATTEMPTS[event.function]
    if kind in (FAILS, HANGS):
        correct = event.state == "failed" and len(errors) == event.attempts == tries <= runs
        correct = correct and (kind == FAILS or not planned)
    elif kind == FAILS_ONCE:
        correct = (event.state == "succeeded" or len(planned) < len(errors)) and len(planned) <= 1 and runs >= 1
    else:
        correct = (event.state == "succeeded" or len(errors) == tries) and not planned
    if not correct:
        findings.add(OUTCOME, f"{name} is {event.state} after {errors} and {runs} runs: {event.letters}")


def _check_destined(findings: Findings, events: list[StoredEvent], arrived: Counter[str]) -> None:
    for event in events:
        name = f"event {event.event_id} of {event.function} ({event.request_id})"
        if event.function == DESTINATION:
            if event.state == "failed":
                findings.add(DESTINED, f"{name}, which is a record, was not taken: {event.details}")
            continue
        if event.state == "failed" and (arrived[event.request_id] == 0 or "delivered" not in event.kinds):
            findings.add(DESTINED, f"{name} failed; {arrived[event.request_id]} records arrived: {event.letters}")
        if event.state == "succeeded" and arrived[event.request_id]:
            findings.add(DESTINED, f"{name} succeeded, and a record of its failure arrived")


def _figures(files: Files, events: list[StoredEvent], acknowledged: int) -> dict[str, Any]:
    states = Counter(event.state for event in events if event.function != DESTINATION)
    own = [event for event in events if event.function != DESTINATION]
    arrived = files.all_arrived()
    return {
        "acknowledged": acknowledged,
        "stored, not acknowledged": len(own) - acknowledged,
        **{f"{state}": count for state, count in sorted(states.items())},
        "runs": len(files.all_runs()),
        "interrupted": sum(event.interruptions for event in events),
        "records at the destination": len(arrived),
        "of these more than once": sum(count > 1 for count in arrived.values()),
    }
