"""Which events that have ended are forgotten. Pure: times are steady seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from venturekit.service.store.event_views import EndedEvent, Place

BATCH_EVENTS: Final = 200
BATCH_BYTES: Final = 4 * 1024 * 1024
"""No more is deleted in one transaction: other commits wait for it."""


def forgettable(
    events: Sequence[EndedEvent], *, keep_from: float, last_beyond: Place | None
) -> tuple[list[EndedEvent], bool]:
    """Those of ``events`` that go, and whether later ones may go too.

    They come in the order of their places. One goes that ended before ``keep_from``, or whose place is up to
    ``last_beyond``; one of which something is owed stays. After the first that is kept for its youth all are kept.
    """
    going: list[EndedEvent] = []
    for event in events:
        too_many = last_beyond is not None and event.place <= last_beyond
        if not too_many and event.ended_at >= keep_from:
            return going, False
        if not event.is_owing:
            going.append(event)
    return going, True


def batches(events: Iterable[EndedEvent]) -> Iterable[list[int]]:
    """The ids of these events, as many together as one transaction deletes."""
    batch: list[int] = []
    size_bytes = 0
    for event in events:
        if batch and (len(batch) >= BATCH_EVENTS or size_bytes + event.size_bytes > BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(event.place[1])
        size_bytes += event.size_bytes
    if batch:
        yield batch
