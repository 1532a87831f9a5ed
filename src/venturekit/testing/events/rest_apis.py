"""Events of payload format 1.0, and those of Application Load Balancers.

Sources: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration"; Elastic Load
Balancing, "Use Lambda functions as targets of an Application Load Balancer".
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from venturekit.protocol.http_event import EventContext, Gateway, http_event
from venturekit.testing.events.claims import cognito_authorizer
from venturekit.testing.events.common import ACCOUNT_ID, REGION, digits, log_time, new_id, now_ms
from venturekit.testing.events.http_apis import HTTP_API_ID, path_and_parameters
from venturekit.testing.events.requests import SOURCE_IP, http_request
from venturekit.testing.routing import parse_route_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from venturekit.protocol.http_event import HttpRequest
    from venturekit.testing.events.requests import Headers, Query

PROXY_ROUTE: Final = "/{proxy+}"
_UNKNOWN_CALLER: Final = (
    *("cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "principalOrgId", "accessKey"),
    *("cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "user"),
)


def rest_api_event(
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
    stage: str = "prod",
    stage_variables: Mapping[str, str] | None = None,
    source_ip: str = SOURCE_IP,
    api_id: str = HTTP_API_ID,
    domain_name: str | None = None,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    request_id: str | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """The event of a request to a REST API (payload format 1.0)::

        >>> from venturekit.testing import rest_api_event
        >>> event = rest_api_event("GET", "/users/42", route="/users/{id}", query={"tag": ["a", "b"]})
        >>> event["resource"], event["pathParameters"], event["multiValueQueryStringParameters"]
        ('/users/{id}', {'id': '42'}, {'tag': ['a', 'b']})
        >>> event["queryStringParameters"], event["body"]
        ({'tag': 'b'}, None)

    Without a route the resource is ``/{proxy+}``. ``claims`` and ``scopes`` are what a Cognito authorizer has verified,
    ``authorizer`` is what a Lambda authorizer has said. A body that is no UTF-8 is in base64, as with an API whose
    binary media types are configured. Everything else is as with ``http_api_event()``.

    Raises ValueError for a path that does not fit the route, TypeError for what cannot be in a request.
    """
    key = parse_route_key(route or ("/" if path in (None, "", "/") else PROXY_ROUTE), method.upper())
    raw_path, parameters = path_and_parameters(key, path, path_params)
    moment = now_ms(time_epoch_ms)
    domain = domain_name or f"{api_id}.execute-api.{region}.amazonaws.com"
    request = http_request(
        method,
        raw_path,
        query=query,
        headers=headers,
        cookies=cookies,
        body=body,
        form=form,
        source_ip=source_ip,
        host=domain,
        time_epoch_ms=moment,
    )
    if authorizer is not None and (claims is not None or scopes is not None):
        raise TypeError("claims and scopes are those of a Cognito authorizer: give them, or authorizer=")
    many_headers = _lists(request.headers)
    many_values = _lists(parse_qsl(request.query, keep_blank_values=True))
    text = _text(request.body)
    found = authorizer or cognito_authorizer(claims, scopes)
    return {
        "resource": key.path,
        "path": unquote(request.path),
        "httpMethod": request.method,
        "headers": _last(many_headers),
        "multiValueHeaders": many_headers,
        "queryStringParameters": _last(many_values) or None,
        "multiValueQueryStringParameters": many_values or None,
        "pathParameters": parameters or None,
        "stageVariables": dict(stage_variables) if stage_variables else None,
        "requestContext": {
            "resourceId": digits(6),
            **({} if found is None else {"authorizer": dict(found)}),
            "resourcePath": key.path,
            "httpMethod": request.method,
            "extendedRequestId": f"{digits(14)}=",
            "requestTime": log_time(moment),
            "path": f"/{stage}{unquote(request.path)}",
            "accountId": account_id,
            "protocol": request.protocol,
            "stage": stage,
            "domainPrefix": domain.partition(".")[0],
            "requestTimeEpoch": moment,
            "requestId": new_id(request_id),
            "identity": {
                **dict.fromkeys(_UNKNOWN_CALLER),
                "sourceIp": source_ip,
                "userAgent": next((value for name, value in request.headers if name.lower() == "user-agent"), None),
            },
            "domainName": domain,
            "apiId": api_id,
        },
        "body": (text if text is not None else b2a_base64(request.body, newline=False).decode()) or None,
        "isBase64Encoded": text is None,
    }


def alb_event(
    method: str = "GET",
    path: str = "/",
    *,
    query: Query | None = None,
    headers: Headers | None = None,
    cookies: Mapping[str, str] | None = None,
    body: Any = None,
    form: Mapping[str, Any] | None = None,
    multi_value: bool = False,
    source_ip: str = SOURCE_IP,
    domain_name: str | None = None,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """The event of a request to an Application Load Balancer::

        >>> from venturekit.testing import alb_event
        >>> alb_event("GET", "/search", query={"q": "a b"})["queryStringParameters"]
        {'q': 'a+b'}
        >>> alb_event("GET", "/search", query={"q": ["a", "b"]}, multi_value=True)["multiValueQueryStringParameters"]
        {'q': ['a', 'b']}

    ``multi_value`` is how the target group is configured: every value of a name, in the keys that begin with
    ``multiValue``, or the last one. Query parameters are not decoded: a load balancer leaves that to the function.
    Raises TypeError for what cannot be in a request.
    """
    moment = now_ms(time_epoch_ms)
    request = http_request(
        method,
        path,
        query=query,
        headers=headers,
        cookies=cookies,
        body=body,
        form=form,
        source_ip=source_ip,
        host=domain_name or f"lambda-alb-123578498.{region}.elb.amazonaws.com",
        time_epoch_ms=moment,
    )
    many_headers = _lists((name.lower(), value) for name, value in request.headers)
    many_values = _lists(_raw_pairs(request.query))
    group = f"arn:aws:elasticloadbalancing:{region}:{account_id}:targetgroup/lambda-target/49e9d65c45c6791a"
    if multi_value:
        parts: dict[str, Any] = {
            "multiValueQueryStringParameters": many_values,
            "multiValueHeaders": many_headers,
        }
    else:
        parts = {"queryStringParameters": _last(many_values), "headers": _last(many_headers)}
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": request.method,
        "path": request.path,
        **parts,
        **_body(request),
    }


def _body(request: HttpRequest) -> dict[str, Any]:
    """Body and ``isBase64Encoded``: what counts as text is the same as with HTTP APIs."""
    made = http_event(request, EventContext("", 0, "", "", gateway=Gateway.HTTP_API))
    return {"body": made.get("body", ""), "isBase64Encoded": made["isBase64Encoded"]}


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _raw_pairs(query: str) -> Iterable[tuple[str, str]]:
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            yield name, value


def _lists(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Every value of every name; names of headers that differ in case only are one."""
    lists: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for name, value in pairs:
        lists.setdefault(known.setdefault(name.lower(), name), []).append(value)
    return lists


def _last(lists: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: values[-1] for name, values in lists.items()}
