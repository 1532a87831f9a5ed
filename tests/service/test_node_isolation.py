"""Node.js functions at the levels `confined` and `namespace`: how they start, and what they may reach."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import PYTHON, FunctionSet, RunningService, zip_of
from tests.service.node_support import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = """
import fs from 'node:fs';
import os from 'node:os';
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import shared from './shared.cjs';

const tried = (work) => { try { return work(); } catch (error) { return error.code; } };

export const handler = async (event) => ({
  cwd: process.cwd(),
  root: process.env.LAMBDA_TASK_ROOT,
  path: process.env.NODE_PATH.split(':'),
  layer: shared(),
  ownCode: tried(() => fs.writeFileSync('new', 'x')),
  scratch: tried(() => fs.writeFileSync(`${os.tmpdir()}/new`, 'x') ?? os.tmpdir()),
  shadow: tried(() => fs.readFileSync('/etc/shadow').length),
  foreign: tried(() => fs.readFileSync(event).length),
  child: spawnSync(process.execPath, ['-p', '6 * 7']).stdout.toString(),
  worker: await new Promise((resolve) => {
    const worker = new Worker("require('worker_threads').parentPort.postMessage('from a thread')", { eval: true });
    worker.on('message', resolve);
    worker.on('error', resolve);
  }),
});
"""
SHARED = "module.exports = () => require('of-a-layer').name;"


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that does not lie in /tmp, which confined functions may use."""
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module", params=["confined", "namespace"])
def level(request: pytest.FixtureRequest, base: Path) -> Iterator[tuple[str, RunningService]]:
    running = RunningService(base / request.param, isolation=request.param)
    yield request.param, running
    running.close()


@pytest.fixture
def made(level: tuple[str, RunningService]) -> Iterator[FunctionSet]:
    functions = level[1].functions()
    yield functions
    functions.delete_all()


def layer_of(functions: FunctionSet) -> str:
    content = {"ZipFile": zip_of({"nodejs/node_modules/of-a-layer/index.js": "exports.name = 'layer';"})}
    return str(functions.client.publish_layer_version(LayerName="isolated", Content=content)["LayerVersionArn"])


@pytest.mark.parametrize("runtime", [OLD, NEW])
def test_a_function_has_what_it_needs(
    level: tuple[str, RunningService], made: FunctionSet, base: Path, runtime: str
) -> None:
    name, running = level
    secret = base / "secret"
    secret.write_text("x")
    files = {"app.mjs": SOURCE, "shared.cjs": SHARED}
    function = made.create(
        files=files, Runtime=runtime, Handler="app.handler", Timeout=20, MemorySize=256, Layers=[layer_of(made)]
    )
    answer = made.invoke(function, str(secret))
    assert answer.error is None, answer.raw
    found = answer.value
    assert (found["child"], found["worker"], found["layer"]) == ("42\n", "from a thread", "layer")
    assert found["shadow"] == "EACCES"
    if name == "namespace":
        assert (found["cwd"], found["root"], found["scratch"]) == ("/var/task", "/var/task", "/tmp")
        assert found["path"][:2] == [f"/opt/nodejs/node{runtime[6:8]}/node_modules", "/opt/nodejs/node_modules"]
        assert found["path"][-2:] == ["/var/runtime", "/var/task"]
        assert (found["ownCode"], found["foreign"]) == ("EROFS", "ENOENT")
    else:
        assert Path(found["cwd"]).is_relative_to(running.data_dir / "code")
        assert Path(found["scratch"]).is_relative_to(running.data_dir / "environments")
        assert (found["ownCode"], found["foreign"]) == ("EACCES", "EACCES")


def test_no_process_waits(level: tuple[str, RunningService], made: FunctionSet) -> None:
    _, running = level
    source = "exports.handler = async () => 1;"
    name = made.create(files={"app.js": source}, Runtime=OLD, Handler="app.handler", Timeout=20)
    assert made.invoke(name).value == 1
    assert running.do(lambda: running.service._host.spares.waiting) == ()


@pytest.mark.parametrize("runtime", [PYTHON, OLD])
def test_a_wrapper_of_a_layer(level: tuple[str, RunningService], made: FunctionSet, runtime: str) -> None:
    name, _ = level
    script = '#!/bin/sh\nexport SEEN="$0 $(ls /opt/bin 2> /dev/null)"\nexec "$@"\n'
    content = {"ZipFile": zip_of({"bin/start": script}, {"bin/start": 0o755})}
    layer = made.client.publish_layer_version(LayerName="isolated-wrapper", Content=content)["LayerVersionArn"]
    files = {
        "app.py": "import os\ndef handler(event, context):\n    return os.environ['SEEN']\n",
        "app.js": "exports.handler = async () => process.env.SEEN;",
    }
    function = made.create(
        files=files,
        Runtime=runtime,
        Handler="app.handler",
        Timeout=20,
        Layers=[layer],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bin/start"}},
    )
    seen = made.invoke(function).value
    if name == "namespace":
        assert seen == "/opt/bin/start start"
    else:
        assert seen.endswith("/bin/start ")
