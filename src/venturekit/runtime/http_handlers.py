"""HTTP handlers: a function with its authorization, validation, transaction, middleware, logs and errors around it.

Source: seed 001, ``handler``, ``HandlerConfig``, ``HandlerFn``; the guides for statuses and order.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from venturekit.runtime import transactions
from venturekit.runtime.body import MAX_BODY_BYTES
from venturekit.runtime.boundary import error_to_response
from venturekit.runtime.context import RequestContext, _current
from venturekit.runtime.errors import ForbiddenError, UnauthorizedError, ValidationError
from venturekit.runtime.gateway_result import BrokenStreamError, gateway_result, response_of
from venturekit.runtime.middleware.base import MiddlewareError, code_flags
from venturekit.runtime.request_event import InvalidEventError, read_event
from venturekit.runtime.responses import Response, is_status
from venturekit.runtime.schema import SchemaError, fields_of, list_names, parsed, schema_of, with_lists
from venturekit.runtime.wrapped import HandlerConfigError, WrappedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from venturekit.runtime.logs import Logger
    from venturekit.runtime.options import HandlerOptions
    from venturekit.runtime.schema import Adapter, Schema

    B = TypeVar("B")
    HandlerFn = (
        Callable[[B, RequestContext, Logger], Any]
        | Callable[[B, RequestContext], Any]
        | Callable[[B], Any]
        | Callable[[], Any]
    )
    SchemaLike = type[B] | Schema[B] | Adapter[B]

STATUSES: Final = {"GET": 200, "PUT": 200, "PATCH": 200, "POST": 201, "DELETE": 204}
"""The status of a success by method, unless the handler says another; 200 for any other method (handlers guide)."""
_GENERATOR: Final = 0x20
_ASYNC_GENERATOR: Final = 0x200
ENVELOPE_HEADER: Final = "x-venturekit-envelope"


class Handler(WrappedFunction):
    """What ``handler()`` makes: the function that Lambda calls, ``main(event, context)``.

    ``await main.acall(event, context)`` is the same within a running event loop. ``fn`` is the function inside.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        scopes: Sequence[str] = (),
        status: int | None = None,
        middleware: Sequence[Any] = (),
        log_level: str | None = None,
        logger: Logger | None = None,
        transactional: bool = False,
        body: Any = None,
        query: Any = None,
        params: Any = None,
        envelope: bool = True,
        internal_scopes: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
        locales: tuple[Sequence[str], str] | None = None,
        access_log: bool = True,
        streaming: bool | None = None,
    ) -> None:
        if not callable(fn):
            raise HandlerConfigError(f"{fn!r} is no function")
        if isinstance(scopes, str) or not all(isinstance(scope, str) for scope in scopes):
            raise HandlerConfigError(f"scopes is a list of texts, like ['orders:read'], and not {scopes!r}")
        if status is not None and not (is_status(status) and 200 <= status <= 299):
            raise HandlerConfigError(f"status is what a success answers, 200 to 299, and not {status!r}")
        super().__init__(
            fn,
            arguments="(body, ctx, logger)",
            middleware=middleware,
            log_level=log_level,
            logger=logger,
            transactional=transactional,
        )
        self.scopes = tuple(scopes)
        self.status = None if status is None else int(status)
        self.enveloped = envelope
        self.internal_scopes = internal_scopes
        self.max_body_bytes = max_body_bytes
        self.locales = locales
        self.access_log = access_log
        self.body_schema = None if body is None else schema_of(body)
        self.query_schema = None if query is None else schema_of(query)
        self.params_schema = None if params is None else schema_of(params)
        self._query_lists: frozenset[str] | None = None
        flags = code_flags(fn)
        self.streaming = bool(flags & (_GENERATOR | _ASYNC_GENERATOR)) if streaming is None else streaming
        if transactional and flags & (_GENERATOR | _ASYNC_GENERATOR):
            raise HandlerConfigError(
                f"{self.__name__} streams what it yields, which is after its transaction has ended: read what is "
                "needed in a function that returns stream(...)"
            )
        self._chain = self._chained(self._inner, self._ainner, waits=bool(flags & _ASYNC_GENERATOR))

    # --- the two doors --------------------------------------------------------------------------------------------

    def __call__(self, event: Any, context: Any = None) -> Any:
        """Answer one event; asynchronous handlers too, on the one event loop that this process keeps.

        Raises RuntimeError inside a running event loop, where ``await main.acall(event, context)`` is the way.
        """
        if self.is_async:
            return self._run(event, context)
        ctx = self._begin(event, context)
        token = _current.set(ctx)
        try:
            began = time.perf_counter()
            try:
                answer: Any = self._chain(ctx)
            except Exception as error:
                answer = error_to_response(error, ctx)
            return self._end(ctx, answer, began)
        finally:
            _current.reset(token)

    async def acall(self, event: Any, context: Any = None) -> Any:
        """Answer one event, within an event loop."""
        if not self.is_async:
            return self(event, context)
        ctx = self._begin(event, context)
        token = _current.set(ctx)
        try:
            began = time.perf_counter()
            try:
                answer = await self._chain(ctx)
            except Exception as error:
                answer = error_to_response(error, ctx)
            return await self._aend(ctx, answer, began)
        finally:
            _current.reset(token)

    # --- before and after the chain -------------------------------------------------------------------------------

    def _begin(self, event: Any, context: Any) -> RequestContext:
        try:
            request = read_event(event)
        except InvalidEventError as problem:
            self.logger.error("the handler was called with what is no HTTP request", {"reason": str(problem)})
            raise
        ctx = RequestContext(request, context, self.locales)
        ctx._max_body_bytes = self.max_body_bytes
        logger = ctx._logger = self.logger
        if self.access_log and logger._level <= 10:
            # For whoever looks for a fault: Lambda itself writes a line for each start.
            token = _current.set(ctx)
            logger.debug("request started", {"method": ctx.method, "path": ctx.path})
            _current.reset(token)
        return ctx

    def _end(self, ctx: RequestContext, answer: Any, began: float) -> Any:
        try:
            response = self._prepared(ctx, answer)
            status = response.status_code
            if response.is_streamed:
                from venturekit.runtime.streaming import send

                result = send(response, ctx)
            else:
                result = self._whole(ctx, response, ctx.response_headers)
        except Exception as error:
            status, result = self._failed(ctx, error)
        self._log_end(ctx, status, began)
        return result

    async def _aend(self, ctx: RequestContext, answer: Any, began: float) -> Any:
        if not isinstance(answer, Response) or not hasattr(answer.body, "__aiter__"):
            return self._end(ctx, answer, began)
        from venturekit.runtime.streaming import asend

        try:
            response = self._prepared(ctx, answer)
            status = response.status_code
            result = await asend(response, ctx)
        except Exception as error:
            status, result = self._failed(ctx, error)
        self._log_end(ctx, status, began)
        return result

    def _prepared(self, ctx: RequestContext, answer: Any) -> Response:
        """What has come out of the chain as a response. Raises MiddlewareError."""
        if isinstance(answer, Response):
            response = answer
        elif answer is None:
            raise MiddlewareError("a middleware has returned nothing: it returns what next() gave, or a response")
        else:
            response = self._respond(ctx, answer)
        if response.enveloped and ctx.is_internal and type(response.body) is dict and "data" in response.body:
            ctx.response_headers[ENVELOPE_HEADER] = "data"
        return response

    def _failed(self, ctx: RequestContext, error: Exception) -> tuple[int, Any]:
        """Status and result instead of a response that could not be sent. Raises what broke one that had begun."""
        if isinstance(error, BrokenStreamError):
            ctx.logger.error("the response broke off after it had begun", error=error.cause)
            raise error.cause
        ctx.response_headers.pop(ENVELOPE_HEADER, None)
        failed = error_to_response(error, ctx)
        try:
            result = self._whole(ctx, failed, _sendable(ctx.response_headers))
        except Exception as problem:
            failed = error_to_response(problem, ctx)
            result = self._whole(ctx, failed, _sendable(ctx.response_headers))
        return failed.status_code, result

    def _whole(self, ctx: RequestContext, response: Response, added: Mapping[str, str]) -> Any:
        """The result of a response that is no stream; None when it has gone where streams go."""
        result = gateway_result(response, added, ctx._request)
        if not self.streaming:
            return result
        from venturekit.runtime.streaming import send_whole

        return send_whole(result, ctx)

    def _log_end(self, ctx: RequestContext, status: int, began: float) -> None:
        logger = self.logger
        if self.access_log and logger._level <= 20:
            duration_ms = round((time.perf_counter() - began) * 1000, 2)
            fields = {"method": ctx.method, "path": ctx.path, "status": status, "durationMs": duration_ms}
            logger.info("request completed", fields)

    # --- inside the chain -----------------------------------------------------------------------------------------

    def _inner(self, ctx: RequestContext) -> Response:
        arguments = self._arguments(ctx)
        if self.transactional:
            transaction, _ = transactions.begin(asynchronous=False)
            with transaction as ctx.tx:
                value = self.fn(*arguments)
        else:
            value = self.fn(*arguments)
        return self._respond(ctx, value)

    async def _ainner(self, ctx: RequestContext) -> Response:
        arguments = self._arguments(ctx)
        if self.transactional:
            transaction, is_asynchronous = transactions.begin(asynchronous=True)
            if is_asynchronous:
                async with transaction as ctx.tx:
                    value = await self._acall_fn(arguments)
            else:
                with transaction as ctx.tx:
                    value = await self._acall_fn(arguments)
        else:
            value = await self._acall_fn(arguments)
        return self._respond(ctx, value)

    async def _acall_fn(self, arguments: tuple[Any, ...]) -> Any:
        value = self.fn(*arguments)
        return await value if self._fn_is_async else value

    def _arguments(self, ctx: RequestContext) -> tuple[Any, ...]:
        if self.scopes and (self.internal_scopes or not ctx.is_internal):
            self._check_scopes(ctx)
        params, query = self.params_schema, self.query_schema
        ctx.params = ctx.path_params if params is None else _validated(params, ctx.path_params, "path parameters")
        ctx.query = (
            ctx.query_params
            if query is None
            else _validated(query, with_lists(self._lists_of(query), ctx.query_lists), "query parameters")
        )
        if self._arity == 0 and self.body_schema is None:
            return ()
        body = ctx.body
        if self.body_schema is not None:
            body = _validated(self.body_schema, body, "request body")
        return (body, ctx, self.logger)[: self._arity]

    def _lists_of(self, schema: Schema[Any]) -> frozenset[str]:
        # Describing a schema takes longer than checking a query by it, so it is done once.
        if self._query_lists is None:
            self._query_lists = list_names(schema)
        return self._query_lists

    def _check_scopes(self, ctx: RequestContext) -> None:
        user = ctx.user
        if user is None:
            raise UnauthorizedError("Authentication is required")
        missing = [scope for scope in self.scopes if scope not in user.scopes]
        if missing:
            raise ForbiddenError("Insufficient permissions", {"missingScopes": missing})

    def _respond(self, ctx: RequestContext, value: Any) -> Response:
        status = self.status or STATUSES.get(ctx.method, 200)
        return response_of(self._checked(value), status, enveloped=self.enveloped)

    def __repr__(self) -> str:
        return f"<handler {self.__module__}.{self.__name__}>"


