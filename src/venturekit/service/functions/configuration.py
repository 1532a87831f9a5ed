"""From the members of a request to the configuration of a version, with the rules beyond the service model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from venturekit.service.functions import faults
from venturekit.service.functions.environment_variables import check_variables
from venturekit.service.functions.records import FunctionVersion, LayerReference
from venturekit.service.functions.runtimes import check_runtime

MAX_TIMEOUT_SECONDS: Final = 900
MAX_MEMORY_SIZE_MB: Final = 10_240
MAX_LAYERS: Final = 5

LayerSize = Callable[[str], int | None]

# Members whose effect nothing here would bring about. Ignoring one would look like success, so each is refused.
_UNSERVED: Final = {
    "CapacityProviderConfig": "functions run in local processes; leave it out",
    "CodeSigningConfigArn": "leave it out",
    "DurableConfig": "durable executions are not available; leave it out",
    "FileSystemConfigs": "no file system is mounted; leave it out and use the ephemeral storage",
    "ImageConfig": "container images are not run; send a zip archive as Code.ZipFile",
    "PublishTo": "use Publish",
    "RuntimeConfig": "leave it out",
    "AcceleratorConfig": "leave it out",
    "TenancyConfig": "tenant isolation is not available; leave it out",
}


def refuse_unserved(members: Mapping[str, Any]) -> None:
    """Raise InvalidParameterValue for a member this service does not act on. Empty values ask for nothing and pass."""
    for member, advice in _UNSERVED.items():
        if members.get(member):
            raise faults.not_served(member, advice)
    if members.get("PackageType", "Zip") != "Zip":
        raise faults.not_served("PackageType Image", "send a zip archive as Code.ZipFile and PackageType Zip")


def configured(version: FunctionVersion, members: Mapping[str, Any], layer_size: LayerSize) -> FunctionVersion:
    """``version`` with the configuration members of CreateFunction or UpdateFunctionConfiguration taken over.

    Members that are absent stay as they are. Raises InvalidParameterValue and ValidationException.
    """
    refuse_unserved(members)
    changes: dict[str, Any] = {}
    for member, attribute in _PLAIN.items():
        if members.get(member) is not None:
            changes[attribute] = members[member]
    if "runtime" in changes:
        check_runtime(changes["runtime"])
    _check_numbers(changes)
    if members.get("Environment") is not None:
        changes["environment"] = dict(members["Environment"].get("Variables") or {})
        check_variables(changes["environment"])
    if members.get("EphemeralStorage") is not None:
        changes["ephemeral_storage_mb"] = members["EphemeralStorage"]["Size"]
    if members.get("TracingConfig") is not None:
        changes["tracing_mode"] = members["TracingConfig"].get("Mode") or "PassThrough"
    if members.get("SnapStart") is not None:
        changes["snap_start_apply_on"] = members["SnapStart"].get("ApplyOn") or "None"
    if members.get("Layers") is not None:
        changes["layers"] = _layers(members["Layers"], layer_size)
    if members.get("LoggingConfig") is not None:
        changes |= _logging(version, members["LoggingConfig"])
    changes["extras"] = _extras(version, members)
    return replace(version, **changes)


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


def _check_numbers(changes: Mapping[str, Any]) -> None:
    """The model's ranges reach further, for kinds of functions that are not offered here."""
    timeout = changes.get("timeout_seconds", 0)
    if timeout > MAX_TIMEOUT_SECONDS:
        constraint = f"have value less than or equal to {MAX_TIMEOUT_SECONDS}"
        raise faults.failed_validation(timeout, "timeout", constraint)
    if changes.get("memory_size_mb", 0) > MAX_MEMORY_SIZE_MB:
        raise faults.invalid_parameter(
            "'MemorySize' value failed to satisfy constraint: "
            f"Member must have value less than or equal to {MAX_MEMORY_SIZE_MB}"
        )


def _layers(arns: list[str], layer_size: LayerSize) -> tuple[LayerReference, ...]:
    if len(arns) > MAX_LAYERS:
        raise faults.invalid_parameter(f"Cannot reference more than {MAX_LAYERS} layers.")
    names = [arn.rsplit(":", 1)[0] for arn in arns]
    for arn, name in zip(arns, names, strict=True):
        if names.count(name) > 1:
            versions = ", ".join(arn for arn, other in zip(arns, names, strict=True) if other == name)
            raise faults.invalid_parameter(f"Two different versions of the same layer are not allowed: {versions}")
        if layer_size(arn) is None:
            raise faults.invalid_parameter(f"Layer version {arn} does not exist.")
    return tuple(LayerReference(arn, layer_size(arn) or 0) for arn in arns)


def _logging(version: FunctionVersion, members: Mapping[str, Any]) -> dict[str, Any]:
    log_format = members.get("LogFormat") or version.log_format
    levels = (members.get("ApplicationLogLevel"), members.get("SystemLogLevel"))
    if log_format != "JSON" and any(levels):
        raise faults.invalid_parameter(
            "ApplicationLogLevel and SystemLogLevel take effect in the log format JSON only: set LogFormat to JSON"
        )
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
    """Members kept and echoed as given; an empty value takes the former one away."""
    extras = dict(version.extras)
    if members.get("VpcConfig") is not None:
        vpc = {name: value for name, value in members["VpcConfig"].items() if value not in (None, [])}
        extras["VpcConfig"] = vpc if {"SubnetIds", "SecurityGroupIds"} & vpc.keys() else None
    if members.get("DeadLetterConfig") is not None:
        target = members["DeadLetterConfig"].get("TargetArn")
        extras["DeadLetterConfig"] = {"TargetArn": target} if target else None
    if members.get("KMSKeyArn") is not None:
        extras["KMSKeyArn"] = members["KMSKeyArn"] or None
    return {name: value for name, value in extras.items() if value is not None}
