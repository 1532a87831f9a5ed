"""Many connections at once: what each costs, that the active ones are served, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.wire.wire_support import GOOD, bench, post
from venturekit.service.wire.listener import SWEPT_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

CROWD = 2000


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CROWD + 500
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"the limit of open files must allow {wanted}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_crowd_is_looked_at_a_part_at_a_time(run: Any) -> None:
    count = 2 * SWEPT_AT_ONCE + 20

    async def scenario() -> None:
        async with bench() as at:
            clients = [await at.connect() for _ in range(count)]
            await at.settle()
            connections = tuple(at.listener.connections)
            assert len(connections) == count
            at.advance(10_000)
            assert sum(connection.transport.is_closing() for connection in connections) == SWEPT_AT_ONCE
            # Some go by themselves before their turn comes.
            for client in clients[::7]:
                client.reset()
            await at.gone()

    run(scenario())


MEASURE = """
import asyncio, gc, os, socket, sys, uvloop
from venturekit.service.wire.answers import answer
from venturekit.service.wire.listener import Clock, Listener

class Hello:
    def handle(self, exchange):
        exchange.respond(answer(200, (), b"hello"))

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main(count):
    loop = asyncio.get_running_loop()
    listener = Listener(Hello(), Clock(0.0, 0.0))
    await listener.start()
    held = []
    async def hold(number):
        for _ in range(number):
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", listener.port))
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\\r\\nHost: h\\r\\nX: " + b"x" * 1000 + b"\\r\\n\\r\\n")
            assert await loop.sock_recv(sock, 1000)
            held.append(sock)
    await hold(50)  # what is needed once
    before = resident()
    await hold(count)
    print((resident() - before) / count)

with asyncio.Runner(loop_factory=uvloop.new_event_loop if sys.argv[1] == "uvloop" else None) as runner:
    runner.run(main(int(sys.argv[2])))
"""


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("loop", ["stock", "uvloop"])
def test_memory_of_a_resting_connection(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, whose heap has no room left over from before. It holds both ends of each."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, loop, str(CROWD)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    each = float(done.stdout)
    with capsys.disabled():
        print(f"\n{loop}: {each:.0f} bytes per resting connection")
    assert 500 < each <= 20_000


@pytest.mark.usefixtures("many_files")
def test_two_thousand_resting_connections(run: Any) -> None:
    async def main() -> None:
        async with bench() as at:
            await at.still_serves()
            await at.gone()
            files = open_files()
            crowd = []
            for _ in range(CROWD // 100):
                some = [await at.connect() for _ in range(100)]
                for client in some:
                    await client.send(GOOD)
                for client in some:
                    assert (await client.answer()).status == 200
                crowd += some
            at.app.handled.clear()
            assert len(at.listener.connections) == CROWD
            active = [await at.connect() for _ in range(20)]
            for n in range(20):
                await asyncio.gather(*(client.send(post(b"%d" % n)) for client in active))
                for client in active:
                    assert (await client.answer()).body == b"%d" % n
            at.advance(100)
            for client in crowd[:: CROWD // 50]:
                assert (await client.ask(GOOD)).status == 200
            at.advance(21)
            await at.gone(50)
            for client in crowd + active:
                client.close()
            await at.gone()
            at.clients.clear()
            assert open_files() <= files

    run(main())


def test_slow_ones_do_not_stop_the_good_ones(run: Any) -> None:
    """Two hundred clients that send a byte now and then: all are gone after fifteen seconds of the clock."""

    async def main() -> None:
        async with bench() as at:
            slow = [await at.connect() for _ in range(200)]
            good = await at.connect()
            for number, client in enumerate(slow):
                await client.send(GOOD[:5] if number % 2 else post(b"x" * 50_000)[:70])
            for _ in range(15):
                at.advance(1)
                for client in slow:
                    client.push_tolerant(b"x")
                assert (await good.ask(GOOD)).status == 200
            for client in slow:
                assert [it.status for it in await client.rest()] in ([408], [])
            assert len(at.app.refusals) == 200
            for client in slow:
                client.close()
            await at.gone(1)

    run(main())
