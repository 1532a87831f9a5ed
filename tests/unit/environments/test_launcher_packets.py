"""Packets to a launcher: what it reads, what it only hands on, and that it forgets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.environments.packets import MAX_PACKET_BYTES, Inbox, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS = st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=5)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ends[0], ends[1]:
        yield ends


@given(OBJECTS, st.none() | OBJECTS)
def test_what_is_encoded_is_decoded(head: dict[str, Any], body: dict[str, Any] | None) -> None:
    assert decode(encode(head, body)) == {**head, **(body or {})}


def test_a_packet_is_handed_on_with_its_descriptors_and_forgotten(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    inbox = Inbox()
    ours.send(encode({"id": 1}, {"secret": "x"}))
    assert inbox.receive(theirs) == ([], False)
    assert inbox.head() == {"id": 1}
    read_end, write_end = os.pipe()
    inbox.forward(ours, [write_end])
    inbox.wipe()
    assert inbox.packet() == b""
    assert inbox._memory[:].strip(b"\0") == b""
    os.close(write_end)
    passed, is_cut_off = inbox.receive(theirs)
    assert not is_cut_off
    assert decode(inbox.packet()) == {"id": 1, "secret": "x"}
    os.write(passed[0], b"through")
    assert os.read(read_end, 10) == b"through"
    for descriptor in (*passed, read_end):
        os.close(descriptor)


def test_what_is_too_long_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    inbox = Inbox()
    ours.send(b"x" * MAX_PACKET_BYTES)
    assert inbox.receive(theirs) == ([], False)
    ours.send(b"x" * (MAX_PACKET_BYTES + 9))
    assert inbox.receive(theirs)[1]


def test_the_end_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.close()
    with pytest.raises(EOFError):
        Inbox().receive(theirs)
