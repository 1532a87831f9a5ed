"""The HTTP request in an event, whichever front door made it: what is always needed at once, the rest on demand.

Payload format 2.0 (HTTP APIs, function URLs) is the usual one, so it is read with the fewest steps; ``protocol``
holds the whole of it. Format 1.0 (REST APIs, and HTTP APIs that ask for it) and Application Load Balancers are read
to the same form.

Sources: API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs" and "Input format of a
Lambda function for proxy integration"; Elastic Load Balancing, "Use Lambda functions as targets".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERNAL_PREFIX: Final = "x-venturekit-"
"""Headers that only calls between functions may carry: from anywhere else they are not let through."""
MAX_QUERY_FIELDS: Final = 10_000
_LATEST_EPOCH_MS: Final = 253_402_300_800_000  # the year 10000


class InvalidEventError(ValueError):
    """What a handler was called with is no event of an HTTP request; the text says what is missing."""


class RequestEvent:
    """An event of payload format 2.0.

    ``headers`` have names in lower case. ``marker`` is what ``invoke()`` writes into the request context, where no
    caller from outside can write; without it every ``x-venturekit-`` header is taken out, here and in ``event``.
    """

    __slots__ = ("context", "event", "headers", "marker", "method", "path")

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event
        context = self.context = event["requestContext"]
        http = context["http"]
        self.method: str = _text(http, "method")
        self.path: str = _text(event, "rawPath") if event.get("rawPath") else _text(http, "path")
        marker = context.get("venturekit")
        self.marker: Mapping[str, Any] | None = marker if isinstance(marker, dict) else None
        self._take_headers(event.get("headers"))

    def _take_headers(self, given: Mapping[str, str] | None, joined: Mapping[str, list[str]] | None = None) -> None:
        headers = {name.lower(): value for name, value in given.items()} if given else {}
        if joined:
            headers.update((name.lower(), ",".join(values)) for name, values in joined.items())
        # Joining them is the quickest way to find out whether all are texts.
        "".join(headers.values())
        # One search in all names is quicker than one in each.
        if self.marker is None and INTERNAL_PREFIX in "\n".join(headers):
            headers = {name: value for name, value in headers.items() if not name.startswith(INTERNAL_PREFIX)}
            self.event = _without_internal(self.event)
        self.headers = headers

    @property
    def is_function_url(self) -> bool:
        """Whether a function URL made the event, which cannot be told from one of an HTTP API but by its domain."""
        return ".lambda-url." in _text_or_empty(self.context.get("domainName"))

    @property
    def request_id(self) -> str | None:
        given = self.context.get("requestId")
        return given if isinstance(given, str) else None

    @property
    def time_epoch_ms(self) -> int | None:
        return _number(self.context.get("timeEpoch"))

    @property
    def source_ip(self) -> str:
        return _text_or_empty(self.context["http"].get("sourceIp"))

    @property
    def query_string(self) -> str | None:
        """The query as it was sent, None where the event does not have it."""
        given = self.event.get("rawQueryString")
        return given if isinstance(given, str) else None

    @property
    def query(self) -> dict[str, str]:
        return _texts(self.event, "queryStringParameters")

    @property
    def query_lists(self) -> dict[str, list[str]]:
        """Every value of every name: from the query itself, since a comma may be part of a value."""
        raw = self.query_string
        if raw is None:
            return {name: [value] for name, value in self.query.items()}
        from urllib.parse import parse_qs

        try:
            return parse_qs(raw, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            from venturekit.runtime.errors import BadRequestError

            raise BadRequestError(f"The query has more than {MAX_QUERY_FIELDS} fields") from None

    @property
    def path_parameters(self) -> dict[str, str]:
        return _texts(self.event, "pathParameters")

    @property
    def cookies(self) -> list[str]:
        cookies = self.event.get("cookies")
        if isinstance(cookies, list):
            return [cookie for cookie in cookies if isinstance(cookie, str)]
        return [part.strip() for part in self.headers.get("cookie", "").split(";") if part.strip()]

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """What an authorizer found out about the caller, None where there was none."""
        authorizer = _object(self.context, "authorizer")
        jwt = _object(authorizer, "jwt")
        if jwt:
            claims, scopes = _object(jwt, "claims"), jwt.get("scopes")
            return {**claims, "scopes": scopes} if scopes and "scope" not in claims else claims
        iam = _object(authorizer, "iam")
        if iam:
            return {**iam, "sub": iam.get("userId") or iam.get("userArn")}
        return _object(authorizer, "lambda") or None

    def answer(
        self, status: int, headers: dict[str, str], cookies: list[str], body: str, encoded: bool
    ) -> dict[str, Any]:
        """The result that the front door understands."""
        result: dict[str, Any] = {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": encoded}
        if cookies:
            result["cookies"] = cookies
        return result


class RestApiEvent(RequestEvent):
    """An event of payload format 1.0."""

    __slots__ = ()

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event
        self.context = _object(event, "requestContext")
        self.method = _text(event, "httpMethod")
        self.path = _text_or_empty(event.get("path")) or "/"
        self.marker = None
        self._take_headers(event.get("headers"), event.get("multiValueHeaders"))

    @property
    def time_epoch_ms(self) -> int | None:
        return _number(self.context.get("requestTimeEpoch"))

    @property
    def source_ip(self) -> str:
        return _text_or_empty(_object(self.context, "identity").get("sourceIp"))

    @property
    def query_string(self) -> str | None:
        return None

    @property
    def query(self) -> dict[str, str]:
        lists = self._lists()
        if lists:
            return {name: ",".join(values) for name, values in lists.items()}
        return _texts(self.event, "queryStringParameters")

    @property
    def query_lists(self) -> dict[str, list[str]]:
        return self._lists() or {name: [value] for name, value in _texts(self.event, "queryStringParameters").items()}

    def _lists(self) -> dict[str, list[str]]:
        given = _object(self.event, "multiValueQueryStringParameters")
        return {
            name: [value for value in values if isinstance(value, str)]
            for name, values in given.items()
            if isinstance(values, list)
        }

    @property
    def cookies(self) -> list[str]:
        return [part.strip() for part in self.headers.get("cookie", "").split(";") if part.strip()]

    @property
    def claims(self) -> Mapping[str, Any] | None:
        authorizer = _object(self.context, "authorizer")
        if not authorizer:
            return None
        jwt = _object(authorizer, "jwt")
        claims = _object(jwt, "claims") or _object(authorizer, "claims")
        if claims:
            return claims
        return {**authorizer, "sub": authorizer.get("sub") or authorizer.get("principalId")}

    def answer(
        self, status: int, headers: dict[str, str], cookies: list[str], body: str, encoded: bool
    ) -> dict[str, Any]:
        result: dict[str, Any] = {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": encoded}
        if cookies:
            result["multiValueHeaders"] = {"Set-Cookie": cookies}
        return result


class LoadBalancerEvent(RestApiEvent):
    """An event of an Application Load Balancer, whose query is still percent-encoded."""

    __slots__ = ()

    @property
    def source_ip(self) -> str:
        # The last address is the one that the load balancer saw itself; those before it anybody can write.
        return self.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()

    @property
    def request_id(self) -> str | None:
        return None

    @property
    def query(self) -> dict[str, str]:
        return {name: ",".join(values) for name, values in self.query_lists.items()}

    @property
    def query_lists(self) -> dict[str, list[str]]:
        from urllib.parse import unquote_plus

        lists = super().query_lists
        return {unquote_plus(name): [unquote_plus(value) for value in values] for name, values in lists.items()}

    @property
    def claims(self) -> Mapping[str, Any] | None:
        # X-Amzn-Oidc-Data is signed, and unsigned requests may carry it too: whoever verifies it sets ctx.user.
        return None

    def answer(
        self, status: int, headers: dict[str, str], cookies: list[str], body: str, encoded: bool
    ) -> dict[str, Any]:
        from http import HTTPStatus

        try:
            described = f"{status} {HTTPStatus(status).phrase}"
        except ValueError:
            described = f"{status} Unknown"
        result: dict[str, Any] = {"statusCode": status, "statusDescription": described}
        if "multiValueHeaders" in self.event:
            many = {name: [value] for name, value in headers.items()}
            if cookies:
                many["Set-Cookie"] = cookies
            result["multiValueHeaders"] = many
        else:
            # A load balancer that was not told otherwise takes one value for a name: the last cookie wins there.
            result["headers"] = {**headers, **({"Set-Cookie": cookies[-1]} if cookies else {})}
        return {**result, "body": body, "isBase64Encoded": encoded}


def read_event(event: Any) -> RequestEvent:
    """The request in an event. Raises InvalidEventError when there is none in it."""
    try:
        context = event["requestContext"]
        if "http" in context:
            return RequestEvent(event)
        if "elb" in context:
            return LoadBalancerEvent(event)
        return RestApiEvent(event)
    except InvalidEventError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError) as problem:
        raise InvalidEventError(
            "this is no event of an HTTP request: it should be one of a function URL or an HTTP API (payload format "
            f"2.0), of a REST API (1.0), or of an Application Load Balancer; {_described(problem)}"
        ) from None


def _described(problem: Exception) -> str:
    return f"it has no {problem.args[0]}" if isinstance(problem, KeyError) else str(problem)


def _without_internal(event: dict[str, Any]) -> dict[str, Any]:
    copied = dict(event)
    for key in ("headers", "multiValueHeaders"):
        if event.get(key):
            copied[key] = {
                name: value for name, value in event[key].items() if not name.lower().startswith(INTERNAL_PREFIX)
            }
    return copied


def _number(value: object) -> int | None:
    # Of a time that no calendar has, nothing is known either.
    return int(value) if isinstance(value, int | float) and 0 <= value < _LATEST_EPOCH_MS else None


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values[key]
    if type(value) is not str:
        raise InvalidEventError(f"this is no event of an HTTP request: its {key} is {value!r:.100}, and not a text")
    return value


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(event: Mapping[str, Any], key: str) -> dict[str, str]:
    """Texts by name; what tests and tools leave empty (null) is left out."""
    given = event.get(key)
    if not given or not isinstance(given, dict):
        return {}
    if all(type(value) is str for value in given.values()):
        return given
    return {str(name): str(value) for name, value in given.items() if value is not None}


def _object(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}
