"""The recursion setting through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import send

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

SOURCE = "def handler(event, context):\n    return 1\n"


def test_the_recursion_setting(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    put = client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert (put["ResponseMetadata"]["HTTPStatusCode"], put["RecursiveLoop"]) == (200, "Allow")
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    with pytest.raises(ClientError) as caught:
        client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Never")
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value 'Never' at 'recursiveLoop' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Terminate, Allow]",
    }
    with pytest.raises(ClientError) as caught:
        client.get_function_recursion_config(FunctionName="nobody")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_the_nested_form_is_refused(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    answer = send(
        functions.url,
        "PUT",
        f"/2024-08-31/functions/{name}/recursion-config",
        b'{"RecursionConfig": {"RecursiveLoop": "Allow"}}',
        {"X-Amz-Client": "test"},
    )
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert "Value null at 'recursiveLoop'" in answer.json["message"]
