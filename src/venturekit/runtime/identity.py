"""From the claims of a token to a user. Source: seed 001, ``extractUserContext``; OpenID Connect Core for the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.runtime.context import UserContext
from venturekit.runtime.request_event import read_event

if TYPE_CHECKING:
    from collections.abc import Mapping


def extract_user_context(event: dict[str, Any]) -> UserContext | None:
    """The user in the claims that an authorizer of API Gateway has verified, or None.

    Looks at ``requestContext.authorizer``: ``jwt.claims``, ``lambda`` and ``iam`` of payload format 2.0, ``claims`` of
    1.0. Raises InvalidEventError for what is no event of an HTTP request::

        user = extract_user_context(event)
        print(user.id if user else "nobody")
    """
    claims = read_event(event).claims
    return None if claims is None else user_of_claims(claims)


def user_of_claims(claims: Mapping[str, Any]) -> UserContext | None:
    """The user of some claims, None without a ``sub``. Odd claims, like a number for a scope, grant nothing."""
    subject = claims.get("sub")
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject)
    if not isinstance(subject, str) or not subject:
        return None
    email = claims.get("email")
    return UserContext(subject, email if isinstance(email, str) else None, scopes_of_claims(claims), claims)


def scopes_of_claims(claims: Mapping[str, Any]) -> list[str]:
    """Granted scopes: ``scope`` (OAuth: a text with blanks), else ``scopes`` or ``scp`` (a list, or such a text).

    API Gateway writes a list that a token holds as text in brackets, ``[a b]``.
    """
    for name in ("scope", "scopes", "scp"):
        given = claims.get(name)
        if isinstance(given, str):
            if given.startswith("[") and given.endswith("]"):
                return given[1:-1].replace(",", " ").split()
            # A comma may be part of OAuth's scopes, and separates those that an authorizer of one's own has listed.
            return (given.replace(",", " ") if name == "scopes" else given).split()
        if isinstance(given, list | tuple):
            return [scope for scope in given if isinstance(scope, str)]
    return []
