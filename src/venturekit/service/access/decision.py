"""The decision about a request, and the words in which it is refused.

Source: AWS IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic" and "Troubleshoot access
denied error messages".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from venturekit.service.access.grantees import Naming
from venturekit.service.access.principals import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.service.access.principals import Principal
    from venturekit.service.access.statements import Statement

NO_CONTEXT: Final[Mapping[str, str]] = MappingProxyType({})


class Decision(Enum):
    """Whether a request may be served; if not, what stands against it."""

    ALLOWED = "allowed"
    DENIED_BY_IDENTITY = "with an explicit deny in an identity-based policy"
    DENIED_BY_RESOURCE = "with an explicit deny in a resource-based policy"
    NOT_ALLOWED_BY_IDENTITY = "because no identity-based policy allows the {action} action"
    NOT_ALLOWED_BY_RESOURCE = "because no resource-based policy allows the {action} action"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to do: an IAM action on the ARN of a resource, or on ``*``, in an account.

    ``context`` are values for conditions.
    """

    principal: Principal
    action: str
    resource: str
    resource_account: str
    context: Mapping[str, str] = field(default_factory=lambda: NO_CONTEXT)


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal. ``message`` is the text of the AccessDeniedException; AWS says nothing to another account: None."""

    decision: Decision
    message: str | None


def authorize(
    principal: Principal,
    action: str,
    resource: str,
    resource_account: str,
    resource_statements: Sequence[Statement] = (),
    context: Mapping[str, str] = NO_CONTEXT,
) -> Denial | None:
    """None if the principal may do this, else the refusal.

    ``action`` and ``resource`` are those of :func:`~venturekit.service.access.actions.action_and_resource`,
    ``resource_account`` is the account that the resource is in, ``resource_statements`` its resource-based policy.
    """
    request = Request(principal, action, resource, resource_account, context)
    decision = decide(principal.statements, resource_statements, request)
    return None if decision is Decision.ALLOWED else Denial(decision, message_of(decision, request))


def decide(
    identity_statements: Sequence[Statement] | None, resource_statements: Sequence[Statement], request: Request
) -> Decision:
    """AWS's logic: an explicit deny wins; in its own account a principal needs one of the two policies to allow the
    request, in another account both; all else is denied.

    ``identity_statements`` None allows everything. A resource-based policy that names a principal's whole account
    leaves the matter to that account: in the same one it lets in nobody by itself.
    """
    principal = request.principal
    action = request.action.lower()
    context = _full_context(request, identity_statements or (), resource_statements)
    allows = identity_statements is None
    for statement in identity_statements or ():
        if statement.covers(action, request.resource, context):
            if statement.denies:
                return Decision.DENIED_BY_IDENTITY
            allows = True
    named = set()
    for statement in resource_statements:
        naming = statement.naming(principal)
        if naming is not Naming.NOT and statement.covers(action, request.resource, context):
            if statement.denies:
                return Decision.DENIED_BY_RESOURCE
            named.add(naming)
    if principal.kind in (Kind.SERVICE, Kind.ANONYMOUS):
        return Decision.ALLOWED if named else Decision.NOT_ALLOWED_BY_RESOURCE
    if principal.account_id == request.resource_account:
        return Decision.ALLOWED if allows or Naming.ITSELF in named else Decision.NOT_ALLOWED_BY_IDENTITY
    if not allows:
        return Decision.NOT_ALLOWED_BY_IDENTITY
    return Decision.ALLOWED if named else Decision.NOT_ALLOWED_BY_RESOURCE


def message_of(decision: Decision, request: Request) -> str | None:
    """The text of a refusal.

    Recorded: a function of another account whose policy does not name the caller is refused without a text; a layer
    with one.
    """
    if decision is Decision.NOT_ALLOWED_BY_RESOURCE and ":function:" in request.resource:
        return None
    why = decision.value.format(action=request.action)
    return (
        f"User: {request.principal.arn} is not authorized to perform: {request.action} on resource: {request.resource} "
        f"{why}"
    )


def _full_context(
    request: Request, identity_statements: Sequence[Statement], resource_statements: Sequence[Statement]
) -> Mapping[str, str]:
    """The request's context in lower case, with what is known of the principal; empty when no statement asks for it."""
    if not any(statement.conditions for statement in (*identity_statements, *resource_statements)):
        return NO_CONTEXT
    principal = request.principal
    context = {key.lower(): value for key, value in request.context.items()}
    for key in ("aws:principalaccount", "aws:principalarn", "aws:username"):
        # Nobody but the verified principal says who it is.
        context.pop(key, None)
    if principal.account_id:
        # Of a session it is the role's ARN that is compared.
        context["aws:principalarn"] = principal.role_arn or principal.arn
        context["aws:principalaccount"] = principal.account_id
    if principal.kind is Kind.USER:
        context["aws:username"] = principal.arn.rpartition("/")[2]
    return context
