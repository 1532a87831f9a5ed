"""What a service keeps: everything is there when it starts again on the same data directory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import descendants, launchers, open_files, until, wait_gone
from venturekit.service.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.harness import RunningService

NUMBERED = "def handler(event, context):\n    return [{}, context.function_version, context.invoked_function_arn]\n"
SLEEPER = """
import os, signal, subprocess, sys
def handler(event, context):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    os.write(os.open(event["pipe"], os.O_WRONLY), f"{os.getpid()} {child.pid}\\n".encode())
    signal.pause()
"""


def test_everything_is_there_after_a_restart(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = start_service(data_dir)
    functions = first.functions()
    name = functions.create(NUMBERED.format(1), Environment={"Variables": {"NAME": "b"}}, Tags={"t": "1"}, Timeout=9)
    functions.publish(name)
    functions.update(name, NUMBERED.format(2))
    functions.publish(name)
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    first.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    first.client.create_alias(FunctionName=name, Name="split", FunctionVersion="1", RoutingConfig=routing)
    gone = functions.create(NUMBERED.format(3))
    first.client.delete_function(FunctionName=gone)
    described = {key: first.client.get_function(FunctionName=name)[key] for key in ("Configuration", "Tags")}
    alias = first.client.get_alias(FunctionName=name, Name="split")
    first.close()

    second = start_service(data_dir)
    again = second.functions()
    now = second.client.get_function(FunctionName=name)
    assert {key: now[key] for key in described} == described
    kept = second.client.get_alias(FunctionName=name, Name="split")
    assert {key: kept[key] for key in alias if key != "ResponseMetadata"} == {
        key: alias[key] for key in alias if key != "ResponseMetadata"
    }
    assert [item["FunctionName"] for item in second.client.list_functions()["Functions"]] == [name]
    assert again.invoke(name).value[:2] == [2, "$LATEST"]
    assert again.invoke(name, Qualifier="1").value[:2] == [1, "1"]
    assert again.invoke(name, Qualifier="live").value[0] == 1
    again.update(name, NUMBERED.format(4))
    assert again.publish(name) == "3"
    # Version numbers are never given twice, not even to a function of the same name.
    second.client.delete_function(FunctionName=name)
    again.create(NUMBERED.format(5), name=name)
    assert again.publish(name) == "4"


def test_restarts_leave_nothing_behind(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    start_service(data_dir).close()
    processes, files = descendants(), open_files()
    for number in range(3):
        running = start_service(data_dir)
        functions = running.functions()
        assert functions.invoke(functions.create(NUMBERED.format(number))).value[0] == number
        running.close()
        until(lambda: descendants() <= processes, "its processes are gone")
        until(lambda: open_files() <= files, f"descriptors fall to {files}, now {open_files()}")
        assert list((data_dir / "environments").glob("*")) == []


def test_closing_answers_what_runs_and_kills_what_it_started(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    running = start_service()
    functions = running.functions()
    name = functions.create(SLEEPER, Timeout=60)
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        invoked = pool.submit(functions.invoke, name, {"pipe": str(tmp_path / "pipe")})
        with (tmp_path / "pipe").open() as pipe:
            pids = [int(word) for word in pipe.readline().split()]
        running.close()
        outcome = invoked.result()
    assert outcome.value["errorType"] == "Runtime.ExitError"
    wait_gone(pids)


def test_one_data_directory_has_one_service(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    first = start_service(tmp_path / "data")
    with pytest.raises(StoreError) as caught:
        start_service(tmp_path / "data")
    assert str(os.getpid()) in str(caught.value)
    assert str(tmp_path / "data") in str(caught.value)
    assert first.health()["status"] == "ok"
    first.close()
    assert start_service(tmp_path / "data").health()["status"] == "ok"


def test_a_taken_port_is_an_error_and_leaves_nothing_open(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = start_service()
    processes = launchers()
    with pytest.raises(OSError, match="address already in use"):
        start_service(tmp_path / "other", port=first.port)
    until(lambda: launchers() <= processes, "no launcher of the failed start is left")
    assert start_service(tmp_path / "other").health()["status"] == "ok"


def test_compiled_files_beside_the_links_do_not_stop_a_restart(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    first = start_service(data_dir, python_start="spawn")
    functions = first.functions()
    name = functions.create("import six\ndef handler(event, context):\n    return six.__file__\n", Timeout=20)
    found = functions.invoke(name).value
    assert found == str(data_dir / "runtime" / "six.py")
    assert (data_dir / "runtime" / "__pycache__").is_dir()
    first.close()
    assert start_service(data_dir, python_start="spawn").functions().invoke(name).value == found


def test_files_of_others_are_not_taken_for_leftovers(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "environments").mkdir(parents=True)
    mine = project / "environments" / "production.tf"
    mine.write_text("precious")
    with pytest.raises(StoreError, match="holds other files"):
        start_service(project)
    assert mine.read_text() == "precious"
    assert [path.name for path in project.iterdir()] == ["environments"]


def test_leftovers_of_a_crash_are_cleared(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = start_service(data_dir)
    functions = first.functions()
    name = functions.create(NUMBERED.format(1))
    functions.invoke(name)
    first.close()
    scratch = data_dir / "environments" / "7-deadbeef" / "tmp"
    scratch.mkdir(parents=True)
    (scratch / "file").write_text("left over")
    second = start_service(data_dir)
    assert second.functions().invoke(name).value[0] == 1
    assert not (data_dir / "environments" / "7-deadbeef").exists()


def test_reserved_concurrency_is_in_force_after_a_restart(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    first = start_service(data_dir)
    stopped = first.functions().create(NUMBERED.format(1))
    first.client.put_function_concurrency(FunctionName=stopped, ReservedConcurrentExecutions=0)
    first.close()

    second = start_service(data_dir)
    answer = second.functions().post(stopped)
    assert answer.status == 429
    assert answer.json["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    second.client.delete_function_concurrency(FunctionName=stopped)
    assert second.functions().invoke(stopped).value[0] == 1
