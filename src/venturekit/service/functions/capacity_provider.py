"""A capacity provider: what is configured, checked and shown of it. Pure.

Source: AWS page "Capacity providers". There are no instances behind it: what says which ones, and where, is kept and
shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import function_arn
from venturekit.service.functions import capacity_faults as faults

if TYPE_CHECKING:
    from collections.abc import Mapping

PENDING: Final = "Pending"
ACTIVE: Final = "Active"
DELETING: Final = "Deleting"

KIND: Final = "capacity-provider"
MAX_NAME_LENGTH: Final = 64
DEFAULT_ARCHITECTURE: Final = "x86_64"
DEFAULT_MAX_VCPUS: Final = 400
AUTO: Final = "Auto"
_SHOWN_AS_GIVEN: Final = ("VpcConfig", "PermissionsConfig", "KmsKeyArn", "PropagateTags", "TelemetryConfig")
_UPDATED: Final = ("CapacityProviderScalingConfig", "PropagateTags", "TelemetryConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProvider:
    """One capacity provider. Immutable; a change makes a new object. ``members`` are those that the API shows."""

    arn: str
    state: str = PENDING
    last_modified: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name at the end of the ARN."""
        return self.arn.rpartition(":")[2]

    @property
    def architecture(self) -> str:
        """The architecture that its functions have."""
        architecture: str = self.members["InstanceRequirements"]["Architectures"][0]
        return architecture

    def shown(self) -> dict[str, Any]:
        """The ``CapacityProvider`` members of AWS's shape."""
        return {
            "CapacityProviderArn": self.arn,
            "State": self.state,
            "LastModified": self.last_modified,
            **self.members,
        }

    def to_document(self) -> dict[str, Any]:
        """This provider as a JSON document for the store."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CapacityProvider:
        """The inverse of ``to_document``; members it does not know are left out."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})


def provider_arn(region: str, account_id: str, name: str) -> str:
    """The ARN of a capacity provider, existing or not."""
    return function_arn(region, account_id, "").removesuffix("function:") + f"{KIND}:{name}"


def name_of(text: str, *, region: str, account_id: str) -> str:
    """The name that a name or ARN means. Raises InvalidParameterValue for another account's or region's."""
    if text.startswith("arn:"):
        parts = text.split(":")
        if parts[3:5] != [region, account_id]:
            raise faults.provider_elsewhere(text, region, account_id)
        text = parts[6]
    if len(text) > MAX_NAME_LENGTH:
        raise faults.provider_name_too_long(text, MAX_NAME_LENGTH)
    return text


def created(arn: str, given: Mapping[str, Any], now_text: str) -> CapacityProvider:
    """The provider that the members of CreateCapacityProvider ask for, Pending. Raises InvalidParameterValue."""
    members = {name: given[name] for name in _SHOWN_AS_GIVEN if given.get(name) is not None}
    members["InstanceRequirements"] = _requirements(given.get("InstanceRequirements") or {})
    members["CapacityProviderScalingConfig"] = _scaling({}, given.get("CapacityProviderScalingConfig") or {})
    _check_propagation(given.get("PropagateTags") or {})
    return CapacityProvider(arn=arn, last_modified=now_text, members=members, tags=dict(given.get("Tags") or {}))


def updated(provider: CapacityProvider, given: Mapping[str, Any], now_text: str) -> CapacityProvider:
    """``provider`` with the members of UpdateCapacityProvider taken over; what is absent stays.

    Raises InvalidParameterValue.
    """
    changes = {name: given[name] for name in _UPDATED if given.get(name) is not None}
    if not changes:
        raise faults.nothing_to_update()
    scaling = "CapacityProviderScalingConfig"
    if scaling in changes:
        changes[scaling] = _scaling(provider.members[scaling], changes[scaling])
    _check_propagation(changes.get("PropagateTags") or {})
    return replace(provider, last_modified=now_text, members={**provider.members, **changes})


def _requirements(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("AllowedInstanceTypes") and given.get("ExcludedInstanceTypes"):
        raise faults.two_instance_lists()
    kept = {name: list(value) for name, value in given.items() if value}
    return {"Architectures": [DEFAULT_ARCHITECTURE], **kept}


def _scaling(former: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults are those of AWS's page. Policies are those of a mode: another mode does not inherit them."""
    kept = {"MaxVCpuCount": DEFAULT_MAX_VCPUS, "ScalingMode": AUTO, **former}
    mode = given.get("ScalingMode")
    if mode is not None and mode != kept["ScalingMode"]:
        kept.pop("ScalingPolicies", None)
    return kept | {name: value for name, value in given.items() if value is not None}


def _check_propagation(given: Mapping[str, Any]) -> None:
    mode = given.get("Mode") or "None"
    if given.get("ExplicitTags") and mode != "Explicit":
        raise faults.tags_without_mode(mode)
