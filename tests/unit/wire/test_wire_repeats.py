"""A request that was learned is told from the same bytes elsewhere."""

from __future__ import annotations

import itertools
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.wire.wire_support import Recorder, bench, chunked, post
from venturekit.service.wire.connection import Connection
from venturekit.service.wire.listener import Clock, Listener

NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def requests_of(reads: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """What the application is handed when these reads arrive at a connection that has learned ``NEXT``."""
    app = Recorder()
    connection = Connection(Listener(app, Clock(0.0, 0.0)))
    transport = Mock()
    transport.get_extra_info.return_value = None
    transport.get_write_buffer_size.return_value = 0
    connection.connection_made(transport)
    connection.data_received(NEXT)
    assert connection.learned is not None
    for read in reads:
        connection.data_received(read)
    return [(it.method, it.target, bytes(it.body)) for it in app.handled][1:]


@pytest.mark.parametrize("body", [b"", b"{}", NEXT, b"x" + NEXT, NEXT + NEXT])
def test_an_answer_with_the_next_request_behind_it_is_two_requests(run: Any, body: bytes) -> None:
    async def main() -> None:
        async with bench() as at:
            client = await at.connect()
            await client.send(NEXT)
            await client.answer()
            for _ in range(3):
                await client.send(post(body) + NEXT)
                assert (await client.answer()).body == body
                assert (await client.answer()).headers["x-target"] == "/next"

    run(main())


def test_the_learned_bytes_inside_a_body_are_the_body() -> None:
    whole = post(b"a" + NEXT)
    assert requests_of([whole]) == [(b"POST", b"/x", b"a" + NEXT)]
    assert requests_of([whole[: -len(NEXT)], NEXT]) == [(b"POST", b"/x", b"a" + NEXT)]
    assert requests_of([chunked(NEXT)]) == [(b"POST", b"/x", NEXT)]


def test_the_learned_bytes_behind_part_of_a_head_belong_to_that_head() -> None:
    # One request with two Host lines: refused for that, and never served as the learned one.
    assert requests_of([b"GET /other HTTP/1.1\r\nHost: h\r\nX-Copy: " + NEXT]) == []


STREAM = st.lists(
    st.sampled_from(
        [NEXT, post(b""), post(b"{}"), post(NEXT), chunked(b"a", NEXT), b"GET /o HTTP/1.1\r\nHost: h\r\n\r\n"]
    ),
    min_size=1,
    max_size=6,
)


@given(stream=STREAM, cuts=st.lists(st.integers(0, 2000), max_size=6))
@settings(deadline=None, max_examples=300)
def test_any_cut_of_a_stream_gives_the_same_requests(stream: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(stream)
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    reads = [whole[start:end] for start, end in itertools.pairwise(places)]
    one_by_one = [request for part in stream for request in requests_of([part])]
    assert requests_of(reads) == one_by_one
