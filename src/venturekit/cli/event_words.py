"""Events in words: what the service says of them, for people to read. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIST_TITLES: Final = ("EVENT", "REQUEST ID", "FUNCTION", "STATE", "ATTEMPTS", "ACCEPTED", "WHY")
HISTORY_TITLES: Final = ("WHEN", "WHAT", "DETAIL")
DELIVERY_TITLES: Final = ("KIND", "TARGET", "ATTEMPTS", "DUE", "WHY IT WAITS")
SHORT_ID: Final = 8
UNREMARKABLE: Final = ("accepted", "started", "succeeded", "delivered")
# What was done by hand: the details alone would read like what went wrong.
DONE_BY_HAND: Final = ("redriven", "delivery-dropped")
MEASURES: Final = ("executedVersion", "durationMs", "nextDelaySeconds")
# Each unit is used from two of it on.
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def list_row(event: Mapping[str, Any], *, narrow: bool = False) -> list[str]:
    """An event as a row of a list; ``narrow``: with as much of the request id as the commands need."""
    return [
        f"#{event['number']}",
        event["requestId"][:SHORT_ID] if narrow else event["requestId"],
        function_of(event),
        state_of(event),
        str(event["attempts"]),
        local_time(event["acceptedAt"]),
        why(event),
    ]


def fact_rows(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of an event but its history and its payload."""
    size = event["payloadSizeBytes"]
    rows = [
        ("event", f"#{event['number']}"),
        ("request id", event["requestId"]),
        ("function", function_of(event)),
        ("state", state_of(event)),
        ("attempts", str(event["attempts"])),
        ("accepted", local_time(event["acceptedAt"])),
        ("ended", local_time(event["endedAt"]) if "endedAt" in event else ""),
        ("age", duration(event["ageSeconds"]) if "ageSeconds" in event else ""),
        ("trace", event["trace"]),
        ("payload", "gone" if size is None else f"{size} bytes"),
    ]
    return [(title, text) for title, text in rows if text]


def history_row(line: Mapping[str, Any]) -> list[str]:
    """A line of a history."""
    return [local_time(line["at"]), line["kind"], detail_text(line["detail"])]


def delivery_row(delivery: Mapping[str, Any]) -> list[str]:
    """Something that is owed."""
    return [
        delivery["kind"],
        delivery["target"],
        str(delivery["attempts"]),
        due(delivery["dueInSeconds"]),
        delivery["reason"],
    ]


def count_rows(functions: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of how many events there are."""
    states = [name for name in (functions[0] if functions else {}) if name != "functionName"]
    rows = [[item["functionName"], *(str(item[state]) for state in states)] for item in functions]
    return ["FUNCTION", *(state.upper() for state in states)], rows


def function_of(event: Mapping[str, Any]) -> str:
    """The function, with the qualifier if there is one."""
    qualifier = event.get("qualifier", "")
    return f"{event['functionName']}:{qualifier}" if qualifier else event["functionName"]


def state_of(event: Mapping[str, Any]) -> str:
    """The state, with what is to come."""
    text: str = event["state"]
    if "dueInSeconds" in event:
        text += f", {due(event['dueInSeconds'])}"
    if event["owedDeliveries"]:
        text += f", {event['owedDeliveries']} undelivered"
    return text


def why(event: Mapping[str, Any]) -> str:
    """How it has come to its state: what happened last, and what went wrong."""
    last, error = event["last"], event.get("lastError")
    lines = [] if last["kind"] in UNREMARKABLE else [last]
    if error is not None and error != last and event["state"] != "succeeded":
        lines.append(error)
    return "; ".join(filter(None, map(_line_text, lines)))


def _line_text(line: Mapping[str, Any]) -> str:
    text = detail_text(_without(line["detail"], *MEASURES))
    if line["kind"] in DONE_BY_HAND:
        return ", ".join(filter(None, (line["kind"], text)))
    return text


def detail_text(detail: Mapping[str, Any]) -> str:
    """The members of a line's detail as one text."""
    known = dict(detail)
    error_type, message = known.pop("errorType", ""), known.pop("errorMessage", "")
    parts = [known.pop("condition", ""), ": ".join(filter(None, (error_type, message))), known.pop("reason", "")]
    if "kind" in known and "target" in known:
        parts.insert(0, f"{known.pop('kind')} to {known.pop('target')}")
    if "from" in known:
        parts.append(f"it was {known.pop('from')}")
    if "durationMs" in known:
        parts.append(f"{known.pop('durationMs'):g} ms")
    if "executedVersion" in known:
        parts.append(f"version {known.pop('executedVersion')}")
    if "nextDelaySeconds" in known:
        parts.append(f"again after {duration(known.pop('nextDelaySeconds'))}")
    parts += [f"{name} {value}" for name, value in known.items()]
    return ", ".join(filter(None, parts))


def due(seconds: float) -> str:
    """When something is due that is due in so many seconds."""
    return f"due in {duration(seconds)}" if seconds > 0 else "due"


def duration(seconds: float) -> str:
    """A time that has passed or is to pass, in a unit that suits it."""
    for unit, name in _UNITS:
        if abs(seconds) >= 2 * unit:
            return f"{seconds / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.3g} s" if abs(seconds) < 100 else f"{seconds:.0f} s"


def local_time(text: str) -> str:
    """A time of the service in the zone of this machine, with milliseconds."""
    return datetime.fromisoformat(text).astimezone().replace(tzinfo=None).isoformat(" ", timespec="milliseconds")


def _without(detail: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in detail.items() if name not in names}
