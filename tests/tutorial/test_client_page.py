"""docs/client.md: its examples in their order, its services under a real server, and its tables against the code."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from tests.service.harness import PYTHON, ROLE, until, zip_of
from tests.tutorial.test_tutorial import blocks
from venturekit import client
from venturekit.client import errors
from venturekit.client.operations import OPERATIONS
from venturekit.client.waiters import WAITERS
from venturekit.testing import LocalService

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "client.md").read_text()
BLOCKS = blocks("client.md")
FILES = {block.word: block.text for block in BLOCKS if block.language == "python" and block.word}
SLOW_ACCOUNT = "111122223333"
"""Here the functions of the page have other code, which the moment of a test can be found by."""
SLOW_SUM = """
import pathlib, time

def handler(event, context):
    pathlib.Path(event["file"]).touch()
    time.sleep(0.3)
    return 3
"""
SLOW_STORY = """
import time

def handler(event, context):
    yield "once"
    time.sleep(1.5)
    yield "more"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """What the page has its reader start, with the functions that it has him make."""
    folder = tmp_path_factory.mktemp("page")
    with LocalService(folder / "service") as running:
        for name in ("add_numbers.py", "story.py"):
            (folder / name).write_text(FILES[name])
        environ = {"AWS_ENDPOINT_URL_LAMBDA": running.url, "HOME": str(folder), "PATH": "/usr/bin:/bin"}
        (commands,) = (block.text for block in BLOCKS if block.text.startswith("vk functions create"))
        for line in commands.splitlines():
            command = [sys.executable, "-m", "venturekit", *shlex.split(line)[1:]]
            subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True, timeout=60)
        yield running


@pytest.fixture
def leads_there(service: LocalService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalService:
    """The variables as the page sets them."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", service.url)
    return service


@pytest.fixture
def slow(leads_there: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables lead to functions that take their time."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SLOW_ACCOUNT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with client.LambdaClient() as ours:
        present = {each.FunctionName for each in ours.paginate("ListFunctions").items()}
        for name, source in {"add-numbers": SLOW_SUM, "story": SLOW_STORY}.items():
            code = {"ZipFile": zip_of({"app.py": source})}
            members = {"Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, "Timeout": 5}
            if name not in present:
                ours.call("CreateFunction", FunctionName=name, Code=code, **members)
            ours.wait_until("function_active_v2", FunctionName=name, delay_seconds=0.01)


def test_the_examples(leads_there: LocalService, capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    for number, (block, following) in enumerate(zip(BLOCKS, [*BLOCKS[1:], None], strict=True)):
        if block.language != "python" or block.word:
            continue
        exec(compile(block.text, f"client.md, block {number}", "exec"), {"__name__": "__main__"})
        assert following is not None
        assert following.language == "output", f"block {number} says nothing"
        assert capsys.readouterr().out == following.text, block.text
        count += 1
    assert count == sum(block.language == "output" for block in BLOCKS)
    assert count >= 10


@pytest.mark.full
def test_the_examples_are_typed(tmp_path: Path) -> None:
    for number, block in enumerate(BLOCKS):
        # Functions and tests have no types of their own.
        if block.language == "python" and block.word not in ("add_numbers.py", "story.py", "test_prices.py"):
            (tmp_path / (block.word or f"block{number}.py")).write_text(block.text)
    names = [*sorted(path.name for path in tmp_path.glob("*.py")), str(ROOT / "examples/load_test/load_test.py")]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout


def test_the_load_test(leads_there: LocalService) -> None:
    (line,) = (block.text for block in BLOCKS if block.word == "load")
    words = shlex.split(line.replace("--duration 30", "--duration 0.2"))
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "60 answers" in done.stdout
    assert "errors: 0.00 %" in done.stdout


def test_the_test(vk_service: LocalService) -> None:
    names: dict[str, Any] = {}
    exec(FILES["test_prices.py"], names)
    names["test_the_price_of_two"](vk_service)


@contextmanager
def served(app: Any) -> Iterator[int]:
    """An application under uvicorn, in a thread; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "uvicorn has started")
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


