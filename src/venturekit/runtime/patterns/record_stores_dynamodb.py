"""Records in a DynamoDB table, which all execution environments share.

Sources: the idempotency guide (DynamoDB on Lambda); DynamoDB Developer Guide, "Condition expressions", "Using
global secondary indexes", "Using time to live (TTL)" and "Quotas"; botocore guide, "Retries".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.patterns.record_checks import (
    RecordStoreError,
    check_find,
    check_key_name,
    check_text,
    check_write,
    checked_keys,
    serialize_value,
)
from venturekit.runtime.patterns.record_items import is_conflict, item_of, number, record_of, table_of, was_repeated
from venturekit.runtime.patterns.record_waiting import finish
from venturekit.runtime.patterns.records import RecordPage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Mapping

    from venturekit.runtime.patterns.records import Record

CONNECT_SECONDS: Final = 1
ANSWER_SECONDS: Final = 2
_TABLE_ATTEMPTS: Final = 60
_NAMES: Final = {"#id": "id", "#version": "version", "#end": "expires_at_exactly"}
_THERE: Final = "(attribute_not_exists(#end) OR #end > :now)"


class DynamoDbRecordStore:
    """Records in a table: ``DynamoDbRecordStore("my-connections", keys=("user", "tenant"))``

    The table has the partition key ``id`` (a text), the TTL attribute ``expires_at`` and, for each of ``keys``, which
    are all that records can be found by, a global secondary index ``key_<name>``, partition key ``key_<name>`` and
    sort key ``id``; ``create_table()`` makes it. A record takes 400 KB at most. ``read`` sees what was last written.
    ``find`` may not for a moment, usually far below a second, for that is how DynamoDB brings its indexes up to date.

    ``client`` is boto3's, or an asynchronous one with the same methods; without one, boto3 is imported and a client
    made when first needed, which tries twice, with a second to connect and two for the answer. The function needs
    ``dynamodb:GetItem``, ``PutItem``, ``DeleteItem`` and, on the indexes, ``Query``. Raises what the client raises, and
    ValueError.
    """

    def __init__(self, table_name: str, *, client: Any = None, keys: tuple[str, ...] = ()) -> None:
        for name in keys:
            check_key_name(name)
        self.table_name = table_name
        self.keys = tuple(keys)
        self._client = client

    def read(self, id: str, now: float, /) -> Record | Awaitable[Record | None] | None:
        """The record, or None. Raises what the client raises, ForeignRecordError and ValueError."""
        check_text("the id of a record", id)
        return finish(self._read(id, now))

    def write(
        self,
        id: str,
        value: dict[str, Any],
        now: float,
        /,
        *,
        version: int,
        expires_at: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> bool | Awaitable[bool]:
        """Whether it was written.

        Raises what the client raises, ForeignRecordError, RecordValueError and ValueError.
        """
        check_write(id, version, expires_at)
        found_by = checked_keys(keys)
        for name in found_by:
            self._check_declared(name)
        item = item_of(id, serialize_value(value), version + 1, expires_at, found_by)
        return finish(self._write(id, item, version, now))

    def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool | Awaitable[bool]:
        """Whether it was there and is gone. Raises what the client raises and ValueError.

        Where the client tried again because an answer was lost, and finds the record gone, it counts as its own doing.
        """
        check_text("the id of a record", id)
        return finish(self._delete(id, version, now))

    def find(
        self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None
    ) -> RecordPage | Awaitable[RecordPage]:
        """A page of records. Raises what the client raises, ForeignRecordError and ValueError."""
        check_find(key, value, limit, after)
        self._check_declared(key)
        return finish(self._find(key, value, now, limit, after))

    def create_table(self) -> None:
        """Make the table, its indexes and its TTL, unless it is there; for deployments and tests.

        Needs a blocking client. Waits a minute at most. Raises what the client raises, and RecordStoreError if there is
        a table that lacks an index.
        """
        client = self._connected()
        try:
            client.create_table(**table_of(self.table_name, self.keys))
        except client.exceptions.ResourceInUseException:
            pass
        waiter = client.get_waiter("table_exists")
        waiter.wait(TableName=self.table_name, WaiterConfig={"Delay": 1, "MaxAttempts": _TABLE_ATTEMPTS})
        described = client.describe_table(TableName=self.table_name)["Table"]
        missing = {f"key_{key}" for key in self.keys} - {
            index["IndexName"] for index in described.get("GlobalSecondaryIndexes", [])
        }
        if missing:
            raise RecordStoreError(
                f"the table {self.table_name} is there, and lacks the indexes {', '.join(sorted(missing))}: "
                "add them (partition key of the same name, sort key id, all attributes), or name another table"
            )
        live = client.describe_time_to_live(TableName=self.table_name)["TimeToLiveDescription"]
        if live.get("TimeToLiveStatus") in (None, "DISABLED"):
            client.update_time_to_live(
                TableName=self.table_name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
            )

    def _read(self, id: str, now: float) -> Generator[Any, Any, Record | None]:
        answer = yield self._connected().get_item(TableName=self.table_name, Key={"id": {"S": id}}, ConsistentRead=True)
        item = answer.get("Item")
        if item is None:
            return None
        record = self._record(item)
        return None if record.expires_at is not None and record.expires_at <= now else record

    def _write(self, id: str, item: dict[str, Any], version: int, now: float) -> Generator[Any, Any, bool]:
        values: dict[str, Any] = {":now": number(now)}
        if version:
            condition, names = f"#version = :version AND {_THERE}", ("#version", "#end")
            values[":version"] = {"N": str(version)}
        else:
            condition, names = "attribute_not_exists(#id) OR #end <= :now", ("#id", "#end")
        try:
            yield self._connected().put_item(
                TableName=self.table_name,
                Item=item,
                ConditionExpression=condition,
                ExpressionAttributeNames={name: _NAMES[name] for name in names},
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except Exception as error:
            if not is_conflict(error):
                raise
            found = yield from self._found_instead(id, error)
        else:
            return True
        if found is None:
            return False
        # The client tries again when an answer was lost. What it then meets may be what it has written itself.
        if found.get("token") == item["token"]:
            return True
        self._record(found)
        return False

    def _delete(self, id: str, version: int | None, now: float) -> Generator[Any, Any, bool]:
        values: dict[str, Any] = {":now": number(now)}
        names: tuple[str, ...] = ("#id", "#end")
        condition = f"attribute_exists(#id) AND {_THERE}"
        if version is not None:
            condition, names = f"{condition} AND #version = :version", (*names, "#version")
            values[":version"] = {"N": str(version)}
        try:
            yield self._connected().delete_item(
                TableName=self.table_name,
                Key={"id": {"S": id}},
                ConditionExpression=condition,
                ExpressionAttributeNames={name: _NAMES[name] for name in names},
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except Exception as error:
            if not is_conflict(error):
                raise
            if not was_repeated(error):
                return False
            return (yield from self._found_instead(id, error)) is None
        return True

    def _found_instead(self, id: str, error: Any) -> Generator[Any, Any, dict[str, Any] | None]:
        """The item that a condition was not true of, None if there is none."""
        if "Item" in error.response:
            return error.response["Item"]  # type: ignore[no-any-return]
        # There was none, or this stand-in for DynamoDB does not say.
        answer = yield self._connected().get_item(TableName=self.table_name, Key={"id": {"S": id}}, ConsistentRead=True)
        return answer.get("Item")  # type: ignore[no-any-return]

    def _find(self, key: str, value: str, now: float, limit: int, after: str | None) -> Generator[Any, Any, RecordPage]:
        records: list[Record] = []
        start: dict[str, Any] | None = None
        if after is not None:
            start = {"id": {"S": after}, f"key_{key}": {"S": value}}
        while True:
            answer = yield self._connected().query(
                TableName=self.table_name,
                IndexName=f"key_{key}",
                KeyConditionExpression="#key = :key",
                FilterExpression=_THERE,
                ExpressionAttributeNames={"#key": f"key_{key}", "#end": _NAMES["#end"]},
                ExpressionAttributeValues={":key": {"S": value}, ":now": number(now)},
                Limit=limit + 1 - len(records),
                **({"ExclusiveStartKey": start} if start is not None else {}),
            )
            records += map(self._record, answer["Items"])
            if len(records) > limit:
                return RecordPage(records[:limit], records[limit - 1].id)
            start = answer.get("LastEvaluatedKey")
            if start is None:
                return RecordPage(records, None)

    def _record(self, item: Mapping[str, Any]) -> Record:
        return record_of(item, f"the table {self.table_name}")

    def _check_declared(self, key: str) -> None:
        if key not in self.keys:
            raise ValueError(
                f"the store of the table {self.table_name} has no key {key!r}: declare all that records are found by, "
                f"DynamoDbRecordStore({self.table_name!r}, keys={(*self.keys, key)!r}), and have their indexes made"
            )

    def _connected(self) -> Any:
        if self._client is None:
            import boto3
            from botocore.config import Config

            limits = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=ANSWER_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
            self._client = boto3.client("dynamodb", config=limits)
        return self._client
