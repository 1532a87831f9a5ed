"""The X-Ray trace header ``X-Amzn-Trace-Id``: read, written, made.

Source: AWS X-Ray Developer Guide, "Tracing header"; AWS Lambda Developer Guide, "Recursive loop detection" for
the ``Lineage`` field.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ROOT = re.compile(r"1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}")
_PARENT = re.compile(r"[0-9a-fA-F]{16}")
# "?" asks the service to decide, which is what a header without the field does too.
_SAMPLED = {"1": True, "0": False, "?": None}
_KNOWN_FIELDS = frozenset(("root", "parent", "sampled", "lineage", "self"))
_RANDOM_SIZE_BYTES = 20
_MAX_TIME_S = 0xFFFFFFFF


class TraceHeader(NamedTuple):
    """A trace header in its parts. A tuple, not a dataclass: functions import this at cold start.

    ``root`` is the trace id (``1-`` + 8 hex digits of epoch seconds + ``-`` + 24 hex digits), ``parent`` the calling
    segment's id (16 hex digits), ``sampled`` None where the decision is left open. ``lineage`` and ``self_id`` are
    opaque; ``extra`` holds the fields not known here, in their order.
    """

    root: str
    parent: str | None = None
    sampled: bool | None = None
    lineage: str | None = None
    self_id: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    def format(self) -> str:
        """The header's value, known fields first: ``Root=...;Parent=...;Sampled=0``."""
        fields = [("Root", self.root)]
        if self.parent is not None:
            fields.append(("Parent", self.parent))
        if self.sampled is not None:
            fields.append(("Sampled", "1" if self.sampled else "0"))
        if self.lineage is not None:
            fields.append(("Lineage", self.lineage))
        if self.self_id is not None:
            fields.append(("Self", self.self_id))
        return ";".join(f"{name}={value}" for name, value in (*fields, *self.extra))


def parse_trace_header(text: str) -> TraceHeader:
    """Read a trace header: any order, any case of the known names, blanks around fields, unknown fields kept.

    Raises ValueError with the reason where the value cannot be used: not printable ASCII, a part without ``=``, a
    known field twice, no ``Root``, or a ``Root``, ``Parent`` or ``Sampled`` of another form.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError("the trace header holds characters other than printable ASCII")
    known, extra = _split_fields(text)
    root, parent, sampled = known.get("root"), known.get("parent"), known.get("sampled", "?")
    if root is None:
        raise ValueError("the trace header has no Root field")
    if _ROOT.fullmatch(root) is None:
        raise ValueError(f"Root is not 1-<8 hex digits>-<24 hex digits>: {root!r}")
    if parent is not None and _PARENT.fullmatch(parent) is None:
        raise ValueError(f"Parent is not 16 hex digits: {parent!r}")
    if sampled not in _SAMPLED:
        raise ValueError(f"Sampled is none of 0, 1 and ?: {sampled!r}")
    return TraceHeader(root, parent, _SAMPLED[sampled], known.get("lineage"), known.get("self"), tuple(extra))


def new_trace_header(now: float, random: bytes, sampled: bool = False) -> TraceHeader:
    """A new trace: ``now`` in epoch seconds, 20 random bytes (12 for the trace id, 8 for the parent id).

    Raises ValueError for another number of bytes, or a time that 32 bits cannot hold.
    """
    if len(random) != _RANDOM_SIZE_BYTES:
        raise ValueError(f"a trace header needs {_RANDOM_SIZE_BYTES} random bytes, not {len(random)}")
    if not 0 <= now <= _MAX_TIME_S:
        raise ValueError(f"the time of a trace must be 0 to {_MAX_TIME_S} epoch seconds, not {now}")
    root = f"1-{int(now):08x}-{random[:12].hex()}"
    return TraceHeader(root, random[12:].hex(), sampled)


def response_form(header: TraceHeader) -> str:
    """The form in which Lambda answers: ``root=1-...;sampled=0``, names in lower case, an open decision as 0."""
    return f"root={header.root};sampled={1 if header.sampled else 0}"


def _split_fields(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    known: dict[str, str] = {}
    extra: list[tuple[str, str]] = []
    for part in text.split(";"):
        field = part.strip()
        if not field:
            continue
        name, equal_sign, value = (piece.strip() for piece in field.partition("="))
        if not equal_sign or not name:
            raise ValueError(f"not a name=value pair: {field!r}")
        lower_name = name.lower()
        if lower_name not in _KNOWN_FIELDS:
            extra.append((name, value))
        elif lower_name in known:
            raise ValueError(f"the field {name} is given twice")
        else:
            known[lower_name] = value
    return known, extra
