"""Reserved concurrency through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "def handler(event, context):\n    return 1\n"


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_reserved_concurrency(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    free = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    assert (put["ResponseMetadata"]["HTTPStatusCode"], put["ReservedConcurrentExecutions"]) == (200, 3)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 3
    limit = client.get_account_settings()["AccountLimit"]
    assert limit["UnreservedConcurrentExecutions"] == free - 3
    whole = limit["ConcurrentExecutions"]
    found = refused(client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=whole)
    assert found == (
        400,
        "InvalidParameterValueException",
        (
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            "below its minimum value of [100]."
        ),
    )
    deleted = client.delete_function_concurrency(FunctionName=name)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    body = send(
        functions.url, "GET", f"/2019-09-30/functions/{name}/concurrency", headers={"X-Amz-Client": "test"}
    ).body
    assert body == b"{}"
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == free


def test_only_functions_have_it(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    version = functions.publish(name)
    text = (
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )
    for qualifier in (version, "$LATEST"):
        found = refused(
            client.put_function_concurrency,
            FunctionName=f"{ARN}:{name}:{qualifier}",
            ReservedConcurrentExecutions=1,
        )
        assert found == (400, "InvalidParameterValueException", text)
    found = refused(client.put_function_concurrency, FunctionName="nobody", ReservedConcurrentExecutions=1)
    assert found == (404, "ResourceNotFoundException", f"Function not found: {ARN}:nobody:$LATEST")
    # boto3 would refuse this itself.
    target = f"/2017-10-31/functions/{name}/concurrency"
    answer = send(functions.url, "PUT", target, b'{"ReservedConcurrentExecutions": -1}', {"X-Amz-Client": "test"})
    assert answer.status == 400
    assert "have value greater than or equal to 0" in answer.json["message"]
