"""ListFunctions and ListVersionsByFunction: what comes next, and where the next page begins."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from venturekit.service.functions.paging import decode_marker, encode_marker, page_of_qualifiers, page_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.service.functions.records import FunctionVersion
    from venturekit.service.functions.registry import Function, FunctionRegistry


def list_functions(registry: FunctionRegistry, members: Mapping[str, Any]) -> dict[str, Any]:
    """One page of functions ordered by name; with ``FunctionVersion`` ALL every version is an item.

    A page holds at most 50 items whatever ``MaxItems`` says (AWS Lambda API reference, "ListFunctions").
    Raises InvalidParameterValue for a marker that no former page gave.
    """
    every_version = members.get("FunctionVersion") == "ALL"
    if members.get("MasterRegion") not in (None, "ALL", registry.region):
        return {"Functions": []}
    limit = page_size(members)
    marker = members.get("Marker")
    after = decode_marker(marker) if marker else ("", 0)
    page = list(islice(_versions(registry, after, every_version=every_version), limit + 1))
    functions = [
        version.configuration(qualifier=version.version if every_version else None, listed=True)
        for version in page[:limit]
    ]
    answer: dict[str, Any] = {"Functions": functions}
    if len(page) > limit:
        last = page[limit - 1]
        answer["NextMarker"] = encode_marker(last.name, last.rank)
    return answer


def list_versions(function: Function, members: Mapping[str, Any]) -> dict[str, Any]:
    """One page of a function's versions, ``$LATEST`` first, then by number, ``$LATEST.PUBLISHED`` last (a choice).

    A page holds at most 50 items (AWS Lambda API reference, "ListVersionsByFunction"); shape as recorded.
    Raises InvalidParameterValue for a marker that no former page gave.
    """
    numbers, next_marker = page_of_qualifiers(function.versions, members)
    versions = [function.versions[number].configuration(qualifier=number, listed=True) for number in numbers]
    return {"Versions": versions} if next_marker is None else {"Versions": versions, "NextMarker": next_marker}


def _versions(registry: FunctionRegistry, after: tuple[str, int], *, every_version: bool) -> Iterator[FunctionVersion]:
    name, rank = after
    if not every_version:
        yield from (registry.function(following).latest for following in registry.names_after(name))
        return
    if name in registry:
        yield from (version for version in registry.function(name).in_order() if version.rank > rank)
    for following in registry.names_after(name):
        yield from registry.function(following).in_order()
