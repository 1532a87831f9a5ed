"""docs/runtime-api.openapi.json is a valid document, and the listener answers as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.service.runtime_support import request, scenario
from venturekit.service.environments.failures import RESPONSE_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.runtime_support import Answer, Bench, RuntimeConnection

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "runtime-api.openapi.json").read_text(encoding="utf-8")
)
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
OPERATIONS = [
    (path, method, status)
    for path, item in DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
    for status in item[method]["responses"]
]
BASE = "/2018-06-01"
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"


def resolve(node: Any) -> Any:
    """The document without references."""
    if isinstance(node, list):
        return [resolve(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return resolve(target)
    return {name: resolve(each) for name, each in node.items()}


def conform(path: str, method: str, answer: Answer) -> None:
    """The answer is one that the document knows."""
    documented = resolve(DOCUMENT["paths"][path][method]["responses"])
    assert str(answer.status) in documented
    response = documented[str(answer.status)]
    for name, header in response.get("headers", {}).items():
        if header["required"]:
            assert name.lower() in answer.headers
        if name.lower() in answer.headers:
            OAS31Validator(header["schema"]).validate(answer.headers[name.lower()])
    (media_type,) = response["content"]
    assert answer.headers["content-type"] == media_type
    body: Any = json.loads(answer.body) if media_type == "application/json" else answer.body.decode()
    OAS31Validator(response["content"][media_type]["schema"]).validate(body)


class Case:
    """A runtime whose environment has the invocation ``event``, except where the operation is for its init phase."""

    def __init__(self, runtime: RuntimeConnection, other: RuntimeConnection, operation: tuple[str, str, str]) -> None:
        self.runtime = runtime
        self.other = other
        self.path, method, self.request_id = operation
        self.method = method.upper()

    async def call(self, request_id: str = "", body: bytes = b"{}", *, other: bool = False, **headers: str) -> Answer:
        target = BASE + self.path.replace("{requestId}", request_id or self.request_id)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.other if other else self.runtime
        return await connection.call(self.method, target, fields, body if self.method == "POST" else b"")


async def plain(case: Case) -> list[Answer]:
    return [await case.call()]


async def from_a_page(case: Case) -> list[Answer]:
    return [await case.call(Origin="http://evil.example"), await case.call(other=True, Host="evil.example")]


async def second_time(case: Case) -> list[Answer]:
    assert (await case.call()).status < 300
    return [await case.call(), await case.call(Origin="null")]


async def head_too_large(case: Case) -> list[Answer]:
    return [await case.call(X="x" * 1_200_000)]


async def too_large(case: Case) -> list[Answer]:
    return [await case.call(body=b"x" * (RESPONSE_LIMIT_BYTES + 1))]


async def invalid(case: Case) -> list[Answer]:
    """Unknown id, body that ends too early, and for a response a mode that does not exist."""
    answers = [await case.call(UNKNOWN)]
    if case.path.endswith("/response"):
        answers.append(await case.call(Lambda_Runtime_Function_Response_Mode="buffered"))
    whole = request("POST", BASE + case.path.replace("{requestId}", case.request_id), case.runtime.port, None, b"12345")
    case.runtime.send(whole[:-1])
    case.runtime.writer.write_eof()
    answers.append(await case.runtime.read())
    return answers


PROVOKED: dict[str, Callable[[Case], Awaitable[list[Answer]]]] = {
    "200": plain,
    "202": plain,
    "400": invalid,
    "403": from_a_page,
    "404": plain,
    "413": too_large,
    "431": head_too_large,
}
SECOND_TIME = {("/runtime/invocation/next", "403"), ("/runtime/init/error", "403")}


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert len(OPERATIONS) > 20


@pytest.mark.parametrize(("path", "method", "status"), OPERATIONS)
@scenario("uvloop")
async def test_every_documented_status_is_answered_as_documented(
    bench: Bench, path: str, method: str, status: str
) -> None:
    event = bench.submit(extra_headers=b"Lambda-Runtime-Client-Context: {}\r\n")
    (environment,) = await bench.launched()
    runtime = await bench.connect(environment)
    if "{requestId}" in path:
        await runtime.call("GET", f"{BASE}/runtime/invocation/next")
    case = Case(runtime, await bench.connect(environment), (path, method, event.request_id.decode()))
    provoke = second_time if (path, status) in SECOND_TIME else PROVOKED[status]
    for answer in await provoke(case):
        assert str(answer.status) == status
        conform(path, method, answer)
