"""Request ids and trace headers, made from random bytes that are drawn in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DRAWN_BYTES: Final = 4096
# Version 4 of a UUID: two bits of the variant and the version digit are fixed.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Identifiers:
    """Makes identifiers; ``random_bytes(n)`` is the operating system's source."""

    __slots__ = ("_drawn", "_position", "_random_bytes")

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._drawn = ""
        self._position = 0

    def _hex(self, digits: int) -> str:
        position = self._position
        if position + digits > len(self._drawn):
            self._drawn = self._random_bytes(DRAWN_BYTES).hex()
            position = 0
        self._position = position + digits
        return self._drawn[position : position + digits]

    def request_id(self) -> str:
        """A random UUID (version 4) as text."""
        text = self._hex(32)
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"

    def token(self) -> str:
        """32 random hexadecimal digits."""
        return self._hex(32)

    def fraction(self) -> float:
        """A random number from 0 on and below 1."""
        return int(self._hex(8), 16) / (1 << 32)

    def trace(self, now: float, lineage: str = "") -> tuple[bytes, bytes]:
        """A new trace that is not sampled: the header for the function and its form for the caller.

        ``Root=1-...;Parent=...;Sampled=0`` and ``root=1-...;sampled=0``; ``now`` in epoch seconds. ``lineage`` is the
        end of the first of them: see ``protocol.lineage.first``.
        """
        text = self._hex(40)
        root = f"1-{int(now):08x}-{text[:24]}"
        return f"Root={root};Parent={text[24:]};Sampled=0{lineage}".encode(), f"root={root};sampled=0".encode()
