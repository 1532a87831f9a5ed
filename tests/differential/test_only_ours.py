"""What only our runtime interface client has: coroutines, one write per invocation, quiet ends, the fork server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.parking_api import asleep
from tests.differential.ric_peer import ACCEPTED, EVENT, NEXT, Peer, is_next
from tests.differential.scripted_api import SOURCE_ROOT, Event, Observation, observe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(directory: Path, source: str, events: list[Event], **environ: str) -> Observation:
    (directory / "fn.py").write_text(textwrap.dedent(source))
    return observe("venturekit.ric", directory, "fn.handler", events, environ, False, sys.executable)


def bodies(observation: Observation) -> list[Any]:
    return [json.loads(answer["body"]) for answer in observation.answers]


def test_one_loop_serves_every_invocation(tmp_path: Path) -> None:
    source = """
        import asyncio
        seen = []
        async def handler(event, context):
            await asyncio.sleep(0)
            seen.append(asyncio.get_running_loop())
            return [event, len(seen), all(loop is seen[0] for loop in seen)]
        """
    observation = run(tmp_path, source, [Event(b"1"), Event(b"2"), Event(b"3")])
    assert bodies(observation) == [[1, 1, True], [2, 2, True], [3, 3, True]]
    assert observation.status == "waiting"


def test_a_background_task_goes_on_in_the_next_invocation(tmp_path: Path) -> None:
    source = """
        import asyncio
        started = None
        async def handler(event, context):
            global started
            if started is None:
                started = asyncio.ensure_future(asyncio.sleep(0, "done"))
                return "started"
            return await started
        """
    assert bodies(run(tmp_path, source, [Event(), Event()])) == ["started", "done"]


def test_a_context_variable_does_not_outlive_its_invocation(tmp_path: Path) -> None:
    source = """
        import contextvars
        variable = contextvars.ContextVar("variable", default=0)
        async def handler(event, context):
            before = variable.get()
            variable.set(before + 1)
            return before
        """
    assert bodies(run(tmp_path, source, [Event(), Event()])) == [0, 0]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("async def coroutine(e, c): return 'plain'\nhandler = lambda e, c: coroutine(e, c)", "plain"),
        ("import functools\nasync def f(x, e, c): return x\nhandler = functools.partial(f, 'partial')", "partial"),
        ("class H:\n    async def __call__(self, e, c): return 'instance'\nhandler = H()", "instance"),
        ("class H:\n    async def m(self, e, c): return 'method'\nhandler = H().m", "method"),
        (
            "class H:\n    __call__ = None\n    async def acall(self, e, c): return 'acall'\nhandler = H()",
            "acall",
        ),
    ],
)
def test_coroutines_in_every_form(definition: str, expected: str, tmp_path: Path) -> None:
    assert bodies(run(tmp_path, definition + "\n", [Event()])) == [expected]


def test_the_trace_of_a_coroutine_starts_in_the_function(tmp_path: Path) -> None:
    source = """
        import asyncio
        async def inner():
            raise ValueError("inside")
        async def handler(event, context):
            await asyncio.gather(inner())
        """
    observation = run(tmp_path, source, [Event()])
    (error,) = bodies(observation)
    assert [error["errorType"], error["errorMessage"]] == ["ValueError", "inside"]
    assert len(error["stackTrace"]) == 2
    assert all("fn.py" in frame for frame in error["stackTrace"])


def test_a_cancellation_fails_the_invocation_only(tmp_path: Path) -> None:
    source = """
        import asyncio
        async def handler(event, context):
            if event:
                raise asyncio.CancelledError("enough")
            return "alive"
        """
    observation = run(tmp_path, source, [Event(b"1"), Event(b"0")])
    error, result = bodies(observation)
    assert (error["errorType"], error["errorMessage"], result) == ("HandlerCancelledError", "enough", "alive")


def test_a_plain_handler_may_run_a_loop_of_its_own_and_pays_for_none(tmp_path: Path) -> None:
    source = """
        import sys
        async def work():
            return "worked"
        def handler(event, context):
            before = "asyncio" in sys.modules
            import asyncio
            return [before, asyncio.run(work())]
        """
    assert bodies(run(tmp_path, source, [Event(), Event()])) == [[False, "worked"], [True, "worked"]]


# --- on the wire -----------------------------------------------------------------------------------------------------


ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(tmp_path, ECHO)
    yield made
    made.close()


def test_an_answer_and_the_next_request_are_one_write(peer: Peer) -> None:
    assert is_next(peer.receive())
    for text in (b'"a"', b'"b"'):
        peer.connection.sendall(NEXT + text)
        received = peer.receive()
        post, body, following = received.partition(text)
        assert post.startswith(b"POST /2018-06-01/runtime/invocation/1-2/response HTTP/1.1\r\n")
        assert b"\r\nContent-Length: 3\r\n" in post
        assert body == text
        assert is_next(following)
        peer.connection.sendall(ACCEPTED)


def test_an_acknowledgement_and_an_event_may_come_together_or_in_single_bytes(peer: Peer) -> None:
    peer.receive()
    peer.connection.sendall(NEXT + b'"a"')
    assert b'"a"' in peer.receive()
    peer.connection.sendall(ACCEPTED + NEXT + b'"b"')
    assert b'"b"' in peer.receive()
    for number in range(len(whole := ACCEPTED + NEXT + b'"c"')):
        peer.connection.sendall(whole[number : number + 1])
    assert b'"c"' in peer.receive()


OK = b"HTTP/1.1 200 OK\r\n" + EVENT


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            OK + b'Transfer-Encoding: chunked\r\n\r\n1\r\n"\r\n2;ext=1\r\na"\r\n0\r\nTrailer: x\r\n\r\n', id="chunked"
        ),
        pytest.param(
            OK.lower().replace(b"http", b"HTTP") + b'content-length:3\r\n\r\n"a"', id="lower case and no space"
        ),
        pytest.param(b"HTTP/1.1 200\r\n" + EVENT + b'Content-Length: 3\r\n\r\n"a"', id="no reason phrase"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + NEXT + b'"a"', id="after 100 Continue"),
        pytest.param(OK + b'Connection: Keep-Alive\r\nContent-Length: 3\r\n\r\n"a"', id="keep-alive"),
    ],
)
def test_any_conforming_server_is_understood(answer: bytes, peer: Peer) -> None:
    peer.receive()
    peer.connection.sendall(answer)
    assert b'\r\n\r\n"a"GET ' in peer.receive()
    peer.connection.sendall(ACCEPTED + answer)
    assert b'\r\n\r\n"a"GET ' in peer.receive()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_server_that_closes_after_each_response_is_served(version: str, peer: Peer) -> None:
    start = b"HTTP/" + version.encode()
    close = b"Connection: close\r\n" if version == "1.1" else b""
    for text in (b'"a"', b'"b"'):
        assert is_next(peer.receive())
        peer.connection.sendall(start + b" 200 OK\r\n" + EVENT + close + b"\r\n" + text)
        peer.connection.close()
        peer.accept()
        assert text in peer.receive()
        peer.connection.sendall(start + b" 202 Accepted\r\n" + close + b"Content-Length: 0\r\n\r\n")
        peer.connection.close()
        peer.accept()


def test_an_answer_is_posted_again_when_the_connection_was_dropped_meanwhile(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    peer = Peer(tmp_path, f"def handler(e, c):\n    open('/proc/{os.getpid()}/fd/{read_end}').read(1)\n    return e\n")
    try:
        peer.receive()
        peer.connection.sendall(NEXT + b'"a"')
        peer.connection.close()
        os.write(write_end, b"x")
        peer.accept()
        assert b'"a"GET ' in peer.receive()
    finally:
        peer.close()
        os.close(read_end)
        os.close(write_end)


def test_a_large_answer_refused_before_it_was_read(tmp_path: Path) -> None:
    peer = Peer(tmp_path, "def handler(e, c): return 'x' * 20_000_000 if e == 'big' else e\n")
    try:
        peer.receive()
        peer.connection.sendall(NEXT.replace(b": 3", b": 5") + b'"big"')
        assert b"Content-Length: 20000002" in peer.connection.recv(4096)
        peer.connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.connection.shutdown(socket.SHUT_WR)
        while peer.receive():
            pass
        peer.accept()
        assert is_next(peer.receive())
        peer.connection.sendall(NEXT + b'"a"')
        assert b'"a"GET ' in peer.receive()
    finally:
        peer.close()


# --- the end ---------------------------------------------------------------------------------------------------------


def test_an_api_that_goes_away_while_idle_is_a_quiet_end(peer: Peer) -> None:
    peer.receive()
    peer.connection.close()
    peer.listener.close()
    assert peer.end() == (0, "")


def test_an_api_that_goes_away_after_an_acknowledgement_is_a_quiet_end(peer: Peer) -> None:
    peer.receive()
    peer.connection.sendall(NEXT + b'"a"')
    peer.receive()
    peer.connection.sendall(ACCEPTED)
    peer.connection.close()
    peer.listener.close()
    assert peer.end() == (0, "")


def test_an_api_that_goes_away_during_an_invocation_is_reported(peer: Peer) -> None:
    peer.receive()
    peer.connection.sendall(NEXT + b'"a"')
    peer.listener.close()
    peer.receive()
    peer.connection.close()
    status, stderr = peer.end()
    assert status == 1
    assert "the result of an invocation could not be posted" in stderr


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NEXT + b'"', "2 bytes too early"),
        (NEXT[:40], "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not an HTTP/1.1 response"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "without a colon"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number of bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", "not a number of bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not a chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "not a chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "longer than it says"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "without the header Lambda-Runtime-Aws-Request-Id"),
        (NEXT.replace(b"41024448", b"soon") + b"123", "not a number of milliseconds"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nwhy?", "answered invocation/next with 500: b'why?'"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "answered invocation/next with 403"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_clear_end(answer: bytes, reason: str, peer: Peer) -> None:
    peer.receive()
    peer.connection.sendall(answer)
    peer.connection.shutdown(socket.SHUT_WR)
    status, stderr = peer.end()
    assert status == 1
    assert stderr.startswith("[ERROR] The execution environment ends: ")
    assert reason in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "address", "status", "reason"),
    [
        (["fn.handler"], None, 1, "AWS_LAMBDA_RUNTIME_API is not set"),
        (["fn.handler"], "http://x", 1, "must be host:port"),
        (["fn.handler"], "127.0.0.1:1", 1, "no connection to the Runtime API at 127.0.0.1:1"),
        (["fn.handler", "more"], "127.0.0.1:1", 2, "usage: "),
    ],
)
def test_bad_starts_say_what_to_do(
    arguments: list[str], address: str | None, status: int, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "fn.py").write_text(ECHO)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    if address is not None:
        environ["AWS_LAMBDA_RUNTIME_API"] = address
    command = [sys.executable, "-m", "venturekit.ric", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == status
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


# --- where it runs ---------------------------------------------------------------------------------------------------

FORK_SERVER = """
import importlib.util, os, sys
folder, task_root, address = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "_venturekit_ric", folder + "/__init__.py", submodule_search_locations=[folder])
ric = importlib.util.module_from_spec(spec)
sys.modules["_venturekit_ric"] = ric
spec.loader.exec_module(ric)
ric.preload(with_asyncio=True)
loaded = set(sys.modules)
children = []
for number in range(2):
    child = os.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(AWS_LAMBDA_RUNTIME_API=address, LAMBDA_TASK_ROOT=task_root, _HANDLER="fn.handler",
                          LOADED=",".join(loaded))
        ric.run()
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_a_fork_server_has_everything_loaded(tmp_path: Path) -> None:
    task_root = tmp_path / "task"
    task_root.mkdir()
    (task_root / "fn.py").write_text(
        "import os, sys\nnew = sorted(set(sys.modules) - set(os.environ['LOADED'].split(',')) - {'fn'})\n"
        "async def handler(event, context):\n    return [new, sys.path[0], os.getpid()]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        folder = str(SOURCE_ROOT / "venturekit" / "ric")
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-I", "-S", "-B", "-c", FORK_SERVER, folder, str(task_root), address]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        answers = []
        for _child in range(2):
            connection, _address = listener.accept()
            with connection:
                connection.settimeout(30)
                connection.recv(65536)
                connection.sendall(NEXT + b"[ ]")
                head, body = connection.recv(65536).split(b"\r\n\r\n", 1)
                assert b"/response" in head
                answers.append(json.loads(body.partition(b"GET ")[0]))
                connection.sendall(ACCEPTED)
        stdout, _stderr = server.communicate(timeout=30)
    assert [answer[:2] for answer in answers] == [[[], str(task_root)]] * 2
    assert answers[0][2] != answers[1][2]
    assert stdout == "[0, 0]\n"


def test_a_signal_handler_of_the_function_runs_while_waiting(tmp_path: Path) -> None:
    source = """
        import os, signal
        def leave(number, frame):
            os._exit(42)
        signal.signal(signal.SIGTERM, leave)
        def handler(event, context):
            return event
        """
    peer = Peer(tmp_path, source)
    try:
        peer.receive()
        asleep(peer.process.pid)
        peer.process.send_signal(signal.SIGTERM)
        assert peer.end() == (42, "")
    finally:
        peer.close()
