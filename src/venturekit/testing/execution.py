"""Runs a handler as a runtime does: sync or async, with what it streams, to the bytes that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from venturekit.ric.marshal import Marshaller
from venturekit.ric.response_stream import asend_all, is_stream, send_all
from venturekit.runtime import _process

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.ric.response_stream import ResponseStream
    from venturekit.testing.lambda_context import FakeLambdaContext


def execute(handler: Callable[..., Any], event: Any, context: FakeLambdaContext) -> bytes:
    """The payload that a handler answers with, its streamed response included.

    Raises what the handler raises, ``venturekit.ric.faults.FaultError`` for a result that JSON cannot hold, and
    RuntimeError for an asynchronous handler inside a running event loop.
    """
    context.begin()
    try:
        result = handler(event, context)
        if hasattr(result, "__await__"):
            result = _run(result, handler)
        if context.can_stream and is_stream(result):
            if hasattr(type(result), "__anext__"):
                _run(asend_all(result, _stream(context)), handler)
            else:
                send_all(result, _stream(context))
            result = None
    finally:
        was_streamed = context.streamed.over()
    return context.streamed.payload if was_streamed else _payload(result)


async def aexecute(handler: Callable[..., Any], event: Any, context: FakeLambdaContext) -> bytes:
    """The same within an event loop."""
    context.begin()
    try:
        call = getattr(handler, "acall", handler)
        result = call(event, context)
        if hasattr(result, "__await__"):
            result = await result
        if context.can_stream and is_stream(result):
            if hasattr(type(result), "__anext__"):
                await asend_all(result, _stream(context))
            else:
                send_all(result, _stream(context))
            result = None
    finally:
        was_streamed = context.streamed.over()
    return context.streamed.payload if was_streamed else _payload(result)


def is_asynchronous(handler: Any) -> bool:
    """Whether a handler needs an event loop."""
    from venturekit.ric.handler import is_coroutine_function

    return bool(getattr(handler, "is_async", False)) or is_coroutine_function(handler)


def _run(coroutine: Any, handler: Any) -> Any:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _process.run(coroutine)
    coroutine.close()
    name = getattr(handler, "__name__", repr(handler))
    raise RuntimeError(f"{name} is asynchronous and an event loop is running: await the asynchronous form of this call")


def _stream(context: FakeLambdaContext) -> ResponseStream:
    # In a test it is a recorder, which has the same methods.
    return cast("ResponseStream", context.response_stream)


def _payload(result: Any) -> bytes:
    return result if isinstance(result, bytes) else Marshaller(None).serialize_result(result)
