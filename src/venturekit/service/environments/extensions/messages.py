"""What the Extensions API and extensions say to one another, as JSON. Pure.

Source: AWS page "Using the Lambda Extensions API to create extensions".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.service.environments.extensions.roster import RefusedError

if TYPE_CHECKING:
    from venturekit.service.environments.ports import EnvironmentSpec, Invocation


def wanted_events(body: bytes | bytearray) -> list[object]:
    """The events in the body of a registration. Raises RefusedError."""
    if not body:
        return []
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"the body is not JSON: {error}") from None
    events = given.get("events", []) if isinstance(given, dict) else None
    if not isinstance(events, list):
        raise _unreadable('the body has to be like {"events": ["INVOKE", "SHUTDOWN"]}')
    return events


def _unreadable(message: str) -> RefusedError:
    return RefusedError("InvalidRequestFormat", message, status=400)


def registered(spec: EnvironmentSpec, *, with_account: bool) -> bytes:
    """The answer to a registration; the account's id only for who asked for that feature."""
    known = {"functionName": spec.function_name, "functionVersion": spec.function_version, "handler": spec.handler}
    if with_account:
        known["accountId"] = spec.function_arn.split(":")[4]
    return _json(known)


def invoke_event(invocation: Invocation, deadline_ms: int) -> bytes:
    """INVOKE: an invocation was handed to the runtime. ``deadline_ms`` in milliseconds of Unix time."""
    return _json(
        {
            "eventType": "INVOKE",
            "deadlineMs": deadline_ms,
            "requestId": invocation.request_id.decode(),
            "invokedFunctionArn": invocation.invoked_arn.decode("utf-8", "replace"),
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace.decode("latin-1")},
        }
    )


def shutdown_event(reason: str, deadline_ms: int) -> bytes:
    """SHUTDOWN: the environment ends. As recorded, the reason is in lower case: spindown, timeout or failure."""
    return _json({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms})


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
