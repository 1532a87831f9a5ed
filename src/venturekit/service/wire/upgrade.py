"""Serving a request that asks for an upgrade as what it is without that wish (RFC 9110, 7.8), its body included.

The parser ends such a request behind its head and takes the body for something else. Java's client asks for h2c with
every first request of a connection, and a body that was read as the next request would be a way to smuggle one in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from venturekit.service.wire.connection import Connection
    from venturekit.service.wire.exchange import Exchange


class Resumed:
    """Hides from a connection the head that is fed to a fresh parser to bring it in front of the body.

    All later events are passed on.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.resuming = True
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        if not self.resuming:
            self.connection.on_message_begin()

    def on_url(self, piece: bytes) -> None:
        if not self.resuming:
            self.connection.on_url(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.resuming:
            self.connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        # The first time it is the connection's second look at the same head, now without the wish to upgrade.
        self.resuming = False
        self.connection.on_headers_complete()


def has_body(exchange: Exchange) -> bool:
    """Whether the head of a request announces a body."""
    headers = exchange.headers
    return b"transfer-encoding" in headers or int(headers.get(b"content-length", b"0")) > 0


def resume(connection: Connection, exchange: Exchange, version: str) -> None:
    """Give the connection a parser that stands behind the exchange's head. ``version`` is like ``1.1``."""
    connection.parser = parser = httptools.HttpRequestParser(Resumed(connection))
    connection.parsing = exchange
    headers = exchange.headers
    headers.pop(b"upgrade", None)
    framing = b"transfer-encoding" if b"transfer-encoding" in headers else b"content-length"
    persistence = b"keep-alive" if exchange.keep_alive else b"close"
    parser.feed_data(
        b"%b / HTTP/%b\r\n%b: %b\r\nConnection: %b\r\n\r\n"
        % (exchange.method, version.encode("ascii"), framing, headers[framing], persistence)
    )
