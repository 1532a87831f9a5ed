"""Call a Lambda function at a constant rate, and show how long its answers took.

Calls start when they are planned, whether earlier ones have been answered or not, and a latency counts from the planned
start: a service that stalls for a second is seen by all the calls of that second, not by one. README.md says more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from venturekit.client import (
    AsyncLambdaClient,
    LambdaClientError,
    LambdaInvocationError,
    LambdaServiceException,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSED, TOO_MANY_ERRORS, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 130
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
SHORTEST_SECONDS = 10e-6
STEP = math.log(1.02)
TIMER_SECONDS = 0.002
"""Event loops wake up a millisecond late; what is later than this is the fault of the load."""
REFRESH_SECONDS = 0.5
MOST_KINDS = 20
BAR_WIDTH = 40


class Latencies:
    """How long calls took, in buckets 2 % wide: percentiles are as exact as that, and memory does not grow."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._total = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        self._total += seconds
        self._buckets[int(math.log(max(seconds, SHORTEST_SECONDS) / SHORTEST_SECONDS) / STEP)] += 1

    @property
    def mean(self) -> float:
        """Seconds."""
        return self._total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The seconds that so many percent of the calls took at most."""
        wanted = math.ceil(self.count * percent / 100)
        for bucket, count in sorted(self._buckets.items()):
            wanted -= count
            if wanted <= 0:
                return min(SHORTEST_SECONDS * math.exp((bucket + 1) * STEP), self.longest)
        return 0.0

    def rows(self, most: int = 16) -> Iterator[tuple[float, int]]:
        """The histogram: up to how many seconds, and how many calls; each row as wide as the others by its factor."""
        if not self.count:
            return
        first, last = min(self._buckets), max(self._buckets)
        width = max(math.ceil((last - first + 1) / most), 1)
        for start in range(first, last + 1, width):
            count = sum(self._buckets[bucket] for bucket in range(start, start + width))
            yield SHORTEST_SECONDS * math.exp((start + width) * STEP), count


@dataclass
class Load:
    """What is to be done, and what has come of it."""

    function: str
    payload: bytes
    calls_per_second: float
    duration_seconds: float
    concurrency: int
    timeout_seconds: float
    error_limit_percent: float
    planned: int = field(init=False)
    begun: float = 0.0
    ended: float = 0.0
    taken: int = 0
    in_flight: int = 0
    started_late: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)

    def __post_init__(self) -> None:
        self.planned = max(round(self.calls_per_second * self.duration_seconds), 1)

    @property
    def failed(self) -> int:
        """How many were answered by an error, or not at all."""
        return self.errors.total()

    @property
    def done(self) -> int:
        """How many are over."""
        return self.latencies.count + self.failed

    @property
    def not_started(self) -> int:
        """How many there was no time for."""
        return self.planned - self.taken

    @property
    def error_percent(self) -> float:
        """Of the planned calls, the part that failed or was not started."""
        return 100 * (self.failed + self.not_started) / max(self.planned, 1)

    def take(self) -> float | None:
        """When the next call is to start; None: there is none, or the service is so late that it makes no sense."""
        if self.taken >= self.planned or time.monotonic() > self.begun + self.duration_seconds + self.timeout_seconds:
            return None
        self.taken += 1
        return self.begun + (self.taken - 1) / self.calls_per_second

    def note_failure(self, error: Exception) -> None:
        """Count an error by its kind."""
        kind = kind_of(error)
        # Functions may raise a new kind each time.
        self.errors[kind if kind in self.errors or len(self.errors) < MOST_KINDS else "other"] += 1


def kind_of(error: Exception) -> str:
    """What an error is counted as."""
    if isinstance(error, LambdaInvocationError):
        return f"function: {error.error_type or error.function_error}"
    if isinstance(error, LambdaServiceException):
        return error.code
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__


async def call_one_after_the_other(client: AsyncLambdaClient, load: Load) -> None:
    """One of several that share the calls: whoever is free takes the next one and waits for its time."""
    while (planned := load.take()) is not None:
        await asyncio.sleep(planned - time.monotonic())
        started = time.monotonic()
        if started - planned > TIMER_SECONDS:
            load.started_late += 1
        else:
            planned = started
        load.in_flight += 1
        try:
            async with asyncio.timeout(load.timeout_seconds):
                await client.invoke(load.function, load.payload)
            load.latencies.add(time.monotonic() - planned)
        except (LambdaClientError, TimeoutError) as error:
            load.note_failure(error)
        finally:
            load.in_flight -= 1


async def show(load: Load, screen: Live) -> None:
    """Draw how far it is, now and then: drawing takes time from the calls."""
    while True:
        screen.update(picture(load), refresh=True)
        await asyncio.sleep(REFRESH_SECONDS)


async def run(load: Load, console: Console) -> None:
    """All of it. Raises LambdaClientError if the function cannot be called at all."""
    # Retries would hide errors, and add load to what is planned.
    async with AsyncLambdaClient(max_attempts=1, max_connections=load.concurrency) as client:
        await client.invoke(load.function, load.payload, invocation_type="DryRun")
        load.begun = time.monotonic()
        with Live(console=console, auto_refresh=False, transient=True) as screen:
            showing = asyncio.create_task(show(load, screen)) if console.is_terminal else None
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(load.concurrency, load.planned)):
                        group.create_task(call_one_after_the_other(client, load))
            finally:
                load.ended = time.monotonic()
                if showing is not None:
                    showing.cancel()
                    with suppress(asyncio.CancelledError):
                        await showing


def picture(load: Load) -> Group:
    """What is shown meanwhile."""
    seconds = time.monotonic() - load.begun
    table = Table.grid(padding=(0, 2))
    table.add_row("rate", f"{load.done / seconds:.0f}/s of {load.calls_per_second:g}/s" if seconds > 0 else "")
    table.add_row("in flight", f"{load.in_flight} of {load.concurrency}")
    table.add_row("late", str(load.started_late))
    table.add_row("latency", "  ".join(f"p{p:g} {shown(load.latencies.percentile(p))}" for p in PERCENTILES[:3]))
    table.add_row("errors", listed(load) or "none")
    bar = Table.grid(padding=(0, 2))
    bar.add_row(ProgressBar(load.planned, load.done, width=BAR_WIDTH), f"{load.done} of {load.planned} calls")
    return Group(bar, table)


def listed(load: Load) -> Text:
    """The errors by their kinds; of what a function has said nothing is taken for markup."""
    return Text(", ".join(f"{count} x {kind}" for kind, count in load.errors.most_common()))


def shown(seconds: float) -> str:
    """A latency for people."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def report(load: Load, console: Console) -> None:
    """The outcome for people."""
    if load.latencies.count:
        console.print(histogram(load))
        figures = [f"p{percent:g} {shown(load.latencies.percentile(percent))}" for percent in PERCENTILES]
        console.print(f"{'  '.join(figures)}  longest {shown(load.latencies.longest)}")
    took = load.ended - load.begun
    console.print(f"{load.done} calls in {took:.1f} s, {load.done / took:.0f}/s; {load.started_late} started late")
    if load.not_started:
        console.print(f"{load.not_started} were not started: there was no time for them")
    console.print(Text.assemble(f"errors: {load.error_percent:.2f} %", "  " if load.errors else "", listed(load)))


