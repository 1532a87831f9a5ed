"""Response heads and chunk sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.ric.connection import split_address
from venturekit.ric.faults import ProtocolError
from venturekit.ric.http1 import parse_chunk_size, parse_head


def test_a_head() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Value:  a: b \r\nx-value: last\r\nEMPTY:")
    assert (head.status, head.content_length, head.chunked, head.closes) == (200, 12, False, False)
    assert head.headers == {b"content-length": b"12", b"x-value": b"last", b"empty": b""}


@pytest.mark.parametrize(
    ("block", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: foo, close", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive", False),
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", False),
        (b"HTTP/1.1 204 No Content", False),
        (b"HTTP/1.1 100 Continue", False),
    ],
)
def test_when_a_connection_ends(block: bytes, closes: bool) -> None:
    assert parse_head(block).closes is closes


@given(st.binary(max_size=60))
def test_any_block_is_parsed_or_refused(block: bytes) -> None:
    try:
        status = parse_head(block).status
    except ProtocolError:
        return
    assert 0 <= status <= 999


@given(st.integers(min_value=0, max_value=2**28))
def test_chunk_sizes(size_bytes: int) -> None:
    for line in (b"%x" % size_bytes, b"00%X ; name=value" % size_bytes):
        assert parse_chunk_size(line) == size_bytes


@pytest.mark.parametrize("line", [b"", b"-1", b"+1", b"0x10", b"1_0", b"g", b"ffffffffff", b";1", b"1 1"])
def test_lines_that_are_no_chunk_size(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="chunk size"):
        parse_chunk_size(line)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:9001", ("127.0.0.1", 9001)), ("[::1]:80", ("::1", 80)), ("localhost:1", ("localhost", 1))],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:port", "host:99999", "http://host/"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ProtocolError, match="must be host:port"):
        split_address(address)
