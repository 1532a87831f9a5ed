"""What goes between the service and the process that polls queues."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.polling import frames
from venturekit.service.polling.channel import Channel
from venturekit.service.polling.functions import RemoteFunction, Requests, encode_view, parse_view
from venturekit.service.sources.invoking import Outcome
from venturekit.service.sources.ports import FunctionView

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8)


@given(sent=FRAMES, cuts=st.lists(st.integers(0, 400), max_size=6))
@settings(deadline=None, max_examples=150)
def test_frames_are_found_however_they_are_cut(sent: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(frames.frame(*each) for each in sent)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    splitter = frames.Splitter()
    found = [each for begin, end in itertools.pairwise(places) for each in splitter.feed(stream[begin:end])]
    assert found == sent


def test_what_is_no_frame() -> None:
    with pytest.raises(frames.FrameError, match="4294967295 bytes"):
        list(frames.Splitter().feed(b"\xff" * 9))


@pytest.mark.parametrize(
    ("outcome", "has_room"),
    [
        (Outcome(b'{"batchItemFailures": []}'), True),
        (Outcome(), False),
        (Outcome(error="Unhandled"), True),
        (Outcome(refused="no environment é"), False),
        (Outcome(busy="no room"), False),
    ],
)
def test_answers_arrive_as_they_were(outcome: Outcome, has_room: bool) -> None:
    assert frames.Answer.parse(frames.Answer(outcome, has_room).encoded()) == (outcome, has_room)


def test_the_payload_of_a_failure_is_not_taken_for_a_success() -> None:
    answer = frames.Answer.parse(frames.Answer(Outcome(b"{}", error="Unhandled"), True).encoded())
    assert answer.outcome == Outcome(error="Unhandled")


def test_invocations_and_views_arrive_as_they_were() -> None:
    invocation = frames.Invocation(7, True, b"Root=1-2-3", b'{"Records":[]}')
    assert frames.Invocation.parse(invocation.encoded()) == invocation
    view = FunctionView(3, "", 900, "arn:aws:lambda:us-east-1:123456789012:function:é", True)
    assert parse_view(encode_view(view)) == view


class Service:
    """The service's end: answers what it is asked, and keeps which kinds of questions came."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []
        self.lost: list[Exception | None] = []

    def receive(self, channel: Channel, kind: int, number: int, body: bytes) -> None:
        self.asked.append(kind)
        if kind == frames.LOOK:
            channel.send(frames.VIEW, number, encode_view(FunctionView(self.room)))
        else:
            channel.send(frames.ANSWER, number, frames.Answer(Outcome(body[-1:]), self.room > 0).encoded())


async def connected(service: Service, monotonic: Callable[[], float]) -> tuple[Channel, Channel, RemoteFunction]:
    """Both ends, and a function as the process sees it."""
    loop = asyncio.get_running_loop()

    def receive(channel: Channel, kind: int, number: int, body: bytes) -> None:
        parse = frames.Answer.parse if kind == frames.ANSWER else parse_view
        requests.answered(number, parse(body))  # type: ignore[operator]

    ends = Channel(service.receive, service.lost.append), Channel(receive, lambda error: None)
    requests = Requests(ends[1])
    for end, connection in zip(ends, socket.socketpair(), strict=True):
        await loop.create_connection(lambda end=end: end, sock=connection)  # type: ignore[misc]
    return (*ends, RemoteFunction(1, requests, monotonic))


def test_a_function_is_asked_about_as_seldom_as_may_be() -> None:
    async def run() -> None:
        now, service = [0.0], Service(room=1)
        *ends, function = await connected(service, lambda: now[0])
        assert (await function.look()).room == 1
        # What it answers says that it has room.
        for _ in range(5):
            assert (await function.invoke(b"event", b"", answered=True)).payload == b"t"
            await function.look()
            now[0] += 0.09
        assert service.asked == [frames.LOOK, *[frames.INVOKE] * 5]
        await function.look(anew=True)
        now[0] += 0.2
        await function.look()
        function.forget()
        await function.look()
        assert service.asked[6:] == [frames.LOOK] * 3
        service.room = 0
        await function.invoke(b"event", b"", answered=True)
        assert (await function.look()).room == 0
        for end in ends:
            end.close()

    asyncio.run(run())


def test_an_end_that_sends_what_is_no_frame_is_cut_off() -> None:
    async def run() -> None:
        service = Service(room=1)
        ours, theirs, _ = await connected(service, lambda: 0.0)
        assert theirs._transport is not None
        theirs._transport.write(b"\xff" * 9)
        async with asyncio.timeout(10):
            while not service.lost:
                await asyncio.sleep(0)
        assert isinstance(service.lost[0], frames.FrameError)
        assert not ours.is_open
        ours.send(frames.PING)
        theirs.close()

    asyncio.run(run())
