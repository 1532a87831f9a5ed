"""Time: every bound is reached by a clock that the test moves, never by waiting."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.wire.wire_support import GOOD, START, WALL, Bench, Sink, bench, chunked, echo, post
from venturekit.service.wire.deadlines import unread
from venturekit.service.wire.limits import MEBIBYTE, Limits
from venturekit.service.wire.listener import Clock, Listener, http_date

if TYPE_CHECKING:
    from tests.unit.wire.wire_support import Client
    from venturekit.service.wire.exchange import Exchange

LIMITS = Limits(head_timeout=10, body_grace=10, body_bytes_per_second=1000, keep_alive=120, write_timeout=30)
HEAD = b"POST /x HTTP/1.1\r\nHost: h\r\n"


async def served(at: Bench, client: Client) -> None:
    assert (await client.ask(GOOD)).status == 200


def test_clock_gives_the_date_of_answers() -> None:
    clock = Clock(5.0, 1_700_000_000.5)
    assert clock.date == b"Tue, 14 Nov 2023 22:13:20 GMT"
    clock.advance(6.0, 1_700_000_001.5)
    assert (clock.now, clock.date) == (6.0, b"Tue, 14 Nov 2023 22:13:21 GMT")


@pytest.mark.parametrize("dribble", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_slow_head_is_refused(run: Any, dribble: bool, first: bool) -> None:
    """Ten seconds from its first byte to its end, however many bytes come in between."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            if not first:
                await served(at, client)
            at.advance(100)
            await client.send(GOOD[:1])
            await at.settle()
            for n in range(10):
                at.advance(1)
                if dribble:
                    await client.send(GOOD[n + 1 : n + 2])
                    await at.settle(1)
            assert at.app.refusals == []
            at.advance(0.5)
            answers = await client.rest()
            assert [it.status for it in answers] == [408]
            assert b"10 seconds" in answers[0].body
            client.close()
            await at.gone()

    run(main())


