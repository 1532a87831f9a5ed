"""From what a test says about a request to the arguments of an event's builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

from venturekit.runtime.encoding import to_json
from venturekit.testing.events.requests import header_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.testing.events.requests import Headers, Query
    from venturekit.testing.gateway_results import GatewayName
    from venturekit.testing.lambda_context import FakeLambdaContext


class RequestOptions(TypedDict, total=False):
    """What a request may have besides method and path; see ``Client``."""

    query: Query | None
    headers: Headers | None
    cookies: Mapping[str, str] | None
    json: Any
    form: Mapping[str, Any] | None
    body: Any
    path_params: Mapping[str, Any] | None
    claims: Mapping[str, Any] | None
    scopes: Sequence[str] | None
    authorizer: Mapping[str, Any] | None
    iam: Mapping[str, Any] | None
    internal: bool
    tenant_id: str | None
    user_id: str | None
    source_ip: str
    request_id: str | None
    context: FakeLambdaContext | None


_EVERYWHERE: Final = frozenset(("query", "headers", "cookies", "form", "body", "source_ip"))
_TOKEN: Final = frozenset(("claims", "scopes", "authorizer", "request_id", "path_params"))
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "http-api": _EVERYWHERE | _TOKEN | {"internal", "tenant_id", "user_id"},
    "function-url": _EVERYWHERE | {"iam", "request_id"},
    "rest-api": _EVERYWHERE | _TOKEN,
    "alb": _EVERYWHERE,
    "alb-multi-value": _EVERYWHERE,
}


def event_arguments(gateway: GatewayName, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the builder. ``defaults`` are the client's ``headers``, ``claims`` and ``scopes``.

    Raises TypeError for what requests to this front door do not have.
    """
    wanted = dict(given)
    headers = _merged(header_pairs(defaults["headers"]), header_pairs(wanted.pop("headers", None)))
    value = wanted.pop("json", None)
    if value is not None:
        if wanted.get("body") is not None or wanted.get("form") is not None:
            raise TypeError("a request has one body: json=, form= or body=")
        wanted["body"] = to_json(value).encode()
        headers = _merged([("content-type", "application/json")], headers)
    arguments = {name: item for name, item in wanted.items() if item is not None and item is not False}
    wrong = sorted(arguments.keys() - _ALLOWED[gateway])
    if wrong:
        raise TypeError(
            f"a request to {gateway} has no {', '.join(wrong)}: {', '.join(sorted(_ALLOWED[gateway]))} it has"
        )
    # claims=None asks as nobody, whatever the client's own claims are.
    anonymous = "claims" in given and given["claims"] is None
    if not anonymous and not arguments.keys() & {"authorizer", "internal"}:
        for name in ("claims", "scopes"):
            if defaults[name] is not None:
                arguments.setdefault(name, defaults[name])
    return {**arguments, "headers": headers}


def _merged(lower: Sequence[tuple[str, str]], higher: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers of both; of a name in both those of the second."""
    names = {name.lower() for name, _ in higher}
    return [*((name, value) for name, value in lower if name.lower() not in names), *higher]
