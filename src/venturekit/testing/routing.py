"""Which route a request takes, as API Gateway's HTTP APIs choose it. Pure.

Source: API Gateway Developer Guide, "Routes for HTTP APIs": a full match first, then a greedy parameter, then
``$default``; of two routes the one with the method named wins over ``ANY``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_ROUTE: Final = "$default"
ANY: Final = "ANY"
_PARAMETER: Final = re.compile(r"\{([^{}/]+?)(\+?)\}")
_METHOD: Final = re.compile(r"[A-Z]+")


class InvalidRouteKeyError(ValueError):
    """A route key that cannot be one; the text says why."""


class RouteKey(NamedTuple):
    """``GET /users/{id}``: a method, or ``ANY``, and a path with parameters, the last of which may be greedy."""

    method: str
    path: str

    @property
    def text(self) -> str:
        """The route key as API Gateway writes it."""
        return DEFAULT_ROUTE if self.path == DEFAULT_ROUTE else f"{self.method} {self.path}"


def parse_route_key(text: str, method: str = ANY) -> RouteKey:
    """``GET /users/{id}``, ``/users/{id}`` for ``method``, or ``$default``. Raises InvalidRouteKeyError."""
    if text == DEFAULT_ROUTE:
        return RouteKey(ANY, DEFAULT_ROUTE)
    first, _, rest = text.partition(" ")
    named, path = (first, rest.strip()) if rest else (method, first)
    if _METHOD.fullmatch(named) is None or not path:
        raise InvalidRouteKeyError(f"{text!r} is no route: 'GET /users/{{id}}', '/users/{{id}}' and '$default' are")
    path = "/" + path.strip("/")
    segments = path.split("/")
    for index, segment in enumerate(segments):
        found = _PARAMETER.fullmatch(segment)
        if found is None and ("{" in segment or "}" in segment):
            raise InvalidRouteKeyError(f"{text!r} is no route: a parameter is a whole part of the path, like {{id}}")
        if found is not None and found[2] and index != len(segments) - 1:
            raise InvalidRouteKeyError(f"{text!r} is no route: only its last part can be greedy")
    return RouteKey(named, path)


def path_parameters(route: RouteKey, raw_path: str) -> dict[str, str] | None:
    """The parameters that a path gives a route, decoded; None if it does not fit."""
    if route.path == DEFAULT_ROUTE:
        return {}
    wanted, given = route.path.split("/"), raw_path.rstrip("/").split("/")
    if route.path == "/":
        return {} if raw_path.strip("/") == "" else None
    found: dict[str, str] = {}
    for index, segment in enumerate(wanted):
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is not None and parameter[2]:
            rest = "/".join(given[index:])
            return {**found, parameter[1]: unquote(rest)} if rest else None
        if index >= len(given):
            return None
        if parameter is not None and given[index]:
            found[parameter[1]] = unquote(given[index])
        elif unquote(given[index]) != segment:
            return None
    return found if len(wanted) == len(given) else None


def best_route(routes: Iterable[RouteKey], method: str, raw_path: str) -> tuple[RouteKey, dict[str, str]] | None:
    """The route that a request takes and its parameters, None if there is none."""
    fitting = [
        (route, parameters)
        for route in routes
        if route.method in (method, ANY) and (parameters := path_parameters(route, raw_path)) is not None
    ]
    return max(fitting, key=lambda found: _rank(found[0]), default=None)


def _rank(route: RouteKey) -> tuple[bool, list[int], bool]:
    if route.path == DEFAULT_ROUTE:
        return False, [], False
    parts = [2 if found is None else 0 if found[2] else 1 for found in map(_PARAMETER.fullmatch, route.path.split("/"))]
    return True, parts, route.method != ANY
