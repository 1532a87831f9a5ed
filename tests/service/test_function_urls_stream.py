"""Streamed responses of function URLs: from the runtime's socket to the client's, and back pressure the other way."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import until
from tests.service.streaming_support import MODE, TWO_LINES, Puppets
from tests.service.url_support import Url, make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet
    from tests.service.streaming_support import Puppet

HTTP = "Content-Type: application/vnd.awslambda.http-integration-response"
BEGIN = f"api.begin({MODE!r}, *{TWO_LINES!r})"
BEGIN_HTTP = f"api.begin({MODE!r}, {HTTP!r}, *{TWO_LINES!r})"
PRELUDE = """api.piece(b'{"statusCode":201,"headers":{"content-type":"text/html"},"cookies":["a=1"]}' + bytes(8))"""


@pytest.fixture
def puppets(functions: FunctionSet) -> Iterator[Puppets]:
    made = Puppets(functions)
    yield made
    made.close()


def streaming_url(puppets: Puppets, mode: str = "RESPONSE_STREAM") -> Url:
    return make_url(puppets.functions.client, puppets.create(), InvokeMode=mode)


def called(puppets: Puppets, url: Url) -> Puppet:
    """The runtime, which has the event of a request."""
    runtime = puppets.started()
    assert '"rawPath":"/"' in runtime.do("api.next()")
    return runtime


def test_every_piece_reaches_the_client_before_the_next_is_sent(puppets: Puppets) -> None:
    url = streaming_url(puppets)
    with closing(url.connection()) as connection:
        connection.request("GET", "/", headers={"Host": url.host})
        runtime = called(puppets, url)
        runtime.do(f"[{BEGIN_HTTP}, {PRELUDE}]")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type"), answer.getheader("set-cookie")) == (
            *(201, "text/html"),
            "a=1",
        )
        for number in range(5):
            runtime.do(f"api.piece('piece {number}')")
            assert answer.read1(100) == b"piece %d" % number
        runtime.do("api.end()")
        assert answer.read() == b""
        assert runtime.do("api.answer()")[0] == 202
        # The connection and the runtime serve the next one.
        runtime.do("api.ask()")
        connection.request("GET", "/", headers={"Host": url.host})
        runtime.do("api.event()")
        runtime.do(f"[{BEGIN}, api.piece('plain'), api.end()]")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type"), answer.read()) == (
            *(200, "application/octet-stream"),
            b"plain",
        )


def test_a_failure_before_the_first_byte_and_one_after_it(puppets: Puppets) -> None:
    url = streaming_url(puppets)
    answered = puppets.apart(url.ask)
    runtime = called(puppets, url)
    error = """trailing("Error", {"errorType": "E", "errorMessage": "m"})"""
    runtime.do(f"[{BEGIN}, api.end(*{error}), api.answer()]")
    assert (answered.result(20).status, answered.result().body) == (502, b"Internal Server Error")
    runtime.do("api.ask()")
    with closing(url.connection()) as connection:
        connection.request("GET", "/", headers={"Host": url.host})
        runtime.do("api.event()")
        runtime.do(f"[{BEGIN}, api.piece('begun')]")
        answer = connection.getresponse()
        assert answer.read1(100) == b"begun"
        runtime.do(f"[api.end(*{error}), api.answer()]")
        # The body has no end, so nobody takes it for whole.
        with pytest.raises(Exception, match=r"IncompleteRead|closed|reset"):
            answer.read()


def test_a_client_that_reads_no_more_holds_the_runtime_up(puppets: Puppets) -> None:
    url = streaming_url(puppets)
    with closing(url.connection()) as connection:
        connection.request("GET", "/", headers={"Host": url.host})
        runtime = called(puppets, url)
        size = 64 * 1024 * 1024
        runtime.do(f"[{BEGIN}, api.send('{size:x}\\r\\n')]")
        # The kernel, the service and the front process hold some of it; then nothing more is taken.
        taken = standing = 0
        while standing < 20:
            now = runtime.do(f"select.select([], [api.socket], [], 0.05) and api.push({size - taken})")
            taken += now
            standing = 0 if now else standing + 1
        assert taken < size
        answer = connection.getresponse()
        runtime.start(f"api.socket.sendall(bytes({size - taken}))")
        read = 0
        while read < size:
            read += len(answer.read1(1 << 20))
        runtime.finish()
        runtime.do("[api.send('\\r\\n'), api.end(), api.answer()]")
        assert answer.read() == b""


def test_a_client_that_goes_lets_the_runtime_go_on(puppets: Puppets) -> None:
    url = streaming_url(puppets)
    connection = url.connection()
    connection.request("GET", "/", headers={"Host": url.host})
    runtime = called(puppets, url)
    runtime.do(f"[{BEGIN}, api.piece('begun')]")
    assert connection.getresponse().read1(100) == b"begun"
    connection.sock.close()
    connection.close()
    # More than everything between could hold is taken all the same.
    runtime.do("[api.piece(bytes(1 << 20)) for _ in range(40)]")
    runtime.do("[api.end(), api.answer(), api.ask()]")
    again = puppets.apart(url.ask)
    runtime.do("api.event()")
    runtime.do(f"[{BEGIN}, api.piece('next'), api.end()]")
    assert again.result(20).body == b"next"


def test_a_runtime_that_ends_in_the_middle(puppets: Puppets) -> None:
    url = streaming_url(puppets)
    with closing(url.connection()) as connection:
        connection.request("GET", "/", headers={"Host": url.host})
        runtime = called(puppets, url)
        runtime.do(f"[{BEGIN}, api.piece('begun')]")
        answer = connection.getresponse()
        assert answer.read1(100) == b"begun"
        runtime.start("os._exit(1)")
        with pytest.raises(Exception, match=r"IncompleteRead|closed|reset"):
            answer.read()


def test_a_streaming_function_behind_a_buffered_url(puppets: Puppets) -> None:
    url = streaming_url(puppets, "BUFFERED")
    answered = puppets.apart(url.ask)
    runtime = called(puppets, url)
    runtime.do(f"[{BEGIN_HTTP}, {PRELUDE}, api.piece('<p>one'), api.piece('<p>two'), api.end(), api.answer()]")
    answer = answered.result(20)
    assert (answer.status, answer.body, answer.all("set-cookie")) == (201, b"<p>one<p>two", ["a=1"])
    assert answer.all("content-length") == ["12"]


def test_a_buffered_function_behind_a_streaming_url(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    return {'statusCode': 404, 'body': 'x'}\n")
    url = make_url(functions.client, name, InvokeMode="RESPONSE_STREAM")
    answer = url.ask()
    # Nothing says that the bytes are a response: they are the body.
    assert (answer.status, answer.json) == (200, {"statusCode": 404, "body": "x"})
    functions.update(name, "def handler(event, context):\n    raise ValueError\n")
    until(lambda: url.ask().status == 502, "the new code fails")
