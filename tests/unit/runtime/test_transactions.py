"""Transactional handlers and tasks, with sqlite3 and SQLAlchemy, blocking and asynchronous."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from tests.unit.runtime.support import Context, Lines, failure, v2
from venturekit.runtime import (
    DbApiTransactions,
    SqlAlchemyTransactions,
    TaskTimeoutError,
    TransactionError,
    handler,
    set_transaction_provider,
    task_handler,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.commit()
    connection.close()
    return path


def rows(database: Path) -> list[int]:
    connection = sqlite3.connect(database)
    found = [row[0] for row in connection.execute("SELECT id FROM orders ORDER BY id")]
    connection.close()
    return found


class Recording:
    """A provider that notes what happens; blocking or asynchronous."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.seen: list[str] = []
        self._asynchronous = asynchronous

    def begin(self) -> Any:
        return self._atransaction() if self._asynchronous else _Blocking(self.seen)

    @asynccontextmanager
    async def _atransaction(self) -> AsyncIterator[str]:
        self.seen.append("begin")
        try:
            yield "tx"
        except BaseException:
            self.seen.append("rollback")
            raise
        self.seen.append("commit")


class _Blocking:
    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def __enter__(self) -> str:
        self._seen.append("begin")
        return "tx"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._seen.append("commit" if kind is None else "rollback")


def providers(database: Path) -> dict[str, Any]:
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    return {
        "sqlite3": DbApiTransactions(lambda: sqlite3.connect(database)),
        "engine": SqlAlchemyTransactions(engine),
        "sessions": SqlAlchemyTransactions(sessionmaker(engine)),
    }


def insert(tx: Any, number: int) -> None:
    statement = f"INSERT INTO orders VALUES ({number})"
    tx.execute(statement if isinstance(tx, sqlite3.Connection) else sqlalchemy.text(statement))


@pytest.mark.parametrize("kind", ["sqlite3", "engine", "sessions"])
@pytest.mark.parametrize("waits", [False, True])
def test_what_a_handler_did_is_kept_or_undone(kind: str, waits: bool, database: Path) -> None:
    set_transaction_provider(providers(database)[kind])

    def fn(body: Any, ctx: Any) -> Any:
        insert(ctx.tx, body)
        if body < 0:
            raise ValueError("no")
        return body

    async def afn(body: Any, ctx: Any) -> Any:
        return fn(body, ctx)

    main = handler(afn if waits else fn, transactional=True, log_level="silent")
    statuses = [main(v2("PUT", body=str(number)))["statusCode"] for number in (1, -1, 2, -2, 3)]
    assert statuses == [200, 500, 200, 500, 200]
    assert rows(database) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["engine", "sessions"])
def test_sqlalchemy_waits_too(kind: str, database: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}", poolclass=sqlalchemy.NullPool)
    set_transaction_provider(SqlAlchemyTransactions(engine if kind == "engine" else async_sessionmaker(engine)))

    async def fn(body: Any, ctx: Any) -> Any:
        await ctx.tx.execute(sqlalchemy.text(f"INSERT INTO orders VALUES ({body})"))
        if body < 0:
            raise ValueError("no")

    main = handler(fn, transactional=True, log_level="silent")
    assert [main(v2("PUT", body=str(number)))["statusCode"] for number in (1, -1, 2)] == [200, 500, 200]
    assert rows(database) == [1, 2]


@pytest.mark.parametrize("waits", [False, True])
def test_an_asynchronous_provider_serves_asynchronous_handlers(waits: bool, lines: Lines) -> None:
    provider = Recording(asynchronous=True)
    set_transaction_provider(provider)

    def fn(body: Any, ctx: Any) -> Any:
        return ctx.tx

    async def afn(body: Any, ctx: Any) -> Any:
        return ctx.tx

    result = handler(afn if waits else fn, transactional=True, logger=lines.logger())(v2())
    if waits:
        assert (result["body"], provider.seen) == ('{"data":"tx"}', ["begin", "commit"])
    else:
        assert (result["statusCode"], provider.seen) == (500, [])
        assert "write the handler with async def" in lines[0]


