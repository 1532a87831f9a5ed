"""What a project's tests import: events of every trigger, a client of handlers, a fake context, clock and invoker.

    from venturekit.testing import Client

    def test_a_user_is_found():
        response = Client({"GET /users/{id}": main}).get("/users/42", scopes=["users:read"])
        assert response.data == {"id": "42"}

Each name is loaded when it is first asked for. The fixtures of pytest are in ``venturekit.testing.plugin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from venturekit.testing.client import Client
    from venturekit.testing.client_response import ClientResponse
    from venturekit.testing.clock import ManualClock
    from venturekit.testing.events.brokers import kafka_event, mq_event, msk_event
    from venturekit.testing.events.cognito import cognito_event
    from venturekit.testing.events.http_apis import function_url_event, http_api_event
    from venturekit.testing.events.messages import (
        eventbridge_event,
        s3_event,
        schedule_event,
        sns_event,
        sqs_event,
    )
    from venturekit.testing.events.rest_apis import alb_event, rest_api_event
    from venturekit.testing.events.streams import dynamodb_stream_event, kinesis_event
    from venturekit.testing.events.websockets import (
        websocket_connect_event,
        websocket_disconnect_event,
        websocket_message_event,
    )
    from venturekit.testing.invoker import FakeInvoker, RecordedCall
    from venturekit.testing.lambda_context import FakeLambdaContext
    from venturekit.testing.logs import LogCapture
    from venturekit.testing.response_recorder import ResponseRecorder
    from venturekit.testing.service import LocalService, ServiceUnavailableError

_LATER: Final = {
    "Client": "client",
    "ClientResponse": "client_response",
    "FakeInvoker": "invoker",
    "FakeLambdaContext": "lambda_context",
    "LocalService": "service",
    "LogCapture": "logs",
    "ManualClock": "clock",
    "RecordedCall": "invoker",
    "ResponseRecorder": "response_recorder",
    "ServiceUnavailableError": "service",
    "alb_event": "events.rest_apis",
    "cognito_event": "events.cognito",
    "dynamodb_stream_event": "events.streams",
    "eventbridge_event": "events.messages",
    "function_url_event": "events.http_apis",
    "http_api_event": "events.http_apis",
    "kafka_event": "events.brokers",
    "kinesis_event": "events.streams",
    "mq_event": "events.brokers",
    "msk_event": "events.brokers",
    "rest_api_event": "events.rest_apis",
    "s3_event": "events.messages",
    "schedule_event": "events.messages",
    "sns_event": "events.messages",
    "sqs_event": "events.messages",
    "websocket_connect_event": "events.websockets",
    "websocket_disconnect_event": "events.websockets",
    "websocket_message_event": "events.websockets",
}

__all__ = [
    "Client",
    "ClientResponse",
    "FakeInvoker",
    "FakeLambdaContext",
    "LocalService",
    "LogCapture",
    "ManualClock",
    "RecordedCall",
    "ResponseRecorder",
    "ServiceUnavailableError",
    "alb_event",
    "cognito_event",
    "dynamodb_stream_event",
    "eventbridge_event",
    "function_url_event",
    "http_api_event",
    "kafka_event",
    "kinesis_event",
    "mq_event",
    "msk_event",
    "rest_api_event",
    "s3_event",
    "schedule_event",
    "sns_event",
    "sqs_event",
    "websocket_connect_event",
    "websocket_disconnect_event",
    "websocket_message_event",
]


def __getattr__(name: str) -> Any:
    """What is loaded when it is first asked for."""
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
