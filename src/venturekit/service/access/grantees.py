"""The ``Principal`` member of a resource-based policy, and whom it names.

Source: AWS IAM User Guide, "AWS JSON policy elements: Principal".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from venturekit.service.access.faults import StatementError, shown
from venturekit.service.access.patterns import EVERYTHING
from venturekit.service.access.principals import Kind, is_account_id

if TYPE_CHECKING:
    from venturekit.service.access.principals import Principal

TYPES: Final = ("AWS", "Service", "Federated", "CanonicalUser")
_ACCOUNT_ROOT: Final = re.compile(r"arn:[a-z-]*:iam::(\d{12}):root", re.ASCII)
_ROLE: Final = re.compile(r"(arn:[a-z-]*:iam::\d{12}:role/)(?:.*/)?([^/]+)", re.ASCII)


class Naming(Enum):
    """How a policy names a principal.

    ``ACCOUNT``: as one of an account, which leaves it to that account's own policies whom of its users to let.
    """

    NOT = "not"
    ACCOUNT = "account"
    ITSELF = "itself"


@dataclass(frozen=True, slots=True)
class Grantees:
    """Whom a statement is about. Roles are kept without the path in their name, as sessions of them have none."""

    everybody: bool
    accounts: frozenset[str]
    arns: frozenset[str]
    services: frozenset[str]

    def naming(self, principal: Principal) -> Naming:
        """Whether, and how, they include a principal."""
        if self.everybody:
            return Naming.ITSELF
        if principal.kind is Kind.SERVICE:
            return Naming.ITSELF if principal.arn in self.services else Naming.NOT
        if principal.arn in self.arns or principal.role_arn in self.arns:
            return Naming.ITSELF
        if principal.account_id in self.accounts:
            # An account's root user is the account.
            return Naming.ITSELF if principal.kind is Kind.ROOT else Naming.ACCOUNT
        return Naming.NOT


def parse_grantees(document: object, *, place: str) -> Grantees:
    """The ``Principal`` member: ``"*"``, or an object such as ``{"AWS": "111122223333"}`` or ``{"Service": ...}``.

    Federated and canonical users are read, and nobody here is one. Raises StatementError.
    """
    if document == EVERYTHING:
        return Grantees(True, frozenset(), frozenset(), frozenset())
    if not isinstance(document, dict) or not document:
        raise StatementError(
            f'{place}: Principal must be "*" or an object such as {{"AWS": ...}}, not {shown(document)}'
        )
    unknown = [name for name in document if name not in TYPES]
    if unknown:
        raise StatementError(f"{place}: Principal has the unknown type {unknown[0]}; there are {', '.join(TYPES)}")
    named = {name: _names(given, f"{place}: Principal {name}") for name, given in document.items()}
    own = named.get("AWS", ())
    return Grantees(
        everybody=EVERYTHING in own,
        accounts=frozenset(account for name in own if (account := _account(name))),
        arns=frozenset(_without_path(name) for name in own),
        services=frozenset(named.get("Service", ())),
    )


def _names(given: object, place: str) -> tuple[str, ...]:
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise StatementError(f"{place}: must be a text or a list of texts, not {shown(given)}")
    return tuple(names)


def _account(name: str) -> str | None:
    if is_account_id(name):
        return name
    found = _ACCOUNT_ROOT.fullmatch(name)
    return found[1] if found else None


def _without_path(arn: str) -> str:
    return _ROLE.sub(r"\1\2", arn)
