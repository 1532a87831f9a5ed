"""Where rate limiters count: in the memory of a process, or in a SQLite file that several of them share."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable

MAX_KEYS: Final = 10_000
BUSY_SECONDS: Final = 1.0
_PURGE_EVERY: Final = 1000


class RateLimitStore(Protocol):
    """One method, atomic: count one more. Write your own, blocking or asynchronous::

    class RedisStore:
        def __init__(self, redis):
            self.redis = redis

        async def increment(self, id, now, expires_at):
            count = await self.redis.incr(id)
            await self.redis.expireat(id, int(expires_at) + 1)
            return count
    """

    def increment(self, id: str, now: float, expires_at: float, /) -> int | Awaitable[int]:
        """Add one to the count of an id, and give the new count, 1 for the first.

        ``now`` and ``expires_at`` are epoch seconds; after ``expires_at`` the id is not asked for any more.
        """


class MemoryRateLimitStore:
    """Counts in this process, which is one execution environment: ``MemoryRateLimitStore(max_keys=1000)``

    Of more than ``max_keys`` keys the oldest is forgotten. Raises ValueError.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        if max_keys < 1:
            raise ValueError("max_keys is at least 1")
        self._max_keys = max_keys
        self._counts: dict[str, int] = {}
        self._lock = Lock()

    def increment(self, id: str, now: float, expires_at: float) -> int:
        """The new count."""
        with self._lock:
            count = self._counts.get(id, 0) + 1
            if count == 1 and len(self._counts) >= self._max_keys:
                # Windows end in the order in which they begin: what was first counted is the first to be over.
                del self._counts[next(iter(self._counts))]
            self._counts[id] = count
            return count

    def __len__(self) -> int:
        return len(self._counts)


class SqliteRateLimitStore:
    """Counts in a SQLite file, for several processes of one machine: ``SqliteRateLimitStore("limits.db")``

    ``busy_seconds``: how long to wait for the others before it counts as down. Counts may be lost when the machine
    stops, for nothing waits for the disk. Threads and forked processes may share it. Needs SQLite 3.35.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = os.fspath(path)
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._increments = 0
        self._lock = Lock()

    def increment(self, id: str, now: float, expires_at: float) -> int:
        """The new count. Raises sqlite3.Error."""
        with self._lock:
            connection = self._connected()
            ((count,),) = connection.execute(
                "INSERT INTO rate_limits (id, hits, expires_at) VALUES (?, 1, ?) "
                "ON CONFLICT (id) DO UPDATE SET hits = hits + 1 RETURNING hits",
                (id, expires_at),
            ).fetchall()
            self._increments += 1
            if self._increments % _PURGE_EVERY == 1:
                connection.execute("DELETE FROM rate_limits WHERE expires_at < ?", (now,))
            return int(count)

    def close(self) -> None:
        """Close the file; the next increment opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        # A connection is no use in a forked process, and closing it there would harm its owner.
        if self._connection is None or self._process != os.getpid():
            self._connection = self._connect()
            self._process = os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # Takes longer to import than all of the rest, and who counts in memory needs none of it.
        import sqlite3

        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                # Somebody else is about to do it: either mode is safe.
                pass
            connection.execute(
                "CREATE TABLE IF NOT EXISTS rate_limits "
                "(id TEXT PRIMARY KEY, hits INTEGER NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS rate_limits_expiry ON rate_limits (expires_at)")
        except BaseException:
            connection.close()
            raise
        return connection
