"""Event source mappings in words, for people to read. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LIST_TITLES: Final = ("ID", "QUEUE", "FUNCTION", "STATE", "BATCH", "LAST RESULT")
SHORT_ID: Final = 8
_FUNCTION: Final = "function:"


def list_row(mapping: Mapping[str, Any], *, narrow: bool = False) -> list[str]:
    """A mapping as a row of a list; ``narrow``: with as much of the ids as is needed to know them."""
    queue = mapping["EventSourceArn"]
    return [
        mapping["UUID"][:SHORT_ID] if narrow else mapping["UUID"],
        queue.rpartition(":")[2] if narrow else queue,
        mapping["FunctionArn"].partition(_FUNCTION)[2],
        mapping["State"],
        str(mapping["BatchSize"]),
        mapping.get("LastProcessingResult") or "",
    ]


def fact_rows(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of a mapping."""
    scaling = mapping.get("ScalingConfig") or {}
    window_seconds = mapping.get("MaximumBatchingWindowInSeconds")
    rows = [
        ("id", mapping["UUID"]),
        ("queue", mapping["EventSourceArn"]),
        ("function", mapping["FunctionArn"]),
        ("state", mapping["State"]),
        ("why", mapping.get("StateTransitionReason") or ""),
        ("last result", mapping.get("LastProcessingResult") or ""),
        ("batch size", str(mapping["BatchSize"])),
        ("window", f"{window_seconds} s" if window_seconds else ""),
        ("maximum concurrency", str(scaling.get("MaximumConcurrency", ""))),
        ("reports", " ".join(mapping.get("FunctionResponseTypes") or ())),
        ("last modified", datetime.fromtimestamp(mapping["LastModified"], UTC).isoformat(timespec="seconds")),
    ]
    filters = (mapping.get("FilterCriteria") or {}).get("Filters") or ()
    rows += [("filter", each["Pattern"]) for each in filters]
    return [(title, text) for title, text in rows if text]
