"""Schemas of annotations: a large table of types and values."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping, MutableSequence, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, Optional, Required, TypedDict, TypeVar, Union
from uuid import UUID

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.runtime import Issue, Schema, SchemaError
from venturekit.runtime.schema import PydanticSchema, fields_of, list_names, parsed, schema_of, with_lists
from venturekit.runtime.typed_schema import TypedSchema

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    S = 1
    M = 2


class Model(pydantic.BaseModel):
    id: int


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass
class Positive:
    value: int
    double: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError("must be positive")
        self.double = self.value * 2


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]
    next: T | None = None


class Partial(TypedDict, total=False):
    a: Required[int]
    b: str


class Whole(TypedDict):
    a: int
    b: NotRequired[str]


GOOD: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (str, "", ""),
    (int, 5, 5),
    (int, "5", 5),
    (int, "-5", -5),
    (float, 1.5, 1.5),
    (float, 1, 1.0),
    (float, "1.5", 1.5),
    (float, "-1e3", -1000.0),
    (bool, True, True),
    (bool, "true", True),
    (bool, "False", False),
    (bool, "1", True),
    (bool, "off", False),
    (dict, {"a": 1}, {"a": 1}),
    (list, [1], [1]),
    (tuple, [1, 2], (1, 2)),
    (set, [1, 1], {1}),
    (frozenset, [1], frozenset([1])),
    (Any, object, object),
    (object, None, None),
    (None, None, None),
    (Decimal, "1.50", Decimal("1.50")),
    (Decimal, 1.1, Decimal("1.1")),
    (Decimal, 3, Decimal(3)),
    (datetime.datetime, "2026-01-31T12:00:00Z", datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)),
    (datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
    (datetime.time, "12:30", datetime.time(12, 30)),
    (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
    (Color, "red", Color.RED),
    (Color, Color.RED, Color.RED),
    (Size, 2, Size.M),
    (Size, "2", Size.M),
    (Literal["a", 1], "a", "a"),
    (Literal["a", 1], 1, 1),
    (Literal["a", 1], "1", 1),
    (Literal[True], True, True),
    (list[int], [1, "2"], [1, 2]),
    (list[int], (1, 2), [1, 2]),
    (Sequence[int], ["1"], [1]),
    (MutableSequence[int], [1], [1]),
    (set[str], ["a", "a"], {"a"}),
    (frozenset[int], ["1"], frozenset([1])),
    (tuple[int, str], ["1", "a"], (1, "a")),
    (tuple[int, ...], ["1", 2, 3], (1, 2, 3)),
    (tuple[()], [], ()),
    (dict[str, int], {"a": "1"}, {"a": 1}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (Mapping[str, Point], {"a": {"x": 1}}, {"a": Point(1)}),
    (int | None, None, None),
    (int | None, "5", 5),
    (Optional[int], 5, 5),  # noqa: UP045 - both spellings are read
    (Union[int, str], "5", "5"),  # noqa: UP007
    (int | str, 5, 5),
    (str | int, 5, 5),
    (int | float, 1.5, 1.5),
    (bool | int, 1, 1),
    (Point | Tree, {"name": "a"}, Tree("a")),
    (Annotated[int, "more"], "5", 5),
    (UserId, "5", 5),
    (list[UserId], ["5"], [5]),
    (Point, {"x": "1"}, Point(1)),
    (Point, Point(1), Point(1)),
    (Positive, {"value": 2}, Positive(2)),
    (
        Tree,
        {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]},
        Tree("a", [Tree("b", [Tree("c")])]),
    ),
    (Page[int], {"items": ["1"], "next": "2"}, Page([1], 2)),
    (Page[Point], {"items": [{"x": 1}]}, Page([Point(1)])),
    (Page[Page[int]], {"items": [{"items": [1]}]}, Page([Page([1])])),
    (Partial, {"a": 1}, {"a": 1}),
    (Partial, {"a": "1", "b": "c"}, {"a": 1, "b": "c"}),
    (Whole, {"a": 1}, {"a": 1}),
    (list[Model], [{"id": "1"}], [Model(id=1)]),
    (dict[str, list[Point | None]], {"a": [None, {"x": 1}]}, {"a": [None, Point(1)]}),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_a_value_becomes_what_its_type_says(kind: Any, value: Any, expected: Any) -> None:
    made = TypedSchema(kind).parse(value)
    assert made == expected
    assert type(made) is type(expected)


BAD: list[tuple[Any, Any, list[tuple[tuple[Any, ...], str]]]] = [
    (str, 5, [((), "must be a text, not a number")]),
    (str, None, [((), "must be a text, not null")]),
    (int, "x", [((), "must be an integer, not a text")]),
    (int, "", [((), "must be an integer, not a text")]),
    (int, " 5", [((), "must be an integer, not a text")]),
    (int, "1_000", [((), "must be an integer, not a text")]),
    (int, "５", [((), "must be an integer, not a text")]),
    (int, "9" * 5000, [((), "must be an integer, not a text")]),
    (int, 1.0, [((), "must be an integer, not a number")]),
    (int, True, [((), "must be an integer, not a boolean")]),
    (int, [1], [((), "must be an integer, not a list")]),
    (float, True, [((), "must be a number, not a boolean")]),
    (float, "nan", [((), "must be a number, not a text")]),
    (float, "inf", [((), "must be a number, not a text")]),
    (float, "1e999", [((), "must be a number, not a text")]),
    (float, float("inf"), [((), "must be a number, not a number")]),
    (float, 10**400, [((), "must be a number, not a number")]),
    (float, "1_0", [((), "must be a number, not a text")]),
    (bool, "maybe", [((), "must be true or false, not a text")]),
    (bool, 1, [((), "must be true or false, not a number")]),
    (Decimal, "NaN", [((), "must be a decimal number, not a text")]),
    (Decimal, "sNaN", [((), "must be a decimal number, not a text")]),
    (Decimal, "Infinity", [((), "must be a decimal number, not a text")]),
    (Decimal, True, [((), "must be a decimal number, not a boolean")]),
    (Decimal, "x", [((), "must be a decimal number, not a text")]),
    (datetime.datetime, "yesterday", [((), "must be a date and time like 2026-01-31T12:00:00Z, not a text")]),
    (datetime.date, "2026-02-31", [((), "must be a date like 2026-01-31, not a text")]),
    (datetime.date, 5, [((), "must be a date like 2026-01-31, not a number")]),
    (UUID, "x", [((), "must be a UUID, not a text")]),
    (UUID, 5, [((), "must be a UUID, not a number")]),
    (Color, "green", [((), "must be one of 'red', 'blue'")]),
    (Color, ["red"], [((), "must be one of 'red', 'blue'")]),
    (Color, {}, [((), "must be one of 'red', 'blue'")]),
    (Size, True, [((), "must be one of 1, 2")]),
    (Size, "S", [((), "must be one of 1, 2")]),
    (Literal["a", 1], "b", [((), "must be one of 'a', 1")]),
    (Literal["a", 1], True, [((), "must be one of 'a', 1")]),
    (Literal[True], 1, [((), "must be one of True")]),
    (Literal["a"], ["a"], [((), "must be one of 'a'")]),
    (None, 5, [((), "must be null, not a number")]),
    (list[int], "12", [((), "must be a list, not a text")]),
    (list[int], [1, "x", None], [((1,), "must be an integer, not a text"), ((2,), "must be an integer, not null")]),
    (set[Any], [[1]], [((), "has items that cannot be in a set")]),
    (set, [[1]], [((), "must be a list, not a list")]),
    (tuple[int, str], [1], [((), "must have 2 items, not 1")]),
    (tuple[()], [1], [((), "must have 0 items, not 1")]),
    (tuple[int, ...], ["x"], [((0,), "must be an integer, not a text")]),
    (dict[str, int], [], [((), "must be an object, not a list")]),
    (dict[str, int], {"a": "x"}, [(("a",), "must be an integer, not a text")]),
    (dict[int, str], {"x": "a"}, [(("x",), "must be an integer, not a text")]),
    (int | None, "x", [((), "must be an integer, not a text")]),
    (Point | int, {"x": "y"}, [(("x",), "must be an integer, not a text")]),
    (Point, {}, [(("x",), "is required")]),
    (Point, {"x": None}, [(("x",), "must be an integer, not null")]),
    (Point, {"x": 1, "z": 2}, [(("z",), "is not known")]),
    (Point, [], [((), "must be an object, not a list")]),
    (Point, None, [((), "must be an object, not null")]),
    (Positive, {"value": -1}, [((), "must be positive")]),
    (Positive, {"value": 1, "double": 5}, [(("double",), "is not known")]),
    (list[Positive], [{"value": 1}, {"value": 0}], [((1,), "must be positive")]),
    (
        Tree,
        {"name": "a", "children": [{"children": [{}]}]},
        [
            (("children", 0, "name"), "is required"),
            (("children", 0, "children", 0, "name"), "is required"),
        ],
    ),
    (Page[int], {"items": ["x"]}, [(("items", 0), "must be an integer, not a text")]),
    (Partial, {"b": 5}, [(("a",), "is required"), (("b",), "must be a text, not a number")]),
    (Whole, {"a": 1, "c": 1}, [(("c",), "is not known")]),
    (list[Model], [{}], [((0, "id"), "Field required")]),
]


@pytest.mark.parametrize(("kind", "value", "expected"), BAD)
def test_what_is_wrong_is_told(kind: Any, value: Any, expected: Any) -> None:
    with pytest.raises(SchemaError) as caught:
        TypedSchema(kind).parse(value)
    found = [(issue.path, issue.message) for issue in caught.value.issues]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [Color, bytes, complex, type, list[bytes], dict[str, complex], TypeVar, Literal, list[Color] | bytes, type[int]],
)
def test_a_type_that_cannot_be_checked_is_refused_at_once(kind: Any) -> None:
    if kind is Color:
        assert schema_of(kind).parse("red") is Color.RED
        return
    with pytest.raises(TypeError):
        schema_of(kind)


def test_a_class_that_is_not_there_yet_is_looked_for_later() -> None:
    @dataclasses.dataclass
    class Waits:
        late: Late  # noqa: F821 - the point of it

    schema = TypedSchema(Waits)
    with pytest.raises(NameError):
        schema.parse({"late": 1})
    globals()["Late"] = int
    try:
        assert schema.parse({"late": "1"}) == Waits(1)
    finally:
        del globals()["Late"]


def test_unknown_fields_can_be_ignored() -> None:
    schema = schema_of(Tree, ignore_unknown=True)
    assert schema.parse({"name": "a", "new": 1, "children": [{"name": "b", "new": 2}]}) == Tree("a", [Tree("b")])


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: Any = {"name": "end"}
    for _ in range(3000):
        value = {"name": "a", "children": [value]}
    with pytest.raises(SchemaError, match="nested too deeply"):
        TypedSchema(Tree).parse(value)


def test_issues_have_an_end() -> None:
    for kind, value in ((list[int], ["x"] * 10**6), (dict[str, int], {str(n): "x" for n in range(10**5)})):
        with pytest.raises(SchemaError) as caught:
            TypedSchema(kind).parse(value)
        assert len(caught.value.issues) <= 101


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["red", "1", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["x", "y", "name", "children", "items", "a", "b", "id", "value"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.sampled_from([TypedSchema(case[0]) for case in GOOD]), values)
def test_any_value_is_taken_or_refused_and_never_breaks(schema: TypedSchema, value: Any) -> None:
    issues: list[Issue] | None = None
    try:
        schema.parse(value)
    except SchemaError as error:
        issues = error.issues
    assert issues != [], "what is refused is refused for a reason"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, {"type": "integer"}),
        (
            Point,
            {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                "required": ["x"],
                "additionalProperties": False,
            },
        ),
        (list[Color], {"type": "array", "items": {"enum": ["red", "blue"]}}),
        (dict[str, Decimal], {"type": "object", "additionalProperties": {"type": "string", "format": "decimal"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (set, {"type": "array"}),
        (UserId, {"type": "integer"}),
        (Any, {}),
        (datetime.date, {"type": "string", "format": "date"}),
    ],
)
def test_types_describe_themselves(kind: Any, expected: Any) -> None:
    assert TypedSchema(kind).json_schema() == expected


def test_a_type_inside_itself_is_described_once() -> None:
    assert TypedSchema(Tree).json_schema()["properties"]["children"] == {"type": "array", "items": {}}


# --- schema.py ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Query:
    one: int
    many: list[str]
    pair: tuple[int, int]
    maybe: list[int] | None = None


class ModelQuery(pydantic.BaseModel):
    one: int
    many: list[str]
    pair: tuple[int, int]
    maybe: list[int] | None = None


@pytest.mark.parametrize("kind", [Query, ModelQuery])
def test_lists_of_a_query(kind: Any) -> None:
    lists = list_names(schema_of(kind))
    assert lists == {"many", "pair", "maybe"}
    given = {"one": ["1"], "many": ["a"], "other": ["a", "b"], "empty": []}
    assert with_lists(lists, given) == {"one": "1", "many": ["a"], "other": ["a", "b"]}


def test_a_schema_that_does_not_describe_itself_has_no_lists() -> None:
    class Silent:
        def parse(self, value: Any) -> Any:
            return value

        def json_schema(self) -> Any:
            raise NotImplementedError

    assert list_names(Silent()) == frozenset()
    assert isinstance(Silent(), Schema)


def test_every_value_error_is_an_issue() -> None:
    class Strict:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def parse(self, value: Any) -> Any:
            raise self._error

        def json_schema(self) -> Any:
            return {}

    for error, expected in (
        (ValueError("m"), [Issue((), "m")]),
        (ValueError(), [Issue((), "is not valid")]),
        (SchemaError([Issue(("a",), "m")]), [Issue(("a",), "m")]),
    ):
        with pytest.raises(SchemaError) as caught:
            parsed(Strict(error), 1)
        assert caught.value.issues == expected
    with pytest.raises(KeyError):
        parsed(Strict(KeyError("bug")), 1)


def test_pydantic_s_own_errors_are_ours() -> None:
    schema: PydanticSchema[Any] = PydanticSchema(pydantic.TypeAdapter(list[Model]))
    with pytest.raises(SchemaError) as caught:
        schema.parse([{"id": 1}, {"id": "x"}])
    assert caught.value.issues[0].path == (1, "id")
    assert schema.json_schema()["type"] == "array"


def test_messages_by_field() -> None:
    issues = [Issue((), "whole"), Issue(("a", 1, "b"), "x"), Issue(("a", 1, "b"), "y")]
    assert fields_of(issues) == {"_": ["whole"], "a.1.b": ["x", "y"]}
    assert [issue.field for issue in issues] == ["", "a.1.b", "a.1.b"]
