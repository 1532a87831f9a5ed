"""From the members of a request to the configuration of a version, with the rules beyond the service model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from venturekit.service.functions import faults
from venturekit.service.functions.destinations import takes_dead_letters
from venturekit.service.functions.environment_variables import check_variables
from venturekit.service.functions.managed_instances import checked
from venturekit.service.functions.records import SNAP_START_NONE, TENANCY_CONFIG, FunctionVersion, LayerReference
from venturekit.service.functions.runtimes import check_runtime, supports_snap_start

MAX_TIMEOUT_SECONDS: Final = 900
MAX_MEMORY_SIZE_MB: Final = 10_240
MIN_EPHEMERAL_STORAGE_MB: Final = 512
MAX_EPHEMERAL_STORAGE_MB: Final = 10_240
MAX_LAYERS: Final = 5

FindLayer = Callable[[str], LayerReference]

# Members whose effect nothing here would bring about. Ignoring one would look like success, so each is refused.
_UNSERVED: Final = {
    "CodeSigningConfigArn": "signatures of code are not checked; leave it out",
    "DurableConfig": "durable executions are not available; leave it out",
    "FileSystemConfigs": "no file system is mounted; leave it out and use the ephemeral storage",
    "ImageConfig": "container images are not run; send a zip archive as Code.ZipFile",
    "RuntimeConfig": "bring a runtime of yours in the archive as bootstrap, with Runtime provided.al2023; leave it out",
    "AcceleratorConfig": "functions run on the processors of this machine; leave it out",
}


def refuse_unserved(members: Mapping[str, Any]) -> None:
    """Raise InvalidParameterValue for a member this service does not act on.

    Empty values ask for nothing and pass: deployment tools send many of them.
    """
    for member, advice in _UNSERVED.items():
        if _says_something(members.get(member)):
            raise faults.not_served(member, advice)
    if (members.get("PackageType") or "Zip") != "Zip":
        raise faults.not_served("PackageType Image", "send a zip archive as Code.ZipFile and PackageType Zip")


def configured(version: FunctionVersion, members: Mapping[str, Any], find_layer: FindLayer) -> FunctionVersion:
    """``version`` with the configuration members of CreateFunction or UpdateFunctionConfiguration taken over.

    Members that are absent stay as they are, empty ones take the former value away. Raises InvalidParameterValue and
    ValidationException.
    """
    refuse_unserved(members)
    changes: dict[str, Any] = {}
    for member, attribute in _PLAIN.items():
        if members.get(member) is not None:
            changes[attribute] = members[member]
    if members.get("EphemeralStorage") is not None:
        changes["ephemeral_storage_mb"] = members["EphemeralStorage"]["Size"]
    if "runtime" in changes:
        check_runtime(changes["runtime"])
    _check_numbers(changes, managed=version.is_managed)
    if members.get("Environment") is not None:
        changes["environment"] = dict(members["Environment"].get("Variables") or {})
        changes["shows_environment"] = True
        check_variables(changes["environment"])
    if members.get("TracingConfig") is not None:
        changes["tracing_mode"] = members["TracingConfig"].get("Mode") or "PassThrough"
    if members.get("SnapStart") is not None:
        changes["snap_start_apply_on"] = members["SnapStart"].get("ApplyOn") or SNAP_START_NONE
    if members.get("Layers") is not None:
        changes["layers"] = _layers(members["Layers"], find_layer)
    if members.get("LoggingConfig") is not None:
        changes |= _logging(version, members["LoggingConfig"])
    changes["extras"] = _extras(version, members)
    changed = replace(version, **changes)
    if not changed.is_managed:
        _check_snap_start(changed)
    return checked(changed)


def _says_something(value: Any) -> bool:
    """Whether a value has content: a text, a number or a true switch, however deep."""
    if isinstance(value, Mapping):
        return any(_says_something(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_says_something(inner) for inner in value)
    return bool(value)


def require_runtime_and_handler(members: Mapping[str, Any]) -> None:
    """Raise InvalidParameterValue unless both are there, as a function made of a zip archive needs them."""
    if not members.get("Runtime") or not members.get("Handler"):
        raise faults.invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )


_PLAIN: Final = {
    "Runtime": "runtime",
    "Handler": "handler",
    "Role": "role",
    "Description": "description",
    "Timeout": "timeout_seconds",
    "MemorySize": "memory_size_mb",
}


def _check_numbers(changes: Mapping[str, Any], *, managed: bool) -> None:
    """The model's ranges reach further, for managed functions and for kinds that are not offered here."""
    timeout = changes.get("timeout_seconds", 0)
    if timeout > MAX_TIMEOUT_SECONDS and not managed:
        constraint = f"have value less than or equal to {MAX_TIMEOUT_SECONDS}"
        raise faults.failed_validation(timeout, "timeout", constraint)
    if changes.get("memory_size_mb", 0) > MAX_MEMORY_SIZE_MB and not managed:
        raise faults.invalid_parameter(
            "'MemorySize' value failed to satisfy constraint: "
            f"Member must have value less than or equal to {MAX_MEMORY_SIZE_MB}"
        )
    storage = changes.get("ephemeral_storage_mb", 0)
    if storage > MAX_EPHEMERAL_STORAGE_MB:
        constraint = f"have value less than or equal to {MAX_EPHEMERAL_STORAGE_MB}"
        raise faults.failed_validation(storage, "ephemeralStorage.size", constraint)


