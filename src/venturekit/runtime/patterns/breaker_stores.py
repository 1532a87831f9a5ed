"""Where circuit breakers share their states: the stores of records, found by the key that lists need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import os

    from venturekit.runtime.patterns.records import RecordStore

TABLE_NAME: Final = "venturekit-breakers"
KEY_NAMES: Final = ("kind",)


def create_memory_breaker_store() -> RecordStore:
    """In this process: for tests, and for breakers of one name in several places of a program."""
    from venturekit.runtime.patterns.record_stores import MemoryRecordStore

    return MemoryRecordStore()


def create_sqlite_breaker_store(path: str | os.PathLike[str]) -> RecordStore:
    """In a SQLite file, which the processes of one machine share: ``create_sqlite_breaker_store("breakers.db")``"""
    from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore

    return SqliteRecordStore(path, table="breakers")


def create_dynamodb_breaker_store(table_name: str = TABLE_NAME, *, client: Any = None) -> RecordStore:
    """In a DynamoDB table, which all execution environments share: ``create_dynamodb_breaker_store("my-breakers")``

    It has the partition key ``id``, the TTL attribute ``expires_at`` and an index; ``store.create_table()`` makes it.
    """
    from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore

    return DynamoDbRecordStore(table_name, client=client, keys=KEY_NAMES)


def create_redis_breaker_store(*, url: str | None = None, client: Any = None, prefix: str = TABLE_NAME) -> RecordStore:
    """In Valkey or Redis, by the package ``redis``: its address, or a client of that package, blocking or not."""
    from venturekit.runtime.patterns.record_stores_redis import RedisRecordStore

    return RedisRecordStore(client, url=url, prefix=prefix)


def create_default_breaker_store() -> RecordStore:
    """DynamoDB on Lambda (``venturekit-breakers``), a file where VentureKit runs functions, memory elsewhere.

    The variable ``VENTURE_BREAKERS_TABLE`` names another table.
    """
    from venturekit.runtime.patterns.record_stores_default import default_store

    return default_store("breakers", keys=KEY_NAMES)
