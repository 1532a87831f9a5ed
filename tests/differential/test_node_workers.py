"""The runtime of Node.js functions with several invocations at once, beside AWS's own client, version 4, unmodified."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.parking_api import LogSocket, ParkingRuntimeApi, Pool
from venturekit.service.environments.node_start import RUNTIME_DIRECTORY, WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AWS_CLIENT = Path(__file__).parents[1] / "javascript" / "node_modules" / "aws-lambda-ric-4" / "index.mjs"
OPTIONS = ("--expose-gc", "--max-old-space-size=115", "--max-semi-space-size=6")
CLIENTS = {"ours": ("node", *OPTIONS, str(RUNTIME_DIRECTORY)), "aws": ("node", *OPTIONS, str(AWS_CLIENT), "fn.handler")}
OLD, NEW = "AWS_Lambda_nodejs22.x", "AWS_Lambda_nodejs24.x"

FUNCTION = """
const { threadId } = require('worker_threads');
const waiting = [];
const store = () => awslambda.InvokeStore;

exports.handler = async (event, context) => {
  if (event.meet) {  // until so many are there
    store().set('own', context.awsRequestId);
    console.log('before');
    await new Promise((resolve) => {
      waiting.push(resolve);
      if (waiting.length === event.meet) waiting.splice(0).forEach((go) => setImmediate(go));
    });
    console.log('after');
    return [store().get('own'), store().getRequestId(), threadId];
  }
  if (event.log) {
    console.debug('hidden');
    console.log('a %s', 'text', { b: 1 });
    console.error({ an: 'object' });
    console.warn('with', new TypeError('an error'));
    console.log('two\\nlines');
  }
  if (event.raw) {
    process.stdout.write('to stdout\\n');
    process.stderr.write('to stderr\\n');
  }
  if (event.fail) throw new RangeError('no');
  if (event.circle) { const circle = {}; circle.own = circle; return circle; }
  if ('exit' in event) process.exit(event.exit);
  if (event.uncaught) setImmediate(() => { throw new Error('nobody catches this'); });
  if (event.rejected) Promise.reject(new Error('nor this'));
  if (event.memory) for (const all = []; ; ) all.push(new Array(1e6).fill(all.length));
  if (event.never) await new Promise(() => {});
  return [event, context.awsRequestId, context.xRayTraceId ?? '', process.env._X_AMZN_TRACE_ID ?? null];
};
"""


@pytest.fixture
def api() -> Iterator[ParkingRuntimeApi]:
    made = ParkingRuntimeApi()
    yield made
    made.close()


@pytest.fixture
def start(api: ParkingRuntimeApi, tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(client: str = "ours", source: str = FUNCTION, **given: Any) -> Pool:
        (tmp_path / "fn.js").write_text(source)
        environ = {"AWS_LAMBDA_NODEJS_WORKER_COUNT": "1", "AWS_EXECUTION_ENV": NEW, "_HANDLER": "fn.handler"}
        pools.append(Pool(CLIENTS[client], tmp_path, api, **{"concurrency": 8, **environ, **given}))
        return pools[-1]

    yield make
    for pool in pools:
        if pool.process.returncode is None:
            pool.process.kill()
            pool.process.communicate(timeout=30)


def result(api: ParkingRuntimeApi, request_id: str) -> Any:
    request = api.outcome(request_id)
    return request.line.split()[1].rpartition("/")[2], json.loads(request.body)


def value(api: ParkingRuntimeApi, request_id: str) -> Any:
    kind, body = result(api, request_id)
    assert kind == "response", body
    return body


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def exit_error(request_id: str, how: str) -> Any:
    message = f"RequestId: {request_id} Error: Runtime exited {how}"
    return "error", {"errorType": "Runtime.ExitError", "errorMessage": message}


def test_the_same_outcomes_and_records_as_awss_client(start: Any, tmp_path: Path) -> None:
    seen = []
    for client in CLIENTS:
        api, log = ParkingRuntimeApi(), LogSocket(tmp_path / f"{client}.sock")
        pool = start(client, log=log, AWS_LAMBDA_LOG_LEVEL="INFO", AWS_LAMBDA_RUNTIME_API=api.address)
        try:
            outcomes = []
            for number, event in enumerate([{"log": 1}, {"fail": 1}, {"circle": 1}, {"log": 2}]):
                api.give(f"id-{number}", json.dumps(event).encode(), {"Lambda-Runtime-Trace-Id": f"Root={number}"})
                outcomes.append(result(api, f"id-{number}"))
            lines = log.streams(lambda found: "".join(found).count("\n") == 10)
        finally:
            pool.kill()
            api.close()
            log.close()
        seen.append((without_traces(outcomes), [without_traces(record) for record in records("".join(lines))]))
    assert seen[0] == seen[1]
    assert [record["requestId"] for record in seen[0][1]] == [*["id-0"] * 4, "id-1", "id-2", *["id-3"] * 4]


def without_traces(found: Any) -> Any:
    """`found` without times and the frames of either client."""
    if isinstance(found, dict):
        return {name: without_traces(item) for name, item in found.items() if name != "timestamp"}
    if isinstance(found, str):
        return "\n".join(without_traces(found.split("\n"))) if "\n" in found else found
    if isinstance(found, (list, tuple)):
        return [without_traces(item) for item in found if not re.match("    at (?!.*fn.js)", str(item))]
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_invocations_of_one_worker_run_between_one_another(
    start: Any, api: ParkingRuntimeApi, tmp_path: Path, client: str
) -> None:
    log = LogSocket(tmp_path / "log.sock")
    start(client, log=log)
    for number in range(5):
        api.give(f"id-{number}", b'{"meet": 5}')
    for number in range(5):
        assert value(api, f"id-{number}")[:2] == [f"id-{number}"] * 2
    found = records("".join(log.streams(lambda streams: "".join(streams).count("\n") == 10)))
    assert [record["message"] for record in found] == ["before"] * 5 + ["after"] * 5
    assert sorted(record["requestId"] for record in found[5:]) == [f"id-{number}" for number in range(5)]
    log.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_workers_are_threads_and_the_trace_stays_out_of_the_environment(
    start: Any, api: ParkingRuntimeApi, client: str
) -> None:
    start(client, AWS_LAMBDA_NODEJS_WORKER_COUNT="3")
    api.parked(3)
    api.give("one", b"{}", {"Lambda-Runtime-Trace-Id": "Root=1"})
    assert value(api, "one") == [{}, "one", "Root=1", None]
    api.parked(3)


@pytest.mark.parametrize(
    ("event", "how", "told"),
    [
        ({"exit": 3}, "with error: exit status 3", None),
        ({"exit": 0}, "without providing a reason", None),
        ({"uncaught": 1, "never": 1}, "with error: exit status 1", "nobody catches this"),
        ({"rejected": 1, "never": 1}, "with error: exit status 1", "nor this"),
        ({"memory": 1}, "with error: exit status 1", "Worker terminated due to reaching memory limit"),
    ],
)
def test_the_end_of_a_worker_is_told_to_all_its_callers_and_another_follows(
    start: Any, api: ParkingRuntimeApi, event: dict[str, Any], how: str, told: str | None
) -> None:
    pool = start()
    api.give("beside", b'{"never": 1}')
    api.give("ends", json.dumps(event).encode())
    for request_id in ("beside", "ends"):
        assert result(api, request_id) == exit_error(request_id, how)
    api.give("next")
    assert value(api, "next")[1] == "next"
    stdout, _stderr = pool.kill()
    found = [record for record in records(stdout[stdout.find("{") :]) if record["level"] == "ERROR"]
    assert [record["message"]["errorMessage"][: len(told or "")] for record in found] == ([told] if told else [])


@pytest.mark.parametrize("status", [400, 403, 410, 413, 500])
def test_a_refused_result_ends_no_worker(start: Any, api: ParkingRuntimeApi, tmp_path: Path, status: int) -> None:
    log = LogSocket(tmp_path / "log.sock")
    start(log=log)
    api.statuses["late"] = status
    api.give("late")
    value(api, "late")
    api.give("next")
    value(api, "next")
    (record,) = records("".join(log.streams(lambda found: "\n" in "".join(found))))
    expected = "came too late" if status == 410 else f"HTTP status {status}"
    assert (record["level"], record["requestId"]) == ("WARN", "late")
    assert expected in record["message"]
    log.close()


def test_a_next_event_that_cannot_be_had_is_asked_for_again(start: Any, api: ParkingRuntimeApi) -> None:
    api.next_refusals = 2
    pool = start()
    api.parked(1)
    assert api.drop_parked() == 1
    api.give("one")
    value(api, "one")
    assert api.refused_nexts == 2
    tries = [record["message"].partition(":")[0] for record in records(pool.kill()[0])]
    assert tries == [f"The Runtime API has failed, try {number} of 20 follows" for number in (2, 3, 4)]


def test_a_result_is_posted_again_where_the_connection_was_lost(start: Any, api: ParkingRuntimeApi) -> None:
    start()
    api.give("first")
    value(api, "first")
    api.parked(1)
    api.drop_idle()
    api.give("second")
    value(api, "second")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("require('nowhere')", "Runtime.ImportModuleError"),
        ("throw new TypeError('at the top')", "TypeError"),
        ("exports.handler = (event, context, callback) => callback()", "Runtime.CallbackHandlerDeprecated"),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_function_that_cannot_be_initialised_ends_all(
    start: Any, api: ParkingRuntimeApi, client: str, source: str, kind: str
) -> None:
    pool = start(client, source, AWS_LAMBDA_NODEJS_WORKER_COUNT="2", AWS_EXECUTION_ENV=OLD)
    status, stdout, _stderr = pool.end()
    # AWS's ends as if all were well, when its last worker has ended.
    assert status == (1 if client == "ours" else 0)
    bodies = [json.loads(request.body) for request in api.init_errors]
    assert [body["errorType"] for body in bodies] == [kind] * 2
    assert [record["level"] for record in records(stdout)] == ["ERROR"] * 2
    if kind == "Runtime.CallbackHandlerDeprecated":
        assert bodies[0]["errorMessage"].startswith(
            "ERROR: AWS Lambda does not support callback-based function handlers when using Node.js 22 with Managed "
            "Instances. To use Managed Instances, modify this function to use a supported handler signature. "
        )


def test_a_module_that_ends_its_worker_is_not_tried_for_ever(start: Any, api: ParkingRuntimeApi) -> None:
    status, stdout, _stderr = start(source="process.exit(5)").end()
    assert status == 1
    message = "A worker without an invocation has ended: Runtime exited with error: exit status 5"
    assert [record["message"] for record in records(stdout)] == [message] * 3
    assert api.init_errors == []


STREAMS = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  stream.write(`a${event.name}`);
  await new Promise((resolve) => setImmediate(resolve));
  if (event.fail) throw new RangeError('mid-stream');
  stream.end('b');
});
"""


