"""Requests that are served: pipelined, expected, chunked, old, half-closed, upgraded; any split gives the same."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.wire.wire_support import GOOD, Answer, Recorder, Sink, bench, chunked, echo, post
from venturekit.service.wire.answers import answer, status_line
from venturekit.service.wire.connection import Connection
from venturekit.service.wire.exchange import AnswerError, Exchange
from venturekit.service.wire.limits import MEBIBYTE, Limits
from venturekit.service.wire.listener import Clock, Listener

LARGE = bytes(range(256)) * 800  # 204,800 bytes: more than a small body, worth a buffer of its own


def get(target: bytes, fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: h\r\n%b\r\n" % (target, version, fields)


# --- pipelining ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 50, 5000])
def test_pipelined_requests_are_answered_in_order(run: Any, count: int) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(b"".join(get(b"/%d" % n) for n in range(count)))
            for n in range(count):
                assert (await client.answer()).headers["x-target"] == f"/{n}"
            assert [it.target for it in at.app.handled] == [b"/%d" % n for n in range(count)]

    run(main())


@pytest.mark.parametrize("count", [2, 50, 5000])
def test_a_request_is_handed_over_when_the_one_before_is_answered(run: Any, count: int) -> None:
    """The answers are given from outside the callbacks; never are two requests in hand at once."""

    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(b"".join(post(b"%d" % n) for n in range(count)))
            for n in range(count):
                await at.until(lambda: bool(at.app.pending))
                exchange = at.app.pending.pop()
                assert not at.app.pending
                assert bytes(exchange.body) == b"%d" % n
                echo(exchange)
                assert (await client.answer()).body == b"%d" % n
            assert len(at.app.handled) == count

    run(main())


def test_answers_of_two_connections_come_in_any_order(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            clients = [await at.connect() for _ in range(20)]
            for n, client in enumerate(clients):
                await client.send(get(b"/%d" % n) + get(b"/%d-more" % n))
            await at.until(lambda: len(at.app.pending) == 20)
            for exchange in reversed(at.app.pending):
                at.app.on_handle = echo
                echo(exchange)
            for n, client in enumerate(clients):
                assert (await client.answer()).headers["x-target"] == f"/{n}"
                assert (await client.answer()).headers["x-target"] == f"/{n}-more"

    run(main())


BODIES = {
    "none": get(b"/b"),
    "empty": post(b"", b"/b"),
    "small": post(b"small", b"/b"),
    "small-64k": post(b"s" * 65_536, b"/b"),
    "filled": post(LARGE, b"/b"),
    "direct": post(LARGE * 20, b"/b"),
    "chunked": chunked(b"one", b"two", target=b"/b"),
    "chunked-empty": chunked(target=b"/b"),
    "chunked-large": chunked(*[LARGE] * 5, target=b"/b"),
    "chunked-trailers": chunked(b"one", trailers=b"A: b\r\nC: d\r\n", target=b"/b"),
    "chunked-1-byte": chunked(*[b"%d" % (n % 10) for n in range(3000)], target=b"/b"),
    "expect": post(b"expected", b"/b", b"Expect: 100-continue\r\n"),
    "expect-large": post(LARGE, b"/b", b"Expect: 100-continue\r\n"),
    "upgrade": post(b"up", b"/b", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
}


def body_of(request: bytes) -> bytes:
    head, _, rest = request.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return rest
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


@pytest.mark.parametrize("mode", BODIES)
def test_body_of_every_mode_behind_a_pending_request(run: Any, mode: str) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/a"))
            await at.until(lambda: len(at.app.pending) == 1)
            client.push(BODIES[mode][:100])
            await at.settle()
            assert len(at.app.handled) == 1
            assert at.app.begun == []
            at.app.on_handle = echo
            echo(at.app.pending.pop())
            await client.send(BODIES[mode][100:] + get(b"/c"))
            assert (await client.answer()).headers["x-target"] == "/a"
            second = await next_answer(client)
            assert (second.headers["x-target"], second.body) == ("/b", body_of(BODIES[mode]))
            assert (await client.answer()).headers["x-target"] == "/c"

    run(main())


async def next_answer(client: Any) -> Answer:
    got: Answer = await client.answer()
    return await client.answer() if got.status == 100 else got


@pytest.mark.parametrize("mode", BODIES)
def test_body_of_every_mode_whole_behind_a_pending_request(run: Any, mode: str) -> None:
    """The whole of it has come (as far as the kernel takes it) before its turn."""

    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            data = get(b"/a") + BODIES[mode] + get(b"/c")
            sent = client.push(data)
            await at.until(lambda: len(at.app.pending) == 1)
            await at.settle()
            assert len(at.app.handled) == 1
            at.app.on_handle = echo
            echo(at.app.pending.pop())
            await client.send(data[sent:])
            assert (await client.answer()).headers["x-target"] == "/a"
            second = await next_answer(client)
            assert (second.headers["x-target"], second.body) == ("/b", body_of(BODIES[mode]))
            assert (await client.answer()).headers["x-target"] == "/c"

    run(main())


@pytest.mark.parametrize("decision", ["limit", "sink", "answer"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in part"])
def test_the_application_decides_about_a_body_that_came_early(run: Any, decision: str, whole: bool) -> None:
    """begin() is asked when the turn of a request has come, also when all of its body is there already."""

    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> int | Sink:
                assert bytes(exchange.body) == b""
                if decision == "answer":
                    exchange.respond(answer(403, (), b"no"))
                if decision == "sink":
                    sink.on_end = lambda: exchange.respond(answer(202, (), b"taken"))
                    return sink
                return 5

            at.app.on_begin = begin
            client = await at.connect()
            request = chunked(b"123456", b"789", trailers=b"T: u\r\n", target=b"/b")
            cut = len(request) if whole else len(request) - 12
            await client.send(get(b"/a") + request[:cut])
            await at.until(lambda: len(at.app.pending) == 1)
            await at.settle()
            assert at.app.begun == []
            at.app.on_handle = echo
            echo(at.app.pending.pop())
            await client.send_tolerant(request[cut:] + get(b"/c"))
            assert (await client.answer()).headers["x-target"] == "/a"
            second = await client.answer()
            assert len(at.app.begun) == 1
            if decision == "limit":
                assert second.body == b"too large"
            elif decision == "sink":
                assert second.status == 202
                assert (b"".join(sink.pieces), sink.trailers) == (b"123456789", {b"t": b"u"})
            else:
                assert second.status == 403
            if whole or decision != "answer":
                assert (await client.answer()).headers["x-target"] == "/c"
            else:
                assert await client.rest() == []

    run(main())


@pytest.mark.parametrize("how", ["answers", "aborts"])
def test_sink_that_does_not_want_the_rest_of_a_body_that_came_early(run: Any, how: str) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                sink.on_chunk = lambda data: echo(exchange) if how == "answers" else exchange.abort()
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            await client.send(get(b"/a") + chunked(b"abc", target=b"/b") + get(b"/c"))
            await at.until(lambda: bool(at.app.pending))
            await at.settle()
            at.app.on_handle = echo
            echo(at.app.pending.pop())
            if how == "answers":
                assert [(await client.answer()).headers["x-target"] for _ in range(3)] == ["/a", "/b", "/c"]
            else:
                assert [it.headers["x-target"] for it in await client.rest()] in (["/a"], [])
            client.close()
            await at.gone()
            assert (sink.size, sink.trailers, sink.aborted_count) == (3, None, int(how == "aborts"))

    run(main())


def test_requests_before_a_fault_are_answered_and_then_the_connection_closes(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/1") + post(b"two") + get(b"/3") + b"BAD\r\n\r\n" + get(b"/never"))
            for _ in range(3):
                await at.until(lambda: bool(at.app.pending))
                echo(at.app.pending.pop())
            answers = await client.rest()
            assert [it.status for it in answers] == [200, 200, 200]
            assert [it.headers["connection"] for it in answers] == ["keep-alive", "keep-alive", "close"]
            assert len(at.app.handled) == 3
            client.close()
            await at.gone()

    run(main())


@pytest.mark.parametrize(
    "fault",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        post(b"x", fields=b"Expect: tea\r\n"),
        chunked(b"x", fields=b"Content-Length: 1\r\n"),
        get(b"/" + b"a" * 20_000),
        chunked(b"x")[:-5] + b"zz",
        b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_nothing_behind_a_fault_is_served_while_an_answer_is_owed(run: Any, fault: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/1") + fault + get(b"/never"))
            await at.until(lambda: bool(at.app.pending))
            await at.settle()
            client.push(get(b"/never"))
            await at.settle()
            echo(at.app.pending.pop())
            answers = await client.rest()
            assert [it.status for it in answers] == [200]
            assert [it.target for it in at.app.handled] == [b"/1"]
            assert at.app.begun == []

    run(main())


def test_a_long_pipeline_whose_last_head_is_cut_is_not_taken_for_a_large_head(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            many = b"".join(post(b"x" * 3000) for _ in range(40))
            last = get(b"/last", b"X: " + b"y" * 10_000 + b"\r\n")
            await client.send(many + last[:5000])
            for _ in range(40):
                assert (await client.answer()).status == 200
            await client.send(last[5000:])
            assert (await client.answer()).headers["x-target"] == "/last"

    run(main())


# --- Expect -------------------------------------------------------------------------------------------------------

EXPECTING = post(b"x" * 1000, fields=b"Expect: 100-continue\r\n")
HEAD_SIZE = EXPECTING.index(b"\r\n\r\n") + 4


def test_continue_is_sent_before_the_body(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            for value in (b"100-continue", b"100-Continue", b"100-continue "):
                request = post(b"x" * 1000, fields=b"Expect: " + value + b"\r\n")
                size = request.index(b"\r\n\r\n") + 4
                assert (await client.ask(request[:size])).status == 100
                assert (await client.ask(request[size:])).body == b"x" * 1000

    run(main())


def test_continue_waits_for_its_turn(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/a") + EXPECTING[:HEAD_SIZE])
            await at.until(lambda: bool(at.app.pending))
            await at.settle()
            at.app.on_handle = echo
            echo(at.app.pending.pop())
            assert (await client.answer()).headers["x-target"] == "/a"
            assert (await client.answer()).status == 100
            assert (await client.ask(EXPECTING[HEAD_SIZE:])).body == b"x" * 1000

    run(main())


def test_refusal_comes_instead_of_continue(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:

            def begin(exchange: Exchange) -> None:
                exchange.respond(answer(413, (), b"no", close=True))

            at.app.on_begin = begin
            client = await at.connect()
            await client.send(EXPECTING[:HEAD_SIZE])
            assert [it.status for it in await client.rest()] == [413]
            assert at.app.handled == []
            assert at.app.abortions == []

    run(main())


def test_expected_body_over_the_limit_is_refused_without_continue(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_begin = lambda exchange: 999
            client = await at.connect()
            await client.send(EXPECTING[:HEAD_SIZE])
            answers = await client.rest()
            assert [(it.status, it.body) for it in answers] == [(200, b"too large")]
            assert answers[0].headers["connection"] == "close"

    run(main())


@pytest.mark.parametrize(
    "request_bytes", [get(b"/x", b"Expect: 100-continue\r\n"), post(b"", fields=b"Expect: 100-continue\r\n")]
)
def test_no_continue_without_a_body(run: Any, request_bytes: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            assert (await client.ask(request_bytes)).status == 200

    run(main())


@pytest.mark.parametrize("body", [b"", b"x" * 10, LARGE])
def test_http_1_0_gets_no_continue(run: Any, body: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            request = post(body, fields=b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
            await client.send(request)
            assert [(it.status, it.body) for it in await client.rest()] == [(200, body)]

    run(main())


# --- what ends a connection and what does not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Close", False),
        (b"1.1", b"foo, close", False),
        (b"1.0", b"", False),
        (b"1.0", b"close", False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"Keep-Alive", True),
    ],
)
@pytest.mark.parametrize("body", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
def test_persistence(run: Any, version: bytes, connection: bytes, kept: bool, body: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            fields = b"Connection: " + connection + b"\r\n" if connection else b""
            got = await client.ask(post(body, fields=fields).replace(b"HTTP/1.1", b"HTTP/" + version))
            assert (got.status, got.body) == (200, body)
            assert got.headers["connection"] == ("keep-alive" if kept else "close")
            if kept:
                assert (await client.ask(GOOD)).status == 200
            else:
                assert await client.rest() == []
                client.close()
                await at.gone()

    run(main())


def test_nothing_is_served_behind_connection_close(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(get(b"/1", b"Connection: close\r\n") + get(b"/2"))
            assert len(await client.rest()) == 1
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/3", b"Connection: close\r\n") + get(b"/4"))
            await at.until(lambda: bool(at.app.pending))
            echo(at.app.pending.pop())
            assert len(await client.rest()) == 1
            assert [it.target for it in at.app.handled] == [b"/1", b"/3"]

    run(main())


def test_http_1_0_needs_no_host(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(b"GET /old HTTP/1.0\r\n\r\n")
            assert [it.headers["x-target"] for it in await client.rest()] == ["/old"]

    run(main())


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_half_closed_client_gets_its_answers(run: Any, later: bool, count: int) -> None:
    async def main() -> None:
        async with bench() as at:
            if later:
                at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(b"".join([get(b"/1"), chunked(b"two"), post(LARGE)][:count]))
            client.half_close()
            if later:
                for _ in range(count):
                    await at.until(lambda: bool(at.app.pending))
                    await at.settle()
                    echo(at.app.pending.pop())
            answers = await client.rest()
            assert [it.body for it in answers] == [b"", b"two", LARGE][:count]
            client.close()
            await at.gone()
            assert at.app.abortions == []

    run(main())


@pytest.mark.parametrize(
    "cut", [get(b"/2")[:10], post(b"hello")[:-2], post(LARGE)[:-2], chunked(b"abc")[:-4], EXPECTING[:HEAD_SIZE]]
)
def test_half_closed_client_with_a_cut_request_behind_a_whole_one(run: Any, cut: bytes) -> None:
    """The whole request is answered; the other is given up at once, with no time-out."""

    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/1"))
            await at.until(lambda: bool(at.app.pending))
            await client.send(cut)
            client.half_close()
            await at.settle()
            echo(at.app.pending.pop())
            answers = await client.rest()
            assert answers[0].headers["x-target"] == "/1"
            # One that is held back is begun before its end can be seen.
            assert [it.status for it in answers[1:]] in ([], [400], [100, 400])
            client.close()
            await at.gone()
            assert len(at.app.handled) == 1
            assert [it.target for it in at.app.abortions] == ([b"/x"] if b"\r\n\r\n" in cut else [])

    run(main())


def test_truncated_body_is_told_to_client_and_application(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            for request, begun in ((post(b"hello"), 0), (post(LARGE), 1), (chunked(b"abc"), 1)):
                at.app.begun.clear()
                at.app.abortions.clear()
                client = await at.connect()
                await client.send(request[:-3])
                client.half_close()
                answers = await client.rest()
                assert [it.status for it in answers] == [400]
                assert b"ended before" in answers[0].body
                client.close()
                await at.gone()
                assert len(at.app.begun) == begun
                assert [(it.target, it.complete) for it in at.app.abortions] == [(b"/x", False)]
            assert at.app.handled == []

    run(main())


def test_client_that_leaves_in_silence_is_no_fault(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            for data in (b"", GOOD, b"\r\n"):
                client = await at.connect()
                await client.send(data)
                if data == GOOD:
                    assert (await client.answer()).status == 200
                client.half_close()
                assert await client.rest() == []
                client.close()
            await at.gone()
            assert at.app.refusals == []
            assert at.app.abortions == []

    run(main())


# --- upgrades, targets and other things that are accepted -------------------------------------------------------------

UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(b"/b", UPGRADE),
        get(b"/b", b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        post(b"", b"/b", UPGRADE),
        post(b"hello", b"/b", UPGRADE),
        post(GOOD, b"/b", UPGRADE),
        post(LARGE, b"/b", UPGRADE),
        post(LARGE * 30, b"/b", UPGRADE),
        chunked(b"one", b"two", target=b"/b", fields=UPGRADE),
        chunked(b"one", target=b"/b", fields=UPGRADE, trailers=b"A: b\r\n"),
        post(b"hello", b"/b", b"Upgrade: h2c\r\n"),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_request_to_upgrade_is_served_without_that_wish(run: Any, request_bytes: bytes, split: bool) -> None:
    """Its body is its body: never the next request."""

    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            if split:
                size = request_bytes.index(b"\r\n\r\n") + 4
                await client.send(request_bytes[:size])
                await at.settle(1)
                await client.send(request_bytes[size:] + get(b"/c"))
            else:
                await client.send(request_bytes + get(b"/c"))
            got = await client.answer()
            assert (got.status, got.headers["x-target"], got.body) == (200, "/b", body_of(request_bytes))
            assert (await client.answer()).headers["x-target"] == "/c"
            assert (await client.ask(post(b"again", b"/d", UPGRADE))).body == b"again"
            assert (await client.ask(GOOD)).status == 200
            assert len(at.app.handled) == 4
            if b"A: b" in request_bytes:
                assert at.app.handled[0].trailers == {b"a": b"b"}

    run(main())


def test_upgrade_and_close(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(post(b"hello", b"/b", b"Connection: close, upgrade\r\nUpgrade: h2c\r\n") + GOOD)
            assert [it.body for it in await client.rest()] == [b"hello"]

    run(main())


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://h/x?y=1", b"h", b"/x?y=1"),
        (b"http://h", b"h", b"/"),
        (b"HTTP://H/x", b"h", b"/x"),
        (b"http://127.0.0.1:9001/x", b"127.0.0.1:9001", b"/x"),
        (b"http://h?y=http://z/", b"h", b"/?y=http://z/"),
        (b"https://h/", b"h", b"/"),
    ],
)
def test_absolute_target_is_reduced_to_its_path(run: Any, target: bytes, host: bytes, path: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            got = await client.ask(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
            assert (got.status, got.headers["x-target"]) == (200, path.decode())

    run(main())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n" + GOOD,
        b"\r\n\r\n" + GOOD,
        b"GET / HTTP/1.1\r\nHost:h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:  h  \r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: \xe9\xff\t.\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /%20%00?a=b&c HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /{id} HTTP/1.1\r\nHost: h\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0005\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 \r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED \r\n\r\n0\r\n\r\n",
        b'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n003;a=b;c="d e"\r\nabc\r\n000\r\n\r\n',
    ],
)
def test_odd_but_right_requests_are_served(run: Any, request_bytes: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            for _ in range(3):
                assert (await client.ask(request_bytes)).status == 200

    run(main())


def test_a_line_end_too_many_behind_each_request(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            for _ in range(20):
                assert (await client.ask(post(b"x"))).status == 200
                await client.send(b"\r\n")
                await at.settle(1)
            assert (await client.ask(chunked(b"abc", trailers=b"A: b\r\n"))).status == 200
            assert (await client.ask(b"\r\n\r\n" + GOOD)).status == 200

    run(main())


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    "request_bytes",
    [
        GOOD,
        get(b"/", b"A: 1\r\na: 2\r\nB: 3\r\n"),
        get(b"/", b"Connection: keep-alive\r\n"),
        get(b"/", b"Connection: keep-alive\r\n", b"1.0"),
        get(b"http://h/x"),
        get(b"/", UPGRADE),
        get(b"/", b"X: " + b"y" * 5000 + b"\r\n"),
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        GOOD + GOOD,
        post(b"hello"),
    ],
)
def test_the_same_bytes_again_are_the_same_request(run: Any, request_bytes: bytes, later: bool) -> None:
    """However it is cut or surrounded the next time, and whatever the application hung on it before."""

    async def main() -> None:
        async with bench() as at:
            fresh: list[Any] = []

            def hang_on(exchange: Exchange) -> None:
                fresh.append((exchange.complete, exchange.keep_alive, exchange.too_large, exchange.tag))
                fresh.append((exchange.trailers, exchange.on_drain, sorted(exchange.repeated or ())))
                exchange.tag = exchange.on_drain = lambda: None
                at.app.keep(exchange) if later else echo(exchange)

            at.app.on_handle = hang_on
            client = await at.connect()
            count = 2 if request_bytes == GOOD + GOOD else 1
            half = len(request_bytes) // 2
            rounds = [[request_bytes]] * 3 + [[request_bytes[:half], request_bytes[half:]]] + [[request_bytes]] * 2
            for pieces in rounds:
                for piece in pieces:
                    await client.send(piece)
                    await at.settle(1)
                for _ in range(count):
                    if later:
                        await at.until(lambda: bool(at.app.pending))
                        echo(at.app.pending.pop())
                    assert (await client.answer()).status == 200
            await client.send(request_bytes * 2)
            if later:
                for _ in range(2 * count):
                    await at.until(lambda: bool(at.app.pending))
                    echo(at.app.pending.pop())
            for _ in range(2 * count):
                assert (await client.answer()).status == 200
            assert len(at.app.handled) == count * (len(rounds) + 2)
            assert at.app.handled == [at.app.handled[0]] * len(at.app.handled)
            assert fresh == fresh[:2] * len(at.app.handled)
            # The body of a request may look like a request.
            await client.send(b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(request_bytes))
            await at.settle(1)
            await client.send(request_bytes)
            if later:
                await at.until(lambda: bool(at.app.pending))
                echo(at.app.pending.pop())
            assert (await client.answer()).body == request_bytes

    run(main())


def test_a_resting_connection_holds_nothing_of_the_application(run: Any) -> None:
    class Tag:
        pass

    async def main() -> None:
        async with bench() as at:
            tags: list[weakref.ref[Tag]] = []

            def tagged(exchange: Exchange) -> None:
                tag = exchange.tag = Tag()
                tags.append(weakref.ref(tag))
                echo(exchange)

            at.app.on_handle = tagged
            client = await at.connect()
            for request in (GOOD, GOOD, post(b"x"), chunked(b"x")):
                at.app.begun.clear()
                assert (await client.ask(request)).status == 200
            at.app.begun.clear()
            assert [tag() for tag in tags] == [None] * 4

    run(main())


def test_repeated_fields_are_joined_and_named(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/", b"A: 1\r\na: 2\r\nB: 3\r\nA: 4\r\n"))
            await at.until(lambda: bool(at.app.pending))
            exchange = at.app.pending.pop()
            assert exchange.headers[b"a"] == b"1, 2, 4"
            assert exchange.repeated == {b"a"}
            echo(exchange)

    run(main())


# --- sizes at their bounds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [Limits(), Limits(head_bytes=MEBIBYTE)], ids=["16kB", "1MiB"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_head_up_to_the_limit_is_served(run: Any, limits: Limits, pieces: int) -> None:
    async def main() -> None:
        async with bench(limits) as at:
            client = await at.connect()
            bare = post(b"hi", fields=b"X: \r\n")
            request = post(b"hi", fields=b"X: %b\r\n" % (b"y" * (limits.head_bytes - len(bare) + 2)))
            assert len(request) == limits.head_bytes + 2
            step = len(request) // pieces + 1
            for start in range(0, len(request), step):
                await client.send(request[start : start + step])
                await at.settle(1)
            assert (await client.answer()).status == 200
            fields = b"".join(b"X%d: y\r\n" % n for n in range(limits.header_count - 1))
            assert (await client.ask(get(b"/", fields))).status == 200
            assert (await client.ask(get(b"/", b"X: y\r\n" * (limits.header_count - 1)))).status == 200

    run(main())


def test_chunked_body_of_single_bytes_is_served(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            body = bytes(n % 251 for n in range(200_000))
            await client.send(chunked(*[body[n : n + 1] for n in range(len(body))]))
            assert (await client.answer()).body == body

    run(main())


# --- any split of a request stream ------------------------------------------------------------------------------------

NAMES = st.from_regex(rb"\AX-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}\Z")
VALUES = st.from_regex(rb"\A([!-~]([ !-~]{0,20}[!-~])?)?\Z")
FIELDS = st.dictionaries(NAMES.map(bytes.lower), VALUES, max_size=4)


def lines(fields: dict[bytes, bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % item for item in fields.items())


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes, bytes, dict[bytes, bytes], dict[bytes, bytes] | None]:
    """Bytes of a valid request, and the target, body, own header fields and trailers that it means."""
    target = b"/" + draw(st.from_regex(rb"\A[a-z0-9/%?=&]{0,12}\Z"))
    fields = draw(FIELDS)
    extra = UPGRADE if draw(st.integers(0, 5)) == 0 else b""
    match draw(st.integers(0, 2)):
        case 0:
            return get(target, lines(fields) + extra), target, b"", fields, None
        case 1:
            body = draw(st.binary(max_size=40))
            return post(body, target, lines(fields) + extra), target, body, fields, None
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
    trailers = draw(FIELDS)
    data = chunked(*pieces, trailers=lines(trailers), target=target, fields=lines(fields) + extra)
    return data, target, b"".join(pieces), fields, trailers or None


class Wire:
    """Feeds a connection without a socket: a split is then exactly what the test says."""

    def __init__(self) -> None:
        self.app = Recorder()
        self.connection = Connection(Listener(self.app, Clock(0.0, 0.0)))
        self.output = bytearray()
        self.closed = False
        self.connection.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.output += data

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: Any) -> None:
        assert protocol is self.connection

    close = abort = write_eof

    def pause_reading(self) -> None:
        raise AssertionError("every request is answered at once")

    resume_reading = pause_reading


def told(app: Recorder) -> list[tuple[bytes, bytes, dict[bytes, bytes], dict[bytes, bytes] | None]]:
    return [
        (it.target, it.body, {n: v for n, v in it.headers.items() if n.startswith(b"x-")}, it.trailers)
        for it in app.handled
    ]


@settings(deadline=None, max_examples=200)
@given(st.lists(requests(), min_size=1, max_size=4), st.data())
def test_any_split_gives_the_same_requests(stream: list[Any], data: st.DataObject) -> None:
    raw = b"".join(it[0] for it in stream)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=12)))
    wire = Wire()
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        if start < end:
            wire.connection.data_received(raw[start:end])
    assert told(wire.app) == [it[1:] for it in stream]
    assert not wire.closed


@pytest.mark.parametrize("mode", [name for name, request in BODIES.items() if len(request) < 1000])
def test_every_cut_in_two_and_single_bytes(mode: str) -> None:
    raw = BODIES[mode] + chunked(b"abc", b"d" * 20, trailers=b"X-One: 1\r\nX-Two: 2\r\n") + get(b"/end")
    whole = Wire()
    whole.connection.data_received(raw)
    assert len(whole.app.handled) == 3
    for cut in range(1, len(raw)):
        wire = Wire()
        wire.connection.data_received(raw[:cut])
        wire.connection.data_received(raw[cut:])
        assert told(wire.app) == told(whole.app)
    wire = Wire()
    for n in range(len(raw)):
        wire.connection.data_received(raw[n : n + 1])
    assert told(wire.app) == told(whole.app)


# --- the application's side -------------------------------------------------------------------------------------------


def test_second_answer_is_the_applications_fault(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            raised: list[BaseException] = []

            def twice(exchange: Exchange) -> None:
                echo(exchange)
                for again in (
                    lambda: echo(exchange),
                    lambda: exchange.respond_parts(b"", b""),
                    lambda: exchange.start(b""),
                    lambda: exchange.write(b"x"),
                    exchange.finish,
                ):
                    try:
                        again()
                    except AnswerError as error:
                        raised.append(error)

            at.app.on_handle = twice
            client = await at.connect()
            assert (await client.ask(GOOD)).status == 200
            assert len(raised) == 5
            assert "/good" in str(raised[0])
            assert (await client.ask(GOOD)).status == 200

    run(main())


def test_what_an_answered_exchange_does_harms_no_other(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(get(b"/1"))
            await at.until(lambda: len(at.app.pending) == 1)
            first = at.app.pending.pop()
            echo(first)
            assert (await client.answer()).status == 200
            await client.send(get(b"/2"))
            await at.until(lambda: len(at.app.pending) == 1)
            first.abort()
            first.pause()
            first.resume()
            echo(at.app.pending.pop())
            assert (await client.answer()).headers["x-target"] == "/2"

    run(main())


def test_answers_without_a_body_have_no_length() -> None:
    assert answer(204, ((b"A", b"b"),)) == b"HTTP/1.1 204 No Content\r\nA: b\r\nConnection: keep-alive\r\n\r\n"
    assert answer(304, (), close=True) == b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
    assert answer(200, (), b"hi").endswith(b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nhi")
    assert status_line(299) == b"HTTP/1.1 299 \r\n"
