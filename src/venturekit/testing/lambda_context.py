"""The second argument of a handler, with a clock that a test moves, and a response stream that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.ric.context import ClientContext, CognitoIdentity
from venturekit.runtime.environ import new_request_id
from venturekit.testing.clock import ManualClock
from venturekit.testing.response_recorder import ResponseRecorder

if TYPE_CHECKING:
    from collections.abc import Mapping


DEFAULT_TIMEOUT_MS: Final = 30_000


class FakeLambdaContext:
    """What AWS hands to a handler beside the event::

        >>> from venturekit.testing import FakeLambdaContext
        >>> context = FakeLambdaContext(function_name="orders", timeout_ms=5000)
        >>> context.clock.advance(ms=1000)
        >>> context.get_remaining_time_in_millis()
        4000
        >>> context.invoked_function_arn
        'arn:aws:lambda:us-east-1:123456789012:function:orders'

    All attributes of AWS's are there: ``function_name``, ``function_version``, ``invoked_function_arn``,
    ``memory_limit_in_mb``, ``aws_request_id``, ``log_group_name``, ``log_stream_name``, ``identity``,
    ``client_context`` (of ``client_context={"custom": {...}, "env": {...}, "client": {...}}``), ``tenant_id``. The time
    runs on ``clock`` from the moment that the context was made. ``logged`` is what ``log()`` has got.

    ``response_stream`` is what VentureKit's runtime has and AWS's has not (``streaming=False``): what is written to it
    is in ``streamed``.
    """

    def __init__(
        self,
        *,
        function_name: str = "function",
        function_version: str = "$LATEST",
        memory_limit_in_mb: int = 128,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        aws_request_id: str | None = None,
        invoked_function_arn: str | None = None,
        client_context: Mapping[str, Any] | None = None,
        identity: Mapping[str, str] | None = None,
        tenant_id: str | None = None,
        region: str = "us-east-1",
        account_id: str = "123456789012",
        clock: ManualClock | None = None,
        streaming: bool = True,
    ) -> None:
        self.function_name = function_name
        self.function_version = function_version
        # A text, as AWS has it.
        self.memory_limit_in_mb = str(memory_limit_in_mb)
        self.aws_request_id = aws_request_id or new_request_id()
        self.invoked_function_arn = (
            invoked_function_arn or f"arn:aws:lambda:{region}:{account_id}:function:{function_name}"
        )
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = f"2026/01/01/[{function_version}]{self.aws_request_id.replace('-', '')}"
        self.client_context = None if client_context is None else ClientContext(client_context)
        self.identity = CognitoIdentity(
            None
            if identity is None
            else {
                "cognitoIdentityId": identity.get("cognito_identity_id"),
                "cognitoIdentityPoolId": identity.get("cognito_identity_pool_id"),
            }
        )
        self.tenant_id = tenant_id
        self.clock = clock if clock is not None else ManualClock()
        self.logged: list[str] = []
        self.streamed = ResponseRecorder()
        self.can_stream = streaming
        self._deadline_ms = self.clock.epoch_ms + timeout_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is timed out, never below 0."""
        return max(0, self._deadline_ms - self.clock.epoch_ms)

    def log(self, message: object) -> None:
        """Keep what a runtime would write to the function's log."""
        self.logged.append(str(message))

    def begin(self) -> None:
        """An invocation begins: it has a response stream of its own, also where a context is used again."""
        self.streamed = ResponseRecorder()

    @property
    def response_stream(self) -> ResponseRecorder:
        """The writer of VentureKit's runtime. Raises AttributeError without streaming, as AWS's context does."""
        if not self.can_stream:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'response_stream'")
        return self.streamed

    def __repr__(self) -> str:
        return f"FakeLambdaContext({self.function_name!r}, aws_request_id={self.aws_request_id!r})"
