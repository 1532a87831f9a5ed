"""Resource-based policies as documents: statements added, removed, written out. Pure.

Statements are dicts in the form in which AWS shows them and are never changed in place.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Statement = Mapping[str, Any]

MAX_POLICY_BYTES: Final = 20_480
"""Developer Guide, "Lambda quotas": resource-based policies of 20 KB."""


def statement_text(statement: Statement) -> str:
    """A statement as the API answers it: JSON in a string."""
    return _compact(statement)


def policy_text(statements: Sequence[Statement]) -> str:
    """A whole policy as the API answers it: JSON in a string (members and their order as recorded)."""
    return _compact({"Version": "2012-10-17", "Id": "default", "Statement": list(statements)})


def with_statement(statements: Sequence[Statement], added: Statement) -> list[Statement]:
    """The statements with one more. Raises ResourceConflict for a Sid that is taken, PolicyLengthExceeded."""
    if any(statement["Sid"] == added["Sid"] for statement in statements):
        raise faults.statement_exists(added["Sid"])
    extended = [*statements, added]
    size_bytes = len(policy_text(extended).encode())
    if size_bytes > MAX_POLICY_BYTES:
        raise faults.policy_too_long(size_bytes, MAX_POLICY_BYTES)
    return extended


def without_statement(statements: Sequence[Statement], sid: str) -> list[Statement]:
    """The statements without one of them. Raises ResourceNotFound."""
    kept = [statement for statement in statements if statement["Sid"] != sid]
    if len(kept) == len(statements):
        raise faults.statement_not_found(sid)
    return kept


def new_statement(
    sid: str, principal: str | Mapping[str, str], action: str, resource: str, condition: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """A statement that allows something. ``condition`` maps operators to keys and values; empty operators vanish."""
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": action,
        "Resource": resource,
    }
    operators = {operator: dict(keys) for operator, keys in condition.items() if keys}
    if operators:
        statement["Condition"] = operators
    return statement


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
