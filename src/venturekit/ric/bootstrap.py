"""The life of a Python execution environment: initialise the function, then serve events until the API goes away."""

from __future__ import annotations

import logging
import os
import sys

from . import errors
from .client import Invocation, RuntimeApiClient
from .context import FunctionIdentity, LambdaContext
from .coroutines import COROUTINE_TYPE, CoroutineRunner
from .faults import ApiGoneError, FaultError, ResponseStreamError, RuntimeApiError
from .handler import awaitable_entry, is_coroutine_function, resolve_handler
from .logs import FunctionLog
from .marshal import PLAIN_TYPES, Marshaller
from .stream import unbuffer_standard_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any, NoReturn

    from .errors import ErrorReport
    from .response_stream import ResponseStream

_TRACE_VARIABLE = "_X_AMZN_TRACE_ID"
_CONCURRENCY_VARIABLE = "AWS_LAMBDA_MAX_CONCURRENCY"
_INITIALIZATION_FAILED = (
    "LAMBDA_WARNING: Unhandled exception. The function could not be initialised, so no event was given to it; "
    "the next record says why.\r"
)


def preload(with_asyncio: bool = False) -> None:
    """Import now what `run` and the first invocation would import later: for a fork server, before it forks.

    `with_asyncio` imports asyncio too, which only coroutine handlers need. No socket is opened and no setting of the
    process is changed.
    """
    import linecache

    from . import json_errors, response_stream, snapstart, worker_pool

    # Reading a source line needs more modules than importing the reader.
    linecache.getline(__file__, 1)
    imported: list[object] = [json_errors, response_stream, snapstart, worker_pool]
    if with_asyncio:
        import asyncio

        imported.append(asyncio)


def run(
    handler: str | None = None, runtime_api: str | None = None, environ: MutableMapping[str, str] = os.environ
) -> NoReturn:
    """Import `handler` and serve events for ever; several at once where AWS_LAMBDA_MAX_CONCURRENCY says how many.

    `handler` is `module.path.function` (default: the variable _HANDLER), `runtime_api` is `host:port` (default: the
    variable AWS_LAMBDA_RUNTIME_API). Never returns: it raises SystemExit with status 0 when the Runtime API went away
    between two events, 1 when the function could not be initialised or the API failed in the middle of something; and
    whatever the function raises that is no Exception (SystemExit, KeyboardInterrupt), which the caller must let through
    to the interpreter.
    """
    unbuffer_standard_streams()
    address = runtime_api or environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        raise SystemExit("The variable AWS_LAMBDA_RUNTIME_API is not set; set it to the host:port of a Runtime API.")
    name = environ.get("_HANDLER", "") if handler is None else handler
    try:
        environment = ExecutionEnvironment(_api_client(address, environ), environ)
        environment.initialize(name)
        environment.serve()
    except ApiGoneError:
        raise SystemExit(0) from None
    except RuntimeApiError as error:
        raise SystemExit(f"[ERROR] The execution environment ends: {error}") from None


def _api_client(address: str, environ: MutableMapping[str, str]) -> RuntimeApiClient:
    if _CONCURRENCY_VARIABLE not in environ:
        return RuntimeApiClient(address)
    from .worker_pool import become_worker

    return become_worker(address, environ)


