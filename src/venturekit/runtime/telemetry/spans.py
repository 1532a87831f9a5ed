"""Spans of OpenTelemetry for handlers and calls: automatic where somebody has set a tracer provider, else nothing.

Loaded only where the API of OpenTelemetry is. Source: OpenTelemetry semantic conventions, "Function-as-a-Service",
"AWS Lambda" and "HTTP".
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, SpanKind, Status, StatusCode

from venturekit.runtime import environ
from venturekit.runtime._process import state
from venturekit.runtime.context import RequestContext
from venturekit.runtime.telemetry.span_attributes import attributes_of, is_pubsub, name_of, route_of
from venturekit.runtime.telemetry.trace_links import headers_of, origin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from opentelemetry.trace import Span, Tracer

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.invocation.result import InvokeResult
    from venturekit.runtime.wrapped import WrappedFunction

FLUSH_MS: Final = 1000
CIRCUIT_OPEN: Final = "circuit_open"
_MARGIN_MS: Final = 200


def active_tracer() -> Tracer | None:
    """The tracer of the framework; None unless a real provider has been set."""
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, ProxyTracerProvider | NoOpTracerProvider) else _tracer_of(provider)


@lru_cache(maxsize=4)
def _tracer_of(provider: trace.TracerProvider) -> Tracer:
    from venturekit import __version__

    return provider.get_tracer("venturekit", __version__)


# --- handlers -------------------------------------------------------------------------------------------------------


def in_span(chain: Callable[[Any], Any], ctx: BaseContext, handler: WrappedFunction) -> Any:
    """What the chain of a handler gives, in a span of its own; an awaitable if the chain is asynchronous."""
    tracer = active_tracer()
    if tracer is None:
        return chain(ctx)
    return (_ahandled if handler.is_async else _handled)(tracer, chain, ctx, handler)


def _handled(tracer: Tracer, chain: Callable[[Any], Any], ctx: BaseContext, handler: WrappedFunction) -> Any:
    with _handler_span(tracer, ctx, handler) as span:
        result = chain(ctx)
        _note_result(span, ctx, result)
    return result


async def _ahandled(
    tracer: Tracer, chain: Callable[[Any], Awaitable[Any]], ctx: BaseContext, handler: WrappedFunction
) -> Any:
    with _handler_span(tracer, ctx, handler) as span:
        result = await chain(ctx)
        _note_result(span, ctx, result)
    return result


@contextmanager
def _handler_span(tracer: Tracer, ctx: BaseContext, handler: WrappedFunction) -> Iterator[Span]:
    attributes = attributes_of(ctx)
    attributes["faas.coldstart"] = not state.was_invoked
    state.was_invoked = True
    # Within a span of this process, an instrumentation of the runtime's for example, this is a part of that one.
    is_inner = trace.get_current_span().get_span_context().is_valid
    parent, links = (None, []) if is_inner else origin_of(ctx)
    kind = SpanKind.INTERNAL if is_inner else SpanKind.CONSUMER if is_pubsub(ctx) else SpanKind.SERVER
    try:
        with tracer.start_as_current_span(
            name_of(ctx, handler.__name__),
            context=parent,
            kind=kind,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                _note_error(span, ctx, error)
                raise
    finally:
        if not is_inner:
            _flush(ctx)


def _note_result(span: Span, ctx: BaseContext, result: Any) -> None:
    if isinstance(ctx, RequestContext):
        _note_status(span, getattr(result, "status_code", None))


def _note_error(span: Span, ctx: BaseContext, error: BaseException) -> None:
    """What the caller has done wrong is no error of the function's: 4xx is only a status."""
    status = getattr(error, "status_code", None)
    if isinstance(ctx, RequestContext):
        _note_status(span, status if type(status) is int else 500)
    # Of a task whatever is raised is a failure.
    is_answered = isinstance(ctx, RequestContext) or hasattr(ctx, "route_key")
    if not (is_answered and type(status) is int and status < 500):
        _fail(span, error, type(error).__name__)


def _note_status(span: Span, status: Any) -> None:
    if type(status) is int:
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))


def _fail(span: Span, error: BaseException, kind: str) -> None:
    span.record_exception(error)
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def _flush(ctx: BaseContext) -> None:
    """Lambda freezes what runs between two invocations: spans leave before the answer does, or with the next one."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is None or not environ.is_lambda():
        return
    timeout_ms = min(FLUSH_MS, ctx.get_remaining_time_in_millis() - _MARGIN_MS)
    if timeout_ms > 0:
        try:
            flush(timeout_ms)
        except Exception as problem:
            ctx.logger.warn("spans could not be sent", {"why": str(problem)})


# --- calls ----------------------------------------------------------------------------------------------------------


def call_in_span(call: Callable[..., InvokeResult[Any]], target: Any, options: dict[str, Any]) -> InvokeResult[Any]:
    """What a call gives, in a span of its own, whose context goes along with the call."""
    tracer = active_tracer()
    if tracer is None:
        return call(target, **options)
    with _call_span(tracer, target, options) as span:
        result = call(target, **options)
        _note_call(span, result, target, options)
    return result


async def acall_in_span(
    call: Callable[..., Awaitable[InvokeResult[Any]]], target: Any, options: dict[str, Any]
) -> InvokeResult[Any]:
    """The same without blocking the event loop."""
    tracer = active_tracer()
    if tracer is None:
        return await call(target, **options)
    with _call_span(tracer, target, options) as span:
        result = await call(target, **options)
        _note_call(span, result, target, options)
    return result


@contextmanager
def _call_span(tracer: Tracer, target: Any, options: Mapping[str, Any]) -> Iterator[Span]:
    route = route_of(target)
    function = options.get("function") or (target.get("function") if hasattr(target, "get") else None)
    attributes: dict[str, Any] = {"faas.invoked_provider": "aws"}
    if (region := environ.region()) is not None:
        attributes["faas.invoked_region"] = region
    if route is not None:
        attributes |= {"http.request.method": str(options.get("method") or "POST").upper(), "url.template": route}
    with tracer.start_as_current_span(
        f"invoke {route or function}",
        kind=SpanKind.PRODUCER if options.get("mode") == "async" else SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            if name := getattr(error, "target", None):
                span.set_attribute("faas.invoked_name", str(name))
            _fail(span, error, _kind_of(error))
            raise


def _kind_of(error: BaseException) -> str:
    return str(getattr(error, "kind", None) or type(error).__name__)


def _note_call(span: Span, result: InvokeResult[Any], target: Any, options: Mapping[str, Any]) -> None:
    if result.target:
        span.set_attribute("faas.invoked_name", result.target)
    # Of a fallback the status is nobody's answer.
    if route_of(target) is not None and options.get("mode") != "async" and not result.is_fallback:
        span.set_attribute("http.response.status_code", result.status_code)
        if result.status_code >= 400:
            span.set_attribute("error.type", str(result.status_code))
            span.set_status(Status(StatusCode.ERROR))


def fell_back(error: Exception | None) -> None:
    """Say in the span of a call why its fallback is used: an error, None for a breaker that is open."""
    if active_tracer() is None:
        return
    span = trace.get_current_span()
    if error is not None:
        _fail(span, error, _kind_of(error))
        return
    span.set_attribute("error.type", CIRCUIT_OPEN)
    span.set_status(Status(StatusCode.ERROR))


def outgoing(xray: str | None, traceparent: str | None) -> tuple[str | None, str | None]:
    """The headers of the span that is current, instead of those that the invocation came with."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return xray, traceparent
    return headers_of(context, xray)