def test_without_a_provider_the_log_says_what_to_do(lines: Lines) -> None:
    result = handler(lambda: 1, transactional=True, logger=lines.logger())(v2())
    assert failure(result) == {"code": "INTERNAL_ERROR", "message": "Internal server error"}
    assert "set_transaction_provider" in lines[0]
    with pytest.raises(TransactionError):
        task_handler(lambda: 1, transactional=True, log_level="silent")({})


@pytest.mark.parametrize(("waits", "asynchronous"), [(False, False), (True, False), (True, True)])
def test_every_attempt_of_a_task_has_its_own(waits: bool, asynchronous: bool, pauses: list[float]) -> None:
    provider = Recording(asynchronous=asynchronous)
    set_transaction_provider(provider)
    attempts = []

    def fn(event: Any, ctx: Any) -> Any:
        attempts.append(ctx.tx)
        if len(attempts) < 3:
            raise ValueError("again")
        return "done"

    async def afn(event: Any, ctx: Any) -> Any:
        return fn(event, ctx)

    main = task_handler(afn if waits else fn, transactional=True, retries=2, log_level="silent")
    assert main({}, Context()) == "done"
    assert provider.seen == ["begin", "rollback", "begin", "rollback", "begin", "commit"]


def test_validation_comes_before_the_transaction() -> None:
    provider = Recording(asynchronous=False)
    set_transaction_provider(provider)
    assert (
        handler(lambda body: 1, body=dict[str, int], transactional=True, log_level="silent")(v2())["statusCode"] == 422
    )
    assert provider.seen == []


@pytest.mark.parametrize("waits", [False, True])
def test_a_transaction_is_rolled_back_before_the_function_ends(waits: bool) -> None:
    provider = Recording(asynchronous=False)
    set_transaction_provider(provider)

    def fn(event: Any) -> None:
        time.sleep(30)

    async def afn(event: Any) -> None:
        import asyncio

        await asyncio.sleep(30)

    with pytest.raises(TaskTimeoutError):
        task_handler(afn if waits else fn, transactional=True, log_level="silent")({}, Context(remaining_ms=130))
    assert provider.seen == ["begin", "rollback"]


# --- connections of PEP 249 -----------------------------------------------------------------------------------------


class Connection:
    def __init__(self, seen: list[str], name: str) -> None:
        self._seen, self._name = seen, name
        self.broken = ""

    def _do(self, what: str) -> None:
        self._seen.append(f"{self._name} {what}")
        if what in self.broken:
            raise OSError(what)

    def commit(self) -> None:
        self._do("commit")

    def rollback(self) -> None:
        self._do("rollback")

    def close(self) -> None:
        self._do("close")


def connections() -> tuple[DbApiTransactions, list[Connection], list[str]]:
    seen: list[str] = []
    made: list[Connection] = []

    def connect() -> Connection:
        made.append(Connection(seen, "abc"[len(made)]))
        return made[-1]

    return DbApiTransactions(connect), made, seen


def test_a_connection_is_kept() -> None:
    provider, made, seen = connections()
    for _ in range(3):
        with provider.begin() as connection:
            assert connection is made[0]
    assert seen == ["a commit"] * 3


def test_a_connection_that_cannot_roll_back_is_closed_and_made_anew() -> None:
    provider, made, seen = connections()
    with pytest.raises(ValueError), provider.begin() as connection:
        connection.broken = "rollback close"
        raise ValueError
    with provider.begin() as connection:
        assert connection is made[1]
    assert seen == ["a rollback", "a close", "b commit"]


def test_a_commit_that_fails_is_an_error() -> None:
    provider, _, seen = connections()
    with pytest.raises(OSError, match="commit"), provider.begin() as connection:
        connection.broken = "commit"
    assert seen == ["a commit", "a rollback"]


def test_transactions_at_the_same_time_have_connections_of_their_own() -> None:
    provider, made, seen = connections()
    with provider.begin() as first, provider.begin() as second:
        assert first is not second
    # One is enough afterwards.
    assert seen == ["b commit", "a commit", "b close"]
    with provider.begin() as third:
        assert third is made[0]


def test_threads_do_not_share_a_connection_that_is_in_use() -> None:
    provider, _, _ = connections()
    together = threading.Barrier(2, timeout=20)
    used = []

    def work() -> None:
        with provider.begin() as connection:
            used.append(connection)
            together.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert used[0] is not used[1]
