"""``vk functions``, ``vk invoke`` and ``vk logs`` against a real service: what they print and how they exit."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import zipfile

import pytest

from venturekit.cli.functions import _show

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
MEGABYTES_6 = 6 * 1024 * 1024


# --- functions ------------------------------------------------------------------------------------------------------


def test_a_function_comes_changes_and_goes(service, tmp_path):
    source = tmp_path / "greet.py"
    source.write_text("def handler(event, context): return 'one'")
    done = service.vk(
        *("functions", "create", "greet", str(source), "--timeout", "7", "--memory", "256", "--json"),
        *("--env", "AA=1", "-e", "BB=x=y", "--description", "says hello"),
    )
    assert done.status == 0, done.err
    created = done.json
    assert created["FunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:greet"
    assert (created["Handler"], created["Runtime"], created["State"]) == ("greet.handler", RUNTIME, "Active")
    assert (created["Timeout"], created["MemorySize"], created["Description"]) == (7, 256, "says hello")
    assert created["Environment"] == {"Variables": {"AA": "1", "BB": "x=y"}}
    assert created["Role"] == "arn:aws:iam::000000000000:role/vk"
    assert service.vk("invoke", "greet").out == b'"one"'

    source.write_text("def handler(event, context): return 'two'")
    updated = service.vk("functions", "update", "greet", str(source), "--json").json
    assert updated["CodeSha256"] != created["CodeSha256"]
    assert service.vk("invoke", "greet").out == b'"two"'

    got = service.vk("functions", "get", "greet", "--json").json
    assert got["Configuration"]["RevisionId"] == updated["RevisionId"]
    assert got["Code"]["Location"].startswith(service.url)

    assert "greet" in [item["FunctionName"] for item in service.vk("functions", "--json").json]
    done = service.vk("functions", "delete", "greet")
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert "greet" not in [item["FunctionName"] for item in service.vk("functions", "--json").json]


def test_what_is_shown_of_a_function_names_its_layers_in_their_order(capsys):
    layers = [{"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:b:1"}, {"Arn": "arn:layer:a:7"}]
    _show({"FunctionName": "f", "Layers": layers, "Environment": {"Variables": {"A": "1"}}}, as_json=False)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows == [["name", "f"], ["variable", "A=1"], *(["layer", layer["Arn"]] for layer in layers)]


def test_lists_are_lines_with_tabs_where_nobody_looks(service):
    done = service.vk("functions")
    rows = [line.split("\t") for line in done.out.decode().splitlines()]
    assert [row[:5] for row in rows if row[0] == "app"] == [["app", RUNTIME, "app.handler", "128", "30"]]
    assert service.vk("functions", "list").out == done.out
    shown = dict(line.split("\t") for line in service.vk("functions", "get", "app").out.decode().splitlines())
    assert (shown["name"], shown["state"]) == ("app", "Active")


def test_a_list_of_several_pages_is_whole(serve, tmp_path):
    source = tmp_path / "app.py"
    source.write_text("def handler(event, context): pass")
    from venturekit.cli.api import FUNCTIONS, Api, Endpoint
    from venturekit.cli.code import load_code
    from venturekit.cli.functions import new_function

    archive = load_code(str(source)).archive
    with serve() as served:
        api = Api(Endpoint(served.url, "us-east-1", None))
        for number in range(60):
            api.json("POST", FUNCTIONS, new_function(f"f{number:02}", archive, "app.handler", RUNTIME, 3, {}))
        api.close()
        assert sorted(item["FunctionName"] for item in served.vk("functions", "--json").json) == [
            f"f{number:02}" for number in range(60)
        ]


def test_a_directory_becomes_a_function(service, tmp_path):
    code = tmp_path / "code"
    (code / "lib").mkdir(parents=True)
    (code / "main.py").write_text("from lib.words import WORD\ndef lambda_handler(event, context): return WORD")
    (code / "lib" / "words.py").write_text("WORD = 'from a package'")
    assert service.vk("functions", "create", "folder", str(code)).status == 0
    assert service.vk("invoke", "folder").out == b'"from a package"'


def test_a_zip_archive_becomes_a_function(service, tmp_path):
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("inside.py", "def go(event, context): return 1")
    done = service.vk("functions", "create", "zipped", str(archive))
    assert (done.status, "--handler is needed" in done.err) == (2, True)
    assert service.vk("functions", "create", "zipped", str(archive), "--handler", "inside.go").status == 0
    assert service.vk("invoke", "zipped").out == b"1"


def test_a_bootstrap_becomes_a_function(service, tmp_path):
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(
        f"#!{sys.executable}\n"
        "import os, urllib.request as u\n"
        "base = f\"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/\"\n"
        "while True:\n"
        "    event = u.urlopen(base + 'next')\n"
        "    id = event.headers['Lambda-Runtime-Aws-Request-Id']\n"
        "    u.urlopen(u.Request(base + id + '/response', event.read(), method='POST'))\n"
    )
    bootstrap.chmod(0o755)
    created = service.vk("functions", "create", "custom", str(bootstrap), "--json").json
    assert (created["Runtime"], created["Handler"]) == ("provided.al2023", "bootstrap")
    assert service.vk("invoke", "custom", "--payload", '{"a": 1}').out == b'{"a": 1}'


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["create", "x", "missing.py"], 2, "there is no file or directory missing.py"),
        (
            ["create", "app", "app.py"],
            1,
            "ResourceConflictException: Function already exist: app (vk functions update gives it other code)",
        ),
        (["create", "x", "app.py", "--runtime", "python2.7"], 1, "InvalidParameterValueException"),
        (["create", "x", "app.py", "--timeout", "901"], 2, "--timeout"),
        (["create", "x", "app.py", "--env", "A"], 2, "--env 'A': must be NAME=VALUE"),
        (["create", "x"], 2, "CODE"),
        (["update", "nobody", "app.py"], 3, "ResourceNotFoundException: Function not found"),
        (["get", "nobody"], 3, "ResourceNotFoundException: Function not found"),
        (["get", "app", "--qualifier", "7"], 3, "ResourceNotFoundException: Function not found"),
        (["delete", "nobody"], 3, "ResourceNotFoundException: Function not found"),
        (["--json", "get", "app"], 2, "give options after `get`"),
        (["rename", "app"], 2, "rename"),
    ],
)
def test_what_goes_wrong_with_functions(service, arguments, status, says):
    done = service.vk("functions", *arguments)
    assert (done.status, done.out) == (status, b"")
    assert says in done.err
    assert "Traceback" not in done.err


# --- invoke ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a": 1}', '{"wörter": ["日本", "🎉"]}', "[1, 2.50]", '"\\u00e9"', "null", "-1"])
def test_the_answer_is_printed_as_it_is(service, tmp_path, text):
    from_option = service.vk("invoke", "app", "--payload", text)
    from_stdin = service.vk("invoke", "app", "-p", "-", stdin=text.encode())
    (tmp_path / "event").write_text(text)
    from_file = service.vk("invoke", "app", "-p", f"@{tmp_path / 'event'}")
    assert json.loads(from_option.out) == json.loads(text)
    assert from_option.out == from_stdin.out == from_file.out
    assert (from_option.status, from_option.err) == (0, "")


def test_without_a_payload_the_event_is_an_empty_object(service):
    assert service.vk("invoke", "app").out == b"{}"


def test_six_megabytes_pass_and_a_byte_more_is_refused(service):
    event = b'{"a": "' + b"x" * (MEGABYTES_6 - 9) + b'"}'
    assert len(event) == MEGABYTES_6
    done = service.vk("invoke", "app", "--payload", "-", stdin=event)
    assert (done.status, done.err) == (0, "")
    assert done.out == event
    done = service.vk("invoke", "app", "--payload", "-", stdin=event + b" " * 1000)
    assert (done.status, done.out) == (1, b"")
    text = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    assert done.err == f"vk: RequestEntityTooLargeException: {text}\n"


def test_the_log_tail_goes_to_standard_error(service):
    done = service.vk("invoke", "app", "--payload", '{"say": "hello \\u00e9"}', "--log-type", "Tail")
    assert done.status == 0
    assert re.search(r"START RequestId: .*\nhello é\nEND RequestId: .*\nREPORT RequestId: ", done.err)


@pytest.mark.parametrize(
    "context", ['{"custom": {"k": "ü"}}', base64.b64encode('{"custom": {"k": "ü"}}'.encode()).decode()]
)
def test_the_client_context_is_json_or_base64(service, context):
    done = service.vk("invoke", "app", "--payload", '{"custom": 1}', "--client-context", context)
    assert done.json == {"k": "ü"}


def test_a_version_is_invoked_by_qualifier_or_name(service):
    from venturekit.cli.api import Api, Endpoint, function_path

    api = Api(Endpoint(service.url, "us-east-1", None))
    version = api.json("POST", function_path("app", "/versions"), {})["Version"]
    api.close()
    by_option = service.vk("invoke", "app", "-p", '{"version": 1}', "--qualifier", version)
    by_name = service.vk("invoke", f"app:{version}", "-p", '{"version": 1}')
    by_arn = service.vk(
        "invoke", f"arn:aws:lambda:us-east-1:000000000000:function:app:{version}", "-p", '{"version": 1}'
    )
    assert [by_option.json, by_name.json, by_arn.json] == [version] * 3
    assert service.vk("invoke", "app", "-p", '{"version": 1}').json == "$LATEST"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["app", "-p", '{"fail": "on purpose"}'], 1, "the function failed (Unhandled): ValueError: on purpose"),
        (["app", "-p", '{"exit": 3}'], 1, "the function failed (Unhandled): Runtime.ExitError"),
        (["app", "-p", "not json"], 1, "InvalidRequestContentException: Could not parse request body into json"),
        (["nobody"], 3, "ResourceNotFoundException: Function not found"),
        (["app", "--qualifier", "99"], 3, "ResourceNotFoundException: Function not found"),
        (["a b"], 1, "ValidationException"),
        (["app", "-p", "@missing"], 2, "--payload @missing: No such file or directory"),
        (["app", "--log-type", "All"], 2, "--log-type 'All': must be None or Tail"),
        (["app", "--client-context", "é"], 2, "--client-context must be a JSON object"),
        (["app", "--client-context", "!!"], 1, "InvalidRequestContentException"),
        (["app", "--tenant-id", "blue"], 1, "InvalidParameterValueException"),
        (["app", "--tenant-id", "blue\n"], 2, "--tenant-id must be 1 to 256 letters"),
        (["app", "more"], 2, "more"),
    ],
)
def test_what_goes_wrong_with_invoke(service, arguments, status, says):
    done = service.vk("invoke", *arguments)
    assert done.status == status, done.err
    assert says in done.err
    assert "Traceback" not in done.err


def test_an_invocation_is_for_a_tenant(service, tmp_path):
    source = tmp_path / "tenants.py"
    source.write_text("def handler(event, context): return context.tenant_id")
    created = service.vk("functions", "create", "tenants", str(source), "--tenant-isolation")
    assert (created.status, b"tenant isolation\tPER_TENANT\n" in created.out) == (0, True)
    assert service.vk("invoke", "tenants", "--tenant-id", "blue ray").json == "blue ray"
    nobody = service.vk("invoke", "tenants")
    assert (nobody.status, "InvalidParameterValueException" in nobody.err) == (1, True)


def test_the_payload_of_an_error_is_printed(service):
    found = service.vk("invoke", "app", "-p", '{"fail": "x"}').json
    assert (found["errorType"], found["errorMessage"]) == ("ValueError", "x")


def test_ctrl_c_ends_a_client(service, start_vk, pipe):
    started, go = pipe("started"), pipe("go")
    event = json.dumps({"started": str(started.path), "wait": str(go.path)})
    with start_vk("invoke", "app", "-p", event, env={"AWS_ENDPOINT_URL_LAMBDA": service.url}) as invocation:
        started.wait()
        assert invocation.end(signal.SIGINT) == (130, "")
    go.release()


# --- logs -----------------------------------------------------------------------------------------------------------


def test_the_log_is_printed(service):
    service.vk("invoke", "app", "-p", '{"say": "to the log"}')
    text = service.vk("logs", "app").out.decode()
    assert re.search(r"START RequestId: .*\nto the log\nEND RequestId: .*\nREPORT RequestId: ", text)
    assert service.vk("logs", "app:$LATEST").out.decode().startswith(text)


def test_the_log_as_json_is_one_record_per_line(service):
    service.vk("invoke", "app", "-p", '{"say": "wörter"}')
    records = [json.loads(line) for line in service.vk("logs", "app", "--json").out.splitlines()]
    assert {frozenset(record) for record in records} == {
        frozenset({"sequence", "timestamp", "logStreamName", "message"})
    }
    assert [record["sequence"] for record in records] == sorted(record["sequence"] for record in records)
    assert any("wörter" in record["message"] for record in records)


def test_a_log_of_more_than_one_page_is_whole(service, tmp_path):
    source = tmp_path / "many.py"
    source.write_text("import sys\ndef handler(event, context):\n  for n in range(2500): print(n); sys.stdout.flush()")
    service.vk("functions", "create", "many", str(source), "--timeout", "30")
    assert service.vk("invoke", "many").status == 0
    lines = service.vk("logs", "many").out.decode().splitlines()
    assert [line for line in lines if line.isdigit()] == [str(number) for number in range(2500)]


def test_the_log_of_a_function_that_has_not_run_is_empty(service, tmp_path):
    source = tmp_path / "silent.py"
    source.write_text("def handler(event, context): pass")
    service.vk("functions", "create", "silent", str(source))
    done = service.vk("logs", "silent")
    assert (done.status, done.out, done.err) == (0, b"", "")


def test_there_is_no_log_of_nobody(service):
    done = service.vk("logs", "nobody")
    assert (done.status, done.out, done.err) == (3, b"", "vk: there is no function nobody\n")


@pytest.mark.parametrize("option", ["--tail", "-f", "--follow"])
def test_the_log_is_followed_until_ctrl_c(service, start_vk, option):
    with start_vk("logs", "app", option, env={"AWS_ENDPOINT_URL_LAMBDA": service.url}) as following:
        for word in ("first" + option, "second" + option):
            service.vk("invoke", "app", "-p", json.dumps({"say": word}))
            following.read_until(word.encode() + b"\n")
        assert following.end(signal.SIGINT) == (130, "")


def test_following_ends_when_the_service_does(serve, start_vk):
    with serve() as served:
        served.create("app")
        served.vk("invoke", "app", "-p", '{"say": "seen"}')
        with start_vk("logs", "app", "-f", env={"AWS_ENDPOINT_URL_LAMBDA": served.url}) as following:
            following.read_until(b"REPORT")
            served.running.end()
            status, err = following.wait()
    assert status == 4
    assert err.startswith("vk: ")


def test_a_reader_that_has_seen_enough_ends_it_quietly(service):
    service.vk("invoke", "app", "-p", '{"say": "line"}')
    command = f"{sys.executable} -m venturekit logs app | head -1"
    environment = {**os.environ, "AWS_ENDPOINT_URL_LAMBDA": service.url}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


# --- a terminal -----------------------------------------------------------------------------------------------------


def on_terminal(service, *arguments, **extra):
    """The output of a command that writes to a terminal."""
    master, slave = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    environment |= {"AWS_ENDPOINT_URL_LAMBDA": service.url, "TERM": "xterm-256color", **extra}
    process = subprocess.Popen(
        [sys.executable, "-m", "venturekit", *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    output = b""
    try:
        while select.select([master], [], [], 30)[0]:
            try:
                output += os.read(master, 65536)
            except OSError:
                break
        assert process.wait(30) == 0
    finally:
        process.kill()
        os.close(master)
    return output.decode().replace("\r\n", "\n")


def test_a_person_gets_tables_and_colour(service):
    assert "NAME" in on_terminal(service, "functions")
    text = on_terminal(service, "invoke", "app", "-p", '{"a": {"b": 1}}')
    assert "\x1b[" in text
    assert re.sub(r"\x1b\[[0-9;]*m| +(?=\n)", "", text) == '{\n  "a": {\n    "b": 1\n  }\n}\n'


def test_json_on_a_terminal_can_be_copied(service):
    event = {"long": "two words " * 40}
    text = on_terminal(service, "invoke", "app", "-p", json.dumps(event))
    assert json.loads(re.sub(r"\x1b\[[0-9;]*m", "", text)) == event


def test_a_table_without_titles_has_no_line_for_them(service):
    first = on_terminal(service, "functions", "get", "app").splitlines()[0]
    assert re.sub(r"\x1b\[[0-9;]*m", "", first).split() == ["name", "app"]


@pytest.mark.parametrize("extra", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("arguments", [["functions"], ["invoke", "app", "-p", '{"a": [1]}'], ["functions", "--json"]])
def test_there_is_no_colour_where_it_is_not_wanted(service, extra, arguments):
    text = on_terminal(service, *arguments, **extra)
    assert re.findall(r"\x1b\[[0-9;]*3[0-9][0-9;]*m|\x1b\[[0-9;]*9[0-7]m", text) == []
    assert "app" in text or '"a"' in text


@pytest.mark.parametrize("arguments", [["functions"], ["functions", "--json"], ["doctor"], ["--help"]])
def test_there_are_no_control_characters_without_a_terminal(service, arguments):
    done = service.vk(*arguments, env={"FORCE_COLOR": "", "TERM": "xterm-256color"})
    assert done.status == 0
    assert b"\x1b" not in done.out
