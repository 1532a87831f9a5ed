"""The factories of stores: which store each of them makes, and which one there is where nobody names one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.runtime.patterns import (
    create_default_breaker_store,
    create_default_idempotency_store,
    create_dynamodb_breaker_store,
    create_dynamodb_idempotency_store,
    create_memory_breaker_store,
    create_memory_idempotency_store,
    create_redis_breaker_store,
    create_redis_idempotency_store,
    create_sqlite_breaker_store,
    create_sqlite_idempotency_store,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Client:
    """Stands for a client that nobody asks anything."""


def test_every_factory_makes_its_store(tmp_path: Path) -> None:
    client: Any = Client()
    made = {
        "MemoryRecordStore": [create_memory_idempotency_store(10), create_memory_breaker_store()],
        "SqliteRecordStore": [
            create_sqlite_idempotency_store(tmp_path / "a"),
            create_sqlite_breaker_store(tmp_path / "a"),
        ],
        "DynamoDbRecordStore": [
            create_dynamodb_idempotency_store(client=client),
            create_dynamodb_breaker_store(client=client),
        ],
        "RedisRecordStore": [create_redis_idempotency_store(client=client), create_redis_breaker_store(client=client)],
    }
    for name, stores in made.items():
        assert [type(store).__name__ for store in stores] == [name] * 2


def test_one_file_holds_both_in_tables_of_their_own(tmp_path: Path) -> None:
    once: Any = create_sqlite_idempotency_store(tmp_path / "a.db")
    breakers: Any = create_sqlite_breaker_store(tmp_path / "a.db")
    assert once.write("id", {"a": 1}, 0.0, version=0) is True
    assert breakers.write("id", {"b": 1}, 0.0, version=0) is True
    assert (once.read("id", 0.0).value, breakers.read("id", 0.0).value) == ({"a": 1}, {"b": 1})
    once.close(), breakers.close()


def test_on_lambda_there_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(create_default_idempotency_store()).__name__ == "MemoryRecordStore"
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    stores: list[Any] = [create_default_idempotency_store(), create_default_breaker_store()]
    assert [store.table_name for store in stores] == ["venturekit-idempotency", "venturekit-breakers"]
    assert stores[1].keys == ("kind",)
    monkeypatch.setenv("VENTURE_IDEMPOTENCY_TABLE", "mine")
    named: Any = create_default_idempotency_store()
    assert named.table_name == "mine"
