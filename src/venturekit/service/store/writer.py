"""The one writer: a thread that carries out all waiting intentions in one transaction (group commit)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.store.connection import Trouble, classify
from venturekit.service.store.damage import advice
from venturekit.service.store.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreDiskError,
    StoreError,
    StoreFailedError,
    StoreFullError,
)

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from venturekit.service.store.reserve import ReserveFile

Intention = Callable[[sqlite3.Connection], Any]

MAX_PENDING: Final = 10_000
MAX_BATCH: Final = 1_000


class Job:
    """An intention on its way: what to do, who waits for it, and how it went."""

    __slots__ = ("error", "essential", "future", "intention", "loop", "result")

    def __init__(
        self,
        intention: Intention,
        future: Future[Any] | asyncio.Future[Any],
        loop: asyncio.AbstractEventLoop | None,
        *,
        essential: bool,
    ) -> None:
        self.intention = intention
        self.future = future
        self.loop = loop
        self.essential = essential
        self.result: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Tell the one who waits; a cancelled waiter is left alone. In a loop's own thread for its futures."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Owns the writing connection. Nobody is told of success before the commit that holds the change is durable.

    After a failed fsync (``failure`` is then set, and ``on_failure`` called once in the writer's thread) everything is
    refused: whether the data reached the disk is unknown, and a later fsync would report success without having
    written it. So it is when the database turns out to be damaged. A read or write that the disk refuses has no such
    consequence: its transaction is undone, and nobody was told of it.
    """

    def __init__(self, connection: sqlite3.Connection, reserve: ReserveFile, *, max_pending: int = MAX_PENDING) -> None:
        self.commits = 0
        self.failure: StoreFailedError | None = None
        self.on_failure: Callable[[StoreFailedError], object] | None = None
        self._connection = connection
        self._reserve = reserve
        self._max_pending = max_pending
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job. Raises StoreFailedError, StoreClosedError or StoreBusyError (too many waiting) at once."""
        with self._gate:
            if self.failure is not None:
                raise StoreFailedError(str(self.failure))
            if self._closed:
                raise StoreClosedError("the store is closed")
            if self._queue.qsize() >= self._max_pending:
                raise StoreBusyError(f"{self._max_pending} changes are waiting already")
            self._queue.put(job)

    def close(self, timeout_seconds: float) -> bool:
        """Carry out what is queued, then end the thread and close the connection. False if time ran out."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._next_batch()
            self._carry_out(batch)
            _deliver(batch)
        self._connection.close()

    def _next_batch(self) -> tuple[list[Job], bool]:
        job = self._queue.get()
        batch: list[Job] = []
        while job is not None:
            batch.append(job)
            if len(batch) >= MAX_BATCH:
                return batch, False
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _carry_out(self, batch: list[Job]) -> None:
        if self.failure is not None:
            _fail(batch, self.failure)
            return
        jobs = self._admitted(batch)
        trouble, error = self._transact(jobs)
        if trouble is Trouble.FULL:
            self._reserve.give_up()
            _fail((job for job in jobs if not job.essential), StoreFullError(f"the disk is full: {error}"))
            jobs = [job for job in jobs if job.essential]
            trouble, error = self._transact(jobs)
        if trouble is Trouble.FULL:
            _fail(jobs, StoreFullError(f"the disk is full, even for what frees space: {error}"))
        elif trouble is Trouble.BUSY:
            _fail(jobs, StoreBusyError(f"another program holds the database: {error}"))
        elif trouble is Trouble.REFUSED:
            _fail(jobs, StoreDiskError(f"the disk refused to read or write: {error}"))
        elif trouble is not None:
            self._give_up(jobs, trouble, error)

    def _give_up(self, jobs: list[Job], trouble: Trouble, error: Exception | None) -> None:
        path = Path(self._connection.execute("PRAGMA database_list").fetchone()[2])
        if trouble is Trouble.DAMAGE:
            reason = f"{path} is damaged, or its disk cannot be read ({error}). {advice(path)}"
        else:
            reason = f"{path} ({error}). Look for errors of its disk, then start the service again"
        self.failure = StoreFailedError(f"the store failed and takes no more changes until a restart: {reason}")
        _fail(jobs, self.failure)
        if self.on_failure is not None:
            # Its loop may be closed: then nobody listens any more.
            with suppress(RuntimeError):
                self.on_failure(self.failure)

    def _admitted(self, batch: list[Job]) -> list[Job]:
        """Without the reserve in hand, only what frees space may use the little that is left."""
        if self._reserve.held or self._reserve.take():
            return batch
        _fail((job for job in batch if not job.essential), StoreFullError("the disk is full: free some space"))
        return [job for job in batch if job.essential]

    def _transact(self, jobs: list[Job]) -> tuple[Trouble | None, Exception | None]:
        if not jobs:
            return None, None
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._perform(job)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._rolled_back(classify(error), error)
        self.commits += 1
        return None, None

    def _perform(self, job: Job) -> None:
        """One intention, undone alone when it fails for a reason of its own."""
        job.error = None
        self._connection.execute("SAVEPOINT intention")
        try:
            job.result = job.intention(self._connection)
        except Exception as error:
            if classify(error) is not Trouble.INTENTION:
                raise
            job.error = error
            self._connection.execute("ROLLBACK TO intention")
        self._connection.execute("RELEASE intention")

    def _rolled_back(self, trouble: Trouble, error: sqlite3.Error) -> tuple[Trouble, sqlite3.Error]:
        if trouble is Trouble.INTENTION:
            # Not one of an intention, but of what is around them all.
            trouble = Trouble.STORAGE
        try:
            # SQLite has rolled back by itself after some errors.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            error.add_note(f"rolling back failed too: {second}")
            trouble = Trouble.STORAGE
        return trouble, error


def _fail(jobs: Iterable[Job], error: StoreError) -> None:
    for job in jobs:
        # One exception object per waiter: raising a shared one would mix their tracebacks.
        job.error = type(error)(*error.args)


def _deliver(batch: list[Job]) -> None:
    """Settle all jobs; one wake-up per event loop, however many of its tasks wait."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in batch:
        if job.loop is None:
            job.settle()
        else:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_all, jobs)
        except RuntimeError:
            # The loop is closed: nobody waits any more, and what was committed stays committed.
            continue


def _settle_all(jobs: list[Job]) -> None:
    for job in jobs:
        job.settle()
