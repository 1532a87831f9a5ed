"""Durable state: one SQLite database, one writer, and content-addressed code archives.

Everything outside this package speaks in atomic intentions; SQL, cursors and transactions stay inside.
"""

from __future__ import annotations

from venturekit.service.store.archives import Archives
from venturekit.service.store.documents import (
    AliasRow,
    Document,
    FunctionChange,
    StoredFunction,
    StoredFunctions,
    StoredLayers,
    StoredLayerVersion,
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
    StoreCorruptError,
    StoreDiskError,
    StoreError,
    StoreFailedError,
    StoreFullError,
    StoreUnavailableError,
    StoreVersionError,
)
from venturekit.service.store.lock import DataDirectoryLock
from venturekit.service.store.store import AccountStore, Store

__all__ = [
    "AccountStore",
    "AliasRow",
    "AlreadyStoredError",
    "Archives",
    "DataDirectoryForeignError",
    "DataDirectoryInUseError",
    "DataDirectoryLock",
    "Document",
    "FunctionChange",
    "NotStoredError",
    "RevisionConflictError",
    "Store",
    "StoreBusyError",
    "StoreClosedError",
    "StoreCorruptError",
    "StoreDiskError",
    "StoreError",
    "StoreFailedError",
    "StoreFullError",
    "StoreUnavailableError",
    "StoreVersionError",
    "StoredFunction",
    "StoredFunctions",
    "StoredLayerVersion",
    "StoredLayers",
    "VersionRow",
]
