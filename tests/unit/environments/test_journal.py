"""The log of an environment in both formats: the platform's lines, byte by byte, and the tail."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments.journal import Journal, open_journal
from venturekit.service.environments.logs import LogGroup
from venturekit.service.environments.ports import EnvironmentSpec

if TYPE_CHECKING:
    from venturekit.service.environments.log_records import Message

NOW = 1_791_444_627.768
ID = b"79b5e81f-9cdd-4145-b1f6-7c50ef8a2a36"
STREAM = "2026/10/08/[$LATEST]22be53a8cfde4e68b844f8ec293b2543"
FUNCTION_ARN = "arn:aws:lambda:eu-central-1:000000000000:function:notifier"


@dataclass
class Log:
    """A journal, and what it wrote."""

    journal: Journal
    group: LogGroup
    kept: list[tuple[float, str, Message]] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        return [line.message for line in self.group.read()]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line != b"said\n"]

    def run(self, status: str = "", error_type: str = "", *, tail: bool = False, init_ms: float | None = None) -> bytes:
        self.journal.started(NOW, ID, tail=tail)
        self.journal.wrote(NOW, b"said\n")
        report = (ID, 1233.9604, 256, 123, init_ms)
        return self.journal.ended(NOW + 1.702, report, status=status, error_type=error_type, produced_bytes=17)

    def init(self, status: str = "success", error_type: str = "", phase: str = "init") -> None:
        self.journal.init_started(
            NOW, runtime="nodejs:22.v1", version_arn="arn:aws:lambda:runtime", phase=phase, warning=""
        )
        self.journal.init_ended(NOW, duration_ms=463.5124, phase=phase, status=status, error_type=error_type)


def log(log_format: str = "JSON", system: str | None = None, application: str | None = None) -> Log:
    spec = EnvironmentSpec(
        identity="1",
        function_name="notifier",
        function_version="$LATEST",
        function_arn=FUNCTION_ARN,
        runtime="nodejs22.x",
        handler="index.handler",
        timeout_ms=3000,
        memory_size_mb=256,
        ephemeral_storage_mb=512,
        code_key="key",
        code_directory=Path(),
        log_group="/aws/lambda/notifier",
        log_format=log_format,
        system_log_level=system,
        application_log_level=application,
    )
    group, kept = LogGroup(), list[tuple[float, str, "Message"]]()
    return Log(open_journal(spec, STREAM, group, lambda *record: kept.append(record)), group, kept)


def names(found: Log) -> list[str]:
    return [event["type"].removeprefix("platform.") for event in found.events]


def test_the_events_of_an_invocation_are_those_recorded_on_aws() -> None:
    found = log()
    found.init()
    found.run(init_ms=463.5124)
    begin = '{"time":"2026-10-08T07:30:27.768Z","type":"platform.'
    report = f'{{"time":"2026-10-08T07:30:29.470Z","type":"platform.report","record":{{"requestId":"{ID.decode()}",'
    init_start, start, said, cold = (line.decode() for line in found.lines)
    assert init_start == (
        begin + 'initStart","record":{"initializationType":"on-demand","phase":"init","runtimeVersion":"nodejs:22.v1",'
        '"runtimeVersionArn":"arn:aws:lambda:runtime","functionName":"notifier","functionVersion":"$LATEST",'
        f'"instanceId":"{STREAM}","instanceMaxMemory":268435456}}}}\n'
    )
    assert start == (
        f'{begin}start","record":{{"requestId":"{ID.decode()}","functionArn":"{FUNCTION_ARN}","version":"$LATEST"}}}}\n'
    )
    assert said == "said\n"
    assert cold == (
        report + '"metrics":{"durationMs":1233.96,"billedDurationMs":1698,"memorySizeMB":256,"maxMemoryUsedMB":123,'
        '"initDurationMs":463.512},"status":"success"}}\n'
    )
    found.run()
    assert found.lines[-1].decode() == (
        report + '"metrics":{"durationMs":1233.96,"billedDurationMs":1234,"memorySizeMB":256,"maxMemoryUsedMB":123},'
        '"status":"success"}}\n'
    )


def test_the_events_of_the_debug_level() -> None:
    found = log(system="DEBUG")
    found.init()
    found.run()
    assert names(found) == ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]
    _, done, report = found.events[:3]
    assert done["record"] == {"initializationType": "on-demand", "phase": "init", "status": "success"}
    assert report["record"] == {**done["record"], "metrics": {"durationMs": 463.512}}
    metrics = {"durationMs": 1233.96, "producedBytes": 17}
    assert found.events[4]["record"] == {"requestId": ID.decode(), "status": "success", "metrics": metrics}


@pytest.mark.parametrize(
    ("system", "good", "bad"),
    [
        ("DEBUG", ["start", "runtimeDone", "report"], ["start", "runtimeDone", "report"]),
        ("INFO", ["start", "report"], ["start", "runtimeDone", "report"]),
        (None, ["start", "report"], ["start", "runtimeDone", "report"]),
        ("WARN", [], ["runtimeDone", "report"]),
    ],
)
def test_the_system_level_decides_which_events_there_are(system: str | None, good: list[str], bad: list[str]) -> None:
    for status, expected in (("", good), ("error", bad), ("timeout", bad)):
        found = log(system=system)
        found.run(status)
        assert names(found) == expected


def test_an_invocation_that_failed_says_how() -> None:
    found = log(system="WARN")
    found.run("error", "Runtime.ExitError")
    found.run("timeout")
    assert [(event["record"]["status"], event["record"].get("errorType")) for event in found.events] == [
        ("error", "Runtime.ExitError"),
        ("error", "Runtime.ExitError"),
        ("timeout", None),
        ("timeout", None),
    ]


@pytest.mark.parametrize("system", ["DEBUG", "INFO", "WARN"])
def test_an_init_phase_that_failed_is_in_every_log(system: str) -> None:
    found = log(system=system)
    found.init("error", "Runtime.ImportModuleError", phase="invoke")
    done, report = found.events[-2:]
    assert (done["type"], report["type"]) == ("platform.initRuntimeDone", "platform.initReport")
    expected = {"phase": "invoke", "status": "error", "errorType": "Runtime.ImportModuleError"}
    assert done["record"] == {"initializationType": "on-demand", **expected}
    assert report["record"]["metrics"] == {"durationMs": 463.512}


def test_the_text_format_says_nothing_of_an_init_phase_that_went_well() -> None:
    found = log("Text", system="DEBUG")
    found.init()
    found.init("timeout")
    assert [line.partition(b" ")[0] for line in found.lines] == [b"INIT_START", b"INIT_START", b"INIT_REPORT"]
    assert found.lines[2] == b"INIT_REPORT Init Duration: 463.51 ms\tPhase: init\tStatus: timeout\n"


@pytest.mark.parametrize(
    ("status", "end"), [("", "\n"), ("timeout", "Status: timeout\n"), ("error", "Status: error\tError Type: E\n")]
)
def test_the_lines_of_the_text_format(status: str, end: str) -> None:
    found = log("Text", system="WARN", application="ERROR")
    tail = found.run(status, "E" if status == "error" else "", tail=True)
    assert b"".join(found.lines) == tail
    assert tail.decode() == (
        f"START RequestId: {ID.decode()} Version: $LATEST\nsaid\nEND RequestId: {ID.decode()}\n"
        f"REPORT RequestId: {ID.decode()}\tDuration: 1233.96 ms\tBilled Duration: 1234 ms\tMemory Size: 256 MB\t"
        f"Max Memory Used: 123 MB\t{end}"
    )


@pytest.mark.parametrize(
    ("log_format", "system", "status"),
    [("Text", None, ""), *itertools.product(["JSON"], ["DEBUG", "INFO", "WARN"], ["", "error"])],
)
def test_the_tail_is_what_the_log_has_of_the_invocation(log_format: str, system: str | None, status: str) -> None:
    found = log(log_format, system)
    assert found.run(status) == b""
    before = found.group.last
    tail = found.run(status, tail=True)
    assert tail == b"".join(line.message for line in found.group.read(before))
    assert found.run(status) == b""


def test_what_is_kept_is_what_there_is() -> None:
    for log_format in ("Text", "JSON"):
        found = log(log_format)
        found.run()
        kept = LogGroup()
        for record in found.kept:
            kept.append(*record)
        assert list(kept.read()) == list(found.group.read())


def test_a_warning_of_the_platform_has_the_form_of_the_log() -> None:
    for log_format, application, expected in (
        ("Text", None, b"[WARNING] no python3.9\n"),
        ("JSON", "WARN", b'{"timestamp":"2026-10-08T07:30:27.768Z","level":"WARN","message":"no python3.9"}\n'),
        ("JSON", "TRACE", b'{"timestamp":"2026-10-08T07:30:27.768Z","level":"WARN","message":"no python3.9"}\n'),
        ("JSON", "ERROR", None),
    ):
        found = log(log_format, application=application)
        found.journal.init_started(NOW, runtime="r", version_arn="a", phase="init", warning="no python3.9")
        assert found.lines[1:] == ([] if expected is None else [expected])
