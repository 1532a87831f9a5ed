"""The platform's log lines, byte by byte: tabs and line ends are what log parsers rely on."""

from __future__ import annotations

import pytest

from venturekit.service.environments.platform_lines import (
    Report,
    end_line,
    init_report_line,
    init_start_line,
    report_line,
    start_line,
)

ID = b"d7b5fbb0-0000-4000-8000-000000000001"
FIELDS = "RequestId: d7b5fbb0-0000-4000-8000-000000000001\tDuration: 3.01 ms\tBilled Duration: {} ms\tMemory Size: "


def test_start_and_end() -> None:
    assert start_line(ID, b"$LATEST") == b"START RequestId: " + ID + b" Version: $LATEST\n"
    assert end_line(ID) == b"END RequestId: " + ID + b"\n"
    assert init_start_line("python:3.12", "arn:x") == (
        b"INIT_START Runtime Version: python:3.12\tRuntime Version ARN: arn:x\n"
    )


@pytest.mark.parametrize(
    ("init_ms", "status", "error_type", "billed", "end"),
    [
        (None, "", "", 4, "\t\n"),
        (110.1, "", "", 114, "\tInit Duration: 110.10 ms\t\n"),
        (None, "timeout", "", 4, "\tStatus: timeout\n"),
        (None, "error", "Runtime.ExitError", 4, "\tStatus: error\tError Type: Runtime.ExitError\n"),
        (110.1, "error", "Runtime.X", 114, "\tInit Duration: 110.10 ms\tStatus: error\tError Type: Runtime.X\n"),
    ],
)
def test_report(init_ms: float | None, status: str, error_type: str, billed: int, end: str) -> None:
    line = report_line(Report(ID, 3.01, 128, 36, init_ms, status, error_type))
    assert line.decode() == "REPORT " + FIELDS.format(billed) + "128 MB\tMax Memory Used: 36 MB" + end


@pytest.mark.parametrize(("duration_ms", "billed"), [(0.0, 0), (0.01, 1), (1.0, 1), (1.0001, 2), (3000.0, 3000)])
def test_billed_duration_is_rounded_up(duration_ms: float, billed: int) -> None:
    assert f"\tBilled Duration: {billed} ms\t" in report_line(Report(ID, duration_ms, 128, 1)).decode()


def test_init_report() -> None:
    assert init_report_line(9999.79, "init", "timeout") == (
        b"INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout\n"
    )
    assert init_report_line(1.0, "invoke", "error", "Runtime.ExitError") == (
        b"INIT_REPORT Init Duration: 1.00 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError\n"
    )
