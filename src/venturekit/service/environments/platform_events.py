"""The platform's own log lines in the JSON format: one event of AWS's Telemetry API each. Pure.

Source: AWS page "Lambda Telemetry API Event schema reference" (schema 2022-12-13) and recordings of the logs of
functions with the JSON format; the order of the members is that of the recordings.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from venturekit.service.environments.platform_lines import Report

ON_DEMAND: Final = "on-demand"
SUCCESS: Final = "success"
MEBIBYTE: Final = 1024 * 1024


def timestamp_text(seconds: float) -> str:
    """A time in epoch seconds as AWS's logs show it: ISO 8601 with milliseconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_line(event: str, timestamp: float, record: dict[str, Any]) -> bytes:
    """An event as a line of the log. ``timestamp`` in epoch seconds."""
    whole = {"time": timestamp_text(timestamp), "type": event, "record": record}
    return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


def init_start(
    *,
    phase: str,
    runtime: str,
    version_arn: str,
    function_name: str,
    version: str,
    stream: str,
    memory_size_mb: int,
    initialization_type: str = ON_DEMAND,
) -> dict[str, Any]:
    """The record of ``platform.initStart``. As recorded, the instance is named by its log stream."""
    return {
        "initializationType": initialization_type,
        "phase": phase,
        "runtimeVersion": runtime,
        "runtimeVersionArn": version_arn,
        "functionName": function_name,
        "functionVersion": version,
        "instanceId": stream,
        "instanceMaxMemory": memory_size_mb * MEBIBYTE,
    }


def init_runtime_done(phase: str, status: str, error_type: str, initialization_type: str = ON_DEMAND) -> dict[str, Any]:
    """The record of ``platform.initRuntimeDone``."""
    return {"initializationType": initialization_type, "phase": phase, **_outcome(status, error_type)}


def init_report(
    phase: str, status: str, error_type: str, duration_ms: float, initialization_type: str = ON_DEMAND
) -> dict[str, Any]:
    """The record of ``platform.initReport``."""
    done = init_runtime_done(phase, status, error_type, initialization_type)
    return {**done, "metrics": {"durationMs": _milliseconds(duration_ms)}}


def start(request_id: bytes, version: bytes, function_arn: bytes) -> dict[str, Any]:
    """The record of ``platform.start``. The ARN is not on AWS's page, but recorded, without a version."""
    return {"requestId": request_id.decode(), "functionArn": function_arn.decode(), "version": version.decode()}


def runtime_done(
    request_id: bytes, status: str, error_type: str, duration_ms: float, produced_bytes: int
) -> dict[str, Any]:
    """The record of ``platform.runtimeDone``; ``produced_bytes`` is the size of the response."""
    metrics = {"durationMs": _milliseconds(duration_ms), "producedBytes": produced_bytes}
    return {"requestId": request_id.decode(), **_outcome(status, error_type), "metrics": metrics}


def report(of: Report) -> dict[str, Any]:
    """The record of ``platform.report``."""
    metrics = {
        "durationMs": _milliseconds(of.duration_ms),
        "billedDurationMs": math.ceil(of.duration_ms + (of.init_duration_ms or 0.0)),
        "memorySizeMB": of.memory_size_mb,
        "maxMemoryUsedMB": of.max_memory_used_mb,
    }
    if of.init_duration_ms is not None:
        metrics["initDurationMs"] = _milliseconds(of.init_duration_ms)
    return {"requestId": of.request_id.decode(), "metrics": metrics, **_outcome(of.status or SUCCESS, of.error_type)}


def extension(name: str, state: str, events: Sequence[str], error_type: str = "") -> dict[str, Any]:
    """The record of ``platform.extension``: an extension is ready, or has failed."""
    record = {"name": name, "state": state, "events": list(events)}
    return record | ({"errorType": error_type} if error_type else {})


def subscription(name: str, types: Sequence[str]) -> dict[str, Any]:
    """The record of ``platform.telemetrySubscription`` and ``platform.logsSubscription``."""
    return {"name": name, "state": "Subscribed", "types": list(types)}


def with_tenant(record: dict[str, Any], tenant_id: str) -> dict[str, Any]:
    """The record of an invocation's event with its tenant, if it has one."""
    return record | {"tenantId": tenant_id} if tenant_id else record


def _outcome(status: str, error_type: str) -> dict[str, str]:
    return {"status": status, "errorType": error_type} if error_type else {"status": status}


def _milliseconds(duration_ms: float) -> float:
    return round(duration_ms, 3)
