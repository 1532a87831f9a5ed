"""Resource-based policies through an unmodified client, and what they let other accounts do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import client_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet, RunningService

SOURCE = "def handler(event, context):\n    return 1\n"
ARN = "arn:aws:lambda:us-east-1:000000000000:function"
PERMISSION = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "111122223333"}


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str | None]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"].get("Message")


def test_the_life_of_a_policy(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    before = client.get_function_configuration(FunctionName=name)["RevisionId"]
    missing = (404, "ResourceNotFoundException", "The resource you requested does not exist.")
    assert refused(client.get_policy, FunctionName=name) == missing
    added = client.add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
        RevisionId=before,
    )
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    statement = {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{ARN}:{name}",
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
    }
    assert added["Statement"] == json.dumps(statement, separators=(",", ":"))
    policy = client.get_policy(FunctionName=name)
    assert json.loads(policy["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    revision = client.get_function_configuration(FunctionName=name)["RevisionId"]
    assert policy["RevisionId"] == revision != before
    assert refused(client.remove_permission, FunctionName=name, StatementId="s3", RevisionId=before) == (
        412,
        "PreconditionFailedException",
        (
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetPolicy API to retrieve the latest Revision Id"
        ),
    )
    removed = client.remove_permission(FunctionName=name, StatementId="s3", RevisionId=revision)
    assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_policy, FunctionName=name) == missing


def test_requests_that_are_refused(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    assert refused(client.add_permission, FunctionName=name, **{**PERMISSION, "StatementId": "a.b"}) == (
        400,
        "ValidationException",
        (
            "1 validation error detected: Value 'a.b' at 'statementId' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
        ),
    )
    assert refused(client.add_permission, FunctionName=name, Qualifier="$LATEST", **PERMISSION) == (
        400,
        "InvalidParameterValueException",
        "We currently do not support adding policies for $LATEST.",
    )
    assert refused(client.remove_permission, FunctionName="none", StatementId="s") == (
        404,
        "ResourceNotFoundException",
        f"No policy found for: {ARN}:none",
    )


def test_a_policy_lets_another_account_invoke(shared_service: RunningService, functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    functions.publish(name)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    other = client_of(shared_service.url, signed=("111122223333", "any secret"))
    try:
        for qualifier in ("live", "1"):
            address = {"FunctionName": f"{ARN}:{name}", "Qualifier": qualifier}
            assert refused(other.invoke, **address)[:2] == (403, "AccessDeniedException")
            functions.client.add_permission(FunctionName=name, Qualifier=qualifier, **PERMISSION)
            assert json.load(other.invoke(**address)["Payload"]) == 1
            functions.client.remove_permission(FunctionName=name, Qualifier=qualifier, StatementId="s")
            assert refused(other.invoke, **address)[:2] == (403, "AccessDeniedException")
    finally:
        other.close()
