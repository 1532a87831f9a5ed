"""Standard output and error that keep nothing back: what a function printed is out before the environment can die."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO


class UnbufferedStream:
    """A text stream that flushes after every write. Everything else is the wrapped stream's."""

    __slots__ = ("_flush", "_write", "stream")

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._write = stream.write
        self._flush = stream.flush

    def write(self, text: str) -> int:
        count = self._write(text)
        self._flush()
        return count

    def writelines(self, lines: Iterable[str]) -> None:
        self.stream.writelines(lines)
        self._flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def unbuffer_standard_streams() -> None:
    """Replace sys.stdout and sys.stderr; a stream the interpreter found closed at its start stays as it is."""
    if sys.stdout is not None:
        sys.stdout = UnbufferedStream(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = UnbufferedStream(sys.stderr)