def _check_snap_start(version: FunctionVersion) -> None:
    """Source: Developer Guide, "Improving startup performance with Lambda SnapStart"."""
    if version.snap_start_apply_on == SNAP_START_NONE:
        return
    if not supports_snap_start(version.runtime):
        raise faults.no_snap_start(version.runtime)
    if version.isolates_tenants:
        raise faults.no_snap_start("TenancyConfig")
    if version.ephemeral_storage_mb > MIN_EPHEMERAL_STORAGE_MB:
        raise faults.no_snap_start(f"EphemeralStorage over {MIN_EPHEMERAL_STORAGE_MB} MB")


def _layers(arns: list[str], find_layer: FindLayer) -> tuple[LayerReference, ...]:
    if len(arns) > MAX_LAYERS:
        raise faults.invalid_parameter(f"Cannot reference more than {MAX_LAYERS} layers.")
    found: dict[str, LayerReference] = {}
    for arn in arns:
        layer = find_layer(arn)
        layer_arn = arn.rpartition(":")[0]
        if layer_arn in found:
            raise faults.two_versions_of_a_layer(found[layer_arn].arn, arn)
        found[layer_arn] = layer
    return tuple(found.values())


def _logging(version: FunctionVersion, members: Mapping[str, Any]) -> dict[str, Any]:
    log_format = members.get("LogFormat") or version.log_format
    levels = (members.get("ApplicationLogLevel"), members.get("SystemLogLevel"))
    if log_format != "JSON" and any(levels):
        raise faults.log_levels_in_text()
    if (members.get("LogGroup") or "").startswith("aws/"):
        raise faults.reserved_log_group(members["LogGroup"])
    application, system = levels
    return {
        "log_format": log_format,
        "log_group": members.get("LogGroup") or version.log_group,
        "application_log_level": (application or version.application_log_level or "INFO")
        if log_format == "JSON"
        else None,
        "system_log_level": (system or version.system_log_level or "INFO") if log_format == "JSON" else None,
    }


def _extras(version: FunctionVersion, members: Mapping[str, Any]) -> dict[str, Any]:
    """Members kept and echoed; an empty value takes the former one away."""
    extras = dict(version.extras)
    if members.get("VpcConfig") is not None:
        extras["VpcConfig"] = _vpc_config(members["VpcConfig"])
    if members.get("DeadLetterConfig") is not None:
        target = members["DeadLetterConfig"].get("TargetArn")
        if target and not takes_dead_letters(target):
            raise faults.no_dead_letter_target(target)
        extras["DeadLetterConfig"] = {"TargetArn": target} if target else None
    if members.get("KMSKeyArn") is not None:
        extras["KMSKeyArn"] = members["KMSKeyArn"] or None
    if members.get(TENANCY_CONFIG) is not None:
        extras[TENANCY_CONFIG] = dict(members[TENANCY_CONFIG])
    return {name: value for name, value in extras.items() if value is not None}


def _vpc_config(members: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown, as recorded: all four members, also of one that was emptied. No network is looked up here."""
    subnets, groups = members.get("SubnetIds") or [], members.get("SecurityGroupIds") or []
    if bool(subnets) != bool(groups):
        raise faults.subnets_without_groups()
    return {
        "SubnetIds": list(subnets),
        "SecurityGroupIds": list(groups),
        "VpcId": "",
        "Ipv6AllowedForDualStack": bool(subnets and members.get("Ipv6AllowedForDualStack")),
    }
