"""Where a span comes from, and what tells others: the headers of W3C and X-Ray as OpenTelemetry's span contexts.

Loaded only where the API of OpenTelemetry is. Sources: W3C Trace Context; AWS X-Ray Developer Guide, "Tracing header";
OpenTelemetry, "AWS Lambda" semantic conventions: X-Ray's header is the parent only if it is sampled, else a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags

from venturekit.protocol.trace import TraceHeader, parse_trace_header
from venturekit.runtime import environ
from venturekit.runtime.context import RequestContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context

    from venturekit.runtime.context import BaseContext

LINKS_LIMIT: Final = 100


def origin_of(ctx: BaseContext) -> tuple[Context | None, list[Link]]:
    """What an invocation continues, None for nothing, and what it is linked to besides."""
    carrier = ctx.headers if isinstance(ctx, RequestContext) else _texts(ctx._propagated())
    parent = propagate.extract(carrier) if carrier else None
    links = [Link(context) for context in _of_messages(getattr(ctx, "event", None))][:LINKS_LIMIT]
    if parent is not None and trace.get_current_span(parent).get_span_context().is_valid:
        return parent, links
    xray = span_context_of(carrier.get("x-amzn-trace-id") or environ.trace_header())
    if xray is None:
        return None, links
    if xray.trace_flags.sampled:
        return trace.set_span_in_context(NonRecordingSpan(xray)), links
    # Somebody has decided not to trace this with X-Ray, which says nothing of OpenTelemetry.
    return None, [Link(xray), *links]


def span_context_of(header: str | None) -> SpanContext | None:
    """The span that X-Ray's header names; None without a parent in it, and for what is none."""
    try:
        given = parse_trace_header(header or "")
    except ValueError:
        return None
    if given.parent is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if given.sampled else TraceFlags.DEFAULT)
    context = SpanContext(int(given.root[2:].replace("-", ""), 16), int(given.parent, 16), True, flags)
    return context if context.is_valid else None


def headers_of(context: SpanContext, xray: str | None) -> tuple[str, str]:
    """X-Ray's header and W3C's for a span. What Lambda counts rounds of a loop by is kept of the header there was."""
    try:
        lineage = parse_trace_header(xray or "").lineage
    except ValueError:
        lineage = None
    digits = f"{context.trace_id:032x}"
    root, parent = f"1-{digits[:8]}-{digits[8:]}", f"{context.span_id:016x}"
    header = TraceHeader(root, parent, context.trace_flags.sampled, lineage).format()
    return header, f"00-{digits}-{parent}-{context.trace_flags:02x}"


def _of_messages(event: Any) -> Iterable[SpanContext]:
    """The spans that have sent the messages of a queue."""
    records = event.get("Records") if isinstance(event, dict) else None
    for record in records if isinstance(records, list) else ():
        if not isinstance(record, dict):
            continue
        attributes, sent = record.get("attributes"), record.get("messageAttributes")
        attributes, sent = attributes if isinstance(attributes, dict) else {}, sent if isinstance(sent, dict) else {}
        texts = {name: value["stringValue"] for name, value in sent.items() if _has_text(value)}
        found = trace.get_current_span(propagate.extract(texts)).get_span_context() if texts else None
        if found is None or not found.is_valid:
            found = span_context_of(str(attributes.get("AWSTraceHeader") or ""))
        if found is not None:
            yield found


def _has_text(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("stringValue"), str)


def _texts(given: Any) -> dict[str, str]:
    return {name: value for name, value in given.items() if isinstance(value, str)}