def test_streamed_responses_at_once(start: Any, api: ParkingRuntimeApi) -> None:
    pool = start(source=STREAMS)
    api.statuses["late"] = 410
    events = {"plain": {}, "http": {"http": 1}, "failed": {"fail": 1}, "late": {}}
    for name, event in events.items():
        api.give(name, json.dumps({"name": name, **event}).encode())
    assert api.outcome("plain").body == b"aplainb"
    http = api.outcome("http")
    assert http.body == b'{"statusCode":201}' + bytes(8) + b"ahttpb"
    assert http.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
    failed = api.outcome("failed")
    assert failed.body == b"afailed"
    assert failed.headers["lambda-runtime-function-error-type"] == "RangeError"
    assert api.outcome("late").body == b"alateb"
    api.give("next", b'{"name": "next"}')
    assert api.outcome("next").body == b"anextb"
    levels = {record["requestId"]: record["level"] for record in records(pool.kill()[0])}
    assert levels == {"failed": "ERROR", "late": "WARN"}


def test_each_worker_writes_to_connections_of_its_own(start: Any, api: ParkingRuntimeApi, tmp_path: Path) -> None:
    log = LogSocket(tmp_path / "log.sock")
    pool = start(log=log, AWS_LAMBDA_NODEJS_WORKER_COUNT="2")
    api.parked(2)
    api.give("one", b'{"raw": 1, "log": 1}')
    value(api, "one")
    streams = log.streams(lambda found: len(found) == 4 and "".join(found).count("\n") == 7)
    raw, logged = sorted(filter(None, streams), key=len)
    assert raw == "to stdout\nto stderr\n"
    assert len(records(logged)) == 5
    assert pool.kill() == ("", "")
    log.close()