def build_context(
    event: Any,
    *,
    supported_locales: Sequence[str] | None = None,
    default_locale: str | None = None,
    context: Any = None,
) -> RequestContext:
    """The context of an event, as a handler has it (seed 001, ``buildContext``)::

        ctx = build_context(event, supported_locales=["en", "de"], default_locale="en")

    ``context`` is AWS's second argument. Raises InvalidEventError for what is no event of an HTTP request.
    """
    if supported_locales is None and default_locale is None:
        locales = None
    else:
        fallback = default_locale or next(iter(supported_locales or ()), "en")
        locales = (list(supported_locales or [fallback]), fallback)
    ctx = RequestContext(read_event(event), context, locales)
    ctx.query, ctx.params = ctx.query_params, ctx.path_params
    return ctx


def _validated(schema: Schema[Any], value: Any, what: str) -> Any:
    try:
        return parsed(schema, value)
    except SchemaError as problem:
        raise ValidationError(f"Invalid {what}", fields_of(problem.issues)) from None


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Of headers that may be why a response could not be sent, those that were not."""
    return {
        name: value
        for name, value in headers.items()
        if type(name) is str
        and type(value) is str
        and (name + value).isascii()
        and value.isprintable()
        and name.replace("-", "").isalnum()
    }


@overload
def handler(fn: HandlerFn[B], /, *, body: SchemaLike[B], **options: Unpack[HandlerOptions]) -> Handler: ...


@overload
def handler(*, body: SchemaLike[B], **options: Unpack[HandlerOptions]) -> Callable[[HandlerFn[B]], Handler]: ...


@overload
def handler(
    fn: HandlerFn[Any] | Mapping[str, Any], /, *, body: None = None, **options: Unpack[HandlerOptions]
) -> Handler: ...


@overload
def handler(*, body: None = None, **options: Unpack[HandlerOptions]) -> Callable[[HandlerFn[Any]], Handler]: ...


def handler(fn: Any = None, /, **options: Any) -> Any:
    """Make a Lambda handler of a function of (body, ctx, logger), of which it may take fewer.

    Three forms::

        @handler(scopes=["users:write"], body=CreateUser)
        def main(body: CreateUser, ctx: RequestContext, logger: Logger) -> dict: ...

        main = handler(create_user, body=CreateUser)

        main = handler({"fn": create_user, "middleware": [timing_middleware()]})

    ``scopes``: all of them must be granted: 401 without a user, 403 without one of them; not checked on calls between
    functions unless ``internal_scopes``. ``status``: of a success, instead of that of the method (GET, PUT, PATCH 200,
    POST 201, DELETE 204). ``middleware``: around the function, the first the outermost. ``log_level``: least level of
    ``logger``. ``transactional``: run in a transaction, ``ctx.tx``. ``body``, ``query``, ``params``: schemas, checked
    before the function runs (422, ``details.fields``); ``ctx.query`` and ``ctx.params`` are what they make.
    ``envelope``: whether a value is sent as ``{"data": value}``. ``max_body_bytes``: 413 above it. ``locales``:
    supported ones and the default. ``access_log``: whether every request is logged, its end at ``info``, its start at
    ``debug``. ``streaming``: whether a function URL in the mode ``RESPONSE_STREAM`` is in front, which understands only
    what is streamed: then all responses are, errors included; True for generator functions unless it is given.

    Raises HandlerConfigError, MiddlewareError, TypeError for what cannot work. Source: seed 001, ``handler``.
    """
    if fn is None:
        return lambda given: Handler(given, **options)
    if hasattr(fn, "keys") and not callable(fn):
        if "fn" not in fn:
            raise HandlerConfigError("the object form of handler() needs its function under 'fn'")
        return Handler(**{**fn, **options})
    return Handler(fn, **options)
