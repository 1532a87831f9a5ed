"""The process that polls queues in the hands of the service: when it runs, what its death costs, how it ends."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import RunningService, until, wait_gone
from tests.service.stand_in import StandIn, stand_ins
from tests.service.test_event_source_mappings import SETTINGS, Mapped
from venturekit.service.polling import process as polling_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAITING = "waiting until it is needed"
# Answers nothing, and is as hard to end as it can be.
SILENT = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()\n"
GARBAGE = "import socket, sys\nsocket.socket(fileno=int(sys.argv[1])).sendall(b'\\xff' * 64)\n"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture
def running(stand_in: StandIn, tmp_path: Path) -> Iterator[RunningService]:
    service = RunningService(tmp_path / "data", stand_in.environ(), **SETTINGS)
    yield service
    service.close()


@pytest.fixture
def mapped(running: RunningService, stand_in: StandIn, tmp_path: Path) -> Mapped:
    return Mapped(running.functions(), stand_in, tmp_path)


def polling(running: RunningService) -> Any:
    return running.health()["polling"]


def kill(running: RunningService) -> int:
    """Kill the process; returns the process id that it had."""
    pid = until(lambda: polling(running)["state"] == "running" and polling(running)["pid"], "it runs")
    os.kill(pid, signal.SIGKILL)
    return int(pid)


def visible(mapped: Mapped, queue: str) -> int:
    """How many messages of a queue can be received."""
    names = ["ApproximateNumberOfMessages"]
    answer = mapped.stand_in.sqs.get_queue_attributes(QueueUrl=mapped.stand_in._url(queue), AttributeNames=names)
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def use_script(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    """Start this in the place of the process; returns the real one."""
    real, script = polling_process.SCRIPT, folder / "script.py"
    script.write_text(text)
    monkeypatch.setattr(polling_process, "SCRIPT", script)
    return real


def test_it_runs_as_long_as_there_are_mappings(
    running: RunningService, mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_process, "LINGER_SECONDS", 0.01)
    assert polling(running) == {"state": WAITING, "pid": None, "restarts": 0}
    function = mapped.function()
    mappings = [mapped.map(mapped.queue(), function) for _ in range(2)]
    pid = polling(running)["pid"]
    for uuid, state in zip(mappings, ("running", WAITING), strict=True):
        mapped.wait_state(uuid, "Enabled")
        mapped.client.update_event_source_mapping(UUID=uuid, Enabled=False)
        mapped.wait_state(uuid, "Disabled")
        until(lambda state=state: polling(running)["state"] == state, f"it is {state}")  # type: ignore[misc]
    wait_gone([pid])
    queue = mapped.queue()
    mapped.send(queue, "again")
    mapped.map(queue, function)
    mapped.wait_bodies("again")
    assert polling(running)["pid"] not in (None, pid)
    assert polling(running)["restarts"] == 0


def test_a_process_that_is_killed_loses_no_message_that_is_worked_on(
    running: RunningService, mapped: Mapped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue, function = mapped.queue(), mapped.function()
    hold = mapped.out.with_name("out.hold")
    hold.touch()
    mapped.send(queue, "bad", "good")
    members = {"ScalingConfig": {"MaximumConcurrency": 2}, "FunctionResponseTypes": ["ReportBatchItemFailures"]}
    uuid = mapped.map(queue, function, BatchSize=1, **members)
    mapped.client.update_function_configuration(FunctionName=function, Timeout=30)
    until(lambda: len(mapped.events()) == 2, "both run", pause_seconds=0.01)
    real = use_script(monkeypatch, tmp_path, SILENT)
    former = kill(running)
    mapped.wait_result(uuid, "PROBLEM: the process that polls queues was ended by signal 9; it is started again")
    assert mapped.get(uuid)["State"] == "Enabled"
    monkeypatch.setattr(polling_process, "SCRIPT", real)
    os.kill(until(lambda: polling(running)["pid"] not in (None, former) and polling(running)["pid"], "one"), 9)
    until(lambda: polling(running)["state"] == "running", "there is another one")
    assert "LastProcessingResult" not in mapped.get(uuid)
    # What the former one has begun runs on, and counts: nothing is received although it is there.
    until(lambda: visible(mapped, queue) == 2, "both are back", pause_seconds=0.02)
    assert len(mapped.events()) == 2
    hold.unlink()
    until(lambda: mapped.left(queue) == 1 and mapped.bodies().count("good") > 1, "what was done is done again")
    assert "bad" in mapped.bodies()
    mapped.wait_result(uuid, "OK")


def test_a_process_that_is_killed_again_and_again_loses_nothing(running: RunningService, mapped: Mapped) -> None:
    queue, function = mapped.queue(VisibilityTimeout="1"), mapped.function()
    bodies = [f"message {number}" for number in range(60)]
    mapped.send(queue, *bodies)
    mapped.map(queue, function, BatchSize=2)
    for seen in (1, 20, 40):
        until(lambda seen=seen: len(mapped.events()) >= seen // 2, f"{seen} came")  # type: ignore[misc]
        kill(running)
    mapped.wait_bodies(*bodies)
    mapped.wait_empty(queue)
    assert polling(running)["restarts"] == 3


def test_a_mapping_is_disabled_whatever_becomes_of_the_process(running: RunningService, mapped: Mapped) -> None:
    uuid = mapped.map(mapped.queue(), mapped.function())
    mapped.wait_state(uuid, "Enabled")
    os.kill(until(lambda: polling(running)["pid"], "it runs"), signal.SIGSTOP)
    mapped.client.update_event_source_mapping(UUID=uuid, Enabled=False)
    assert mapped.get(uuid)["State"] == "Disabling"
    kill(running)
    mapped.wait_state(uuid, "Disabled")


def test_a_process_that_does_not_start(
    running: RunningService, mapped: Mapped, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue, function = mapped.queue(), mapped.function()
    real = use_script(monkeypatch, tmp_path, "raise SystemExit(3)\n")
    with pytest.raises(mapped.client.exceptions.InvalidParameterValueException, match="ended with status 3"):
        mapped.map(queue, function)
    monkeypatch.setattr(polling_process, "SCRIPT", real)
    uuid = mapped.map(queue, function)
    mapped.wait_state(uuid, "Enabled")
    use_script(monkeypatch, tmp_path, "raise SystemExit(4)\n")
    kill(running)
    mapped.wait_result(uuid, "PROBLEM: the process that polls queues ended with status 4")
    before = polling(running)["restarts"]
    until(lambda: polling(running)["restarts"] > before, "it is tried again and again")
    monkeypatch.setattr(polling_process, "SCRIPT", real)
    mapped.send(queue, "a")
    mapped.wait_bodies("a")
    mapped.wait_result(uuid, "OK")


@pytest.mark.parametrize(
    ("script", "complaint"), [(SILENT, "has not answered for 0.2 s"), (GARBAGE, "sent what is no frame")]
)
def test_a_process_that_does_not_speak_is_replaced(
    running: RunningService,
    mapped: Mapped,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    script: str,
    complaint: str,
) -> None:
    monkeypatch.setattr(polling_process, "PING_SECONDS", 0.2)
    use_script(monkeypatch, tmp_path, script)
    with pytest.raises(mapped.client.exceptions.InvalidParameterValueException):
        mapped.map(mapped.queue(), mapped.function())
    until(lambda: polling(running)["restarts"] >= 1, "it is replaced")
    assert complaint in caplog.text


@pytest.mark.parametrize("script", ["", SILENT])
def test_it_ends_with_the_service(
    stand_in: StandIn, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = RunningService(tmp_path / "data", stand_in.environ(), **SETTINGS)
    mapped = Mapped(running.functions(), stand_in, tmp_path)
    mapped.map(mapped.queue(), mapped.function())
    if script:
        use_script(monkeypatch, tmp_path, script)
        former = kill(running)
        until(lambda: polling(running)["pid"] not in (None, former), "there is another one")
    pid = polling(running)["pid"]
    running.close()
    wait_gone([pid], 0)


def test_what_was_gathered_goes_back_when_the_service_ends(stand_in: StandIn, tmp_path: Path) -> None:
    running = RunningService(tmp_path / "data", stand_in.environ(), **SETTINGS)
    mapped = Mapped(running.functions(), stand_in, tmp_path)
    queue = mapped.queue(VisibilityTimeout="900")
    mapped.send(queue, "a", "b")
    mapped.map(queue, mapped.function(), BatchSize=100, MaximumBatchingWindowInSeconds=300)
    until(lambda: not visible(mapped, queue), "they are received", pause_seconds=0.01)
    # Who asks for more has them in hand; this one may still be on its way.
    mapped.send(queue, "c")
    until(lambda: not visible(mapped, queue), "it is received", pause_seconds=0.01)
    running.close()
    assert visible(mapped, queue) >= 2
    assert mapped.events() == []
