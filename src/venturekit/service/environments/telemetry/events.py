"""Telemetry events: which of them a schema has, and how they are written. Pure.

Source: AWS pages "Lambda Telemetry API Event schema reference" and "Using the Lambda Logs API".
"""

from __future__ import annotations

import json
from typing import Any, Final

from venturekit.service.environments import platform_events
from venturekit.service.environments.telemetry.subscription import LOGS, Subscription

OF_LOGS_ONLY: Final = frozenset({"platform.end", "platform.logsSubscription"})
OF_LOGS: Final = OF_LOGS_ONLY | {
    "platform.start",
    "platform.report",
    "platform.extension",
    "platform.logsDropped",
    "platform.runtimeDone",
    "function",
    "extension",
}
NAMES_SINCE_2022_12_13: Final = ("functionName", "functionVersion", "instanceId", "instanceMaxMemory")
OLDEST_TELEMETRY: Final = "2022-07-01"
OLDEST_LOGS: Final = "2020-08-15"
MEMBERS_OF_LOGS: Final = {
    "platform.start": ("requestId", "version"),
    "platform.report": ("requestId", "metrics"),
    "platform.runtimeDone": ("requestId", "status"),
}


def category(event: str) -> str:
    """Under which type an event is subscribed to: platform, function or extension."""
    return event.partition(".")[0]


def record_for(subscription: Subscription, event: str, record: Any) -> Any:
    """The record of an event as a subscriber gets it; None when it does not."""
    if category(event) not in subscription.types:
        return None
    if subscription.api is LOGS:
        if event not in OF_LOGS or (event == "platform.runtimeDone" and subscription.schema == OLDEST_LOGS):
            return None
        members = MEMBERS_OF_LOGS.get(event)
        return record if members is None else {name: record[name] for name in members if name in record}
    if event in OF_LOGS_ONLY:
        return None
    if event == "platform.initStart" and subscription.schema == OLDEST_TELEMETRY:
        return {name: value for name, value in record.items() if name not in NAMES_SINCE_2022_12_13}
    return record


def output_record(subscription: Subscription, message: bytes, *, is_json: bool) -> Any:
    """The record of a line that the function or an extension wrote: its text, or what it says in the JSON format."""
    text = message.removesuffix(b"\n").decode("utf-8", "replace")
    if is_json and subscription.api is not LOGS and subscription.schema != OLDEST_TELEMETRY and text[:1] == "{":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return value if isinstance(value, dict) else text
    return text


def render(event: str, timestamp: float, record: Any) -> bytes:
    """An event as it goes out. ``timestamp`` in epoch seconds."""
    whole = {"time": platform_events.timestamp_text(timestamp), "type": event, "record": record}
    return json.dumps(whole, separators=(",", ":")).encode()


def dropped(records: int, size_bytes: int) -> dict[str, Any]:
    """The record of ``platform.logsDropped``."""
    reason = "the receiver did not take the telemetry in time, or could not be reached"
    return {"reason": reason, "droppedRecords": records, "droppedBytes": size_bytes}


def tracing(trace: bytes) -> dict[str, str]:
    """The tracing member of an invocation's events."""
    return {"type": "X-Amzn-Trace-Id", "value": trace.decode("latin-1")}


def spans(started_at: float, latency_ms: float, duration_ms: float) -> list[dict[str, Any]]:
    """When the response began and how long it took; ``started_at`` in epoch seconds, of the invocation."""
    parts = (("responseLatency", 0.0, latency_ms), ("responseDuration", latency_ms, duration_ms - latency_ms))
    return [
        {
            "name": name,
            "start": platform_events.timestamp_text(started_at + offset_ms / 1000),
            "durationMs": round(length_ms, 3),
        }
        for name, offset_ms, length_ms in parts
    ]
