"""Where sagas are written down: stores of records, by their names of the guide.

Source: the saga guide, ``createDefaultSagaStore``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import os

    from venturekit.runtime.patterns.records import RecordStore

DEFAULT_TABLE: Final = "venturekit-sagas"
KEYS: Final = ("state",)


def create_memory_saga_store(max_records: int = 100_000) -> RecordStore:
    """In the memory of this process: for tests, and for sagas that may be forgotten with it.

    When it keeps ``max_records`` (``keep_seconds`` says how long), another saga is refused with StoreFullError. Raises
    ValueError for a limit that is none.
    """
    from venturekit.runtime.patterns.record_stores import MemoryRecordStore

    return MemoryRecordStore(max_records)


def create_sqlite_saga_store(path: str | os.PathLike[str]) -> RecordStore:
    """In a SQLite file, for the processes of one machine: ``create_sqlite_saga_store("sagas.db")``

    What is written survives the end of the process, kill -9 too; a power failure may take the last moment of it.
    """
    from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore

    return SqliteRecordStore(path, table="sagas")


def create_dynamodb_saga_store(table_name: str = DEFAULT_TABLE, *, client: Any = None) -> RecordStore:
    """In a DynamoDB table, for all execution environments: ``create_dynamodb_saga_store("my-sagas")``

    ``create_table()`` of the store makes the table, with the index that ``find`` and ``stuck`` need. ``client`` is
    boto3's; an asynchronous one is for ``arun``.
    """
    from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore

    return DynamoDbRecordStore(table_name, client=client, keys=KEYS)


def create_redis_saga_store(*, url: str | None = None, client: Any = None, prefix: str = DEFAULT_TABLE) -> RecordStore:
    """In Valkey or Redis, by the package ``redis``: its address, or a client of that package, blocking or not.

    What survives a crash of the server is a matter of its own settings: sagas need ``appendfsync always``.
    """
    from venturekit.runtime.patterns.record_stores_redis import RedisRecordStore

    return RedisRecordStore(client, url=url, prefix=prefix)


def create_default_saga_store() -> RecordStore:
    """DynamoDB on Lambda (``venturekit-sagas``), a file where VentureKit runs functions, memory elsewhere.

    The variable ``VENTURE_SAGAS_TABLE`` names another table. Source: the saga guide, ``createDefaultSagaStore``.
    """
    from venturekit.runtime.patterns.record_stores_default import default_store

    return default_store("sagas", keys=KEYS)
