"""``invoke()`` without a network: functions and routes that a test registers, and the calls that were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.function_names import function_name, lambda_name, route_name
from venturekit.runtime import environ
from venturekit.runtime.encoding import to_json
from venturekit.runtime.invocation.errors import (
    AccessDeniedError,
    InvokeError,
    InvokeTimeoutError,
    TargetNotFoundError,
    ThrottledError,
    TransportError,
)
from venturekit.runtime.invocation.request import EVENT, LambdaReply
from venturekit.testing.execution import aexecute, execute, is_asynchronous
from venturekit.testing.lambda_context import FakeLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.runtime.invocation.request import LambdaRequest
    from venturekit.testing.clock import ManualClock

    LambdaHandler = Callable[..., Any]

_KINDS: Final[dict[str, tuple[type[InvokeError], str]]] = {
    "throttled": (ThrottledError, "has no room for the call"),
    "timeout": (InvokeTimeoutError, "has not answered in time"),
    "not_found": (TargetNotFoundError, "is not there"),
    "access_denied": (AccessDeniedError, "may not be called"),
    "transport": (TransportError, "cannot be reached"),
}
_NOTHING: Final[Any] = object()


class RecordedCall:
    """One call. ``name`` is the Lambda function's, ``target`` what the test has registered, None if it has not.

    ``payload`` is the event that was sent, ``mode`` is ``sync`` or ``async``, ``custom`` what went along in the client
    context, ``timeout_seconds`` how long the caller would have waited. ``error`` is what the call ended in, and what an
    asynchronous one has kept from the caller; None when all went well.
    """

    def __init__(self, request: LambdaRequest, target: str | None) -> None:
        self.name = request.function_name
        self.target = target
        self.payload: Any = json.loads(request.payload)
        self.mode = "async" if request.invocation_type == EVENT else "sync"
        told = json.loads(request.client_context) if request.client_context else {}
        self.custom: dict[str, Any] = told.get("custom") or {}
        self.timeout_seconds = request.timeout_seconds
        self.trace = request.trace
        self.error: BaseException | None = None

    @property
    def body(self) -> Any:
        """The body that a route was called with: the value of JSON, else text; None without one."""
        body = self.payload.get("body") if isinstance(self.payload, dict) else None
        try:
            return None if body is None else json.loads(body)
        except ValueError:
            return body

    def __repr__(self) -> str:
        return f"<RecordedCall {self.target or self.name} ({self.mode}): {self.payload!r:.200}>"


class _Target:
    def __init__(self, label: str, name_of: Callable[[], str | None]) -> None:
        self.label = label
        self.name_of = name_of
        self.answer: Callable[[], Any] | None = None
        self.handler: LambdaHandler | None = None
        self.failure: BaseException | str | None = None
        self.failures_left: float = 0


class FakeInvoker:
    """Carries the calls of ``invoke()`` to handlers in this process::

        >>> from venturekit.runtime import create_invoker, default_function_name_resolver
        >>> from venturekit.testing import FakeInvoker
        >>> fake = FakeInvoker(project="shop", stage="test")
        >>> fake.add_function("price", lambda event, context: {"total": event["count"] * 3})
        >>> fake.add_route("users/{id}", returns={"id": "42"})
        >>> invoke = create_invoker(invoker=fake, resolver=lambda target: fake.name_of(target))
        >>> invoke(function="price", payload={"count": 2}).data
        {'total': 6}
        >>> invoke("users/{id}", method="GET", path_params={"id": "42"}).data
        {'id': '42'}
        >>> fake.calls[0].payload
        {'count': 2}

    With the fixture ``vk_invoker`` it is the one that ``invoke()`` itself uses. Names are made as ``invoke()`` makes
    them, of ``project`` and ``stage``, else of the environment's. Events and results pass through JSON; the context of
    the caller does not reach the function but by what ``invoke()`` sends. A call with ``mode="async"`` is run at once,
    and its failure is kept in ``calls``.
    """

    def __init__(
        self, *, project: str | None = None, stage: str | None = None, clock: ManualClock | None = None
    ) -> None:
        self.calls: list[RecordedCall] = []
        self._project = project
        self._stage = stage
        self._clock = clock
        self._targets: list[_Target] = []

    def add_route(
        self,
        route: str,
        handler: LambdaHandler | Mapping[str, LambdaHandler] | None = None,
        *,
        project: str | None = None,
        returns: Any = _NOTHING,
        status: int = 200,
        raises: BaseException | str | None = None,
        times: int | None = None,
    ) -> None:
        """Register a route: ``users/{id}``.

        ``handler`` answers it, or several by method: ``{"GET": get_user, "DELETE": delete_user}``; or ``returns`` is
        its data (an error object from status 400 on). ``raises``, ``times``: see ``add_function``. A target that is
        registered again is replaced.
        """
        made = _by_method(route, handler) if isinstance(handler, Mapping) else handler
        answer = None if returns is _NOTHING else lambda: _route_result(returns, status)
        self._add(f"route {route}", lambda: self._route_name(route, project), made, answer, raises, times)

    def add_function(
        self,
        name: str,
        handler: LambdaHandler | None = None,
        *,
        project: str | None = None,
        returns: Any = _NOTHING,
        raises: BaseException | str | None = None,
        times: int | None = None,
    ) -> None:
        """Register a function by its short name: ``process-orders``.

        ``handler`` is a function of (event, context), sync or async; or ``returns`` is the result. ``raises``:
        ``"throttled"``, ``"timeout"``, ``"not_found"``, ``"access_denied"``, ``"transport"``, an InvokeError, or any
        other exception, which the function has raised then; with ``times`` only that often, and then it works.
        """
        answer = None if returns is _NOTHING else lambda: returns
        self._add(f"function {name}", lambda: self._function_name(name, project), handler, answer, raises, times)

    def add(
        self,
        lambda_function: str,
        handler: LambdaHandler | None = None,
        *,
        returns: Any = _NOTHING,
        raises: BaseException | str | None = None,
        times: int | None = None,
    ) -> None:
        """Register a function by the whole name that it has at Lambda, for resolvers of one's own."""
        answer = None if returns is _NOTHING else lambda: returns
        self._add(lambda_function, lambda: lambda_name(lambda_function), handler, answer, raises, times)

    def calls_of(self, target: str) -> list[RecordedCall]:
        """The calls of a target by what it was registered as: ``users/{id}``, ``process-orders``."""
        labels = (target, f"route {target}", f"function {target}")
        return [call for call in self.calls if call.target in labels or call.name == target]

    def name_of(self, target: Any) -> str:
        """The name of a target of ``invoke()``: a resolver for ``create_invoker()``. Raises ValueError."""
        if target.route is not None:
            name = self._route_name(target.route, target.project)
        else:
            name = self._function_name(target.function, target.project)
        if name is None:
            raise ValueError("the project or the stage is not known: FakeInvoker(project=..., stage=...)")
        return name

    # --- what invoke() calls --------------------------------------------------------------------------------------

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make a call. Raises InvokeError."""
        call, target = self._begin(request)
        handler = target.handler
        if handler is None:
            return self._reply(call, to_json(target.answer() if target.answer else None).encode())
        context = self._context(request)
        try:
            if is_asynchronous(handler):
                payload = _in_thread(handler, call.payload, context)
            else:
                payload = Context().run(execute, handler, call.payload, context)
        except Exception as error:
            return self._failed(call, error)
        return self._reply(call, payload)

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make a call within an event loop. Raises InvokeError."""
        import asyncio

        call, target = self._begin(request)
        handler = target.handler
        if handler is None:
            return self._reply(call, to_json(target.answer() if target.answer else None).encode())
        work = aexecute(handler, call.payload, self._context(request))
        try:
            payload = await asyncio.create_task(work, context=Context())
        except Exception as error:
            return self._failed(call, error)
        return self._reply(call, payload)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _add(
        self,
        label: str,
        name_of: Callable[[], str | None],
        handler: Any,
        answer: Callable[[], Any] | None,
        raises: BaseException | str | None,
        times: int | None,
    ) -> None:
        if isinstance(raises, str) and raises not in _KINDS:
            raise ValueError(f"{raises!r} is no failure: {', '.join(_KINDS)} are, and any exception")
        if handler is not None and not callable(handler):
            raise TypeError(f"{handler!r} is no function of (event, context): returns= is for values")
        if handler is not None and answer is not None:
            raise TypeError("a target has a handler, or what it returns=")
        if raises is None and times is not None:
            raise TypeError("times= tells how often it raises=")
        if handler is None and answer is None and (raises is None or times is not None):
            raise TypeError("a target needs a handler, returns= or raises=")
        target = _Target(label, name_of)
        target.handler, target.answer, target.failure = handler, answer, raises
        target.failures_left = 0 if raises is None else float("inf") if times is None else times
        self._targets.append(target)

    def _route_name(self, route: str, project: str | None) -> str | None:
        known = project or self._project or environ.project_name()
        return None if known is None else lambda_name(route_name(known, route))

    def _function_name(self, name: str, project: str | None) -> str | None:
        known, stage = project or self._project or environ.project_name(), self._stage or environ.stage()
        return None if known is None or stage is None else lambda_name(function_name(known, stage, name))

    def _begin(self, request: LambdaRequest) -> tuple[RecordedCall, _Target]:
        named = [target for target in self._targets if target.name_of() == request.function_name]
        target = named[-1] if named else None
        call = RecordedCall(request, None if target is None else target.label)
        self.calls.append(call)
        if target is None:
            there_are = ", ".join(sorted({str(target.name_of()) for target in self._targets})) or "none"
            call.error = TargetNotFoundError(
                f"{request.function_name} is not registered with this FakeInvoker: {there_are} are",
                target=request.function_name,
            )
            raise call.error
        if target.failures_left > 0:
            target.failures_left -= 1
            failure = _failure(target.failure, call.name)
            if isinstance(failure, InvokeError):
                call.error = failure
                raise failure
            return call, _raising(target, failure)
        return call, target

    def _context(self, request: LambdaRequest) -> FakeLambdaContext:
        told = None if request.client_context is None else json.loads(request.client_context)
        return FakeLambdaContext(function_name=request.function_name, client_context=told, clock=self._clock)

    def _reply(self, call: RecordedCall, payload: bytes) -> LambdaReply:
        return LambdaReply(202, b"") if call.mode == "async" else LambdaReply(200, payload)

    def _failed(self, call: RecordedCall, error: Exception) -> LambdaReply:
        call.error = error
        if call.mode == "async":
            return LambdaReply(202, b"")
        told = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
        return LambdaReply(200, json.dumps(told).encode(), "Unhandled")