def test_a_log_socket_that_is_not_there_leaves_the_log_where_it_was(
    start: Any, api: ParkingRuntimeApi, tmp_path: Path
) -> None:
    pool = start(_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET=str(tmp_path / "nowhere"))
    api.give("one", b'{"raw": 1}')
    value(api, "one")
    stdout, stderr = pool.kill()
    assert "The log stays on standard output" in stdout
    assert stdout.endswith("to stdout\n")
    assert stderr == "to stderr\n"


@pytest.mark.parametrize("text", ["", "0", "1601", "many"])
def test_a_number_that_is_none_is_refused(start: Any, text: str) -> None:
    status, _stdout, stderr = start(concurrency=text).end()
    assert (status, stderr) == (
        1,
        f'AWS_LAMBDA_MAX_CONCURRENCY is "{text}"; it must be a number from 1 to 1600\n',
    )


def test_there_are_no_more_workers_than_invocations(start: Any) -> None:
    api = ParkingRuntimeApi(most_parked=2)
    try:
        pool = start(concurrency=2, AWS_LAMBDA_NODEJS_WORKER_COUNT="64", AWS_LAMBDA_RUNTIME_API=api.address)
        api.parked(2)
        api.give("one")
        value(api, "one")
        api.parked(2)
        assert api.refused_nexts == 0
        assert pool.kill() == ("", "")
    finally:
        api.close()