def histogram(load: Load) -> Table:
    """How many answers took how long."""
    total, rows = load.latencies.count, list(load.latencies.rows())
    most = max(count for _, count in rows)
    table = Table(title=f"{load.function}: {total} answers", title_justify="left", box=None, show_header=False)
    for justify in ("right", "left", "right", "right"):
        table.add_column(justify=justify)
    for seconds, count in rows:
        bar = "█" * math.ceil(count / most * BAR_WIDTH)
        table.add_row(f"up to {shown(seconds)}", bar, str(count), f"{100 * count / total:.1f} %")
    return table


def document(load: Load) -> dict[str, Any]:
    """The outcome for programs."""
    latencies, took = load.latencies, load.ended - load.begun
    figures = {f"p{percent:g}": latencies.percentile(percent) for percent in PERCENTILES}
    figures |= {"mean": latencies.mean, "longest": latencies.longest}
    return {
        "function": load.function,
        "planned": load.planned,
        "succeeded": latencies.count,
        "failed": load.failed,
        "not_started": load.not_started,
        "started_late": load.started_late,
        "errors": dict(load.errors.most_common()),
        "error_percent": round(load.error_percent, 3),
        "seconds": round(took, 3),
        "calls_per_second": round(load.done / took, 1),
        "latency_ms": {name: round(seconds * 1000, 3) for name, seconds in figures.items()},
    }


def read_arguments(arguments: list[str] | None) -> tuple[Load, bool]:
    """The load, and whether its outcome is wanted as JSON. Exits with 2 for what is no load."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("function", metavar="FUNCTION", help="a name, name:alias or ARN")
    parser.add_argument("--rate", type=positive, default=300.0, metavar="N", help="calls per second (300)")
    parser.add_argument("--duration", type=positive, default=30.0, metavar="SECONDS", help="how long (30)")
    parser.add_argument("--payload", default="{}", metavar="JSON", help="the event, or @FILE ({})")
    parser.add_argument("--concurrency", type=whole, default=100, metavar="N", help="calls at once, at most (100)")
    parser.add_argument("--timeout", type=positive, default=30.0, metavar="SECONDS", help="of one call (30)")
    parser.add_argument("--error-limit", type=percent, default=1.0, metavar="PERCENT", help="more is a failure (1)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, and show nothing else")
    given = parser.parse_args(arguments)
    try:
        text = Path(given.payload[1:]).read_text(encoding="utf-8") if given.payload[:1] == "@" else given.payload
        json.loads(text)
    except (OSError, ValueError) as problem:
        parser.error(f"--payload: {problem}")
    load = Load(
        given.function, text.encode(), given.rate, given.duration, given.concurrency, given.timeout, given.error_limit
    )
    return load, given.json


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def whole(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def percent(text: str) -> float:
    """A number from 0 to 100."""
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 100")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; 1 more errors than the limit; 2 it cannot be run; 130 interrupted."""
    load, is_json = read_arguments(arguments)
    console, screen = Console(highlight=False), Console(stderr=True, highlight=False, quiet=is_json)
    is_interrupted = False
    try:
        asyncio.run(run(load, screen))
    except KeyboardInterrupt:
        is_interrupted = True
        load.planned = load.taken
    except LambdaClientError as problem:
        sys.stderr.write(f"{load.function} cannot be called: {problem}\n")
        return CANNOT_RUN
    if not load.ended:
        return INTERRUPTED
    if is_json:
        sys.stdout.write(json.dumps(document(load), indent=2) + "\n")
    else:
        report(load, console)
    if is_interrupted:
        return INTERRUPTED
    return TOO_MANY_ERRORS if load.error_percent > load.error_limit_percent else PASSED


if __name__ == "__main__":
    sys.exit(main())
