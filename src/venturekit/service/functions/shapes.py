"""The shape in which AWS shows a function's configuration."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from venturekit.service.functions.records import FunctionVersion


def function_configuration(version: FunctionVersion, *, qualifier: str | None, listed: bool) -> dict[str, Any]:
    """``FunctionConfiguration`` members of a version; source: the recorded defaults of GetFunctionConfiguration.

    ListFunctions (``listed``) leaves out the states and ``RuntimeVersionConfig``.
    """
    members: dict[str, Any] = {
        "FunctionName": version.name,
        "FunctionArn": version.function_arn if qualifier is None else f"{version.function_arn}:{qualifier}",
        "Runtime": version.runtime or None,
        "Role": version.role,
        "Handler": version.handler or None,
        "CodeSize": version.code_size_bytes,
        "Description": version.description,
        "Timeout": version.timeout_seconds,
        "MemorySize": version.memory_size_mb,
        "LastModified": version.last_modified,
        "CodeSha256": version.code_sha256,
        "Version": version.version,
        "Environment": {"Variables": dict(version.environment)}
        if version.environment or version.shows_environment
        else None,
        "TracingConfig": {"Mode": version.tracing_mode},
        "RevisionId": version.revision_id,
        "Layers": [{"Arn": layer.arn, "CodeSize": layer.code_size_bytes} for layer in version.layers] or None,
        "PackageType": version.package_type,
        "Architectures": list(version.architectures),
        "EphemeralStorage": {"Size": version.ephemeral_storage_mb},
        "SnapStart": _snap_start(version),
        "LoggingConfig": _logging_configuration(version),
        **version.extras,
    }
    if not listed:
        members |= _states(version)
        if version.runtime:
            members["RuntimeVersionConfig"] = {"RuntimeVersionArn": runtime_version_arn(version)}
    return {name: value for name, value in members.items() if value is not None}


def runtime_version_arn(version: FunctionVersion) -> str:
    """A stable ARN for the runtime: AWS shows the hash of a runtime build, this service the hash of its name."""
    digest = hashlib.sha256(version.runtime.encode()).hexdigest()
    partition = version.function_arn.split(":", 2)[1]
    return f"arn:{partition}:lambda:{version.region}::runtime:{digest}"


def _snap_start(version: FunctionVersion) -> dict[str, str] | None:
    """As recorded: on for a published version that is Active, off for ``$LATEST`` whatever was asked for.

    Nothing is snapshotted here: environments of the version are forked from a prepared process as all others are.
    A managed function has none to show (published).
    """
    if version.is_managed:
        return None
    on = version.snap_start_apply_on != "None" and version.version != "$LATEST" and version.state == "Active"
    return {"ApplyOn": version.snap_start_apply_on, "OptimizationStatus": "On" if on else "Off"}


def _logging_configuration(version: FunctionVersion) -> dict[str, Any]:
    logging = {"LogFormat": version.log_format, "LogGroup": version.log_group}
    if version.application_log_level is not None:
        logging["ApplicationLogLevel"] = version.application_log_level
    if version.system_log_level is not None:
        logging["SystemLogLevel"] = version.system_log_level
    return logging


def _states(version: FunctionVersion) -> dict[str, Any]:
    return {
        "State": version.state,
        "StateReason": version.state_reason,
        "StateReasonCode": version.state_reason_code,
        "LastUpdateStatus": version.last_update_status,
        "LastUpdateStatusReason": version.last_update_status_reason,
        "LastUpdateStatusReasonCode": version.last_update_status_reason_code,
    }
