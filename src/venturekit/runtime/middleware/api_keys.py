"""API keys: who asks is known by a secret in a header. Source: seed 001, ``apiKeyAuthMiddleware``."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import RequestContext, UserContext
from venturekit.runtime.errors import UnauthorizedError
from venturekit.runtime.middleware.base import MiddlewareError, is_async
from venturekit.runtime.middleware.headers import checked_name
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware

    Keys = Iterable[str] | Mapping[str, Any]

LONGEST_KEY: Final = 4096


def hash_api_key(key: str) -> str:
    """What is kept of an API key: its SHA-256, 64 hexadecimal digits::

        hash_api_key("a key of 32 random bytes")

    Keys have to be random, such as ``secrets.token_urlsafe(32)`` makes them: a password could be guessed from this.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def api_key_auth_middleware(
    keys: Keys | None = None,
    *,
    lookup: Callable[[str], Any] | None = None,
    header: str = "x-api-key",
    internal: bool = False,
) -> Middleware:
    """Lets in who has a key, and says who it is in ``ctx.user``; 401 for everybody else::

        partner = UserContext("partner", scopes=["orders"])
        keys = {"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae": partner}
        main = handler(list_orders, scopes=["orders"], middleware=[api_key_auth_middleware(keys)])

    ``keys``: hashes of keys (``hash_api_key``), or a mapping from hash to identity. ``lookup``: instead, a function
    that is given the hash of the key that came, and gives the identity or None; in asynchronous chains it may be a
    coroutine function. An identity is a ``UserContext``, its id, or ``{"id": ..., "scopes": [...]}``; that of a mere
    hash is ``key-`` and the hash's first 12 digits. All hashes are compared, each in constant time.

    Calls from other functions, and tasks, are let through, for IAM has asked who they are; ``internal=True`` asks calls
    for a key as well.

    Raises ValueError for what are no hashes. Source: seed 001, ``apiKeyAuthMiddleware``.
    """
    if (keys is None) == (lookup is None):
        raise ValueError("api_key_auth_middleware needs either keys or lookup")
    known = None if keys is None else _known(keys)
    name = checked_name(header).lower()

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        if not isinstance(ctx, RequestContext):
            if internal:
                raise MiddlewareError("api_key_auth_middleware(internal=True) has no headers to look at in a task")
            return (yield NEXT)
        if not internal and ctx.is_internal:
            return (yield NEXT)
        key = ctx.headers.get(name)
        if not key:
            raise UnauthorizedError("An API key is required")
        found = None
        if len(key) <= LONGEST_KEY:
            found = _find(known, key) if known is not None else _called(lookup, key)
            if hasattr(found, "__await__"):
                found = yield found
        if found is None:
            raise UnauthorizedError("The API key is not valid")
        ctx.user = _user_of(found)
        return (yield NEXT)

    return from_steps("api_key_auth", steps, waits=lookup is not None and is_async(lookup))


def _called(lookup: Any, key: str) -> Any:
    return lookup(hash_api_key(key))


def _known(keys: Keys) -> list[tuple[bytes, Any]]:
    if isinstance(keys, str):
        raise ValueError("keys is a list of hashes, or a mapping from hash to identity, and not a text")
    pairs = keys.items() if isinstance(keys, Mapping) else [(text, None) for text in keys]
    known = []
    for position, (text, identity) in enumerate(pairs, 1):
        try:
            digest = bytes.fromhex(text)
        except (TypeError, ValueError):
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            # It may be the key itself, which belongs into no message.
            raise ValueError(f"key {position} is no SHA-256 in hexadecimal: hash_api_key(key) makes one")
        known.append((digest, _user_of(f"key-{digest.hex()[:12]}" if identity is None else identity)))
    if not known:
        raise ValueError("there are no keys, and so nobody could be let in")
    return known


def _find(known: list[tuple[bytes, Any]], key: str) -> Any:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    found = None
    for candidate, identity in known:
        # All of them are compared: how long it takes does not tell which one it was.
        if hmac.compare_digest(candidate, digest):
            found = identity
    return found


def _user_of(identity: Any) -> UserContext:
    """A user of its own for each request: what a handler changes must not stay for the next."""
    if isinstance(identity, UserContext):
        return UserContext(identity.id, identity.email, identity.scopes, identity.claims)
    if isinstance(identity, str) and identity:
        return UserContext(identity)
    if isinstance(identity, Mapping) and isinstance(identity.get("id"), str):
        scopes = identity.get("scopes") or ()
        if not isinstance(scopes, str):
            return UserContext(identity["id"], identity.get("email"), scopes, identity)
    raise MiddlewareError(
        f"an identity of the type {type(identity).__name__} is not understood: a UserContext, an id, or a dictionary "
        "with id and a list of scopes is"
    )
