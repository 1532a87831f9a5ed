"""Bodies, queries and path parameters: how they are read, what schemas make of them, what is refused."""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
from typing import Any, TypedDict

import pydantic
import pytest

from tests.unit.runtime.support import data, failure, v1, v2
from venturekit.runtime import Issue, SchemaError, ValidationError, handler

FORM = "application/x-www-form-urlencoded"


def quiet(fn: Any, **options: Any) -> Any:
    return handler(fn, access_log=False, **options)


def shown(body: Any) -> Any:
    """A body as JSON can show it."""
    return {"bytes": body.hex()} if isinstance(body, bytes) else body


def echo(body: Any) -> Any:
    return {"body": shown(body)}


def encoded(body: bytes) -> dict[str, Any]:
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


@pytest.mark.parametrize(
    ("content_type", "event", "expected"),
    [
        ("application/json", {}, None),
        ("application/json", {"body": None}, None),
        ("application/json", {"body": ""}, None),
        ("application/json", {"body": "null"}, None),
        ("application/json", {"body": '{"a":[1,2.5,"ä"]}'}, {"a": [1, 2.5, "ä"]}),
        ("application/json; charset=utf-8", {"body": "[1]"}, [1]),
        ("APPLICATION/JSON", {"body": "[1]"}, [1]),
        ("application/vnd.api+json", {"body": "[1]"}, [1]),
        ("application/problem+json; charset=utf-8", encoded(b"[1]"), [1]),
        ("", {"body": "[1]"}, [1]),
        ("", encoded(b"[1]"), [1]),
        ("", encoded(b"\xff\x00"), {"bytes": "ff00"}),
        ("application/json", encoded('{"ä":1}'.encode()), {"ä": 1}),
        (FORM, {"body": "a=1&b=x+y&b=%C3%A4&c="}, {"a": "1", "b": ["x y", "ä"], "c": ""}),
        (FORM, encoded(b"a=1&b=x+y"), {"a": "1", "b": "x y"}),
        (f"{FORM}; charset=utf-8", encoded(b"a=1"), {"a": "1"}),
        ("text/plain", {"body": "hello"}, "hello"),
        ("text/csv", encoded(b"a;b"), "a;b"),
        ("application/octet-stream", encoded(b"\x00\x01"), {"bytes": "0001"}),
        ("image/png", encoded(b"\x89PNG"), {"bytes": "89504e47"}),
        ("application/xml", {"body": "<a/>"}, "<a/>"),
        ("multipart/form-data; boundary=x", encoded(b"--x--"), {"bytes": "2d2d782d2d"}),
    ],
)
def test_a_body_is_read_as_its_type_says(content_type: str, event: Any, expected: Any) -> None:
    made = v2("PUT", headers={"content-type": content_type}, **event)
    if not content_type:
        del made["headers"]["content-type"]
    assert data(quiet(echo)(made)) == {"body": expected}


@pytest.mark.parametrize(
    ("content_type", "event", "status", "text"),
    [
        ("application/json", {"body": "{"}, 400, "not valid JSON"),
        ("application/json", {"body": "nonsense"}, 400, "not valid JSON"),
        ("application/json", {"body": "NaN"}, 400, "NaN is not a JSON number"),
        ("application/json", {"body": "[-Infinity]"}, 400, "-Infinity is not a JSON number"),
        ("application/json", {"body": "[1e999]"}, 400, "the number 1e999 is too large"),
        ("application/json", {"body": "9" * 5000}, 400, "not valid JSON"),
        ("application/json", {"body": "[1] [2]"}, 400, "not valid JSON"),
        ("application/json", {"body": " "}, 400, "not valid JSON"),
        ("application/json", {"body": "\ufeff{}"}, 400, "not valid JSON"),
        ("application/json", {"body": "[" * 200_000}, 400, "not valid JSON"),
        ("application/json", {"body": {"a": 1}}, 400, "no text"),
        ("application/json", {"body": 5}, 400, "no text"),
        ("application/json", encoded(b"\xff"), 400, "not UTF-8"),
        ("text/plain", encoded(b"\xff"), 400, "not UTF-8"),
        ("application/json", {"body": "!!", "isBase64Encoded": True}, 400, "not base64"),
        ("application/json", {"body": "ä", "isBase64Encoded": True}, 400, "not base64"),
        (FORM, {"body": "&".join(["a=1"] * 10_001)}, 400, "not a form"),
        (FORM, {"body": "a=%FF"}, 400, "not a form"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(content_type: str, event: Any, status: int, text: str) -> None:
    result = quiet(echo)(v2("PUT", headers={"content-type": content_type}) | event)
    assert result["statusCode"] == status
    assert failure(result)["code"] == "BAD_REQUEST"
    assert text in failure(result)["message"]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"body": json.dumps("a" * 8)}, 200),
        ({"body": json.dumps("a" * 9)}, 413),
        ({"body": '"ääää"'}, 200),
        ({"body": '"ääää "'}, 413),
        ({"body": "x" * 1000}, 413),
        (encoded(b'"aaaaaaaa"'), 200),
        (encoded(b'"aaaaaaaaa"'), 413),
        (encoded(b"x" * 1000), 413),
    ],
)
def test_a_body_that_is_too_large_is_refused(event: Any, status: int) -> None:
    result = quiet(echo, max_body_bytes=10)(v2("PUT", **event))
    assert result["statusCode"] == status
    if status == 413:
        assert failure(result) == {
            "code": "PAYLOAD_TOO_LARGE",
            "message": "The body has more than 10 bytes",
            "details": {"maxBytes": 10},
        }


