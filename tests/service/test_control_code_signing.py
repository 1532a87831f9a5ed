"""Code signing through boto3: what deployment tools ask although nothing is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import send

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

CSC = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdefg"
SOURCE = "def handler(event, context):\n    return 1\n"


def test_what_is_read_when_nothing_is_configured(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    target = f"/2020-06-30/functions/{name}/code-signing-config"
    answer = send(functions.url, "GET", target, headers={"X-Amz-Client": "test"})
    assert (answer.status, answer.body) == (200, b"{}")
    assert client.get_function_code_signing_config(FunctionName=name).keys() == {"ResponseMetadata"}
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == []
    for call in (client.get_code_signing_config, client.list_functions_by_code_signing_config):
        with pytest.raises(ClientError) as caught:
            call(CodeSigningConfigArn=CSC)
        assert caught.value.response["Error"] == {
            "Code": "ResourceNotFoundException",
            "Message": f"The Lambda code signing configuration {CSC} can not be found.",
        }
    with pytest.raises(ClientError) as caught:
        client.get_function_code_signing_config(FunctionName="nobody")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_what_writes_says_that_it_is_not_served(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    with pytest.raises(ClientError) as caught:
        functions.client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=CSC)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "PutFunctionCodeSigningConfig" in caught.value.response["Error"]["Message"]
