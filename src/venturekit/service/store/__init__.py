"""Durable state: one SQLite database, one writer, and content-addressed code archives.

Everything outside this package speaks in atomic intentions; SQL, cursors and transactions stay inside.
"""

from __future__ import annotations

from venturekit.service.store.archives import Archives
from venturekit.service.store.documents import (
    AliasRow,
    StoredFunction,
    StoredFunctions,
    VersionRow,
)
from venturekit.service.store.errors import (
    AlreadyStoredError,
    DataDirectoryForeignError,
    DataDirectoryInUseError,
    NotStoredError,
    RevisionConflictError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreFailedError,
    StoreFullError,
    StoreVersionError,
)
from venturekit.service.store.lock import DataDirectoryLock
from venturekit.service.store.store import Store

__all__ = [
    "AliasRow",
    "AlreadyStoredError",
    "Archives",
    "DataDirectoryForeignError",
    "DataDirectoryInUseError",
    "DataDirectoryLock",
    "NotStoredError",
    "RevisionConflictError",
    "Store",
    "StoreBusyError",
    "StoreClosedError",
    "StoreError",
    "StoreFailedError",
    "StoreFullError",
    "StoreVersionError",
    "StoredFunction",
    "StoredFunctions",
    "VersionRow",
]
