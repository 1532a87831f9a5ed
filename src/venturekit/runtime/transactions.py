"""Transactions of handlers that say ``transactional=True``: where they come from.

Source: seed 001, ``transactional`` and ``tx``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from venturekit.runtime._process import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager


class TransactionProvider(Protocol):
    """One method: a context manager that yields the transaction, commits at its end and rolls back on an error."""

    def begin(self) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """A new transaction; what it yields becomes ``ctx.tx``."""


class TransactionError(RuntimeError):
    """A transactional handler cannot have its transaction; the text says what to do."""


def set_transaction_provider(provider: TransactionProvider | None) -> None:
    """Say where the transactions of all transactional handlers come from; once, where the function starts::

    set_transaction_provider(DbApiTransactions(lambda: sqlite3.connect("app.db")))
    """
    state.transactions = provider


def begin(*, asynchronous: bool) -> Any:
    """A new transaction's context manager, and whether it is an asynchronous one. Raises TransactionError."""
    provider = state.transactions
    if provider is None:
        raise TransactionError(
            "the handler is transactional, but nobody has said where transactions come from: call "
            "set_transaction_provider(...) where the module is imported"
        )
    transaction = provider.begin()
    is_async = hasattr(transaction, "__aenter__") and not hasattr(transaction, "__enter__")
    if is_async and not asynchronous:
        raise TransactionError(
            "the transaction provider is asynchronous, and the handler is not: write the handler with async def"
        )
    return transaction, is_async


class DbApiTransactions:
    """Transactions of any driver of Python's database API (PEP 249): ``ctx.tx`` is the connection::

        set_transaction_provider(DbApiTransactions(lambda: psycopg.connect("dbname=app")))

    ``connect`` gives a connection; it is kept for the life of the execution environment, and made anew when using it
    raises. Drivers that commit by themselves have to be told not to.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None

    def begin(self) -> AbstractContextManager[Any]:
        """A transaction on the kept connection."""
        from contextlib import contextmanager

        return contextmanager(self._transaction)()

    def _transaction(self) -> Iterator[Any]:
        connection = self._connection or self._connect()
        self._connection = None
        try:
            yield connection
            connection.commit()
        except BaseException:
            self._give_up(connection)
            raise
        self._keep(connection)

    def _keep(self, connection: Any) -> None:
        # Of those that threads or tasks had at the same time, one is enough.
        spare, self._connection = self._connection, connection
        if spare is not None:
            _close(spare)

    def _give_up(self, connection: Any) -> None:
        try:
            connection.rollback()
        except Exception:
            _close(connection)
        else:
            self._keep(connection)


def _close(connection: Any) -> None:
    from contextlib import suppress

    with suppress(Exception):
        connection.close()


class SqlAlchemyTransactions:
    """Transactions of SQLAlchemy: ``ctx.tx`` is a session, or a connection::

        set_transaction_provider(SqlAlchemyTransactions(sessionmaker(create_engine("sqlite:///app.db"))))

    Takes a ``sessionmaker``, an ``Engine``, or the asynchronous one of either: whatever has ``begin()``.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def begin(self) -> Any:
        """SQLAlchemy's own context manager."""
        return self._source.begin()
