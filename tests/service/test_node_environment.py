"""What surrounds a Node.js function: variables, layers, memory, spare processes, AWS's own client, hostile handlers."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until, wait_gone
from tests.service.node_support import MAJORS, NEW, NODES, OLD, Threw, create, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet, RunningService

ENVIRONMENT = """
exports.handler = async (event) => ({
  env: { ...process.env },
  cwd: process.cwd(),
  tmp: require('os').tmpdir(),
  hour: new Date(0).getHours(),
  locale: Intl.DateTimeFormat().resolvedOptions().locale,
  version: process.versions.node,
  gc: typeof gc,
  heap: require('v8').getHeapStatistics().heap_size_limit / 1048576,
});
"""
RUNTIMES = [f"nodejs{major}.x" for major in (18, 20, 22, 24, 26)]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime(functions: FunctionSet, runtime: str) -> None:
    name = create(functions, ENVIRONMENT, runtime)
    found = functions.invoke(name).value
    assert found["env"]["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"
    major = int(found["version"].partition(".")[0])
    log = "".join(functions.log_lines(name))
    assert log.startswith(f"INIT_START Runtime Version: nodejs:{runtime.removeprefix('nodejs')}\t")
    wanted = int(runtime.removeprefix("nodejs").removesuffix(".x"))
    assert major in MAJORS
    if wanted in MAJORS:
        assert major == wanted
        assert "[WARNING]" not in log
    else:
        (warning,) = [line for line in log.splitlines() if line.startswith("[WARNING] ")]
        assert f"runtime {runtime} is not on this machine" in warning


def test_strict_runtimes_refuse_substitution(start_service: Callable[..., RunningService]) -> None:
    functions = start_service(strict_runtimes=True).functions()
    wanted = next(runtime for runtime in RUNTIMES if int(runtime[6:8]) not in MAJORS)
    answer = functions.invoke(create(functions, ENVIRONMENT, wanted))
    assert answer.value["errorType"] == "Runtime.InvalidRuntime"
    assert wanted in answer.value["errorMessage"]
    assert functions.invoke(create(functions, ENVIRONMENT, f"nodejs{max(MAJORS)}.x")).error is None


def test_without_node(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    settings = running.service._host.settings
    running.do(lambda: setattr(running.service._host, "settings", replace(settings, find_nodes=list)))
    answer = running.functions().invoke(create(running.functions(), ENVIRONMENT))
    assert answer.value["errorType"] == "Runtime.InvalidRuntime"
    assert "nvm install 20" in answer.value["errorMessage"]


def test_the_variables(functions: FunctionSet) -> None:
    given = {"MINE": "ü 1", "TZ": "America/New_York", "LANG": "de_DE.UTF-8", "PATH": "/bin:/usr/bin"}
    name = create(functions, ENVIRONMENT, Environment={"Variables": given}, MemorySize=256)
    found = functions.invoke(name).value
    variables = found["env"]
    assert {key: variables[key] for key in given} == given
    assert (found["hour"], found["locale"], found["gc"]) == (19, "de-DE", "function")
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert variables["LAMBDA_TASK_ROOT"] == found["cwd"] == variables["PWD"]
    assert found["tmp"] == variables["TMPDIR"]
    assert variables["NODE_PATH"].split(":")[-1] == found["cwd"]
    assert 230 <= found["heap"] <= 300
    for foreign in ("HOME", "USER", "_LAMBDA_TELEMETRY_LOG_FD", "PYTHONPATH", "PYTEST_CURRENT_TEST"):
        assert foreign not in variables


LAYERED = """
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
export const handler = async (event) => event.map((name) => {
  try { return require(name).whose; } catch (error) { return error.code; }
});
"""


def test_layers(functions: FunctionSet) -> None:
    def layer(name: str, files: dict[str, str]) -> str:
        from tests.service.harness import zip_of

        published = functions.client.publish_layer_version(LayerName=name, Content={"ZipFile": zip_of(files)})
        return str(published["LayerVersionArn"])

    first = layer(
        "node-first",
        {
            "nodejs/node_modules/shared/index.js": "exports.whose = 'first';",
            "nodejs/node_modules/only-first/index.js": "exports.whose = 'first';",
            "nodejs/node20/node_modules/versioned/index.js": "exports.whose = 'for 20';",
        },
    )
    second = layer(
        "node-second",
        {
            "nodejs/node_modules/shared/index.js": "exports.whose = 'second';",
            "nodejs/node_modules/versioned/index.js": "exports.whose = 'for all';",
            "nodejs/node24/node_modules/other/index.js": "exports.whose = 'for 24';",
        },
    )
    files = {"app.mjs": LAYERED, "node_modules/own/index.js": "exports.whose = 'own';"}
    name = functions.create(files=files, Runtime=OLD, Handler="app.handler", Timeout=10, Layers=[first, second])
    names = ["own", "shared", "only-first", "versioned", "other"]
    assert functions.invoke(name, names).value == ["own", "second", "first", "for 20", "MODULE_NOT_FOUND"]


def test_a_functions_own_search_path_wins(functions: FunctionSet) -> None:
    files = {"elsewhere/mine/index.js": "exports.whose = 'mine';"}
    source = "exports.handler = async () => require('mine').whose;"
    variables = {"NODE_PATH": "elsewhere"}
    name = create(functions, source, files=files, Environment={"Variables": variables})
    # A relative folder is one of the working directory.
    assert functions.invoke(name).value == "mine"


# --- memory ---------------------------------------------------------------------------------------------------------


def test_garbage_is_collected_within_the_memory(functions: FunctionSet) -> None:
    source = """
