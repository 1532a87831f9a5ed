"""Sending a response piece by piece where the runtime can, and whole where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.runtime.gateway_result import gateway_result
from venturekit.runtime.responses import BINARY, TEXT, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from venturekit.runtime.context import RequestContext


def send(response: Response, ctx: RequestContext) -> Any:
    """Send a response whose body is an iterator.

    The first piece is asked for before anything is sent: what fails before it is an ordinary error.
    """
    pieces: Iterator[Any] = iter(response.body)
    first = next(pieces, None)
    stream = _open(response, ctx, first)
    if stream is None:
        return _collected(response, ctx, [] if first is None else [first, *pieces])
    if first is not None:
        stream.write(first)
    for piece in pieces:
        stream.write(piece)
    return None


async def asend(response: Response, ctx: RequestContext) -> Any:
    """The same for an asynchronous iterator."""
    pieces: AsyncIterator[Any] = aiter(response.body)
    first = await anext(pieces, None)
    stream = _open(response, ctx, first)
    if stream is None:
        collected = [] if first is None else [first]
        collected += [piece async for piece in pieces]
        return _collected(response, ctx, collected)
    if first is not None:
        await stream.awrite(first)
    async for piece in pieces:
        await stream.awrite(piece)
    return None


def _open(response: Response, ctx: RequestContext, first: Any) -> Any:
    """The stream of the invocation with status and headers sent; None where there is no streaming."""
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


def _collected(response: Response, ctx: RequestContext, pieces: list[Any]) -> Any:
    if all(isinstance(piece, str) for piece in pieces):
        body: str | bytes = "".join(pieces)
    else:
        body = b"".join(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in pieces)
    whole = Response(body, response.status_code, response.headers, response.cookies)
    return gateway_result(whole, ctx.response_headers, ctx._request)
