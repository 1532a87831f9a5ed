"""Which store there is where nobody names one: DynamoDB on Lambda, SQLite under ``vk``, memory elsewhere.

Sources: the idempotency and saga guides (``createDefault…Store()``: DynamoDB on Lambda, memory in local development).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from venturekit.runtime import environ

if TYPE_CHECKING:
    from venturekit.runtime.patterns.records import RecordStore

KINDS: Final = ("idempotency", "sagas", "breakers", "connections")


def default_store(kind: str, *, keys: tuple[str, ...] = ()) -> RecordStore:
    """A store for records of one of ``KINDS``, which are found by ``keys``.

    * In a Lambda function on AWS the DynamoDB table ``venturekit-<kind>``, or the one that ``VENTURE_<KIND>_TABLE``
      names, such as ``VENTURE_SAGAS_TABLE``; a table that is named is used in functions of the service as well.
    * In the dev server and in functions of the service: a SQLite file for each kind, project and stage, in the folder
      ``VENTURE_RECORDS_DIRECTORY``, without it in ``~/.local/state/venturekit`` (``$XDG_STATE_HOME``).
    * Elsewhere memory, a new one with every call; or SQLite too, if ``VENTURE_RECORDS_DIRECTORY`` is set.

    Nothing is connected to, and no table made, before it is used. Raises RecordStoreError, if the folder cannot be
    made, and ValueError.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of records: one of {', '.join(KINDS)} is expected")
    table = environ.record_table(kind)
    if table is not None:
        from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore

        return DynamoDbRecordStore(table, keys=keys)
    folder = environ.records_directory()
    if folder is not None:
        from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore

        _make_folder(folder, kind)
        return SqliteRecordStore(os.path.join(folder, file_name(kind, environ.project_name(), environ.stage())))
    from venturekit.runtime.patterns.record_stores import MemoryRecordStore

    return MemoryRecordStore()


def file_name(kind: str, project: str | None, stage: str | None) -> str:
    """The file for records of a kind: ``shop-dev-sagas.db``. Projects of one machine have nothing in common."""
    from urllib.parse import quote

    return "-".join([*(quote(part, safe="") for part in (project, stage) if part), f"{kind}.db"])


def _make_folder(folder: str, kind: str) -> None:
    from venturekit.runtime.patterns.record_checks import RecordStoreError

    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as problem:
        raise RecordStoreError(
            f"records ({kind}) cannot be kept in {folder}: {problem.strerror}. Name a folder that can be written with "
            f"VENTURE_RECORDS_DIRECTORY, a DynamoDB table with VENTURE_{kind.upper()}_TABLE, or give a store"
        ) from problem
