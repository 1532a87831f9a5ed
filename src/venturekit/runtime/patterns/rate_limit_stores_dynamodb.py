"""Where rate limiters count in production: a DynamoDB table, which all execution environments share.

Sources: the middleware guide (DynamoDB in production); DynamoDB Developer Guide, "Atomic counters" and "Using time to
live (TTL)".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.environ import DEFAULT_RATE_LIMIT_TABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable

TIMEOUT_SECONDS: Final = 1
_TABLE_ATTEMPTS: Final = 60


class DynamoDbRateLimitStore:
    """Counts in a table: ``DynamoDbRateLimitStore("my-limits")``

    The table has the partition key ``id`` (a text) and, so that it does not grow, the TTL attribute ``expires_at``;
    ``create_table()`` makes it. One write per request, also for those that are refused. ``client`` is boto3's, or an
    asynchronous one with the same methods; without one, boto3 is imported and a client made when first needed, which
    tries twice for a second each. The function needs ``dynamodb:UpdateItem``.
    """

    def __init__(self, table_name: str = DEFAULT_RATE_LIMIT_TABLE, *, client: Any = None) -> None:
        self.table_name = table_name
        self._client = client

    def increment(self, id: str, now: float, expires_at: float) -> int | Awaitable[int]:
        """The new count; to be awaited if the client is asynchronous. Raises what the client raises."""
        answer = self._connected().update_item(
            TableName=self.table_name,
            Key={"id": {"S": id}},
            UpdateExpression="ADD hits :one SET expires_at = :end",
            ExpressionAttributeValues={":one": {"N": "1"}, ":end": {"N": str(math.ceil(expires_at))}},
            ReturnValues="UPDATED_NEW",
        )
        return _awaited_count(answer) if hasattr(answer, "__await__") else _count(answer)

    def create_table(self) -> None:
        """Make the table, with its TTL, unless it is there; for deployments and tests. Needs a blocking client.

        Waits a minute at most. Raises what the client raises.
        """
        client = self._connected()
        try:
            client.create_table(
                TableName=self.table_name,
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except client.exceptions.ResourceInUseException:
            pass
        waiter = client.get_waiter("table_exists")
        waiter.wait(TableName=self.table_name, WaiterConfig={"Delay": 1, "MaxAttempts": _TABLE_ATTEMPTS})
        described = client.describe_time_to_live(TableName=self.table_name)["TimeToLiveDescription"]
        if described.get("TimeToLiveStatus") in (None, "DISABLED"):
            client.update_time_to_live(
                TableName=self.table_name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
            )

    def _connected(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            # A limiter must not hold up what it limits: whether it opens or closes then is its own setting.
            limits = Config(
                connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 2}
            )
            self._client = boto3.client("dynamodb", config=limits)
        return self._client


def _count(answer: Any) -> int:
    return int(answer["Attributes"]["hits"]["N"])


async def _awaited_count(answer: Awaitable[Any]) -> int:
    return _count(await answer)
