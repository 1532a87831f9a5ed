"""What can be wrong with policies and credentials files."""

from __future__ import annotations

import json

_MAX_SHOWN = 80


class StatementError(ValueError):
    """A policy statement that cannot be served. The text says where it stands and what is wrong with it."""


class CredentialsFileError(ValueError):
    """A credentials file that cannot be used. The text says what is wrong and what to do, and holds no secret."""


def shown(value: object) -> str:
    """A value of a JSON document for a message, cut if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