def _failure(failure: BaseException | str | None, name: str) -> BaseException:
    if isinstance(failure, str):
        kind, words = _KINDS[failure]
        return kind(f"{name} {words}", target=name)
    assert failure is not None
    return failure


def _raising(target: _Target, failure: BaseException) -> _Target:
    def fail(_event: Any, _context: Any) -> Any:
        raise failure

    made = _Target(target.label, target.name_of)
    made.handler = fail
    return made


def _by_method(route: str, handlers: Any) -> LambdaHandler:
    known: dict[str, LambdaHandler] = {method.upper(): handler for method, handler in handlers.items()}

    def find(event: Any) -> LambdaHandler:
        method = event["requestContext"]["http"]["method"]
        found = known.get(method)
        if found is None:
            raise LookupError(f"{route} has no {method}, but {', '.join(known)}")
        return found

    if any(map(is_asynchronous, known.values())):

        async def answer(event: Any, context: Any) -> Any:
            found = find(event)
            result = getattr(found, "acall", found)(event, context)
            return await result if hasattr(result, "__await__") else result

        return answer
    return lambda event, context: find(event)(event, context)


def _route_result(data: Any, status: int) -> dict[str, Any]:
    body, headers = {"error": data} if status >= 400 else {"data": data}, {"content-type": "application/json"}
    if status < 400:
        headers["x-venturekit-envelope"] = "data"
    return {"statusCode": status, "headers": headers, "body": to_json(body), "isBase64Encoded": False}


def _in_thread(handler: LambdaHandler, event: Any, context: FakeLambdaContext) -> bytes:
    """Run an asynchronous handler for a caller that waits, maybe within an event loop, in a loop of its own."""
    import asyncio
    from threading import Thread

    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(aexecute(handler, event, context)))
        except BaseException as error:
            outcome.append(error)

    thread = Thread(target=work, name="venturekit-fake-invoke")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]  # type: ignore[no-any-return]
