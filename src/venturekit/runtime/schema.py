"""Schemas: what checks a body, a query or an event, and makes a value of it.

Anything with the two methods of ``Schema`` is one. Pydantic models and ``TypeAdapter`` objects, dataclasses and
``TypedDict`` classes are taken as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ISSUES_LIMIT: Final = 100
"""More issues than this nobody reads; a list of a million wrong items would have a million."""

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


class Adapter(Protocol[T_co]):
    """What a ``TypeAdapter`` of Pydantic is, for type checkers."""

    def validate_python(self, object: Any, /) -> T_co:
        """The value as the adapter makes it."""


class PydanticSchema(Generic[T]):
    """A Pydantic model, ``TypeAdapter`` or dataclass."""

    __slots__ = ("_describe", "_validate")

    def __init__(self, kind: Any) -> None:
        validate = getattr(kind, "model_validate", None) or getattr(kind, "validate_python", None)
        self._validate = validate or kind.__pydantic_validator__.validate_python
        self._describe = (
            getattr(kind, "model_json_schema", None) or getattr(kind, "json_schema", None) or _described(kind)
        )

    def parse(self, value: Any) -> T:
        """The model of a value. Raises SchemaError."""
        try:
            return self._validate(value)  # type: ignore[no-any-return]
        except ValueError as problem:
            errors = getattr(problem, "errors", None)
            if errors is None:
                raise
            raise SchemaError([Issue(tuple(error["loc"]), error["msg"]) for error in errors()[:ISSUES_LIMIT]]) from None

    def json_schema(self) -> Mapping[str, Any]:
        """Pydantic's own description."""
        return self._describe()


def _described(kind: Any) -> Callable[[], Mapping[str, Any]]:
    from venturekit.runtime.typed_description import describe

    return lambda: describe(kind)


def schema_of(kind: Any, *, ignore_unknown: bool = False) -> Schema[Any]:
    """The schema that something stands for; fields that a dataclass or TypedDict does not declare may be ignored.

    Raises TypeError for what is none.
    """
    if any(hasattr(kind, name) for name in ("model_validate", "validate_python", "__pydantic_validator__")):
        return PydanticSchema(kind)
    if not isinstance(kind, type) and hasattr(kind, "parse") and hasattr(kind, "json_schema"):
        return kind  # type: ignore[no-any-return]
    from venturekit.runtime.typed_schema import TypedSchema, is_supported

    if is_supported(kind):
        return TypedSchema(kind, ignore_unknown=ignore_unknown)
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
    for issue in issues[:ISSUES_LIMIT]:
        fields.setdefault(issue.field or "_", []).append(issue.message)
    return fields


def list_names(schema: Schema[Any]) -> frozenset[str]:
    """The names under which a schema expects lists; none for one that does not describe itself."""
    try:
        described = schema.json_schema()
        properties = described.get("properties") or {}
        return frozenset(name for name, described in properties.items() if _is_list(described))
    except Exception:
        return frozenset()


def with_lists(lists: frozenset[str], values: Mapping[str, list[str]]) -> dict[str, Any]:
    """Texts of a query for a schema: a list where it expects one, or where a name came more than once."""
    return {name: texts if len(texts) > 1 or name in lists else texts[0] for name, texts in values.items() if texts}


def _is_list(described: Any) -> bool:
    if not isinstance(described, dict):
        return False
    if described.get("type") == "array":
        return True
    return any(_is_list(option) for key in ("anyOf", "oneOf") for option in described.get(key) or ())
