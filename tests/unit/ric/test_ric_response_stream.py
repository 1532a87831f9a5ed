"""The writer without a wire: what a signal interrupts, wherever it does, is neither lost nor sent twice."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from venturekit.ric.faults import ResponseStreamError
from venturekit.ric.response_stream import ResponseStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Api:
    """Takes as many bytes as ``takes`` says, and is interrupted where it says so: before or behind the sending."""

    def __init__(self, takes: Iterator[tuple[int, str]]) -> None:
        self.takes = takes
        self.taken = b""
        self.abandoned = 0
        reading, self.stream_descriptor = os.pipe()
        self.open = [reading, self.stream_descriptor]

    def stream_head(self, _invocation: Any, _content_type: bytes) -> bytes:
        _size, interrupted = next(self.takes)
        if interrupted:
            raise KeyboardInterrupt
        return b"head "

    def send_stream_now(self, parts: Sequence[bytes | memoryview], counts: list[int]) -> None:
        size, interrupted = next(self.takes)
        if interrupted == "before":
            raise KeyboardInterrupt
        data = b"".join(parts)[:size]
        self.taken += data
        if data:
            counts.append(len(data))
        if interrupted:
            raise KeyboardInterrupt

    def abandon_stream(self) -> None:
        self.abandoned += 1

    def close(self) -> None:
        for descriptor in self.open:
            os.close(descriptor)


def stream_of(api: Api) -> ResponseStream:
    return ResponseStream(cast(Any, api), cast(Any, None))


def takes_of(randomness: random.Random) -> Iterator[tuple[int, str]]:
    while True:
        yield randomness.randrange(12), randomness.choice(["", "", "", "before", "behind"])


def test_whatever_is_interrupted_the_pieces_stay_whole() -> None:
    interruptions = 0
    for seed in range(400):
        randomness = random.Random(seed)
        api = Api(takes_of(randomness))
        stream = stream_of(api)
        expected = b""
        for _ in range(randomness.randrange(1, 8)):
            piece = bytearray(randomness.randbytes(randomness.randrange(1, 30)))
            before = stream.started
            expected += b"%x\r\n%b\r\n" % (len(piece), piece)
            try:
                stream.write(piece)
            except KeyboardInterrupt:
                interruptions += 1
                if not (before or stream.started):
                    expected = b""
            # It is the function's again.
            piece[:] = bytes(len(piece))
        if expected and randomness.randrange(2):
            with suppress(KeyboardInterrupt):
                stream.close()
        rest = stream.over()
        api.close()
        if not expected:
            assert (rest, api.taken) == (None, b"")
        else:
            assert rest is not None
            assert api.taken + rest == b"head " + expected + b"0\r\n\r\n"
        assert api.abandoned == 0
    assert interruptions > 400


class Odd(ResponseStream):
    """Interrupted when the response has begun and before its first bytes were put in line."""

    __slots__ = ()

    def _frame(self, piece: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        super()._frame(piece)
        raise KeyboardInterrupt


def test_what_cannot_be_gone_on_with_is_cut_off() -> None:
    api = Api(iter([(9, "")]))
    stream = Odd(cast(Any, api), cast(Any, None))
    with pytest.raises(KeyboardInterrupt):
        stream.write("x")
    api.close()
    assert (api.abandoned, stream.started, stream.closed) == (1, True, True)
    with pytest.raises(ResponseStreamError, match="the response stream is closed"):
        stream.write("more")
    # Neither an end nor the error of the handler may follow: the service would take them for something else.
    assert (stream.over(b"{}", "KeyboardInterrupt"), api.taken) == (b"", b"")