def test_six_megabytes_are_the_limit_that_needs_no_saying() -> None:
    assert quiet(len)(v2("PUT", body='"' + "a" * (6 * 2**20 - 2) + '"'))["statusCode"] == 200
    assert quiet(lambda body: 1)(v2("PUT", body='"' + "a" * (6 * 2**20 - 1) + '"'))["statusCode"] == 413


# --- schemas --------------------------------------------------------------------------------------------------------


class Item(pydantic.BaseModel):
    title: str
    count: int = 1


class ModelOrder(pydantic.BaseModel):
    name: str
    tasks: list[Item] = []


@dataclasses.dataclass
class DataItem:
    title: str
    count: int = 1


@dataclasses.dataclass
class DataOrder:
    name: str
    tasks: list[DataItem] = dataclasses.field(default_factory=list)


class TypedItem(TypedDict, total=False):
    title: str
    count: int


class TypedOrder(TypedDict):
    name: str
    tasks: list[TypedItem]


@pydantic.dataclasses.dataclass
class PydanticDataOrder:
    name: str
    tasks: list[Item] = dataclasses.field(default_factory=list)


class OwnOrder:
    """The two methods of a schema."""

    def parse(self, value: Any) -> Any:
        issues = []
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            issues.append(Issue(("name",), "must be a text"))
        for index, task in enumerate(value.get("tasks", []) if isinstance(value, dict) else []):
            if not isinstance(task.get("title"), str):
                issues.append(Issue(("tasks", index, "title"), "must be a text"))
        if issues:
            raise SchemaError(issues)
        return value

    def json_schema(self) -> dict[str, Any]:
        return {}


SCHEMAS = {
    "pydantic": ModelOrder,
    "adapter": pydantic.TypeAdapter(ModelOrder),
    "dataclass": DataOrder,
    "pydantic dataclass": PydanticDataOrder,
    "typeddict": TypedOrder,
    "own": OwnOrder(),
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_body_becomes_what_its_schema_makes(schema: str) -> None:
    kinds = {
        "pydantic": ModelOrder,
        "adapter": ModelOrder,
        "dataclass": DataOrder,
        "pydantic dataclass": PydanticDataOrder,
    }

    def fn(body: Any) -> Any:
        assert isinstance(body, kinds.get(schema, dict))
        return body

    result = quiet(fn, body=SCHEMAS[schema])(v2("PUT", body={"name": "n", "tasks": [{"title": "t", "count": 2}]}))
    assert data(result) == {"name": "n", "tasks": [{"title": "t", "count": 2}]}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": "n", "tasks": [{"title": "t"}, {"title": 5}]}, ["tasks.1.title"]),
        ({"name": 5, "tasks": [{"title": []}]}, ["name", "tasks.0.title"]),
        ({"tasks": []}, ["name"]),
    ],
)
def test_what_is_wrong_with_a_body_is_told_field_by_field(schema: str, body: Any, fields: list[str]) -> None:
    result = quiet(lambda body: 1 / 0, body=SCHEMAS[schema])(v2("PUT", body=body))
    assert result["statusCode"] == 422
    told = failure(result)
    assert (told["code"], told["message"]) == ("VALIDATION_ERROR", "Invalid request body")
    assert list(told["details"]["fields"]) == fields
    assert all(isinstance(message, str) for messages in told["details"]["fields"].values() for message in messages)


@pytest.mark.parametrize("schema", ["pydantic", "dataclass", "typeddict"])
@pytest.mark.parametrize("body", ["[]", "5", "null", '"a"', ""])
def test_what_is_wrong_with_the_whole_has_no_field(schema: str, body: str) -> None:
    result = quiet(lambda body: 1, body=SCHEMAS[schema])(v2("PUT", body=body))
    assert result["statusCode"] == 422
    assert list(failure(result)["details"]["fields"]) == ["_"]


def test_a_schema_may_raise_any_value_error() -> None:
    class Even:
        def parse(self, value: Any) -> Any:
            if value % 2:
                raise ValueError("must be even")
            return value

        def json_schema(self) -> Any:
            raise NotImplementedError

    assert failure(quiet(lambda body: body, body=Even())(v2("PUT", body="3")))["details"] == {
        "fields": {"_": ["must be even"]}
    }


