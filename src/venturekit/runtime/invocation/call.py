"""``invoke()``: one function for every call from function to function.

Source: seeds 000 and 001. What they leave open: a status of 500 and above, and everything that kept the target from
answering, raises InvokeError unless there is a ``fallback``; a status below is a result.
"""

from __future__ import annotations

import json
from contextlib import suppress
from sys import modules
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from venturekit.protocol.function_names import function_name, lambda_name, route_name
from venturekit.runtime import environ
from venturekit.runtime._process import TRACING_API, apause, pause, state
from venturekit.runtime.context import current_context
from venturekit.runtime.encoding import to_json
from venturekit.runtime.invocation.errors import (
    BadResponseError,
    FunctionFailedError,
    InvokeError,
    InvokeTimeoutError,
    ThrottledError,
    TransportError,
)
from venturekit.runtime.invocation.propagation import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_MEMBER,
    carried,
    client_context,
    idempotency_key,
)
from venturekit.runtime.invocation.request import EVENT, REQUEST_RESPONSE, LambdaReply, LambdaRequest
from venturekit.runtime.invocation.result import InvokeResult, fallback_result
from venturekit.runtime.invocation.route_event import read_route_result, route_event
from venturekit.runtime.patterns.breakers import breakers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from venturekit.runtime.invocation.request import LambdaInvoker
    from venturekit.runtime.options import InvokeOptions
    from venturekit.runtime.schema import Adapter, Schema

    T = TypeVar("T")
    Resolver = Callable[["Target"], str]

DEFAULT_TIMEOUT_SECONDS: Final = 900.0
MARGIN_SECONDS: Final = 0.2
"""What a call leaves of the caller's own time, to deal with a target that does not answer."""
RETRY_DELAY_SECONDS: Final = 0.1
_RETRIED: Final = (ThrottledError, TransportError)
_NOTHING: Final[Any] = object()


class Target:
    """What is called: a route, or a function by its short name; in this project, or in another one."""

    __slots__ = ("function", "project", "route")

    def __init__(self, route: str | None, function: str | None, project: str | None) -> None:
        if (route is None) == (function is None):
            raise TypeError("invoke() takes a route, like 'users/{id}', or function='name'")
        self.route = route
        self.function = function
        self.project = project


class ProjectUnknownError(ValueError):
    """The names of functions begin with their project's, and nobody has said what that is."""


def resolve_name(target: Target) -> str:
    """The name of the Lambda function: ``{project}-users-list``, ``{project}-{stage}-fn-process-orders`` (seed 000).

    Raises ProjectUnknownError, InvalidRouteError.
    """
    project = target.project or environ.project_name()
    if project is None:
        raise ProjectUnknownError("the project is not known: set VENTURE_PROJECT_NAME, or give project=")
    if target.route is not None:
        return route_name(project, target.route)
    stage = environ.stage()
    if stage is None:
        raise ProjectUnknownError("the stage is not known: set VENTURE_STAGE, to dev for example")
    assert target.function is not None
    return function_name(project, stage, target.function)


def default_function_name_resolver(prefix: str) -> Resolver:
    """A resolver with a prefix of one's own: ``users/get`` is ``{prefix}-users-get`` (seed 000)."""

    def resolve(target: Target) -> str:
        if target.route is not None:
            return route_name(target.project or prefix, target.route)
        return resolve_name(Target(None, target.function, target.project or prefix))

    return resolve


