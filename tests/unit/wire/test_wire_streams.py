"""Streamed requests and answers, large bodies, and peers that leave in the middle."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from tests.forms import in_full
from tests.unit.wire.wire_support import GOOD, Bench, Sink, bench, chunked, echo, post
from venturekit.service.wire.answers import answer
from venturekit.service.wire.limits import MEBIBYTE, Limits

if TYPE_CHECKING:
    from venturekit.service.wire.exchange import Exchange

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
BODY = bytes(range(256)) * 24_576  # 6 MiB
STREAM_REQUEST = b"POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def sinking(at: Bench) -> Sink:
    """Makes the application take the next body by a sink that answers at its end."""
    sink = Sink(at.app)

    def begin(exchange: Exchange) -> Sink:
        sink.on_end = lambda: exchange.respond(answer(202, (), b"%d" % sink.size, close=not exchange.keep_alive))
        return sink

    at.app.on_begin = begin
    return sink


# --- streamed requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "trailers"),
    [
        (chunked(b"one", b"two", trailers=b"A: b\r\n"), {b"a": b"b"}),
        (chunked(), {}),
        (post(BODY[:70_000]), {}),
        (post(b"small", fields=b"Expect: 100-continue\r\n"), {}),
    ],
)
def test_sink_takes_the_body(run: Any, request_bytes: bytes, trailers: dict[bytes, bytes]) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = sinking(at)
            client = await at.connect()
            await client.send(request_bytes + GOOD)
            got = await client.answer()
            if got.status == 100:
                got = await client.answer()
            assert (got.status, int(got.body)) == (202, sink.size)
            assert sink.trailers == trailers
            assert (await client.answer()).status == 200
            assert [it.target for it in at.app.handled] == [b"/good"]
            assert sink.aborted_count == 0

    run(main())


async def fill(at: Bench, client: Any, piece: bytes) -> int:
    """Send until neither the kernel nor the server takes any more; returns how many bytes went out."""
    total = 0
    idle = 0
    while idle < 3:
        sent = client.push(piece)
        total += sent
        idle = 0 if sent else idle + 1
        if not sent:
            await at.settle(2)
        assert total < 256 * MEBIBYTE, "the sender is not held back"
    return total


@pytest.mark.parametrize("length", [None, 512 * MEBIBYTE])
def test_paused_sink_holds_the_sender_back(run: Any, length: int | None) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                sink.on_chunk = lambda data: exchange.pause()
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
            await client.send(b"POST /in HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
            if length is None:
                await client.send(b"%x\r\n" % (512 * MEBIBYTE))
            await fill(at, client, b"x" * 65_536)
            first = sink.size
            assert 0 < first <= 300_000
            for _ in range(3):
                before = sink.size
                at.app.begun[0].resume()
                await at.until(lambda before=before: sink.size > before)
                await at.settle()
                assert sink.size - before <= 300_000
            client.close()
            # A paused connection does not see its end: it is read on until it does.
            for _ in range(100):
                at.app.begun[0].resume()
                await at.settle(1)
            assert sink.aborted_count == 1

    run(main())


def test_pause_at_the_end_of_a_body_does_not_stop_the_next_request(run: Any) -> None:
    """What the application paused was the body: the connection reads on when that is complete."""

    async def main() -> None:
        async with bench() as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                sink.on_chunk = lambda data: exchange.pause()
                sink.on_end = lambda: echo(exchange)
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            for _ in range(3):
                assert (await client.ask(chunked(b"one", b"two"))).status == 200
                assert (await client.ask(GOOD)).status == 200
            await client.send(chunked(b"one") + GOOD + GOOD)
            assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]

    run(main())


def test_pause_before_the_first_byte(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                exchange.pause()
                sink.on_end = lambda: echo(exchange)
                return sink

            at.app.on_begin = begin
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(GOOD + STREAM_REQUEST)
            await at.until(lambda: bool(at.app.pending))
            await at.settle()
            echo(at.app.pending.pop())
            assert (await client.answer()).status == 200
            await client.send(b"3\r\nabc\r\n0\r\n\r\n")
            await at.settle()
            assert sink.size == 0
            at.app.begun[0].resume()
            assert (await client.answer()).status == 200
            assert sink.size == 3

    run(main())


def test_sink_is_told_what_came_together(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = sinking(at)
            client = await at.connect()
            await client.send(STREAM_REQUEST + b"1\r\na\r\n1\r\nb\r\n")
            await at.until(lambda: sink.size == 2)
            assert (sink.pieces, sink.flushed) == ([b"a", b"b"], [2])
            await client.send(b"1\r\nc\r\n")
            await at.until(lambda: sink.size == 3)
            assert sink.flushed == [2, 3]
            # The end says the same.
            await client.send(b"1\r\nd\r\n0\r\n\r\n")
            assert (await client.answer()).body == b"4"
            assert sink.flushed == [2, 3]

    run(main())


def test_sink_is_told_what_was_held(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = sinking(at)
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(GOOD + STREAM_REQUEST + b"3\r\nabc\r\n")
            await at.until(lambda: bool(at.app.pending))
            echo(at.app.pending.pop())
            assert (await client.answer()).status == 200
            assert sink.flushed == [3]
            await client.send(b"0\r\n\r\n")
            assert (await client.answer()).body == b"3"

    run(main())


@pytest.mark.parametrize(("piece", "most"), [(b"x", 100_000), (b"x" * 65_536, 600_000)])
def test_a_flood_lets_the_others_have_their_turn(run: Any, piece: bytes, most: int) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                exchange.pause()
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            await client.send(STREAM_REQUEST)
            await at.until(lambda: bool(at.app.begun))
            wire = b"%x\r\n%b\r\n" % (len(piece), piece)
            await fill(at, client, wire * (393_216 // len(wire)))
            at.app.begun[0].resume()
            steps = [sink.size]
            while len(steps) < 4 or steps[-1] != steps[-4]:
                await asyncio.sleep(0)
                steps.append(sink.size)
            assert steps[-1] > 2 * 40_000
            assert max(after - before for before, after in itertools.pairwise(steps)) <= most
            client.close()
            await at.gone()
            assert sink.aborted_count == 1

    run(main())


@pytest.mark.parametrize("how", ["close", "reset", "half close", "garbage", "timeout of nothing"])
@pytest.mark.parametrize("answering", [False, True])
def test_peer_that_goes_in_mid_body_aborts_once(run: Any, how: str, answering: bool) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = sinking(at)
            client = await at.connect()
            await client.send(STREAM_REQUEST + b"3\r\nabc\r\n")
            await at.until(lambda: sink.size == 3)
            if answering:
                at.app.begun[0].start(STREAM_HEAD)
                at.app.begun[0].write(b"so far")
            match how:
                case "close":
                    client.close()
                case "reset":
                    client.reset()
                case "half close":
                    client.half_close()
                case "garbage":
                    await client.send(b"zz\r\n")
                case _:
                    at.listener.close()
            await at.until(lambda: sink.aborted_count > 0 and bool(at.app.abortions))
            await at.settle()
            if how in ("half close", "garbage"):
                if answering:
                    with pytest.raises(EOFError):
                        await client.rest()
                    assert b"400" not in client.buffer  # no second head in the middle of an answer
                else:
                    assert [it.status for it in await client.rest()] == [400]
                client.close()
            await at.gone()
            assert sink.aborted_count == 1
            assert at.app.abortions == at.app.begun
            # What the application still says is dropped; it is nobody's fault.
            exchange = at.app.begun[0]
            assert exchange.gone
            exchange.respond(b"x")
            assert exchange.write(b"x") is False
            exchange.finish()
            exchange.pause()
            exchange.resume()
            exchange.abort()

    run(main())


def test_answer_before_the_end_of_a_streamed_body(run: Any) -> None:
    """The peer, which writes before it reads, hears it; the rest of the body is dropped; nobody is aborted."""

    async def main() -> None:
        async with bench() as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                sink.on_chunk = lambda data: exchange.respond(answer(413, (), b"enough", close=True))
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            await client.send(STREAM_REQUEST + b"3\r\nabc\r\n")
            await client.send_tolerant(b"100000\r\n" + b"x" * MEBIBYTE + b"\r\n0\r\n\r\n" + GOOD)
            assert [(it.status, it.body) for it in await client.rest()] == [(413, b"enough")]
            client.close()
            await at.gone()
            assert (sink.size, sink.aborted_count, sink.trailers) == (3, 0, None)
            assert at.app.abortions == []
            assert at.app.handled == []

    run(main())


def test_early_answer_to_a_paused_body_is_not_lost(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                sink.on_chunk = lambda data: exchange.pause()
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            await client.send(STREAM_REQUEST + b"%x\r\n" % (64 * MEBIBYTE))
            await client.send(b"x")
            await at.until(lambda: sink.size == 1)
            at.app.begun[0].respond(answer(500, (), b"died", close=True))
            await client.send_tolerant(b"x" * MEBIBYTE * 8)
            assert [it.body for it in await client.rest()] == [b"died"]

    run(main())


# --- streamed answers -------------------------------------------------------------------------------------------------


def test_streamed_answer_with_trailers(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(GOOD + GOOD)
            for n in range(2):
                await at.until(lambda: bool(at.app.pending))
                exchange = at.app.pending.pop()
                exchange.start(STREAM_HEAD)
                assert exchange.write(b"one")
                assert exchange.write(b"")
                await at.settle(1)
                assert exchange.write_parts((b"two" * 500, memoryview(b"two" * 250), bytearray(b"two" * 250)))
                exchange.finish({b"X-End": b"%d" % n})
                got = await client.answer()
                assert (got.body, got.trailers) == (b"one" + b"two" * 1000, {"x-end": str(n)})
            assert not client.buffer

    run(main())


@pytest.mark.parametrize("fields", [b"", b"Connection: keep-alive\r\n"])
def test_streamed_answer_to_an_old_client_ends_with_its_connection(run: Any, fields: bytes) -> None:
    """HTTP/1.0 knows no chunks (RFC 9112, 6.1)."""

    async def main() -> None:
        async with bench() as at:

            def stream(exchange: Exchange) -> None:
                assert not exchange.chunked
                exchange.start(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                exchange.write(b"one ")
                exchange.write(b"")
                exchange.write_parts((b"t", b"wo"))
                exchange.finish({b"Lost": b"1"})

            at.app.on_handle = stream
            client = await at.connect()
            await client.send(b"GET / HTTP/1.0\r\n%b\r\n" % fields)
            while await client.more():
                pass
            assert bytes(client.buffer) == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none two"

    run(main())


def test_aborted_answer_is_seen_to_be_cut(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:

            def cut(exchange: Exchange) -> None:
                exchange.start(STREAM_HEAD)
                exchange.write(b"one")
                exchange.abort()
                exchange.write(b"two")
                exchange.write_parts([b"three"])
                exchange.finish()

            at.app.on_handle = cut
            client = await at.connect()
            await client.send(GOOD)
            with pytest.raises(EOFError):
                await client.answer()
            await at.gone()

    run(main())


def test_slow_reader_holds_the_writer_back_and_memory_is_bounded(run: Any) -> None:
    piece = b"p" * 65_536
    total = 1024  # 64 MiB

    async def main() -> None:
        async with bench() as at:
            left = [total]
            stops = [0]
            highest = [0]

            def write_on(exchange: Exchange) -> None:
                while left[0]:
                    left[0] -= 1
                    more = exchange.write(piece)
                    highest[0] = max(highest[0], exchange.connection.transport.get_write_buffer_size())
                    if not more:
                        stops[0] += 1
                        at.app.changed.set()
                        return
                exchange.finish()

            def stream(exchange: Exchange) -> None:
                exchange.start(STREAM_HEAD)
                exchange.on_drain = lambda: write_on(exchange)
                write_on(exchange)

            at.app.on_handle = stream
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD)
            await at.until(lambda: stops[0] > 0)
            await at.settle()
            assert left[0] > total // 2, "the peer has not read anything, yet most of it was written"
            tracemalloc.start()
            got = await client.answer()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert len(got.body) == total * len(piece)
            assert stops[0] > 5
            assert highest[0] <= 4 * len(piece)
            # The client itself holds the whole answer twice; the server must not add to it.
            assert peak < 3.5 * total * len(piece)

    run(main())


def test_peer_that_goes_in_mid_answer_aborts_once(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            for how in ("close", "reset"):
                at.app.abortions.clear()

                def stream(exchange: Exchange) -> None:
                    exchange.start(STREAM_HEAD)
                    while exchange.write(b"p" * 65_536):
                        pass
                    at.app.keep(exchange)

                at.app.on_handle = stream
                client = await at.connect(receive_buffer_bytes=65_536)
                await client.send(GOOD)
                await at.until(lambda: bool(at.app.pending))
                exchange = at.app.pending.pop()
                client.close() if how == "close" else client.reset()
                await at.until(lambda: bool(at.app.abortions))
                assert exchange.gone
                assert exchange.write(b"more") is False
                exchange.finish()
                await at.gone()
                assert at.app.abortions == [exchange]

    run(main())


def test_peer_that_goes_before_its_answer_aborts_once(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.pending))
            client.reset()
            await at.until(lambda: bool(at.app.abortions))
            await at.gone()
            assert at.app.abortions == at.app.pending
            echo(at.app.pending.pop())

    run(main())


@pytest.mark.parametrize("how", ["half close", "close", "reset", "slow"])
@pytest.mark.parametrize("pending", [False, True])
def test_request_that_is_cut_before_it_is_handed_over_aborts_once(run: Any, how: str, pending: bool) -> None:
    """The application learns that there was one: to the Runtime API it is a truncated response."""

    async def main() -> None:
        async with bench() as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send((GOOD if pending else b"") + post(b"hello")[:-2])
            await at.settle()
            match how:
                case "half close":
                    client.half_close()
                case "close":
                    client.close()
                case "reset":
                    client.reset()
                case _:
                    at.advance(11)
            await at.until(lambda: bool(at.app.abortions))
            await at.settle()
            if pending and how in ("half close", "slow", "close"):
                # Its end is like a half close; the whole request may still be answered.
                echo(at.app.pending[0])
            if how in ("half close", "slow"):
                assert [it.status for it in await client.rest()] == [200 if pending else 400 + 8 * (how == "slow")]
            client.close()
            await at.gone()
            assert [it.complete for it in at.app.abortions] == (
                [True, False] if pending and how == "reset" else [False]
            )

    run(main())


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:-2],
        GOOD.replace(b"Host: h", b"Host: h\r\nHost: h"),
        post(b"x", fields=b"Expect: tea\r\n"),
        chunked(b"x").replace(b"chunked", b"gzip, chunked"),
    ],
)
def test_request_whose_head_is_refused_is_not_told_of(run: Any, data: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(data)
            client.half_close()
            assert [it.status >= 400 for it in await client.rest()] == [True]
            client.close()
            await at.gone()
            assert at.app.abortions == []

    run(main())


# --- large bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [65_536, 65_537, 131_072 + 200, 1_000_000, len(BODY)])
@pytest.mark.parametrize("pause_behind_head", [False, True])
def test_large_body_is_exact_and_the_next_request_is_found(run: Any, size: int, pause_behind_head: bool) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            for _ in range(2):
                request = post(BODY[:size])
                cut = len(request) - size if pause_behind_head else 0
                if cut:
                    await client.send(request[:cut])
                    await at.settle(1)
                await client.send(request[cut:] + post(b"next") + GOOD)
                assert (await client.answer()).body == BODY[:size]
                assert (await client.answer()).body == b"next"
                assert (await client.answer()).status == 200
            assert [it.body == BODY[:size] for it in at.app.handled] == [True, False, False] * 2

    run(main())


def test_two_large_bodies_in_the_same_packets(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            sending = asyncio.ensure_future(client.send((post(BODY) + chunked(BODY[:MEBIBYTE])) * 3))
            for _ in range(3):
                assert (await client.answer()).body == BODY
                assert (await client.answer()).body == BODY[:MEBIBYTE]
            await sending

    run(main())


def test_large_body_answered_in_parts(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
            at.app.on_handle = lambda exchange: exchange.respond_parts(head, exchange.body)
            client = await at.connect()
            await client.send(post(BODY))
            assert (await client.answer()).body == BODY

    run(main())


@pytest.mark.parametrize("how", ["half close", "close", "reset"])
@pytest.mark.parametrize("received", [70_000, 700_000, 5_999_999])
def test_large_body_that_ends_in_the_middle(run: Any, how: str, received: int) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(post(BODY)[:received])
            if how == "half close":
                client.half_close()
                assert [it.status for it in await client.rest()] == [400]
                client.close()
            else:
                client.close() if how == "close" else client.reset()
            await at.until(lambda: bool(at.app.abortions))
            await at.gone()
            assert at.app.handled == []
            assert at.app.abortions == at.app.begun
            await at.still_serves()

    run(main())


SMALL_LIMITS = Limits(body_bytes=100_000, drain_bytes=1_000_000)


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (post(BODY[:100_000]), None),
        (post(BODY[:100_001]), b"too large"),
        (post(BODY[:1_000_000]), b"too large"),
        (chunked(BODY[:60_000], BODY[60_000:100_000]), None),
        (chunked(BODY[:60_000], BODY[60_000:100_001]), b"too large"),
        (chunked(*[BODY[:50_000]] * 20), b"too large"),
    ],
)
def test_body_over_the_limit_is_drained_and_the_connection_goes_on(
    run: Any, request_bytes: bytes, body: bytes | None
) -> None:
    async def main() -> None:
        async with bench(SMALL_LIMITS) as at:
            client = await at.connect()
            await client.send(request_bytes + GOOD)
            assert (await client.answer()).body == (body or BODY[:100_000])
            assert (await client.answer()).headers["x-target"] == "/good"
            assert [it.too_large for it in at.app.handled] == [body is not None, False]
            assert body is None or at.app.handled[0].body == b""

    run(main())


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("framing", ["announced", "endless chunks", "endless chunk"])
def test_body_past_what_is_drained_is_answered_and_cut(run: Any, framing: str, later: bool) -> None:
    async def main() -> None:
        async with bench(SMALL_LIMITS) as at:
            if later:
                at.app.on_handle = at.app.keep
            client = await at.connect()
            size = 4_000_000
            match framing:
                case "announced":
                    data = post(b"x" * size)
                case "endless chunk":
                    data = STREAM_REQUEST + b"fffffff\r\n" + b"x" * size
                case _:
                    data = STREAM_REQUEST + (b"8000\r\n" + b"x" * 32_768 + b"\r\n") * 122
            sending = asyncio.ensure_future(client.send_tolerant(data + GOOD))
            await at.until(lambda: len(at.app.handled) == 1)
            if later:
                await at.settle()
                echo(at.app.pending.pop())
            answers = await client.rest()
            await sending
            assert [it.body for it in answers] == [b"too large"]
            assert answers[0].headers["connection"] == "close"
            client.close()
            await at.gone()
            assert len(at.app.handled) == 1
            assert at.app.abortions == []

    run(main())


@pytest.mark.parametrize("run", ["stock", *in_full("uvloop")], indirect=True)
def test_memory_of_a_body_of_tiny_chunks_is_bounded(run: Any) -> None:
    """Two bytes a chunk: kept one by one they would cost twenty times their size."""

    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            piece = b"2\r\nab\r\n" * 30_000
            await client.send(STREAM_REQUEST)
            tracemalloc.start()
            for _ in range(10):
                await client.send(piece)
            await client.send(b"0\r\n\r\n")
            await client.answer()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert at.app.handled[0].body == b"ab" * 300_000
            assert peak < 8_000_000

    run(main())
