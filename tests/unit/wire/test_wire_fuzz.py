"""Random bytes and damaged requests: nothing but answers and closes, and never an exception."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.wire.wire_support import GOOD, bench, chunked, echo, post
from venturekit.service.wire.limits import Limits

STATUSES = {100, 200, 400, 408, 417, 431, 501, 505}
SMALL = Limits(head_bytes=600, header_count=8, body_bytes=300, drain_bytes=300)
TOKENS = [
    b"GET ", b"POST ", b"CONNECT ", b"PRI * ", b"SOURCE ", b"/", b"/x", b"*", b"http://h/", b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b"\t", b": ", b"Host: h\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 400\r\n", b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"ffffffff\r\n", b"A: b\r\n", b"hello", b"x" * 100, b"\r\n\r\n",
]  # fmt: skip
VALID = [
    GOOD,
    post(b"hello"),
    post(b"x" * 100, fields=b"Expect: 100-continue\r\n"),
    post(b"hello", fields=b"Connection: upgrade\r\nUpgrade: h2c\r\n"),
    chunked(b"one", b"two", trailers=b"A: b\r\n"),
    GOOD.replace(b"1.1", b"1.0"),
    GOOD.replace(b"/good", b"http://h/"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Valid requests in a row with some bytes replaced, removed, doubled or put in."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 6))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + size] = draw(st.binary(max_size=6))
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + 10 * size]
            case _:
                data[at:at] = draw(st.sampled_from(TOKENS))
    return bytes(data)


GRAMMAR = st.lists(st.sampled_from(TOKENS), max_size=25).map(b"".join)
INPUT = st.one_of(damaged(), GRAMMAR, st.binary(max_size=200))


async def feed(pieces: list[bytes], pending: bool) -> None:
    async with bench(SMALL) as at:
        at.app.on_handle = at.app.keep if pending else at.app.on_handle
        client = await at.connect()
        for piece in pieces:
            await client.send_tolerant(piece)
            if len(pieces) > 1:
                await at.settle(1)
        try:
            client.half_close()
        except OSError:
            pass  # cut already
        if pending:
            for _ in range(60):
                await at.settle(1)
                if not at.app.pending:
                    break
                echo(at.app.pending.pop())
        answers = await client.rest()
        assert {it.status for it in answers} <= STATUSES
        client.close()
        await at.gone()
        await at.still_serves()
        # Refusals of whole requests that are owed an earlier answer are silent, so there is at most one.
        assert sum(it.status >= 400 for it in answers) <= 1


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["stock", "uvloop"])
@pytest.mark.parametrize("pending", [False, True])
def test_anything_is_answered_or_closed(factory: Any, pending: bool) -> None:
    loop = factory()

    @settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(INPUT, st.lists(st.integers(0, 400), max_size=3))
    def attempt(data: bytes, cuts: list[int]) -> None:
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
        loop.run_until_complete(feed(pieces, pending))

    try:
        attempt()
    finally:
        loop.close()


@settings(deadline=None, max_examples=200)
@given(damaged())
def test_what_is_handled_was_asked_for(data: bytes) -> None:
    """No damage makes more requests than there are request lines."""
    handled = asyncio.run(count(data))
    assert handled <= len(re.findall(rb"HTTP/1\.[01]|RTSP/1\.[01]|ICE/1\.[01]", data))


async def count(data: bytes) -> int:
    async with bench(SMALL) as at:
        client = await at.connect()
        await client.send_tolerant(data)
        try:
            client.half_close()
        except OSError:
            pass  # cut already
        await client.rest()
        return len(at.app.handled)