class Invoker:
    """Call a route or a function of a project, this one or another, and wait for the result (seeds 000 and 001)::

        user = invoke("users/{id}", method="GET", path_params={"id": "42"}, result_type=User).data
        job = invoke(function="process-orders", payload={"orderId": "abc"}).data
        invoke("notifications/send", mode="async", body={"userId": "42"})
        invoke({"function": "send-invoice", "project": "billing"}, payload={"orderId": "123"})

    Routes: ``method`` (POST), ``body``, ``path_params``, ``query_params``, ``headers``. Functions: ``payload``. Both:
    ``mode`` (``sync``, or ``async`` for a call that nobody waits for), ``project``, ``trace``, ``tenant_id`` and
    ``user_id`` (taken from the current context), ``fallback`` (an InvokeResult, ``{"statusCode": ..., "data": ...}`` or
    data, for when the target is unavailable; turns on its circuit breaker), ``result_type`` (what data is
    made into, a fallback's too where it fits), ``timeout_ms`` (of one attempt; never longer than the caller has left
    itself), ``retries`` (0; after throttles and broken connections, as long as there is time).

    Raises InvokeError, of the kinds in ``venturekit.runtime.invocation.errors``, and ValueError or TypeError for a call
    that makes no sense.

    ``invoke`` is one, ``ainvoke`` its other method; ``create_invoker`` makes more.
    """

    def __init__(self, invoker: LambdaInvoker | None = None, resolver: Resolver | None = None) -> None:
        self._invoker = invoker
        self._resolver = resolver or resolve_name

    @overload
    def __call__(
        self,
        target: str | Mapping[str, str] | None = None,
        /,
        *,
        result_type: type[T] | Schema[T] | Adapter[T],
        **options: Unpack[InvokeOptions],
    ) -> InvokeResult[T]: ...

    @overload
    def __call__(
        self, target: str | Mapping[str, str] | None = None, /, **options: Unpack[InvokeOptions]
    ) -> InvokeResult[Any]: ...

    def __call__(self, target: Any = None, /, **options: Any) -> InvokeResult[Any]:
        """Make a call and wait for its result: see ``invoke``."""
        if TRACING_API in modules:
            from venturekit.runtime.telemetry.spans import call_in_span

            return call_in_span(self._call, target, options)
        return self._call(target, **options)

    def _call(self, target: Any, /, **options: Any) -> InvokeResult[Any]:
        call = Call(target, self._resolver, **options)
        breaker = call.breaker()
        if breaker is not None and not breaker.may_call():
            return call.refused()
        attempt = 0
        while True:
            try:
                result = call.read(self._lambda().invoke(call.request()))
            except InvokeError as error:
                delay = call.delay(error, attempt)
                if delay is None:
                    return call.fail(error, breaker)
            else:
                if breaker is not None:
                    breaker.succeeded()
                return result
            pause(delay)
            attempt += 1

    @overload
    async def ainvoke(
        self,
        target: str | Mapping[str, str] | None = None,
        /,
        *,
        result_type: type[T] | Schema[T] | Adapter[T],
        **options: Unpack[InvokeOptions],
    ) -> InvokeResult[T]: ...

    @overload
    async def ainvoke(
        self, target: str | Mapping[str, str] | None = None, /, **options: Unpack[InvokeOptions]
    ) -> InvokeResult[Any]: ...

    async def ainvoke(self, target: Any = None, /, **options: Any) -> InvokeResult[Any]:
        """Make a call, and let the event loop go on while its result is not there: everything as with ``invoke``::

        user = (await ainvoke("users/{id}", method="GET", path_params={"id": "42"})).data
        """
        if TRACING_API in modules:
            from venturekit.runtime.telemetry.spans import acall_in_span

            return await acall_in_span(self._acall, target, options)
        return await self._acall(target, **options)

    async def _acall(self, target: Any, /, **options: Any) -> InvokeResult[Any]:
        call = Call(target, self._resolver, **options)
        breaker = call.breaker()
        if breaker is not None and not await breaker.amay_call():
            return call.refused()
        attempt = 0
        while True:
            try:
                result = call.read(await self._lambda().ainvoke(call.request()))
            except InvokeError as error:
                delay = call.delay(error, attempt)
                if delay is None:
                    return await call.afail(error, breaker)
            else:
                if breaker is not None:
                    await breaker.asucceeded()
                return result
            await apause(delay)
            attempt += 1

    def _lambda(self) -> LambdaInvoker:
        if self._invoker is not None:
            return self._invoker
        if state.invoker is None:
            from venturekit.runtime.invocation.invokers import DefaultInvoker

            state.invoker = DefaultInvoker()
        return state.invoker  # type: ignore[no-any-return]


