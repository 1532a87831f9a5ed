"""The life of an execution environment as one table: states x events -> next state. Pure.

Source: seed 004 and the AWS pages "Lambda execution environment", "Using the Lambda runtime API" and "Using the Lambda
Extensions API". An event that is not in the row of a state changes nothing: the caller decides what that means (a
runtime gets 403, a late notice is dropped).
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
    STOPPING = 5  # its processes are being asked to end, or killed
    TERMINATED = 6  # all of its processes are gone
    INIT_HELD = 7  # the runtime waits for its first event, and an extension is still initialising
    HELD = 8  # answered; the runtime waits for the next event, and an extension is not done with the last one


class Event(IntEnum):
    """What can happen to an execution environment."""

    NEXT = 0  # the runtime asks for the next event
    NEXT_GONE = 1  # the connection that had asked was closed
    DELIVER = 2  # an invocation is handed to it
    ANSWER = 3  # the runtime posts a response or an error for the invocation it has
    INIT_ERROR = 4  # the runtime posts an init error
    TIMEOUT = 5  # the function's time, or the init phase's, is over
    STOP = 6  # the service lets it go: idle too long, outdated, over its memory, or the service ends
    EXITED = 7  # its main process has ended, and nothing else of it is left
    WAIT = 8  # the runtime asks for the next event, and an extension is not done
    READY = 9  # the last extension is done, too


def _row(*following: str) -> tuple[State | None, ...]:
    return tuple(State[name] if name else None for name in following)


TABLE: Final[tuple[tuple[State | None, ...], ...]] = (
    # NEXT, NEXT_GONE, DELIVER, ANSWER, INIT_ERROR, TIMEOUT, STOP, EXITED, WAIT, READY
    _row("IDLE", "", "", "", "INIT_FAILED", "STOPPING", "STOPPING", "TERMINATED", "INIT_HELD", ""),  # STARTING
    _row("", "RESPONDED", "INVOKE", "", "", "", "STOPPING", "TERMINATED", "", ""),  # IDLE
    _row("", "", "", "RESPONDED", "", "STOPPING", "STOPPING", "TERMINATED", "", ""),  # INVOKE
    _row("IDLE", "", "", "", "", "STOPPING", "STOPPING", "TERMINATED", "HELD", ""),  # RESPONDED
    _row("", "", "", "", "", "STOPPING", "STOPPING", "TERMINATED", "", ""),  # INIT_FAILED
    _row("", "", "", "", "", "STOPPING", "", "TERMINATED", "", ""),  # STOPPING
    _row("", "", "", "", "", "", "", "", "", ""),  # TERMINATED
    _row("", "STARTING", "", "", "", "STOPPING", "STOPPING", "TERMINATED", "", "IDLE"),  # INIT_HELD
    _row("", "RESPONDED", "", "", "", "STOPPING", "STOPPING", "TERMINATED", "", "IDLE"),  # HELD
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
