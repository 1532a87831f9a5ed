"""Events of payload format 2.0, made by the same builder as those of the front doors and of ``invoke()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from venturekit.protocol.function_names import filled_route, route_parameters
from venturekit.protocol.http_event import EventContext, Gateway, http_event
from venturekit.runtime.invocation.propagation import Carried
from venturekit.runtime.invocation.route_event import route_event
from venturekit.testing.events.claims import jwt_authorizer
from venturekit.testing.events.common import ACCOUNT_ID, REGION, log_time, new_id, now_ms
from venturekit.testing.events.requests import SOURCE_IP, encoded_body, header_pairs, http_request, query_text
from venturekit.testing.routing import DEFAULT_ROUTE, RouteKey, parse_route_key, path_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.testing.events.requests import Headers, Query

HTTP_API_ID: Final = "abcdefghij"
INTERNAL_API_ID: Final = "venturekit"
FUNCTION_URL_ID: Final = "abcdefghijklmnopqrstuvwxyz012345"


def http_api_event(
    method: str = "GET",
    path: str | None = None,
    *,
    route: str | None = None,
    path_params: Mapping[str, Any] | None = None,
    query: Query | None = None,
    headers: Headers | None = None,
    cookies: Mapping[str, str] | None = None,
    body: Any = None,
    form: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
    scopes: Sequence[str] | None = None,
    authorizer: Mapping[str, Any] | None = None,
    internal: bool = False,
    tenant_id: str | None = None,
    user_id: str | None = None,
    stage: str = DEFAULT_ROUTE,
    stage_variables: Mapping[str, str] | None = None,
    source_ip: str = SOURCE_IP,
    api_id: str | None = None,
    domain_name: str | None = None,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    request_id: str | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """The event of a request to an HTTP API (payload format 2.0)::

        >>> from venturekit.testing import http_api_event
        >>> event = http_api_event("POST", "/users/42?full=1", route="/users/{id}", body={"name": "Alice"})
        >>> event["routeKey"], event["pathParameters"], event["queryStringParameters"]
        ('POST /users/{id}', {'id': '42'}, {'full': '1'})
        >>> event["body"], event["headers"]["content-type"]
        ('{"name":"Alice"}', 'application/json')
        >>> http_api_event(route="/users/{id}", path_params={"id": "a b"})["rawPath"]
        '/users/a b'

    ``route`` is ``/users/{id}`` or ``GET /users/{id}``; without it the route is ``$default``. Of ``path`` and
    ``path_params`` the other is found by the route. ``body``: bytes, text, or a value that becomes JSON; ``form``: a
    mapping. ``claims`` and ``scopes`` are what a JWT authorizer has verified, as texts, which is how API Gateway hands
    them on; ``authorizer`` is any other one, ``{"lambda": {...}}`` or ``{"iam": {...}}``. ``internal`` makes it a call
    by ``invoke()``, for ``tenant_id`` and by ``user_id``. Ids are new and the time is now, unless they are given.

    Raises ValueError for a path that does not fit the route, TypeError for what cannot be in a request.
    """
    if authorizer is not None and (claims is not None or scopes is not None):
        raise TypeError("claims and scopes are those of a JWT authorizer: give them, or authorizer=")
    key = RouteKey(method, DEFAULT_ROUTE) if route is None else parse_route_key(route, method.upper())
    raw_path, parameters = path_and_parameters(key, path, path_params)
    moment = now_ms(time_epoch_ms)
    if internal:
        if not (claims is None and scopes is None and authorizer is None):
            raise TypeError("a call by invoke() has no authorizer: user_id= says who asks")
        pattern = raw_path.partition("?")[0] if route is None else key.path
        query = raw_path.partition("?")[2] if query is None else query
        made = _sent_headers(headers, cookies, form)
        carried = Carried(new_id(request_id), tenant_id, user_id, None, None)
        data = body if form is None else encoded_body(body, form)[0]
        return _internal_event(pattern, parameters, carried, method, data, query, made, api_id, account_id, moment)
    if tenant_id is not None or user_id is not None:
        raise TypeError("tenant_id and user_id are what invoke() passes on: with internal=True only")
    domain = domain_name or f"{api_id or HTTP_API_ID}.execute-api.{region}.amazonaws.com"
    request = http_request(
        method,
        raw_path if stage == DEFAULT_ROUTE else f"/{stage}{raw_path}",
        query=query,
        headers=headers,
        cookies=cookies,
        body=body,
        form=form,
        source_ip=source_ip,
        host=domain,
        time_epoch_ms=moment,
    )
    context = EventContext(
        request_id=new_id(request_id),
        time_epoch_ms=moment,
        api_id=api_id or HTTP_API_ID,
        domain_name=domain,
        account_id=account_id,
        gateway=Gateway.HTTP_API,
        route_key=key.text,
        stage=stage,
        path_parameters=parameters,
        stage_variables=stage_variables,
        authorizer=authorizer or jwt_authorizer(claims, scopes),
    )
    return http_event(request, context)


def _sent_headers(
    headers: Headers | None, cookies: Mapping[str, str] | None, form: Mapping[str, Any] | None
) -> dict[str, str]:
    made = {} if form is None else {"content-type": encoded_body(None, form)[1]}
    if cookies:
        made["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return {**made, **dict(header_pairs(headers))}


def _internal_event(
    route: str,
    parameters: Mapping[str, str],
    carried: Carried,
    method: str,
    body: Any,
    query: Query | None,
    headers: Mapping[str, str],
    api_id: str | None,
    account_id: str,
    moment: int,
) -> dict[str, Any]:
    """The very event of ``invoke()``, by its own builder, but for the time."""
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query_text(query), keep_blank_values=True):
        values.setdefault(name, []).append(value)
    event = route_event(
        route,
        carried,
        method=method,
        body=body,
        path_params=parameters,
        query_params=values,
        headers=headers,
        api_id=api_id or INTERNAL_API_ID,
        account_id=account_id,
    )
    event["requestContext"] |= {"time": log_time(moment), "timeEpoch": moment}
    return event


def function_url_event(
    method: str = "GET",
    path: str = "/",
    *,
    query: Query | None = None,
    headers: Headers | None = None,
    cookies: Mapping[str, str] | None = None,
    body: Any = None,
    form: Mapping[str, Any] | None = None,
    iam: Mapping[str, Any] | None = None,
    source_ip: str = SOURCE_IP,
    url_id: str = FUNCTION_URL_ID,
    domain_name: str | None = None,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    request_id: str | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """The event of a request to a function URL (payload format 2.0)::

        >>> from venturekit.testing import function_url_event
        >>> event = function_url_event("GET", "/a%20b", cookies={"seen": "1"})
        >>> event["rawPath"], event["requestContext"]["http"]["path"], event["cookies"]
        ('/a%20b', '/a b', ['seen=1'])
        >>> event["requestContext"]["accountId"]
        'anonymous'

    ``iam`` is who has signed the request, for a URL that asks for it: ``{"userArn": ..., "userId": ...}``. Everything
    else is as with ``http_api_event()``. Raises TypeError for what cannot be in a request.
    """
    moment = now_ms(time_epoch_ms)
    domain = domain_name or f"{url_id}.lambda-url.{region}.on.aws"
    request = http_request(
        method,
        path,
        query=query,
        headers=headers,
        cookies=cookies,
        body=body,
        form=form,
        source_ip=source_ip,
        host=domain,
        time_epoch_ms=moment,
    )
    context = EventContext(
        request_id=new_id(request_id),
        time_epoch_ms=moment,
        api_id=url_id,
        domain_name=domain,
        account_id="anonymous" if iam is None else account_id,
        authorizer=None if iam is None else {"iam": dict(iam)},
    )
    return http_event(request, context)


def path_and_parameters(key: RouteKey, path: str | None, given: Mapping[str, Any] | None) -> tuple[str, dict[str, str]]:
    """The path of a request and its parameters; of the two that one which is missing is made. Raises ValueError."""
    parameters = None if given is None else {name: str(value) for name, value in given.items()}
    if path is None:
        if key.path == DEFAULT_ROUTE:
            return "/", parameters or {}
        if parameters is None and route_parameters(key.path):
            raise ValueError(f"the route {key.text!r} needs a path, or path_params")
        return filled_route(key.path, parameters or {}), parameters or {}
    found = path_parameters(key, "/" + path.partition("?")[0].lstrip("/"))
    if found is None:
        raise ValueError(f"the path {path!r} does not fit the route {key.text!r}")
    return path, found if parameters is None else parameters