exports.handler = async (event) => {
  let kept;
  for (let i = 0; i < 3000; i++) kept = new Array(20000).fill(i);
  return kept.length;
};
"""
    assert functions.invoke(create(functions, source, MemorySize=128)).value == 20_000


@pytest.mark.parametrize("kind", ["new Array(100000).fill(0.5 + kept.length)", "Buffer.alloc(1 << 20, 1)"])
def test_too_much_memory_ends_the_process(functions: FunctionSet, kind: str) -> None:
    source = f"const kept = []; exports.handler = async () => {{ for (;;) kept.push({kind}); }};"
    answer = functions.invoke(create(functions, source, MemorySize=128, Timeout=30))
    message = answer.value["errorMessage"]
    # Node gives up by itself, or the service ends it: what is noticed first.
    assert answer.value["errorType"] == "Runtime.ExitError"
    assert message.endswith(("signal: killed", "signal: aborted"))


# --- the process that waits -----------------------------------------------------------------------------------------


def spares_of(running: RunningService) -> tuple[Any, ...]:
    return tuple(running.do(lambda: running.service._host.spares.waiting))


def waiting_pid(running: RunningService, memory_mb: int = 128) -> int:
    """The process that waits for functions with so much memory, once there is one."""
    option = f"--max-old-space-size={memory_mb - memory_mb // 10}"

    def find() -> int | None:
        return next((spare.pid for spare in spares_of(running) if option in spare.argv), None)

    return int(until(find, "a process waits"))


WHO = """
const fs = require('fs');
exports.handler = async () => ({
  pid: process.pid,
  name: process.env.AWS_LAMBDA_FUNCTION_NAME,
  left: process.env.LEFT,
  hour: new Date(0).getHours(),
  input: fs.readlinkSync('/proc/self/fd/0'),
  variables: Object.keys(process.env),
  sockets: fs.readdirSync('/proc/self/fd').filter((fd) => {
    try { return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:'); } catch { return false; }
  }).length,
});
"""


def test_a_process_waits_for_the_first_invocation(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    names = [create(functions, WHO, Environment={"Variables": {"LEFT": str(n), "TZ": "Asia/Tokyo"}}) for n in range(2)]
    pids = []
    for number, name in enumerate(names):
        waiting = waiting_pid(running)
        found = functions.invoke(name).value
        assert (found["pid"], found["name"], found["left"]) == (waiting, name, str(number))
        assert (found["hour"], found["input"]) == (9, "/dev/null")
        # Of the service and of what it waited with there is nothing.
        assert not any(line.startswith(("PYTEST_", "_LAMBDA_")) for line in found["variables"])
        assert found["sockets"] == 1
        pids.append(waiting)
    assert len(set(pids)) == 2
    running.close()
    wait_gone(pids)


def test_a_function_that_sets_what_node_reads_at_its_start_gets_a_process_of_its_own(
    start_service: Callable[..., RunningService],
) -> None:
    running = start_service()
    functions = running.functions()
    name = create(functions, WHO, Environment={"Variables": {"NODE_OPTIONS": "--no-warnings"}})
    plain = create(functions, WHO)
    waiting = waiting_pid(running)
    assert functions.invoke(name).value["pid"] != waiting
    assert functions.invoke(plain).value["pid"] == waiting


def test_a_waiting_process_that_dies_is_no_harm(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    name = create(functions, WHO)
    dead = waiting_pid(running)
    os.kill(dead, 9)
    wait_gone([dead])
    assert functions.invoke(name).value["pid"] != dead


def test_two_memory_sizes_have_a_process_each(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    names = {size: create(functions, WHO, MemorySize=size) for size in (128, 512)}
    for size in (128, 512):
        waiting = waiting_pid(running, size)
        assert functions.invoke(names[size]).value["pid"] == waiting
    waiting_pid(running, 128)
    waiting_pid(running, 512)
    create(functions, WHO, MemorySize=1024)
    gone = until(lambda: len(spares_of(running)) == 2 and waiting_pid(running, 1024), "the third one has its process")
    assert gone


def test_after_a_rush_two_wait(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    names = [create(functions, WHO) for _ in range(3)]
    waiting_pid(running)
    with ThreadPoolExecutor(3) as pool:
        pids = {answer.value["pid"] for answer in pool.map(functions.invoke, names)}
    assert len(pids) == 3
    until(lambda: len([spare for spare in spares_of(running) if spare.pid]) == 2, "two processes wait")
    assert len({spare.argv for spare in spares_of(running)}) == 1


def test_a_process_that_is_told_before_it_is_warm(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    host = running.service._host
    name = create(functions, WHO)
    waiting = waiting_pid(running)
    spare = spares_of(running)[0]

    def replace_it() -> None:
        host.spares.ended(spare.number)
        host.spares._fill()

    running.do(replace_it)
    begun = {spare.number for spare in spares_of(running)}
    found = functions.invoke(name).value["pid"]
    assert found != waiting
    environments = running.do(lambda: set(host.environments))
    assert environments <= begun


# --- AWS's own client -----------------------------------------------------------------------------------------------

STAND_IN = """#!/usr/bin/env node
const http = require('http');
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const ask = (method, path, body) => new Promise((resolve) => {
  const request = http.request({ host, port, method, path: `/2018-06-01/runtime/invocation/${path}` }, (answer) => {
    answer.resume();
    answer.on('end', () => resolve(answer.headers['lambda-runtime-aws-request-id']));
  });
  request.end(body);
});
(async () => {
  for (;;) {
    const id = await ask('GET', 'next');
    await ask('POST', `${id}/response`, JSON.stringify(['stand-in', ...process.argv.slice(2)]));
  }
})();
"""
PACKAGE = {"name": "aws-lambda-ric", "version": "0.0.0", "bin": {"aws-lambda-ric": "bin/index.js"}}
CLIENT = {"package.json": json.dumps(PACKAGE), "bin/index.js": STAND_IN}


def below(folder: str) -> dict[str, str]:
    return {f"{folder}/aws-lambda-ric/{name}": text for name, text in CLIENT.items()}


@pytest.mark.parametrize("where", ["code", "layer", "layer for the version"])
def test_aws_own_client_is_used_where_the_function_brings_it(functions: FunctionSet, where: str) -> None:
    from tests.service.harness import zip_of

    members: dict[str, Any] = {}
    if where == "code":
        members["files"] = below("node_modules")
    else:
        folder = "nodejs/node_modules" if where == "layer" else "nodejs/node20/node_modules"
        content = {"ZipFile": zip_of(below(folder))}
        published = functions.client.publish_layer_version(LayerName="node-client", Content=content)
        members["Layers"] = [published["LayerVersionArn"]]
    name = create(functions, "exports.handler = async () => 'ours';", **members)
    assert functions.invoke(name).value == ["stand-in", "app.handler"]


@pytest.mark.parametrize("program", ["../../../app.js", "nowhere.js", None, 5])
def test_a_client_without_a_program_is_passed_over(functions: FunctionSet, program: Any) -> None:
    package = json.dumps({"bin": program})
    files = {"node_modules/aws-lambda-ric/package.json": package}
    assert functions.invoke(create(functions, "exports.handler = async () => 'ours';", files=files)).value == "ours"


# --- hostile handlers -----------------------------------------------------------------------------------------------


@pytest.fixture
def bystander(leak_free: FunctionSet) -> str:
    """Another function, which goes on working whatever happens."""
    name = create(leak_free, "exports.handler = async () => 'works';")
    assert leak_free.invoke(name).value == "works"
    return name


TIMED_OUT = "Sandbox.Timedout"
HOSTILE = {
    "a loop": ("for (;;);", TIMED_OUT),
    "a loop of microtasks": (
        "const spin = () => Promise.resolve().then(spin); await spin();",
        (TIMED_OUT, "Runtime.ExitError"),
    ),
    "a wait without end": ("await new Promise((r) => setTimeout(r, 60000));", TIMED_OUT),
    "a blocked thread": ("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);", TIMED_OUT),
    "an endless recursion": ("const f = () => f(); f();", "RangeError"),
    "all descriptors closed": (
        (
            "const fs = require('fs'); for (let i = 0; i < 64; i++) { try { fs.closeSync(i); } catch {} } "
            "await new Promise((r) => setTimeout(r, 60000));"
        ),
        (TIMED_OUT, "Runtime.ExitError"),
    ),
    "a signal to its group": (
        "process.kill(0, 'SIGTERM'); await new Promise((r) => setTimeout(r, 60000));",
        "Runtime.ExitError",
    ),
    "a prototype without JSON": ("JSON.stringify = () => { throw new Error('mine'); }; return 1;", None),
    "a console that is gone": ("globalThis.console = undefined; return 1;", "fine"),
    "promises that are others": ("globalThis.Promise = class {}; return 1;", None),
    "a process that cannot exit": ("process.exit = () => {}; throw new Error('e');", "Error"),
    "children that stay": (
        (
            "for (let i = 0; i < 5; i++) require('child_process').spawn('sleep', ['600'], { detached: true, "
            "stdio: 'ignore' }).unref(); return 1;"
        ),
        "fine",
    ),
    "a child with the log": (
        "require('child_process').spawn('sleep', ['600'], { stdio: 'inherit' }); return 1;",
        "fine",
    ),
    "a server": ("require('net').createServer().listen(0); return 1;", "fine"),
    "a worker that never ends": (
        "new (require('worker_threads').Worker)('for (;;);', { eval: true }); return 1;",
        "fine",
    ),
    "timers without end": ("setInterval(() => {}, 1); return 1;", "fine"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_handler(leak_free: FunctionSet, bystander: str, case: str) -> None:
    body, expected = HOSTILE[case]
    source = f"exports.handler = async (event) => {{ if (event === 'again') return 'again'; {body} }};"
    name = create(leak_free, source, Timeout=1 if expected == TIMED_OUT else 2)
    found = outcome(leak_free.invoke(name))
    if expected == "fine":
        assert found == 1
    elif isinstance(expected, tuple):
        assert isinstance(found, Threw)
        assert found.type in expected
    elif expected is not None:
        assert isinstance(found, Threw)
        assert found.type == expected
    assert leak_free.invoke(bystander).value == "works"
    again = outcome(leak_free.invoke(name, "again"))
    assert again == "again" or case in ("a prototype without JSON", "promises that are others")


def test_an_interval_does_not_hold_up_a_callback_for_ever(leak_free: FunctionSet, bystander: str) -> None:
    source = "exports.handler = (event, context, callback) => { setInterval(() => {}, 100); callback(null, 1); };"
    name = create(leak_free, source, Timeout=1)
    # As on AWS, where this is the classic way to a timeout.
    assert outcome(leak_free.invoke(name)).type == TIMED_OUT
    assert leak_free.invoke(bystander).value == "works"


def test_writing_in_rubbish_to_the_log_harms_nobody(leak_free: FunctionSet, bystander: str) -> None:
    source = """
const fs = require('fs');
exports.handler = async () => {
  fs.writeSync(3, Buffer.from([0xa5, 0x5a, 0, 3, 0xff, 0xff, 0xff, 0xff]));
  fs.writeSync(3, Buffer.from('\\n'));
  console.log('after');
  return 1;
};
"""
    answer = leak_free.invoke(create(leak_free, source))
    assert answer.value == 1
    assert "\tafter\n" in answer.log
    assert leak_free.invoke(bystander).value == "works"


def test_a_response_that_is_too_large(leak_free: FunctionSet, bystander: str) -> None:
    source = "exports.handler = async (event) => 'x'.repeat(event);"
    name = create(leak_free, source, MemorySize=512)
    assert outcome(leak_free.invoke(name, 6_291_600)).type == "Function.ResponseSizeTooLarge"
    assert len(leak_free.invoke(name, 6_000_000).value) == 6_000_000
    assert leak_free.invoke(bystander).value == "works"


def test_the_newer_rules_end_with_the_process_too(leak_free: FunctionSet, bystander: str) -> None:
    name = create(leak_free, "exports.handler = async () => { throw new Error('x'); };", NEW)
    assert outcome(leak_free.invoke(name)) == Threw("Error", "x")
    assert leak_free.invoke(bystander).value == "works"


def test_node_is_what_this_machine_has() -> None:
    assert NODES
    assert all(Path(node.path).is_file() for node in NODES)
