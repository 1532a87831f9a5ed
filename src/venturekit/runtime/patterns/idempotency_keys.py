"""Which calls are the same: the id of a record, made of scope and key, and the fingerprint of a payload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime import environ
from venturekit.runtime.context import current_context
from venturekit.runtime.encoding import NotSerializableError, plain, to_json
from venturekit.runtime.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.runtime.context import BaseContext

_SHOWN: Final = 200


def record_id(name: str, ctx: BaseContext | None, key: str, *more: str) -> str:
    """The id of a key within its scope: name, tenant, user, and what else there is.

    Keys themselves are not kept, and may be long.
    """
    parts = [name, *owner_of(ctx), key, *more]
    return f"{name[:_SHOWN]}#{digest(to_json(parts).encode())}"


def owner_of(ctx: BaseContext | None) -> tuple[str | None, str | None]:
    """Whose a key is: the ids of tenant and user, None where nobody is known."""
    tenant, user = (None, None) if ctx is None else (ctx.tenant, ctx.user)
    return None if tenant is None else tenant.id, None if user is None else user.id


def key_text(key: Any, shown: str) -> str:
    """A key, as a function has given it, as a text. Raises BadRequestError."""
    if isinstance(key, str | int) and not isinstance(key, bool) and key != "":
        return str(key)
    raise BadRequestError(f"The idempotency key of {shown} is {key!r}: a text or a number is expected")


def function_name(ctx: BaseContext | None) -> str:
    """The Lambda function that runs; empty outside of one."""
    named = getattr(getattr(ctx, "raw_context", None), "function_name", None)
    return named if isinstance(named, str) and named else environ.function_name()


def fingerprint(value: Any) -> str:
    """The same for values that are the same JSON, in whatever order. Raises NotSerializableError."""
    if isinstance(value, bytes):
        return digest(value)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_told)
    except NotSerializableError:
        raise
    except (TypeError, ValueError, RecursionError) as problem:
        raise NotSerializableError(f"this cannot be written as JSON: {problem}") from None
    return digest(text.encode())


def _told(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        # Their order is another one in every process.
        return sorted(value, key=fingerprint)
    if hasattr(value, "__next__"):
        raise NotSerializableError(f"a value of the type {type(value).__qualname__} can be read once only")
    return plain(value)


def chosen(value: Any, fields: tuple[str, ...]) -> list[Any]:
    """Some fields of a payload by their dotted names; what is not there is None."""
    return [_field(value, field) for field in fields]


def _field(value: Any, field: str) -> Any:
    for part in field.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    from hashlib import sha256

    return sha256(data).hexdigest()


def log(level: str, message: str, fields: Mapping[str, Any]) -> None:
    """A line of the log of the invocation that runs."""
    ctx = current_context()
    if ctx is not None:
        logger = ctx.logger
    else:
        from venturekit.runtime.logs import logger
    getattr(logger, level)(message, dict(fields))
