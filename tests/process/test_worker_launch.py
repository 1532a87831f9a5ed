"""Workers of one environment below the launcher: forked from its interpreter, isolated, and all of them ended by it."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.parking_api import LogSocket, ParkingRuntimeApi
from tests.process.test_isolation_launch import Place
from venturekit.service.environments import launcher as launcher_module
from venturekit.service.environments import process_tree
from venturekit.service.environments.launcher import ExitStatus
from venturekit.service.environments.node_start import RUNTIME_DIRECTORY
from venturekit.service.environments.nodes import find_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RIC = Path(launcher_module.__file__).parents[2] / "ric"
PYTHON = """
import os
def handler(event, context):
    if event:
        os._exit(event)
    print("hello")
    return "done"
"""
NODE = """
exports.handler = async (event) => {
  if (event) process.exit(event);
  console.log('hello');
  return 'done';
};
"""


@pytest.fixture
def api() -> Iterator[ParkingRuntimeApi]:
    made = ParkingRuntimeApi()
    yield made
    made.close()


def environ_of(api: ParkingRuntimeApi, task_root: str) -> dict[str, str]:
    return {
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_MAX_CONCURRENCY": "3",
        "AWS_LAMBDA_NODEJS_WORKER_COUNT": "3",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x",
        "LAMBDA_TASK_ROOT": task_root,
        "PATH": "/usr/bin:/bin",
        "_HANDLER": "fn.handler",
    }


def use(api: ParkingRuntimeApi) -> None:
    """All workers come, one ends and is told, another takes its place."""
    api.parked(3)
    api.give("ends", b"7")
    assert json.loads(api.outcome("ends").body)["errorMessage"].endswith("exit status 7")
    api.parked(3)
    api.give("works", b"0")
    assert api.outcome("works").body == b'"done"'


@pytest.mark.parametrize(
    ("language", "level"),
    [("python", "process"), ("python", "confined"), ("python", "namespace"), ("node", "process"), ("node", "confined")],
)
def test_workers_at_every_level(
    launching: Callable[..., None], tmp_path: Path, api: ParkingRuntimeApi, language: str, level: str
) -> None:
    isolated: dict[str, Any] = {}
    code, task_root, policy = tmp_path, str(tmp_path), None
    node = find_nodes({"PATH": "/usr/local/bin:/usr/bin:/bin"}, "/")[0].path
    if level != "process":
        (tmp_path / "place").mkdir()
        place = Place(tmp_path / "place", level)
        if language == "node":
            place.needed = (*place.needed, node, str(Path(node).parents[1] / "lib"), str(RUNTIME_DIRECTORY))
        isolated = place.launch(connect_ports=[int(api.address.rpartition(":")[2])])
        code, task_root, policy = place.folder / "code", isolated["cwd"], place.common
    log = LogSocket(tmp_path / "log")
    (code / "fn.py").write_text(PYTHON)
    (code / "fn.js").write_text(NODE)

    async def scenario(bench: Any) -> None:
        await bench.launcher.wait_ready()
        environ = environ_of(api, task_root) | {"_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET": log.path}
        if language == "python":
            identifier, output = bench.launch(
                "fork", ["bootstrap.py"], environ=environ, handler="fn.handler", **isolated
            )
        else:
            identifier, output = bench.launch("exec", [node, str(RUNTIME_DIRECTORY)], environ=environ, **isolated)
        await asyncio.to_thread(use, api)
        pid = (await bench.event("started", identifier))[2]
        tree = process_tree.descendants(pid) if level == "process" and language == "python" else []
        bench.launcher.signal(identifier, signal.SIGTERM)
        ended = (await bench.event("exited", identifier))[2]
        assert ended in (ExitStatus(None, signal.SIGTERM), ExitStatus(128 + signal.SIGTERM, None))
        await asyncio.to_thread(api.wait_for, lambda: not api.connections)
        # Isolation may keep a function from the socket: its log is not lost then.
        elsewhere = await asyncio.to_thread(output.wait_end)
        if level == "process" or "hello" not in elsewhere:
            assert log.streams(lambda found: "hello" in "".join(found))
        assert [process_tree.read_stat(worker) for worker in tree] == [None] * len(tree)

    try:
        launching(scenario, ric=RIC, policy=policy)
    finally:
        log.close()
