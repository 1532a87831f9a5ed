"""Lines and frames: the same messages however a stream is cut, and not one byte lost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.environments import frames
from venturekit.service.environments.frames import HEADER, FrameSplitter, LineSplitter

TEXT_TYPE = 0xA55A0003


def frame(message: bytes, kind: int = TEXT_TYPE) -> bytes:
    return HEADER.pack(kind, len(message), 1_700_000_000_000_000) + message


def split(splitter: LineSplitter | FrameSplitter, pieces: list[bytes]) -> list[bytes]:
    return [message for piece in pieces for message in splitter.feed(piece)] + splitter.flush()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LINE_LIMIT_BYTES", 8)
    monkeypatch.setattr(frames, "FRAME_LIMIT_BYTES", 20)
    monkeypatch.setattr(frames, "LONGEST_FRAME_BYTES", 999)


LINES = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"bcdefgh", b"x" * 20, b"\xa5"]), max_size=20).map(b"".join)
NOISE = st.sampled_from([b"text\n", b"no end", b"\xa5", b"\xa5\x5a", b"\xa5\x5a\x00", b"\xa5\x5a\x00\x03", b"\n"])
FRAMES = st.sampled_from([frame(b""), frame(b"one\n"), frame(b"two", 0xA55A000E), frame(b"long" * 5), frame(b"b" * 21)])
STREAMS = st.lists(st.one_of(FRAMES, NOISE, st.binary(max_size=12)), max_size=12).map(b"".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@pytest.mark.usefixtures("small_limits")
class TestAnyCut:
    @settings(max_examples=200, deadline=None)
    @given(stream=LINES, places=CUTS)
    def test_lines(self, stream: bytes, places: list[int]) -> None:
        messages = split(LineSplitter(), [stream])
        assert b"".join(messages) == stream
        assert split(LineSplitter(), cut(stream, places)) == messages
        assert split(LineSplitter(), [bytes([byte]) for byte in stream]) == messages
        for message in messages:
            assert len(message.removesuffix(b"\n")) <= 8
            assert b"\n" not in message[:-1]

    @settings(max_examples=300, deadline=None)
    @given(stream=STREAMS, places=CUTS)
    def test_frames(self, stream: bytes, places: list[int]) -> None:
        messages = split(FrameSplitter(), [stream])
        assert split(FrameSplitter(), cut(stream, places)) == messages
        assert split(FrameSplitter(), [bytes([byte]) for byte in stream]) == messages
        # Headers are the only bytes that go.
        rest, left = stream, 0
        for message in messages:
            length = int.from_bytes(rest[4:8], "big") if rest[:3] == frames.MARKER and len(rest) >= HEADER.size else 0
            if left <= 0 and rest[:3] == frames.MARKER and length in (len(message), *range(21, 1000)):
                rest, left = rest[HEADER.size :], length
            left -= len(message)
            assert rest.startswith(message)
            rest = rest[len(message) :]
        assert rest == b""

    @settings(max_examples=100, deadline=None)
    @given(messages=st.lists(st.binary(max_size=20), max_size=10), places=CUTS)
    def test_good_frames_come_back(self, messages: list[bytes], places: list[int]) -> None:
        stream = b"".join(frame(message) for message in messages)
        assert split(FrameSplitter(), cut(stream, places)) == messages


def test_a_carriage_return_does_not_end_a_line() -> None:
    assert LineSplitter().feed(b"a\rb\r\nc\n") == [b"a\rb\r\n", b"c\n"]


@pytest.mark.parametrize("size", [262_144, 262_145, 600_000])
def test_long_lines_are_cut(size: int) -> None:
    once, pieces = LineSplitter(), LineSplitter()
    line = b"x" * size + b"\n"
    messages = once.feed(line)
    assert [message for start in range(0, len(line), 1000) for message in pieces.feed(line[start : start + 1000])] == (
        messages
    )
    assert b"".join(messages) == line
    assert max(map(len, messages)) <= 262_145


def test_text_and_frames_may_mix() -> None:
    stream = b"hello\n" + frame(b"one") + b"unframed" + frame(b"two") + b"end"
    assert split(FrameSplitter(), [stream]) == [b"hello\n", b"one", b"unframed", b"two", b"end"]


def test_a_frame_that_claims_too_much_is_text() -> None:
    stream = HEADER.pack(TEXT_TYPE, frames.LONGEST_FRAME_BYTES + 1, 0) + b"abc\n" + frame(b"good")
    assert b"".join(split(FrameSplitter(), [stream])).endswith(b"abc\ngood")


@pytest.mark.usefixtures("small_limits")
def test_a_long_frame_comes_in_pieces_without_its_head() -> None:
    wanted = FrameSplitter(lambda message, level: level == 12)
    stream = frame(b"abcdefgh" * 3 + b"i", 0xA55A000E) + frame(b"x" * 30, 0xA55A000A) + frame(b"next", 0xA55A000E)
    assert split(wanted, [stream]) == [b"abcdefgh", b"abcdefgh", b"abcdefgh", b"i", b"next"]


def test_text_without_line_ends_is_handed_on_in_bounded_pieces() -> None:
    splitter = FrameSplitter()
    sizes = [len(message) for _ in range(20) for message in splitter.feed(b"t" * 65_536)]
    assert sum(sizes) + len(splitter.flush()[0]) == 20 * 65_536
    assert set(sizes) == {262_144}


def test_a_frame_that_never_ends_is_handed_on_at_the_end() -> None:
    stream = frame(b"whole") + frame(b"never whole")[:-3]
    assert split(FrameSplitter(), [stream]) == [b"whole", frame(b"never whole")[:-3]]
