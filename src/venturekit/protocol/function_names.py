"""What the Lambda functions of a project are called.

Source: seed 000, "Route Name Resolution" and "Function Name Resolution"; the project structure guide for queues and
schedules.
"""

from __future__ import annotations

import re
from typing import Final

NAME_LIMIT: Final = 64
"""How long the name of a Lambda function may be (model shape ``FunctionName``)."""
_HASH_DIGITS: Final = 8
_PARAMETER: Final = re.compile(r"\{([A-Za-z0-9_]+)(\+?)\}")
_LEGAL: Final = re.compile(r"[A-Za-z0-9_-]+")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_{}-]+")


class InvalidRouteError(ValueError):
    """A route or short name that cannot be one; the text says why."""


def route_name(prefix: str, route: str) -> str:
    """``users/list`` of the project ``myapp`` is ``myapp-users-list``, ``tasks/{id}`` is ``myapp-tasks-{id}``.

    Raises InvalidRouteError.
    """
    parts = [part for part in route.strip("/").split("/") if part]
    for part in parts:
        literal = _PARAMETER.sub("", part)
        if "{" in literal or "}" in literal or _ILLEGAL.search(literal):
            raise InvalidRouteError(
                f"{route!r} is no route: its parts are letters, digits, '-' and '_', or a parameter like {{id}}"
            )
    return "-".join([prefix, *(parts or ["index"])])


def function_name(project: str, stage: str, name: str, kind: str = "fn") -> str:
    """``process-orders`` is ``myapp-dev-fn-process-orders``; ``kind`` is ``fn``, ``queue`` or ``cron``.

    Raises InvalidRouteError.
    """
    if _LEGAL.fullmatch(name) is None:
        raise InvalidRouteError(f"{name!r} is no name of a function: letters, digits, '-' and '_' make one")
    return f"{project}-{stage}-{kind}-{name}"


def lambda_name(name: str) -> str:
    """A name as Lambda takes it: ``{id}`` becomes ``_id_``, and what is longer than 64 characters ends in a hash.

    Two names of one project differ afterwards too, unless one of them was written with ``_id_`` to look alike.
    """
    legal = _PARAMETER.sub(lambda match: f"_{match[1]}{'_plus' if match[2] else ''}_", name)
    if len(legal) <= NAME_LIMIT:
        return legal
    from hashlib import blake2s

    digest = blake2s(legal.encode(), digest_size=_HASH_DIGITS // 2).hexdigest()
    return f"{legal[: NAME_LIMIT - _HASH_DIGITS - 1]}-{digest}"


def route_parameters(route: str) -> list[str]:
    """The names of a route's parameters in their order: ``["id"]`` of ``users/{id}``."""
    return [match[1] for match in _PARAMETER.finditer(route)]


def filled_route(route: str, parameters: dict[str, str]) -> str:
    """The path of a call: ``/users/42`` of ``users/{id}``, its values percent-encoded.

    Raises InvalidRouteError for a parameter that is missing or empty, or that the route does not have.
    """
    from urllib.parse import quote

    names = route_parameters(route)
    missing = [name for name in names if not parameters.get(name)]
    unknown = [name for name in parameters if name not in names]
    if missing or unknown:
        wrong = f"needs {', '.join(missing)}" if missing else f"has no {', '.join(unknown)}"
        raise InvalidRouteError(f"the route {route!r} {wrong} in path_params")
    path = _PARAMETER.sub(lambda match: quote(parameters[match[1]], safe="/" if match[2] else ""), route.strip("/"))
    return f"/{path}"
