"""Event stream messages, read back by botocore's own parser."""

from __future__ import annotations

from contextlib import suppress

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.eventstream import encode_event, encode_message

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5), st.binary(max_size=300)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 64),
)
def test_messages_are_what_botocore_reads(messages: list[tuple[dict[str, str], bytes]], size: int) -> None:
    stream = b"".join(encode_message(headers, payload) for headers, payload in messages)
    reader = EventStreamBuffer()
    read = []
    for start in range(0, len(stream), size):
        reader.add_data(stream[start : start + size])
        read += [(message.headers, message.payload) for message in reader]
    assert read == messages


def test_every_flipped_bit_is_noticed() -> None:
    message = encode_event("PayloadChunk", b"payload", "application/octet-stream")
    for position in range(8 * len(message)):
        broken = bytearray(message)
        broken[position // 8] ^= 1 << position % 8
        reader = EventStreamBuffer()
        reader.add_data(bytes(broken))
        read = []
        # A total length that has become longer: the reader still waits for the rest.
        with suppress(ParserError):
            read = [(each.headers, each.payload) for each in reader]
        assert read == []


@pytest.mark.parametrize("headers", [{"n" * 256: ""}, {"": "v"}, {"n": "v" * 65536}])
def test_a_header_that_cannot_be_written(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="too long"):
        encode_message(headers, b"")
