"""Whose environment starts next: turns, not floods."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.environments.start_queue import StartQueue


def test_a_flood_delays_others_by_one_start() -> None:
    queue: StartQueue[str] = StartQueue()
    for _ in range(100):
        queue.append("flood")
    queue.append("late")
    assert [queue.popleft() for _ in range(3)] == ["flood", "late", "flood"]
    assert (len(queue), bool(queue)) == (98, True)
    queue.clear()
    assert (len(queue), bool(queue), [*queue]) == (0, False, [])
    with pytest.raises(StopIteration):
        queue.popleft()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.sampled_from("abc"), st.none()), max_size=60))
def test_nothing_is_lost_and_nobody_waits_for_more_than_a_round(steps: list[str | None]) -> None:
    queue: StartQueue[str] = StartQueue()
    wanted: Counter[str] = Counter()
    # How many starts others have had since somebody who wants one had the last.
    waited: Counter[str] = Counter()
    for step in steps:
        if step is not None:
            queue.append(step)
            wanted[step] += 1
        elif queue:
            taken = queue.popleft()
            wanted[taken] -= 1
            waited.update(each for each in wanted if wanted[each] and each != taken)
            waited[taken] = 0
        assert Counter(queue) == +wanted
        assert len(queue) == wanted.total()
        assert max(waited.values(), default=0) <= 2
