"""Sending a response piece by piece where the runtime can, and whole where it cannot."""

from __future__ import annotations

from binascii import a2b_base64
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.gateway_result import (
    RESULT_LIMIT_BYTES,
    BrokenStreamError,
    InvalidResponseError,
    gateway_result,
)
from venturekit.runtime.responses import BINARY, TEXT, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from venturekit.runtime.context import RequestContext

_END: Final[Any] = object()


def send(response: Response, ctx: RequestContext) -> Any:
    """Send a response whose body is an iterator.

    The first piece is asked for before anything is sent: what fails before it is an ordinary error. Raises
    BrokenStreamError for what fails later, InvalidResponseError for pieces that are neither text nor bytes.
    """
    pieces: Iterator[Any] = response.body
    if not hasattr(pieces, "__next__"):
        raise InvalidResponseError("an asynchronous iterator can be sent by an asynchronous handler only: async def")
    try:
        first = _checked(next(pieces, _END))
        stream = _open(response, ctx, first)
        if stream is None:
            return _collected(response, ctx, first, pieces)
        try:
            while first is not _END:
                stream.write(first)
                first = _checked(next(pieces, _END))
            stream.flush()
        except Exception as problem:
            raise BrokenStreamError(problem) from problem
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    return None


async def asend(response: Response, ctx: RequestContext) -> Any:
    """The same for an asynchronous iterator."""
    pieces: AsyncIterator[Any] = aiter(response.body)
    try:
        first = _checked(await anext(pieces, _END))
        stream = _open(response, ctx, first)
        if stream is None:
            return await _acollected(response, ctx, first, pieces)
        try:
            while first is not _END:
                await stream.awrite(first)
                first = _checked(await anext(pieces, _END))
            stream.flush()
        except Exception as problem:
            raise BrokenStreamError(problem) from problem
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    return None


def send_whole(result: dict[str, Any], ctx: RequestContext) -> Any:
    """Send a whole result the way streams go; the result itself where that is not needed or cannot be.

    A function URL that streams takes status and headers from a stream only: of everything else it makes a 200, errors
    included.
    """
    stream = getattr(ctx.raw_context, "response_stream", None)
    if stream is None or not ctx._request.is_function_url:
        return result
    stream.begin_http(result["statusCode"], result["headers"], result.get("cookies") or ())
    body = result["body"]
    if body:
        stream.write(a2b_base64(body) if result["isBase64Encoded"] else body)
    stream.flush()
    return None


def _checked(piece: Any) -> Any:
    if piece is _END or isinstance(piece, str | bytes | bytearray | memoryview):
        return piece
    raise InvalidResponseError(f"a streamed response is made of texts and bytes, and not of {type(piece).__name__}")


def _open(response: Response, ctx: RequestContext, first: Any) -> Any:
    """The stream of the invocation with status and headers set; None where there is no streaming."""
    if response.header("content-type") is None:
        response.headers["Content-Type"] = TEXT if isinstance(first, str) else BINARY
    stream = getattr(ctx.raw_context, "response_stream", None)
    if stream is None:
        return None
    # Checked as any other response is, before a byte of it leaves.
    whole = gateway_result(
        Response(None, response.status_code, response.headers, response.cookies), ctx.response_headers, ctx._request
    )
    stream.begin_http(response.status_code, whole.get("headers") or {}, response.cookies)
    return stream


class _Pieces:
    """Pieces that are collected, no more of them than Lambda takes as a result."""

    __slots__ = ("_size_bytes", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._size_bytes = 0

    def add(self, piece: Any) -> None:
        data = piece.encode() if isinstance(piece, str) else bytes(piece)
        self._size_bytes += len(data)
        if self._size_bytes > RESULT_LIMIT_BYTES:
            raise InvalidResponseError(
                f"a response that is not streamed has {RESULT_LIMIT_BYTES} bytes at most, and this one has more"
            )
        self.pieces.append(data)

    def result(self, response: Response, ctx: RequestContext, *, is_text: bool) -> Any:
        body = b"".join(self.pieces)
        whole = Response(body.decode() if is_text else body, response.status_code, response.headers, response.cookies)
        return gateway_result(whole, ctx.response_headers, ctx._request)


def _collected(response: Response, ctx: RequestContext, piece: Any, rest: Iterator[Any]) -> Any:
    collected, is_text = _Pieces(), True
    while piece is not _END:
        collected.add(piece)
        is_text = is_text and isinstance(piece, str)
        piece = _checked(next(rest, _END))
    return collected.result(response, ctx, is_text=is_text)


async def _acollected(response: Response, ctx: RequestContext, piece: Any, rest: AsyncIterator[Any]) -> Any:
    collected, is_text = _Pieces(), True
    while piece is not _END:
        collected.add(piece)
        is_text = is_text and isinstance(piece, str)
        piece = _checked(await anext(rest, _END))
    return collected.result(response, ctx, is_text=is_text)
