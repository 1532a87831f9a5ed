"""The second argument of a handler, with a clock that a test moves, and a response stream that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from venturekit.protocol.http_response import PRELUDE_TYPE, HttpResponse, PreludeParser
from venturekit.ric.context import ClientContext, CognitoIdentity
from venturekit.ric.response_stream import BINARY, PRELUDE_END, ResponseStream
from venturekit.runtime.environ import new_request_id
from venturekit.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.ric.client import Invocation, RuntimeApiClient

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
        self.streamed = StreamedResponse()
        self._deadline_ms = self.clock.epoch_ms + timeout_ms
        self._streaming = streaming
        self._stream: ResponseStream | None = None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is timed out, never below 0."""
        return max(0, self._deadline_ms - self.clock.epoch_ms)

    def log(self, message: object) -> None:
        """Keep what a runtime would write to the function's log."""
        self.logged.append(str(message))

    @property
    def response_stream(self) -> ResponseStream:
        """The writer of VentureKit's runtime. Raises AttributeError without streaming, as AWS's context does."""
        if not self._streaming:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'response_stream'")
        if self._stream is None:
            api = cast("RuntimeApiClient", self.streamed)
            self._stream = ResponseStream(api, cast("Invocation", None))
        return self._stream

    @property
    def can_stream(self) -> bool:
        """Whether there is a response stream."""
        return self._streaming

    def end_stream(self) -> bool:
        """The invocation is over: nothing more may be written. Returns whether anything was."""
        if self._stream is None:
            return False
        rest = self._stream.over()
        if rest is not None and rest:
            self.streamed.send_stream([rest])
        return rest is not None

    def __repr__(self) -> str:
        return f"FakeLambdaContext({self.function_name!r}, aws_request_id={self.aws_request_id!r})"


class StreamedResponse:
    """What a function has written to its response stream.

    ``pieces`` is what left, one by one; ``content_type`` is None until it has begun. Status, headers and cookies, if
    it has told a front door some, are in front of the first piece: ``response()`` takes them apart.
    """

    def __init__(self) -> None:
        self.content_type: str | None = None
        self._chunks: list[bytes] = []
        self.ended = False

    # What a response stream asks of the Runtime API: this is the other end.
    stream_descriptor: Final = -1

    def stream_head(self, _invocation: object, content_type: bytes) -> bytes:
        """The response begins."""
        self.content_type = content_type.decode("latin-1")
        return b""

    def send_stream(self, parts: list[bytes | memoryview]) -> None:
        """Take what is sent: whole chunks, as the wire has them."""
        data = b"".join(parts)
        while data:
            size, _, rest = data.partition(b"\r\n")
            length = int(size, 16)
            if length == 0:
                self.ended = True
                return
            self._chunks.append(rest[:length])
            data = rest[length + 2 :]

    def send_stream_now(self, parts: list[bytes | memoryview]) -> int:
        """The same; all of it is always taken at once."""
        self.send_stream(parts)
        return sum(map(len, parts))

    @property
    def pieces(self) -> list[bytes]:
        """The pieces, less the prelude."""
        if not self.is_http or not self._chunks:
            return list(self._chunks)
        first = self._chunks[0].partition(PRELUDE_END)[2]
        return [first, *self._chunks[1:]] if first else self._chunks[1:]

    @property
    def payload(self) -> bytes:
        """Everything that was sent, the prelude included: what Lambda gives to a caller that does not stream."""
        return b"".join(self._chunks)

    @property
    def is_http(self) -> bool:
        """Whether there is a prelude."""
        return self.content_type == PRELUDE_TYPE

    def response(self) -> HttpResponse:
        """The response that a front door makes of it. Raises InvalidPreludeError."""
        if not self.is_http:
            return HttpResponse(200, (("content-type", self.content_type or BINARY),), (), self.payload)
        parser = PreludeParser()
        return parser.feed(self.payload) or parser.end()
