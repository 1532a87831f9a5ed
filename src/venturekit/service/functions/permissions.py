"""Resource-based policies of functions: who may invoke them, per function, version and alias."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import is_alias_name, is_latest, root_arn
from venturekit.service.functions import faults
from venturekit.service.functions.policy_documents import (
    new_statement,
    policy_text,
    statement_text,
    with_statement,
    without_statement,
)
from venturekit.service.functions.settings import POLICIES, qualified_settings, with_qualified_setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.addressing import Address
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function

REVISION_SOURCE: Final = "GetPolicy"
INVOKE_URL_ACTION: Final = "lambda:InvokeFunctionUrl"
_ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)
_ARN: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/.+)", re.ASCII
)
_SERVICE: Final = re.compile(r"[a-zA-Z0-9_.-]+\.(amazonaws\.com(\.cn)?|amazon\.com)", re.ASCII)


class PermissionOperations:
    """AddPermission, RemovePermission, GetPolicy."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("AddPermission")(self.add_permission)
        operations.serve("RemovePermission")(self.remove_permission)
        operations.serve("GetPolicy")(self.get_policy)

    async def add_permission(self, call: Call) -> Mapping[str, Any]:
        """AddPermission: one statement more on the function, or on one version or alias."""
        return await self._plane.tasks.complete(self._add(call.members))

    async def _add(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = self._address(members)
        if address.qualifier is not None and is_latest(address.qualifier):
            raise faults.policy_for_latest()
        arn = plane.registry.arn(address.name, address.qualifier)
        statement = function_statement(arn, members, region=plane.registry.region)
        async with plane.lock(address.name):
            function = plane.registry.function(address.name)
            self._require_target(function, address)
            _check_revision(function, address, members)
            policy = with_statement(_policy(function, address), statement)
            await self._commit(function, address, policy)
        return {"Statement": statement_text(statement)}

    async def remove_permission(self, call: Call) -> Mapping[str, Any]:
        """RemovePermission: with its last statement the policy is gone."""
        return await self._plane.tasks.complete(self._remove(call.members))

    async def _remove(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = self._address(members)
        async with plane.lock(address.name):
            if address.name not in plane.registry:
                raise faults.no_policy_of_function(plane.registry.arn(address.name))
            function = plane.registry.function(address.name)
            self._require_target(function, address)
            policy = _policy(function, address)
            if not policy:
                raise faults.no_policy_to_change()
            remaining = without_statement(policy, members["StatementId"])
            _check_revision(function, address, members)
            await self._commit(function, address, remaining)
        return {}

    async def get_policy(self, call: Call) -> Mapping[str, Any]:
        """GetPolicy: a version or alias that does not exist has none, like any other without statements."""
        address = self._address(call.members)
        function = self._plane.registry.function(address.name)
        policy = _policy(function, address)
        if not policy:
            raise faults.no_such_resource()
        return {"Policy": policy_text(policy), "RevisionId": _revision_id(function, address)}

    def _address(self, members: Mapping[str, Any]) -> Address:
        return self._plane.registry.address(members["FunctionName"], members.get("Qualifier"))

    def _require_target(self, function: Function, address: Address) -> None:
        qualifier = address.qualifier
        if qualifier is None or qualifier in function.versions or qualifier in function.aliases:
            return
        arn = self._plane.registry.arn(address.name, qualifier)
        raise faults.alias_not_found(arn) if is_alias_name(qualifier) else faults.function_not_found(arn)

    async def _commit(self, function: Function, address: Address, policy: Sequence[Mapping[str, Any]]) -> None:
        plane = self._plane
        changed = with_qualified_setting(function, POLICIES, address.qualifier or "", list(policy) or None)
        alias = function.aliases.get(address.qualifier or "")
        if alias is not None:
            changed = changed.with_alias(replace(alias, revision_id=plane.new_id()))
        else:
            version = function.latest if address.qualifier is None else function.versions[address.qualifier]
            changed = changed.with_versions(plane.revised(version))
        await plane.commit(function, changed)


def function_statement(arn: str, members: Mapping[str, Any], *, region: str) -> dict[str, Any]:
    """The statement of AddPermission on the function, version or alias ``arn``, as AWS shows it (recorded).

    Raises InvalidParameterValue.
    """
    if members.get("FunctionUrlAuthType") and members["Action"] != INVOKE_URL_ACTION:
        raise faults.auth_type_for_another_action()
    equal = {
        "AWS:SourceAccount": members.get("SourceAccount"),
        "lambda:EventSourceToken": members.get("EventSourceToken"),
        "aws:PrincipalOrgID": members.get("PrincipalOrgID"),
        "lambda:FunctionUrlAuthType": members.get("FunctionUrlAuthType"),
    }
    via_url = members.get("InvokedViaFunctionUrl")
    source_arn = members.get("SourceArn")
    condition: dict[str, dict[str, str]] = {
        "StringEquals": {key: value for key, value in equal.items() if value},
        "ArnLike": {"AWS:SourceArn": source_arn} if source_arn else {},
        "Bool": {} if via_url is None else {"lambda:InvokedViaFunctionUrl": "true" if via_url else "false"},
    }
    principal = policy_principal(members["Principal"], region=region)
    return new_statement(members["StatementId"], principal, members["Action"], arn, condition)


def policy_principal(text: str, *, region: str) -> str | dict[str, str]:
    """The ``Principal`` of a statement: everybody (``*``), an account (its 12 digits or an ARN), or a service.

    Raises InvalidParameterValue for anything else. AWS also refuses users and roles that do not exist; nobody knows
    them here.
    """
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return {"AWS": root_arn(region, text)}
    if _ARN.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise faults.invalid_principal()


def _policy(function: Function, address: Address) -> Sequence[Mapping[str, Any]]:
    statements: Sequence[Mapping[str, Any]] = qualified_settings(function, POLICIES).get(address.qualifier or "", ())
    return statements


def _revision_id(function: Function, address: Address) -> str:
    alias = function.aliases.get(address.qualifier or "")
    if alias is not None:
        return alias.revision_id
    return (function.latest if address.qualifier is None else function.versions[address.qualifier]).revision_id


def _check_revision(function: Function, address: Address, members: Mapping[str, Any]) -> None:
    if members.get("RevisionId") not in (None, _revision_id(function, address)):
        raise faults.policy_revision_mismatch(REVISION_SOURCE)
