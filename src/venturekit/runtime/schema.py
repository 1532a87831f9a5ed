"""Schemas: what checks a body, a query or an event, and makes a value of it.

Anything with the two methods of ``Schema`` is one. Pydantic models and ``TypeAdapter`` objects, dataclasses and
``TypedDict`` classes are taken as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Issue(NamedTuple):
    """One thing that is wrong: where (names and positions from the outside in), and what (seed 001, ``issues``)."""

    path: tuple[str | int, ...]
    message: str

    @property
    def field(self) -> str:
        """The place in one word: ``tasks.1.title``; empty for the whole."""
        return ".".join(map(str, self.path))


class SchemaError(ValueError):
    """A value is not what a schema says; ``issues`` has everything that is wrong with it."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = list(issues)
        super().__init__("; ".join(f"{issue.field or 'value'}: {issue.message}" for issue in self.issues))


@runtime_checkable
class Schema(Protocol[T_co]):
    """The two methods that make a schema. Write your own, or wrap a library's::

    class Even:
        def parse(self, value):
            if not isinstance(value, int) or value % 2:
                raise SchemaError([Issue((), "must be even")])
            return value

        def json_schema(self):
            return {"type": "integer", "multipleOf": 2}
    """

    def parse(self, value: Any) -> T_co:
        """The value as the schema makes it. Raises SchemaError; any other ValueError counts as one issue."""

    def json_schema(self) -> Mapping[str, Any]:
        """The same rules as a JSON Schema, for documentation and for lists in queries; ``{}`` says nothing."""


class PydanticSchema(Generic[T]):
    """A Pydantic model or ``TypeAdapter``."""

    __slots__ = ("_describe", "_validate")

    def __init__(self, kind: Any) -> None:
        self._validate = getattr(kind, "model_validate", None) or kind.validate_python
        self._describe = getattr(kind, "model_json_schema", None) or kind.json_schema

    def parse(self, value: Any) -> T:
        """The model of a value. Raises SchemaError."""
        try:
            return self._validate(value)  # type: ignore[no-any-return]
        except ValueError as problem:
            errors = getattr(problem, "errors", None)
            if errors is None:
                raise
            raise SchemaError([Issue(tuple(error["loc"]), error["msg"]) for error in errors()]) from None

    def json_schema(self) -> Mapping[str, Any]:
        """Pydantic's own description."""
        return self._describe()  # type: ignore[no-any-return]


def schema_of(kind: Any) -> Schema[Any]:
    """The schema that something stands for.

    Raises TypeError for what is none.
    """
    if hasattr(kind, "model_validate") or hasattr(kind, "validate_python"):
        return PydanticSchema(kind)
    if not isinstance(kind, type) and hasattr(kind, "parse") and hasattr(kind, "json_schema"):
        return kind  # type: ignore[no-any-return]
    from venturekit.runtime.typed_schema import TypedSchema, is_supported

    if is_supported(kind):
        return TypedSchema(kind)
    raise TypeError(
        f"{kind!r} is no schema: a Pydantic model or TypeAdapter, a dataclass, a TypedDict, or an object with the "
        "methods parse(value) and json_schema() is"
    )


def parsed(schema: Schema[T], value: Any) -> T:
    """The value as a schema makes it. Raises SchemaError for every way in which a schema refuses."""
    try:
        return schema.parse(value)
    except SchemaError:
        raise
    except ValueError as problem:
        raise SchemaError([Issue((), str(problem) or "is not valid")]) from None


def fields_of(issues: Sequence[Issue]) -> dict[str, list[str]]:
    """Messages by field, as ``details.fields`` of a ValidationError has them; what is about the whole is ``_``."""
    fields: dict[str, list[str]] = {}
    for issue in issues:
        fields.setdefault(issue.field or "_", []).append(issue.message)
    return fields


def with_lists(schema: Schema[Any], values: Mapping[str, list[str]]) -> dict[str, Any]:
    """Texts of a query or form for a schema: a list where it says list, or where a name came more than once."""
    try:
        properties = schema.json_schema().get("properties") or {}
    except Exception:
        properties = {}
    return {
        name: texts if len(texts) > 1 or _is_list(properties.get(name)) else texts[0]
        for name, texts in values.items()
        if texts
    }


def _is_list(described: Any) -> bool:
    if not isinstance(described, dict):
        return False
    if described.get("type") == "array":
        return True
    return any(_is_list(option) for key in ("anyOf", "oneOf") for option in described.get(key) or ())
