"""Names of people, as they come from outside."""

from __future__ import annotations

from venturekit.runtime import ValidationError

LIMIT = 40


def checked_name(given: str) -> str:
    """A name without the blanks around it. Raises ValidationError, which the client is told."""
    name = given.strip()
    if not 1 <= len(name) <= LIMIT or not name.isprintable():
        raise ValidationError("Invalid name", {"name": [f"is 1 to {LIMIT} characters"]})
    return name
