"""Splitting what a runtime writes into log records: plain lines, and the frames of the telemetry log descriptor.

A frame is, big-endian: type (4 bytes), length (4), time in microseconds (8), then the message. Source: the framing
that AWS's runtime interface clients write to ``_LAMBDA_TELEMETRY_LOG_FD``.

Both splitters give the same messages however the stream was cut into reads.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.log_levels import frame_level

if TYPE_CHECKING:
    from collections.abc import Callable

    Shows = Callable[[bytes, int], bool]
    """Whether a message is wanted, by its text and the level of its frame, 0 where it has none."""

HEADER: Final = struct.Struct(">IIQ")
MARKER: Final = b"\xa5\x5a\x00"
"""How the type of every frame begins; its last byte tells the format and the level."""
FRAME_LIMIT_BYTES: Final = 1024 * 1024
"""What is longer comes out in pieces of LINE_LIMIT_BYTES."""
LONGEST_FRAME_BYTES: Final = 256 * 1024 * 1024
"""What says that it is longer than this is no frame."""
LINE_LIMIT_BYTES: Final = 262_144


class LineSplitter:
    """Cuts a byte stream into lines; a line over the limit is cut into pieces of that size.

    Only the lines that ``shows`` wants come out; all, without it.
    """

    __slots__ = ("_rest", "shows")

    def __init__(self, shows: Shows | None = None) -> None:
        self._rest = b""
        self.shows = shows

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, each with its line end."""
        # A carriage return joins the lines of one record (Python's stack traces): only a newline ends it.
        pieces = (self._rest + data).split(b"\n")
        rest = pieces.pop()
        lines: list[bytes] = []
        for piece in pieces:
            if len(piece) > LINE_LIMIT_BYTES:
                piece = _cut(piece, lines)
            lines.append(piece + b"\n")
        self._rest = _cut(rest, lines) if len(rest) > LINE_LIMIT_BYTES else rest
        return lines if self.shows is None else [line for line in lines if self.shows(line, 0)]

    def flush(self) -> list[bytes]:
        """The last, unended line, if any."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and (self.shows is None or self.shows(rest, 0)) else []


def _cut(line: bytes, pieces: list[bytes]) -> bytes:
    """Move whole pieces of a line that is too long to ``pieces``. Returns its end."""
    position = 0
    while len(line) - position > LINE_LIMIT_BYTES:
        pieces.append(line[position : position + LINE_LIMIT_BYTES])
        position += LINE_LIMIT_BYTES
    return line[position:]


class FrameSplitter:
    """Cuts a byte stream into frames. Bytes that are no frame are lines of text between frames, never lost.

    Only the messages that ``shows`` wants come out; all, without it.
    """

    __slots__ = ("_left", "_level", "_rest", "shows")

    def __init__(self, shows: Shows | None = None) -> None:
        self._rest = b""
        self.shows = shows
        # Of a frame that comes in pieces: how many bytes are still to come, and its level.
        self._left = 0
        self._level = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        data = self._rest + data
        messages = []
        shows = self.shows
        position = 0
        while True:
            span = self._piece(position) if self._left else _frame_span(data, position)
            if span is not None and span[1] - span[0] > FRAME_LIMIT_BYTES:
                self._left, self._level = span[1] - span[0], frame_level(data[position + len(MARKER)])
                position = span[0]
                continue
            if self._left and span is not None:
                start, end = span
                if end > len(data):
                    break
                message, level = data[start:end], self._level
                self._left -= end - start
            elif span is None:
                # Whoever wrote this does not frame.
                end = _text_end(data, position)
                if end <= 0:
                    break
                message, level = data[position:end], 0
            else:
                start, end = span
                if end > len(data):
                    break
                message, level = data[start:end], frame_level(data[position + len(MARKER)])
            if shows is None or shows(message, level):
                messages.append(message)
            position = end
        self._rest = data[position:]
        return messages

    def _piece(self, position: int) -> tuple[int, int]:
        return position, position + min(self._left, LINE_LIMIT_BYTES)

    def flush(self) -> list[bytes]:
        """What is left of a frame or line that was never finished."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and (self.shows is None or self.shows(rest, 0)) else []


def _frame_span(data: bytes, position: int) -> tuple[int, int] | None:
    """Where the message of the frame at ``position`` starts and ends: behind the data when more of it has to come.

    None: there is no frame.
    """
    more = (position, len(data) + 1)
    beginning = data[position : position + len(MARKER)]
    if beginning != MARKER:
        return more if MARKER.startswith(beginning) else None
    start = position + HEADER.size
    if len(data) < start:
        return more
    length = HEADER.unpack_from(data, position)[1]
    return (start, start + length) if length <= LONGEST_FRAME_BYTES else None


def _text_end(data: bytes, position: int) -> int:
    """Where a run of text ends that begins at ``position``: 0 when more of it has to come."""
    limit = position + LINE_LIMIT_BYTES
    newline = data.find(b"\n", position, limit)
    frame = data.find(MARKER, position + 1, (newline if newline >= 0 else limit) + len(MARKER) - 1)
    if frame >= 0:
        return frame
    if newline >= 0:
        return newline + 1
    # A marker may lie across the limit: it is told apart once all of it is there.
    return limit if len(data) >= limit + len(MARKER) - 1 else 0
