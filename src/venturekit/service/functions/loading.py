"""From what the store holds to functions in memory, with equal values kept once. Pure.

Most of what ten thousand functions say is the same: the versions of one function share their variables and names, and
nearly all functions a few roles, runtimes and tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.records import Alias, FunctionVersion
from venturekit.service.functions.registry import Function

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from venturekit.service.store import Document, StoredFunction

# Texts that at most the versions and aliases of one function share. All others are looked up among those of all.
_OWN: Final = frozenset(
    {
        "name",
        "function_arn",
        "description",
        "log_group",
        "code_key",
        "code_sha256",
        "revision_id",
        "identity",
        "last_modified",
        "published_from",
    }
)


def loaded_functions(stored: Iterable[StoredFunction], last_versions: Mapping[str, int]) -> list[Function]:
    """The functions of one account; ``last_versions`` are the highest version numbers ever given, by name."""
    common: dict[str, str] = {}
    return [_function(item, last_versions.get(item.name, 0), common) for item in stored]


def _function(stored: StoredFunction, last_version: int, common: dict[str, str]) -> Function:
    own = {stored.name: stored.name}
    versions = [FunctionVersion.from_document(document) for document in _shared(stored.versions, own, common)]
    aliases = [Alias.from_document(document) for document in _shared(stored.aliases, own, common)]
    return Function(
        name=stored.name,
        versions={version.version: version for version in versions},
        aliases={alias.name: alias for alias in aliases},
        settings={
            common.setdefault(name, name): _shared_value(value, common)
            for name, value in stored.document.items()
            if value not in (None, {}, [])
        },
        last_version=last_version,
    )


def _shared(documents: Iterable[Document], own: dict[str, str], common: dict[str, str]) -> Iterator[Document]:
    """The documents of one function, each with the values of the one before where they are equal."""
    former: dict[str, Any] = {}
    for document in documents:
        members = {name: _shared_member(name, value, former.get(name), own, common) for name, value in document.items()}
        yield members
        former = members


def _shared_member(name: str, value: Any, former: Any, own: dict[str, str], common: dict[str, str]) -> Any:
    if value.__class__ is str:
        return own.setdefault(value, value) if name in _OWN else common.setdefault(value, value)
    if value.__class__ is int:
        return former if former.__class__ is int and former == value else value
    if name == "architectures":
        return former if former == (architectures := tuple(value)) else architectures
    if name == "environment":
        return former if former == value else _shared_value(value, common)
    # Values of any shape: True and 1 are equal, so only what holds nothing is the same for sure.
    return former if value == former == {} else value


def _shared_value(value: Any, common: dict[str, str]) -> Any:
    if value.__class__ is str:
        return common.setdefault(value, value)
    if value.__class__ is dict:
        return {common.setdefault(name, name): _shared_value(item, common) for name, item in value.items()}
    if value.__class__ is list:
        return [_shared_value(item, common) for item in value]
    return value
