"""What authorizers write into events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUBJECT: Final = "test-user"
"""Who asks when a test has named scopes only."""


def jwt_authorizer(claims: Mapping[str, Any] | None, scopes: Sequence[str] | None) -> dict[str, Any] | None:
    """``requestContext.authorizer`` of an HTTP API with a JWT authorizer; None without claims and scopes."""
    made = token_claims(claims, scopes)
    return None if made is None else {"jwt": {"claims": made, "scopes": None if scopes is None else list(scopes)}}


def cognito_authorizer(claims: Mapping[str, Any] | None, scopes: Sequence[str] | None) -> dict[str, Any] | None:
    """``requestContext.authorizer`` of a REST API with a Cognito authorizer; None without claims and scopes."""
    made = token_claims(claims, scopes)
    return None if made is None else {"claims": made}


def token_claims(claims: Mapping[str, Any] | None, scopes: Sequence[str] | None) -> dict[str, str] | None:
    """Claims as API Gateway hands them on: all are texts, lists in brackets, scopes in ``scope``.

    Raises TypeError for scopes that are one text.
    """
    if claims is None and scopes is None:
        return None
    if isinstance(scopes, str):
        raise TypeError(f"scopes is a list, like [{scopes!r}]")
    made = {name: _claim(value) for name, value in (claims or {}).items() if value is not None}
    made.setdefault("sub", SUBJECT)
    if scopes is not None:
        made["scope"] = " ".join(scopes)
    return made


def _claim(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(_claim, value))}]"
    return str(value)
