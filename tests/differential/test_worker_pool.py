"""Our runtime interface client with several invocations at once: workers, their log, their ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.parking_api import LogSocket, ParkingRuntimeApi, Pool, asleep, children, write_function
from tests.differential.scripted_api import SOURCE_ROOT
from venturekit.service.environments.interpreters import Interpreter, find_interpreters, own_interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS = (sys.executable, "-m", "venturekit.ric", "fn.handler")

FUNCTION = """
    import json, os, signal, sys, time
    begun = time.monotonic_ns()

    def handler(event, context):
        what = event.get("do")
        if what == "raise":
            raise ValueError("no")
        if what == "meet":  # until all are there: one process for each
            open(f"here-{os.getpid()}", "w").close()
            while sum(name.startswith("here-") for name in os.listdir()) < event["count"]:
                time.sleep(0.005)
        if what == "wait":
            while not os.path.exists(event["until"]):
                time.sleep(0.005)
        if what == "exit":
            os._exit(event["status"])
        if what == "leave":
            sys.exit(event["status"])
        if what == "kill":
            os.kill(os.getpid(), event["signal"])
            time.sleep(60)
        if what == "print":
            print("to stdout")
            print("to stderr", file=sys.stderr)
        return [os.getpid(), context.aws_request_id, os.environ.get("_X_AMZN_TRACE_ID")]
