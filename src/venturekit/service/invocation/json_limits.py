"""The limits of the JSON parser that Lambda reads payloads with (Jackson's StreamReadConstraints, by default)."""

from __future__ import annotations

from typing import Final

MAX_DEPTH: Final = 1000
MAX_NUMBER_DIGITS: Final = 1000
MAX_NAME_BYTES: Final = 50_000
