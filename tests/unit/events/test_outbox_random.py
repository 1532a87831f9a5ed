"""Whatever targets do, and whenever the service ends: all that is owed arrives in the end, and nothing else does."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.events.outbox_support import OTHER, QUEUE, Lab, play
from venturekit.service.events.delivery_errors import MessageRefusedError, TargetFailedError
from venturekit.service.store.errors import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from venturekit.service.store.outbox import OwedMessage

TARGETS = (QUEUE, OTHER)
OUTCOMES = st.sampled_from(["taken", "taken", "refused", "failed", "faulty", "not settled"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("owe"), st.sampled_from(TARGETS), st.integers(1, 12)),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 1.0, 3.0, 60.0, 300.0])),
        st.tuples(st.just("due"), st.just(0)),
        st.tuples(st.just("obstacle"), st.sampled_from(TARGETS)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=12,
)


class Fate:
    """What happens to each attempt, one after the other; then all goes well."""

    def __init__(self, outcomes: list[str]) -> None:
        self._outcomes: Iterator[str] = iter(outcomes)
        self.sent: Counter[str] = Counter()
        self.owed: Counter[str] = Counter()
        self.calm = False

    def install(self, lab: Lab) -> None:
        """Let a lab's targets and store behave so."""
        real = lab.deliveries.delivered
        unsettled: set[str] = set()

        def answer(message: OwedMessage) -> None:
            body = message.body.decode()
            match "taken" if self.calm else next(self._outcomes, "taken"):
                case "refused":
                    raise MessageRefusedError("refused")
                case "failed":
                    raise TargetFailedError("failed")
                case "faulty":
                    raise ZeroDivisionError
                case "not settled":
                    unsettled.add(body)
            self.sent[body] += 1

        async def delivered(*arguments: Any) -> bool:
            if unsettled and not self.calm:
                unsettled.pop()
                raise StoreFullError("the disk is full")
            return await real(*arguments)

        lab.deliveries.delivered = delivered  # type: ignore[method-assign]
        for target in TARGETS:
            lab.senders.answers[target] = answer


@given(outcomes=st.lists(OUTCOMES, max_size=60), steps=STEPS)
@settings(deadline=None, max_examples=60)
def test_everything_arrives_in_the_end(outcomes: list[str], steps: list[tuple[Any, ...]]) -> None:
    fate = Fate(outcomes)

    async def part(lab: Lab) -> None:
        """Up to the next restart."""
        fate.install(lab)
        await lab.outbox.start()
        await lab.quiet()
        while steps:
            match steps.pop(0):
                case ("owe", target, count):
                    names = [f"{sum(fate.owed.values()) + number}" for number in range(count)]
                    fate.owed.update(names)
                    lab.owe(*names, target=target)
                    await lab.quiet()
                case ("pass", seconds):
                    await lab.pass_time(seconds)
                case ("due", _):
                    await lab.make_due()
                case ("obstacle", target):
                    lab.senders.obstacles[target] = "no address"
                case ("restart", _):
                    break
        lab.reports.clear()

    async def end(lab: Lab) -> None:
        fate.calm = True
        fate.install(lab)
        await lab.outbox.start()
        await lab.quiet()
        assert lab.owed() == []
        assert lab.loop.timers == []
        assert lab.rows(
            "SELECT count(*) FROM events WHERE 1 <> "
            "(SELECT count(*) FROM event_history WHERE event_id = events.id AND kind = 'delivered')"
        ) == [(0,)]

    steps = list(steps)
    with tempfile.TemporaryDirectory() as directory:
        while steps:
            play(Path(directory), part, start=False)
        play(Path(directory), end, start=False)
    assert set(fate.sent) == set(fate.owed)
