"""Pages of lists: how many items, where the next page begins, and what hangs on one function. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults
from venturekit.service.functions.settings import qualifier_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_PAGE: Final = 50
"""The most items of any page (API reference, "ListFunctions" and "ListLayers"); where AWS says nothing, a choice."""
# Longer than the marker of any name: what is decoded has to be short.
MAX_MARKER_LENGTH: Final = 512


def page_size(members: Mapping[str, Any]) -> int:
    """How many items a page holds at most, whatever ``MaxItems`` of the request says."""
    return min(members.get("MaxItems") or MAX_PAGE, MAX_PAGE)


def encode_marker(name: str, rank: int = 0) -> str:
    """An opaque text for the place after an item: its name, and its rank among the items of this name."""
    return base64.urlsafe_b64encode(json.dumps([name, rank]).encode()).decode("ascii")


def decode_marker(marker: str) -> tuple[str, int]:
    """The inverse of ``encode_marker``; raises InvalidParameterValue."""
    try:
        text = base64.b64decode(marker[:MAX_MARKER_LENGTH].encode("ascii"), altchars=b"-_", validate=True)
        decoded = json.loads(text)
    except (ValueError, RecursionError, binascii.Error):
        decoded = None
    match decoded:
        case [str(name), int(rank)] if len(marker) <= MAX_MARKER_LENGTH:
            return name, rank
    raise faults.invalid_marker()


def page_of_qualifiers(qualifiers: Iterable[str], members: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """The qualifiers of one page in their order, and the ``NextMarker`` if more follow.

    ``members`` are those of the request. A marker names the last item of the page before, so it stays good when items
    come and go. Raises InvalidParameterValue for one that no page gave.
    """
    limit = page_size(members)
    ordered = sorted(qualifiers, key=qualifier_order)
    marker = members.get("Marker")
    if marker:
        last = qualifier_order(decode_marker(marker)[0])
        ordered = [qualifier for qualifier in ordered if qualifier_order(qualifier) > last]
    page = ordered[:limit]
    return page, encode_marker(page[-1]) if len(ordered) > limit else None
