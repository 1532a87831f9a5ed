"""The runtime management setting through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
RUNTIME = "arn:aws:lambda:us-east-1::runtime:0123456789abcdef"
SOURCE = "def handler(event, context):\n    return 1\n"


def test_the_runtime_management_setting(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    version = functions.publish(name)
    got = client.get_runtime_management_config(FunctionName=name)
    assert (got["UpdateRuntimeOn"], got["FunctionArn"]) == ("Auto", f"{ARN}:{name}:$LATEST")
    assert "RuntimeVersionArn" not in got
    put = client.put_runtime_management_config(
        FunctionName=name, Qualifier=version, UpdateRuntimeOn="Manual", RuntimeVersionArn=RUNTIME
    )
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert (put["UpdateRuntimeOn"], put["RuntimeVersionArn"]) == ("Manual", RUNTIME)
    got = client.get_runtime_management_config(FunctionName=f"{name}:{version}")
    assert (got["RuntimeVersionArn"], got["FunctionArn"]) == (RUNTIME, f"{ARN}:{name}:{version}")
    client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"UpdateRuntimeOn": "Manual"}, "InvalidParameterValueException", "RuntimeVersionArn is required"),
        (
            {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": RUNTIME},
            "InvalidParameterValueException",
            "leave it out",
        ),
        ({"UpdateRuntimeOn": "Never"}, "ValidationException", "at 'updateRuntimeOn'"),
        (
            {"UpdateRuntimeOn": "Auto", "Qualifier": "live"},
            "InvalidParameterValueException",
            "Aliases are not allowed.",
        ),
        ({"UpdateRuntimeOn": "Auto", "Qualifier": "7"}, "ResourceNotFoundException", "Function not found"),
    ],
)
def test_refused_settings(functions: FunctionSet, members: dict[str, str], code: str, text: str) -> None:
    name = functions.create(SOURCE)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    with pytest.raises(ClientError) as caught:
        functions.client.put_runtime_management_config(FunctionName=name, **members)
    assert caught.value.response["Error"]["Code"] == code
    assert text in caught.value.response["Error"]["Message"]
    assert functions.client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
