"""Patterns are tried as the rest of the framework: in a process that knows nothing, with retries that do not wait."""

from __future__ import annotations

from tests.unit.runtime.conftest import fresh_process, lines, pauses

__all__ = ["fresh_process", "lines", "pauses"]
