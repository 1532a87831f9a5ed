"""Request ids and traces, from one draw of random bytes each. Pure but for the draw."""

from __future__ import annotations

import os
from typing import Final

_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def draw() -> str:
    """72 random hexadecimal digits: enough for one request."""
    return os.urandom(36).hex()


def request_id(digits: str) -> str:
    """A UUID (version 4) of the first 32 digits."""
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def trace(digits: str, epoch_seconds: float) -> str:
    """A trace header of the last 40 digits, not sampled."""
    return f"Root=1-{int(epoch_seconds):08x}-{digits[32:56]};Parent={digits[56:72]};Sampled=0"
