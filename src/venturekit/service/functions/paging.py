"""Pages of what hangs on one function. Pure."""

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
MAX_QUALIFIER_LENGTH: Final = 128


def page_of_qualifiers(qualifiers: Iterable[str], members: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """The qualifiers of one page in their order, and the ``NextMarker`` if more follow.

    ``members`` are those of the request: ``Marker`` and ``MaxItems``, of which a page holds at most 50 (AWS says so of
    lists of functions and versions; for aliases it is a choice). A marker names the last item of the page before, so
    it stays good when items come and go. Raises InvalidParameterValue for one that no page gave.
    """
    limit = min(members.get("MaxItems") or MAX_PAGE, MAX_PAGE)
    ordered = sorted(qualifiers, key=qualifier_order)
    marker = members.get("Marker")
    if marker:
        last = qualifier_order(_decoded(marker))
        ordered = [qualifier for qualifier in ordered if qualifier_order(qualifier) > last]
    page = ordered[:limit]
    return page, _encoded(page[-1]) if len(ordered) > limit else None


def _encoded(qualifier: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([qualifier]).encode()).decode("ascii")


def _decoded(marker: str) -> str:
    try:
        decoded = json.loads(base64.b64decode(marker.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error):
        decoded = None
    match decoded:
        case [str(qualifier)] if len(qualifier) <= MAX_QUALIFIER_LENGTH:
            return qualifier
    raise faults.invalid_marker()
