"""Functions at the levels `confined` and `namespace` through the whole service: every way to start, layers, resets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import FunctionSet, Leaks, RunningService, client_of, descendants, until, zip_of
from venturekit.cli.doctor import examine
from venturekit.service.environments.free_port import free_port
from venturekit.service.environments.isolation.levels import IsolationUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEVELS = ("confined", "namespace")
PROBES = Path(__file__).with_name("isolation_probes.py").read_text()
LOOP = r"""#!/bin/bash
set -u
API="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation"
while true; do
  HEAD="$(mktemp)"
  curl -sS -D "$HEAD" "$API/next" > /dev/null
  ID=$(grep -i '^lambda-runtime-aws-request-id' "$HEAD" | tr -d '[:space:]' | cut -d: -f2)
  echo "in $PWD" > /dev/stderr
  touch "$PWD/new" 2> /dev/null && WROTE=true || WROTE=false
  ANSWER="[\"$PWD\", \"$LAMBDA_TASK_ROOT\", \"$0\", \"${TMPDIR:-/tmp}\", $WROTE]"
  curl -sS -X POST "$API/$ID/response" -d "$ANSWER" > /dev/null
done
"""


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that does not lie in /tmp, which confined functions may use."""
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module", params=LEVELS)
def isolated(request: pytest.FixtureRequest, base: Path) -> Iterator[RunningService]:
    running = RunningService(base / request.param, isolation=request.param)
    yield running
    running.close()


@pytest.fixture
def level(isolated: RunningService) -> str:
    return isolated.data_dir.name


@pytest.fixture
def made(isolated: RunningService) -> Iterator[FunctionSet]:
    """Functions on the isolated service, of which nothing may be left."""
    leaks = Leaks(isolated)
    leaks.begin()
    functions = isolated.functions()
    yield functions
    functions.delete_all()
    leaks.settle()
    until(lambda: not list(isolated.data_dir.glob("environments/*")), "scratch folders are removed")


def assert_paths(seen: dict[str, Any], level: str, data: Path) -> None:
    """The folders that AWS has, or those of the service."""
    if level == "namespace":
        assert (seen["cwd"], seen["LAMBDA_TASK_ROOT"], seen["LAMBDA_RUNTIME_DIR"]) == (
            "/var/task",
            "/var/task",
            "/var/runtime",
        )
        assert (seen["tmp"], seen["TMPDIR"], seen["file"]) == ("/tmp", None, "/var/task/app.py")
    else:
        assert Path(seen["cwd"]).is_relative_to(data / "code")
        assert seen["LAMBDA_TASK_ROOT"] == seen["cwd"]
        assert seen["LAMBDA_RUNTIME_DIR"] == str(data / "runtime")
        assert Path(seen["tmp"]).is_relative_to(data / "environments")


