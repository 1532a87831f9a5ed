"""A streamed response on its way from the Lambda API to the client: events in, the body of an HTTP response out.

Pieces go on as they come. A client that does not keep up holds up the reading of events, and so the function.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from venturekit.front import answers
from venturekit.front.call import NO_BODY, ClientGoneError
from venturekit.front.http_client import ServerGoneError
from venturekit.protocol.eventstream import EventStreamError, MessageDecoder
from venturekit.protocol.http_response import PRELUDE_TYPE, HttpResponse, InvalidPreludeError, PreludeParser

if TYPE_CHECKING:
    from venturekit.front.call import Call
    from venturekit.front.http_client import StreamedResponse

logger = logging.getLogger("venturekit.front")
STREAMED_TYPE: Final = b"x-venturekit-response-content-type"
OLD_CLIENT_LIMIT_BYTES: Final = 6 * 1024 * 1024
"""What is collected for a client of HTTP/1.0, which cannot read a response whose length is not known."""
REFUSAL_LIMIT_BYTES: Final = 65_536
_PLAIN: Final = HttpResponse(200, (("content-type", "application/octet-stream"),))


async def forward(call: Call, response: StreamedResponse) -> None:
    """Answer a call with what InvokeWithResponseStream has answered. Raises ServerGoneError before the first byte."""
    if response.status != 200:
        body = bytearray()
        while (data := await response.read()) and len(body) < REFUSAL_LIMIT_BYTES:
            body += data
        response.abort()
        await call.refused(response.status, bytes(body))
        return
    forwarding = _Forwarding(call, response)
    watch = asyncio.get_running_loop().create_task(_watch(call, response))
    try:
        await forwarding.run(watch)
    except InvalidPreludeError as error:
        await call.invalid(error)
    except ClientGoneError:
        pass
    except (ServerGoneError, EventStreamError) as error:
        if not forwarding.started:
            raise ServerGoneError(str(error)) from error
        logger.warning("function URL %s: a streamed response is cut off: %s", call.address.url_id, error)
        call.cut()
    finally:
        watch.cancel()
        response.abort()


async def _watch(call: Call, response: StreamedResponse) -> None:
    """Give the response up when its client goes: the function runs on, and is not held up by nobody."""
    while (await call.receive())["type"] == "http.request":
        pass
    response.abort()


class _Forwarding:
    """The state of one response: its head goes out with the first bytes, so that a failure before can still be told."""

    def __init__(self, call: Call, response: StreamedResponse) -> None:
        self._call = call
        self._response = response
        content_type = response.headers.get(STREAMED_TYPE, b"").decode("latin-1")
        has_prelude = content_type.partition(";")[0].strip().lower() == PRELUDE_TYPE
        self._prelude = PreludeParser() if has_prelude else None
        self._has_body = True
        # A client of HTTP/1.0 gets all in one piece.
        self._collected: bytearray | None = bytearray() if call.scope["http_version"] == "1.0" else None
        self._head: HttpResponse | None = None
        self.started = False

    async def run(self, watch: asyncio.Task[None]) -> None:
        """Forward until the end. ``watch`` ends when the client goes."""
        decoder = MessageDecoder()
        complete: dict[str, Any] | None = None
        while complete is None:
            data = await self._read(watch)
            if not data:
                decoder.end()
                raise ServerGoneError("the stream ended without saying how")
            pieces: list[bytes] = []
            for message in decoder.feed(data):
                if message.headers.get(":event-type") == "PayloadChunk":
                    pieces.append(message.payload)
                elif message.headers.get(":event-type") == "InvokeComplete":
                    complete = json.loads(message.payload)
            if pieces:
                await self._write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        # From here on the end of the response must not be taken for the end of the client.
        watch.cancel()
        await self._finish(complete)
        # Its last bytes leave the connection free for the next request.
        while await self._response.read():
            pass

    async def _read(self, watch: asyncio.Task[None]) -> bytes:
        try:
            return await self._response.read()
        except ServerGoneError:
            if watch.done():
                raise ClientGoneError from None
            raise

    async def _write(self, data: bytes) -> None:
        if self._head is None:
            head = _PLAIN if self._prelude is None else self._prelude.feed(data)
            if head is None:
                return
            if self._prelude is not None:
                data = head.body
            await self._start(head)
        if self._collected is not None:
            self._collected += data
            if len(self._collected) > OLD_CLIENT_LIMIT_BYTES:
                raise ServerGoneError(f"more than {OLD_CLIENT_LIMIT_BYTES} bytes for a client of HTTP/1.0")
        elif data and self._has_body:
            await self._call.send({"type": "http.response.body", "body": data, "more_body": True})

    async def _start(self, head: HttpResponse) -> None:
        self._head = head
        self._has_body = head.status not in NO_BODY
        if self._collected is None:
            self.started = True
            await self._call.send({"type": "http.response.start", "status": head.status, "headers": self._lines(head)})

    async def _finish(self, complete: dict[str, Any]) -> None:
        if "ErrorCode" in complete:
            if not self.started:
                await self._call.answer(answers.BAD_GATEWAY)
                return
            raise ServerGoneError(f"the function failed in the middle of it ({complete['ErrorCode']})")
        if self._head is None:
            if self._prelude is not None:
                self._prelude.end()
            await self._start(_PLAIN)
        assert self._head is not None
        if self._collected is not None:
            await self._call.respond(self._head.status, self._lines(self._head), bytes(self._collected))
        else:
            await self._call.send({"type": "http.response.body", "body": b""})

    def _lines(self, head: HttpResponse) -> list[tuple[bytes, bytes]]:
        return self._call.response_lines(head, self._response.headers.get(b"x-amzn-trace-id"))
