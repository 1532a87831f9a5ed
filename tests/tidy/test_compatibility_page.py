"""docs/compatibility.md: it is up to date, has a reason where one is due, and leaves no gap in invocation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from venturekit.service.api.model import service_model
from venturekit.service.api.registry import Level
from venturekit.service.served import compatibility_registry

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = compatibility_registry()
# The operations of seed 002, invocation with the AWS SDK.
INVOCATION = (
    "DeleteFunctionEventInvokeConfig",
    "GetFunctionEventInvokeConfig",
    "GetFunctionRecursionConfig",
    "Invoke",
    "InvokeAsync",
    "InvokeWithResponseStream",
    "ListFunctionEventInvokeConfigs",
    "PutFunctionEventInvokeConfig",
    "PutFunctionRecursionConfig",
    "UpdateFunctionEventInvokeConfig",
)


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "compatibility.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("operation", INVOCATION)
def test_every_operation_of_invocation_is_served_whole(operation: str) -> None:
    assert REGISTRY.status(operation).level is Level.SERVED


def test_what_is_not_served_whole_has_a_reason_of_its_own() -> None:
    statuses = {operation: REGISTRY.status(operation) for operation in service_model().operations}
    reasons = {name: status.reason for name, status in statuses.items() if status.level is not Level.SERVED}
    # What nobody has registered is "not built", which is no reason.
    assert [name for name, reason in reasons.items() if len(reason) < 20 or reason == "not built"] == []
