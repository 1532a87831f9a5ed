"""Kills a service again and again while events flow, then checks what was promised.

The same seed gives the same events and the same moments of the kills; a busy machine may be elsewhere by then.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.reliability.serving import VK
from tests.reliability.stage import Stage
from tests.reliability.workload import SHARES, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.reliability.checker import Findings

START_KILLS: Final = 0.1
"""The share of kills that come while the service starts."""
LONGEST_START_SECONDS: Final = 0.6
LONGEST_DELAY_SECONDS: Final = 0.25
LONG_LIVES: Final = 0.15
"""The share of lives in which there is time for more than a beginning."""
LONGEST_LIFE_SECONDS: Final = 2.5


@dataclass(frozen=True)
class Death:
    """When a life is to end: so many seconds after its start, or after so many acknowledged events of it."""

    at_start: bool
    seconds: float
    acknowledged: int


@dataclass
class Campaign:
    """A service that is killed ``kills`` times while ``events`` flow.

    ``program`` is what serves, ``say`` is told about each kill, ``rest_seconds`` is how long the end of all events may
    take after the last kill. ``prepared``: see :class:`Stage`.
    """

    files: Files
    seed: int
    kills: int
    events: int
    program: Sequence[str] = VK
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)
    rest_seconds: float = 60.0
    say: Callable[[str], None] = print
    prepared: Path | None = None

    def run(self) -> Findings:
        """Carry it out."""
        draw = random.Random(self.seed)
        began = time.monotonic()
        self.say(f"seed {self.seed}: {self.events} events, {self.kills} kills")
        with Stage(self.files, seed=self.seed, shares=self.shares, prepared=self.prepared) as stage:
            for number in range(self.kills):
                share = max(1, (self.events - stage.ledger.count) // (self.kills - number + 1))
                death = _draw(draw, share)
                self._live(stage, share, death)
                told = _told(death, stage)
                self.say(f"kill {number + 1} at {time.monotonic() - began:.2f} s: {told}")
            left = max(1, self.events - stage.ledger.count)
            findings = stage.rest(left, program=self.program, seconds=self.rest_seconds)
        findings.figures |= {"kills": self.kills, "seconds": round(time.monotonic() - began, 1)}
        return findings

    def _live(self, stage: Stage, share: int, death: Death) -> None:
        before, never = stage.ledger.count, threading.Event()
        with stage.life(self.program) as (running, _):
            if death.at_start:
                never.wait(death.seconds)
                return
            running.wait_ready()
            with stage.flow(running, share):
                stage.wait_acknowledged(before + death.acknowledged)
                never.wait(death.seconds)
                running.kill()


def _draw(draw: random.Random, share: int) -> Death:
    at_start = draw.random() < START_KILLS
    is_long = draw.random() < LONG_LIVES
    longest = LONGEST_LIFE_SECONDS if is_long else LONGEST_DELAY_SECONDS
    seconds = draw.uniform(0.0, LONGEST_START_SECONDS if at_start else longest)
    return Death(at_start, seconds, draw.randint(1, share))


def _told(death: Death, stage: Stage) -> str:
    left = stage.lives[-1].left
    assert left is not None
    where = "while it started" if death.at_start else f"after {death.acknowledged} acknowledged events"
    return (
        f"{where} + {death.seconds:.3f} s; {stage.ledger.count} acknowledged in all, {len(left.running)} running, "
        f"{left.queued} queued"
    )
