"""The store: atomic intentions in, durable state out."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from venturekit.service.store import capacity_providers, damage, functions, layers, websocket_apis
from venturekit.service.store.connection import connect
from venturekit.service.store.errors import StoreDiskError, StoreFullError
from venturekit.service.store.migrations import migrate
from venturekit.service.store.reserve import RESERVE_SIZE_BYTES, ReserveFile
from venturekit.service.store.writer import MAX_PENDING, Intention, Job, Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from venturekit.service.store.documents import Document, FunctionChange, StoredFunctions, StoredLayers, VersionRow
    from venturekit.service.store.errors import StoreFailedError

T = TypeVar("T")


class Store:
    """One SQLite database in WAL mode with full synchronisation; one writer thread, readers apart.

    Every ``async`` method is one atomic intention: it returns after the change is durable, or raises and nothing
    happened. Besides what each names, all raise StoreFailedError, StoreDiskError, StoreFullError, StoreBusyError or
    StoreClosedError.
    """

    def __init__(self, writer: Writer, reader: sqlite3.Connection, path: Path) -> None:
        self._writer = writer
        self._reader = reader
        self._path = path
        self._reader_lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, reserve_size_bytes: int = RESERVE_SIZE_BYTES, max_pending: int = MAX_PENDING) -> Store:
        """Open the database at ``path``, made or brought up to date if need be; its directory must exist.

        Raises StoreCorruptError, StoreVersionError for a database of a newer release, and StoreFailedError if the disk
        does not let it be opened. The caller holds the ``DataDirectoryLock``.
        """
        reserve = ReserveFile(path.with_name(f"{path.name}.reserve"), reserve_size_bytes)
        try:
            connection, reader = _open(path, reserve.path)
        except (StoreDiskError, StoreFullError):
            # On a full disk there may be no room even for the index of SQLite's log.
            reserve.give_up()
            connection, reader = _open(path, reserve.path)
        reserve.take()
        return cls(Writer(connection, reserve, max_pending=max_pending), reader, path)

    @property
    def failure(self) -> StoreFailedError | None:
        """Why the store takes no more changes, or None while it does."""
        return self._writer.failure

    @property
    def on_failure(self) -> Callable[[StoreFailedError], object] | None:
        """Called once, in a thread of the store, when ``failure`` has come to be set."""
        return self._writer.on_failure

    @on_failure.setter
    def on_failure(self, call: Callable[[StoreFailedError], object]) -> None:
        self._writer.on_failure = call

    @property
    def commits(self) -> int:
        """How many transactions were committed since the start."""
        return self._writer.commits

    def submit(self, intention: Intention, *, essential: bool = False) -> Future[Any]:
        """Queue an intention from any thread; the future is done after the commit.

        ``essential``: it frees space, so it may use the reserve of a full disk.
        """
        future: Future[Any] = Future()
        self._writer.submit(Job(intention, future, None, essential=essential))
        return future

    async def perform(self, intention: Intention, *, essential: bool = False) -> Any:
        """``submit`` for a task of an event loop. Cancelling the waiter does not call back the change."""
        return await self.begin(intention, essential=essential)

    def begin(self, intention: Intention, *, essential: bool = False) -> asyncio.Future[Any]:
        """``submit`` for callbacks of an event loop: a future of the running one."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.carry_out(intention, future, essential=essential)
        return future

    def carry_out(self, intention: Intention, future: asyncio.Future[Any], *, essential: bool = False) -> None:
        """``submit`` for those who have the future, of an event loop, already."""
        self._writer.submit(Job(intention, future, future.get_loop(), essential=essential))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query of this package on the reading connection, in a thread, as of one moment.

        Raises StoreCorruptError when it comes across damage, StoreDiskError when the disk refuses.
        """
        return await asyncio.to_thread(self._read, query)

    def close(self, timeout_seconds: float = 10.0) -> bool:
        """Make durable what is queued and close. False if that took too long; then the process end closes."""
        closed = self._writer.close(timeout_seconds)
        with self._reader_lock:
            self._reader.close()
        return closed

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with self._reader_lock, damage.reading(self._path):
            self._reader.execute("BEGIN")
            try:
                return query(self._reader)
            finally:
                # SQLite has ended it by itself after some errors.
                if self._reader.in_transaction:
                    self._reader.execute("COMMIT")

    async def load_functions(self) -> StoredFunctions:
        """All functions with their versions and aliases."""
        return await self.read(functions.load_functions)

    async def load_layers(self) -> StoredLayers:
        """All layer versions."""
        return await self.read(layers.load_layers)

    async def load_websocket_apis(self) -> list[tuple[str, str, dict[str, Any]]]:
        """All WebSocket APIs: account, name and document of each."""
        return await self.read(websocket_apis.load_websocket_apis)

    async def load_capacity_providers(self) -> list[tuple[str, str, dict[str, Any]]]:
        """All capacity providers: account, name and document of each."""
        return await self.read(capacity_providers.load_capacity_providers)

    def of_account(self, account_id: str) -> AccountStore:
        """The intentions about one account's functions and layers."""
        return AccountStore(self, account_id)


