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

_PLAIN: Final = frozenset({str, int})
# What at most the versions and aliases of one function share. Everything else is looked up among the values of all.
_OWN: Final = frozenset(
    {
        "name",
        "function_arn",
        "description",
        "log_group",
        "code_key",
        "code_sha256",
        "code_size_bytes",
        "unzipped_size_bytes",
        "revision_id",
        "identity",
        "last_modified",
        "published_from",
    }
)

# Values by themselves: texts, whole numbers, tuples of texts. No others, for True, 1 and 1.0 are equal as keys.
_Values = dict[Any, Any]


def loaded_functions(stored: Iterable[StoredFunction], last_versions: Mapping[str, int]) -> list[Function]:
    """The functions of one account; ``last_versions`` are the highest version numbers ever given, by name."""
    common: _Values = {}
    return [_function(item, last_versions.get(item.name, 0), common) for item in stored]


def _function(stored: StoredFunction, last_version: int, common: _Values) -> Function:
    own: _Values = {}
    versions = [FunctionVersion.from_document(document) for document in _shared(stored.versions, own, common)]
    aliases = [Alias.from_document(document) for document in _shared(stored.aliases, own, common)]
    settings = {name: value for name, value in stored.document.items() if value not in (None, {}, [])}
    return Function(
        name=own.get(stored.name, stored.name),
        versions={version.version: version for version in versions},
        aliases={alias.name: alias for alias in aliases},
        settings=_shared_value(settings, common),
        last_version=last_version,
    )


def _shared(documents: Iterable[Document], own: _Values, common: _Values) -> Iterator[Document]:
    """The documents of one function, with the values that others have too."""
    former: Document = {}
    for document in documents:
        members: dict[str, Any] = {}
        for name, value in document.items():
            if value.__class__ in _PLAIN:
                members[name] = (own if name in _OWN else common).setdefault(value, value)
            elif value.__class__ in (list, dict):
                members[name] = _shared_collection(name, value, former.get(name), common)
            else:
                members[name] = value
        yield members
        former = members


def _shared_collection(name: str, value: Any, former: Any, common: _Values) -> Any:
    if name == "architectures":
        architectures = tuple(value)
        return common.setdefault(architectures, architectures)
    # Equal values of any other shape may still differ, as True and 1 do; all that these hold are texts, or nothing.
    if value == former and (name == "environment" or not value):
        return former
    return _shared_value(value, common)


def _shared_value(value: Any, common: _Values) -> Any:
    if value.__class__ in _PLAIN:
        return common.setdefault(value, value)
    if value.__class__ is dict:
        return {common.setdefault(name, name): _shared_value(item, common) for name, item in value.items()}
    if value.__class__ is list:
        return [_shared_value(item, common) for item in value]
    return value
