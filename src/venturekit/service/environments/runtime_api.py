"""The Runtime API of one execution environment (seed 004; AWS page "Using the Lambda runtime API").

One listener per environment: a runtime sees only its own invocations. The HTTP side is here, the meaning of each
call in :class:`~venturekit.service.environments.environment.Environment`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Final

from venturekit.service.environments import bad_answers, failures
from venturekit.service.environments.extensions import api as extension_api
from venturekit.service.environments.failures import RESPONSE_LIMIT_BYTES
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.response_body import ResponseBody
from venturekit.service.wire.answers import answer
from venturekit.service.wire.bounds import CUT_SHORT
from venturekit.service.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.seats import Seat
    from venturekit.service.wire.exchange import Exchange

PREFIX: Final = b"/2018-06-01/runtime/"
NEXT: Final = PREFIX + b"invocation/next"
INVOCATION: Final = PREFIX + b"invocation/"
INVOCATION_LENGTH: Final = len(INVOCATION)
ACCEPTED_BODY: Final = b'{"status":"OK"}\n'
ACCEPTED: Final = answer(202, [(b"Content-Type", b"application/json")], ACCEPTED_BODY)
EVENT_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: %b\r\n"
    b"Lambda-Runtime-Deadline-Ms: %d\r\nLambda-Runtime-Invoked-Function-Arn: %b\r\n"
    b"Lambda-Runtime-Trace-Id: %b\r\n%bContent-Length: %d\r\n\r\n"
)
"""How an event is handed over: request id, deadline in milliseconds, ARN, trace, further lines, size."""
JSON: Final = [(b"Content-Type", b"application/json")]
ERROR_TYPE: Final = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
ERROR_TRAILERS: Final = (b"lambda-runtime-function-error-type", b"lambda-runtime-function-error-body")
"""Either says that the function failed while it was answering."""
ERROR_CAUSE_TYPE: Final = b"application/vnd.aws.lambda.error.cause+json"

# AWS's Python and Go runtimes put up to 1 MiB of stack trace into one header line. There are no time limits: the
# function's own timeout bounds them. Runtimes need one or two connections; one that opens thousands must not use up
# the descriptors of the service.
LIMITS: Final = Limits(
    connections=128,
    head_bytes=1024 * 1024 + 65_536,
    body_bytes=RESPONSE_LIMIT_BYTES,
    head_timeout=None,
    body_grace=None,
    keep_alive=None,
    write_timeout=None,
)

STATE_NAMES: Final = {
    State.STARTING: "Starting",
    State.IDLE: "Ready",
    State.INVOKE: "Running",
    State.RESPONDED: "InvocationResponse",
    State.INIT_FAILED: "InitError",
    State.STOPPING: "Exited",
    State.TERMINATED: "Exited",
    State.INIT_HELD: "Ready",
    State.HELD: "Ready",
}


def error_answer(status: int, error_type: str, message: str, *, close: bool = False) -> bytes:
    """An error of the Runtime API: JSON with ``errorMessage`` and ``errorType``; ``close`` says that it is the last."""
    return answer(status, JSON, error_body(error_type, message), close=close)


def error_body(error_type: str, message: str) -> bytes:
    """The JSON of an error of the Runtime API."""
    return json.dumps({"errorMessage": message, "errorType": error_type}, separators=(",", ":")).encode()


def normalise_error_type(given: bytes | None) -> str:
    """The error type that is reported: ``Function.Unknown`` or ``Runtime.Unknown`` where it does not look like one."""
    text = (given or b"").decode("latin-1").strip()
    if ERROR_TYPE.fullmatch(text):
        return text
    return "Function.Unknown" if text.startswith("Function.") else "Runtime.Unknown"


def answered_request_id(target: bytes) -> bytes:
    """The request id in the path of an answer to an invocation."""
    return target[INVOCATION_LENGTH:].partition(b"/")[0]


class RuntimeApi:
    """Reads the calls of one environment's runtime. An Application of the wire package."""

    __slots__ = ("environment", "hosts")

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.hosts: frozenset[bytes] = frozenset()

    def serve_on(self, port: int) -> None:
        """Name the port: only requests that address it by a loopback name are answered (DNS rebinding)."""
        suffix = b":%d" % port
        names = (b"127.0.0.1", b"localhost", b"[::1]")
        self.hosts = frozenset(names) | frozenset(name + suffix for name in names)

    # --- the wire's calls ---------------------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> ResponseBody | None:
        # Refused before its body is read, taken piece by piece, or up to the listener's limit.
        if not self._admit(exchange) or not _is_response(exchange):
            return None
        mode = exchange.headers.get(b"lambda-runtime-function-response-mode")
        if mode is None:
            return None
        seat = self._seat(exchange, answered_request_id(exchange.target))
        if seat is None or self._refuses_mode(seat, exchange, mode):
            return None
        return ResponseBody(self, seat, exchange)

    def handle(self, exchange: Exchange) -> None:
        headers = exchange.headers
        if headers.get(b"host") not in self.hosts or b"origin" in headers:
            self._admit(exchange)
            return
        target = exchange.target
        if target == NEXT:
            if exchange.method == b"GET":
                self.environment.next(exchange)
            else:
                self._method_not_allowed(exchange)
            return
        if target.startswith(INVOCATION) and exchange.method == b"POST":
            request_id, _, action = target[INVOCATION_LENGTH:].partition(b"/")
            if action == b"response":
                self._response(exchange, request_id)
                return
            if action == b"error":
                self._error(exchange, request_id)
                return
        self._other(exchange)

    def aborted(self, exchange: Exchange) -> None:
        self.environment.connection_gone(exchange)

    def malformed(self, status: int, reason: str) -> bytes:
        error_type = "TruncatedHTTPRequest" if reason == CUT_SHORT else "InvalidRequest"
        return answer(status, JSON, error_body(error_type, reason), close=True)

    # --- the calls of the runtime -------------------------------------------------------------------------------

    def _response(self, exchange: Exchange, request_id: bytes) -> None:
        seat = self._seat(exchange, request_id)
        if seat is None:
            return
        mode = exchange.headers.get(b"lambda-runtime-function-response-mode")
        if mode is None:
            self.response_ended(seat, exchange, exchange.body, exchange.trailers)
        elif not self._refuses_mode(seat, exchange, mode):
            # A stream that is over already: its body was small, and all of it was announced.
            body = ResponseBody(self, seat, exchange)
            body.chunk(bytes(exchange.body))
            body.end(exchange.trailers or {})

    def response_ended(
        self,
        seat: Environment | Seat,
        exchange: Exchange,
        body: bytes | bytearray,
        trailers: Mapping[bytes, bytes] | None,
    ) -> None:
        """The runtime has sent all of a response; trailers may say that the function failed while it did."""
        if trailers and any(trailers.get(name, b"").strip() for name in ERROR_TRAILERS):
            seat.answered(_trailing_error(trailers), error=True)
        else:
            seat.answered(body, error=False)
        exchange.respond(ACCEPTED)

    def refuse_late(self, exchange: Exchange) -> None:
        """Answer that there is no such invocation, or that it is over: it may end while it is being answered."""
        close = not exchange.complete
        if self.environment.is_late(answered_request_id(exchange.target)):
            message = "the invocation has run out of time, and its caller has been told so"
            exchange.respond(error_answer(410, "InvocationTimedOut", message, close=close))
        else:
            exchange.respond(error_answer(400, "InvalidRequestID", "Invalid request ID", close=close))

    def _error(self, exchange: Exchange, request_id: bytes) -> None:
        seat = self._seat(exchange, request_id)
        if seat is not None:
            seat.answered(_error_body(exchange), error=True)
            exchange.respond(ACCEPTED)

    def _seat(self, exchange: Exchange, request_id: bytes) -> Environment | Seat | None:
        """What is answered for. None: there is no such invocation, or the answer is too large, and was refused."""
        seat = self.environment.seat(request_id)
        if seat is None:
            self.refuse_late(exchange)
        elif exchange.too_large:
            bad_answers.too_large(seat)
            self.refuse_too_large(exchange)
            return None
        return seat

    def _refuses_mode(self, seat: Environment | Seat, exchange: Exchange, mode: bytes) -> bool:
        """Whether there is no such response mode, in which case the invocation has failed."""
        if mode.strip().lower() == b"streaming":
            return False
        bad_answers.invalid_mode(seat, mode)
        message = f"Invalid function response mode: {mode.decode('latin-1')}"
        answered = error_answer(400, "InvalidFunctionResponseMode", message, close=not exchange.complete)
        exchange.respond(answered)
        return True

    def _init_error(self, exchange: Exchange) -> None:
        environment = self.environment
        error_type = normalise_error_type(exchange.headers.get(b"lambda-runtime-function-error-type"))
        if exchange.too_large and self.environment.state is State.STARTING:
            environment.init_error(failures.response_too_large(), "Function.ResponseSizeTooLarge")
            self.refuse_too_large(exchange)
        elif environment.init_error(_error_body(exchange), error_type):
            exchange.respond(ACCEPTED)
        else:
            self.refuse_transition(exchange, "InitError")

    def _other(self, exchange: Exchange) -> None:
        target, _, query = exchange.target.partition(b"?")
        if query and target == NEXT:
            if exchange.method == b"GET":
                self.environment.next(exchange)
            else:
                self._method_not_allowed(exchange)
        elif target == PREFIX + b"init/error" and exchange.method == b"POST":
            self._init_error(exchange)
        elif target.startswith(PREFIX + b"restore/"):
            message = "this environment is not started from a snapshot: restore/next and restore/error do not apply"
            exchange.respond(error_answer(404, "NotFound", message))
        elif extension_api.answers(target):
            extension_api.call(self.environment, exchange, target)
        elif target == b"/2018-06-01/ping":
            exchange.respond(answer(200, [(b"Content-Type", b"text/plain")], b"pong"))
        else:
            message = f"the Runtime API has no {exchange.method.decode('latin-1')} {target.decode('latin-1')}"
            exchange.respond(error_answer(404, "NotFound", message))

    # --- refusals -----------------------------------------------------------------------------------------------

    def refuse_transition(self, exchange: Exchange, wanted: str) -> None:
        """Answer 403: the runtime may not do this in the state its environment is in."""
        state = STATE_NAMES[self.environment.state]
        message = (
            f"State transition from {state} to {wanted} failed for runtime. Error: State transition is not allowed"
        )
        exchange.respond(error_answer(403, "InvalidStateTransition", message))

    def refuse_crowd(self, exchange: Exchange, limit: int) -> None:
        """Answer 500: the runtime waits for as many events already as it may have at once (as recorded)."""
        message = f"{limit} calls of {NEXT.decode()} are waiting already: no more may, by AWS_LAMBDA_MAX_CONCURRENCY"
        exchange.respond(error_answer(500, "Runtime.TooManyNextRequests", message))

    def _method_not_allowed(self, exchange: Exchange) -> None:
        message = f"{NEXT.decode()} takes GET, not {exchange.method.decode('latin-1')}"
        body = error_body("MethodNotAllowed", message)
        exchange.respond(answer(405, [*JSON, (b"Allow", b"GET")], body))

    def refuse_too_large(self, exchange: Exchange, limit_bytes: int = RESPONSE_LIMIT_BYTES) -> None:
        """Answer that the response has more bytes than one may have."""
        message = f"Exceeded maximum allowed payload size ({limit_bytes} bytes)."
        exchange.respond(error_answer(413, "RequestEntityTooLarge", message, close=not exchange.complete))

    def _admit(self, exchange: Exchange) -> bool:
        headers = exchange.headers
        host = headers.get(b"host", b"")
        if b"origin" in headers:
            exchange.close_after()
            exchange.respond(
                error_answer(403, "Forbidden", "web pages (requests with an Origin) may not call the Runtime API")
            )
            return False
        if host not in self.hosts:
            exchange.close_after()
            message = f"the Host header {host.decode('latin-1')!r} is not this environment's address"
            exchange.respond(error_answer(403, "Forbidden", message))
            return False
        return True


