"""What becomes of the bodies that the application decides about: large, chunked, or announced by ``Expect``."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from venturekit.service.wire.connection import Connection
    from venturekit.service.wire.exchange import Exchange

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Body(IntEnum):
    """What becomes of the body that is being received."""

    SMALL = 0  # collected as it comes
    HELD = 1  # collected, because an earlier request is still being answered
    COLLECTED = 2  # of unknown length: collected up to the limit
    FILLED = 3  # of known length: copied into a buffer of that size
    STREAMED = 4  # handed to the application's sink
    DROPPED = 5  # read and thrown away


def take(connection: Connection, exchange: Exchange) -> None:
    """A large, chunked or announced (``Expect``) body: the application decides, when its turn has come."""
    connection.expect_body()
    connection.wire_seen = 0
    connection.target_buffer = bytearray()
    expectation = exchange.headers.get(b"expect")
    # A client of HTTP/1.0 does not know what 100 means (RFC 9110, 10.1.1).
    connection.continue_owed = expectation is not None and connection.parser.get_http_version() == "1.1"
    if connection.continue_owed and expectation is not None and expectation.strip().lower() != b"100-continue":
        connection.head_done = False
        connection.refuse(417, "the only expectation served is 100-continue")
    elif connection.current is not None or connection.waiting:
        connection.body = Body.HELD
        exchange.held = True
        connection.waiting.append(exchange)
    else:
        begin(connection, exchange)


def begin(connection: Connection, exchange: Exchange) -> None:
    """Ask the application what becomes of a body of which nothing, or a held part, has been received."""
    connection.current = exchange
    held, connection.target_buffer = connection.target_buffer, bytearray()
    connection.body_paused = False
    decision = connection.application.begin(exchange)
    if connection.current is not exchange or connection.dead:
        return  # answered, or cut
    if isinstance(decision, int) or decision is None:
        connection.body_limit = connection.limits.body_bytes if decision is None else decision
        if connection.length is None:
            connection.body = Body.COLLECTED
        elif connection.length <= connection.body_limit:
            connection.body = Body.FILLED
            connection.target_buffer = bytearray(connection.length)
            connection.filled = 0
        else:
            drop(connection, exchange)
            if connection.continue_owed or connection.length > connection.body_limit + connection.limits.drain_bytes:
                give_up(connection, exchange)
            return
    else:
        connection.sink = decision
        connection.body = Body.STREAMED
    if held:
        # What came in while an earlier request was being answered.
        connection.body_seen = 0
        connection.on_body(bytes(held))
        if connection.sink is not None:
            connection.sink.flush()
    elif connection.continue_owed:
        connection.transport.write(CONTINUE)


def begin_held(connection: Connection, exchange: Exchange) -> None:
    """Ask the application about a body that was received while an earlier request was being answered."""
    connection.current = exchange
    body, exchange.body = exchange.body, b""
    decision = connection.application.begin(exchange)
    if connection.current is not exchange or connection.dead:
        return
    if isinstance(decision, int) or decision is None:
        if len(body) <= (connection.limits.body_bytes if decision is None else decision):
            exchange.body = body
        else:
            exchange.too_large = True
        connection.application.handle(exchange)
        return
    connection.sink = decision
    if body:
        decision.chunk(bytes(body))
    if connection.current is not exchange:
        connection.sink = None  # answered before its end
    elif not connection.dead:
        end_sink(connection, exchange)


def drop(connection: Connection, exchange: Exchange) -> None:
    """The body is over its limit: read on, keep nothing, and tell the application at its end."""
    exchange.too_large = True
    connection.body = Body.DROPPED
    connection.target_buffer = bytearray()


def give_up(connection: Connection, exchange: Exchange) -> None:
    """The body is past everything that is drained: answer now, then close."""
    exchange.keep_alive = False
    connection.deaf = True
    connection.parsing = None
    connection.application.handle(exchange)


def end_sink(connection: Connection, exchange: Exchange) -> None:
    """Tell the application's sink that the body is complete."""
    sink, connection.sink = connection.sink, None
    if sink is not None:
        sink.end(exchange.trailers or {})
