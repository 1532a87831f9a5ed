"""The second argument of a handler (AWS: "Using the Lambda context object to retrieve Python function information")."""

from __future__ import annotations

import json
import logging
import sys
import time

from .faults import CONTEXT_UNMARSHAL_ERROR, FaultError, ResponseStreamError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from .client import Invocation
    from .response_stream import ResponseStream

    class Streams(Protocol):
        """Who opens the response stream of the invocation that a context belongs to."""

        def open_stream(self, context: LambdaContext) -> ResponseStream: ...


_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


def _representation(instance: Any, names: tuple[str, ...]) -> str:
    fields = ",".join(f"{name}={getattr(instance, name)}" for name in names)
    return f"{type(instance).__name__}([{fields}])"


class CognitoIdentity:
    """Who called through a mobile SDK; both ids are None when nobody did."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, fields: Any = None) -> None:
        self.cognito_identity_id: Any = fields.get("cognitoIdentityId") if fields is not None else None
        self.cognito_identity_pool_id: Any = fields.get("cognitoIdentityPoolId") if fields is not None else None

    def __repr__(self) -> str:
        return _representation(self, ("cognito_identity_id", "cognito_identity_pool_id"))


class Client:
    """The client application, as a mobile SDK describes it. What it did not say is None."""

    __slots__ = ("app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id")

    def __init__(self, fields: Any) -> None:
        self.installation_id: Any = fields.get("installation_id")
        self.app_title: Any = fields.get("app_title")
        self.app_version_name: Any = fields.get("app_version_name")
        self.app_version_code: Any = fields.get("app_version_code")
        self.app_package_name: Any = fields.get("app_package_name")

    def __repr__(self) -> str:
        names = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
        return _representation(self, names)


class ClientContext:
    """What the caller sent as `ClientContext`: `custom` and `env` as they are, `client` as a Client or None."""

    __slots__ = ("client", "custom", "env")

    def __init__(self, fields: Any) -> None:
        self.custom: Any = fields.get("custom")
        self.env: Any = fields.get("env")
        client = fields.get("client")
        self.client = None if client is None else Client(client)

    def __repr__(self) -> str:
        return _representation(self, ("custom", "env", "client"))


class FunctionIdentity:
    """What does not change between invocations: the parts of the environment that a context repeats."""

    __slots__ = ("function_name", "function_version", "log_group_name", "log_stream_name", "memory_limit_in_mb")

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")


class StreamHolder:
    """Keeps the way to the response stream out of a context's own attributes, which are AWS's and the function's."""

    __slots__ = ("_streams",)


class LambdaContext(StreamHolder):
    """Information about one invocation. Attributes may be added, so it has no slots of its own.

    Raises FaultError when the client context or the identity is not JSON.
    """

    def __init__(self, function: FunctionIdentity, invocation: Invocation, streams: Streams | None = None) -> None:
        self._streams = streams
        self.aws_request_id = invocation.request_id
        self.log_group_name = function.log_group_name
        self.log_stream_name = function.log_stream_name
        self.function_name = function.function_name
        self.memory_limit_in_mb = function.memory_limit_in_mb
        self.function_version = function.function_version
        self.invoked_function_arn = invocation.function_arn
        self.tenant_id = invocation.tenant_id
        client_context = _parse_header(invocation.client_context, "Client Context")
        self._w3c_fields = _take_w3c_fields(client_context)
        self.client_context = None if client_context is None else ClientContext(client_context)
        self.identity = CognitoIdentity(_parse_header(invocation.cognito_identity, "Cognito Identity"))
        self._epoch_deadline_time_in_ms = invocation.deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until this invocation is timed out, never below 0."""
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    @property
    def response_stream(self) -> ResponseStream:
        """What the handler may write its response to, piece by piece (not AWS's: its client for Python has none).

        Raises ResponseStreamError when the invocation is over, and for a copy of the context.
        """
        streams: Streams | None = getattr(self, "_streams", None)
        if streams is None:
            raise ResponseStreamError("this context is a copy: only the one that the handler got has a response stream")
        return streams.open_stream(self)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def w3c(self) -> dict[str, str]:
        """The W3C trace context of the caller: any of `traceparent`, `tracestate`, `baggage`."""
        return dict(self._w3c_fields)

    def log(self, message: object) -> None:
        """Write `message` to the function's log as it is, without a line end."""
        for handler in logging.getLogger().handlers:
            sink = getattr(handler, "log_sink", None)
            if sink is not None:
                sink.log(str(message))
                return
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        names = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return _representation(self, names)


def _parse_header(text: str | None, name: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except Exception as error:
        raise FaultError(CONTEXT_UNMARSHAL_ERROR, f"Unable to parse {name} JSON: {error}") from None


def _take_w3c_fields(client_context: Any) -> dict[str, str]:
    if not isinstance(client_context, dict):
        return {}
    fields = client_context.pop("w3c", None)
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}
