"""What can go wrong in the store, and whose fault it is.

StoreError
├── StoreUnavailableError          the store cannot make anything durable now
│   ├── StoreFailedError           an fsync failed, or the database is damaged: nothing is acknowledged until a restart
│   ├── StoreDiskError             the disk refused to read or write: the change was undone
│   ├── StoreFullError             the disk is full: only what frees space is taken
│   ├── StoreBusyError             too much is waiting, or another program holds the database
│   └── StoreClosedError           the store was closed
├── StoreCorruptError              the database is damaged
├── StoreVersionError              the database was written by a newer release
├── DataDirectoryInUseError        another service runs on this data directory
├── DataDirectoryForeignError      the directory holds files that no service has written
├── AlreadyStoredError             the caller's: the name is taken
├── NotStoredError                 the caller's: there is no such row
└── RevisionConflictError          the caller's: somebody else changed the row first
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of everything the store raises."""


class StoreUnavailableError(StoreError):
    """Nothing can be made durable at the moment."""


class StoreFailedError(StoreUnavailableError):
    """An fsync failed, or the database is damaged. What the disk holds is uncertain: nothing more is acknowledged."""


class StoreDiskError(StoreUnavailableError):
    """The disk refused to read or write. The change was undone; a later one is tried again."""


class StoreFullError(StoreUnavailableError):
    """The disk is full; intentions that free space still pass."""


class StoreBusyError(StoreUnavailableError):
    """The queue of the writer is full, or another program holds the database's write lock."""


class StoreClosedError(StoreUnavailableError):
    """The store was closed before the intention was carried out."""


class StoreCorruptError(StoreError):
    """The database is damaged: the message names its file and says what to do. Nothing in it was changed."""


class StoreVersionError(StoreError):
    """The database has migrations this release does not know."""


class DataDirectoryInUseError(StoreError):
    """Another process holds the data directory; the message names its pid."""


class DataDirectoryForeignError(StoreError):
    """The directory is somebody else's: a service removes what it does not know in its own."""


class AlreadyStoredError(StoreError):
    """The row to create is there already."""


class NotStoredError(StoreError):
    """The row to change or delete is not there."""


class RevisionConflictError(StoreError):
    """The row has another revision than the expected one."""