@contextmanager
def posted(port: int, path: str, body: object) -> Iterator[http.client.HTTPResponse]:
    """The response to a POST of JSON."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", path, json.dumps(body))
        yield connection.getresponse()


def made(name: str) -> dict[str, Any]:
    """What a file of the page has defined."""
    names: dict[str, Any] = {}
    exec(compile(FILES[name], name, "exec"), names)
    return names


def test_a_service_with_an_event_loop(leads_there: LocalService) -> None:
    with served(made("shop.py")["app"]) as port:
        with posted(port, "/total", {"x": 1, "y": 2}) as response:
            assert (response.status, json.load(response)) == (200, {"total": 3})
        with posted(port, "/total", {"x": 1}) as response:
            assert (response.status, json.load(response)) == (502, {"error": "Unhandled: KeyError: 'y'"})


def test_a_service_whose_functions_cannot_be_reached(leads_there: LocalService, monkeypatch: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{port}")
    with served(made("shop.py")["app"]) as port, posted(port, "/total", {}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")


def test_a_relayed_stream(leads_there: LocalService) -> None:
    with served(made("relay.py")["app"]) as port:
        with posted(port, "/story", {"pieces": 3}) as response:
            assert response.headers["Content-Type"].startswith("text/plain")
            assert response.read() == b"piece 0\npiece 1\npiece 2\n"
        with posted(port, "/story", {"pieces": 1, "fail": True}) as response:
            assert response.status == 200
            with pytest.raises(http.client.IncompleteRead):
                response.read()
        with posted(port, "/story", {}) as response:
            assert (response.status, json.load(response)) == (502, {"error": "Unhandled: KeyError: 'pieces'"})


def test_a_browser_that_goes_away_ends_the_relay(slow: None) -> None:
    names = made("relay.py")
    limited = client.ClientConfig(max_connections=1, pool_timeout=1)
    names["AsyncLambdaClient"] = lambda **options: client.AsyncLambdaClient(limited, **options)
    with served(names["app"]) as port:
        for _ in range(2):
            # The second one finds the only connection free: the first story goes on for longer than it would wait.
            with posted(port, "/story", {}) as response:
                assert response.read1(100) == b"once"


def test_a_service_with_threads_ends_gracefully(slow: None, tmp_path: Path) -> None:
    source = FILES["tills.py"].replace("8080", "0")
    ready = "    print(server.server_port, flush=True)\n    server.serve_forever()\n"
    (tmp_path / "tills.py").write_text(source.replace("    server.serve_forever()\n", ready))
    process = subprocess.Popen([sys.executable, str(tmp_path / "tills.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        begun = tmp_path / "begun"
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("POST", "/", json.dumps({"file": str(begun)}))
            until(begun.exists, "the function runs")
            process.send_signal(signal.SIGTERM)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"3")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def rows(titles: str) -> list[list[str]]:
    """The cells of a table, by what its first line begins with."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith(titles))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def words(cell: str) -> list[str]:
    """What stands in code in a cell."""
    return re.findall(r"`(\w+)`", cell)


def test_every_option_is_in_the_table() -> None:
    named = " ".join(row[0] for row in rows("| Option | Environment"))
    listed = re.findall(r"`(\w+)(?:=[^`]*)?`", named)
    assert sorted(listed) == sorted(client.ClientOptions.__annotations__)


def test_every_command_is_in_the_table_with_its_members() -> None:
    found: dict[str, tuple[list[str], set[str]]] = {}
    for names, given, _ in rows("| Command | Input"):
        required = set(re.findall(r"\*\*`(\w+)`\*\*", given))
        found |= {name: (words(given), required) for name in words(names)}
    expected = {kind.__name__: (list(kind.members), set(kind.required)) for kind in OPERATIONS.values()}
    assert {name: (sorted(members), required) for name, (members, required) in found.items()} == {
        name: (sorted(members), required) for name, (members, required) in expected.items()
    }


def test_outputs_have_the_members_of_the_table() -> None:
    for *_, cell in rows("| Command | Input"):
        name, *members = words(cell)
        kind = getattr(client, name)
        # What has been listed is not listed again.
        assert set(members) in ({*kind.members}, set()), name


def test_every_kind_of_error_is_in_the_table() -> None:
    named = {name for row in rows("| Error | What") for name in words(row[0])}
    # The others are in service_errors.py, one for each code.
    kinds = {name for name in client.__all__ if getattr(client, name).__module__ == errors.__name__}
    assert named == kinds - {"LambdaClientError"}


def test_names_in_the_page_exist() -> None:
    named = set(re.findall(r"`([A-Z]\w+(?:Error|Exception|Command|Client|Config|Stream))`", PAGE))
    theirs = {"ReadTimeoutError", "KeyError", "ValueError", "TimeoutError"}
    members = {"EventStream", "FunctionError", "TagsError"}
    assert [name for name in sorted(named - theirs - members) if not hasattr(client, name)] == []
    for name in WAITERS:
        assert name.removesuffix("_v2") in PAGE