class Call:
    """One call: what is sent, and what becomes of the answer. Everything but the sending."""

    def __init__(
        self,
        target: str | Mapping[str, str] | None,
        resolver: Resolver,
        *,
        function: str | None = None,
        project: str | None = None,
        payload: Any = None,
        method: str | None = None,
        body: Any = None,
        path_params: Mapping[str, Any] | None = None,
        query_params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        mode: str = "sync",
        trace: str | None = None,
        tenant_id: str | None = None,
        user_id: str | None = None,
        fallback: Any = _NOTHING,
        result_type: Any = None,
        timeout_ms: int | None = None,
        retries: int = 0,
        **unknown_options: Any,
    ) -> None:
        if unknown_options:
            raise TypeError(
                f"invoke() has no option {', '.join(unknown_options)}; path_params and so on have underscores"
            )
        if target is not None and not isinstance(target, str):
            if not hasattr(target, "keys"):
                raise TypeError(f"{target!r} cannot be called: a route, like 'users/{{id}}', or function='name' can")
            if unknown := set(target) - {"function", "project"}:
                raise TypeError(f"a target has function and project, and not {', '.join(sorted(map(str, unknown)))}")
            function, project = target.get("function", function), target.get("project", project)
            target = None
        if mode not in ("sync", "async"):
            raise ValueError(f"mode is 'sync' or 'async', and not {mode!r}")
        if retries < 0:
            raise ValueError("retries cannot be negative")
        if timeout_ms is not None and timeout_ms <= 0:
            raise ValueError(f"timeout_ms must be positive, and is {timeout_ms}")
        self._target = Target(target, function, project)
        if self._target.route is None and any(
            given is not None for given in (method, body, path_params, query_params, headers)
        ):
            raise TypeError(
                "a function gets payload=; method, body, path_params, query_params and headers are for routes"
            )
        if self._target.route is not None and payload is not None:
            raise TypeError("a route gets body=; payload is for functions")
        self.name = lambda_name(resolver(self._target))
        self._mode = mode
        # Made before it is needed: a status that is none must not be found out when the target is down.
        self._fallback = None if fallback is _NOTHING else fallback_result(fallback, self.name)
        self._was_sent = False
        self._result_type = result_type
        # Made before anything is sent: a type that is no schema must not be found out by what the call has done.
        self._schema = None if result_type is None else _schema_of(result_type)
        self._timeout_ms = timeout_ms
        self._retries = retries
        self._carried = carried(trace, tenant_id, user_id)
        self._client_context: str | None = None
        key = idempotency_key(self.name, headers)
        if self._target.route is not None:
            if key is not None:
                headers = {**(headers or {}), IDEMPOTENCY_HEADER: key}
            event = route_event(
                self._target.route,
                self._carried,
                method=method or "POST",
                body=body,
                path_params=path_params or {},
                query_params=query_params or {},
                headers=headers or {},
                api_id=project or environ.project_name() or "venturekit",
                account_id=_account_id(),
            )
            self._payload = to_json(event).encode("utf-8", "surrogatepass")
        else:
            self._payload = to_json(payload).encode("utf-8", "surrogatepass")
            if mode == "sync":
                marker = self._carried.marker()
                if self._carried.traceparent is not None:
                    marker["traceparent"] = self._carried.traceparent
                self._client_context = client_context(marker if key is None else {**marker, IDEMPOTENCY_MEMBER: key})

    def request(self) -> LambdaRequest:
        """What is sent now. Raises InvokeTimeoutError when the caller's own time is over."""
        timeout_seconds = self._timeout_seconds()
        self._was_sent = True
        return LambdaRequest(
            self.name,
            self._payload,
            timeout_seconds,
            EVENT if self._mode == "async" else REQUEST_RESPONSE,
            self._client_context,
            self._carried.xray,
        )

    def _timeout_seconds(self) -> float:
        seconds = DEFAULT_TIMEOUT_SECONDS if self._timeout_ms is None else self._timeout_ms / 1000
        seconds = min(seconds, self._seconds_left())
        if seconds <= 0:
            raise InvokeTimeoutError(f"{self.name} was not called: no time is left", target=self.name)
        return seconds

    def _seconds_left(self) -> float:
        """What the caller's own invocation leaves for this call."""
        ctx = current_context()
        if ctx is None or ctx.raw_context is None:
            return DEFAULT_TIMEOUT_SECONDS
        left = ctx.get_remaining_time_in_millis() / 1000
        # Of a function with little time a margin of so much would be most of it.
        return left - min(MARGIN_SECONDS, left / 2)

    def read(self, reply: LambdaReply) -> InvokeResult[Any]:
        """The result of an answer. Raises InvokeError."""
        if reply.function_error is not None:
            raise self._failure(reply)
        if self._mode == "async":
            return InvokeResult(None, 202, target=self.name)
        if self._target.route is not None:
            result = read_route_result(self.name, reply.payload)
        else:
            try:
                data = json.loads(reply.payload) if reply.payload else None
            except (ValueError, RecursionError) as problem:
                raise BadResponseError(f"{self.name} answered no JSON: {problem}", target=self.name) from None
            result = InvokeResult(data, 200, target=self.name)
        if self._schema is not None and result.ok:
            result.data = self._typed(self._schema, result.data)
        return result

    def _typed(self, schema: Schema[Any], data: Any) -> Any:
        from venturekit.runtime.schema import SchemaError, parsed

        try:
            return parsed(schema, data)
        except SchemaError as problem:
            name = getattr(self._result_type, "__name__", self._result_type)
            raise BadResponseError(
                f"{self.name} answered no {name}: {problem}", target=self.name, details=data
            ) from None

    def _failure(self, reply: LambdaReply) -> InvokeError:
        try:
            details = json.loads(reply.payload)
        except (ValueError, RecursionError):
            details = {"errorMessage": reply.payload[:1000].decode("utf-8", "replace")}
        told = details if isinstance(details, dict) else {"errorMessage": str(details)}
        described = ": ".join(str(part) for part in (told.get("errorType"), told.get("errorMessage")) if part)
        return FunctionFailedError(f"{self.name} failed: {described}", target=self.name, status_code=200, details=told)

    # --- what becomes of it ---------------------------------------------------------------------------------------

    def breaker(self) -> Any:
        """The breaker of the target; a fallback is what makes one be used."""
        return None if self._fallback is None else breakers().of(self.name)

    def instead(self) -> InvokeResult[Any]:
        """The fallback."""
        assert self._fallback is not None
        result = self._fallback
        if self._schema is not None and result.data is not None:
            from venturekit.runtime.schema import SchemaError, parsed

            # What does not fit may be of that type already; and an outage is no time to refuse a fallback.
            with suppress(SchemaError):
                result.data = parsed(self._schema, result.data)
        return result

    def delay(self, error: InvokeError, attempt: int) -> float | None:
        """How many seconds to wait before the next attempt, None if there is none."""
        if attempt >= self._retries or not isinstance(error, _RETRIED):
            return None
        delay = float(RETRY_DELAY_SECONDS * 2**attempt)
        return delay if delay < self._seconds_left() else None

    def fail(self, error: InvokeError, breaker: Any) -> InvokeResult[Any]:
        """The fallback, or the error is raised."""
        if breaker is not None and self._counts(error):
            breaker.failed()
        return self._failed(error)

    async def afail(self, error: InvokeError, breaker: Any) -> InvokeResult[Any]:
        """The same within an event loop."""
        if breaker is not None and self._counts(error):
            await breaker.afailed()
        return self._failed(error)

    def _counts(self, error: InvokeError) -> bool:
        """Whether it says something of the target: a caller without time does not."""
        return self._was_sent and not _is_refused_request(error)

    def _failed(self, error: InvokeError) -> InvokeResult[Any]:
        if self._fallback is None:
            raise error
        if (ctx := current_context()) is not None:
            ctx.logger.warn("target unavailable: its fallback is used", {"target": self.name, "why": error.message})
        _note_fallback(error)
        return self.instead()

    def refused(self) -> InvokeResult[Any]:
        """The fallback, because the breaker is open."""
        _note_fallback(None)
        return self.instead()


