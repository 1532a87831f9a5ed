"""What the workers of one execution environment tell their parent: one slot each, in memory that they share.

A worker that ends without a word, by `os._exit` or a signal, cannot say which invocation it takes along; its slot can.
Only a worker writes to its slot while it lives, and its parent reads it once it is dead, so nothing is locked.
"""

from __future__ import annotations

import mmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Invocation

STARTING, READY, BUSY, REFUSED, API_GONE = range(5)
"""Phases: initialises the function; waits for an event; has one; could not be initialised; lost the Runtime API."""

_SLOT_BYTES = 512
_PHASE, _SERVED, _REQUEST_ID_SIZE, _INVOCATION_ID_SIZE, _IDS = range(5)
_LONGEST_ID_BYTES = 250


class WorkerTable:
    """The slots of `count` workers. It has to be made before they are forked."""

    __slots__ = ("_memory",)

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, count * _SLOT_BYTES)

    def slot(self, number: int) -> WorkerSlot:
        """The slot of the worker `number`, counted from 0."""
        return WorkerSlot(self._memory, number * _SLOT_BYTES)


class WorkerSlot:
    """Where one worker is with its work."""

    __slots__ = ("_begin", "_memory")

    def __init__(self, memory: mmap.mmap, begin: int) -> None:
        self._memory = memory
        self._begin = begin

    def clear(self) -> None:
        """A new worker begins."""
        self._memory[self._begin : self._begin + _SLOT_BYTES] = bytes(_SLOT_BYTES)

    def enter(self, phase: int) -> None:
        """The worker is in this phase from here on (not BUSY: that is `take`)."""
        self._memory[self._begin + _PHASE] = phase

    def take(self, invocation: Invocation) -> None:
        """The worker has this invocation. One whose ids are longer than the Runtime API's is not noted."""
        request_id = invocation.request_id.encode("utf-8", "surrogateescape")
        invocation_id = invocation.invocation_id or b""
        memory, begin = self._memory, self._begin
        memory[begin + _SERVED] = 1
        if max(len(request_id), len(invocation_id)) > _LONGEST_ID_BYTES:
            return
        ids = request_id + invocation_id
        memory[begin + _IDS : begin + _IDS + len(ids)] = ids
        memory[begin + _REQUEST_ID_SIZE] = len(request_id)
        memory[begin + _INVOCATION_ID_SIZE] = len(invocation_id)
        # Last: whoever finds this phase finds the ids, too.
        memory[begin + _PHASE] = BUSY

    @property
    def phase(self) -> int:
        return self._memory[self._begin + _PHASE]

    @property
    def has_served(self) -> bool:
        """Whether the worker ever had an invocation."""
        return self._memory[self._begin + _SERVED] != 0

    @property
    def ids(self) -> tuple[bytes, bytes]:
        """The request id and the invocation id (b"" for none) of a busy worker's invocation."""
        begin = self._begin + _IDS
        middle = begin + self._memory[self._begin + _REQUEST_ID_SIZE]
        end = middle + self._memory[self._begin + _INVOCATION_ID_SIZE]
        return self._memory[begin:middle], self._memory[middle:end]
