"""Function URL configurations through boto3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "def handler(event, context):\n    return 1\n"
CORS = {
    "AllowCredentials": True,
    "AllowHeaders": ["content-type"],
    "AllowMethods": ["GET", "POST"],
    "AllowOrigins": ["https://example.com"],
    "ExposeHeaders": ["x-a"],
    "MaxAge": 86400,
}


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def members_of(answer: dict[str, Any]) -> set[str]:
    return answer.keys() - {"ResponseMetadata"}


def test_create_get_update_list_delete(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion=functions.publish(name))
    created = client.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=CORS)
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert members_of(created) == {"FunctionUrl", "FunctionArn", "AuthType", "Cors", "CreationTime"}
    assert (created["FunctionArn"], created["Cors"]) == (f"{ARN}:{name}", CORS)
    assert re.match(r"https?://[a-z0-9]{32}\.lambda-url\.", created["FunctionUrl"])
    assert 40 <= len(created["FunctionUrl"]) <= 100
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", created["CreationTime"])
    of_alias = client.create_function_url_config(
        FunctionName=name, Qualifier="live", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM"
    )
    assert of_alias["FunctionUrl"] != created["FunctionUrl"]
    assert (of_alias["FunctionArn"], of_alias["InvokeMode"]) == (f"{ARN}:{name}:live", "RESPONSE_STREAM")
    updated = client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert members_of(updated) == {*members_of(created), "LastModifiedTime"}
    got = client.get_function_url_config(FunctionName=name)
    assert members_of(got) == {*members_of(updated), "InvokeMode"}
    assert (got["AuthType"], got["Cors"], got["InvokeMode"]) == ("AWS_IAM", CORS, "BUFFERED")
    pages = client.get_paginator("list_function_url_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    urls = [config["FunctionUrl"] for page in pages for config in page["FunctionUrlConfigs"]]
    assert urls == [created["FunctionUrl"], of_alias["FunctionUrl"]]
    deleted = client.delete_function_url_config(FunctionName=name)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_function_url_config, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )
    client.delete_alias(FunctionName=name, Name="live")
    assert client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []


@pytest.mark.parametrize(
    ("members", "status", "code", "text"),
    [
        (
            {"Qualifier": "1"},
            400,
            "ValidationException",
            (
                "1 validation error detected: Value '1' at 'qualifier' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
            ),
        ),
        ({"Qualifier": "$LATEST"}, 400, "ValidationException", "Value '$LATEST' at 'qualifier'"),
        ({"AuthType": "BASIC"}, 400, "ValidationException", "at 'authType'"),
        ({"Cors": {"MaxAge": 86401}}, 400, "ValidationException", "at 'cors.maxAge'"),
        ({"Cors": {"AllowMethods": ["OPTIONS"]}}, 400, "ValidationException", "at 'cors.allowMethods'"),
        ({"Cors": {"AllowMethods": ["TRACE"]}}, 400, "InvalidParameterValueException", "'TRACE'"),
        ({"InvokeMode": "SOMEHOW"}, 400, "ValidationException", "at 'invokeMode'"),
        ({"Qualifier": "nobody"}, 404, "ResourceNotFoundException", "Function does not exist"),
        ({"FunctionName": "nobody"}, 404, "ResourceNotFoundException", "Function does not exist"),
    ],
)
def test_refused_creations(functions: FunctionSet, members: dict[str, Any], status: int, code: str, text: str) -> None:
    name = functions.create(SOURCE)
    given = {"FunctionName": name, "AuthType": "NONE", **members}
    found = refused(functions.client.create_function_url_config, **given)
    assert found[:2] == (status, code)
    assert text in found[2]
    assert functions.client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []


def test_one_url_each(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    functions.client.create_function_url_config(FunctionName=name, AuthType="NONE")
    found = refused(functions.client.create_function_url_config, FunctionName=name, AuthType="NONE")
    assert found == (
        409,
        "ResourceConflictException",
        (
            f"Failed to create function url config for [functionArn = {ARN}:{name}]. Error message:  "
            "FunctionUrlConfig exists for this Lambda function"
        ),
    )
