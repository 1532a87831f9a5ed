"""AddLayerVersionPermission, RemoveLayerVersionPermission, GetLayerVersionPolicy, and what they let others do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.api.errors import ApiError
from venturekit.service.api.registry import Call, Registry
from venturekit.service.functions.operations import register_operations
from venturekit.service.functions.plane import ControlPlane
from venturekit.service.functions.registry import FunctionRegistry

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:l:1"
OTHER = "999988887777"
NO_POLICY = "No policy is associated with the given resource."
REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetLayerPolicy API to retrieve the latest Revision Id"
)
EXISTS = (
    "The statement id (s1) provided already exists. "
    "Please provide a new statement id, or remove the existing statement."
)
Run = Callable[..., Any]
ZipOf = Callable[[str], bytes]


async def permit(service: Any, sid: str = "s1", principal: str = "*", **members: Any) -> Any:
    given = {"LayerName": "l", "VersionNumber": 1, "Action": "lambda:GetLayerVersion", **members}
    return await service.call("AddLayerVersionPermission", StatementId=sid, Principal=principal, **given)


async def published(service: Any, zip_of: ZipOf) -> None:
    await service.call("PublishLayerVersion", LayerName="l", Content={"ZipFile": zip_of("a = 1")})


async def policy(service: Any) -> Any:
    answer = await service.call("GetLayerVersionPolicy", LayerName="l", VersionNumber=1)
    assert answer.keys() == {"Policy", "RevisionId"}
    return json.loads(answer["Policy"]), answer["RevisionId"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"Principal": "*"}, {"Principal": "*"}),
        ({"Principal": OTHER}, {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}}),
        (
            {"Principal": f"arn:aws:iam::{OTHER}:root"},
            {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}},
        ),
        (
            {"Principal": "*", "OrganizationId": "o-0123456789"},
            {"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}},
        ),
    ],
)
def test_statements(run: Run, zip_of: ZipOf, given: dict[str, str], shown: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        await published(service, zip_of)
        members = dict(given)
        return await permit(service, principal=members.pop("Principal"), **members), await policy(service)

    added, (document, revision) = run(scenario)
    statement = {"Sid": "s1", "Effect": "Allow", "Action": "lambda:GetLayerVersion", "Resource": ARN, **shown}
    assert added.keys() == {"Statement", "RevisionId"}
    assert json.loads(added["Statement"]) == statement
    # The order of members is AWS's, too.
    order = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    assert list(json.loads(added["Statement"])) == [name for name in order if name in statement]
    assert document == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert revision == added["RevisionId"]


def test_revisions_change_with_every_statement(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await published(service, zip_of)
        first = (await permit(service, "s1"))["RevisionId"]
        second = (await permit(service, "s2", RevisionId=first))["RevisionId"]
        remove = {"LayerName": "l", "VersionNumber": 1, "StatementId": "s1"}
        assert await service.call("RemoveLayerVersionPermission", **remove, RevisionId=second) == {}
        document, third = await policy(service)
        assert [statement["Sid"] for statement in document["Statement"]] == ["s2"]
        assert len({first, second, third}) == 3
        await service.call("RemoveLayerVersionPermission", **{**remove, "StatementId": "s2"})
        error = await service.refused("GetLayerVersionPolicy", LayerName="l", VersionNumber=1)
        assert (error.code, error.status, error.message) == ("ResourceNotFoundException", 404, NO_POLICY)

    run(scenario)


def test_refusals_change_nothing(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        await published(service, zip_of)
        none_yet = await service.refused("GetLayerVersionPolicy", LayerName="l", VersionNumber=1)
        await permit(service, "s1")
        before = await policy(service)
        add = {"LayerName": "l", "VersionNumber": 1, "Action": "lambda:GetLayerVersion", "Principal": "*"}
        remove = {"LayerName": "l", "VersionNumber": 1}
        errors = [
            await service.refused("AddLayerVersionPermission", **add, StatementId="s1"),
            await service.refused("AddLayerVersionPermission", **add, StatementId="s2", RevisionId="wrong"),
            await service.refused("RemoveLayerVersionPermission", **remove, StatementId="s1", RevisionId="wrong"),
            await service.refused("RemoveLayerVersionPermission", **remove, StatementId="none"),
        ]
        assert await policy(service) == before
        return none_yet, *errors

    errors = run(scenario)
    assert [(error.code, error.status) for error in errors] == [
        ("ResourceNotFoundException", 404),
        ("ResourceConflictException", 409),
        ("PreconditionFailedException", 412),
        ("PreconditionFailedException", 412),
        ("ResourceNotFoundException", 404),
    ]
    assert [error.message for error in errors] == [
        NO_POLICY,
        EXISTS,
        REVISION,
        REVISION,
        "Statement none is not found in resource policy.",
    ]


@pytest.mark.parametrize(
    "operation", ["AddLayerVersionPermission", "RemoveLayerVersionPermission", "GetLayerVersionPolicy"]
)
@pytest.mark.parametrize(("name", "number"), [("l", 2), ("none", 1)])
def test_layer_versions_that_do_not_exist(run: Run, zip_of: ZipOf, operation: str, name: str, number: int) -> None:
    async def scenario(service: Any) -> Any:
        await published(service, zip_of)
        members = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
        return await service.refused(operation, LayerName=name, VersionNumber=number, **members)

    error = run(scenario)
    arn = f"arn:aws:lambda:eu-west-1:123456789012:layer:{name}:{number}"
    assert (error.code, error.status, error.message) == (
        "ResourceNotFoundException",
        404,
        f"Layer version {arn} does not exist.",
    )


def test_a_policy_has_a_limit(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        await published(service, zip_of)
        number = 0
        while True:
            number += 1
            before = service.layers.find(ARN)
            try:
                await permit(service, f"{number:0100d}")
            except ApiError as error:
                assert service.layers.find(ARN) is before
                return error, (await service.call("GetLayerVersionPolicy", LayerName="l", VersionNumber=1))["Policy"]

    error, text = run(scenario)
    added_bytes = len(text[text.rindex(',{"Sid"') : -2])
    assert (error.code, error.status) == ("PolicyLengthExceededException", 400)
    assert error.message == f"The final policy size ({len(text) + added_bytes}) is bigger than the limit (20480)."


def other_account(service: Any) -> Registry:
    """The operations of another account of the same service."""
    plane = ControlPlane(
        store=service.store.of_account(OTHER),
        registry=FunctionRegistry(region="eu-west-1", account_id=OTHER),
        code=service.plane.code,
        layers=service.layers,
        now=lambda: service.time,
        new_id=service.plane.new_id,
        code_location=service.plane.code_location,
        report=service.reports.append,
        log=service.logs.append,
    )
    operations = Registry()
    register_operations(operations, plane)
    return operations


@pytest.mark.parametrize(
    ("permission", "lets_in"),
    [
        (None, False),
        ({"principal": "*"}, True),
        ({"principal": OTHER}, True),
        ({"principal": f"arn:aws:iam::{OTHER}:root"}, True),
        ({"principal": "111122223333"}, False),
        ({"principal": "*", "OrganizationId": "o-0123456789"}, False),
    ],
)
def test_what_a_policy_lets_another_account_do(
    run: Run, zip_of: ZipOf, create_members: dict[str, Any], permission: dict[str, str] | None, lets_in: bool
) -> None:
    async def scenario(service: Any) -> Any:
        await published(service, zip_of)
        if permission is not None:
            await permit(service, **permission)
        operations = other_account(service)

        async def call(operation: str, **members: Any) -> Any:
            handler = operations.handler(operation)
            assert handler is not None
            try:
                return await handler(Call(operation, members, "request-1"))
            except ApiError as error:
                return error

        return [
            await call("GetLayerVersionByArn", Arn=ARN),
            await call("GetLayerVersion", LayerName=ARN[:-2], VersionNumber=1),
            await call("CreateFunction", **create_members, Layers=[ARN]),
        ]

    by_arn, by_name, function = run(scenario)
    if lets_in:
        assert by_arn == by_name
        assert by_arn["LayerVersionArn"] == function["Layers"][0]["Arn"] == ARN
        return
    for error in (by_arn, by_name, function):
        assert (error.code, error.status, error.message_key) == ("AccessDeniedException", 403, "Message")
        assert error.message == (
            f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:GetLayerVersion on resource: {ARN} "
            "because no resource-based policy allows the lambda:GetLayerVersion action"
        )
