"""One request to a function URL: what it says, and the ways to answer it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from venturekit.front import answers
from venturekit.front.cors import ALLOW_ORIGIN
from venturekit.front.identifiers import draw, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

    from venturekit.front.addresses import Address
    from venturekit.front.answers import Answer
    from venturekit.front.table import FunctionUrl
    from venturekit.protocol.http_response import HttpResponse, InvalidHttpResponseError

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Lines = list[tuple[bytes, bytes]]

logger = logging.getLogger("venturekit.front")
DROPPED_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""How much of a body that nobody wants is read all the same, so that its sender gets to read the answer."""
CUT: Final = "venturekit.cut"
"""The extension of ASGI by which a response is cut off."""
UPGRADE: Final = "venturekit.upgrade"
"""The extension of ASGI by which a connection is left to another protocol; only a request for a WebSocket has it."""
NO_BODY: Final = (204, 304)
# The front process's own: a function cannot say which invocation it was.
_OWN_NAMES: Final = frozenset((b"x-amzn-requestid", b"x-amzn-trace-id"))


class ClientGoneError(ConnectionError):
    """The client has gone before it had sent its whole request."""


class Call:
    """A request. ``pairs`` are its headers with lower-case names, ``headers`` the same with repeated ones joined.

    ``url`` is None until it is found, ``drawn`` are random digits.
    """

    __slots__ = (
        "_closes",
        "_has_begun",
        "address",
        "drawn",
        "headers",
        "method",
        "origin",
        "pairs",
        "receive",
        "request_id",
        "scope",
        "send",
        "url",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        address: Address,
        pairs: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.address = address
        self.pairs = pairs
        self.headers = headers
        self.method: str = scope["method"]
        self.origin = headers.get("origin")
        self.drawn = draw()
        self.request_id = request_id(self.drawn)
        self.url: FunctionUrl | None = None
        self._has_begun = False
        self._closes = False

    # --- the request ----------------------------------------------------------------------------------------------

    async def body(self) -> bytes | None:
        """The whole body, None if it is too large for an event. Raises ClientGoneError."""
        length = self.headers.get("content-length", "")
        pieces: list[bytes] = []
        size = int(length) if length.isdecimal() and int(length) > answers.REQUEST_LIMIT_BYTES else 0
        while size <= answers.REQUEST_LIMIT_BYTES:
            self._has_begun = True
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            pieces.append(message["body"])
            size += len(message["body"])
            if not message["more_body"]:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        await self.drop_body()
        return None

    async def drop_body(self) -> bool:
        """Read what there is still of the body without keeping it; False when that is too much.

        A client that asks first whether its body is wanted (``Expect: 100-continue``) need not send it.
        """
        if not self._has_begun and self.headers.get("expect", "").lower() == "100-continue":
            return False
        size = 0
        while size <= DROPPED_LIMIT_BYTES:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            if not message["more_body"]:
                return True
            size += len(message["body"])
        return False

    # --- the response ---------------------------------------------------------------------------------------------

    async def answer(self, answer: Answer, *, close: bool = False) -> None:
        """Send an answer of the front process's own."""
        lines = [(b"content-type", answer.content_type), *answer.headers, *self._added_lines()]
        if close:
            self.close_after()
        await self.respond(answer.status, lines, answer.body)

    def close_after(self) -> None:
        """Have the connection closed after the response."""
        self._closes = True

    async def respond(self, status: int, lines: Lines, body: bytes) -> None:
        """Send a whole response."""
        if status not in NO_BODY:
            lines.append((b"content-length", b"%d" % len(body)))
        if self._closes:
            lines.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        await self.send({"type": "http.response.body", "body": body})

    def cut(self) -> None:
        """End the connection in the middle of the response: the client must not take it for whole."""
        self.scope["extensions"][CUT]["cut"]()

    def response_lines(self, response: HttpResponse, trace: bytes | None) -> Lines:
        """The headers of a function's response as they are sent; ``trace`` is that of the invocation."""
        lines = [line for line in response.header_lines() if line[0] not in _OWN_NAMES]
        has_rules = self.url is not None and self.url.cors is not None and self.origin is not None
        if has_rules and any(name == ALLOW_ORIGIN.encode() for name, _ in lines):
            logger.warning(
                "function URL %s: its function sends %s, and so does its CORS configuration: browsers refuse both",
                self.address.url_id,
                ALLOW_ORIGIN,
            )
        if trace is not None:
            lines.append((b"x-amzn-trace-id", trace))
        return lines + self._added_lines()

    async def refused(self, status: int, body: bytes) -> None:
        """Answer that the function was not invoked: the Lambda API has refused with this status."""
        answer = answers.for_status(status)
        if answer is answers.BAD_GATEWAY:
            logger.warning(
                "function URL %s: its function cannot be invoked: %d %s",
                self.address.url_id,
                status,
                body[:500].decode("utf-8", "replace"),
            )
        await self.answer(answer)

    async def invalid(self, error: InvalidHttpResponseError) -> None:
        """Answer that the function's response is none; whoever wrote the function finds the reason in the log."""
        logger.warning(
            "function URL %s answers 502, for the result of its function is no HTTP response: %s",
            self.address.url_id,
            error,
        )
        await self.answer(answers.BAD_GATEWAY)

    def _added_lines(self) -> Lines:
        """What every response has besides its own headers."""
        lines = [(b"x-amzn-requestid", self.request_id.encode())]
        if self.url is not None and self.url.cors is not None:
            lines += self.url.cors.response_lines(self.origin)
        return lines
