"""Policy statements: read and checked once, then asked about every request.

Source: AWS IAM User Guide, "IAM JSON policy element reference".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.access.conditions import Condition, parse_conditions
from venturekit.service.access.faults import StatementError, shown
from venturekit.service.access.grantees import Grantees, Naming, parse_grantees
from venturekit.service.access.patterns import EVERYTHING, PatternSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.access.principals import Principal

VERSIONS: Final = ("2012-10-17", "2008-10-17")
_ACTION: Final = re.compile(r"[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+", re.ASCII)
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}?")
_DOCUMENT_MEMBERS: Final = ("Version", "Id", "Statement")
_MEMBERS: Final = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled. ``grantees`` is None in an identity-based policy, which is about its owner."""

    sid: str
    denies: bool
    actions: PatternSet
    all_but_actions: bool
    resources: PatternSet
    all_but_resources: bool
    conditions: tuple[Condition, ...]
    grantees: Grantees | None

    def covers(self, lower_action: str, resource: str, context: Mapping[str, str]) -> bool:
        """Whether it is about this request; whom it is about is not looked at.

        ``lower_action`` and the keys of ``context`` are in lower case: AWS compares both without regard to it.
        """
        return (
            self.actions.matches(lower_action) is not self.all_but_actions
            and self.resources.matches(resource) is not self.all_but_resources
            and all(condition.holds(context) for condition in self.conditions)
        )

    def naming(self, principal: Principal) -> Naming:
        """Whether, and how, it is about this principal."""
        return Naming.ITSELF if self.grantees is None else self.grantees.naming(principal)


def parse_statements(
    document: list[Any] | dict[str, Any], *, place: str, principal_allowed: bool
) -> tuple[Statement, ...]:
    """The statements of a policy document, a list of statements, or a single statement.

    ``principal_allowed`` is for resource-based policies: their statements must have a Principal, and a condition that
    is not served is never met. In the other, identity-based ones both are refused, as are policy variables.

    Raises StatementError, whose text begins with ``place`` and the statement's number.
    """
    statements: Any = document
    if isinstance(document, dict):
        statements = [document]
        if "Statement" in document:
            _check_document(document, place)
            statements = document["Statement"]
            statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list):
        raise StatementError(f"{place}: the statements must be a list, not {shown(statements)}")
    return tuple(
        _parse_statement(statement, f"{place}: statement {number}", principal_allowed)
        for number, statement in enumerate(statements, 1)
    )


def _check_document(document: dict[str, Any], place: str) -> None:
    for name in document:
        if name not in _DOCUMENT_MEMBERS:
            raise StatementError(f"{place}: unknown member {name}; a policy has {', '.join(_DOCUMENT_MEMBERS)}")
    if document.get("Version", VERSIONS[0]) not in VERSIONS:
        raise StatementError(f"{place}: Version must be {VERSIONS[0]}, not {shown(document['Version'])}")


def _parse_statement(statement: object, place: str, principal_allowed: bool) -> Statement:
    if not isinstance(statement, dict):
        raise StatementError(f"{place}: must be an object, not {shown(statement)}")
    members = (*_MEMBERS, "Principal") if principal_allowed else _MEMBERS
    for name in statement:
        if name not in members:
            raise StatementError(f"{place}: unknown member {name}; a statement here has {', '.join(members)}")
    sid = statement.get("Sid", "")
    if not isinstance(sid, str):
        raise StatementError(f"{place}: Sid must be a text, not {shown(sid)}")
    effect = statement.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise StatementError(f"{place}: Effect must be Allow or Deny, not {shown(effect)}")
    if principal_allowed and "Principal" not in statement:
        raise StatementError(f"{place}: has no Principal, which says whom it is about")
    actions, all_but_actions = _one_of(statement, "Action", place)
    resources, all_but_resources = _one_of(statement, "Resource", place)
    _check_actions(actions, place)
    _check_resources(resources, place, variables_allowed=principal_allowed)
    conditions = statement.get("Condition", {})
    return Statement(
        sid=sid,
        denies=effect == "Deny",
        actions=PatternSet(action.lower() for action in actions),
        all_but_actions=all_but_actions,
        resources=PatternSet(resources),
        all_but_resources=all_but_resources,
        conditions=parse_conditions(conditions, place=place, strict=not principal_allowed),
        grantees=parse_grantees(statement["Principal"], place=place) if principal_allowed else None,
    )


def _one_of(statement: dict[str, Any], name: str, place: str) -> tuple[list[str], bool]:
    """The patterns of a member, and whether it is its counterpart ``Not...`` that is given."""
    negated = f"Not{name}"
    if (name in statement) is (negated in statement):
        raise StatementError(f"{place}: must have either {name} or {negated}")
    given = statement.get(name, statement.get(negated))
    patterns: list[Any] = given if isinstance(given, list) else [given]
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise StatementError(f"{place}: {name} must be a text or a list of texts, not {shown(given)}")
    return patterns, negated in statement


def _check_actions(actions: list[str], place: str) -> None:
    for action in actions:
        if action != EVERYTHING and _ACTION.fullmatch(action) is None:
            raise StatementError(f"{place}: {shown(action)} is not an action such as lambda:InvokeFunction, or *")


def _check_resources(resources: list[str], place: str, *, variables_allowed: bool) -> None:
    for resource in resources:
        if resource != EVERYTHING and not resource.startswith("arn:"):
            raise StatementError(
                f"{place}: {shown(resource)} is neither * nor an ARN such as arn:aws:lambda:*:*:function:f"
            )
        variable = _VARIABLE.search(resource)
        if variable is not None and not variables_allowed:
            raise StatementError(f"{place}: policy variables are not served: {shown(variable[0])}")
