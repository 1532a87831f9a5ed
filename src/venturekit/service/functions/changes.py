"""What differs between two states of a function: what is to be stored, and the archives no longer needed. Pure.

A part that is the same object in both states has not changed; everything is immutable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.store import AliasRow, FunctionChange, VersionRow

if TYPE_CHECKING:
    from venturekit.service.functions.records import FunctionVersion
    from venturekit.service.functions.registry import Function


def version_row(version: FunctionVersion, expected_revision: str | None = None) -> VersionRow:
    """A version as the store takes it."""
    return VersionRow(version.version, version.revision_id, version.to_document(), expected_revision)


def added_versions(former: Function, changed: Function) -> list[FunctionVersion]:
    """The versions of ``changed`` that are new or not what they were."""
    return [item for number, item in changed.versions.items() if former.versions.get(number) is not item]


def retired_code_keys(former: Function, changed: Function) -> set[str]:
    """The archives, layers included, that ``former`` needs and ``changed`` does not."""
    gone = {key for item in added_versions(changed, former) for key in item.code_keys}
    gone.difference_update(*(item.code_keys for item in added_versions(former, changed)))
    return gone - changed.code_keys() if gone else gone


def difference(former: Function, changed: Function) -> FunctionChange:
    """The change that makes ``changed`` of a stored ``former``."""
    versions = [
        version_row(item, former.versions[item.version].revision_id if item.version in former.versions else None)
        for item in added_versions(former, changed)
    ]
    aliases = [
        AliasRow(
            name,
            alias.revision_id,
            alias.to_document(),
            former.aliases[name].revision_id if name in former.aliases else None,
        )
        for name, alias in changed.aliases.items()
        if former.aliases.get(name) is not alias
    ]
    return FunctionChange(
        document=None if changed.settings == former.settings else changed.settings,
        versions=versions,
        aliases=aliases,
        removed_versions=[number for number in former.versions if number not in changed.versions],
        removed_aliases=[name for name in former.aliases if name not in changed.aliases],
    )
