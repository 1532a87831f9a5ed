"""Calls handlers as a front door of AWS would, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from venturekit.protocol.http_response import InvalidHttpResponseError
from venturekit.testing.client_response import ClientResponse
from venturekit.testing.events.http_apis import function_url_event, http_api_event
from venturekit.testing.events.rest_apis import alb_event, rest_api_event
from venturekit.testing.execution import aexecute, execute
from venturekit.testing.gateway_results import GATEWAYS, not_found, read_result, refusal
from venturekit.testing.lambda_context import FakeLambdaContext
from venturekit.testing.request_options import event_arguments
from venturekit.testing.routing import DEFAULT_ROUTE, best_route, parse_route_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from venturekit.protocol.http_response import HttpResponse
    from venturekit.testing.clock import ManualClock
    from venturekit.testing.events.requests import Headers
    from venturekit.testing.gateway_results import GatewayName
    from venturekit.testing.request_options import RequestOptions
    from venturekit.testing.routing import RouteKey

    LambdaHandler = Callable[..., Any]


class Client:
    """A client of one handler, or of several behind routes::

        >>> from venturekit.runtime import handler
        >>> from venturekit.testing import Client
        >>> @handler(access_log=False)
        ... def get_user(body, ctx):
        ...     return {"id": ctx.params["id"], "by": ctx.user.id}
        >>> client = Client({"GET /users/{id}": get_user})
        >>> response = client.get("/users/42", claims={"sub": "alice"})
        >>> response.status_code, response.json()
        (200, {'data': {'id': '42', 'by': 'alice'}})
        >>> client.get("/elsewhere").status_code
        404

    Handlers are functions of (event, context), made by ``handler()`` or not, sync or async. Routes are those of HTTP
    APIs: ``GET /users/{id}``, ``/files/{path+}`` for any method, ``$default``. ``gateway`` is the front door:
    ``http-api`` (payload format 2.0), ``function-url``, ``rest-api`` (1.0), ``alb`` or ``alb-multi-value``.

    A request has ``query``, ``headers``, ``cookies``, and one of ``json``, ``form`` and ``body`` (text, bytes, or a
    value that becomes JSON); ``claims`` and ``scopes`` of a verified token, ``authorizer`` of another kind, ``iam`` of
    a function URL; ``internal``, ``tenant_id`` and ``user_id`` of a call by ``invoke()``; ``context``, the second
    argument of the handler. ``headers``, ``claims`` and ``scopes`` of the client itself are sent with every request.

    Results are read as the front door does. What it would refuse fails here too: InvalidHttpResponseError is raised,
    and so is what a handler raises. With ``raise_errors=False`` both become the response that a client would get.
    ``streaming=False`` takes the response stream away, which AWS's own runtime for Python does not have.
    """

    def __init__(
        self,
        handlers: LambdaHandler | Mapping[str, LambdaHandler],
        *,
        gateway: GatewayName = "http-api",
        headers: Headers | None = None,
        claims: Mapping[str, Any] | None = None,
        scopes: Sequence[str] | None = None,
        clock: ManualClock | None = None,
        raise_errors: bool = True,
        streaming: bool = True,
    ) -> None:
        if gateway not in GATEWAYS:
            raise ValueError(f"{gateway!r} is no gateway: {', '.join(GATEWAYS)} are")
        if isinstance(handlers, Mapping):
            self._routes = {parse_route_key(key): handler for key, handler in handlers.items()}
        else:
            self._routes = {parse_route_key(DEFAULT_ROUTE): handlers}
        for route, handler in self._routes.items():
            if not callable(handler):
                raise TypeError(f"{handler!r} of {route.text} is no function of (event, context)")
        if not self._routes:
            raise ValueError("a client needs a handler, or routes and their handlers")
        self._gateway: GatewayName = gateway
        self._defaults: dict[str, Any] = {"headers": headers, "claims": claims, "scopes": scopes}
        self._clock = clock
        self._raise_errors = raise_errors
        self._streaming = streaming

    def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Send a request. Raises what the handler raises, InvalidHttpResponseError, TypeError for odd options."""
        found, event, context = self._prepare(method, path, {**options})
        if found is None:
            return ClientResponse(not_found(self._gateway))
        try:
            payload = execute(found, event, context)
        except Exception:
            if self._raise_errors:
                raise
            return self._made(refusal(self._gateway), event, context, method)
        return self._read(payload, event, context, method)

    async def arequest(self, method: str, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """The same within an event loop: ``await client.arequest("GET", "/users/42")``."""
        found, event, context = self._prepare(method, path, {**options})
        if found is None:
            return ClientResponse(not_found(self._gateway))
        try:
            payload = await aexecute(found, event, context)
        except Exception:
            if self._raise_errors:
                raise
            return self._made(refusal(self._gateway), event, context, method)
        return self._read(payload, event, context, method)

    def get(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("GET", path, ...)``"""
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("HEAD", path, ...)``"""
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("OPTIONS", path, ...)``"""
        return self.request("OPTIONS", path, **options)

    def post(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("POST", path, ...)``"""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("PUT", path, ...)``"""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("PATCH", path, ...)``"""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[RequestOptions]) -> ClientResponse:
        """``request("DELETE", path, ...)``"""
        return self.request("DELETE", path, **options)

    # --- before and after the handler -----------------------------------------------------------------------------

    def _prepare(
        self, method: str, path: str, options: dict[str, Any]
    ) -> tuple[LambdaHandler | None, dict[str, Any], FakeLambdaContext]:
        given = options.pop("context", None)
        context = given or FakeLambdaContext(clock=self._clock, streaming=self._can_stream)
        arguments = event_arguments(self._gateway, self._defaults, options)
        path = "/" + path.lstrip("/")
        found = best_route(self._routes, method.upper(), path.partition("?")[0])
        if found is None:
            return None, {}, context
        route, parameters = found
        return self._routes[route], self._event(route, method, path, parameters, arguments), context

    @property
    def _can_stream(self) -> bool:
        # The other front doors take whole responses only.
        return self._streaming and self._gateway in ("http-api", "function-url")

    def _event(
        self, route: RouteKey, method: str, path: str, parameters: dict[str, str], arguments: dict[str, Any]
    ) -> dict[str, Any]:
        if self._clock is not None:
            arguments["time_epoch_ms"] = self._clock.epoch_ms
        if self._gateway == "function-url":
            return function_url_event(method, path, **arguments)
        if self._gateway in ("alb", "alb-multi-value"):
            return alb_event(method, path, multi_value=self._gateway == "alb-multi-value", **arguments)
        make = http_api_event if self._gateway == "http-api" else rest_api_event
        if route.path == DEFAULT_ROUTE:
            return make(method, path, **arguments)
        return make(method, path, route=route.text, **{"path_params": parameters, **arguments})

    def _read(self, payload: bytes, event: dict[str, Any], context: FakeLambdaContext, method: str) -> ClientResponse:
        try:
            streamed = context.streamed
            response = streamed.response() if streamed.started else read_result(payload, self._gateway)
        except InvalidHttpResponseError:
            if self._raise_errors:
                raise
            response = refusal(self._gateway)
        return self._made(response, event, context, method)

    @staticmethod
    def _made(response: HttpResponse, event: dict[str, Any], context: FakeLambdaContext, method: str) -> ClientResponse:
        pieces = context.streamed.pieces
        return ClientResponse(response, event=event, context=context, pieces=pieces, is_head=method.upper() == "HEAD")