def _error_body(exchange: Exchange) -> bytes | bytearray:
    """The error's JSON as the caller gets it: AWS cuts the ``errorCause`` out of the type that carries one."""
    content_type = exchange.headers.get(b"content-type", b"").partition(b";")[0]
    if content_type.strip().lower() != ERROR_CAUSE_TYPE:
        return exchange.body
    try:
        error = json.loads(exchange.body)
        del error["errorCause"]
    except KeyError:
        return exchange.body
    except (ValueError, TypeError, RecursionError):
        return b'"Invalid error body"'
    # Half of a surrogate pair is legal in JSON only as an escape.
    return json.dumps(error, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


def _is_response(exchange: Exchange) -> bool:
    return (
        exchange.method == b"POST" and exchange.target.startswith(INVOCATION) and exchange.target.endswith(b"/response")
    )


def _trailing_error(trailers: Mapping[bytes, bytes]) -> bytes:
    """The error that a streaming runtime reported after its body (base64 JSON in a trailer)."""
    try:
        body = base64.b64decode(trailers.get(b"lambda-runtime-function-error-body", b"").strip(), validate=True)
    except (binascii.Error, ValueError):
        body = b""
    if body:
        return body
    error_type = normalise_error_type(trailers.get(b"lambda-runtime-function-error-type"))
    return json.dumps({"errorType": error_type, "errorMessage": ""}, separators=(",", ":")).encode()