def test_head_in_time_is_served(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            for _ in range(3):
                await client.send(GOOD[:8])
                await at.settle()
                at.advance(9.5)
                await client.send(GOOD[8:])
                assert (await client.answer()).status == 200

    run(main())


BODIES = {
    "small": HEAD + b"Content-Length: 60000\r\n\r\n",
    "filled": HEAD + b"Content-Length: 120000\r\n\r\n",
    "direct": HEAD + b"Content-Length: 6000000\r\n\r\n",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n",
    "dropped": HEAD + b"Content-Length: 7000000\r\n\r\n",
    "extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff;a=",
    "trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: ",
}


@pytest.mark.parametrize("mode", BODIES)
def test_slow_body_is_refused(run: Any, mode: str) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            await client.send(BODIES[mode] + b"x" * 100)
            await at.settle()
            at.advance(10)
            for _ in range(3):
                await client.send(b"x")
                await at.settle(1)
            assert at.app.refusals == []
            at.advance(1)
            answers = await client.rest()
            assert [it.status for it in answers] == [408]
            assert b"too slowly" in answers[0].body
            client.close()
            await at.gone()
            assert at.app.handled == []
            assert [it.target for it in at.app.abortions] == [b"/x"]

    run(main())


@pytest.mark.parametrize("mode", ["small", "filled", "direct", "chunked"])
def test_body_that_keeps_its_rate_may_take_long(run: Any, mode: str) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            await client.send(BODIES[mode])
            for _ in range(40):
                await client.send(b"x" * 1000)
                await at.settle(1)
                at.advance(1)
            assert at.app.refusals == []
            for _ in range(11):
                at.advance(1)
            assert [it.status for it in await client.rest()] == [408]

    run(main())


def test_slow_body_behind_a_large_one_is_refused(run: Any) -> None:
    """What was received of the large one does not count for the slow one."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            assert (await client.ask(post(b"x" * 5_000_000))).status == 200
            await client.send(BODIES["small"] + b"x")
            await at.settle()
            at.advance(11)
            assert [it.status for it in await client.rest()] == [408]

    run(main())


def test_streamed_body_has_the_time_it_needs(run: Any) -> None:
    """A function may produce a piece every few minutes: its own time limit ends it, not the listener."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            sink = Sink(at.app)

            def begin(exchange: Exchange) -> Sink:
                sink.on_end = lambda: echo(exchange)
                return sink

            at.app.on_begin = begin
            client = await at.connect()
            await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for n in range(3):
                await client.send(b"1\r\nx\r\n")
                await at.until(lambda n=n: sink.size == n + 1)
                at.advance(400)
            await client.send(b"0\r\n\r\n")
            assert (await client.answer()).status == 200

    run(main())


def test_body_behind_a_long_request_gets_its_own_time(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            body = b"x" * 30_000
            await client.send(GOOD + chunked(body)[:-10])
            await at.until(lambda: bool(at.app.pending))
            await at.settle()
            for _ in range(100):
                at.advance(9)
            at.app.on_handle = echo
            echo(at.app.pending.pop())
            assert (await client.answer()).status == 200
            await at.settle()
            at.advance(9)
            await client.send(chunked(body)[-10:])
            assert (await client.answer()).body == body

    run(main())


def test_long_request_is_not_ended_by_any_time(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = at.app.keep
            client = await at.connect()
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.pending))
            for _ in range(20):
                at.advance(900)
            echo(at.app.pending.pop())
            assert (await client.answer()).status == 200
            at.advance(119)
            at.app.on_handle = echo
            await served(at, client)

    run(main())


@pytest.mark.parametrize("used", [False, True])
def test_resting_connection_is_closed(run: Any, used: bool) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            if used:
                at.advance(119)
                await served(at, client)
            else:
                await at.settle()
            at.advance(120)
            await at.settle()
            assert len(at.listener.connections) == 1
            at.advance(1)
            assert await client.rest() == []
            await at.gone()
            assert at.app.refusals == []

    run(main())


def test_empty_lines_do_not_keep_a_connection(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            for _ in range(4):
                at.advance(40)
                await client.send(b"\r\n")
                await at.settle(1)
            assert await client.rest() == []
            await at.gone()

    run(main())


def test_no_limits_no_closes(run: Any) -> None:
    async def main() -> None:
        none = Limits(head_timeout=None, body_grace=None, keep_alive=None, write_timeout=None)
        async with bench(none) as at:
            clients = [await at.connect() for _ in range(3)]
            await clients[0].send(GOOD[:5])
            await clients[1].send(post(b"hello")[:-2])
            await served(at, clients[2])
            await at.settle()
            at.advance(1e6)
            await clients[0].send(GOOD[5:])
            await clients[1].send(b"lo")
            assert [(await it.answer()).status for it in clients[:2]] == [200, 200]
            await served(at, clients[2])

    run(main())


def test_lingering_ends(run: Any) -> None:
    """A refused peer that neither reads nor leaves is cut after two seconds."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            client = await at.connect()
            await client.send(b"BAD\r\n\r\n")
            await at.until(lambda: bool(at.app.refusals))
            at.advance(1.5)
            await at.settle()
            assert len(at.listener.connections) == 1
            assert not at.listener.busy
            at.advance(1)
            await at.gone()
            assert [it.status for it in await client.rest()] == [400]

    run(main())


def huge(exchange: Exchange) -> None:
    body = b"x" * (32 * MEBIBYTE)
    exchange.respond_parts(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)


@pytest.mark.parametrize("closing", [False, True])
def test_peer_that_does_not_read_is_cut(run: Any, closing: bool) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = huge
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD.replace(b"Host", b"Connection: close\r\nHost") if closing else GOOD)
            await at.until(lambda: bool(at.app.handled))
            await at.settle()
            assert at.listener.busy
            at.advance(1)
            at.advance(30)
            await at.settle()
            assert len(at.listener.connections) == 1
            at.advance(1)
            await at.gone()

    run(main())


def test_look_at_a_connection_that_is_being_cut(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = huge
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.handled))
            (connection,) = at.listener.connections
            connection.abort()
            assert unread(connection) >= 0
            at.advance(1)
            await at.gone()
            assert unread(connection) == 0

    run(main())


def test_peer_that_reads_slowly_is_not_cut(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = huge
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.handled))
            while len(client.buffer) < 32 * MEBIBYTE:
                size = len(client.buffer)
                while len(client.buffer) < size + 4 * MEBIBYTE and len(client.buffer) < 32 * MEBIBYTE:
                    await client.more()
                at.advance(29)
            client.buffer.clear()
            at.app.on_handle = echo
            await served(at, client)

    run(main())


def test_peer_that_reads_less_than_the_kernel_holds_is_not_cut(run: Any) -> None:
    """The kernel asks for more when megabytes have gone: what it has sent meanwhile is progress as well."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = huge
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.handled))
            await at.settle()
            (connection,) = at.listener.connections
            queued = connection.transport.get_write_buffer_size()
            for _ in range(6):
                size = len(client.buffer)
                while len(client.buffer) < size + 140_000:
                    await client.more()
                at.advance(29)
            assert not connection.dead
            assert connection.transport.get_write_buffer_size() == queued, "the kernel has not asked for more"
            at.advance(31)
            await at.gone()

    run(main())


