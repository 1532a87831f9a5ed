"""Messages of ``application/vnd.amazon.eventstream``, the form of a streamed answer: written, and read without I/O.

A message is a prelude (two lengths and their checksum), headers, the payload, and a checksum over all of it. Source:
"Amazon Event Stream Specification" of Smithy; "Event stream encoding" in the AWS documentation of Amazon Transcribe.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias, TypeVar

    # A memoryview has to be one of bytes: its length is taken as its size.
    Data: TypeAlias = bytes | bytearray | memoryview
    HeaderValue: TypeAlias = bool | int | bytes | str
    _Payload = TypeVar("_Payload", bound=Data)

PAYLOAD_LIMIT_BYTES: Final = 24 * 1024 * 1024
"""The longest payload (Smithy's specification; 16 MiB in older pages)."""
HEADERS_LIMIT_BYTES: Final = 128 * 1024
"""The longest block of encoded headers (Smithy's specification)."""

_PRELUDE: Final = struct.Struct(">II")
_CHECKSUM: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_PRELUDE_BYTES: Final = 12
_CHECKSUM_BYTES: Final = 4
_FRAMING_BYTES: Final = _PRELUDE_BYTES + _CHECKSUM_BYTES
_NAME_LIMIT_BYTES: Final = (1 << 8) - 1
_VALUE_LIMIT_BYTES: Final = (1 << 15) - 1

# The types of header values: no bytes for the booleans, a number, a length and so many bytes, or 16 bytes.
_TRUE: Final = 0
_FALSE: Final = 1
_BYTES: Final = 6
_STRING: Final = 7
_UUID: Final = 9
_UUID_BYTES: Final = 16
_NUMBERS: Final = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}


class EventStreamError(ValueError):
    """Bytes that are no event stream: a wrong checksum, a length or a header that cannot be. The text says which."""


class TruncatedStreamError(EventStreamError):
    """The stream ended inside a message."""


class Message(NamedTuple):
    """A message that was read.

    The value of a header is, by its type: bool, int (byte, short, integer, long), bytes (byte array), str, int
    (timestamp: milliseconds of the epoch) or 16 bytes (UUID), as botocore has them.
    """

    headers: dict[str, HeaderValue]
    payload: bytes


def encode_message(headers: dict[str, str], payload: Data) -> bytes:
    """One message. Headers are short texts: names of 1 to 255 bytes, values up to 32767.

    Raises ValueError for headers that are not, or for more than the limits of the format.
    """
    return b"".join(_parts(headers, payload))


def encode_event(event_type: str, payload: Data, content_type: str) -> bytes:
    """One event: a message whose headers say that it is one, of which type, and what its payload is."""
    return b"".join(encode_event_parts(event_type, payload, content_type))


def encode_event_parts(event_type: str, payload: _Payload, content_type: str) -> tuple[bytes, _Payload, bytes]:
    """The same event as what comes before the payload, the payload itself, uncopied, and what comes after it."""
    return _parts({":message-type": "event", ":event-type": event_type, ":content-type": content_type}, payload)


def _parts(headers: dict[str, str], payload: _Payload) -> tuple[bytes, _Payload, bytes]:
    block = b"".join([_header(name.encode(), value.encode()) for name, value in headers.items()])
    if len(block) > HEADERS_LIMIT_BYTES or len(payload) > PAYLOAD_LIMIT_BYTES:
        raise ValueError(
            f"an event stream message has {HEADERS_LIMIT_BYTES} bytes of headers and {PAYLOAD_LIMIT_BYTES} bytes of "
            f"payload at most, not {len(block)} and {len(payload)}: send the payload in several events"
        )
    prelude = _PRELUDE.pack(_FRAMING_BYTES + len(block) + len(payload), len(block))
    start = b"%b%b%b" % (prelude, _CHECKSUM.pack(zlib.crc32(prelude)), block)
    return start, payload, _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(start)))


def _header(name: bytes, value: bytes) -> bytes:
    if not 0 < len(name) <= _NAME_LIMIT_BYTES or len(value) > _VALUE_LIMIT_BYTES:
        raise ValueError(f"a header of an event stream message is empty or too long: {name[:40]!r}")
    return b"%c%b%c%b%b" % (len(name), name, _STRING, _LENGTH.pack(len(value)), value)


