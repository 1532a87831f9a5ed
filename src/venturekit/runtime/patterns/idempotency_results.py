"""Results of idempotent calls as JSON, and back."""

from __future__ import annotations

from typing import Any

from venturekit.runtime.encoding import NotSerializableError, plain
from venturekit.runtime.patterns.idempotency_errors import IdempotencyResultError
from venturekit.runtime.patterns.idempotency_flow import PROBLEM
from venturekit.runtime.patterns.idempotency_keys import log
from venturekit.runtime.wrapped import HandlerConfigError


class Results:
    """The results of one function, which is ``shown`` in what is said of them. Raises HandlerConfigError."""

    __slots__ = ("_deserialize", "_schema", "_serialize", "_shown")

    def __init__(self, shown: str, result_type: Any = None, serialize: Any = None, deserialize: Any = None) -> None:
        if (serialize is None) != (deserialize is None) or (serialize is not None and result_type is not None):
            raise HandlerConfigError("serialize and deserialize belong together, or result_type stands for both")
        self._shown = shown
        self._serialize, self._deserialize = serialize, deserialize
        self._schema: Any = None
        if result_type is not None:
            from venturekit.runtime.schema import schema_of

            self._schema = schema_of(result_type, ignore_unknown=True)

    def dump(self, result: Any) -> dict[str, Any]:
        """What is kept of a result: of one that cannot be kept, why."""
        try:
            return {"value": as_json(result if self._serialize is None else self._serialize(result))}
        except Exception as problem:
            # It has run, and nothing is more important than that it does not run again.
            fields = {"function": self._shown, "errorType": type(problem).__name__, "errorMessage": str(problem)}
            log("error", "the result of an idempotent call cannot be kept", fields)
            return {PROBLEM: str(problem)}

    def load(self, kept: Any) -> Any:
        """The result again. Raises IdempotencyResultError, and what makes it of JSON."""
        if PROBLEM in kept:
            raise IdempotencyResultError(
                f"{self._shown} has run with this key, but its result could not be kept: {kept[PROBLEM]}"
            )
        value = kept["value"]
        if self._deserialize is not None:
            return self._deserialize(value)
        if self._schema is None:
            return value
        from venturekit.runtime.schema import parsed

        return parsed(self._schema, value)


def as_json(value: Any) -> Any:
    """A value as JSON has it: what a replay gives. Raises NotSerializableError, ValueError, TypeError."""
    if value is None or type(value) in (bool, int, str):
        return value
    import json

    return json.loads(json.dumps(value, allow_nan=False, default=unread))


def unread(value: Any) -> Any:
    """One level of a value for JSON, that is left as it was. Raises NotSerializableError."""
    if hasattr(value, "__next__"):
        raise NotSerializableError(
            f"a value of the type {type(value).__qualname__} can be read once only, and that is for the caller: "
            "make it a list"
        )
    return plain(value)
