"""Rows as the callers of the store see them: JSON documents and the columns that are searched or compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a function to write.

    ``expected_revision`` is the revision it replaces; None means that the row must be new.
    """

    version: str
    revision_id: str
    document: Document
    expected_revision: str | None = None


@dataclass(frozen=True, slots=True)
class AliasRow:
    """One alias to write; ``expected_revision`` as in ``VersionRow``."""

    name: str
    revision_id: str
    document: Document
    expected_revision: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFunction:
    """One function as it is stored, with the documents of its versions and aliases."""

    name: str
    document: Document
    versions: Sequence[Document]
    aliases: Sequence[Document]


@dataclass(frozen=True, slots=True)
class StoredFunctions:
    """All functions, and the highest version number ever given per name (also of deleted functions)."""

    functions: Sequence[StoredFunction]
    last_versions: Mapping[str, int]