class MessageDecoder:
    """Reads messages from bytes that arrive in any pieces.

    Feed it what arrives, take the messages, and call ``end()`` when nothing more comes. Both checksums are verified,
    the one of the lengths before anything is believed of them. After an error the stream has no meaning any more:
    every further call raises the same error.
    """

    __slots__ = ("_buffer", "_failure", "_headers_bytes", "_headers_limit", "_payload_limit", "_total_bytes")

    def __init__(
        self, *, payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES, headers_limit_bytes: int = HEADERS_LIMIT_BYTES
    ) -> None:
        self._payload_limit = payload_limit_bytes
        self._headers_limit = headers_limit_bytes
        self._buffer = bytearray()
        self._failure: EventStreamError | None = None
        # Of the message that has begun; no message is 0 bytes long.
        self._total_bytes = 0
        self._headers_bytes = 0

    def feed(self, data: Data) -> Iterator[Message]:
        """The messages that are complete now. What is not taken from the iterator comes with the next call.

        Raises EventStreamError, here or while iterating, in the place where the broken message would have come.
        """
        if self._failure is not None:
            raise self._failure
        self._buffer += data
        return self._messages()

    def end(self) -> None:
        """Nothing more comes, and all messages were taken.

        Raises TruncatedStreamError if a message has begun that is not complete.
        """
        if self._failure is None and self._buffer:
            expected = str(self._total_bytes) if self._total_bytes else f"at least {_FRAMING_BYTES}"
            text = f"the event stream ended inside a message: {len(self._buffer)} bytes of {expected} have come"
            self._failure = TruncatedStreamError(text)
        if self._failure is not None:
            raise self._failure

    def _messages(self) -> Iterator[Message]:
        while True:
            try:
                message = self._next()
            except EventStreamError as failure:
                self._failure = failure
                self._buffer.clear()
                raise
            if message is None:
                return
            yield message

    def _next(self) -> Message | None:
        if not self._total_bytes:
            if len(self._buffer) < _PRELUDE_BYTES:
                return None
            self._read_prelude()
        if len(self._buffer) < self._total_bytes:
            return None
        payload_start, payload_end = _PRELUDE_BYTES + self._headers_bytes, self._total_bytes - _CHECKSUM_BYTES
        with memoryview(self._buffer) as view:
            computed = zlib.crc32(view[:payload_end])
            (expected,) = _CHECKSUM.unpack_from(view, payload_end)
            block, payload = bytes(view[_PRELUDE_BYTES:payload_start]), bytes(view[payload_start:payload_end])
        if computed != expected:
            raise EventStreamError(f"the checksum of a message is 0x{expected:08x}, its bytes have 0x{computed:08x}")
        headers = _read_headers(block)
        del self._buffer[: self._total_bytes]
        self._total_bytes = 0
        return Message(headers, payload)

    def _read_prelude(self) -> None:
        total, headers = _PRELUDE.unpack_from(self._buffer)
        (expected,) = _CHECKSUM.unpack_from(self._buffer, _PRELUDE.size)
        computed = zlib.crc32(self._buffer[: _PRELUDE.size])
        if computed != expected:
            raise EventStreamError(
                f"the checksum of a message's lengths is 0x{expected:08x}, its bytes have 0x{computed:08x}: "
                "this is no event stream, or bytes of it are lost"
            )
        payload = total - headers - _FRAMING_BYTES
        if payload < 0:
            raise EventStreamError(f"a message of {total} bytes cannot hold {headers} bytes of headers")
        if headers > self._headers_limit:
            raise EventStreamError(f"a message has {headers} bytes of headers, more than {self._headers_limit}")
        if payload > self._payload_limit:
            raise EventStreamError(f"a message has {payload} bytes of payload, more than {self._payload_limit}")
        self._total_bytes, self._headers_bytes = total, headers


def _read_headers(block: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    while at < len(block):
        name, at = _read_text(block, at + 1, block[at], "the name of a header")
        if not name or name in headers:
            raise EventStreamError(f"the header {name[:80]!r} comes twice" if name else "a header has no name")
        try:
            headers[name], at = _read_value(block, at, name)
        except (IndexError, struct.error):
            raise EventStreamError(f"the header {name[:80]!r} goes on behind the end of the headers") from None
    return headers


def _read_value(block: bytes, at: int, name: str) -> tuple[HeaderValue, int]:
    """A value and where it ends. Raises IndexError or struct.error where the headers end before it."""
    kind = block[at]
    at += 1
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_BYTES, _STRING):
        (length,) = _LENGTH.unpack_from(block, at)
        read = _read_text if kind == _STRING else _read_bytes
        return read(block, at + _LENGTH.size, length, f"the header {name[:80]!r}")
    if kind == _UUID:
        return _read_bytes(block, at, _UUID_BYTES, f"the header {name[:80]!r}")
    if kind not in _NUMBERS:
        raise EventStreamError(f"the header {name[:80]!r} has the unknown type {kind}")
    (number,) = _NUMBERS[kind].unpack_from(block, at)
    return int(number), at + _NUMBERS[kind].size


def _read_bytes(block: bytes, at: int, length: int, what: str) -> tuple[bytes, int]:
    end = at + length
    if end > len(block):
        raise EventStreamError(f"{what} goes on behind the end of the headers")
    return block[at:end], end


def _read_text(block: bytes, at: int, length: int, what: str) -> tuple[str, int]:
    data, end = _read_bytes(block, at, length, what)
    try:
        return data.decode(), end
    except UnicodeDecodeError:
        raise EventStreamError(f"{what} is not UTF-8: {data[:80]!r}") from None
