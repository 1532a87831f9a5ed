"""The context of a saga as JSON: what is stored, and what each attempt gets a copy of. Pure."""

from __future__ import annotations

import json
from typing import Any

from venturekit.runtime.encoding import NotSerializableError, to_json
from venturekit.runtime.patterns.saga_errors import SagaContextError
from venturekit.runtime.patterns.saga_machine import MAX_CONTEXT_BYTES


def text_of_context(context: Any) -> str:
    """A context as JSON. Raises SagaContextError for what is no JSON object, or too large."""
    try:
        text = to_json(context)
    except NotSerializableError as problem:
        raise SagaContextError(f"the context of a saga has to be JSON: {problem}") from None
    except Exception as problem:
        # Of what a value makes itself plain with, a model's own code.
        raise SagaContextError(f"the context of a saga has to be JSON, and could not be written: {problem!r}") from None
    if not text.startswith("{"):
        raise SagaContextError(
            f"the context of a saga is a JSON object, a dict for example, not {type(context).__name__}"
        )
    size_bytes = len(text) if text.isascii() else len(text.encode())
    if size_bytes > MAX_CONTEXT_BYTES:
        raise SagaContextError(
            f"the context has {size_bytes:,} bytes as JSON, more than {MAX_CONTEXT_BYTES:,}: store what is large "
            "elsewhere, and keep its name here"
        )
    return text


def context_of_text(text: str) -> dict[str, Any]:
    """A new context from its JSON."""
    return json.loads(text)  # type: ignore[no-any-return]


def fingerprint_of(context: dict[str, Any]) -> str:
    """What tells initial contexts apart: the order of their names does not matter."""
    from hashlib import sha256

    return sha256(json.dumps(context, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
