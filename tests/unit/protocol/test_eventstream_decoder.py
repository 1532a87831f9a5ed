"""The decoder of event streams against botocore's: random pieces, every flipped bit, truncations, crafted headers."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.eventstream import (
    HEADERS_LIMIT_BYTES,
    PAYLOAD_LIMIT_BYTES,
    EventStreamError,
    Message,
    MessageDecoder,
    TruncatedStreamError,
    encode_event,
    encode_event_parts,
    encode_message,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
BINARY = "application/octet-stream"
UUID = bytes(range(16))


def header(name: bytes, kind: int, value: bytes = b"") -> bytes:
    return b"%c%b%c%b" % (len(name), name, kind, value)


def sized(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def framed(block: bytes, payload: bytes = b"", *, total: int | None = None, headers: int | None = None) -> bytes:
    """A message around a block of headers, with right checksums, whatever its lengths say."""
    prelude = struct.pack(
        ">II", 16 + len(block) + len(payload) if total is None else total, len(block) if headers is None else headers
    )
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return start + struct.pack(">I", zlib.crc32(start))


def read(stream: bytes, sizes: list[int] | None = None) -> tuple[list[Message], EventStreamError | None]:
    """All messages of a stream that comes in pieces of these sizes, over and over, and the error that ended it."""
    decoder, messages = MessageDecoder(), []
    at, turn = 0, 0
    try:
        while at < len(stream):
            size = sizes[turn % len(sizes)] if sizes else len(stream)
            for message in decoder.feed(stream[at : at + size]):
                messages.append(message)  # noqa: PERF402 - what came before an error counts
            at, turn = at + size, turn + 1
        decoder.end()
    except EventStreamError as error:
        return messages, error
    return messages, None


def read_by_botocore(stream: bytes) -> list[Message] | None:
    """None where botocore refuses the stream."""
    reader, messages = EventStreamBuffer(), []
    reader.add_data(stream)
    try:
        for message in reader:
            messages.append(Message(message.headers, message.payload))  # noqa: PERF401
    except (ParserError, struct.error, KeyError, UnicodeDecodeError):
        return None
    return messages


typed_headers = st.one_of(
    st.just((0, b"", True)),
    st.just((1, b"", False)),
    st.integers(-(2**7), 2**7 - 1).map(lambda n: (2, struct.pack(">b", n), n)),
    st.integers(-(2**15), 2**15 - 1).map(lambda n: (3, struct.pack(">h", n), n)),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: (4, struct.pack(">i", n), n)),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: (5, struct.pack(">q", n), n)),
    st.binary(max_size=60).map(lambda data: (6, sized(data), data)),
    TEXT.map(lambda text: (7, sized(text.encode()), text)),
    st.integers(0, 2**63 - 1).map(lambda n: (8, struct.pack(">q", n), n)),
    st.binary(min_size=16, max_size=16).map(lambda data: (9, data, data)),
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5), st.binary(max_size=300)),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(1, 70), min_size=1, max_size=5),
)
def test_what_was_written_is_read(messages: list[tuple[dict[str, str], bytes]], sizes: list[int]) -> None:
    stream = b"".join(encode_message(headers, payload) for headers, payload in messages)
    assert read(stream, sizes) == (messages, None)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(TEXT.filter(bool), typed_headers, max_size=6), st.binary(max_size=100), st.integers(1, 40))
def test_headers_of_every_type_are_read_as_botocore_reads_them(
    headers: dict[str, tuple[int, bytes, Any]], payload: bytes, size: int
) -> None:
    block = b"".join(header(name.encode(), kind, value) for name, (kind, value, _) in headers.items())
    stream = framed(block, payload)
    messages, error = read(stream, [size])
    assert error is None
    assert messages == [({name: value for name, (_, _, value) in headers.items()}, payload)]
    assert messages == read_by_botocore(stream)


def test_the_types_of_header_values() -> None:
    block = b"".join(
        (
            header(b"true", 0),
            header(b"false", 1),
            header(b"byte", 2, b"\xff"),
            header(b"short", 3, b"\x80\x00"),
            header(b"integer", 4, b"\x7f\xff\xff\xff"),
            header(b"long", 5, b"\xff" * 8),
            header(b"bytes", 6, sized(b"\x00\xff")),
            header(b"text", 7, sized("π".encode())),
            header(b"time", 8, struct.pack(">q", 1_583_348_638_390)),
            header(b"uuid", 9, UUID),
        )
    )
    (message,) = MessageDecoder().feed(framed(block))
    assert message.headers == {
        "true": True,
        "false": False,
        "byte": -1,
        "short": -32768,
        "integer": 2**31 - 1,
        "long": -1,
        "bytes": b"\x00\xff",
        "text": "π",
        "time": 1_583_348_638_390,
        "uuid": UUID,
    }
    assert [type(value) for value in message.headers.values()] == [bool] * 2 + [int] * 4 + [bytes, str, int, bytes]


def test_every_flipped_bit_is_refused() -> None:
    """Of twelve messages of many sizes, all bits: over 20,000 broken streams."""
    randomness = random.Random(2018)
    cases = 0
    for length in (0, 1, 7, 64, 100, 130, 150, 160, 170, 180, 190, 200):
        message = encode_event("PayloadChunk", randomness.randbytes(length), BINARY)
        before = encode_event("PayloadChunk", b"before", BINARY)
        for position in range(8 * len(message)):
            broken = bytearray(message)
            broken[position // 8] ^= 1 << position % 8
            messages, error = read(before + bytes(broken))
            assert [each.payload for each in messages] == [b"before"]
            # A flipped length is refused by its own checksum, and not waited for.
            assert error is not None
            assert "checksum" in str(error)
            cases += 1
    assert cases > 20_000


def test_streams_broken_at_random_are_read_as_botocore_reads_them() -> None:
    randomness = random.Random(4711)
    refused = read_on = 0
    for _ in range(4000):
        messages = [
            encode_event("PayloadChunk", randomness.randbytes(randomness.randrange(60)), BINARY) for _ in range(3)
        ]
        broken = bytearray(b"".join(messages))
        for _ in range(randomness.randrange(3)):
            at = randomness.randrange(len(broken) + 1)
            match randomness.randrange(4):
                case 0:
                    broken[at : at + 1] = randomness.randbytes(1)
                case 1:
                    del broken[at : at + randomness.randrange(1, 9)]
                case 2:
                    broken[at:at] = randomness.randbytes(randomness.randrange(1, 9))
                case _:
                    del broken[at:]
        ours, error = read(bytes(broken), [randomness.randrange(1, 200)])
        theirs = read_by_botocore(bytes(broken))
        if theirs is None:
            assert error is not None
            refused += 1
        else:
            assert ours == theirs
            assert error is None or isinstance(error, TruncatedStreamError)
            read_on += 1
    assert min(refused, read_on) > 1500


def test_header_blocks_of_random_bytes_never_do_harm() -> None:
    """With right checksums, so that the headers themselves are what is read."""
    randomness = random.Random(99)
    valid = header(b"a", 7, sized(b"text")) + header(b"b", 4, bytes(4)) + header(b"c", 9, UUID)
    parsed = 0
    for turn in range(8000):
        if turn % 2:
            block = bytearray(valid)
            for _ in range(randomness.randrange(3)):
                block[randomness.randrange(len(block))] = randomness.randrange(256)
        else:
            block = bytearray(randomness.choice(b"\x00\x01\x02\x06\x07\x09ab") for _ in range(randomness.randrange(24)))
        messages, error = read(framed(bytes(block)))
        if error is None:
            parsed += 1
            assert messages == read_by_botocore(framed(bytes(block)))
        else:
            assert messages == []
    assert parsed > 1000


def test_what_came_before_an_error_is_read_and_the_error_stays() -> None:
    good, bad = encode_event("PayloadChunk", b"good", BINARY), bytearray(encode_event("PayloadChunk", b"bad", BINARY))
    bad[-1] ^= 1
    decoder = MessageDecoder()
    messages = decoder.feed(good + good + bytes(bad) + good)
    assert [next(messages).payload, next(messages).payload] == [b"good", b"good"]
    with pytest.raises(EventStreamError, match="the checksum of a message is 0x") as first:
        next(messages)
    with pytest.raises(EventStreamError) as second:
        decoder.feed(good)
    with pytest.raises(EventStreamError) as third:
        decoder.end()
    assert first.value is second.value is third.value


def test_messages_that_were_not_taken_come_with_the_next_call() -> None:
    decoder = MessageDecoder()
    one, two, three = (encode_event("PayloadChunk", payload, BINARY) for payload in (b"1", b"2", b"3"))
    assert next(decoder.feed(one + two)).payload == b"1"
    assert [message.payload for message in decoder.feed(three)] == [b"2", b"3"]
    decoder.end()


def test_a_stream_that_ends_inside_a_message() -> None:
    message = encode_event("InvokeComplete", b"{}", "application/json")
    stream = message + message
    for length in range(len(stream) + 1):
        messages, error = read(stream[:length], [11])
        assert len(messages) == length // len(message)
        if length % len(message) == 0:
            assert error is None
        else:
            assert isinstance(error, TruncatedStreamError)
            assert f"{length % len(message)} bytes of " in str(error)


def test_an_empty_stream_is_complete() -> None:
    decoder = MessageDecoder()
    assert list(decoder.feed(b"")) == []
    decoder.end()


def test_a_message_may_be_empty() -> None:
    assert list(MessageDecoder().feed(framed(b"") * 2)) == [({}, b"")] * 2


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_read(kind: Any) -> None:
    assert [message.payload for message in MessageDecoder().feed(kind(framed(b"", b"data")))] == [b"data"]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (framed(b"", total=15), "a message of 15 bytes cannot hold 0 bytes of headers"),
        (framed(b"", total=0), "a message of 0 bytes cannot hold"),
        (framed(b"", total=20, headers=5), "a message of 20 bytes cannot hold 5 bytes of headers"),
        (
            framed(b"", total=17 + PAYLOAD_LIMIT_BYTES),
            f"{PAYLOAD_LIMIT_BYTES + 1} bytes of payload, more than {PAYLOAD_LIMIT_BYTES}",
        ),
        (framed(b"", total=2**32 - 1), f"bytes of payload, more than {PAYLOAD_LIMIT_BYTES}"),
        (
            framed(b"", total=2**31, headers=HEADERS_LIMIT_BYTES + 1),
            f"{HEADERS_LIMIT_BYTES + 1} bytes of headers, more than {HEADERS_LIMIT_BYTES}",
        ),
        (b"HTTP/1.1 502 Bad Gateway", "this is no event stream"),
    ],
)
def test_lengths_that_cannot_be_are_refused_before_the_message_comes(stream: bytes, reason: str) -> None:
    decoder = MessageDecoder()
    assert list(decoder.feed(stream[:11])) == []
    with pytest.raises(EventStreamError, match=reason):
        list(decoder.feed(stream[11:12]))


def test_the_limits_of_one_decoder() -> None:
    fitting = framed(header(b"n", 0), bytes(10))
    assert len(list(MessageDecoder(payload_limit_bytes=10, headers_limit_bytes=3).feed(fitting))) == 1
    with pytest.raises(EventStreamError, match="10 bytes of payload, more than 9"):
        list(MessageDecoder(payload_limit_bytes=9).feed(fitting))
    with pytest.raises(EventStreamError, match="3 bytes of headers, more than 2"):
        list(MessageDecoder(headers_limit_bytes=2).feed(fitting))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (header(b"", 0), "a header has no name"),
        (header(b"n", 0) + header(b"n", 1), "the header 'n' comes twice"),
        (b"\x05ab", "the name of a header goes on behind the end"),
        (b"\x02ab", "the header 'ab' goes on behind the end"),
        (header(b"n", 10), "the header 'n' has the unknown type 10"),
        (header(b"n", 255), "unknown type 255"),
        (header(b"n", 2), "the header 'n' goes on behind the end"),
        (header(b"n", 3, b"1"), "goes on behind the end"),
        (header(b"n", 4, b"123"), "goes on behind the end"),
        (header(b"n", 5, b"1234567"), "goes on behind the end"),
        (header(b"n", 6, b"\x00"), "goes on behind the end"),
        (header(b"n", 6, b"\x00\x02a"), "goes on behind the end"),
        (header(b"n", 7, b"\xff\xffa"), "goes on behind the end"),
        (header(b"n", 8, b"1234567"), "goes on behind the end"),
        (header(b"n", 9, UUID[1:]), "goes on behind the end"),
        (header(b"n", 7, sized(b"\xff")), "the header 'n' is not UTF-8"),
        (header(b"\xff", 0), "the name of a header is not UTF-8"),
    ],
)
def test_headers_that_cannot_be_read(block: bytes, reason: str) -> None:
    with pytest.raises(EventStreamError, match=reason):
        list(MessageDecoder().feed(framed(block, b"payload that could be taken for a header")))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_parts_of_an_event_hold_the_payload_itself(kind: Any) -> None:
    payload = kind(b"payload" * 9000)
    parts = encode_event_parts("PayloadChunk", payload, BINARY)
    assert parts[1] is payload
    assert b"".join(parts) == encode_event("PayloadChunk", payload, BINARY)
    assert read_by_botocore(b"".join(parts)) == list(MessageDecoder().feed(b"".join(parts)))


def test_more_than_the_format_holds_is_not_written() -> None:
    largest = bytes(PAYLOAD_LIMIT_BYTES)
    assert len(encode_event_parts("PayloadChunk", largest, BINARY)) == 3
    with pytest.raises(ValueError, match="send the payload in several events"):
        encode_event_parts("PayloadChunk", largest + b"1", BINARY)
    with pytest.raises(ValueError, match="131072 bytes of headers"):
        encode_message({f"name {number}": "v" * 32_000 for number in range(5)}, b"")
    with pytest.raises(ValueError, match="too long"):
        encode_message({"name": "v" * 32_768}, b"")
