"""The ``Lineage`` field of a trace header: how often each function has run in one chain of requests.

An entry is ``1:<8 hexadecimal digits>:<count>``: the digits stand for a function, the count is 0 when it runs for the
first time in the chain and grows by one with every further round. Entries are joined by ``|``. Functions hand their
trace header on with every request that they make through an AWS SDK, so that a loop is seen.

Sources: AWS Lambda Developer Guide, "Use Lambda recursive loop detection to prevent infinite loops"; the form as seen
in trace headers of AWS (``Lineage=1:d0782663:0``, formerly ``Lineage=d0782663:0|68fd508a:5``). What the digits are
made of is not documented; here it is a hash.
"""

from __future__ import annotations

import re
from hashlib import blake2s
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ROUNDS_LIMIT: Final = 16
"""How often a function runs in one chain of requests before the next round is stopped (Developer Guide, as above)."""
FUNCTIONS_LIMIT: Final = 32
"""How many entries a lineage has at most."""
HEADER_LIMIT_BYTES: Final = 1024
"""No header that is made here is longer, not even when an SDK has percent-encoded the separators of its lineage."""
COUNT_LIMIT: Final = 999_999
STOPPED: Final = (
    "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources and "
    "stopped your function's invocation. If the loop is intended, set RecursiveLoop to Allow "
    "(PutFunctionRecursionConfig)."
)
"""What a stopped invocation is answered. The first sentence is the model's of RecursiveInvocationException; what AWS
sends was not seen."""

# Whatever was sent on by way of us is shorter, and has its lineage at the end.
_CONTINUED_BYTES: Final = 4096
_KEY_BYTES: Final = 4
_OWN_ENTRY: Final = re.compile(rb"1:([0-9a-f]{8}):0*([0-9]+)", re.IGNORECASE)
# Most traces begin with their request; the service makes them like this.
_BEGINNING: Final = re.compile(rb"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01]")
_FOREIGN_ENTRY: Final = re.compile(rb"[0-9A-Za-z:]{1,17}")
# botocore sends "|" as %7C. Who hands that on as it came encodes the percent sign in its turn.
_ENCODED: Final = re.compile(rb"%(?:25)*(7C|3A)", re.IGNORECASE)
_ENCODED_EXTRA_BYTES: Final = 2
_FIELDS_KEPT_FIRST: Final = (b"Root=", b"Parent=", b"Sampled=")


def key_of(function_arn: str) -> str:
    """What stands for a function in a lineage: the same for all of its versions and aliases, 8 hexadecimal digits.

    ``function_arn`` may be qualified; account, region and name of the function are what counts.
    """
    function = ":".join(function_arn.split(":")[3:7])
    return blake2s(function.encode(), digest_size=_KEY_BYTES).hexdigest()


def first(key: str) -> str:
    """The end of the trace header of a function that begins a chain, whose trace has no lineage yet."""
    return f";Lineage=1:{key}:0"


def advanced(trace: bytes, key: str) -> tuple[bytes, int]:
    """The trace header for a function that is about to run, and how many rounds it has behind it in this chain.

    ``trace`` is the header that came with the request, in any state: fields and entries that are not understood are
    kept while there is room, what cannot be an entry is left out. The result has at most 1024 bytes.

    No loop escapes the bounds: with all entries in use, a further function takes the place of the one that ran least,
    with its count and one more. So the count of a function is exact in a chain of up to 32 functions, and in a longer
    one never too low; too high it is by one for every 32 requests of the chain at most.
    """
    if _BEGINNING.fullmatch(trace) is not None:
        return trace + first(key).encode(), 0
    fields, lineage = _taken_apart(trace)
    counts, foreign = _entries(lineage)
    own = key.encode()
    former = counts.pop(own, -1)
    dropped = _reduced(counts, FUNCTIONS_LIMIT - 1)
    rounds = max(former, dropped) + 1
    counts[own] = min(rounds, COUNT_LIMIT)
    return _put_together(fields, counts, foreign), rounds


def continued(trace: bytes, former: bytes) -> bytes:
    """``trace``, a new header, with the lineage of ``former``, which cannot be used as a whole.

    Otherwise a function that spoils its trace header would get out of its loop.
    """
    _, lineage = _taken_apart(former[-_CONTINUED_BYTES:])
    counts, foreign = _entries(lineage)
    if not counts and not foreign:
        return trace
    _reduced(counts, FUNCTIONS_LIMIT)
    return _put_together(trace.split(b";"), counts, foreign)


def _taken_apart(trace: bytes) -> tuple[list[bytes], list[bytes]]:
    """The other fields as they are, and what all lineage fields say."""
    fields: list[bytes] = []
    lineage: list[bytes] = []
    for field in trace.split(b";"):
        name, _, value = field.partition(b"=")
        if name.strip().lower() == b"lineage":
            lineage.append(value.strip())
        elif field:
            fields.append(field)
    return fields, lineage


def _entries(lineage: Iterable[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
    """Counts by key, and the entries of another form. Of several counts for one key the highest is taken."""
    counts: dict[bytes, int] = {}
    foreign: list[bytes] = []
    for text in lineage:
        for entry in _ENCODED.sub(_decoded, text).split(b"|"):
            own = _OWN_ENTRY.fullmatch(entry)
            if own is not None:
                key, digits = own[1].lower(), own[2]
                count = int(digits) if len(digits) <= len(str(COUNT_LIMIT)) else COUNT_LIMIT
                counts[key] = max(count, counts.get(key, 0))
            elif _FOREIGN_ENTRY.fullmatch(entry) is not None:
                foreign.append(entry)
    return counts, foreign


def _decoded(encoded: re.Match[bytes]) -> bytes:
    return b"|" if encoded[1].upper() == b"7C" else b":"


def _reduced(counts: dict[bytes, int], limit: int) -> int:
    """Drop the lowest counts, of equal ones the oldest, down to so many; the highest that was dropped, -1 for none."""
    dropped = -1
    for key in sorted(counts, key=counts.__getitem__)[: max(0, len(counts) - limit)]:
        dropped = counts.pop(key)
    return dropped


def _put_together(fields: list[bytes], counts: dict[bytes, int], foreign: list[bytes]) -> bytes:
    entries = foreign[: max(0, FUNCTIONS_LIMIT - len(counts))]
    entries += [b"1:%b:%d" % entry for entry in counts.items()]
    lineage = b"Lineage=" + b"|".join(entries)
    room = HEADER_LIMIT_BYTES - len(lineage) - _ENCODED_EXTRA_BYTES * len(entries)
    return b";".join((*_fitting(fields, room), lineage))


def _fitting(fields: list[bytes], room: int) -> list[bytes]:
    """The fields that have room together, each with a semicolon; the trace itself comes before what others added."""
    if sum(map(len, fields)) + len(fields) <= room:
        return fields
    kept = []
    for field in sorted(fields, key=lambda field: not field.startswith(_FIELDS_KEPT_FIRST)):
        if len(field) < room:
            kept.append(field)
            room -= len(field) + 1
    return kept
