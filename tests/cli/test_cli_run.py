"""``vk run``: on a private service or on a running one; nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading

import pytest


@pytest.fixture
def folder(tmp_path):
    """Where temporary directories are made: empty again at the end."""
    path = tmp_path / "temporary"
    path.mkdir()
    yield path
    assert list(path.iterdir()) == []


@pytest.fixture
def run(vk, folder, tmp_path):
    """``vk run`` of a file with this text."""

    def run_source(text, *arguments, name="hello.py", handler="", env=None, stdin=None):
        (tmp_path / name).write_text(text)
        return vk("run", name + handler, *arguments, env={"TMPDIR": str(folder), **(env or {})}, stdin=stdin)

    return run_source


ECHO = "def handler(event, context): return event"


def test_one_file_one_line(run):
    done = run(
        'def handler(event, context):\n  print("hi")\n  return {"hello": event["name"]}', "-p", '{"name": "world"}'
    )
    assert (done.status, done.out) == (0, b'{"hello": "world"}')
    assert re.fullmatch(r"INIT_START .*\nSTART RequestId: .*\nhi\nEND RequestId: .*\nREPORT RequestId: .*\n", done.err)


def test_a_run_for_a_tenant(run):
    assert run("def handler(event, context): return context.tenant_id", "--tenant-id", "blue").json == "blue"


@pytest.mark.parametrize(
    ("text", "handler", "answer"),
    [
        ("def handler(e, c): return 1", "", 1),
        ("def lambda_handler(e, c): return 2", "", 2),
        ("def lambda_handler(e, c): return 1\ndef handler(e, c): return 2", "", 2),
        ("async def handler(e, c): return 3", "", 3),
        ("handler = lambda e, c: 4", "", 4),
        ("def greet(e, c): return 5", ":greet", 5),
        ("def greet(e, c): return 6", ":hello.greet", 6),
    ],
)
def test_the_handler_is_found_or_named(run, text, handler, answer):
    assert run(text, handler=handler).json == answer


@pytest.mark.parametrize(
    ("text", "arguments", "kind", "says"),
    [
        ("def handler(e, c): raise LookupError('gone')", [], "LookupError", "gone"),
        ("import sys\ndef handler(e, c): sys.exit(3)", [], "Runtime.ExitError", "exit status 3"),
        (
            "def handler(e, c):\n  while True: pass",
            ["--timeout", "1"],
            "Sandbox.Timedout",
            "timed out after 1.00 seconds",
        ),
        ("def handler(e, c: return 1", [], "Runtime.UserCodeSyntaxError", "Syntax error in module 'hello'"),
        ("import nothing_of_that_name", [], "Runtime.ImportModuleError", "No module named 'nothing_of_that_name'"),
        ("def other(e, c): return 1", [], "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'hello'"),
        ("raise RuntimeError('at import')", [], "RuntimeError", "at import"),
    ],
)
def test_an_error_of_the_function_is_printed_and_fails(run, text, arguments, kind, says):
    done = run(text, *arguments)
    assert done.status == 1
    assert done.json["errorType"] == kind
    assert says in done.json["errorMessage"]
    assert done.err.splitlines()[-1].startswith(f"vk: the function failed (Unhandled): {kind}: ")


def test_an_event_of_any_kind_passes(run):
    event = {"wörter": ["日本", "🎉", "\0", "\ud83d"]}
    done = run(ECHO, "--payload", "-", stdin=json.dumps(event).encode())
    assert done.json == event
    assert run(ECHO, "--payload", '{"ü": "ß"}').json == {"ü": "ß"}


def test_six_megabytes_pass(run):
    event = b'{"a": "' + b"x" * (6 * 1024 * 1024 - 9) + b'"}'
    done = run(ECHO, "-p", "-", stdin=event)
    assert (done.status, done.out == event) == (0, True)


def test_variables_and_settings_reach_the_function(run):
    text = (
        "import os\ndef handler(e, c): return [os.environ.get(n) for n in ('WORD', 'AWS_REGION', 'AWS_ACCESS_KEY_ID')]"
    )
    done = run(
        text, "-e", "WORD=a=b", env={"VENTUREKIT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "mine", "AWS_REGION": "x"}
    )
    word, region, key = done.json
    assert (word, region) == ("a=b", "eu-west-1")
    assert key != "mine"


def test_settings_of_another_service_do_not_matter(run):
    env = {
        "VENTUREKIT_ACCESS_KEY_ID": "AKID",
        "VENTUREKIT_SECRET_ACCESS_KEY": "secret",
        "VENTUREKIT_PORT": "0",
        "VENTUREKIT_HOST": "0.0.0.0",
        "VENTUREKIT_TLS_KEY": "missing.pem",
    }
    assert run(ECHO, "-p", "1", env=env).out == b"1"


def test_a_wrong_setting_is_wrong_usage(run):
    done = run(ECHO, env={"VENTUREKIT_PYTHON_START": "magic"})
    assert (done.status, done.err) == (2, "vk: VENTUREKIT_PYTHON_START 'magic': must be one of fork, spawn\n")


def test_a_bootstrap_runs(vk, tmp_path, folder):
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(
        f"#!{sys.executable}\nimport os, urllib.request as u\n"
        "base = f\"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/\"\n"
        "event = u.urlopen(base + 'next')\nid = event.headers['Lambda-Runtime-Aws-Request-Id']\n"
        "u.urlopen(u.Request(base + id + '/response', b'SUCCESS', method='POST'))\nu.urlopen(base + 'next')\n"
    )
    bootstrap.chmod(0o755)
    done = vk("run", "bootstrap", env={"TMPDIR": str(folder)})
    assert (done.status, done.out) == (0, b"SUCCESS")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.py"], "there is no file or directory missing.py"),
        (["missing.py:handler"], "there is no file or directory missing.py"),
        ([], "Missing argument"),
        (["/dev/null"], "neither a file nor a directory"),
        (["text.txt"], "text.txt:HANDLER is needed"),
    ],
)
def test_wrong_usage_starts_nothing(vk, tmp_path, folder, arguments, says):
    (tmp_path / "text.txt").write_text("")
    done = vk("run", *arguments, env={"TMPDIR": str(folder)})
    assert (done.status, done.out) == (2, b"")
    assert says in done.err


def test_a_kept_function_can_be_served(vk, tmp_path, start_vk):
    (tmp_path / "hello.py").write_text(ECHO)
    done = vk("run", "hello.py", "--keep", env={"TMPDIR": str(tmp_path)})
    name, directory = re.search(r"vk: the function (\S+) is kept: vk serve --data-dir (\S+)\n", done.err).groups()
    with start_vk("serve", "--port", "0", "--data-dir", directory) as service:
        url = service.read_until(b"\n").decode().splitlines()[0].split()[-1]
        done = vk("invoke", name, "-p", "7", "--endpoint-url", url)
        assert (done.status, done.out) == (0, b"7"), done.err
        assert service.end()[0] == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing(start_vk, tmp_path, folder, vanishing, number, status):
    (tmp_path / "slow.py").write_text("import time\ndef handler(e, c):\n  print('now', flush=True)\n  time.sleep(50)")
    with start_vk("run", "slow.py", env={"TMPDIR": str(folder)}) as running:
        running.read_until(b"\nnow\n", error=True)
        with vanishing(running.process.pid):
            assert running.end(number) == (status, "")


# --- on a running service -------------------------------------------------------------------------------------------


def names(service):
    return sorted(item["FunctionName"] for item in service.vk("functions", "--json").json)


def test_a_configured_service_is_used_and_left_as_it_was(service, tmp_path):
    (tmp_path / "hello.py").write_text("def handler(e, c):\n  print('there')\n  return c.function_name")
    before = names(service)
    done = service.vk("run", str(tmp_path / "hello.py"), env={"TMPDIR": "/nonexistent"})
    assert done.status == 0, done.err
    assert re.fullmatch(r"hello-[0-9a-f]{8}", done.json)
    assert "\nthere\n" in done.err
    assert names(service) == before


@pytest.mark.parametrize("text", ["def handler(e, c): raise ValueError", "def handler(e, c"])
def test_a_failing_function_is_removed_too(service, tmp_path, text):
    (tmp_path / "bad.py").write_text(text)
    before = names(service)
    assert service.vk("run", str(tmp_path / "bad.py")).status == 1
    assert names(service) == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_function_is_removed_too(service, start_vk, pipe, tmp_path, number, status):
    started, go = pipe("started"), pipe("go")
    (tmp_path / "slow.py").write_text(
        f"def handler(e, c):\n  open({str(started.path)!r}, 'w').write('started')\n  open({str(go.path)!r}).readline()"
    )
    before = names(service)
    with start_vk("run", "slow.py", env={"AWS_ENDPOINT_URL_LAMBDA": service.url}) as running:
        started.wait()
        assert running.end(number)[0] == status
    assert names(service) == before
    go.release()


def test_a_function_is_kept_on_request(service, tmp_path):
    (tmp_path / "hello.py").write_text(ECHO)
    done = service.vk("run", str(tmp_path / "hello.py"), "--keep")
    name = re.search(rf"vk: the function (\S+) is kept at {service.url}\n", done.err)[1]
    assert service.vk("invoke", name, "-p", "[1]").out == b"[1]"
    assert service.vk("functions", "delete", name).status == 0


def test_the_log_is_seen_while_the_function_runs(service, start_vk, pipe, tmp_path):
    go = pipe("go")
    (tmp_path / "slow.py").write_text(
        f"def handler(e, c):\n  print('working', flush=True)\n  open({str(go.path)!r}).readline()\n  print('done')"
    )
    with start_vk("run", "slow.py", env={"AWS_ENDPOINT_URL_LAMBDA": service.url}) as running:
        assert b"done" not in running.read_until(b"working\n", error=True)
        go.release()
        assert b"\ndone\nEND" in running.read_until(b"REPORT", error=True)
        assert running.wait()[0] == 0


def test_a_service_that_is_not_there_is_no_hindrance(run, free_port):
    done = run(ECHO, "-p", "1", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port}"})
    assert (done.status, done.out) == (0, b"1")
    assert done.err.startswith(f"vk: no service at http://127.0.0.1:{free_port}: ")
    assert "Using a private service." in done.err


def test_a_service_that_was_asked_for_must_be_there(run, free_port):
    done = run(ECHO, "--endpoint-url", f"http://127.0.0.1:{free_port}")
    assert (done.status, done.out) == (4, b"")


def test_what_is_no_service_of_ours_is_left_alone(run):
    """A Lambda of somebody else's behind AWS_ENDPOINT_URL gets no functions by surprise."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        done = run(ECHO, "-p", "1", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}"})
        thread.join(30)
    assert (done.status, done.out) == (0, b"1")
    assert [request.split(b" ")[:2] for request in seen] == [[b"GET", b"/_venturekit/health"]]
    assert "is not a VentureKit service" in done.err


def test_a_run_leaves_the_working_directory_alone(run, tmp_path):
    before = set(os.listdir(tmp_path))
    assert run(ECHO).status == 0
    assert set(os.listdir(tmp_path)) - before == {"hello.py"}
