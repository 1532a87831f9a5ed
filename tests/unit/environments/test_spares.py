"""Which Node.js processes wait, and when they are started. Its launcher starts none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments.launcher import LauncherError, LaunchSpec
from venturekit.service.environments.spares import (
    DELAY_SECONDS,
    KEPT_SECONDS,
    NEXT_DELAY_SECONDS,
    RUSH_SECONDS,
    Spares,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

A, B, C = ("node", "a"), ("node", "b"), ("node", "c")


@dataclass
class Timer:
    at: float
    work: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Bench:
    """Loop, clock and launcher in one. ``launched`` are the command lines in their order."""

    now: float = 1000.0
    starting: bool = False
    broken: bool = False
    timers: list[Timer] = field(default_factory=list)
    launched: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    identities: list[int] = field(default_factory=list)

    def call_later(self, delay: float, work: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + delay, work))
        return self.timers[-1]

    def launch(self, spec: LaunchSpec, output: int, log: int, identity: int) -> None:
        assert output == log
        if self.broken:
            raise LauncherError("broken")
        assert spec.argv[-1] == "wait"
        self.launched.append(tuple(spec.argv[:-1]))
        self.numbers.append(spec.id)
        self.identities.append(os.dup(identity))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= end and not timer.cancelled]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.work()
        self.now = end

    def started(self, spares: Spares) -> list[tuple[str, ...]]:
        return [spare.argv for spare in spares.waiting]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for descriptor in made.identities:
        os.close(descriptor)


@pytest.fixture
def spares(bench: Bench) -> Iterator[Spares]:
    before = len(os.listdir("/proc/self/fd"))
    parts: Any = bench
    made = Spares(lambda: parts, iter(range(1, 100)).__next__, parts, lambda: bench.now, lambda: bench.starting)
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) == before + len(bench.identities)


def test_one_waits_soon_after_it_was_wanted(bench: Bench, spares: Spares) -> None:
    spares.want(A)
    assert bench.started(spares) == []
    bench.run(DELAY_SECONDS)
    assert bench.started(spares) == [A]
    spares.started(bench.numbers[0], 77)
    assert spares.waiting[0].pid == 77
    assert spares.take(B) is None
    taken = spares.take(A)
    assert taken is not None
    assert (taken.pid, bench.started(spares)) == (77, [])
    taken.close()


def test_wanted_again_and_again_it_is_one(bench: Bench, spares: Spares) -> None:
    for _ in range(5):
        spares.want(A)
        bench.run(DELAY_SECONDS / 2)
    bench.run(10)
    assert bench.launched == [A]


def test_none_is_started_while_functions_start_on_all_processors(bench: Bench, spares: Spares) -> None:
    bench.starting = True
    spares.want(A)
    bench.run(10)
    assert bench.launched == []
    bench.starting = False
    spares.refill()
    bench.run(DELAY_SECONDS)
    assert bench.launched == [A]


def test_two_command_lines_have_one_each(bench: Bench, spares: Spares) -> None:
    spares.want(A)
    spares.want(B)
    bench.run(DELAY_SECONDS)
    assert bench.launched == [B]
    bench.run(NEXT_DELAY_SECONDS)
    assert bench.launched == [B, A]
    spares.want(C)
    bench.run(DELAY_SECONDS)
    assert sorted(bench.started(spares)) == [B, C]


def test_one_more_waits_after_a_rush(bench: Bench, spares: Spares) -> None:
    def start() -> bool:
        spares.want(A)
        spare = spares.take(A)
        if spare is not None:
            spare.close()
        return spare is not None

    spares.want(A)
    bench.run(DELAY_SECONDS)
    assert start()
    bench.run(RUSH_SECONDS)
    assert start()  # one at a time: one is enough
    assert not start()
    bench.run(DELAY_SECONDS + NEXT_DELAY_SECONDS)
    assert bench.started(spares) == [A, A]
    assert start()
    assert start()
    bench.run(KEPT_SECONDS)
    spares.want(A)
    spares.sweep()
    assert bench.started(spares) == [A]


def test_a_miss_without_a_rush_is_none(bench: Bench, spares: Spares) -> None:
    spares.want(A)
    assert spares.take(A) is None
    bench.run(10)
    assert bench.started(spares) == [A]


def test_what_nobody_wants_any_more_goes(bench: Bench, spares: Spares) -> None:
    spares.want(A)
    bench.run(DELAY_SECONDS)
    bench.run(KEPT_SECONDS - 1)
    spares.sweep()
    assert bench.started(spares) == [A]
    bench.run(2)
    spares.sweep()
    assert bench.started(spares) == []
    assert os.read(bench.identities[0], 1) == b""  # which ends it
    spares.refill()
    bench.run(10)
    assert bench.launched == [A]


def test_one_that_has_ended_is_replaced_when_it_is_wanted(bench: Bench, spares: Spares) -> None:
    spares.want(A)
    bench.run(DELAY_SECONDS)
    spares.ended(bench.numbers[0])
    bench.run(10)
    assert bench.started(spares) == []
    spares.want(A)
    bench.run(DELAY_SECONDS)
    assert bench.launched == [A, A]


def test_a_launcher_that_is_broken_is_asked_again(
    bench: Bench, spares: Spares, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broken = True
    spares.want(A)
    bench.run(10)
    assert "no process of Node.js could be started beforehand: broken" in caplog.text
    bench.broken = False
    spares.want(A)
    bench.run(DELAY_SECONDS)
    assert bench.started(spares) == [A]


def test_nothing_is_started_once_closed(bench: Bench, spares: Spares) -> None:
    spares.want(A)
    spares.close()
    spares.want(A)
    bench.run(10)
    assert bench.launched == []


@pytest.mark.parametrize(("size", "told"), [(100, True), (59_000, True), (61_000, False)])
def test_who_it_is_goes_in_one_write(bench: Bench, spares: Spares, size: int, told: bool) -> None:
    spares.want(A)
    bench.run(DELAY_SECONDS)
    spare = spares.take(A)
    assert spare is not None
    assert spare.become({"X": "x" * size}, "/") is told
    spare.close()
    assert len(os.read(bench.identities[0], 100_000)) == (size + 34 if told else 0)
