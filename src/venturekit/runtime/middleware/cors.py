"""Cross-origin resource sharing by the function itself. Source: seed 001, ``corsMiddleware``; Fetch Standard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.cors import ANY, allowed_origin, is_preflight
from venturekit.runtime.context import RequestContext
from venturekit.runtime.middleware.headers import is_token
from venturekit.runtime.middleware.steps import NEXT, from_steps
from venturekit.runtime.responses import Response

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
HEADERS: Final = ("Content-Type", "Authorization")
MAX_AGE_SECONDS: Final = 3600
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s,*]+")
_PREFLIGHT_VARY: Final = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


def cors_middleware(
    *,
    allow_origins: Sequence[str] | str,
    allow_methods: Sequence[str] | str = METHODS,
    allow_headers: Sequence[str] | str = HEADERS,
    expose_headers: Sequence[str] | str = (),
    allow_credentials: bool = False,
    max_age: int | None = MAX_AGE_SECONDS,
) -> Middleware:
    """Lets web pages of other origins read the responses::

        cors = cors_middleware(allow_origins=["https://app.example.com"], allow_credentials=True)
        main = handler(list_users, middleware=[cors])

    Preflights are answered with 204 before any other middleware is asked, wherever this one stands in the list, since
    a browser sends neither cookies nor tokens with them. Errors have the headers too. ``"*"`` stands for every origin,
    method or header; with ``allow_credentials`` not for every origin, for that would lend each page of the web the
    cookies of whoever looks at it. ``max_age``: seconds for which a browser remembers the answer to a preflight, None
    for its own. An origin that is not allowed gets no header: it is the browser that refuses. Function URLs and APIs
    that have rules of their own need this not. In a task it does nothing.

    Raises ValueError for what no browser could use. Source: seed 001, ``corsMiddleware``.
    """
    rules = _Rules(
        _origins(allow_origins, credentials=allow_credentials),
        tuple(method.upper() for method in _tokens(allow_methods, "allow_methods")),
        _tokens(allow_headers, "allow_headers"),
        _tokens(expose_headers, "expose_headers"),
        allow_credentials,
        max_age,
    )
    if allow_credentials and ANY in rules.expose_headers:
        raise ValueError('expose_headers="*" means nothing to a browser with allow_credentials: name the headers')
    if max_age is not None and max_age < 0:
        raise ValueError(f"max_age is in seconds, 0 or more, and not {max_age}")

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        if not isinstance(ctx, RequestContext):
            return (yield NEXT)
        if is_preflight(ctx.method, ctx.headers):
            return Response(None, 204, rules.of_preflight(ctx.headers))
        response = None
        try:
            response = yield NEXT
        finally:
            _add(ctx, response, rules.of_response(ctx.headers.get("origin")))
        return response

    return from_steps("cors", steps, hoisted=True)


class _Rules:
    """Who may do what, and the headers that say so."""

    __slots__ = ("credentials", "expose_headers", "headers", "max_age", "methods", "origins")

    def __init__(
        self,
        origins: tuple[str, ...],
        methods: tuple[str, ...],
        headers: tuple[str, ...],
        expose_headers: tuple[str, ...],
        credentials: bool,
        max_age: int | None,
    ) -> None:
        self.origins = origins
        self.methods = methods
        self.headers = headers
        self.expose_headers = expose_headers
        self.credentials = credentials
        self.max_age = max_age

    def of_preflight(self, asked: dict[str, str]) -> dict[str, str]:
        headers = {"Vary": _PREFLIGHT_VARY, **self._of_origin(asked["origin"])}
        if len(headers) == 1:
            return headers
        methods, names = ", ".join(self.methods), ", ".join(self.headers)
        # With credentials a star is no star to a browser, and without them it does not cover Authorization.
        if ANY in self.methods:
            methods = _only_tokens(asked["access-control-request-method"])
        if ANY in self.headers:
            names = _only_tokens(asked.get("access-control-request-headers", ""))
        if methods:
            headers["Access-Control-Allow-Methods"] = methods
        if names:
            headers["Access-Control-Allow-Headers"] = names
        if self.max_age is not None:
            headers["Access-Control-Max-Age"] = str(self.max_age)
        return headers

    def of_response(self, origin: str | None) -> dict[str, str]:
        headers = {} if self.origins == (ANY,) else {"Vary": "Origin"}
        if origin is not None:
            headers.update(self._of_origin(origin))
            if self.expose_headers and "Access-Control-Allow-Origin" in headers:
                headers["Access-Control-Expose-Headers"] = ", ".join(self.expose_headers)
        return headers

    def _of_origin(self, origin: str) -> dict[str, str]:
        allowed = allowed_origin(origin, self.origins, credentials=self.credentials)
        if allowed is None:
            return {}
        headers = {"Access-Control-Allow-Origin": allowed}
        if self.credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers


def _add(ctx: RequestContext, response: Any, headers: dict[str, str]) -> None:
    vary = headers.pop("Vary", None)
    if vary is not None:
        # Vary is a list: whoever else has put something on it keeps it.
        for found in (ctx.response_headers, response.headers if isinstance(response, Response) else {}):
            for name in [name for name in found if name.lower() == "vary"]:
                vary = f"{found.pop(name)}, {vary}"
        headers["Vary"] = vary
    ctx.response_headers.update(headers)


def _only_tokens(text: str) -> str:
    """What was asked for, less what could not be the name of a method or header."""
    return ", ".join(part for part in map(str.strip, text.split(",")) if is_token(part))


def _listed(value: Sequence[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _tokens(value: Sequence[str] | str, option: str) -> tuple[str, ...]:
    for token in (listed := _listed(value)):
        if not is_token(token):
            raise ValueError(f"{option} has {token!r}: give a list of names")
    return listed


def _origins(value: Sequence[str] | str, *, credentials: bool) -> tuple[str, ...]:
    origins = _listed(value)
    if not origins:
        raise ValueError("allow_origins is empty, and so no page could read anything: leave cors_middleware out")
    for origin in origins:
        if origin == ANY:
            if credentials:
                raise ValueError(
                    'allow_credentials with allow_origins="*" would let every page of the web act for whoever looks at '
                    "it: name the origins"
                )
        elif _ORIGIN.fullmatch(origin) is None:
            raise ValueError(
                f"{origin!r} is no origin: scheme and host, and the port if it is not the usual one, without a slash "
                'at the end, like "https://app.example.com"'
            )
    return (ANY,) if ANY in origins else origins
