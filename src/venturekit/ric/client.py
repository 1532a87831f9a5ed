"""The Runtime API, from a runtime's side (AWS: "Using the Lambda runtime API for custom runtimes").

The answer of one invocation and the request for the next travel in one write: the service answers requests in order,
so this saves a system call and a wake-up on both sides. A server that closes the connection after each response is
served as well: whatever was not answered is asked again on a new connection.
"""

from __future__ import annotations

import sys

from .connection import Connection
from .faults import ApiGoneError, ConnectionLostError, ProtocolError, RequestRefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .http1 import ResponseHead

_PREFIX = b"/2018-06-01/runtime/"
_JSON = b"application/json"
# AWS's client leaves a cause out from this size on; the service crops what is left.
XRAY_CAUSE_LIMIT_BYTES = 1024 * 1024
# What says that a result comes piece by piece, behind its content type.
_STREAMING = (
    b"\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
    b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
)


class Invocation:
    """One event, as the Runtime API gave it. Optional texts are None when absent or empty.

    `deadline_ms` is Unix time in milliseconds, 0 when the API sent none; `function_arn` is "" when it sent none.
    """

    __slots__ = (
        "body",
        "client_context",
        "cognito_identity",
        "content_type",
        "deadline_ms",
        "function_arn",
        "invocation_id",
        "request_id",
        "tenant_id",
        "trace_id",
    )

    def __init__(self, headers: dict[bytes, bytes], body: bytes | bytearray) -> None:
        request_id = headers.get(b"lambda-runtime-aws-request-id")
        if not request_id:
            raise ProtocolError("the Runtime API sent an event without the header Lambda-Runtime-Aws-Request-Id")
        deadline = headers.get(b"lambda-runtime-deadline-ms") or b"0"
        if not deadline.isdigit():
            raise ProtocolError(f"Lambda-Runtime-Deadline-Ms is {deadline[:40]!r}, not a number of milliseconds")
        self.request_id = request_id.decode("utf-8", "surrogateescape")
        self.deadline_ms = int(deadline)
        self.function_arn = _text(headers, b"lambda-runtime-invoked-function-arn") or ""
        self.trace_id = _text(headers, b"lambda-runtime-trace-id")
        self.client_context = _text(headers, b"lambda-runtime-client-context")
        self.cognito_identity = _text(headers, b"lambda-runtime-cognito-identity")
        self.tenant_id = _text(headers, b"lambda-runtime-aws-tenant-id")
        self.content_type = _text(headers, b"content-type")
        self.invocation_id = headers.get(b"lambda-runtime-invocation-id")
        self.body = body


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return value.decode("utf-8", "surrogateescape") if value else None


