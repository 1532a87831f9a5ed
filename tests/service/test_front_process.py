"""The front process in the hands of the service: when it starts, what its death costs, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import RunningService, client_of, send, until, wait_gone, zip_of
from tests.service.url_support import ECHO, Url, make_url
from venturekit.service import front_process
from venturekit.service.front_process import FrontPortError

if TYPE_CHECKING:
    from collections.abc import Callable


WAITING = "waiting until it is needed"


def front(running: RunningService) -> Any:
    return running.health()["front"]


def test_it_starts_when_there_is_a_url(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    assert front(running) == {"state": WAITING, "port": running.service._urls.process.port, "pid": None, "restarts": 0}
    functions = running.functions()
    name = functions.create(ECHO)
    assert front(running)["state"] == WAITING
    url = make_url(running.client, name)
    assert url.port == front(running)["port"]
    assert url.ask().status == 200
    assert front(running)["state"] == "running"
    assert url.ask(target="/_venturekit/health", host="localhost").json["functionUrls"] == 1


def test_it_starts_with_the_first_connection(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    url = Url(f"http://x.localhost:{front(running)['port']}/")
    assert url.ask(target="/_venturekit/health", host="localhost").json["functionUrls"] == 0


def test_it_starts_again_with_a_service_that_has_urls(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = RunningService(tmp_path / "data")
    url = make_url(first.client, first.functions().create(ECHO))
    assert url.ask().status == 200
    pid = front(first)["pid"]
    first.close()
    wait_gone([pid], 5)
    second = start_service(tmp_path / "data", front_port=url.port)
    assert front(second)["state"] in ("starting", "running")
    assert url.ask().status == 200


def test_kill_9_is_survived(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    url = make_url(running.client, running.functions().create(ECHO))
    assert url.ask().status == 200
    for number in range(1, 4):
        pid = front(running)["pid"]
        os.kill(pid, signal.SIGKILL)
        # Who comes meanwhile waits, and is not refused.
        assert url.ask().status == 200
        found = front(running)
        assert (found["state"], found["restarts"]) == ("running", number)
        assert found["pid"] != pid


def test_requests_in_its_hands_are_lost_and_the_function_runs_on(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    with socket.create_server(("127.0.0.1", 0)) as gate:
        source = (
            "import socket\ndef handler(event, context):\n    print('in')\n"
            f"    socket.create_connection(('127.0.0.1', {gate.getsockname()[1]})).recv(1)\n    print('out')\n"
        )
        name = functions.create(source, Timeout=30)
        url = make_url(running.client, name)
        with closing(url.connection()) as connection:
            connection.request("GET", "/", headers={"Host": url.host})
            arrived, _ = gate.accept()
            os.kill(front(running)["pid"], signal.SIGKILL)
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                connection.getresponse()
            arrived.close()
    until(lambda: any(line.startswith("out") for line in functions.log_lines(name)), "the function runs on")


def test_it_ends_with_the_service(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    running = RunningService(tmp_path / "data")
    url = make_url(running.client, running.functions().create(ECHO))
    assert url.ask().status == 200
    pid = front(running)["pid"]
    # Also when it has stopped listening to reason.
    os.kill(pid, signal.SIGSTOP)
    running.close()
    wait_gone([pid], 5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_however_the_service_ends(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "venturekit", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VENTUREKIT_"))}
    process = subprocess.Popen([*command, "--ready-file", str(ready)], env=kept, stdout=subprocess.DEVNULL)
    try:
        address = until(lambda: ready.exists() and ready.read_text().strip(), "the service is ready")
        client = client_of(address)
        client.create_function(
            FunctionName="f",
            Runtime=f"python3.{sys.version_info.minor}",
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/any",
            Code={"ZipFile": zip_of({"app.py": ECHO})},
        )
        until(lambda: client.get_function_configuration(FunctionName="f")["State"] == "Active", "f is active")
        url = make_url(client, "f")
        assert url.ask().status == 200
        pid = send(address, "GET", "/_venturekit/health").json["front"]["pid"]
        # Arguments and variables are for everybody to read: no key is in them.
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert b"ASIA" not in text
            assert b"Secret" not in text
        process.send_signal(number)
        process.wait(20)
        wait_gone([pid], 5)
    finally:
        process.kill()
        process.wait()


def test_running_requests_are_finished_before_the_service_ends(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = RunningService(tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as gate:
        source = (
            "import socket\ndef handler(event, context):\n"
            f"    socket.create_connection(('127.0.0.1', {gate.getsockname()[1]})).recv(1)\n    return 'done'\n"
        )
        url = make_url(running.client, running.functions().create(source, Timeout=30))
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(url.ask().body))
        asking.start()
        arrived, _ = gate.accept()
        draining = threading.Thread(target=lambda: running.run(running.service.drain()))
        draining.start()
        # No more connections are taken.
        until(lambda: refuses(url.port), "the port is closed")
        arrived.close()
        asking.join(20)
        draining.join(20)
        assert answers == [b"done"]
    # The process ends by itself, and without a complaint.
    until(lambda: not running.service._urls.process.is_alive, "it has ended")
    running.close()
    assert "Fatal" not in capfd.readouterr().err


def refuses(port: int) -> bool:
    return not accepts(port)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_no_front(start_service: Callable[..., RunningService]) -> None:
    running = start_service(front=False)
    assert front(running) == {"state": "off", "port": None, "pid": None, "restarts": 0}
    name = running.functions().create(ECHO)
    url = make_url(running.client, name)
    assert front(running)["state"] == "off"
    # The configuration is kept all the same.
    (kept,) = running.client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert (kept["FunctionUrl"], url.port) == (url.url, running.port)


def test_its_port_is_the_next_one_or_any(start_service: Callable[..., RunningService]) -> None:
    port, taken = free_port_before_a_taken_one()
    with taken:
        other = start_service(port=port)
        port += 1
        # The next one is in use: any free one serves.
        assert front(other)["port"] not in (port, None)
        with pytest.raises(FrontPortError, match=f"port {port} of 127.0.0.1, .* is in use .*--no-front"):
            start_service(front_port=port)
    third = start_service(front_port=port)
    assert front(third)["port"] == port


def free_port_before_a_taken_one() -> tuple[int, socket.socket]:
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
            try:
                return port, socket.create_server(("127.0.0.1", port + 1))
            except OSError:
                continue


def test_a_process_that_lacks_something_is_not_tried_again(
    start_service: Callable[..., RunningService], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "lacking.py"
    script.write_text(f"import sys\nsys.stdin.readline()\nsys.exit({front_process.CANNOT_RUN})\n")
    monkeypatch.setattr(front_process, "SCRIPT", script)
    running = start_service()
    url = make_url(running.client, running.functions().create(ECHO))
    until(lambda: front(running)["state"] == "failed", "it has failed")
    assert front(running)["restarts"] == 0
    assert refuses(url.port)


def test_a_process_that_dies_at_once_is_tried_again_and_again(
    start_service: Callable[..., RunningService], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script, real = tmp_path / "dying.py", front_process.SCRIPT
    script.write_text("raise SystemExit(1)\n")
    monkeypatch.setattr(front_process, "SCRIPT", script)
    running = start_service()
    url = make_url(running.client, running.functions().create(ECHO))
    until(lambda: front(running)["restarts"] >= 2, "it is tried again")
    monkeypatch.setattr(front_process, "SCRIPT", real)
    assert url.ask().status == 200


@pytest.mark.parametrize("level", ["confined", "namespace"])
def test_confined_functions_do_not_reach_it(level: str) -> None:
    source = """
import errno, socket

def handler(event, context):
    with socket.socket() as connection:
        return errno.errorcode.get(connection.connect_ex(("127.0.0.1", event)), "connected")
"""
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as folder:
        for number, (ports, expected) in enumerate(((None, "EACCES"), ("default,{port}", "connected"))):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            settings = {} if ports is None else {"connect_ports": ports.format(port=port)}
            data = Path(folder) / str(number)
            running = RunningService(data, isolation=level, front_port=port, **settings)
            try:
                functions = running.functions()
                name = functions.create(source, Timeout=30)
                assert json.loads(functions.invoke(name, port).raw) == expected
                # It serves others for all that.
                assert make_url(running.client, name).ask().status == 502
            finally:
                running.close()