@pytest.mark.parametrize("settings", [{}, {"python_start": "spawn"}, {"python_runtime": "awslambdaric"}], ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_python_functions_start_in_every_way(base: Path, level: str, settings: dict[str, str]) -> None:
    data = base / f"start-{level}-{len(settings)}-{'-'.join(settings.values())}"
    running = RunningService(data, isolation=level, **settings)
    try:
        functions = running.functions()
        name = functions.create(PROBES, Timeout=30)
        assert_paths(functions.invoke(name, {"row": "describe"}).value, level, data)
        for row, outcome in {
            "Start programs, threads and processes": "works",
            "Write to its own code": "stopped",
        }.items():
            assert functions.invoke(name, {"row": row}).value["outcome"] == outcome, row
    finally:
        running.close()


def test_a_bootstrap_serves(made: FunctionSet, isolated: RunningService, level: str) -> None:
    name = made.bootstrap(LOOP, Timeout=20)
    outcome = made.invoke(name)
    assert outcome.error is None, outcome.log
    folder, root, program, scratch, wrote = outcome.value
    if level == "namespace":
        assert (folder, root, program, scratch) == ("/var/task", "/var/task", "/var/task/bootstrap", "/tmp")
    else:
        assert Path(folder).is_relative_to(isolated.data_dir / "code")
        assert (root, program) == (folder, f"{folder}/bootstrap")
        assert Path(scratch).is_relative_to(isolated.data_dir / "environments")
    assert wrote is False
    assert f"in {folder}\n" in outcome.log


def test_libraries_are_compiled_once_by_the_service(made: FunctionSet, isolated: RunningService, level: str) -> None:
    compiled = isolated.data_dir / "bytecode"
    tag = f"client.{sys.implementation.cache_tag}.pyc"
    until(lambda: list(compiled.rglob(f"botocore/{tag}")), "botocore is compiled", 60)
    # It must be the finished file: it appears at once, by renaming.
    name = made.create(
        "import boto3, botocore.client, sys\n"
        "def handler(event, context):\n"
        "    path = botocore.client.__cached__\n"
        "    return [boto3.__file__, path, open(path, 'rb').read(4) != b'', sys.dont_write_bytecode]\n",
        Timeout=30,
        MemorySize=256,
    )
    file, cached, is_readable, quiet = made.invoke(name).value
    root = "/var/runtime" if level == "namespace" else str(isolated.data_dir / "runtime")
    assert file == f"{root}/boto3/__init__.py"
    assert cached.endswith(f"{root}/botocore/{tag}")
    assert is_readable
    assert quiet


def test_a_reset_keeps_the_scratch_folder_and_ends_the_processes(made: FunctionSet) -> None:
    source = """
import os, tempfile, time
MARK = os.path.join(tempfile.gettempdir(), "mark")
def handler(event, context):
    if event == "hang":
        open(MARK, "w").write("kept")
        if os.fork() == 0:
            os.setsid()
            os.execv("/bin/sleep", ["sleep", "86400"])
        time.sleep(600)
    if event == "die":
        os._exit(7)
    return [os.path.exists(MARK) and open(MARK).read(), len([n for n in os.listdir("/proc") if n.isdigit()])]
"""
    name = made.create(source, Timeout=1)
    before = descendants()
    assert made.invoke(name, "hang").error == "Unhandled"
    kept, processes = made.invoke(name).value
    assert kept == "kept"
    assert processes >= 1
    assert not [pid for pid in descendants() - before if b"86400" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    outcome = made.invoke(name, "die")
    assert "Runtime exited with error: exit status 7" in outcome.raw.decode()
    assert made.invoke(name).value[0] == "kept"


def test_a_main_process_that_signals_itself_ends_as_on_aws(made: FunctionSet) -> None:
    source = (
        "import os\ndef handler(event, context):\n    os.kill(os.getpid(), event)\n    import time; time.sleep(60)\n"
    )
    name = made.create(source, Timeout=20)
    for number, words in ((signal.SIGTERM, "terminated"), (signal.SIGKILL, "killed"), (signal.SIGABRT, "aborted")):
        assert f"signal: {words}" in made.invoke(name, int(number)).raw.decode()


def test_functions_call_functions(made: FunctionSet) -> None:
    callee = made.create("def handler(event, context):\n    return event + 1\n")
    caller = made.create(
        "import boto3, json, os\n"
        "def handler(event, context):\n"
        "    client = boto3.client('lambda')\n"
        "    return json.load(client.invoke(FunctionName=event, Payload=b'41')['Payload'])\n",
        Timeout=60,
        MemorySize=256,
    )
    assert made.invoke(caller, callee).value == 42


def test_layers(made: FunctionSet, isolated: RunningService, level: str) -> None:
    arns = []
    for number in (1, 2):
        files = {"python/layered.py": f"value = {number}", f"only-{number}": "x", "shared": str(number)}
        given = {"LayerName": f"layer-{level}-{number}", "Content": {"ZipFile": zip_of(files)}}
        arns.append(isolated.client.publish_layer_version(**given)["LayerVersionArn"])
    source = """
import layered, os
def handler(event, context):
    try:
        inside = sorted(os.listdir("/opt"))
    except OSError:
        inside = []
    shared = open("/opt/shared").read() if "shared" in inside else None
    return [layered.value, layered.__file__, inside, shared, os.environ["PATH"]]
"""
    name = made.create(source, Layers=arns)
    value, file, inside, shared, path = made.invoke(name).value
    assert value == 2
    if level == "namespace":
        assert file == "/opt/python/layered.py"
        assert inside == ["only-1", "only-2", "python", "shared"]
        assert shared == "2"
        assert path.endswith(":/opt/bin")
    else:
        assert Path(file).is_relative_to(isolated.data_dir)


def test_no_runtime_api_gets_a_port_that_functions_may_connect_to(
    isolated: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = isolated.service._host
    assert host.settings.isolation is not None
    allowed = max(host.settings.isolation.connect_ports)
    given = [allowed, allowed, None]

    class Scripted(socket.socket):
        """The kernel might choose it, if it lies in its range."""

        def getsockname(self) -> Any:
            chosen = given.pop(0) if given else None
            return ("127.0.0.1", chosen) if chosen else super().getsockname()

    monkeypatch.setattr("venturekit.service.environments.free_port.socket.socket", Scripted)
    found = free_port(host.settings.isolation.connect_ports)
    monkeypatch.undo()
    assert given == []
    assert found.getsockname()[1] != allowed
    found.close()


# --- starting and refusing --------------------------------------------------------------------------------------------


def test_a_data_directory_in_tmp_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Wherever the suite's own folders lie.
    monkeypatch.setattr("venturekit.service.environments.isolation.policy.LITERAL_TMP", str(tmp_path))
    with pytest.raises(IsolationUnavailableError, match="choose another --data-dir, or --isolation namespace"):
        RunningService(tmp_path / "data", isolation="confined")


def test_what_the_kernel_cannot_do_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.environments.isolation.probe.landlock_abi", lambda: 2)
    with pytest.raises(IsolationUnavailableError, match="'confined' cannot be had whole here"):
        RunningService(base / "old", isolation="confined")
    monkeypatch.setattr("venturekit.service.environments.isolation.probe.landlock_abi", lambda: 0)
    with pytest.raises(IsolationUnavailableError, match="has no Landlock"):
        RunningService(base / "none", isolation="auto", require_isolation="confined")
    running = RunningService(base / "auto", isolation="auto")
    assert running.service._host.settings.isolation is None
    running.close()


def test_auto_takes_the_most(base: Path) -> None:
    running = RunningService(base / "most", isolation="auto", require_isolation="namespace")
    assert running.service._host.settings.isolation is not None
    assert running.service._host.settings.isolation.level == "namespace"
    running.close()


def serve(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "venturekit", "serve", "--port", "0", "--data-dir", str(folder), *options]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VENTUREKIT_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=kept)


def test_vk_serve_says_why_it_does_not_start() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = serve(Path(folder) / "data", "--isolation", "confined")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "lies in /tmp, which functions may reach at the isolation level 'confined'" in done.stderr


def test_doctor_shows_what_can_be_had(tmp_path: Path) -> None:
    found = examine(["--isolation", "auto"], "http://127.0.0.1:1")["isolation"]
    assert found["level"] == "namespace"
    assert "/var/task" in found["meaning"]
    assert [(item["level"], item["available"], item["gaps"]) for item in found["levels"]] == [
        ("confined", True, []),
        ("namespace", True, []),
    ]


def test_doctor_shows_what_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.environments.isolation.probe.landlock_abi", lambda: 0)
    found = examine(["--isolation", "confined"], "http://127.0.0.1:1")
    assert found["isolation"]["level"] is None
    assert [item["available"] for item in found["isolation"]["levels"]] == [False, False]
    assert any("has no Landlock" in problem for problem in found["problems"])
    json.dumps(found)


def test_the_default_level_costs_nothing(start_service: Callable[..., RunningService]) -> None:
    code = "import sys, venturekit.service.app; print([name for name in sys.modules if 'isolation.' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    # What is declared for types and refusals only.
    assert json.loads(done.stdout.replace("'", '"')) == ["venturekit.service.environments.isolation.levels"]
    running = start_service()
    assert running.service._host.settings.isolation is None
    assert not (running.data_dir / "bytecode").exists()
    assert client_of(running.url) is not None
