"""The life of an execution environment as one table: states x events -> next state. Pure.

Source: seed 004 and the AWS pages "Lambda execution environment" and "Using the Lambda runtime API". An event that
is not in the row of a state changes nothing: the caller decides what that means (a runtime gets 403, a late
notice is dropped).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class State(IntEnum):
    """Where an execution environment stands."""

    STARTING = 0  # its process runs, the runtime has not asked for its first event: the init phase
    IDLE = 1  # the runtime waits in GET .../invocation/next
    INVOKE = 2  # an event was handed out and not answered yet
    RESPONDED = 3  # answered; the runtime has not asked for the next event yet
    INIT_FAILED = 4  # the runtime reported an init error; its process may still be there
    STOPPING = 5  # its processes are being killed
    TERMINATED = 6  # its main process is gone


class Event(IntEnum):
    """What can happen to an execution environment."""

    NEXT = 0  # the runtime asks for the next event
    NEXT_GONE = 1  # the connection that had asked was closed
    DELIVER = 2  # an invocation is handed to it
    ANSWER = 3  # the runtime posts a response or an error for the invocation it has
    INIT_ERROR = 4  # the runtime posts an init error
    TIMEOUT = 5  # the function's time, or the init phase's, is over
    STOP = 6  # the service lets it go: idle too long, outdated, over its memory, or the service ends
    EXITED = 7  # its main process has ended


TABLE: Final[tuple[tuple[State | None, ...], ...]] = (
    # NEXT, NEXT_GONE, DELIVER, ANSWER, INIT_ERROR, TIMEOUT, STOP, EXITED
    (State.IDLE, None, None, None, State.INIT_FAILED, State.STOPPING, State.STOPPING, State.TERMINATED),  # STARTING
    (None, State.RESPONDED, State.INVOKE, None, None, None, State.STOPPING, State.TERMINATED),  # IDLE
    (None, None, None, State.RESPONDED, None, State.STOPPING, State.STOPPING, State.TERMINATED),  # INVOKE
    (State.IDLE, None, None, None, None, State.STOPPING, State.STOPPING, State.TERMINATED),  # RESPONDED
    (None, None, None, None, None, State.STOPPING, State.STOPPING, State.TERMINATED),  # INIT_FAILED
    (None, None, None, None, None, None, None, State.TERMINATED),  # STOPPING
    (None, None, None, None, None, None, None, None),  # TERMINATED
)


class TransitionError(ValueError):
    """An event that the state does not allow. The state stays as it was."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"an execution environment in state {state.name} does not take {event.name}")
        self.state = state
        self.event = event


def after(state: State, event: Event) -> State:
    """The state that follows. Raises TransitionError when the event is not allowed."""
    following = TABLE[state][event]
    if following is None:
        raise TransitionError(state, event)
    return following


def allows(state: State, event: Event) -> bool:
    """Whether the event may happen in this state."""
    return TABLE[state][event] is not None
