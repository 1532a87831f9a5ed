"""The log of an environment of a tenant: that of any other, and the tenant in the records of invocations."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from venturekit.service.environments.journal import open_journal
from venturekit.service.environments.logs import LogGroup
from venturekit.service.environments.ports import EnvironmentSpec
from venturekit.service.environments.telemetry.journal import TelemetryJournal

NOW = 1_791_444_627.768
ID = b"79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36"
OF_INVOCATIONS = ("platform.start", "platform.runtimeDone", "platform.report")


def spec(tenant_id: str, log_format: str, level: str | None) -> EnvironmentSpec:
    return EnvironmentSpec(
        identity="1",
        function_name="f",
        function_version="3",
        function_arn="arn:aws:lambda:eu-central-1:000000000000:function:f",
        runtime="python3.11",
        handler="app.handler",
        timeout_ms=3000,
        memory_size_mb=128,
        ephemeral_storage_mb=512,
        code_key="key",
        code_directory=Path("/code"),
        log_group="/aws/lambda/f",
        log_format=log_format,
        system_log_level=level,
        tenant_id=tenant_id,
    )


def written(tenant_id: str, log_format: str, level: str | None, status: str) -> tuple[list[bytes], bytes]:
    """The lines of a log, and the tail that the caller gets."""
    group = LogGroup()
    journal = open_journal(spec(tenant_id, log_format, level), "stream", group)
    journal.init_started(NOW, runtime="python:3.11", version_arn="arn", phase="init", warning="")
    journal.init_ended(NOW, duration_ms=1.5, phase="init")
    journal.started(NOW, ID, tail=True)
    journal.wrote(NOW, b"said\n")
    error_type = "Runtime.ExitError" if status == "error" else ""
    tail = journal.ended(NOW + 1, (ID, 10.25, 128, 40, 1.5), status=status, error_type=error_type, produced_bytes=17)
    return [line.message for line in group.read()], tail


def without_tenant(text: bytes) -> tuple[list[Any], list[str]]:
    """The records of a text, and the kinds of those that name the tenant."""
    records = [json.loads(line) for line in text.splitlines() if line != b"said"]
    named = [each["type"] for each in records if each["record"].pop("tenantId", "") == "blue"]
    return records, named


@pytest.mark.parametrize("status", ["", "error", "timeout"])
@pytest.mark.parametrize("level", [None, "DEBUG", "INFO", "WARN"])
def test_json_records_name_the_tenant_and_are_the_same_otherwise(level: str | None, status: str) -> None:
    lines, tail = written("blue", "JSON", level, status)
    others_lines, others_tail = written("", "JSON", level, status)
    for mine, others in ((b"".join(lines), b"".join(others_lines)), (tail, others_tail)):
        records, named = without_tenant(mine)
        assert (records, []) == without_tenant(others)
        assert named == [each["type"] for each in records if each["type"] in OF_INVOCATIONS]


def test_the_text_format_knows_no_tenants() -> None:
    assert written("blue", "Text", None, "") == written("", "Text", None, "")


@pytest.mark.parametrize("tenant_id", ["", "blue"])
def test_telemetry_names_the_tenant(tenant_id: str) -> None:
    told: dict[str, Any] = {}
    made = spec(tenant_id, "Text", None)
    telemetry: Any = SimpleNamespace(
        environment=SimpleNamespace(spec=made, trace_of=lambda _request_id: b""),
        emit=lambda event, _timestamp, record: told.update({event: record}),
        latency_ms=lambda duration_ms: duration_ms,
    )
    journal = TelemetryJournal(open_journal(made, "stream", LogGroup()), telemetry)
    journal.started(NOW, ID, tail=False)
    journal.ended(NOW + 1, (ID, 10.25, 128, 40, None))
    assert {event: told[event].get("tenantId", "") for event in OF_INVOCATIONS} == dict.fromkeys(
        OF_INVOCATIONS, tenant_id
    )
