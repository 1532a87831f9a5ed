"""TagResource, UntagResource, ListTags, and the tags of CreateFunction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.api.errors import ApiError, render_error
from venturekit.service.functions.tags import MAX_TAGS, check_tags

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
Run = Callable[..., Any]


def test_tags_are_added_replaced_and_removed(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Tags={"a": "1"})
        assert await service.call("TagResource", Resource=ARN, Tags={"b": "2", "c": ""}) == {}
        assert await service.call("TagResource", Resource=ARN, Tags={"b": "3"}) == {}
        assert await service.call("ListTags", Resource=ARN) == {"Tags": {"a": "1", "b": "3", "c": ""}}
        assert (await service.call("GetFunction", FunctionName="f"))["Tags"] == {"a": "1", "b": "3", "c": ""}
        assert await service.call("UntagResource", Resource=ARN, TagKeys=["a", "none"]) == {}
        await service.call("UntagResource", Resource=ARN, TagKeys=["b"])
        return await service.call("ListTags", Resource=ARN)

    async def restarted(service: Any) -> Any:
        return await service.call("ListTags", Resource=ARN)

    assert run(scenario) == run(restarted) == {"Tags": {"c": ""}}


def test_a_function_without_tags_lists_none(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Tags={"a": "1"})
        await service.call("UntagResource", Resource=ARN, TagKeys=["a"])
        assert await service.call("ListTags", Resource=ARN) == {"Tags": {}}
        assert "Tags" not in await service.call("GetFunction", FunctionName="f")

    run(scenario)


def test_a_change_of_tags_is_a_revision_and_nothing_more(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        before = service.registry.version("f")
        await service.call("TagResource", Resource=ARN, Tags={"a": "1"})
        tagged = service.registry.version("f")
        await service.call("UntagResource", Resource=ARN, TagKeys=["a"])
        untagged = service.registry.version("f")
        assert len({version.revision_id for version in (before, tagged, untagged)}) == 3
        assert before.identity == untagged.identity
        assert before.last_modified == untagged.last_modified
        commits = service.store.commits
        await service.call("UntagResource", Resource=ARN, TagKeys=["a"])
        assert service.registry.version("f") is untagged
        assert service.store.commits == commits

    run(scenario)


TAG = {"Tags": {"a": "1"}}
QUALIFIED = "Tags on function aliases and versions are not supported. Please specify a function ARN."
ESM = "arn:aws:lambda:eu-west-1:123456789012:event-source-mapping:01234567-89ab-cdef-0123-456789abcdef"
CSC = "arn:aws:lambda:eu-west-1:123456789012:code-signing-config:csc-0123456789abcdefg"


@pytest.mark.parametrize(
    ("operation", "members"),
    [("TagResource", TAG), ("UntagResource", {"TagKeys": ["a"]}), ("ListTags", {})],
)
@pytest.mark.parametrize(
    ("resource", "status", "message"),
    [
        (f"{ARN[:-1]}g", 404, f"Function not found: {ARN[:-1]}g"),
        (f"{ARN}:$LATEST", 400, QUALIFIED),
        (f"{ARN}:1", 400, QUALIFIED),
        # What the ARN is, comes before whether it exists.
        (f"{ARN[:-1]}g:live", 400, QUALIFIED),
        (ESM, 404, "The resource you requested does not exist."),
        (CSC, 404, f"The Lambda code signing configuration {CSC} can not be found."),
        (
            "arn:aws:lambda:eu-west-1:123456789012:capacity-provider:x",
            404,
            "Capacity provider not found: arn:aws:lambda:eu-west-1:123456789012:capacity-provider:x",
        ),
        (
            "arn:aws:lambda:eu-west-1:111122223333:capacity-provider:x",
            404,
            "The resource you requested does not exist.",
        ),
        (
            ARN.replace("eu-west-1", "us-east-1"),
            404,
            "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')",
        ),
        (ARN.replace("123456789012", "111122223333"), 403, None),
    ],
)
def test_what_cannot_be_tagged(
    run: Run, operation: str, members: dict[str, Any], resource: str, status: int, message: str | None
) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        before = service.registry.function("f")
        error = await service.refused(operation, Resource=resource, **members)
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert (error.status, error.message) == (status, message)
    assert render_error(error, "r")[2].startswith(b'{"Message"') == (resource == CSC or status == 403)


def test_fifty_tags_and_not_one_more(run: Run, create_members: dict[str, Any]) -> None:
    full = {f"k{number}": "v" for number in range(MAX_TAGS)}

    async def scenario(service: Any) -> None:
        error = await service.refused("CreateFunction", **create_members, Tags={**full, "one": "more"})
        assert error.message == "Number of tags exceeds resource tag limit."
        assert "f" not in service.registry
        await service.create(Tags=full)
        await service.call("TagResource", Resource=ARN, Tags={"k0": "new"})
        before = service.registry.function("f")
        error = await service.refused("TagResource", Resource=ARN, Tags={"k0": "newer", "one": "more"})
        assert (error.status, error.message) == (400, "Number of tags exceeds resource tag limit.")
        assert service.registry.function("f") is before

    run(scenario)


def test_no_tag_at_all_is_refused(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        return await service.refused("TagResource", Resource=ARN, Tags={})

    error = run(scenario)
    assert (error.code, error.message) == (
        "InvalidParameterValueException",
        "An error occurred and the request cannot be processed.",
    )


@pytest.mark.parametrize("key", ["aws:", "aws:cloudformation:stack-name", "AWS:x"])
def test_keys_of_aws_are_refused(run: Run, create_members: dict[str, Any], key: str) -> None:
    async def scenario(service: Any) -> None:
        assert (await service.refused("CreateFunction", **create_members, Tags={key: "v"})).status == 400
        await service.create()
        error = await service.refused("TagResource", Resource=ARN, Tags={"a": "1", key: "v"})
        assert error.message.startswith("aws: prefixed tag key names are not allowed")
        assert await service.call("ListTags", Resource=ARN) == {"Tags": {}}

    run(scenario)


def test_other_keys_pass() -> None:
    check_tags({"awsome": "1", "x:aws:": "2", "": "3"})
    with pytest.raises(ApiError):
        check_tags({"aws:x": ""})
