"""What a span tells of an invocation, by the names of OpenTelemetry's semantic conventions. Pure.

Sources: OpenTelemetry semantic conventions, "Function-as-a-Service", "AWS Lambda", "HTTP", "Messaging".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import RequestContext

if TYPE_CHECKING:
    from venturekit.runtime.context import BaseContext

HTTP: Final = "http"
OTHER: Final = "other"
_OF_SOURCE: Final = {
    "aws:sqs": "pubsub",
    "aws:sns": "pubsub",
    "aws:kinesis": "pubsub",
    "aws:kafka": "pubsub",
    "aws:mq": "pubsub",
    "aws:dynamodb": "datasource",
    "aws:s3": "datasource",
}
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))


def attributes_of(ctx: BaseContext) -> dict[str, Any]:
    """The attributes with which the span of a handler begins."""
    attributes: dict[str, Any] = {
        "faas.trigger": trigger_of(ctx),
        "faas.invocation_id": getattr(ctx.raw_context, "aws_request_id", None) or ctx.request_id,
    }
    arn = getattr(ctx.raw_context, "invoked_function_arn", None)
    if isinstance(arn, str) and arn.count(":") >= 6:
        parts = arn.split(":")
        # An alias leads somewhere else tomorrow: what has run is a version.
        version = getattr(ctx.raw_context, "function_version", None)
        if len(parts) > 7 and version:
            parts[7] = str(version)
        attributes |= {"cloud.resource_id": ":".join(parts), "cloud.account.id": parts[4]}
    if isinstance(ctx, RequestContext):
        attributes |= _request_attributes(ctx)
    elif is_pubsub(ctx) and _source_of(ctx) == "aws:sqs":
        attributes |= {"messaging.system": "aws_sqs", "messaging.operation.type": "process"}
        attributes |= {"messaging.destination.name": _queue_of(ctx)}
        attributes |= {"messaging.batch.message_count": len(getattr(ctx, "event", {})["Records"])}
    return attributes


def _request_attributes(ctx: RequestContext) -> dict[str, Any]:
    method = ctx.method.upper()
    known = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "http.request.method_original": None if method in _METHODS else ctx.method,
        "url.path": ctx.path,
        "url.scheme": ctx.headers.get("x-forwarded-proto"),
        "http.route": _template_of(ctx),
        "user_agent.original": ctx.user_agent,
        "client.address": ctx.source_ip,
        "server.address": ctx.headers.get("host"),
    }
    return {name: value for name, value in known.items() if value}


def name_of(ctx: BaseContext, function: str) -> str:
    """The name of a handler's span: method and route of a request, the route of a WebSocket, a queue, a function."""
    if isinstance(ctx, RequestContext):
        method = ctx.method.upper() if ctx.method.upper() in _METHODS else "HTTP"
        template = _template_of(ctx)
        return f"{method} {template}" if template else method
    route = getattr(ctx, "route_key", None)
    if route:
        return f"WebSocket {route}"
    if _source_of(ctx) == "aws:sqs":
        return f"{_queue_of(ctx)} process"
    return getattr(ctx, "function_name", "") or function


def trigger_of(ctx: BaseContext) -> str:
    """What has started an invocation: ``http``, ``pubsub``, ``datasource``, ``timer`` or ``other``."""
    if isinstance(ctx, RequestContext):
        return HTTP
    event = getattr(ctx, "event", None)
    if not isinstance(event, dict):
        return OTHER
    if event.get("source") in ("aws.events", "aws.scheduler") and event.get("detail-type") == "Scheduled Event":
        return "timer"
    return _OF_SOURCE.get(_source_of(ctx), OTHER)


def is_pubsub(ctx: BaseContext) -> bool:
    """Whether messages have started it."""
    return trigger_of(ctx) == "pubsub"


def route_of(target: Any) -> str | None:
    """The route that ``invoke()`` was given; None for a function."""
    return target if isinstance(target, str) else None


def _template_of(ctx: RequestContext) -> str:
    """The route as it is declared, ``/users/{id}``; empty where the event does not tell."""
    key = str(ctx.raw_event.get("routeKey") or "")
    return key.partition(" ")[2] or str(ctx.raw_event.get("resource") or "")


def _source_of(ctx: BaseContext) -> str:
    event = getattr(ctx, "event", None)
    records = event.get("Records") if isinstance(event, dict) else None
    first = records[0] if isinstance(records, list) and records else None
    return str(first.get("eventSource") or first.get("EventSource")) if isinstance(first, dict) else ""


def _queue_of(ctx: BaseContext) -> str:
    return str(getattr(ctx, "event", {})["Records"][0].get("eventSourceARN") or "").rpartition(":")[2]
