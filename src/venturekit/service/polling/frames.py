"""What goes between the service and the helper process: frames of a kind, a number and a body. Pure.

A frame is the length of its body (4 bytes), its kind (1), a number (4: of a poller or of a request), the body. Bodies
are texts or JSON, but for those that carry events and answers: these are ``Invocation`` and ``Answer``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from venturekit.service.sources.invoking import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

# To the helper process.
CONFIGURE: Final = 1
"""What it has to know, first of all."""
POLL: Final = 2
"""A mapping whose queue is to be polled, by a poller of this number."""
CHANGE: Final = 3
"""What the mapping of a poller has become."""
STOP: Final = 4
ABANDON: Final = 5
DESCRIBE: Final = 6
"""A queue's ARN: the attributes are wanted."""
VIEW: Final = 7
"""The answer to LOOK."""
ANSWER: Final = 8
"""The answer to INVOKE."""
PING: Final = 9

# From it.
READY: Final = 20
TOLD: Final = 21
"""A processing result of a poller."""
RESTING: Final = 22
"""A poller that was stopped processes nothing any more."""
ENDED: Final = 23
"""Nothing of a poller runs any more."""
DESCRIBED: Final = 24
LOOK: Final = 25
"""What a poller's function is now, is the question; the body is the poller's number."""
INVOKE: Final = 26
PONG: Final = 27

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""No frame is larger: an event or an answer has 6 MB."""
_HEAD: Final = struct.Struct("!IBI")
_NUMBER: Final = struct.Struct("!I")
_INVOCATION: Final = struct.Struct("!I?H")
_ANSWER: Final = struct.Struct("!BB")
_DONE, _FAILED, _REFUSED, _BUSY = range(4)


class FrameError(ValueError):
    """What came is no frame."""


class Invocation(NamedTuple):
    """The body of INVOKE: an event for the function of a poller, and whether what it answers is wanted back."""

    poller: int
    answered: bool
    trace: bytes
    payload: bytes

    def encoded(self) -> bytes:
        """As it is sent. Raises struct.error for a trace of more than 65,535 bytes."""
        return _INVOCATION.pack(self.poller, self.answered, len(self.trace)) + self.trace + self.payload

    @classmethod
    def parse(cls, body: bytes) -> Invocation:
        """The inverse of ``encoded``."""
        poller, answered, length = _INVOCATION.unpack_from(body)
        end = _INVOCATION.size + length
        return cls(poller, answered, body[_INVOCATION.size : end], body[end:])


class Answer(NamedTuple):
    """The body of ANSWER: what became of an invocation, and whether the function has room for another one."""

    outcome: Outcome
    has_room: bool

    def encoded(self) -> bytes:
        """As it is sent."""
        outcome = self.outcome
        if outcome.busy:
            kind, rest = _BUSY, outcome.busy.encode()
        elif outcome.refused:
            kind, rest = _REFUSED, outcome.refused.encode()
        elif outcome.error:
            kind, rest = _FAILED, outcome.error.encode()
        else:
            kind, rest = _DONE, bytes(outcome.payload)
        return _ANSWER.pack(kind, self.has_room) + rest

    @classmethod
    def parse(cls, body: bytes) -> Answer:
        """The inverse of ``encoded``."""
        kind, has_room = _ANSWER.unpack_from(body)
        rest = body[_ANSWER.size :]
        if kind == _DONE:
            return cls(Outcome(rest), bool(has_room))
        text = rest.decode()
        if kind == _FAILED:
            return cls(Outcome(error=text), bool(has_room))
        return cls(Outcome(refused=text) if kind == _REFUSED else Outcome(busy=text), bool(has_room))


def frame(kind: int, number: int = 0, body: bytes = b"") -> bytes:
    """A frame."""
    return _HEAD.pack(len(body), kind, number) + body


def encode_number(number: int) -> bytes:
    """The body of LOOK."""
    return _NUMBER.pack(number)


def parse_number(body: bytes) -> int:
    """The inverse of ``encode_number``."""
    number: int = _NUMBER.unpack(body)[0]
    return number


class Splitter:
    """Finds the frames in what comes, however it is cut."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Kind, number and body of each frame that is complete by now. Raises FrameError."""
        held: bytes | bytearray = data
        if self._left:
            self._left += data
            held = self._left
        position, size = 0, len(held)
        try:
            while size - position >= _HEAD.size:
                length, kind, number = _HEAD.unpack_from(held, position)
                if length > LIMIT_BYTES:
                    raise FrameError(f"a frame of {length} bytes")
                begin = position + _HEAD.size
                if size - begin < length:
                    break
                position = begin + length
                yield kind, number, bytes(held[begin:position])
        finally:
            self._left = bytearray(held[position:]) if position or held is data else self._left
