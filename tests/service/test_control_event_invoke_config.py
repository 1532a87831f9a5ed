"""Event invoke configurations through boto3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import client_of, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "def handler(event, context):\n    return 1\n"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in answer.items() if member not in ("ResponseMetadata", "LastModified")}


def test_put_update_get_list_delete(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    version = functions.publish(name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    put = client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": QUEUE}}
    )
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert without_metadata(put) == {
        "FunctionArn": f"{ARN}:{name}:$LATEST",
        "MaximumRetryAttempts": 1,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": QUEUE}},
    }
    updated = client.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    assert without_metadata(updated) == {**without_metadata(put), "MaximumEventAgeInSeconds": 60}
    assert updated["LastModified"] >= put["LastModified"]
    client.put_function_event_invoke_config(FunctionName=name, Qualifier="live", MaximumRetryAttempts=0)
    client.put_function_event_invoke_config(FunctionName=f"{name}:{version}", MaximumRetryAttempts=0)
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    arns = [config["FunctionArn"] for page in pages for config in page["FunctionEventInvokeConfigs"]]
    assert arns == [f"{ARN}:{name}:{qualifier}" for qualifier in ("$LATEST", version, "live")]
    client.delete_alias(FunctionName=name, Name="live")
    client.delete_function(FunctionName=name, Qualifier=version)
    listed = client.list_function_event_invoke_configs(FunctionName=name)
    assert [without_metadata(config) for config in listed["FunctionEventInvokeConfigs"]] == [without_metadata(updated)]
    deleted = client.delete_function_event_invoke_config(FunctionName=name)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_function_event_invoke_config, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"The function {ARN}:{name}:$LATEST doesn't have an EventInvokeConfig",
    )


def test_last_modified_is_a_number(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    functions.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    target = f"/2019-09-25/functions/{name}/event-invoke-config"
    answer = send(functions.url, "GET", target, headers={"X-Amz-Client": "test"}).json
    assert isinstance(answer["LastModified"], int | float)
    assert abs(answer["LastModified"] - time.time()) < 60
    assert round(answer["LastModified"], 3) == answer["LastModified"]
    assert set(answer) == {"LastModified", "FunctionArn", "MaximumRetryAttempts", "DestinationConfig"}


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"MaximumRetryAttempts": 3}, "ValidationException", "'maximumRetryAttempts' failed to satisfy"),
        ({"MaximumEventAgeInSeconds": 59}, "ValidationException", "'maximumEventAgeInSeconds' failed to satisfy"),
        ({"MaximumEventAgeInSeconds": 21601}, "ValidationException", "'maximumEventAgeInSeconds' failed to satisfy"),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:_-/!lambda:us-east-1:000000000000:x"}}},
            "ValidationException",
            "at 'destinationConfig.onFailure.destination' failed to satisfy constraint",
        ),
        (
            {},
            "InvalidParameterValueException",
            "You must specify at least one of error handling or destination setting.",
        ),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": f"{ARN}:nobody"}}},
            "InvalidParameterValueException",
            f"The destination ARN {ARN}:nobody is invalid.",
        ),
    ],
)
def test_refused_puts(functions: FunctionSet, members: dict[str, Any], code: str, text: str) -> None:
    name = functions.create(SOURCE)
    # boto3 would refuse the lower bound itself.
    client = client_of(functions.url, parameter_validation=False)
    found = refused(client.put_function_event_invoke_config, FunctionName=name, **members)
    client.close()
    assert found[:2] == (400, code)
    assert text in found[2]
    assert functions.client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"] == []


def test_functions_as_destinations(functions: FunctionSet) -> None:
    client = functions.client
    name, other = functions.create(SOURCE), functions.create(SOURCE)
    destination = {"OnSuccess": {"Destination": f"{ARN}:{other}"}}
    answer = client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=destination)
    assert answer["DestinationConfig"] == {**destination, "OnFailure": {}}
    itself = {"OnSuccess": {"Destination": f"{ARN}:{name}"}}
    found = refused(client.put_function_event_invoke_config, FunctionName=name, DestinationConfig=itself)
    assert found[2] == "You can't specify the function as a destination for itself."
