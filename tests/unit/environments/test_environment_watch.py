"""The one timer of all deadlines, with a manual clock and stand-in environments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments.ports import EnvironmentSpec
from venturekit.service.environments.watch import CLOSE_SECONDS, USUAL_SECONDS, Watch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(eq=False)
class Timer:
    at: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    @property
    def pending(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]

    def run_next(self) -> None:
        timer = min(self.pending, key=lambda each: each.at)
        self.timers.remove(timer)
        self.now = timer.at
        timer.callback()


@dataclass(eq=False)
class Watched:
    """As much of an environment as the watch sees."""

    clock: Clock
    deadline: float
    used_bytes: int = 0
    limit_mb: int = 128
    ended_at: float | None = None
    samples: list[float] = field(default_factory=list)
    on_end: Callable[[], None] = lambda: None

    @property
    def spec(self) -> EnvironmentSpec:
        spec = EnvironmentSpec.__new__(EnvironmentSpec)
        object.__setattr__(spec, "memory_size_mb", self.limit_mb)
        return spec

    def out_of_time(self) -> None:
        self.ended_at = self.clock.now
        self.on_end()

    def sample_memory(self, now: float) -> int:
        self.samples.append(now)
        return self.used_bytes


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(clock.call_later, lambda: clock.now)


def test_a_deadline_is_met_exactly(clock: Clock, watch: Watch) -> None:
    environment = Watched(clock, 1.05)
    watch.busy(environment)  # type: ignore[arg-type]
    while environment.ended_at is None:
        clock.run_next()
    assert environment.ended_at == pytest.approx(1.05)
    assert environment.samples == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_environments_that_rest_are_left_alone(clock: Clock, watch: Watch) -> None:
    environment = Watched(clock, 0.1)
    watch.busy(environment)  # type: ignore[arg-type]
    watch.busy(environment)  # type: ignore[arg-type]
    watch.rest(environment)  # type: ignore[arg-type]
    watch.rest(environment)  # type: ignore[arg-type]
    clock.run_next()
    assert environment.ended_at is None
    assert clock.pending == []
    watch.busy(environment)  # type: ignore[arg-type]
    clock.run_next()
    assert environment.ended_at is not None


@pytest.mark.parametrize(
    ("used_mb", "following"), [(0, USUAL_SECONDS), (64, USUAL_SECONDS), (65, CLOSE_SECONDS), (500, CLOSE_SECONDS)]
)
def test_memory_near_its_limit_is_looked_at_often(clock: Clock, watch: Watch, used_mb: int, following: float) -> None:
    watch.busy(Watched(clock, 100.0))  # type: ignore[arg-type]
    watch.busy(Watched(clock, 100.0, used_bytes=used_mb * 1024 * 1024))  # type: ignore[arg-type]
    assert watch.look(0.0) == following


def test_the_next_look_is_at_the_earliest_deadline(clock: Clock, watch: Watch) -> None:
    for deadline in (5.0, 0.15, 0.17):
        watch.busy(Watched(clock, deadline))  # type: ignore[arg-type]
    assert watch.look(0.0) == 0.15


def test_there_is_never_more_than_one_timer(clock: Clock, watch: Watch) -> None:
    def next_one() -> None:
        watch.rest(environment)  # type: ignore[arg-type]
        watch.busy(Watched(clock, clock.now + 100.0))  # type: ignore[arg-type]

    for _ in range(5):
        environment = Watched(clock, clock.now + 0.1, on_end=next_one)
        watch.busy(environment)  # type: ignore[arg-type]
        while environment.ended_at is None:
            clock.run_next()
        assert len(clock.pending) == 1
    watch.close()
    assert clock.pending == []
    watch.close()


def test_what_leaves_while_others_end_is_no_trouble(clock: Clock, watch: Watch) -> None:
    ended: list[Watched] = []

    def both() -> None:
        ended.extend(watch.environments)  # type: ignore[arg-type]
        watch.environments.clear()

    for _ in range(2):
        watch.busy(Watched(clock, 0.1, on_end=both))  # type: ignore[arg-type]
    clock.run_next()
    assert len(ended) == 2
    assert clock.pending == []
