"""The table of an execution environment's life: each cell, and that no sequence leaves it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from venturekit.service.environments.lifecycle import TABLE, Event, State, TransitionError, after, allows
from venturekit.service.environments.pool import environments_to_start

EXPECTED = {
    State.STARTING: {
        Event.NEXT: State.IDLE,
        Event.INIT_ERROR: State.INIT_FAILED,
        Event.WAIT: State.INIT_HELD,
        Event.TIMEOUT: State.STOPPING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
    State.IDLE: {
        Event.NEXT_GONE: State.RESPONDED,
        Event.DELIVER: State.INVOKE,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
    State.INVOKE: {
        Event.ANSWER: State.RESPONDED,
        Event.TIMEOUT: State.STOPPING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
    State.RESPONDED: {
        Event.NEXT: State.IDLE,
        Event.WAIT: State.HELD,
        Event.TIMEOUT: State.STOPPING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
    State.INIT_FAILED: {
        Event.TIMEOUT: State.STOPPING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
    State.STOPPING: {Event.TIMEOUT: State.STOPPING, Event.EXITED: State.TERMINATED},
    State.TERMINATED: {},
    State.INIT_HELD: {
        Event.NEXT_GONE: State.STARTING,
        Event.READY: State.IDLE,
        Event.TIMEOUT: State.STOPPING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
    State.HELD: {
        Event.NEXT_GONE: State.RESPONDED,
        Event.READY: State.IDLE,
        Event.TIMEOUT: State.STOPPING,
        Event.STOP: State.STOPPING,
        Event.EXITED: State.TERMINATED,
    },
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_cell(state: State, event: Event) -> None:
    following = EXPECTED[state].get(event)
    assert allows(state, event) == (following is not None)
    if following is None:
        with pytest.raises(TransitionError, match=f"in state {state.name} does not take {event.name}") as caught:
            after(state, event)
        assert (caught.value.state, caught.value.event) == (state, event)
    else:
        assert after(state, event) is following


def test_the_table_is_complete() -> None:
    assert [len(row) for row in TABLE] == [len(Event)] * len(State)


class Life(RuleBasedStateMachine):
    """Any events in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.STARTING
        self.invocations = 0
        self.was_terminated = False
        self.was_stopping = False

    @rule(event=st.sampled_from(Event))
    def happens(self, event: Event) -> None:
        before = self.state
        try:
            self.state = after(before, event)
        except TransitionError:
            assert self.state is before
            return
        self.invocations += (self.state is State.INVOKE) - (before is State.INVOKE)
        assert not self.was_terminated
        assert not self.was_stopping or self.state in (State.STOPPING, State.TERMINATED)
        self.was_terminated = self.state is State.TERMINATED
        self.was_stopping = self.was_stopping or self.state is State.STOPPING

    @invariant()
    def has_an_invocation_in_one_state_only(self) -> None:
        assert self.invocations == (self.state is State.INVOKE)

    @invariant()
    def can_always_end(self) -> None:
        assert self.state is State.TERMINATED or after(self.state, Event.EXITED) is State.TERMINATED


TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("waiting", "starting", "expected_back", "wanted"),
    [(0, 0, 0, 0), (1, 0, 0, 1), (1, 1, 0, 0), (1, 0, 1, 0), (5, 2, 1, 2), (1, 3, 3, 0)],
)
def test_environments_to_start(waiting: int, starting: int, expected_back: int, wanted: int) -> None:
    assert environments_to_start(waiting, starting, expected_back) == wanted
