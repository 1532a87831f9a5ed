"""HTTP handlers: a function with its authorization, validation, transaction, middleware, logs and errors around it.

Source: seed 001, ``handler``, ``HandlerConfig``, ``HandlerFn``; the guides for statuses and order.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from venturekit.runtime import transactions
from venturekit.runtime._process import run as run_to_end
from venturekit.runtime.body import MAX_BODY_BYTES, read_body
from venturekit.runtime.boundary import error_to_response
from venturekit.runtime.context import RequestContext, _current
from venturekit.runtime.errors import ForbiddenError, UnauthorizedError, ValidationError
from venturekit.runtime.gateway_result import gateway_result, response_of
from venturekit.runtime.logs import logger as default_logger
from venturekit.runtime.middleware.base import async_chain, is_async, middleware_of, mixed, sync_chain
from venturekit.runtime.request_event import InvalidEventError, read_event
from venturekit.runtime.schema import SchemaError, fields_of, parsed, schema_of, with_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from venturekit.runtime.logs import Logger
    from venturekit.runtime.options import HandlerOptions
    from venturekit.runtime.responses import Response
    from venturekit.runtime.schema import Schema

    B = TypeVar("B")
    HandlerFn = (
        Callable[[B, RequestContext, Logger], Any]
        | Callable[[B, RequestContext], Any]
        | Callable[[B], Any]
        | Callable[[], Any]
    )
    SchemaLike = type[B] | Schema[B]

STATUSES: Final = {"GET": 200, "PUT": 200, "PATCH": 200, "POST": 201, "DELETE": 204}
"""The status of a success by method, unless the handler says another; 200 for any other method (handlers guide)."""
_ARGUMENTS: Final = 0x04  # the code flag of *args
_GENERATORS: Final = 0x20 | 0x200
ENVELOPE_HEADER: Final = "x-venturekit-envelope"


class HandlerConfigError(TypeError):
    """A handler that cannot work as it is declared; the text says why and what to do."""


class Handler:
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
    ) -> None:
        if not callable(fn):
            raise HandlerConfigError(f"{fn!r} is no function")
        if isinstance(scopes, str):
            raise HandlerConfigError(f"scopes is a list, like [{scopes!r}]")
        if status is not None and not 200 <= status <= 299:
            raise HandlerConfigError(f"status is what a success answers, 200 to 299, and not {status}")
        self.fn = fn
        self.__wrapped__ = fn
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__module__ = getattr(fn, "__module__", self.__module__)
        self.scopes = tuple(scopes)
        self.status = status
        self.transactional = transactional
        self.enveloped = envelope
        self.internal_scopes = internal_scopes
        self.max_body_bytes = max_body_bytes
        self.locales = locales
        self.access_log = access_log
        self.middleware = [middleware_of(given) for given in middleware]
        self.body_schema = None if body is None else schema_of(body)
        self.query_schema = None if query is None else schema_of(query)
        self.params_schema = None if params is None else schema_of(params)
        self._given_logger = logger
        self._log_level = log_level
        self._logger: Logger | None = None
        self._arity = arity_of(fn, 3, "(body, ctx, logger)")
        self._fn_is_async = is_async(fn)
        chain = sorted(self.middleware, key=lambda part: not part.hoisted)
        waits = self._fn_is_async or any(part.fn is None for part in chain) or _is_async_generator(fn)
        if waits and any(part.async_fn is None for part in chain):
            raise mixed(chain)
        self.is_async = waits
        self._chain = async_chain(chain, self._ainner) if waits else sync_chain(chain, self._inner)

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
                response: Any = self._chain(ctx)
            except Exception as error:
                response = error_to_response(error, ctx)
            return self._end(ctx, response, began)
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
                response = await self._chain(ctx)
            except Exception as error:
                response = error_to_response(error, ctx)
            return await self._aend(ctx, response, began)
        finally:
            _current.reset(token)

    def _run(self, event: Any, context: Any) -> Any:
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_to_end(self.acall(event, context))
        raise RuntimeError(
            f"{self.__name__} is asynchronous and an event loop is running: call it with "
            f"`await {self.__name__}.acall(event, context)`"
        )

    # --- before and after the chain -------------------------------------------------------------------------------

    @property
    def logger(self) -> Logger:
        """The logger of this handler."""
        if self._logger is None:
            base = self._given_logger or default_logger
            self._logger = base if self._log_level is None else base.child(min_level=self._log_level)
        return self._logger

    def _begin(self, event: Any, context: Any) -> RequestContext:
        try:
            request = read_event(event)
        except InvalidEventError as problem:
            self.logger.error("the handler was called with what is no HTTP request", {"reason": str(problem)})
            raise
        ctx = RequestContext(request, context, self.locales)
        logger = ctx._logger = self.logger
        if self.access_log and logger._level <= 20:
            token = _current.set(ctx)
            logger.info("request started", {"method": ctx.method, "path": ctx.path})
            _current.reset(token)
        return ctx

    def _end(self, ctx: RequestContext, response: Response, began: float) -> Any:
        result = self._result(ctx, response)
        self._log_end(ctx, response, began)
        return result

    def _result(self, ctx: RequestContext, response: Response) -> Any:
        if ctx.is_internal and response.enveloped:
            ctx.response_headers[ENVELOPE_HEADER] = "data"
        try:
            if response.is_streamed:
                from venturekit.runtime.streaming import send

                return send(response, ctx)
            return gateway_result(response, ctx.response_headers, ctx._request)
        except Exception as error:
            failed = error_to_response(error, ctx)
            response.status_code = failed.status_code
            return gateway_result(failed, _sendable(ctx.response_headers), ctx._request)

    async def _aend(self, ctx: RequestContext, response: Response, began: float) -> Any:
        if response.is_streamed and hasattr(response.body, "__aiter__"):
            from venturekit.runtime.streaming import asend

            try:
                result = await asend(response, ctx)
            except Exception as error:
                response = error_to_response(error, ctx)
                result = self._result(ctx, response)
        else:
            result = self._result(ctx, response)
        self._log_end(ctx, response, began)
        return result

    def _log_end(self, ctx: RequestContext, response: Response, began: float) -> None:
        logger = self.logger
        if self.access_log and logger._level <= 20:
            duration_ms = round((time.perf_counter() - began) * 1000, 2)
            logger.info("request completed", {"status": response.status_code, "durationMs": duration_ms})

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
            else _validated(query, with_lists(query, ctx.query_lists), "query parameters")
        )
        if self._arity == 0 and self.body_schema is None:
            return ()
        body = ctx._body = read_body(ctx._request.event, ctx.headers, self.max_body_bytes)
        if self.body_schema is not None:
            body = _validated(self.body_schema, body, "request body")
        return (body, ctx, self.logger)[: self._arity]

    def _check_scopes(self, ctx: RequestContext) -> None:
        user = ctx.user
        if user is None:
            raise UnauthorizedError("Authentication is required")
        missing = [scope for scope in self.scopes if scope not in user.scopes]
        if missing:
            raise ForbiddenError("Insufficient permissions", {"missingScopes": missing})

    def _respond(self, ctx: RequestContext, value: Any) -> Response:
        if hasattr(value, "__await__"):
            value.close() if hasattr(value, "close") else None
            raise HandlerConfigError(
                f"{self.__name__} returned a coroutine: it is wrapped in a function that is not async def itself"
            )
        status = self.status or STATUSES.get(ctx.method, 200)
        return response_of(value, status, enveloped=self.enveloped)

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


def arity_of(fn: Callable[..., Any], most: int, names: str) -> int:
    """How many of the arguments that there are a function takes by position. Raises HandlerConfigError for more."""
    code = getattr(fn, "__code__", None)
    if code is None:
        from inspect import Parameter, signature

        try:
            kinds = [parameter.kind for parameter in signature(fn).parameters.values()]
        except (TypeError, ValueError):
            return most
        if Parameter.VAR_POSITIONAL in kinds:
            return most
        count = sum(kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    else:
        if code.co_flags & _ARGUMENTS:
            return most
        count = code.co_argcount
    if count > most:
        raise HandlerConfigError(
            f"{getattr(fn, '__name__', fn)} takes {count} arguments by position, and there are {most}: {names}"
        )
    return count


def _is_async_generator(fn: Any) -> bool:
    code = getattr(fn, "__code__", None)
    return code is not None and bool(code.co_flags & 0x200)


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
        if isinstance(value, str) and value.isprintable() and name.replace("-", "").isalnum()
    }


@overload
def handler(fn: HandlerFn[B], /, *, body: SchemaLike[B], **options: Unpack[HandlerOptions]) -> Handler: ...


@overload
def handler(*, body: SchemaLike[B], **options: Unpack[HandlerOptions]) -> Callable[[HandlerFn[B]], Handler]: ...


@overload
def handler(
    fn: Callable[..., Any] | Mapping[str, Any], /, *, body: None = None, **options: Unpack[HandlerOptions]
) -> Handler: ...


@overload
def handler(*, body: None = None, **options: Unpack[HandlerOptions]) -> Callable[[Callable[..., Any]], Handler]: ...


def handler(fn: Any = None, /, **options: Any) -> Any:
    """Make a Lambda handler of a function of (body, ctx, logger), of which it may take fewer.

    Three forms::

        @handler(scopes=["users:write"], body=CreateUser)
        def main(body: CreateUser, ctx: RequestContext, logger: Logger) -> dict: ...

        main = handler(create_user, body=CreateUser)

        main = handler({"fn": create_user, "middleware": [...]})

    ``scopes``: all of them must be granted: 401 without a user, 403 without one of them; not checked on calls between
    functions unless ``internal_scopes``. ``status``: of a success, instead of that of the method (GET, PUT, PATCH 200,
    POST 201, DELETE 204). ``middleware``: around the function, the first the outermost. ``log_level``: least level of
    ``logger``. ``transactional``: run in a transaction, ``ctx.tx``. ``body``, ``query``, ``params``: schemas, checked
    before the function runs (422, ``details.fields``); ``ctx.query`` and ``ctx.params`` are what they make.
    ``envelope``: whether a value is sent as ``{"data": value}``. ``max_body_bytes``: 413 above it. ``locales``:
    supported ones and the default. ``access_log``: whether start and end of every request are logged.

    Raises HandlerConfigError, MiddlewareError, TypeError for what cannot work. Source: seed 001, ``handler``.
    """
    if fn is None:
        return lambda given: Handler(given, **options)
    if isinstance(fn, dict):
        if "fn" not in fn:
            raise HandlerConfigError("the object form of handler() needs its function under 'fn'")
        return Handler(**{**fn, **options})
    return Handler(fn, **options)
