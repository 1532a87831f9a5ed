"""Splitting what a runtime writes into log records: plain lines, and the frames of the telemetry log descriptor.

A frame is, big-endian: type (4 bytes), length (4), time in microseconds (8), then the message. Source: the framing
that AWS's runtime interface clients write to ``_LAMBDA_TELEMETRY_LOG_FD``.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct(">IIQ")
TYPE_PREFIX: Final = 0xA55A0000
FRAME_LIMIT_BYTES: Final = 1024 * 1024
LINE_LIMIT_BYTES: Final = 262_144


class LineSplitter:
    """Cuts a byte stream into lines; a line over the limit is cut into pieces of that size."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, each with its line end."""
        data = self._rest + data
        # A carriage return joins the lines of one record (Python's stack traces): only a newline ends it.
        pieces = data.split(b"\n")
        rest = pieces.pop()
        lines = [piece + b"\n" for piece in pieces]
        while len(rest) > LINE_LIMIT_BYTES:
            lines.append(rest[:LINE_LIMIT_BYTES])
            rest = rest[LINE_LIMIT_BYTES:]
        self._rest = rest
        return lines

    def flush(self) -> list[bytes]:
        """The last, unended line, if any."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class FrameSplitter:
    """Cuts a byte stream into frames. Bytes that are no frame are handed on as they are, never dropped."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        data = self._rest + data
        messages = []
        position = 0
        while len(data) - position >= HEADER.size:
            kind, length, _microseconds = HEADER.unpack_from(data, position)
            if kind & 0xFFFF0000 != TYPE_PREFIX or length > FRAME_LIMIT_BYTES:
                # Whoever writes here does not frame: what is left is text.
                messages.append(data[position:])
                position = len(data)
                break
            end = position + HEADER.size + length
            if end > len(data):
                break
            messages.append(data[position + HEADER.size : end])
            position = end
        self._rest = data[position:]
        return messages

    def flush(self) -> list[bytes]:
        """What is left of a frame that was never finished."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
