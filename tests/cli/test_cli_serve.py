"""``vk serve``: ready, ended, refused."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_it_says_where_it_listens_and_how_to_use_it(serve):
    with serve() as served:
        out = served.running.read_until(f"LAMBDA={served.url}\n".encode()).decode()
        assert re.fullmatch(
            r"Serving the Lambda API at (http://127\.0\.0\.1:\d+)\nexport AWS_ENDPOINT_URL_LAMBDA=\1\n", out
        )
        assert served.vk("functions", "--json").json == []
        assert served.running.end()[0] == 0


def test_the_ready_file_holds_the_address_while_it_is_true(serve, tmp_path):
    ready = tmp_path / "ready"
    ready.write_text("http://127.0.0.1:1\n")
    with serve("--ready-file", str(ready)) as served:
        assert ready.read_text() == served.url + "\n"
        assert [path.name for path in tmp_path.iterdir() if "ready" in path.name] == ["ready"]
        assert served.running.end()[0] == 0
    assert not ready.exists()


def test_a_ready_file_that_cannot_be_written_is_an_error(vk, tmp_path):
    done = vk("serve", "--port", "0", "--ready-file", str(tmp_path / "none" / "ready"))
    assert (done.status, done.out) == (1, b"")
    assert done.err == f"vk: --ready-file {tmp_path}/none/ready: No such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_all_that_it_started(serve, vanishing, number):
    with serve() as served:
        served.create("app")
        assert served.vk("invoke", "app").status == 0
        with vanishing(served.running.process.pid):
            status, err = served.running.end(number)
    assert status == 0
    assert re.fullmatch(rf"\S+ \S+ INFO venturekit\.cli: {number.name}: running invocations have 10 s .*\n", err)


def test_kill_9_leaves_nothing_running(serve, vanishing):
    with serve() as served:
        served.create("app")
        assert served.vk("invoke", "app").status == 0
        with vanishing(served.running.process.pid):
            assert served.running.end(signal.SIGKILL)[0] == -signal.SIGKILL


def waiting_invocation(start_vk, served, started, go):
    event = f'{{"started": "{started.path}", "wait": "{go.path}"}}'
    return start_vk("invoke", "app", "--payload", event, env={"AWS_ENDPOINT_URL_LAMBDA": served.url})


def test_running_invocations_finish_before_it_ends(serve, start_vk, pipe):
    started, go = pipe("started"), pipe("go")
    with serve() as served:
        served.create("app")
        resting = served.resting_connection()
        with waiting_invocation(start_vk, served, started, go) as invocation:
            started.wait()
            served.running.process.send_signal(signal.SIGINT)
            assert resting.sock.recv(1) == b"", "it does not end"
            assert served.running.process.poll() is None
            go.release()
            invocation.read_until(b"started")
            assert invocation.wait() == (0, "")
        assert served.running.wait()[0] == 0


def test_what_does_not_finish_is_ended_after_the_drain_timeout(serve, start_vk, pipe, vanishing):
    started, go = pipe("started"), pipe("go")
    with serve("--drain-timeout", "0.05") as served:
        served.create("app")
        with waiting_invocation(start_vk, served, started, go) as invocation:
            started.wait()
            with vanishing(served.running.process.pid):
                assert served.running.end()[0] == 0
            assert invocation.wait()[0] in (1, 4)


def test_the_second_signal_ends_it_at_once(serve, start_vk, pipe, vanishing, tmp_path):
    started, go = pipe("started"), pipe("go")
    with serve("--ready-file", "ready") as served:
        served.create("app")
        resting = served.resting_connection()
        with waiting_invocation(start_vk, served, started, go) as invocation:
            started.wait()
            with vanishing(served.running.process.pid):
                served.running.process.send_signal(signal.SIGINT)
                assert resting.sock.recv(1) == b""
                assert served.running.end(signal.SIGINT)[0] == 130
            status, err = invocation.wait()
            assert status == 4
            assert "closed the connection" in err
    assert not (tmp_path / "ready").exists()


def test_a_port_in_use_is_named(vk):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = vk("serve", "--port", str(port))
    assert (done.status, done.out) == (1, b"")
    # The next port, for function URLs, may be taken as well: then a warning comes first.
    assert re.search(rf"^vk: port {port} of 127\.0\.0\.1 is in use .*--port 0.*\n\Z", done.err, re.MULTILINE)


def test_a_data_directory_in_use_names_its_holder(serve, tmp_path):
    with serve("--data-dir", "data") as served:
        done = served.vk("serve", "--port", "0", "--data-dir", "data")
        assert (done.status, done.out) == (1, b"")
        assert str(tmp_path / "data") in done.err
        assert f"pid {served.running.process.pid}" in done.err
        assert done.err.count("\n") == 1
        assert served.vk("functions").status == 0


def test_a_data_directory_that_is_a_file_is_named(vk, tmp_path):
    (tmp_path / "data").write_text("")
    done = vk("serve", "--port", "0", "--data-dir", "data")
    assert done.status == 1
    assert re.fullmatch(r"vk: the service cannot start \(data directory data\): .+\n", done.err)


def test_a_store_of_a_newer_release_is_refused(vk, serve, tmp_path):
    import sqlite3

    with serve("--data-dir", "data") as served:
        assert served.running.end()[0] == 0
    with sqlite3.connect(tmp_path / "data" / "venturekit.sqlite3") as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute(f"PRAGMA user_version = {version + 1000}")
    done = vk("serve", "--port", "0", "--data-dir", "data")
    assert (done.status, done.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "x"], "--port 'x': must be a whole number"),
        (["--port", "65536"], "--port '65536': must be 0 to 65535"),
        (["--idle-timeout", "soon"], "--idle-timeout 'soon': must be a number of seconds"),
        (["--async-retry-delays", "1,soon"], "'1,soon': must be one or two numbers of seconds with a comma"),
        (["--async-retry-delays", "1,2,3"], "'1,2,3': must be one or two numbers of seconds with a comma"),
        (["--async-queue-limit", "0"], "--async-queue-limit '0': must be 1 or more"),
        (["--event-history-hours", "-1"], "--event-history-hours '-1': must be a number of hours, 0 or more"),
        (["--python-runtime", "jython"], "--python-runtime 'jython': must be one of ric, awslambdaric"),
        (["--access-key-id", "AKID"], "give both or neither"),
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--require-isolation", "namespace"], "--require-isolation namespace"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
        (["--port"], "argument --port: expected one argument"),
        (["extra"], "unrecognized arguments: extra"),
        (["--por", "0"], "unrecognized arguments: --por 0"),
    ],
)
def test_wrong_settings_are_wrong_usage(vk, arguments, says):
    done = vk("serve", *arguments)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("vk: ")
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_wrong_variable_is_named(vk):
    done = vk("serve", env={"VENTUREKIT_CONCURRENCY": "0"})
    assert (done.status, done.err) == (2, "vk: VENTUREKIT_CONCURRENCY '0': must be 1 or more\n")


def test_a_secret_is_not_shown(vk):
    done = vk("serve", "--secret-access-key", "hidden")
    assert done.status == 2
    assert "hidden" not in done.err


def test_it_may_open_as_many_files_as_the_system_allows(serve, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fewer = min(hard - 1, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fewer, hard))
    try:
        with serve() as served:
            assert resource.prlimit(served.running.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
            source = tmp_path / "files.py"
            source.write_text(
                "import resource\ndef handler(*_): return resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n"
            )
            assert served.vk("functions", "create", "app", str(source)).status == 0
            assert served.vk("invoke", "app").out.strip() == b"1024"  # functions may open as many as on AWS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("warning", 0)])
def test_the_log_level_decides_what_is_logged(serve, level, lines):
    with serve("--log-level", level) as served:
        status, err = served.running.end()
    assert (status, err.count("\n")) == (0, lines)


@pytest.mark.parametrize("arguments", [["serve", "--help"], ["--version"]])
def test_what_is_quick_does_not_import_what_it_does_not_need(tmp_path, arguments):
    heavy = {"typer", "rich", "boto3", "botocore", "http.client", "venturekit.cli.commands"}
    if arguments == ["--version"]:
        heavy |= {"asyncio", "argparse", "venturekit.service"}
    assert heavy.isdisjoint(imported(tmp_path, arguments))


def test_a_service_gets_ready_without_typer_and_botocore(serve, tmp_path):
    with serve("--ready-file", "ready", env={"PYTHONPROFILEIMPORTTIME": "1"}) as served:
        err = served.running.end()[1]
    names = {line.rpartition("|")[2].strip() for line in err.splitlines() if line.startswith("import time:")}
    assert "venturekit.service.app" in names
    assert {"typer", "rich", "boto3", "botocore", "http.client"}.isdisjoint(names)


def imported(folder: Path, arguments: list[str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "venturekit", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "VENTUREKIT_PORT": "0"},
    )
    assert done.returncode == 0
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_help_lists_every_setting_with_its_variable(vk):
    from venturekit.service.config import SETTINGS

    done = vk("serve", "--help", env={"COLUMNS": "300"})
    assert done.status == 0
    for setting in SETTINGS:
        assert f"{setting.flag} " in done.out.decode()
        assert f"[{setting.variable}" in done.out.decode()


def test_a_reader_that_goes_away_does_not_end_it(tmp_path):
    # `vk serve | true`: nobody reads what it says.
    from_service, to_reader = os.pipe()
    os.close(from_service)
    command = [sys.executable, "-m", "venturekit", "serve", "--port", "0", "--ready-file", str(tmp_path / "ready")]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=to_reader, stderr=subprocess.PIPE)
    os.close(to_reader)
    try:
        url = wait_for(tmp_path / "ready", process)
        host, _, port = url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/_venturekit/health")
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.wait(30)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> str:
    """The content of a ready file: the one place without an output to wait for."""
    for _ in range(3000):
        if path.exists():
            return path.read_text().strip()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
    raise AssertionError("the service did not get ready")
