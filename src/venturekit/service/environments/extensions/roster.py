"""The extensions of one execution environment and what each of them may do when. Pure.

Source: AWS page "Using the Lambda Extensions API to create extensions". The statuses and error types are as recorded;
the texts are our own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT: Final = 10
"""The most extensions that one environment may have."""
INVOKE: Final = "INVOKE"
SHUTDOWN: Final = "SHUTDOWN"
EVENTS: Final = (INVOKE, SHUTDOWN)


class Stage(IntEnum):
    """Where an extension stands."""

    LAUNCHED = 0  # an external one whose process has been started and has not registered
    REGISTERED = 1  # it initialises: it has not asked for an event yet
    WAITING = 2  # it waits in GET .../event/next
    AWAY = 3  # as before, but the connection on which it waited is gone: it will ask again
    OWED = 4  # as before, and there is an event for it
    BUSY = 5  # it has an event
    FAILED = 6  # it reported an error and is expected to exit
    GONE = 7  # its process has ended


class Step(IntEnum):
    """What can happen to an extension."""

    REGISTER = 0
    NEXT = 1  # it asks for its next event
    NEXT_GONE = 2  # the connection that had asked was closed
    DELIVER = 3  # there is an event for it
    INIT_ERROR = 4
    EXIT_ERROR = 5
    EXITED = 6  # its process has ended


TABLE: Final[tuple[tuple[Stage | None, ...], ...]] = (
    # REGISTER, NEXT, NEXT_GONE, DELIVER, INIT_ERROR, EXIT_ERROR, EXITED
    (Stage.REGISTERED, None, None, None, None, None, Stage.GONE),  # LAUNCHED
    (None, Stage.WAITING, None, Stage.OWED, Stage.FAILED, Stage.FAILED, Stage.GONE),  # REGISTERED
    (None, None, Stage.AWAY, Stage.BUSY, None, Stage.FAILED, Stage.GONE),  # WAITING
    (None, Stage.WAITING, None, Stage.OWED, None, Stage.FAILED, Stage.GONE),  # AWAY
    (None, Stage.BUSY, None, Stage.OWED, None, Stage.FAILED, Stage.GONE),  # OWED
    (None, Stage.WAITING, None, Stage.OWED, None, Stage.FAILED, Stage.GONE),  # BUSY
    (None, None, None, None, None, None, Stage.GONE),  # FAILED
    (None, None, None, None, None, None, None),  # GONE
)
READY: Final = frozenset({Stage.WAITING, Stage.AWAY})


class RefusedError(Exception):
    """A call that is answered with an error: ``status``, ``error_type`` and text as the extension gets them."""

    def __init__(self, error_type: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status


@dataclass(slots=True, eq=False)
class Extension:
    """One extension. ``is_external``: a process of its own, started by the service; else a part of the runtime."""

    name: str
    is_external: bool
    stage: Stage
    events: tuple[str, ...] = ()
    identifier: str = ""

    def take(self, step: Step) -> None:
        """Go on to the stage that follows. Raises RefusedError when the step is not allowed."""
        following = TABLE[self.stage][step]
        if following is None:
            message = f"the extension {self.name} is {self.stage.name}: {step.name} is not allowed"
            raise RefusedError("Extension.InvalidExtensionState", message)
        self.stage = following

    def allows(self, step: Step) -> bool:
        """Whether the step may happen now."""
        return TABLE[self.stage][step] is not None

    @property
    def is_registered(self) -> bool:
        """It has registered, and nothing has gone wrong with it since."""
        return Stage.LAUNCHED < self.stage < Stage.FAILED


@dataclass(slots=True)
class Roster:
    """All extensions of an environment."""

    extensions: list[Extension] = field(default_factory=list)
    is_closed: bool = False
    tells_invocations: bool = True
    """Whether extensions may register for INVOKE: not where an environment has several invocations at once."""

    def expect(self, name: str) -> Extension:
        """An external extension is being started; ``name`` is the name of its file."""
        extension = Extension(name, is_external=True, stage=Stage.LAUNCHED)
        self.extensions.append(extension)
        return extension

    def register(self, name: str, events: Iterable[object], identifier: str) -> Extension:
        """An extension registers: an external one by the name of its file, an internal one by any other name.

        Raises RefusedError.
        """
        if not name:
            raise RefusedError("Extension.InvalidExtensionName", "the header Lambda-Extension-Name is missing or empty")
        found = next((extension for extension in self.extensions if extension.name == name), None)
        is_external = found is not None and found.is_external
        wanted = _checked(name, events, is_external=is_external)
        if INVOKE in wanted and not self.tells_invocations:
            raise RefusedError(
                "Extension.InvalidEventType",
                f"{name} registers for {INVOKE}: on Lambda Managed Instances there is {SHUTDOWN} only",
            )
        if self.is_closed:
            raise RefusedError("Extension.RegistrationClosed", f"{name} registers too late: the init phase is over")
        if sum(extension.stage is not Stage.LAUNCHED for extension in self.extensions) >= LIMIT:
            raise RefusedError(
                "Extension.TooManyExtensions", f"{name} is one too many: at most {LIMIT} extensions may register"
            )
        if found is None:
            found = Extension(name, is_external=False, stage=Stage.LAUNCHED)
            self.extensions.append(found)
        found.take(Step.REGISTER)
        found.events, found.identifier = wanted, identifier
        return found

    def find(self, identifier: str) -> Extension | None:
        """The extension that was given this identifier."""
        return next((each for each in self.extensions if identifier and each.identifier == identifier), None)

    @property
    def unregistered(self) -> list[Extension]:
        """The external extensions that have not registered."""
        return [extension for extension in self.extensions if extension.stage is Stage.LAUNCHED]

    @property
    def is_initialised(self) -> bool:
        """Whether all extensions have asked for their first event."""
        return all(extension.stage in READY for extension in self.extensions)

    @property
    def is_done(self) -> bool:
        """Whether all that subscribed to invocations have asked for the next event."""
        return all(extension.stage in READY for extension in self.extensions if INVOKE in extension.events)

    @property
    def has_external(self) -> bool:
        """Whether any of them is a process of its own."""
        return any(extension.is_external for extension in self.extensions)


def _checked(name: str, events: Iterable[object], *, is_external: bool) -> tuple[str, ...]:
    wanted: list[str] = []
    for event in events:
        if not isinstance(event, str) or event not in EVENTS:
            raise RefusedError("Extension.InvalidEventType", f"there is no event {event!r}: there are {EVENTS}")
        if event == SHUTDOWN and not is_external:
            raise RefusedError(
                "Extension.InvalidEventType",
                f"{name} is the file of no extension of a layer, and internal extensions may register for INVOKE only",
            )
        if event not in wanted:
            wanted.append(event)
    return tuple(wanted)
