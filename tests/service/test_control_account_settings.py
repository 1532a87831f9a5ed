"""GetAccountSettings through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

SOURCE = "def handler(event, context):\n    return 1\n"


def test_quotas_and_usage(functions: FunctionSet) -> None:
    client = functions.client
    before = client.get_account_settings()
    limit = before["AccountLimit"]
    assert (limit["TotalCodeSize"], limit["CodeSizeUnzipped"], limit["CodeSizeZipped"]) == (
        80530636800,
        262144000,
        52428800,
    )
    assert 0 <= limit["UnreservedConcurrentExecutions"] <= limit["ConcurrentExecutions"]
    name = functions.create(SOURCE)
    functions.publish(name)
    size = client.get_function_configuration(FunctionName=name)["CodeSize"]
    used = client.get_account_settings()["AccountUsage"]
    assert used == {
        "TotalCodeSize": before["AccountUsage"]["TotalCodeSize"] + 2 * size,
        "FunctionCount": before["AccountUsage"]["FunctionCount"] + 1,
    }
    client.delete_function(FunctionName=name)
    assert client.get_account_settings()["AccountUsage"] == before["AccountUsage"]
