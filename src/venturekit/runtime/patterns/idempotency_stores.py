"""Where idempotent calls keep what has run: the stores of records, under the names of the guide.

Source: the idempotency guide, ``createDynamoDBIdempotencyStore``, ``createDefaultIdempotencyStore``; others are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import os

    from venturekit.runtime.patterns.records import RecordStore

TABLE_NAME: Final = "venturekit-idempotency"
MAX_RECORDS: Final = 100_000


def create_memory_idempotency_store(max_records: int = MAX_RECORDS) -> RecordStore:
    """In this process, which is one execution environment: for tests, and for what runs in one process only::

        store = create_memory_idempotency_store()
        main = handler(create_user, middleware=[idempotency_middleware(store)])

    Of more than ``max_records`` that are not over yet, none is forgotten: the store then counts as down.
    """
    from venturekit.runtime.patterns.record_stores import MemoryRecordStore

    return MemoryRecordStore(max_records)


def create_sqlite_idempotency_store(path: str | os.PathLike[str]) -> RecordStore:
    """In a SQLite file, which the processes of one machine share: ``create_sqlite_idempotency_store("orders.db")``"""
    from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore

    return SqliteRecordStore(path, table="idempotency")


def create_dynamodb_idempotency_store(table_name: str = TABLE_NAME, *, client: Any = None) -> RecordStore:
    """In a DynamoDB table, which all execution environments share: ``create_dynamodb_idempotency_store("my-table")``

    The table has the partition key ``id`` (a text) and the TTL attribute ``expires_at``; ``store.create_table()`` makes
    it. Source: the idempotency guide, ``createDynamoDBIdempotencyStore``.
    """
    from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore

    return DynamoDbRecordStore(table_name, client=client)


def create_redis_idempotency_store(
    *, url: str | None = None, client: Any = None, prefix: str = TABLE_NAME
) -> RecordStore:
    """In Valkey or Redis, by the package ``redis``: its address, or a client of that package, blocking or not."""
    from venturekit.runtime.patterns.record_stores_redis import RedisRecordStore

    return RedisRecordStore(client, url=url, prefix=prefix)


def create_default_idempotency_store() -> RecordStore:
    """DynamoDB on Lambda (``venturekit-idempotency``), a file where VentureKit runs functions, memory elsewhere.

    The variable ``VENTURE_IDEMPOTENCY_TABLE`` names another table. Source: the idempotency guide,
    ``createDefaultIdempotencyStore``.
    """
    from venturekit.runtime.patterns.record_stores_default import default_store

    return default_store("idempotency")


def store_of(given: RecordStore | None) -> RecordStore:
    """The store that was given, or else the default one."""
    return create_default_idempotency_store() if given is None else given
