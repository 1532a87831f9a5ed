"""Request ids that callers bring along, and get back. Source: seed 001, ``requestIdMiddleware``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import RequestContext
from venturekit.runtime.environ import new_request_id
from venturekit.runtime.middleware.headers import checked_name
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware

# What ids are made of everywhere; nothing that could end a header, or pass for something else in a log.
_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id_middleware(header: str = "X-Request-Id") -> Middleware:
    """Makes sure that there is a request id that caller and logs share::

        main = handler(list_users, middleware=[request_id_middleware()])

    A caller who sends one in ``header`` has it become ``ctx.request_id`` if it is made of 1 to 128 letters, digits and
    ``._:/+=@-``; anything else is ignored. The response has the id in the same header, errors included. Ids from
    outside are not unique: nothing that must be safe may rest on them. In a task the id is Lambda's, and stays.

    Raises ValueError for what is no name of a header. Source: seed 001, ``requestIdMiddleware``.
    """
    name, sent = checked_name(header), header.lower()

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        if isinstance(ctx, RequestContext):
            given = ctx.headers.get(sent)
            if given is not None and _is_id(given):
                ctx.request_id = given
            elif not _is_id(ctx.request_id):
                ctx.request_id = new_request_id()
            ctx.response_headers[name] = ctx.request_id
        return (yield NEXT)

    return from_steps("request_id", steps)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None
