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


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionChange:
    """Everything that one change does to a stored function, all or nothing.

    ``document`` replaces what is stored besides versions and aliases; None leaves it.
    """

    document: Document | None = None
    versions: Sequence[VersionRow] = ()
    aliases: Sequence[AliasRow] = ()
    removed_versions: Sequence[str] = ()
    removed_aliases: Sequence[str] = ()

    @property
    def only_removes(self) -> bool:
        """Whether the change needs no more space: a document beside a removal has lost what hung on the removed."""
        removes = bool(self.removed_versions or self.removed_aliases)
        return not self.versions and not self.aliases and (self.document is None or removes)


@dataclass(frozen=True, slots=True)
class StoredFunction:
    """One function as it is stored, with the documents of its versions and aliases."""

    account_id: str
    name: str
    document: Document
    versions: Sequence[Document]
    aliases: Sequence[Document]


@dataclass(frozen=True, slots=True)
class StoredFunctions:
    """All functions, and the highest version number ever given per account and name (also of deleted functions)."""

    functions: Sequence[StoredFunction]
    last_versions: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class StoredLayerVersion:
    """One version of a layer as it is stored."""

    account_id: str
    layer_name: str
    version: int
    document: Document


@dataclass(frozen=True, slots=True)
class StoredLayers:
    """All layer versions, and the highest number ever given per account and layer (also of deleted versions)."""

    versions: Sequence[StoredLayerVersion]
    last_versions: Mapping[tuple[str, str], int]
