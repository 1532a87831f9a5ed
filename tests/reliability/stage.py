"""A data directory, clients and functions that outlive one service after the other, until everything has come to rest.

Lives of the service end as the caller wants: killed, by themselves, or in order.
"""

from __future__ import annotations

import shutil
import statistics
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from tests.reliability import checker, workload
from tests.reliability.clients import Flow, Ledger
from tests.reliability.serving import VK, ServedProcess
from tests.service.harness import TooLateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.reliability.checker import Findings, Remains

FIRST_RUN_SECONDS: Final = 2.0
JUDGED_STARTS: Final = 4
ACKNOWLEDGE_SECONDS: Final = 60.0
CLIENTS: Final = 8


@dataclass
class Life:
    """From one start of the service to its end. Times in monotonic seconds; ``waiting`` is how many events waited
    for a worker."""

    began: float
    waiting: int
    ready: float | None = None
    ended: float = 0.0
    left: Remains | None = None


class Stage:
    """What is the same in all lives. ``shares`` are those of the events that do not simply succeed, ``on_failure``
    is the ARN where the records of some go instead of to a function. ``prepared`` is a data directory that has the
    functions already.

    Use it as a context: it ends the service and the clients.
    """

    def __init__(
        self,
        files: workload.Files,
        *,
        seed: int = 0,
        shares: Mapping[str, float] = workload.SHARES,
        options: Sequence[str] = workload.OPTIONS,
        clients: int = CLIENTS,
        on_failure: str = "",
        prepared: Path | None = None,
    ) -> None:
        self.files = files
        self.ledger = Ledger(files.ledger)
        self.lives: list[Life] = []
        self._plan = workload.Plan(seed, shares)
        self._options = options
        self._clients = clients
        self._on_failure = on_failure
        self._prepared = prepared

    def __enter__(self) -> Self:
        if self._prepared is None:
            with self.serve() as running:
                workload.create_functions(running.functions, self._on_failure)
        else:
            shutil.copytree(self._prepared, self.files.data_dir, symlinks=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    def serve(self, *options: str, program: Sequence[str] = VK, **more: Any) -> ServedProcess:
        """A service on the data directory."""
        return ServedProcess(self.files.data_dir, *self._options, *options, program=program, **more)

    @contextmanager
    def life(self, program: Sequence[str] = VK, **more: Any) -> Iterator[tuple[ServedProcess, Life]]:
        """One life, which the caller ends; if not, it is killed. What it has left is looked at then."""
        former = self.lives[-1].left if self.lives else None
        life = Life(time.monotonic(), 0 if former is None else former.of_workers)
        self.lives.append(life)
        running = self.serve(program=program, **more)
        try:
            yield running, life
        finally:
            running.kill()
            life.ready, life.ended = running.ready_at, time.monotonic()
        life.left = checker.remains(self.files.database)

    @contextmanager
    def flow(self, running: ServedProcess, count: int) -> Iterator[Flow]:
        """Clients that send the next ``count`` events until the service ends. Other answers than 202 are a failure."""
        flow = Flow(running.url, self._plan.share(count), self.ledger, self._clients)
        try:
            yield flow
        finally:
            flow.join()
        assert not flow.refused, flow.refused[:3]

    def wait_acknowledged(self, count: int) -> None:
        """Wait until so many events were acknowledged in all."""
        assert self.ledger.wait_for(count, ACKNOWLEDGE_SECONDS), f"{self.ledger.count} of {count} acknowledged"

    def rest(self, count: int = 0, *, program: Sequence[str] = VK, seconds: float = 60.0) -> Findings:
        """The last life: ``count`` more events are accepted and everything ends. Then all is checked.

        What has not come to rest after ``seconds`` is among the findings.
        """
        with self.life(program) as (running, _):
            running.wait_ready()
            told = self.ledger.count
            with self.flow(running, count):
                self.wait_acknowledged(told + count)
            with suppress(TooLateError):
                checker.wait_at_rest(self.files.database, seconds)
            running.end()
        findings = checker.check(self.files, [life.left for life in self.lives if life.left is not None])
        self._check_first_runs(findings)
        return findings

    def _check_first_runs(self, findings: Findings) -> None:
        """What waited at a restart is run soon after it."""
        runs = sorted(run.at for run in self.files.all_runs())
        since_start, since_ready = [], []
        for life in self.lives:
            if not life.waiting or life.ready is None:
                continue
            first = next((at for at in runs if life.began <= at <= life.ended), None)
            if first is not None:
                since_start.append(first - life.began)
                since_ready.append(first - life.ready)
            elif life.ended - life.ready > FIRST_RUN_SECONDS:
                findings.add(checker.LATE, f"a service with {life.waiting} events waiting ran none in its life")
        # A few starts may be slow because the machine has other things to do.
        if len(since_start) >= JUDGED_STARTS and statistics.median(since_start) > FIRST_RUN_SECONDS:
            findings.add(checker.LATE, f"the first event ran so many seconds after the restarts: {since_start}")
        for delay in since_ready:
            if delay > FIRST_RUN_SECONDS:
                findings.add(checker.LATE, f"the first event ran {delay:.2f} s after the service was ready")
        starts = [life.ready - life.began for life in self.lives if life.ready is not None]
        findings.figures["running at a kill"] = sum(len(life.left.running) for life in self.lives if life.left)
        findings.figures["longest start (s)"] = round(max(starts, default=0.0), 2)
        findings.figures["first run after a restart, median (s)"] = round(statistics.median(since_start or [0.0]), 2)
        findings.figures["first run after a restart, longest (s)"] = round(max(since_start, default=0.0), 2)
