"""Stored events as JSON, for those who look at them. Pure."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.store.event_documents import QUEUED, RUNNING

if TYPE_CHECKING:
    from venturekit.service.events.settlement import Moment
    from venturekit.service.store.event_documents import Transition
    from venturekit.service.store.event_views import EventDetails, ShownDelivery, StoredEvent

LISTED_CHARACTERS: Final = 200
"""How much of a text stands in a list."""


def listed(event: StoredEvent, moment: Moment) -> dict[str, Any]:
    """An event in a list. Ages and delays are in seconds from ``moment`` on."""
    shown = {**_event(event, moment), "last": _shortened(event.last)}
    if event.last_error is not None:
        shown["lastError"] = _shortened(event.last_error)
    return shown


def detailed(details: EventDetails, moment: Moment) -> dict[str, Any]:
    """All about an event; its payload is a text, or ``payloadBase64`` where it is none in UTF-8."""
    shown = {
        **_event(details.event, moment),
        "trace": details.event.trace,
        "payloadSizeBytes": details.payload_size_bytes,
        "deliveries": [_delivery(delivery, moment) for delivery in details.deliveries],
        "history": [transition(line) for line in details.history],
    }
    if details.omitted:
        shown["historyOmitted"] = details.omitted
    if details.payload is not None:
        try:
            shown["payload"] = details.payload.decode()
        except UnicodeDecodeError:
            shown["payloadBase64"] = base64.b64encode(details.payload).decode()
    return shown


def transition(line: Transition) -> dict[str, Any]:
    """A line of a history."""
    return {"at": iso_time(line.wall), "kind": line.kind, "detail": json.loads(line.detail or "{}")}


def iso_time(wall: float) -> str:
    """Epoch seconds as a time in UTC with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _shortened(line: Transition) -> dict[str, Any]:
    shown = transition(line)
    shown["detail"] = {
        name: value[:LISTED_CHARACTERS] + "…" if isinstance(value, str) and len(value) > LISTED_CHARACTERS else value
        for name, value in shown["detail"].items()
    }
    return shown


def _event(event: StoredEvent, moment: Moment) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "number": event.event_id,
        "requestId": event.request_id,
        "functionName": event.function_name,
        "state": event.state,
        "attempts": event.attempts,
        "backoffs": event.backoffs,
        "owedDeliveries": event.owed,
        "acceptedAt": iso_time(event.accepted_wall),
    }
    if event.qualifier:
        shown["qualifier"] = event.qualifier
    if event.tenant_id:
        shown["tenantId"] = event.tenant_id
    if event.finished_wall is not None:
        shown["endedAt"] = iso_time(event.finished_wall)
    if event.state in (QUEUED, RUNNING):
        shown["ageSeconds"] = round(moment.steady - event.accepted_at, 3)
    if event.state == QUEUED:
        shown["dueInSeconds"] = round(event.due_at - moment.steady, 3)
    return shown


def _delivery(delivery: ShownDelivery, moment: Moment) -> dict[str, Any]:
    return {
        "kind": delivery.kind,
        "target": delivery.target,
        "attempts": delivery.attempts,
        "reason": delivery.reason,
        "dueInSeconds": round(delivery.due_at - moment.steady, 3),
        "createdAt": iso_time(delivery.created_wall),
        "sizeBytes": delivery.size_bytes,
    }