def _note_fallback(error: InvokeError | None) -> None:
    if TRACING_API in modules:
        from venturekit.runtime.telemetry.spans import fell_back

        fell_back(error)


def _is_refused_request(error: InvokeError) -> bool:
    """Whether the Lambda API refused the request itself, too large for example, which says nothing of the target."""
    return type(error) is InvokeError and error.status_code is not None and 400 <= error.status_code < 500


def _schema_of(kind: Any) -> Schema[Any]:
    from venturekit.runtime.schema import schema_of

    # Whoever answers may have learnt to say more than this caller knows.
    return schema_of(kind, ignore_unknown=True)


def _account_id() -> str:
    """The account of the function that calls, from its own ARN."""
    arn = getattr(getattr(current_context(), "raw_context", None), "invoked_function_arn", None)
    parts = arn.split(":") if isinstance(arn, str) else []
    return parts[4] if len(parts) > 4 else "000000000000"


invoke: Final = Invoker()
"""Call a route or a function, and wait for the result: see ``Invoker``."""

ainvoke: Final = invoke.ainvoke
"""The same for ``async def`` functions: ``await ainvoke("users/list")``."""


def create_invoker(*, invoker: LambdaInvoker | None = None, resolver: Resolver | None = None) -> Invoker:
    """An ``invoke()`` of one's own (seed 000)::

    invoke_eu = create_invoker(
        invoker=create_lambda_invoker(region="eu-west-1"),
        resolver=default_function_name_resolver("my-custom-prefix"),
    )
    users = invoke_eu("users/get", method="GET")
    """
    return Invoker(invoker, resolver)
