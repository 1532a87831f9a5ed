"""Who a request comes from, as policies know them: the root or a user of an account, a function, an AWS service."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from venturekit.service.access.statements import Statement

_ACCOUNT_ID: Final = re.compile(r"\d{12}", re.ASCII)
_ROLE_ARN: Final = re.compile(r"arn:([a-z-]*):iam::(\d{12}):role/(?:.*/)?([^/]+)", re.ASCII)


class Kind(Enum):
    """What a principal is."""

    ROOT = "root"
    USER = "user"
    FUNCTION = "function"
    SERVICE = "service"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever sends a request.

    ``account_id`` is empty for AWS services and anonymous callers, who belong to no account. ``statements`` are those
    of the principal's identity-based policies; None allows everything in its own account. ``role_arn`` is the
    execution role of a function, under which resource-based policies may name it.
    """

    account_id: str
    arn: str
    statements: tuple[Statement, ...] | None = field(repr=False)
    kind: Kind = Kind.ROOT
    role_arn: str | None = None


def is_account_id(text: str) -> bool:
    """Whether a text is an account id: 12 digits."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def root(account_id: str) -> Principal:
    """The root user of an account: it may do everything there, and elsewhere what resource-based policies allow."""
    return Principal(account_id, f"arn:aws:iam::{account_id}:root", None)


def user(account_id: str, name: str, statements: tuple[Statement, ...]) -> Principal:
    """A user with the statements of its policies."""
    return Principal(account_id, f"arn:aws:iam::{account_id}:user/{name}", statements, Kind.USER)


def function(account_id: str, role_arn: str, function_name: str, statements: tuple[Statement, ...] | None) -> Principal:
    """A function: the session, named after the function, of its execution role.

    It acts in ``account_id``, the account it belongs to, even if the ARN of its role names another one: a role is any
    text here, and lets nobody into an account. Source: AWS STS API reference, "AssumeRole".
    """
    found = _ROLE_ARN.fullmatch(role_arn)
    partition, role = (found[1], found[3]) if found else ("aws", "unknown")
    arn = f"arn:{partition}:sts::{account_id}:assumed-role/{role}/{function_name}"
    return Principal(account_id, arn, statements, Kind.FUNCTION, f"arn:{partition}:iam::{account_id}:role/{role}")


def service(name: str) -> Principal:
    """An AWS service, such as ``s3.amazonaws.com``: it may do what resource-based policies allow."""
    return Principal("", name, (), Kind.SERVICE)


def anonymous() -> Principal:
    """Somebody who did not sign: what resource-based policies allow everybody."""
    return Principal("", "anonymous", (), Kind.ANONYMOUS)