def test_a_process_that_waited_for_its_function_has_workers_too(api: ParkingRuntimeApi, tmp_path: Path) -> None:
    (tmp_path / "fn.js").write_text(FUNCTION)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own.js").write_text("exports.name = 'own';")
    environ = {
        "AWS_LAMBDA_MAX_CONCURRENCY": "4",
        "AWS_LAMBDA_NODEJS_WORKER_COUNT": "2",
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "NODE_PATH": str(tmp_path / "modules"),
        "_HANDLER": "late.handler",
    }
    (tmp_path / "late.js").write_text(
        "const { name } = require('own');\n"
        "exports.handler = async () => [name, process.cwd(), process.argv.length, Object.keys(process.env).sort()];"
    )
    pool = Pool(("node", str(RUNTIME_DIRECTORY), WAIT), tmp_path.parent, api, 1, takes_input=True)
    assert pool.process.stdin is not None
    pool.process.stdin.write(json.dumps({"environ": environ, "cwd": str(tmp_path)}).encode())
    pool.process.stdin.close()
    pool.process.stdin = None
    api.parked(2)
    api.give("one")
    assert value(api, "one") == ["own", str(tmp_path), 2, sorted(environ)]
    pool.kill()
    assert pool.process.returncode == -signal.SIGTERM


def test_all_callers_hear_of_a_worker_that_ends_in_the_middle_of_much(start: Any, api: ParkingRuntimeApi) -> None:
    start(concurrency=64)
    for number in range(40):
        api.give(f"id-{number}", b'{"never": 1}')
    api.give("ends", b'{"exit": 9}')
    for number in range(40):
        kind, body = result(api, f"id-{number}")
        assert re.fullmatch(rf"RequestId: id-{number} Error: .* exit status 9", body["errorMessage"]), kind


def test_a_process_with_one_invocation_at_a_time_ends_when_it_is_refused(start: Any, api: ParkingRuntimeApi) -> None:
    api.next_refusals = 1
    source = "setInterval(() => {}, 1000);\nexports.handler = async () => 1;"
    assert start(source=source, concurrency=None).end() == (0, "", "")
