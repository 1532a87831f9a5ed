"""ListFunctions: which functions come next, and where the next page begins."""

from __future__ import annotations

import base64
import binascii
import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults
from venturekit.service.functions.records import LATEST, FunctionVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.service.functions.registry import Function, FunctionRegistry

MAX_PAGE: Final = 50


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


def encode_marker(name: str, rank: int) -> str:
    """An opaque text for the place after this version."""
    return base64.urlsafe_b64encode(json.dumps([name, rank]).encode()).decode("ascii")


def decode_marker(marker: str) -> tuple[str, int]:
    """The inverse of ``encode_marker``; raises InvalidParameterValue."""
    try:
        name, rank = json.loads(base64.urlsafe_b64decode(marker.encode("ascii")))
    except (ValueError, TypeError, binascii.Error):
        name = rank = None
    if not isinstance(name, str) or not isinstance(rank, int):
        raise faults.invalid_parameter("Invalid Marker: use the NextMarker of the page before, unchanged")
    return name, rank


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
