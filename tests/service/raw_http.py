"""One connection that is kept alive, on which any bytes can be sent and every answer is checked for its form."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
TIMEOUT_SECONDS = 5.0


class BadAnswerError(AssertionError):
    """What came is no answer, is cut short, has too much, or came too late."""


@dataclass(frozen=True)
class RawAnswer:
    """Status, header fields in lower case with all their values, and the body."""

    status: int
    fields: dict[str, list[str]]
    body: bytes

    def field(self, name: str) -> str:
        """The one value of a field; raises :class:`BadAnswerError` for none or several."""
        values = self.fields.get(name.lower(), [])
        if len(values) != 1:
            raise BadAnswerError(f"the answer has {len(values)} fields {name}")
        return values[0]

    @property
    def code(self) -> str | None:
        """The code of an error."""
        return self.field("x-amzn-ErrorType") if "x-amzn-errortype" in self.fields else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """A connection to ``port``; made anew when the service has closed it as it had said."""

    def __init__(self, port: int, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._address = ("127.0.0.1", port)
        self._timeout_seconds = timeout_seconds
        self._socket: socket.socket | None = None
        self._buffer = b""

    def ask(self, method: str, target: bytes, fields: Iterable[tuple[str, bytes]], body: bytes | None) -> RawAnswer:
        """Send one request and read its answer; raises :class:`BadAnswerError`."""
        lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: 127.0.0.1:%d" % self._address[1]]
        lines += [name.encode() + b": " + value for name, value in fields]
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        deadline = time.monotonic() + self._timeout_seconds
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=self._timeout_seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._buffer = b""
        try:
            # A service that has answered already may have stopped reading.
            with suppress(BrokenPipeError, ConnectionResetError):
                self._socket.sendall(b"\r\n".join([*lines, b"", body or b""]))
            answer = self._read(deadline)
        except BaseException:
            self.close()
            raise
        if "close" in ",".join(answer.fields.get("connection", [])).lower():
            self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self, deadline: float) -> RawAnswer:
        while b"\r\n\r\n" not in self._buffer:
            self._receive(deadline)
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        found = STATUS_LINE.fullmatch(first)
        if found is None:
            raise BadAnswerError(f"the status line is {first!r}")
        fields: dict[str, list[str]] = {}
        for line in lines:
            parts = FIELD.fullmatch(line)
            if parts is None:
                raise BadAnswerError(f"the header line {line!r}")
            fields.setdefault(parts[1].decode().lower(), []).append(parts[2].decode("utf-8"))
        answer = RawAnswer(int(found[1]), fields, b"")
        size = 0
        if answer.status != 204:
            length = answer.field("Content-Length")
            if not re.fullmatch("[0-9]+", length) or "transfer-encoding" in fields:
                raise BadAnswerError(f"the answer's length: {fields}")
            size = int(length)
        elif answer.fields.get("content-length", ["0"]) != ["0"] or "transfer-encoding" in fields:
            raise BadAnswerError("an answer 204 has a body")
        while len(self._buffer) < size:
            self._receive(deadline)
        body, surplus = self._buffer[:size], self._buffer[size:]
        if surplus:
            raise BadAnswerError(f"{len(surplus)} bytes too many: {surplus[:100]!r}")
        self._buffer = b""
        return RawAnswer(answer.status, fields, body)

    def _receive(self, deadline: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(262_144)
        except TimeoutError:
            raise BadAnswerError(f"no answer within {self._timeout_seconds} s") from None
        except ConnectionResetError:
            raise BadAnswerError("the connection was reset") from None
        if not data:
            raise BadAnswerError(f"the connection was closed after {self._buffer[:100]!r}")
        self._buffer += data
