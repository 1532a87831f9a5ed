"""The writer where nothing of it is on a wire: an exception between the system call and what it says it has sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from venturekit.ric.faults import ResponseStreamError
from venturekit.ric.response_stream import ResponseStream

if TYPE_CHECKING:
    from collections.abc import Sequence


class Interrupted:
    """Takes pieces, and is interrupted by a signal at one of them, when nobody can tell how much of it is out."""

    def __init__(self, at: int, *, in_head: bool = False) -> None:
        self.left = at
        self.in_head = in_head
        self.taken: list[bytes] = []
        self.abandoned = 0

    def stream_head(self, _invocation: Any, _content_type: bytes) -> bytes:
        if self.in_head:
            raise KeyboardInterrupt
        return b"head "

    def send_stream_now(self, parts: Sequence[bytes | memoryview]) -> int:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.taken.append(b"".join(parts))
        return len(self.taken[-1])

    def abandon_stream(self) -> None:
        self.abandoned += 1


def stream_of(api: Interrupted) -> ResponseStream:
    return ResponseStream(cast(Any, api), cast(Any, None))


@pytest.mark.parametrize(
    ("call", "at"), [("write", 0), ("write", 2), ("flush", 0), ("close", 0), ("close", 1)], ids=str
)
def test_what_may_be_torn_is_cut_off(call: str, at: int) -> None:
    api = Interrupted(at)
    stream = stream_of(api)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(3):
            getattr(stream, call)(*["x"] * (call == "write"))
    assert (api.abandoned, stream.started, stream.closed) == (1, True, True)
    # Neither an end nor the error of the handler may follow: they would be taken for more of the piece.
    with pytest.raises(ResponseStreamError, match="the response stream is closed"):
        stream.write("more")
    assert stream.over(b"{}", "KeyboardInterrupt") == b""
    assert len(api.taken) == at


def test_what_was_interrupted_before_it_began_has_not_begun() -> None:
    api = Interrupted(9, in_head=True)
    stream = stream_of(api)
    with pytest.raises(KeyboardInterrupt):
        stream.write("x")
    assert (api.abandoned, stream.started) == (0, False)
    assert stream.over(b"{}", "KeyboardInterrupt") is None
