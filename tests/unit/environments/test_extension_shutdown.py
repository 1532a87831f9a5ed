"""The shutdown phase by its clock: who is asked, who is killed, when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.environments.extensions.failures import ended_text
from venturekit.service.environments.extensions.shutdown import Act, Shutdown
from venturekit.service.environments.failures import Exit


def test_external_extensions_have_two_seconds_of_which_the_runtime_has_the_first_part() -> None:
    shutdown = Shutdown(100.0, has_external=True)
    assert shutdown.begin(runtime_lives=True, now=100.0) == (Act.ASK_RUNTIME,)
    assert shutdown.deadline == pytest.approx(100.6)
    assert shutdown.look(100.59) == ()
    assert shutdown.look(100.6) == (Act.KILL_RUNTIME, Act.ASK_EXTENSIONS)
    assert shutdown.deadline == shutdown.ends_at == pytest.approx(102.0)
    assert shutdown.runtime_ended() == ()
    assert shutdown.look(101.9) == ()
    assert shutdown.look(102.0) == (Act.KILL_ALL,)
    assert shutdown.deadline == pytest.approx(103.0)


def test_extensions_are_asked_as_soon_as_the_runtime_has_ended() -> None:
    shutdown = Shutdown(100.0, has_external=True)
    shutdown.begin(runtime_lives=True, now=100.0)
    assert shutdown.runtime_ended() == (Act.ASK_EXTENSIONS,)
    assert shutdown.runtime_ended() == ()
    assert shutdown.deadline == pytest.approx(102.0)


def test_without_a_runtime_extensions_are_asked_at_once() -> None:
    assert Shutdown(0.0, has_external=True).begin(runtime_lives=False, now=0.0) == (Act.ASK_EXTENSIONS,)


def test_a_runtime_with_internal_extensions_has_half_a_second() -> None:
    shutdown = Shutdown(0.0, has_external=False)
    assert shutdown.begin(runtime_lives=True, now=0.0) == (Act.ASK_RUNTIME,)
    assert shutdown.deadline == shutdown.ends_at == pytest.approx(0.5)
    assert shutdown.look(0.5) == (Act.KILL_ALL,)


def test_at_once_means_at_once() -> None:
    assert Shutdown(7.0, has_external=True, at_once=True).begin(runtime_lives=True, now=7.0) == (Act.KILL_ALL,)


@given(st.booleans(), st.booleans(), st.integers(0, 30), st.lists(st.floats(0.01, 0.7), max_size=20))
def test_everything_is_killed_in_time_and_extensions_are_asked_once(
    has_external: bool, runtime_lives: bool, ends_at_step: int, steps: list[float]
) -> None:
    now = 0.0
    shutdown = Shutdown(now, has_external=has_external)
    acts = [*shutdown.begin(runtime_lives=runtime_lives, now=now)]
    for place, step in enumerate(steps):
        if place == ends_at_step and runtime_lives:
            acts += shutdown.runtime_ended()
        now += step
        acts += shutdown.look(now)
        assert now < shutdown.deadline
        assert (Act.KILL_ALL in acts) == (now >= shutdown.ends_at)
    assert acts.count(Act.ASK_EXTENSIONS) <= 1


@pytest.mark.parametrize(
    ("ended", "text"),
    [(Exit(), "exit code 0"), (Exit(code=3), "exit status 3"), (Exit(signal=9), "signal: killed")],
)
def test_how_an_extension_ended(ended: Exit, text: str) -> None:
    assert ended_text(ended) == text
