"""Closing the connections that have exceeded their time."""

from __future__ import annotations

import fcntl
import sys
import termios
from typing import TYPE_CHECKING

from venturekit.service.wire.bodies import Body

if TYPE_CHECKING:
    from venturekit.service.wire.connection import Connection

LINGER_SECONDS = 2.0
"""How long a connection that was refused is still read, so that the refusal is not lost to a reset."""


def sweep(connection: Connection, now: float) -> None:
    """Close or refuse what has exceeded its time; ``now`` in seconds, monotonic. Called about once a second."""
    if connection.transport.get_write_buffer_size():
        _sweep_unsent(connection, now, unread(connection))
        return
    connection.unsent = 0
    elapsed = now - connection.since
    if connection.dead:
        if elapsed > LINGER_SECONDS:
            connection.transport.abort()
    elif connection.parsing is not None:
        _sweep_request(connection, elapsed)
    elif connection.current is None and not connection.waiting:
        keep_alive = connection.limits.keep_alive
        if connection.listener.draining or (keep_alive is not None and elapsed > keep_alive):
            connection.close()


def unread(connection: Connection) -> int:
    """How many bytes the peer has not taken yet: what was not sent, and what the kernel has sent to no avail so far.

    The kernel asks for more only when megabytes of what it holds have gone. Who reads 40 kB a second would seem to
    stand still between two such moments.
    """
    transport = connection.transport
    unsent = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return unsent  # closed in this moment
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return unsent
    return unsent + int.from_bytes(held, sys.byteorder)


def _sweep_request(connection: Connection, elapsed: float) -> None:
    limits = connection.limits
    if not connection.head_done:
        if limits.head_timeout is not None and elapsed > limits.head_timeout:
            connection.refuse(408, f"the head of the request took longer than {limits.head_timeout:g} seconds")
    elif (
        limits.body_grace is not None
        and elapsed > limits.body_grace
        # A sink's body takes as long as it takes (a function streams its answer), and a paused peer is not to blame.
        and connection.body is not Body.STREAMED
        and not connection.reading_paused
    ):
        owed = (elapsed - limits.body_grace) * limits.body_bytes_per_second
        if max(connection.body_seen, connection.filled) < owed:
            connection.refuse(408, "the body of the request arrived too slowly")


def _sweep_unsent(connection: Connection, now: float, unsent: int) -> None:
    if unsent != connection.unsent or connection.limits.write_timeout is None:
        connection.unsent = unsent
        connection.since = now
    elif now - connection.since > connection.limits.write_timeout:
        connection.abort()
