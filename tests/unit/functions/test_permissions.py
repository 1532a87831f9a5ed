"""AddPermission, RemovePermission, GetPolicy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.access.statements import parse_statements
from venturekit.service.api.errors import ApiError

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
MISSING = "The resource you requested does not exist."
REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id"
)
EXISTS = (
    "The statement id (s1) provided already exists. "
    "Please provide a new statement id, or remove the existing statement."
)
PERMISSION = {"FunctionName": "f", "StatementId": "s1", "Action": "lambda:InvokeFunction", "Principal": "*"}
Run = Callable[..., Any]


async def permit(service: Any, **members: Any) -> Any:
    answer = await service.call("AddPermission", **{**PERMISSION, **members})
    assert answer.keys() == {"Statement"}
    return json.loads(answer["Statement"])


async def policy(service: Any, **members: Any) -> Any:
    answer = await service.call("GetPolicy", **{"FunctionName": "f", **members})
    assert answer.keys() == {"Policy", "RevisionId"}
    return json.loads(answer["Policy"]), answer["RevisionId"]


async def versioned(service: Any) -> None:
    """A function with a version and an alias."""
    await service.create(Publish=True)
    await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")


def revisions(service: Any) -> dict[str, str]:
    function = service.registry.function("f")
    return {name: item.revision_id for name, item in {**function.versions, **function.aliases}.items()}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {"Principal": "*"}),
        ({"Principal": "111122223333"}, {"Principal": {"AWS": "arn:aws:iam::111122223333:root"}}),
        (
            {"Principal": "arn:aws:iam::111122223333:user/alice"},
            {"Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"}},
        ),
        (
            {"Principal": "arn:aws:sts::111122223333:assumed-role/r/session"},
            {"Principal": {"AWS": "arn:aws:sts::111122223333:assumed-role/r/session"}},
        ),
        (
            {"Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::b", "SourceAccount": "111122223333"},
            {
                "Principal": {"Service": "s3.amazonaws.com"},
                "Condition": {
                    "StringEquals": {"AWS:SourceAccount": "111122223333"},
                    "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"},
                },
            },
        ),
        (
            {"Principal": "alexa-appkit.amazon.com", "EventSourceToken": "t"},
            {
                "Principal": {"Service": "alexa-appkit.amazon.com"},
                "Condition": {"StringEquals": {"lambda:EventSourceToken": "t"}},
            },
        ),
        (
            {"PrincipalOrgID": "o-0123456789"},
            {"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}},
        ),
        (
            {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
            {
                "Action": "lambda:InvokeFunctionUrl",
                "Principal": "*",
                "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
            },
        ),
        (
            {"InvokedViaFunctionUrl": True},
            {"Principal": "*", "Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}},
        ),
    ],
)
def test_statements(run: Run, given: dict[str, Any], shown: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        return await permit(service, **given), await policy(service)

    statement, (document, _) = run(scenario)
    assert statement == {
        "Sid": "s1",
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": ARN,
        **shown,
    }
    order = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    assert list(statement) == [name for name in order if name in statement]
    assert document == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    # What is kept here is what the evaluation of policies reads.
    assert parse_statements(document, place="policy", principal_allowed=True)[0].sid == "s1"


@pytest.mark.parametrize("qualifier", [None, "1", "live"])
@pytest.mark.parametrize("in_name", [False, True])
def test_each_qualifier_has_a_policy_of_its_own(run: Run, qualifier: str | None, in_name: bool) -> None:
    address: dict[str, Any] = {"FunctionName": "f", "Qualifier": qualifier}
    if in_name:
        address = {"FunctionName": ARN if qualifier is None else f"{ARN}:{qualifier}"}
    target = qualifier or "$LATEST"

    async def scenario(service: Any) -> None:
        await versioned(service)
        others = [{"Qualifier": other} for other in (None, "1", "live") if other != qualifier]
        before = revisions(service)
        identities = {version.identity for version in service.registry.function("f").versions.values()}
        statement = await permit(service, **address, RevisionId=before[target])
        assert statement["Resource"] == (ARN if qualifier is None else f"{ARN}:{qualifier}")
        after = revisions(service)
        assert {name for name in after if after[name] != before[name]} == {target}
        assert await policy(service, **address) == (
            {"Version": "2012-10-17", "Id": "default", "Statement": [statement]},
            after[target],
        )
        for other in others:
            error = await service.refused("GetPolicy", FunctionName="f", **other)
            assert (error.code, error.status, error.message) == ("ResourceNotFoundException", 404, MISSING)
        remove = {**address, "StatementId": "s1"}
        assert await service.call("RemovePermission", **remove, RevisionId=after[target]) == {}
        assert revisions(service)[target] not in (before[target], after[target])
        assert (await service.refused("GetPolicy", **address)).message == MISSING
        assert "policies" not in service.registry.function("f").settings
        # Nothing that runs was changed: no environment is replaced.
        assert {version.identity for version in service.registry.function("f").versions.values()} == identities

    run(scenario)


def test_policies_are_there_after_a_restart_and_go_with_their_version(run: Run) -> None:
    async def before(service: Any) -> Any:
        await versioned(service)
        await service.call("PublishVersion", FunctionName="f")
        for qualifier in (None, "1"):
            await permit(service, Qualifier=qualifier, StatementId=f"s{qualifier}")
        return await policy(service), await policy(service, Qualifier="1")

    async def after(service: Any) -> Any:
        seen = await policy(service), await policy(service, Qualifier="1")
        await service.plane.commit(service.registry.function("f"), service.registry.function("f").without_alias("live"))
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        assert list(service.registry.function("f").settings["policies"]) == [""]
        return seen

    assert run(before) == run(after)


def test_refusals_change_nothing(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await versioned(service)
        await permit(service)
        function = service.registry.function("f")
        add = {**PERMISSION, "StatementId": "s2"}
        remove = {"FunctionName": "f", "StatementId": "s1"}
        errors = [
            await service.refused("AddPermission", **PERMISSION),
            await service.refused("AddPermission", **add, RevisionId="wrong"),
            await service.refused("AddPermission", **add, Qualifier="live", RevisionId=function.latest.revision_id),
            await service.refused("RemovePermission", **remove, RevisionId="wrong"),
            await service.refused("RemovePermission", **{**remove, "StatementId": "none"}),
            await service.refused("RemovePermission", **remove, Qualifier="live"),
            await service.refused("AddPermission", **add, Qualifier="$LATEST"),
            await service.refused("AddPermission", **{**add, "FunctionName": "f:live"}, Qualifier="1"),
            await service.refused("AddPermission", **add, FunctionUrlAuthType="NONE"),
        ]
        assert service.registry.function("f") is function
        return errors

    errors = run(scenario)
    assert [(error.code, error.message) for error in errors] == [
        ("ResourceConflictException", EXISTS),
        ("PreconditionFailedException", REVISION),
        ("PreconditionFailedException", REVISION),
        ("PreconditionFailedException", REVISION),
        ("ResourceNotFoundException", "Statement none is not found in resource policy."),
        ("ResourceNotFoundException", "No policy is associated with the given resource."),
        ("InvalidParameterValueException", "We currently do not support adding policies for $LATEST."),
        (
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            "InvalidParameterValueException",
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ),
    ]


@pytest.mark.parametrize(
    "principal",
    [
        "invalid.nonaws.com",
        "12345",
        "1234567890123",
        "arn:aws:iam::1:root",
        "arn:aws:iam::111122223333:group/g",
        "alice",
    ],
)
def test_principals_that_are_none(run: Run, principal: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        return await service.refused("AddPermission", **{**PERMISSION, "Principal": principal})

    error = run(scenario)
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert error.message == "The provided principal was invalid. Please check the principal and try again."


@pytest.mark.parametrize(
    ("operation", "address", "message"),
    [
        ("AddPermission", {"FunctionName": "none"}, "Function not found: {}none"),
        ("AddPermission", {"FunctionName": "f", "Qualifier": "none"}, "Cannot find alias arn: {}f:none"),
        ("AddPermission", {"FunctionName": "f", "Qualifier": "42"}, "Function not found: {}f:42"),
        ("AddPermission", {"FunctionName": "f", "Qualifier": "with-$"}, "Function not found: {}f:with-$"),
        ("RemovePermission", {"FunctionName": "none"}, "No policy found for: {}none"),
        ("RemovePermission", {"FunctionName": "f"}, "No policy is associated with the given resource."),
        ("RemovePermission", {"FunctionName": "f", "Qualifier": "none"}, "Cannot find alias arn: {}f:none"),
        ("GetPolicy", {"FunctionName": "none"}, "Function not found: {}none"),
        ("GetPolicy", {"FunctionName": "f"}, MISSING),
        ("GetPolicy", {"FunctionName": "f", "Qualifier": "42"}, MISSING),
    ],
)
def test_what_is_not_there(run: Run, operation: str, address: dict[str, str], message: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        return await service.refused(operation, **{**PERMISSION, **address})

    error = run(scenario)
    assert (error.code, error.status, error.type) == ("ResourceNotFoundException", 404, "User")
    assert error.message == message.format(ARN[:-1])


def test_a_policy_has_a_limit(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        number = 0
        while True:
            number += 1
            before = service.registry.function("f")
            try:
                await permit(service, StatementId=f"{number:0100d}")
            except ApiError as error:
                assert service.registry.function("f") is before
                # Another policy of the same function has a limit of its own.
                await service.call("PublishVersion", FunctionName="f")
                await permit(service, Qualifier="1")
                return error, (await service.call("GetPolicy", FunctionName="f"))["Policy"]

    error, text = run(scenario)
    assert (error.code, error.status) == ("PolicyLengthExceededException", 400)
    added_bytes = len(text[text.rindex(',{"Sid"') : -2])
    assert error.message == f"The final policy size ({len(text) + added_bytes}) is bigger than the limit (20480)."


def test_permissions_given_at_once_are_all_kept(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        await asyncio.gather(*(permit(service, StatementId=f"s{number}") for number in range(20)))
        return await policy(service)

    document, _ = run(scenario)
    assert {statement["Sid"] for statement in document["Statement"]} == {f"s{number}" for number in range(20)}