def _open(path: Path, reserve: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writing and the reading connection to a database that is whole and up to date."""
    with damage.opening(path):
        damage.check(path, reserve)
        connection = connect(path, writer=True)
        try:
            migrate(connection)
            return connection, connect(path, writer=False)
        except BaseException:
            connection.close()
            raise


class AccountStore:
    """The intentions about one account: see :class:`Store` for what they all have in common."""

    __slots__ = ("_account_id", "_store")

    def __init__(self, store: Store, account_id: str) -> None:
        self._store = store
        self._account_id = account_id

    async def create_function(self, name: str, document: Document, versions: Sequence[VersionRow]) -> None:
        """Add a function with its first versions; raises AlreadyStoredError."""
        key = (self._account_id, name)
        await self._store.perform(partial(functions.create_function, key=key, document=document, versions=versions))

    async def change_function(self, name: str, change: FunctionChange) -> None:
        """Carry out a change, all or nothing; raises NotStoredError, AlreadyStoredError, RevisionConflictError."""
        intention = partial(functions.change_function, key=(self._account_id, name), change=change)
        await self._store.perform(intention, essential=change.only_removes)

    async def delete_function(self, name: str) -> None:
        """Remove a function with all its versions and aliases; raises NotStoredError."""
        await self._store.perform(partial(functions.delete_function, key=(self._account_id, name)), essential=True)

    async def create_layer_version(self, name: str, version: int, document: Document) -> None:
        """Add a version of a layer; raises AlreadyStoredError."""
        key = (self._account_id, name)
        await self._store.perform(partial(layers.create_layer_version, key=key, version=version, document=document))

    async def change_layer_version(self, name: str, version: int, document: Document) -> None:
        """Replace what is stored of a layer version; raises NotStoredError."""
        key = (self._account_id, name)
        await self._store.perform(partial(layers.change_layer_version, key=key, version=version, document=document))

    async def delete_layer_version(self, name: str, version: int) -> None:
        """Remove a layer version; raises NotStoredError."""
        key = (self._account_id, name)
        await self._store.perform(partial(layers.delete_layer_version, key=key, version=version), essential=True)

    async def put_websocket_api(self, name: str, document: Document) -> None:
        """Store a WebSocket API, or what it has become."""
        key = (self._account_id, name)
        await self._store.perform(partial(websocket_apis.put_websocket_api, key=key, document=document))

    async def delete_websocket_api(self, name: str) -> None:
        """Remove a WebSocket API; raises NotStoredError."""
        key = (self._account_id, name)
        await self._store.perform(partial(websocket_apis.delete_websocket_api, key=key), essential=True)

    async def put_capacity_provider(self, name: str, document: Document) -> None:
        """Store a capacity provider, or what it has become."""
        key = (self._account_id, name)
        await self._store.perform(partial(capacity_providers.put_capacity_provider, key=key, document=document))

    async def delete_capacity_provider(self, name: str) -> None:
        """Remove a capacity provider; raises NotStoredError."""
        key = (self._account_id, name)
        await self._store.perform(partial(capacity_providers.delete_capacity_provider, key=key), essential=True)
