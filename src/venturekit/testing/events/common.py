"""What the events of several triggers share: ids, times, texts."""

from __future__ import annotations

import os
import time
from binascii import b2a_base64
from datetime import UTC, datetime
from typing import Any, Final

from venturekit.runtime.encoding import to_json
from venturekit.runtime.environ import new_request_id

REGION: Final = "us-east-1"
ACCOUNT_ID: Final = "123456789012"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def now_ms(given: int | None) -> int:
    """The time of an event in epoch milliseconds: the one that was given, else now."""
    return int(time.time() * 1000) if given is None else given


def new_id(given: str | None = None) -> str:
    """An id: the one that was given, else a new UUID."""
    return new_request_id() if given is None else given


def digits(count: int) -> str:
    """Random hexadecimal digits."""
    return os.urandom((count + 1) // 2).hex()[:count]


def text_of(value: Any) -> str:
    """A message as text: a text is itself, everything else becomes JSON. Raises NotSerializableError."""
    return value if isinstance(value, str) else to_json(value)


def bytes_of(value: Any) -> bytes:
    """A message as bytes: bytes are themselves, everything else its text in UTF-8. Raises NotSerializableError."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else text_of(value).encode()


def base64_of(value: Any) -> str:
    """A message in base64. Raises NotSerializableError."""
    return b2a_base64(bytes_of(value), newline=False).decode()


def iso_time(epoch_ms: int, *, milliseconds: bool = True) -> str:
    """``2026-01-01T00:00:00.000Z``."""
    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    fraction = f".{epoch_ms % 1000:03}" if milliseconds else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def log_time(epoch_ms: int) -> str:
    """``01/Jan/2026:00:00:00 +0000``, months in English whatever the locale."""
    moment = datetime.fromtimestamp(epoch_ms // 1000, UTC)
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year:04}:{moment:%H:%M:%S} +0000"


def trace_header(epoch_ms: int) -> str:
    """A trace as a front door begins it: ``Root=1-<time>-<random>``."""
    return f"Root=1-{epoch_ms // 1000:08x}-{digits(24)}"
