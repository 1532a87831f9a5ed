"""Extensions that others have published, unmodified, in layers of functions."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

import pytest

from tests.clients.powertools_functions import files_of
from tests.service.harness import RunningService, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Sentry's extension is fetched by scripts/test beside AWS's clients for Node.js.
SENTRY = Path(__file__).parents[1] / "javascript" / "node_modules" / "sentry-extension" / "build" / "lambda-extension"
# The port is written into the extension, and a function's network is the machine's.
SENTRY_PORT = 9000
PROJECT = "4501"
SENDING = """
import json, os, urllib.error, urllib.request

def handler(event, context):
    lines = [{"dsn": event["dsn"]}, {"type": "event"}, {"message": context.aws_request_id}]
    body = "\\n".join(map(json.dumps, lines)).encode()
    try:
        with urllib.request.urlopen("http://localhost:9000/envelope", body, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())["error"]]
"""
# The module is found in the layer; it registers while the function's module is imported.
TERMINATED = """
import os, signal, sys, lambda_sigterm

def end(number, frame):
    with open(os.environ["OUT"], "w") as out:
        out.write(f"signal {number}")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
lambda_sigterm.register()

def handler(event, context):
    return "done"
"""


class Sentry:
    """Takes the place of Sentry's server: keeps what is posted to it."""

    def __init__(self) -> None:
        self.taken: Queue[tuple[str, bytes]] = Queue()
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.dsn = f"http://key@127.0.0.1:{self.port}/{PROJECT}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    server = Sentry()
    yield server
    server.close()


@pytest.fixture
def namespaced(sentry: Sentry) -> Iterator[RunningService]:
    """A service whose functions find their layers in /opt itself, and may use the two ports that Sentry's needs."""
    ports = {"bind_ports": str(SENTRY_PORT), "connect_ports": f"default,{sentry.port}"}
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as folder:
        running = RunningService(Path(folder) / "data", isolation="namespace", **ports)
        yield running
        running.close()


def is_free(port: int) -> bool:
    """Whether nobody listens at this port of the machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_sentrys_extension_of_npm(namespaced: RunningService, sentry: Sentry) -> None:
    assert SENTRY.is_dir(), "npm's packages are missing: run scripts/test once, it installs them"
    until(lambda: is_free(SENTRY_PORT), f"port {SENTRY_PORT}, which the extension listens at, is free")
    functions = namespaced.functions()
    files = {
        "extensions/sentry-extension": (SENTRY / "sentry-extension").read_bytes(),
        "sentry-extension/index.mjs": (SENTRY / "index.mjs").read_bytes(),
    }
    content = {"ZipFile": zip_of(files, dict.fromkeys(files, 0o755))}
    layer = functions.client.publish_layer_version(LayerName="sentry", Content=content)["LayerVersionArn"]
    variables = {"Variables": {"SENTRY_DSN": sentry.dsn}}
    name = functions.create(SENDING, Layers=[layer], Environment=variables, Timeout=20, MemorySize=512)
    for _ in range(2):
        outcome = functions.invoke(name, {"dsn": sentry.dsn})
        assert (outcome.error, outcome.value) == (None, 200), outcome.value
        path, envelope = sentry.taken.get(timeout=20)
        assert path == f"/api/{PROJECT}/envelope/?sentry_version=7&sentry_key=key"
        assert json.loads(envelope.splitlines()[-1]) == {"message": outcome.request_id}
    assert functions.invoke(name, {"dsn": "http://other@127.0.0.1:1/1"}).value == [403, "DSN not allowed"]
    log = "\n".join(functions.log_lines(name))
    assert log.count("EXTENSION\tName: sentry-extension\tState: Ready\tEvents: [INVOKE, SHUTDOWN]") == 1
    assert log.count("INIT_START") == 1
    functions.delete_all()
    until(lambda: is_free(SENTRY_PORT), "the extension ends with its execution environment")


def test_an_internal_extension_of_pypi(service: RunningService, tmp_path: Path) -> None:
    functions = service.functions()
    content = {"ZipFile": zip_of(files_of("lambda-sigterm"))}
    layer = functions.client.publish_layer_version(LayerName="sigterm", Content=content)["LayerVersionArn"]
    out = tmp_path / "out"
    name = functions.create(TERMINATED, Layers=[layer], Environment={"Variables": {"OUT": str(out)}}, Timeout=20)
    for _ in range(2):
        outcome = functions.invoke(name)
        assert (outcome.error, outcome.value) == (None, "done")
    log = "\n".join(functions.log_lines(name))
    assert log.count("EXTENSION\tName: lambda-sigterm\tState: Ready\tEvents: []") == 1
    assert log.count("INIT_START") == 1
    functions.delete_all()
    until(lambda: out.exists() and out.read_text() == "signal 15", "the runtime is told to end")
