"""The states of an event source mapping. Pure.

Source: Lambda API reference, "EventSourceMappingConfiguration". A mapping that changes can be neither changed nor
deleted.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """As the API shows it."""

    CREATING = "Creating"
    ENABLING = "Enabling"
    ENABLED = "Enabled"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UPDATING = "Updating"
    DELETING = "Deleting"


class Change(Enum):
    """What happens to a mapping."""

    UPDATE = "it was updated and stays what it is, enabled or disabled"
    ENABLE = "it is to be enabled"
    DISABLE = "it is to be disabled"
    DELETE = "it is to be deleted"
    WORKS = "its poller works"
    RESTS = "its poller has ended"


class InUseError(Exception):
    """The mapping is in a state in which this cannot happen."""


TRANSITIONS = {
    (State.CREATING, Change.WORKS): State.ENABLED,
    (State.CREATING, Change.RESTS): State.DISABLED,
    (State.ENABLING, Change.WORKS): State.ENABLED,
    (State.UPDATING, Change.WORKS): State.ENABLED,
    (State.UPDATING, Change.RESTS): State.DISABLED,
    (State.DISABLING, Change.RESTS): State.DISABLED,
    (State.ENABLED, Change.UPDATE): State.UPDATING,
    (State.ENABLED, Change.DISABLE): State.DISABLING,
    (State.ENABLED, Change.DELETE): State.DELETING,
    (State.DISABLED, Change.UPDATE): State.UPDATING,
    (State.DISABLED, Change.ENABLE): State.ENABLING,
    (State.DISABLED, Change.DELETE): State.DELETING,
}


def after(state: State, change: Change) -> State:
    """The next state. Raises InUseError where the table has none."""
    following = TRANSITIONS.get((state, change))
    if following is None:
        raise InUseError(f"a mapping that is {state.value} takes no {change.name}")
    return following
