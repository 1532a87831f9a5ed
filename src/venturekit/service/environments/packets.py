"""Packets to a launcher: a head that the launcher reads, and a body that only the started process does.

Both are JSON objects, a line feed between them; the body may be left out. Whatever passes through the launcher's own
memory as an object is found again, long after it was freed, in the processes that are forked later: with environment
variables those would be other functions' secrets. So a packet stays in one mapping, is handed on from there, and is
wiped.

Standard library only, CPython 3.9 or later: the launcher process loads this file by its path.
"""

from __future__ import annotations

import array
import json
import mmap
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_PACKET_BYTES = 128 * 1024
_SEPARATOR = b"\n"
_MAX_DESCRIPTORS = 4


def encode(head: dict[str, Any], body: dict[str, Any] | None = None) -> bytes:
    """One packet."""
    # Line feeds inside of texts are escaped.
    return json.dumps(head).encode() + (b"" if body is None else _SEPARATOR + json.dumps(body).encode())


def decode(packet: bytes) -> dict[str, Any]:
    """Head and body as one object. Raises ValueError."""
    head, _, body = packet.partition(_SEPARATOR)
    return {**json.loads(head), **(json.loads(body) if body else {})}


class Inbox:
    """Holds one packet at a time."""

    def __init__(self) -> None:
        # Private: what a child writes to it stays its own. One byte more than allowed tells a packet that is too long.
        self._memory = mmap.mmap(-1, MAX_PACKET_BYTES + 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._size = 0

    def receive(self, control: socket.socket) -> tuple[list[int], bool]:
        """Take in a packet: its descriptors, and whether it was cut off. Raises EOFError, OSError."""
        descriptors = array.array("i")
        room = socket.CMSG_SPACE(_MAX_DESCRIPTORS * descriptors.itemsize)
        self._size, ancillary, flags, _ = control.recvmsg_into([self._memory], room)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not self._size:
            raise EOFError
        return list(descriptors), bool(flags & socket.MSG_TRUNC)

    def head(self) -> dict[str, Any]:
        """The head. Raises ValueError."""
        end = self._memory.find(_SEPARATOR, 0, self._size)
        return {**json.loads(self._memory[: self._size if end < 0 else end])}

    def packet(self) -> bytes:
        """All of it: for the started process, which may keep it."""
        return self._memory[: self._size]

    def forward(self, link: socket.socket, descriptors: list[int]) -> None:
        """Send it on, without waiting. Raises OSError."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        with memoryview(self._memory) as whole, whole[: self._size] as part:
            link.sendmsg([part], [rights], socket.MSG_DONTWAIT)

    def wipe(self) -> None:
        """Forget it."""
        self._memory[: self._size] = bytes(self._size)
        self._size = 0