def test_steady_stream_is_progress_even_when_as_much_is_always_unsent(run: Any) -> None:
    """The application refills what the peer drains, so each look finds the same number of bytes."""

    async def main() -> None:
        async with bench(LIMITS) as at:

            def stream(exchange: Exchange) -> None:
                exchange.start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

                def refill() -> None:
                    at.app.changed.set()
                    while exchange.write(b"p" * MEBIBYTE):
                        pass

                exchange.on_drain = refill
                refill()
                at.app.keep(exchange)

            at.app.on_handle = stream
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.pending))
            exchange = at.app.pending.pop()
            connection = exchange.connection
            drained = [0]
            refill = exchange.on_drain
            assert refill is not None

            def count() -> None:
                drained[0] += 1
                refill()

            exchange.on_drain = count
            for n in range(1, 5):
                while drained[0] < n:
                    await client.more()
                    client.buffer.clear()
                # As if exactly as much were unsent as at the last look.
                if connection.unsent:
                    connection.unsent = unread(connection)
                at.advance(29)
            assert not exchange.gone
            at.advance(31)
            assert exchange.gone
            await at.gone()

    run(main())


# --- draining ---------------------------------------------------------------------------------------------------------


def test_graceful_drain(run: Any) -> None:
    """Resting connections close at once, those with a request when it is answered, and nothing new is accepted."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            resting, fresh = await at.connect(), await at.connect()
            await served(at, resting)
            at.app.on_handle = at.app.keep
            busy, piped, begun = [await at.connect() for _ in range(3)]
            await busy.send(GOOD)
            await piped.send(GOOD + GOOD)
            await begun.send(post(b"hello")[:-2])
            await at.until(lambda: len(at.app.pending) == 2)
            await at.settle()
            at.listener.stop_accepting()
            assert await resting.rest() == []
            assert await fresh.rest() == []
            await at.gone(3)
            assert at.listener.busy
            with pytest.raises(OSError):
                await at.connect()
            at.app.on_handle = echo
            for exchange in at.app.pending:
                echo(exchange)
            await begun.send(b"lo")
            assert [it.headers["connection"] for it in await busy.rest()] == ["close"]
            assert [it.headers["connection"] for it in await piped.rest()] == ["keep-alive", "close"]
            assert [it.body for it in await begun.rest()] == [b"hello"]
            for client in (busy, piped, begun):
                client.close()
            await at.gone()
            assert not at.listener.busy

    run(main())


def test_drain_waits_for_unread_answers(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = huge
            client = await at.connect(receive_buffer_bytes=65_536)
            await client.send(GOOD)
            await at.until(lambda: bool(at.app.handled))
            at.listener.stop_accepting()
            assert at.listener.busy
            assert len((await client.answer()).body) == 32 * MEBIBYTE
            await at.settle()
            at.advance(1)
            assert await client.rest() == []
            await at.gone()
            assert not at.listener.busy

    run(main())


def test_close_cuts_everything_and_aborts_what_is_in_hand(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            at.app.on_handle = at.app.keep
            clients = [await at.connect() for _ in range(3)]
            await clients[0].send(GOOD)
            await clients[1].send(GOOD[:5])
            await at.until(lambda: bool(at.app.pending))
            at.listener.close()
            for client in clients:
                assert await client.rest() == []
            await at.gone()
            assert at.app.abortions == at.app.pending
            assert at.listener not in at.clock.listeners

    run(main())


def test_connection_that_is_accepted_while_the_listener_closes_is_cut(run: Any) -> None:
    async def main() -> None:
        async with bench(LIMITS) as at:
            clients = [await at.connect() for _ in range(5)]
            at.listener.close()
            for client in clients:
                assert await client.rest() == []
            await at.gone()

    run(main())


# --- the listener itself ----------------------------------------------------------------------------------------------


def test_listener_is_on_the_loopback_address_unless_told(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            other = Listener(at.app, at.clock)
            await other.start()
            assert other.port > 0
            client = await at.connect(other)
            assert (await client.ask(GOOD)).status == 200
            assert client.sock.getpeername()[0] == "127.0.0.1"
            with pytest.raises(OSError):
                await Listener(at.app, at.clock).start("127.0.0.1", other.port)
            client.close()
            other.close()

    run(main())


def test_two_listeners_under_one_clock(run: Any) -> None:
    async def main() -> None:
        clock = Clock(START, WALL)
        async with bench(LIMITS) as at:
            at.clock.listeners.discard(at.listener)
            at.clock = at.listener.clock = clock
            clock.listeners.add(at.listener)
            other = Listener(at.app, clock, Limits(keep_alive=5))
            await other.start()
            here, there = await at.connect(), await at.connect(other)
            await served(at, here)
            await served(at, there)
            clock.advance(START + 6, WALL)
            assert await there.rest() == []
            await served(at, here)
            other.close()

    run(main())


@pytest.mark.parametrize("mode", ["handle", "begin", "second", "direct"])
def test_fault_of_the_application_cuts_only_that_connection(run: Any, mode: str) -> None:
    """It is reported to the loop, and the other connections go on."""

    async def main() -> None:
        async with bench(LIMITS) as at:
            faults: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))

            def fail(exchange: Exchange) -> None:
                raise ZeroDivisionError

            other = await at.connect()
            await served(at, other)
            client = await at.connect()
            if mode == "begin":
                at.app.on_begin = fail
                await client.send(chunked(b"x"))
            elif mode == "second":
                at.app.on_handle = at.app.keep
                await client.send(GOOD + GOOD)
                await at.until(lambda: bool(at.app.pending))
                at.app.on_handle = fail
                with pytest.raises(ZeroDivisionError):
                    echo(at.app.pending.pop())
            else:
                at.app.on_handle = fail
                await client.send(post(b"x" * 4_000_000) if mode == "direct" else GOOD)
            await client.rest()
            client.close()
            await at.gone(1)
            assert len(faults) == (0 if mode == "second" else 1)
            assert len(at.app.abortions) == 1
            at.app.on_handle = echo
            await served(at, other)

    run(main())


@pytest.mark.parametrize("wall", [0.0, 951_782_399.9, 951_868_800.0, 1_794_700_800.5, 4_102_444_799.0])
def test_the_date_is_the_one_of_the_standard(wall: float) -> None:
    assert http_date(wall).decode() == formatdate(wall, usegmt=True)