class ExecutionEnvironment:
    """One function's process: its handler, its log and its connection to the Runtime API."""

    __slots__ = (
        "_api",
        "_call",
        "_context",
        "_coroutines",
        "_environ",
        "_function",
        "_invocation",
        "_log",
        "_marshaller",
        "_stream",
    )

    def __init__(self, api: RuntimeApiClient, environ: MutableMapping[str, str]) -> None:
        self._api = api
        self._environ = environ
        self._log = FunctionLog(environ)
        self._marshaller = Marshaller(environ.get("AWS_EXECUTION_ENV"))
        self._coroutines = CoroutineRunner()
        self._function = FunctionIdentity(environ)
        self._call: Any = None
        self._invocation: Invocation | None = None
        self._context: LambdaContext | None = None
        self._stream: ResponseStream | None = None

    def initialize(self, handler_name: str) -> None:
        """The init phase: import the handler. Raises SystemExit 1, after it was reported, when that fails."""
        root = self._environ.get("LAMBDA_TASK_ROOT")
        if root and sys.path[:1] != [root]:
            sys.path.insert(0, root)
        try:
            self._call = awaitable_entry(resolve_handler(handler_name))
            if is_coroutine_function(self._call):
                self._coroutines.prepare()
        except FaultError as fault:
            self._refuse(errors.report_fault(fault, ""))
        except Exception as error:
            self._refuse(errors.report_exception(error, ""))
        if self._environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            from .snapstart import run_snapshot_phase

            run_snapshot_phase(self._api, self._log_exception)

    def serve(self) -> NoReturn:
        """The invoke phases. Raises RuntimeApiError at the end."""
        invocation = self._api.next()
        while True:
            invocation = self._api.exchange(self._invoke(invocation))

    def open_stream(self, context: LambdaContext) -> ResponseStream:
        """The response stream of the invocation that `context` was made for. Raises ResponseStreamError when over."""
        stream = self._stream
        if context is self._context and self._invocation is not None:
            if stream is not None:
                return stream
            from .response_stream import ResponseStream

            stream = self._stream = ResponseStream(self._api, self._invocation)
            # Asked again: this may be a thread, and the invocation may have ended meanwhile.
            if context is self._context:
                return stream
            if self._stream is stream:
                self._stream = None
        raise ResponseStreamError("the response stream is closed: the invocation of this context is over")

    def _invoke(self, invocation: Invocation) -> bytes:
        """The request that tells the outcome, or what is left of it if it was streamed."""
        self._log.invocation.request_id = invocation.request_id
        self._log.invocation.tenant_id = invocation.tenant_id
        self._set_trace(invocation.trace_id)
        try:
            context = LambdaContext(self._function, invocation, self)
            self._invocation, self._context = invocation, context
            event = self._marshaller.parse_event(invocation.body, invocation.content_type)
            # The event may be large, and nobody else should keep it while the handler runs.
            invocation.body = b""
            result = self._call(event, context)
            if type(result) not in PLAIN_TYPES:
                result = self._resolve(result, context)
            self._context = None
            if self._stream is not None and (rest := self._end_stream()) is not None:
                return rest
            if isinstance(result, bytes):
                return self._api.response_request(invocation, result, b"application/unknown")
            return self._api.response_request(invocation, self._marshaller.serialize_result(result))
        except FaultError as fault:
            report = errors.report_fault(fault, invocation.request_id)
        except Exception as error:
            report = errors.report_exception(error, invocation.request_id)
        self._context = None
        self._write(report)
        body = self._marshaller.serialize(report.body)
        if self._stream is not None and (rest := self._end_stream(body, report.body["errorType"])) is not None:
            return rest
        cause = self._marshaller.serialize(report.xray_cause)
        return self._api.error_request(invocation, body, cause)

    def _resolve(self, result: Any, context: LambdaContext) -> Any:
        """The value that a coroutine returns; None for one that was taken piece by piece."""
        if type(result) is COROUTINE_TYPE:
            result = self._coroutines.run(result)
        if type(result) in PLAIN_TYPES:
            return result
        from .response_stream import asend_all, is_stream, send_all

        if not is_stream(result):
            return result
        stream = self.open_stream(context)
        if hasattr(type(result), "__anext__"):
            self._coroutines.run(asend_all(result, stream))
        else:
            send_all(result, stream)
        return None

    def _end_stream(self, error: bytes = b"", error_type: str = "") -> bytes | None:
        """Let nothing more be written. What is still to be sent, None if nothing was written."""
        assert self._stream is not None
        rest = self._stream.over(error, error_type)
        self._stream = None
        return rest

    def _set_trace(self, trace_id: str | None) -> None:
        if trace_id is not None:
            self._environ[_TRACE_VARIABLE] = trace_id
        elif _TRACE_VARIABLE in self._environ:
            del self._environ[_TRACE_VARIABLE]

    def _refuse(self, report: ErrorReport) -> NoReturn:
        logging.warning(_INITIALIZATION_FAILED)
        self._write(report)
        self._api.post_init_error(self._marshaller.serialize(report.body), report.body["errorType"])
        raise SystemExit(1)

    def _log_exception(self, error: BaseException) -> bytes:
        report = errors.report_exception(error, "")
        self._write(report)
        return self._marshaller.serialize(report.body)

    def _write(self, report: ErrorReport) -> None:
        if self._log.is_json:
            record = {"timestamp": self._log.timestamp(), "level": "ERROR", **report.body}
            self._log.write_error([self._marshaller.serialize_text(record)])
        else:
            self._log.write_error(errors.log_lines(report.body))