class RuntimeApiClient:
    """Requests of one execution environment, over one connection that is opened on first use."""

    __slots__ = ("_common", "_connection", "_next_request", "_streaming")

    def __init__(self, address: str) -> None:
        """`address` is `host:port`. Raises ProtocolError when it is not."""
        self._connection = Connection(address)
        # The head of a streamed result is out, and its end is not.
        self._streaming = False
        version = ".".join(map(str, sys.version_info[:3]))
        self._common = (f" HTTP/1.1\r\nHost: {address}\r\nUser-Agent: venturekit-python/{version}\r\n").encode()
        self._next_request = b"GET " + _PREFIX + b"invocation/next" + self._common + b"\r\n"

    def next(self) -> Invocation:
        """Wait for the first event, without a time limit. Raises RuntimeApiError."""
        if not self._connection.is_open:
            self._connection.open()
        self._connection.send(self._next_request)
        return self._read_invocation()

    def response_request(self, invocation: Invocation, body: bytes, content_type: bytes = _JSON) -> bytes:
        """The request that posts a result."""
        return self._post(invocation, b"/response", body, b"Content-Type: " + content_type + b"\r\n")

    def error_request(self, invocation: Invocation, body: bytes, xray_cause: bytes) -> bytes:
        """The request that posts a function error; a cause of 1 MiB or more is left out, as AWS's client does."""
        headers = b"Content-Type: " + _JSON + b"\r\n"
        if xray_cause and len(xray_cause) < XRAY_CAUSE_LIMIT_BYTES:
            headers += b"Lambda-Runtime-Function-XRay-Error-Cause: " + xray_cause + b"\r\n"
        return self._post(invocation, b"/error", body, headers)

    def exchange(self, request: bytes) -> Invocation:
        """Post an answer, or the end of a streamed one, and wait for the next event, both requests in one write.

        Raises RuntimeApiError: ApiGoneError when the API went away after it had acknowledged the answer.
        """
        if self._streaming:
            return self._exchange_stream(request)
        acknowledgement = self._acknowledge(request + self._next_request)
        del request
        return self._read_next(acknowledgement)

    def stream_head(self, invocation: Invocation, content_type: bytes) -> bytes:
        """The head of the request that posts a result piece by piece, chunked; opens the connection if need be.

        Raises ConnectionLostError.
        """
        if not self._connection.is_open:
            self._connection.open()
        self._streaming = True
        return self._post_head(invocation, b"/response", b"Content-Type: " + content_type + _STREAMING) + b"\r\n"

    def send_stream_now(self, parts: Sequence[bytes | memoryview], counts: list[int]) -> None:
        """Send as much of `parts` as can be sent without waiting; `counts` gets how many bytes that was.

        Raises ConnectionLostError.
        """
        self._connection.send_now(parts, counts)

    def abandon_stream(self) -> None:
        """Cut the result off: the API notices, and the next event is asked for on another connection."""
        self._connection.close()

    @property
    def stream_descriptor(self) -> int:
        """The file descriptor that becomes writable when more can be sent."""
        return self._connection.descriptor

    def _exchange_stream(self, rest: bytes) -> Invocation:
        self._streaming = False
        if not self._connection.is_open:
            return self._ask_again()
        try:
            acknowledgement = self._send_and_read(rest + self._next_request)
        except ConnectionLostError as error:
            # It cannot be sent again: what it began with is gone.
            self._report_cut(error)
            return self._ask_again()
        return self._read_next(acknowledgement)

    def post_init_error(self, body: bytes, error_type: str) -> None:
        """Report that the function could not be initialised. Raises RuntimeApiError."""
        self._post_once(b"init/error", body, error_type)

    def post_restore_error(self, body: bytes, error_type: str) -> None:
        """Report that a hook failed after the snapshot was restored. Raises RuntimeApiError."""
        self._post_once(b"restore/error", body, error_type)

    def restore_next(self) -> None:
        """Say that a snapshot may be taken, and wait until it was restored. Raises RuntimeApiError."""
        self._once(b"GET " + _PREFIX + b"restore/next" + self._common + b"\r\n", "restore/next", 200)

    def _post_once(self, operation: bytes, body: bytes, error_type: str) -> None:
        kind = error_type.encode("ascii", "replace").replace(b"\r", b"?").replace(b"\n", b"?")
        head = b"POST " + _PREFIX + operation + self._common + b"Lambda-Runtime-Function-Error-Type: " + kind
        request = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        self._once(request, operation.decode(), 202)

    def _once(self, request: bytes, name: str, expected_status: int) -> None:
        self._connection.open()
        self._connection.send(request)
        head, answer = self._connection.read_response()
        if head.closes:
            self._connection.close()
        if head.status != expected_status:
            raise RequestRefusedError(f"the Runtime API answered {name} with {head.status}: {bytes(answer[:200])!r}")

    def _post(self, invocation: Invocation, operation: bytes, body: bytes, headers: bytes) -> bytes:
        head = self._post_head(invocation, operation, headers)
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def _post_head(self, invocation: Invocation, operation: bytes, headers: bytes) -> bytes:
        request_id = invocation.request_id.encode("utf-8", "surrogateescape")
        if not request_id.replace(b"-", b"").isalnum():
            request_id = b"".join(_percent_encoded(byte) for byte in request_id)
        if invocation.invocation_id:
            headers += b"Lambda-Runtime-Invocation-Id: " + invocation.invocation_id + b"\r\n"
        return b"POST " + _PREFIX + b"invocation/" + request_id + operation + self._common + headers

    def _read_next(self, acknowledgement: ResponseHead) -> Invocation:
        """The event that was asked for in the same write as an answer was posted."""
        refused = acknowledgement.status >= 300
        if refused:
            self._report_refusal(acknowledgement.status)
        if acknowledgement.closes or not self._connection.is_open:
            return self._ask_again()
        try:
            return self._read_invocation()
        except ApiGoneError:
            if not refused:
                raise
            # A refusal may end the connection unannounced, with the second request unread.
            return self._ask_again()

    def _acknowledge(self, data: bytes) -> ResponseHead:
        lost: ConnectionLostError | None = None
        for _attempt in range(2):
            try:
                if not self._connection.is_open:
                    self._connection.open()
                return self._send_and_read(data)
            except ConnectionLostError as error:
                # The connection may have been dropped while the handler ran; an answer that arrives twice is refused.
                lost = error
                self._connection.close()
        raise ConnectionLostError(f"the result of an invocation could not be posted: {lost}")

    def _send_and_read(self, data: bytes) -> ResponseHead:
        try:
            self._connection.send(data)
        except ConnectionLostError:
            # A body that is too large may be refused before all of it was read: the answer is then waiting.
            acknowledgement = self._connection.read_response()[0]
            self._connection.close()
            return acknowledgement
        return self._connection.read_response()[0]

    def _report_refusal(self, status: int) -> None:
        if status >= 500:
            raise RequestRefusedError(
                f"the Runtime API answered a posted result with {status}, the sign of a fatal error"
            )
        sys.stderr.write(f"[ERROR] The Runtime API refused the result of this invocation with HTTP status {status}.\n")

    def _report_cut(self, error: ConnectionLostError) -> None:
        sys.stderr.write(f"[ERROR] The result of this invocation was cut off: {error}\n")

    def _ask_again(self) -> Invocation:
        try:
            self._connection.open()
        except ConnectionLostError as error:
            raise ApiGoneError(str(error)) from None
        self._connection.send(self._next_request)
        return self._read_invocation()

    def _read_invocation(self) -> Invocation:
        head, body = self._connection.read_response()
        if head.closes:
            self._connection.close()
        if not 200 <= head.status < 300:
            raise RequestRefusedError(
                f"the Runtime API answered invocation/next with {head.status}: {bytes(body[:200])!r}"
            )
        return Invocation(head.headers, body)


def _percent_encoded(byte: int) -> bytes:
    character = b"%c" % byte
    return character if character.isalnum() or character in b"-._~" else b"%%%02X" % byte