"""


@pytest.fixture
def api() -> Iterator[ParkingRuntimeApi]:
    made = ParkingRuntimeApi()
    yield made
    made.close()


@pytest.fixture
def start(api: ParkingRuntimeApi, tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(concurrency: int | str = 2, source: str = FUNCTION, **given: Any) -> Pool:
        write_function(tmp_path, source)
        pools.append(Pool(OURS, tmp_path, api, concurrency, **given))
        return pools[-1]

    yield make
    for pool in pools:
        if pool.process.returncode is None:
            pool.process.kill()
            pool.process.communicate(timeout=30)


def result(api: ParkingRuntimeApi, request_id: str) -> Any:
    request = api.outcome(request_id)
    return request.line.split("/")[-2].split()[0], json.loads(request.body)


def value(api: ParkingRuntimeApi, request_id: str) -> Any:
    kind, body = result(api, request_id)
    assert kind == "response", body
    return body


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_invocations_run_at_once_each_in_a_process_of_its_own(start: Any, api: ParkingRuntimeApi) -> None:
    start(4)
    for number in range(4):
        body = {"do": "meet", "count": 4}
        api.give(f"id-{number}", json.dumps(body).encode(), {"Lambda-Runtime-Trace-Id": f"Root=1-{number}"})
    answers = [value(api, f"id-{number}") for number in range(4)]
    assert len({pid for pid, _id, _trace in answers}) == 4
    # AWS's client sets the trace variable in this mode, too: a worker has one invocation at a time.
    assert [answer[1:] for answer in answers] == [[f"id-{number}", f"Root=1-{number}"] for number in range(4)]
    api.parked(4)


def test_a_failed_invocation_is_posted_as_always(start: Any, api: ParkingRuntimeApi) -> None:
    pool = start(2)
    api.give("bad", b'{"do": "raise"}')
    kind, body = result(api, "bad")
    assert (kind, body["errorType"], body["errorMessage"], body["requestId"]) == ("error", "ValueError", "no", "bad")
    api.parked(2)
    record = records(pool.kill()[0])[0]
    assert (record["level"], record["errorType"], record["requestId"]) == ("ERROR", "ValueError", "bad")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"do": "exit", "status": 7}, "exit status 7"),
        ({"do": "leave", "status": 3}, "exit status 3"),
        ({"do": "kill", "signal": signal.SIGKILL}, "signal: killed"),
        ({"do": "kill", "signal": signal.SIGSEGV}, "signal: segmentation fault"),
    ],
)
def test_the_end_of_a_worker_is_told_at_once_and_another_follows(
    start: Any, api: ParkingRuntimeApi, event: dict[str, Any], text: str
) -> None:
    pool = start(2)
    api.parked(2)
    invocation_id = {"Lambda-Runtime-Invocation-Id": "the/one"}
    api.give("lost", json.dumps(event).encode(), invocation_id)
    request = api.outcome("lost")
    message = f"RequestId: lost Error: Runtime exited with error: {text}"
    assert json.loads(request.body) == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert request.headers["lambda-runtime-function-error-type"] == "Runtime.ExitError"
    assert request.headers["lambda-runtime-invocation-id"] == "the/one"
    api.parked(2)
    for number in range(2):
        api.give(f"next-{number}")
        value(api, f"next-{number}")
    assert [record["errorMessage"] for record in records(pool.kill()[0])] == [message]


def test_an_exit_without_a_reason_has_aws_s_words_for_it(start: Any, api: ParkingRuntimeApi) -> None:
    start(1)
    for name in ("first", "second", "third", "fourth", "fifth"):
        api.give(name, b'{"do": "exit", "status": 0}')
        message = f"RequestId: {name} Error: Runtime exited without providing a reason"
        assert result(api, name) == ("error", {"errorType": "Runtime.ExitError", "errorMessage": message})


def test_what_a_dead_worker_had_started_ends_with_it(start: Any, api: ParkingRuntimeApi) -> None:
    source = """
        import os, subprocess
        def handler(event, context):
            if event:
                return subprocess.Popen(["sleep", "600"]).pid
            os._exit(1)
        """
    start(1, source)
    api.give("starts", b"1")
    left = value(api, "starts")
    os.kill(left, 0)
    api.give("exits", b"0")
    api.outcome("exits")
    # Its parent is gone: the group it belonged to was ended before the answer.
    with open(f"/proc/{left}/stat") if os.path.exists(f"/proc/{left}/stat") else open(os.devnull) as stat:
        assert stat.read().partition(") ")[2][:1] in ("", "Z", "X")


def test_a_worker_that_dies_idle_is_replaced(start: Any, api: ParkingRuntimeApi) -> None:
    start(1)
    api.give("first")
    pid = value(api, "first")[0]
    api.parked(1)
    former = set(api.connections)
    os.kill(pid, signal.SIGKILL)
    # The next worker may have connected before that is seen.
    api.wait_for(lambda: not former & api.connections)
    api.give("second")
    assert value(api, "second")[0] != pid


def test_a_function_that_cannot_be_initialised_ends_all(start: Any, api: ParkingRuntimeApi) -> None:
    status, stdout, stderr = start(3, "import no_such_module").end()
    assert status == 1
    assert stderr == ""
    # The first is accepted, the others are refused, which is no event.
    assert [json.loads(request.body)["errorType"] for request in api.init_errors] == ["Runtime.ImportModuleError"] * 3
    assert [record["level"] for record in records(stdout)].count("ERROR") == 3


def test_a_module_that_ends_its_process_is_not_tried_for_ever(start: Any, api: ParkingRuntimeApi) -> None:
    source = "import os\nopen('starts', 'a').write('x')\nos._exit(5)"
    status, stdout, _stderr = start(2, source).end()
    assert status == 1
    assert len(records(stdout)) == 6
    assert {record["errorMessage"] for record in records(stdout)} == {
        "A worker without an invocation has ended: Runtime exited with error: exit status 5"
    }
    assert api.init_errors == []


@pytest.mark.parametrize("status", [400, 403, 410, 413, 500])
def test_a_refused_result_ends_no_worker(start: Any, api: ParkingRuntimeApi, status: int) -> None:
    pool = start(1)
    api.statuses["late"] = status
    api.give("late")
    pid = value(api, "late")[0]
    api.give("next")
    assert value(api, "next")[0] == pid
    (record,) = records(pool.kill()[0])
    expected = "came too late" if status == 410 else f"HTTP status {status}"
    assert (record["level"], record["requestId"]) == ("WARNING", "late")
    assert expected in record["message"]


def test_a_next_event_that_is_refused_is_asked_for_again(start: Any, api: ParkingRuntimeApi) -> None:
    api.next_refusals = 4
    pool = start(1)
    api.give("one")
    value(api, "one")
    assert api.refused_nexts == 4
    tries = [record["message"] for record in records(pool.kill()[0])]
    assert [text[:46] for text in tries] == [
        f"The Runtime API has failed, try {n} of 5 follows"[:46] for n in (2, 3, 4, 5)
    ]


def test_a_lost_connection_is_made_again(start: Any, api: ParkingRuntimeApi) -> None:
    start(3)
    api.parked(3)
    assert api.drop_parked() == 3
    api.parked(3)
    api.give("one")
    value(api, "one")


def test_all_end_when_the_runtime_api_goes_away(start: Any, api: ParkingRuntimeApi) -> None:
    pool = start(2)
    api.parked(2)
    api.close()
    status, _stdout, stderr = pool.end()
    assert (status, stderr) == (0, "")


def test_sigterm_ends_all_and_reaches_the_function_once(start: Any, api: ParkingRuntimeApi, tmp_path: Path) -> None:
    source = """
        import os, signal, sys
        def ended(number, frame):
            open(f"ended-{os.getpid()}", "a").write("x")
            sys.exit(0)
        signal.signal(signal.SIGTERM, ended)
        def handler(event, context): pass
        """
    pool = start(3, source)
    api.parked(3)
    for worker in children(pool.process.pid):
        asleep(worker)
    pool.process.send_signal(signal.SIGTERM)
    assert pool.end()[0] == -signal.SIGTERM
    assert [path.read_text() for path in tmp_path.glob("ended-*")] == ["x"] * 3


def test_workers_do_not_outlive_their_parent(start: Any, api: ParkingRuntimeApi) -> None:
    pool = start(3)
    api.parked(3)
    pool.process.kill()
    pool.process.communicate(timeout=30)
    api.wait_for(lambda: not api.connections)


def test_every_worker_writes_to_connections_of_its_own(start: Any, api: ParkingRuntimeApi, tmp_path: Path) -> None:
    log = LogSocket(tmp_path / "log.sock")
    pool = start(2, log=log, AWS_LAMBDA_LOG_LEVEL="DEBUG")
    api.parked(2)
    api.give("one", b'{"do": "print"}')
    value(api, "one")
    streams = log.streams(lambda found: len(found) == 4 and sum(map(bool, found)) == 2)
    assert sorted(streams) == ["", "", "to stderr\n", "to stdout\n"]
    (record,) = records(pool.kill()[0])
    assert record["level"] == "DEBUG"
    assert record["message"] == {
        "event": "runtime_worker_pool_initializing",
        "workerCount": 2,
        "executionEnvironmentMaxConcurrency": 2,
    }
    log.close()


def test_a_log_socket_that_is_not_there_leaves_the_log_where_it_was(
    start: Any, api: ParkingRuntimeApi, tmp_path: Path
) -> None:
    pool = start(1, _LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET=str(tmp_path / "nowhere"))
    api.give("one", b'{"do": "print"}')
    value(api, "one")
    stdout, stderr = pool.kill()
    assert stdout == "to stdout\n"
    assert "The log stays on standard output" in stderr


def test_a_number_that_is_none_is_refused(start: Any) -> None:
    status, _stdout, stderr = start("many").end()
    assert status == 1
    assert "AWS_LAMBDA_MAX_CONCURRENCY is" in stderr
    assert "it must be a number from 1 to 1600" in stderr


def test_a_streamed_response_and_one_cut_short(start: Any, api: ParkingRuntimeApi) -> None:
    source = """
        import os
        def handler(event, context):
            yield "a"
            if event:
                os._exit(4)
            yield "b"
        """
    start(2, source)
    api.give("whole", b"0")
    assert api.outcome("whole").body == b"ab"
    api.give("cut", b"1")
    assert b"exit status 4" in api.outcome("cut").body


def test_coroutine_handlers_run_in_workers(start: Any, api: ParkingRuntimeApi) -> None:
    start(2, "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0)\n    return event")
    for number in range(3):
        api.give(f"id-{number}", str(number).encode())
        assert value(api, f"id-{number}") == number


# --- how it is started -----------------------------------------------------------------------------------------------

RIC = SOURCE_ROOT / "venturekit" / "ric"
SPAWN = SOURCE_ROOT / "venturekit" / "service" / "environments" / "ric_spawn.py"
INTERPRETERS = find_interpreters(os.environ, os.path.expanduser("~"))
ONE_PER_VERSION = list({interpreter.version: interpreter for interpreter in reversed(INTERPRETERS)}.values())
FORKED = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("_venturekit_ric", sys.argv[1] + "/__init__.py",
    submodule_search_locations=[sys.argv[1]])
ric = sys.modules["_venturekit_ric"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ric)
ric.preload()
child = os.fork()
if child == 0:
    os.setsid()
    ric.run(handler="fn.handler")
signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize(
    ("way", "interpreter"), [("spawned", own_interpreter()), *(("forked", found) for found in ONE_PER_VERSION)], ids=str
)
def test_every_interpreter_starts_workers(
    api: ParkingRuntimeApi, tmp_path: Path, interpreter: Interpreter, way: str
) -> None:
    arguments = ["-S", str(SPAWN), str(RIC), "fn.handler"] if way == "spawned" else ["-S", "-c", FORKED, str(RIC)]
    write_function(tmp_path, FUNCTION)
    pool = Pool([str(interpreter.path), *arguments], tmp_path, api, 2)
    api.give("exits", b'{"do": "exit", "status": 9}')
    assert result(api, "exits")[1]["errorMessage"].endswith("exit status 9")
    api.parked(2)
    api.give("works")
    value(api, "works")
    pool.kill()
    assert pool.process.returncode == (-signal.SIGTERM if way == "spawned" else 256 - signal.SIGTERM)
    api.wait_for(lambda: not api.connections)


FEW_FORKS = """
import os, sys
calls, real = iter({calls}), os.fork
def fork():
    if next(calls):
        return real()
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = fork
from venturekit.ric import run
run("fn.handler")
"""


def test_a_worker_that_cannot_be_forked_is_forked_later(api: ParkingRuntimeApi, tmp_path: Path) -> None:
    write_function(tmp_path, FUNCTION)
    pool = Pool((sys.executable, "-c", FEW_FORKS.format(calls=[1, 0, 1])), tmp_path, api, 2)
    api.parked(2)
    (record,) = records(pool.kill()[0])
    assert record["errorMessage"] == "No worker can be forked: Resource temporarily unavailable"


def test_without_any_worker_there_is_an_end(api: ParkingRuntimeApi, tmp_path: Path) -> None:
    write_function(tmp_path, FUNCTION)
    pool = Pool((sys.executable, "-c", FEW_FORKS.format(calls=[0])), tmp_path, api, 2)
    status, stdout, stderr = pool.end()
    assert (status, len(records(stdout)), stderr) == (1, 1, "")