def test_an_error_of_a_schema_itself_is_nobody_elses() -> None:
    class Broken:
        def parse(self, value: Any) -> Any:
            raise KeyError("secret")

        def json_schema(self) -> Any:
            return {}

    result = quiet(lambda body: body, body=Broken())(v2("PUT", body="3"))
    assert result["statusCode"] == 500
    assert "secret" not in result["body"]


def test_no_more_than_a_hundred_fields_are_told() -> None:
    for schema in (DataOrder, ModelOrder):
        result = quiet(lambda body: body, body=schema)(v2("PUT", body={"name": "n", "tasks": [{}] * 3000}))
        assert result["statusCode"] == 422
        assert 1 < len(failure(result)["details"]["fields"]) <= 101


def test_a_body_that_is_nested_too_deeply_for_a_schema_is_its_callers_fault() -> None:
    body = '{"inner":' * 600 + '{"inner":null}' + "}" * 600
    result = quiet(lambda body: 1, body=Deep)(v2("PUT", body=body))
    assert result["statusCode"] == 422
    assert failure(result)["details"]["fields"] == {"_": ["is nested too deeply"]}


@dataclasses.dataclass
class Deep:
    inner: Deep | None


# --- query and path -------------------------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class ModelQuery(pydantic.BaseModel):
    page: int = 1
    tags: list[str] = []
    flag: bool = False
    color: Color | None = None


@dataclasses.dataclass
class DataQuery:
    page: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)
    flag: bool = False
    color: Color | None = None


@pytest.mark.parametrize("schema", [ModelQuery, DataQuery, pydantic.TypeAdapter(ModelQuery)])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"page": 1, "tags": [], "flag": False, "color": None}),
        ("page=3", {"page": 3, "tags": [], "flag": False, "color": None}),
        ("tags=a", {"page": 1, "tags": ["a"], "flag": False, "color": None}),
        ("tags=a&tags=b%2Cc", {"page": 1, "tags": ["a", "b,c"], "flag": False, "color": None}),
        ("flag=true&color=blue", {"page": 1, "tags": [], "flag": True, "color": "blue"}),
    ],
)
def test_a_query_becomes_what_its_schema_makes(schema: Any, query: str, expected: Any) -> None:
    main = quiet(lambda body, ctx: ctx.query, query=schema)
    assert data(main(v2(query=query))) == expected
    # The second request uses what the first has found out about lists.
    assert data(main(v2(query=query))) == expected


@pytest.mark.parametrize("schema", [ModelQuery, DataQuery])
@pytest.mark.parametrize(("query", "field"), [("page=x", "page"), ("page=1&page=2", "page"), ("color=green", "color")])
def test_a_wrong_query_is_told(schema: Any, query: str, field: str) -> None:
    result = quiet(lambda body, ctx: 1 / 0, query=schema)(v2(query=query))
    assert (result["statusCode"], failure(result)["message"]) == (422, "Invalid query parameters")
    assert list(failure(result)["details"]["fields"]) == [field]


def test_a_query_without_an_end_is_refused() -> None:
    result = quiet(lambda body, ctx: 1, query=DataQuery)(v2(query="&".join(["a=1"] * 10_001)))
    assert (result["statusCode"], failure(result)["message"]) == (400, "The query has more than 10000 fields")


class UserPath(pydantic.BaseModel):
    id: int


@pytest.mark.parametrize(("given", "status"), [({"id": "42"}, 200), ({"id": "x"}, 422), ({}, 422), (None, 422)])
@pytest.mark.parametrize("make", [v2, v1])
def test_path_parameters_have_a_schema_too(make: Any, given: Any, status: int) -> None:
    result = quiet(lambda body, ctx: [ctx.params.id, ctx.path_params], params=UserPath)(make(pathParameters=given))
    assert result["statusCode"] == status
    if status == 200:
        assert data(result) == [42, {"id": "42"}]
    else:
        assert failure(result)["message"] == "Invalid path parameters"
        assert list(failure(result)["details"]["fields"]) == ["id"]


def test_without_schemas_query_and_params_are_texts() -> None:
    main = quiet(lambda body, ctx: [ctx.query, ctx.params, ctx.query is ctx.query_params])
    assert data(main(v2(query="a=1", pathParameters={"id": "42"}))) == [{"a": "1"}, {"id": "42"}, True]


def test_a_validation_error_of_ones_own_looks_the_same() -> None:
    def fn() -> None:
        raise ValidationError("Validation failed", {"email": ["is taken"], "name": "is too long"})

    result = quiet(fn)(v2())
    assert failure(result) == {
        "code": "VALIDATION_ERROR",
        "message": "Validation failed",
        "details": {"fields": {"email": ["is taken"], "name": ["is too long"]}},
    }
