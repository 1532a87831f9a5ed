"""ListFunctions and ListVersionsByFunction: what comes next, and where the next page begins."""

from __future__ import annotations

import base64
import binascii
import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults
from venturekit.service.functions.paging import page_of_qualifiers
from venturekit.service.functions.records import LATEST, FunctionVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.service.functions.registry import Function, FunctionRegistry

MAX_PAGE: Final = 50
# Longer than the marker of any name: what is decoded has to be short.
MAX_MARKER_LENGTH: Final = 512


def list_functions(registry: FunctionRegistry, members: Mapping[str, Any]) -> dict[str, Any]:
    """One page of functions ordered by name; with ``FunctionVersion`` ALL every version is an item.

    A page holds at most 50 items whatever ``MaxItems`` says (AWS Lambda API reference, "ListFunctions").
    Raises InvalidParameterValue for a marker that no former page gave.
    """
    every_version = members.get("FunctionVersion") == "ALL"
    if members.get("MasterRegion") not in (None, "ALL", registry.region):
        return {"Functions": []}
    limit = min(members.get("MaxItems") or MAX_PAGE, MAX_PAGE)
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
        answer["NextMarker"] = encode_marker(last.name, _rank(last))
    return answer


def list_versions(function: Function, members: Mapping[str, Any]) -> dict[str, Any]:
    """One page of a function's versions, ``$LATEST`` first, then by number.

    A page holds at most 50 items (AWS Lambda API reference, "ListVersionsByFunction"); shape as recorded.
    Raises InvalidParameterValue for a marker that no former page gave.
    """
    numbers, next_marker = page_of_qualifiers(function.versions, members)
    versions = [function.versions[number].configuration(qualifier=number, listed=True) for number in numbers]
    return {"Versions": versions} if next_marker is None else {"Versions": versions, "NextMarker": next_marker}


def encode_marker(name: str, rank: int) -> str:
    """An opaque text for the place after this version."""
    return base64.urlsafe_b64encode(json.dumps([name, rank]).encode()).decode("ascii")


def decode_marker(marker: str) -> tuple[str, int]:
    """The inverse of ``encode_marker``; raises InvalidParameterValue."""
    try:
        decoded = json.loads(base64.urlsafe_b64decode(marker[:MAX_MARKER_LENGTH].encode("ascii")))
    except (ValueError, binascii.Error):
        decoded = None
    match decoded:
        case [str(name), int(rank)] if len(marker) <= MAX_MARKER_LENGTH:
            return name, rank
    raise faults.invalid_marker()


def _versions(registry: FunctionRegistry, after: tuple[str, int], *, every_version: bool) -> Iterator[FunctionVersion]:
    name, rank = after
    if not every_version:
        yield from (registry.function(following).latest for following in registry.names_after(name))
        return
    if name in registry:
        yield from (version for version in _all(registry.function(name)) if _rank(version) > rank)
    for following in registry.names_after(name):
        yield from _all(registry.function(following))


def _all(function: Function) -> list[FunctionVersion]:
    return [function.latest, *function.numbered()]


def _rank(version: FunctionVersion) -> int:
    return 0 if version.version == LATEST else int(version.version)
