"""Aliases through boto3: update, delete, list, and invocations that are shared between two versions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "def handler(event, context):\n    return context.function_version\n"


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


@pytest.fixture
def versions(functions: FunctionSet) -> str:
    """A function with the versions 1 and 2, which return their own number."""
    name = functions.create(SOURCE)
    functions.publish(name)
    functions.update(name, f"{SOURCE}\n")
    functions.publish(name)
    return name


def shares(functions: FunctionSet, name: str, count: int) -> Counter[str]:
    """How many of the invocations of the alias ``live`` went to which version."""
    counted: Counter[str] = Counter()
    for _ in range(count):
        outcome = functions.invoke(f"{name}:live", LogType="None")
        assert outcome.value == outcome.version
        counted[outcome.version or ""] += 1
    return counted


def test_weights_share_the_invocations(functions: FunctionSet, versions: str) -> None:
    client = functions.client
    alias = {"FunctionName": versions, "Name": "live"}
    half = {"AdditionalVersionWeights": {"2": 0.5}}
    created = client.create_alias(**alias, FunctionVersion="1", RoutingConfig=half)
    assert created["RoutingConfig"] == half
    # Beyond these bounds (more than six standard deviations) lies less than one run in 100 million.
    counted = shares(functions, versions, 200)
    assert set(counted) == {"1", "2"}
    assert 56 <= counted["2"] <= 144
    client.update_alias(**alias, RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    assert shares(functions, versions, 20) == {"2": 20}
    client.update_alias(**alias, RoutingConfig={"AdditionalVersionWeights": {"2": 0.0}})
    assert shares(functions, versions, 20) == {"1": 20}
    client.update_alias(**alias, RoutingConfig={})
    assert shares(functions, versions, 5) == {"1": 5}
    client.update_alias(**alias, FunctionVersion="2")
    assert shares(functions, versions, 5) == {"2": 5}
    client.delete_alias(**alias)
    found = refused(client.invoke, FunctionName=f"{versions}:live")
    assert found == (404, "ResourceNotFoundException", f"Function not found: {ARN}:{versions}:live")


def test_an_update_and_its_guard(functions: FunctionSet, versions: str) -> None:
    client = functions.client
    alias = {"FunctionName": versions, "Name": "live"}
    first = client.create_alias(**alias, FunctionVersion="1")
    second = client.update_alias(**alias, Description="about", RevisionId=first["RevisionId"])
    assert second["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert {member: value for member, value in second.items() if member != "ResponseMetadata"} == {
        "AliasArn": f"{ARN}:{versions}:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "about",
        "RevisionId": second["RevisionId"],
    }
    status, code, _ = refused(client.update_alias, **alias, RevisionId=first["RevisionId"])
    assert (status, code) == (412, "PreconditionFailedException")
    found = refused(client.update_alias, FunctionName=versions, Name="nobody")
    assert found == (404, "ResourceNotFoundException", f"Alias not found: {ARN}:{versions}:nobody")


VALUES = (
    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
    "Member must have value greater than or equal to 0.0, Member must not be null]"
)
KEYS = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, "
    "Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, "
    "Member must not be null]"
)


@pytest.mark.parametrize(
    ("weights", "shown", "constraint"),
    [({"2": 1.5}, "{2=1.5}", VALUES), ({"$LATEST": 0.5}, "{$LATEST=0.5}", KEYS)],
)
def test_weights_outside_the_model(
    functions: FunctionSet, weights: dict[str, float], shown: str, constraint: str
) -> None:
    name = functions.create(SOURCE)
    version = functions.publish(name)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    found = refused(
        functions.client.update_alias,
        FunctionName=name,
        Name="live",
        RoutingConfig={"AdditionalVersionWeights": weights},
    )
    where = "at 'routingConfig.additionalVersionWeights' failed to satisfy constraint"
    text = f"1 validation error detected: Value '{shown}' {where}: {constraint}"
    assert found == (400, "ValidationException", text)


def test_aliases_are_paged_and_deleted(functions: FunctionSet, versions: str) -> None:
    client = functions.client
    names = [f"a{number}" for number in range(5)]
    for number, name in enumerate(names):
        client.create_alias(FunctionName=versions, Name=name, FunctionVersion="12"[number % 2])
    pages = list(client.get_paginator("list_aliases").paginate(FunctionName=versions, PaginationConfig={"PageSize": 2}))
    assert [[alias["Name"] for alias in page["Aliases"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    of_two = client.list_aliases(FunctionName=versions, FunctionVersion="2")
    assert [alias["Name"] for alias in of_two["Aliases"]] == ["a1", "a3"]
    assert "NextMarker" not in of_two
    assert refused(client.list_aliases, FunctionName=versions, Marker="wrong")[1] == "InvalidParameterValueException"
    for _ in range(2):
        deleted = client.delete_alias(FunctionName=versions, Name="a1")
        assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    found = refused(client.get_alias, FunctionName=versions, Name="a1")
    assert found == (404, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:{versions}:a1")
