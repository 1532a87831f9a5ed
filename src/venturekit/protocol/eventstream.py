"""Messages of ``application/vnd.amazon.eventstream``, the form of a streamed answer.

A message is a prelude (two lengths and their checksum), headers, the payload, and a checksum over all of it. Source:
"Event stream encoding" in the AWS documentation of Amazon Transcribe and of Smithy.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

_PRELUDE: Final = struct.Struct(">II")
_CHECKSUM: Final = struct.Struct(">I")
_STRING: Final = 7
_FRAMING_BYTES: Final = 16


def encode_message(headers: dict[str, str], payload: bytes | bytearray) -> bytes:
    """One message. Headers are short texts: names up to 255 bytes, values up to 65535; longer ones raise ValueError."""
    block = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = _PRELUDE.pack(_FRAMING_BYTES + len(block) + len(payload), len(block))
    start = b"%b%b%b" % (prelude, _CHECKSUM.pack(zlib.crc32(prelude)), block)
    checksum = zlib.crc32(payload, zlib.crc32(start))
    return b"".join((start, payload, _CHECKSUM.pack(checksum)))


def encode_event(event_type: str, payload: bytes | bytearray, content_type: str) -> bytes:
    """One event: a message whose headers say that it is one, of which type, and what its payload is."""
    headers = {":message-type": "event", ":event-type": event_type, ":content-type": content_type}
    return encode_message(headers, payload)


def _header(name: bytes, value: bytes) -> bytes:
    if not 0 < len(name) < 1 << 8 or len(value) >= 1 << 16:
        raise ValueError(f"a header of an event stream message is empty or too long: {name[:40]!r}")
    return b"%c%b%c%b%b" % (len(name), name, _STRING, len(value).to_bytes(2, "big"), value)
