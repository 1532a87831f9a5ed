"""Writes of one turn of the loop that are sent as one, and what becomes of them when the client goes meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from venturekit.front.joined_writes import JOINED_BYTES, JoinedWrites


class PlayedTransport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.sent.append(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 7

    def close(self) -> None:
        self.closing = True

    abort = close


def written(*turns: tuple[bytes, ...], then: str = "") -> PlayedTransport:
    """What reaches the transport of the pieces of each turn; ``then`` is called in the last one."""

    async def run() -> None:
        for turn in turns:
            for piece in turn:
                joined.write(piece)
            if turn is turns[-1] and then:
                getattr(transport if then == "lost" else joined, "close" if then == "lost" else then)()
            await asyncio.sleep(0)

    played = PlayedTransport()
    transport: Any = played
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        raised: list[Any] = []
        loop.set_exception_handler(lambda _loop, context: raised.append(context))
        joined = JoinedWrites(transport, loop)
        runner.run(run())
    assert raised == []
    assert joined.bytes == sum(len(piece) for turn in turns for piece in turn)
    return played


def test_what_is_written_in_one_turn_is_sent_as_one() -> None:
    assert written((b"head", b"", b"body"), (b"next",)).sent == [b"headbody", b"next"]


def test_a_large_piece_is_sent_at_once() -> None:
    assert written((b"a", bytes(JOINED_BYTES), b"z")).sent == [b"a" + bytes(JOINED_BYTES), b"z"]


def test_what_was_written_is_sent_before_the_end_and_dropped_by_an_abort() -> None:
    assert written((b"last",), then="close").sent == [b"last"]
    assert written((b"last",), then="abort").sent == []


def test_what_is_left_when_the_client_is_gone_is_dropped() -> None:
    assert written((b"kept",), (b"late", b"later"), then="lost").sent == [b"kept"]


def test_what_waits_counts() -> None:
    loop = asyncio.new_event_loop()
    transport: Any = PlayedTransport()
    joined = JoinedWrites(transport, loop)
    joined.write(b"abc")
    assert joined.get_write_buffer_size() == 10
    loop.close()
