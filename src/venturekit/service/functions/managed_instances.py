"""Managed functions: what a capacity provider changes about the configuration of a function. Pure.

Sources: AWS pages "Lambda Managed Instances" and those below it; published answers where they say something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import capacity_faults as faults
from venturekit.service.functions.capacity_provider import CapacityProvider
from venturekit.service.functions.records import (
    CAPACITY_PROVIDER_CONFIG,
    LATEST,
    LATEST_PUBLISHED,
    MANAGED_INSTANCES_CONFIG,
    SNAP_START_NONE,
    STATE_ACTIVE,
    STATE_ACTIVE_NON_INVOCABLE,
    STATE_DEACTIVATED,
    FunctionVersion,
)
from venturekit.service.functions.scaling import bounds_of

if TYPE_CHECKING:
    from venturekit.service.functions.registry import Function

FindProvider = Callable[[str], CapacityProvider]

MIN_MEMORY_SIZE_MB: Final = 2048
DEFAULT_GIB_PER_VCPU: Final = 2.0
_GIB_MEMBER: Final = "ExecutionEnvironmentMemoryGiBPerVCpu"
_CONCURRENCY_MEMBER: Final = "PerExecutionEnvironmentMaxConcurrency"
MAX_CONCURRENCY: Final = 1600

# AWS's pages on the runtimes of managed instances: the first version of each that has them, and how many invocations
# one vCPU has at once by default. That of an OS-only runtime is Rust's.
_RUNTIMES: Final = (
    (re.compile(r"python3\.(\d+)"), 13, 16),
    (re.compile(r"nodejs(\d+)\.x"), 22, 64),
    (re.compile(r"java(\d+)"), 21, 32),
    (re.compile(r"dotnet(\d+)"), 8, 32),
    (re.compile(r"provided\.al(\d+)"), 2023, 8),
)


def with_provider(
    version: FunctionVersion, given: Mapping[str, Any], find: FindProvider, *, creating: bool
) -> FunctionVersion:
    """``version`` with the ``CapacityProviderConfig`` of a request, and the defaults that it brings with it.

    ``find`` gives a capacity provider of the account and raises ApiError. Raises InvalidParameterValue for a function
    that was made without one. A function never loses its own: the model has no empty configuration.
    """
    config = given.get(CAPACITY_PROVIDER_CONFIG)
    if config is None:
        return version
    if not creating and not version.is_managed:
        raise faults.not_managed_before()
    wanted = config[MANAGED_INSTANCES_CONFIG]
    provider = find(wanted["CapacityProviderArn"])
    shown = {
        "CapacityProviderArn": provider.arn,
        _CONCURRENCY_MEMBER: wanted.get(_CONCURRENCY_MEMBER),
        _GIB_MEMBER: float(wanted.get(_GIB_MEMBER) or DEFAULT_GIB_PER_VCPU),
    }
    extras = {**version.extras, CAPACITY_PROVIDER_CONFIG: {MANAGED_INSTANCES_CONFIG: shown}}
    if not creating:
        return replace(version, extras=extras)
    return replace(
        version,
        extras=extras,
        memory_size_mb=MIN_MEMORY_SIZE_MB,
        log_format="JSON",
        application_log_level="INFO",
        system_log_level="INFO",
    )


def checked(version: FunctionVersion) -> FunctionVersion:
    """A configured version as it is kept: one of a managed function says how many invocations it has at once.

    Raises InvalidParameterValue for what a managed function cannot have.
    """
    config = version.managed_instances
    if config is None:
        return version
    per_vcpu = _concurrency_per_vcpu(version.runtime)
    if version.log_format != "JSON":
        raise faults.text_log_format()
    if version.snap_start_apply_on != SNAP_START_NONE:
        raise faults.not_with_managed("SnapStart")
    if version.isolates_tenants:
        raise faults.not_with_managed("TenancyConfig")
    if (version.extras.get("VpcConfig") or {}).get("SubnetIds"):
        # The network is that of the capacity provider.
        raise faults.not_with_managed("VpcConfig")
    gib_per_vcpu: float = config[_GIB_MEMBER]
    if version.memory_size_mb < MIN_MEMORY_SIZE_MB:
        raise faults.memory_too_small(MIN_MEMORY_SIZE_MB)
    vcpus = int(version.memory_size_mb / (gib_per_vcpu * 1024))
    if not vcpus:
        raise faults.less_than_one_vcpu(version.memory_size_mb, gib_per_vcpu)
    if config[_CONCURRENCY_MEMBER] is not None:
        return version
    shown = {**config, _CONCURRENCY_MEMBER: min(per_vcpu * vcpus, MAX_CONCURRENCY)}
    return replace(version, extras={**version.extras, CAPACITY_PROVIDER_CONFIG: {MANAGED_INSTANCES_CONFIG: shown}})


def check_code(version: FunctionVersion, given: Mapping[str, Any], find: FindProvider) -> None:
    """Raise InvalidParameterValue for a managed function that cannot run on its provider's instances, and for
    ``PublishTo`` with any other function. What is raised is raised before any code is kept.
    """
    config = version.managed_instances
    if config is None:
        if given.get("PublishTo"):
            raise faults.publish_to_default()
        return
    provider = find(config["CapacityProviderArn"])
    if version.architectures != (provider.architecture,):
        raise faults.other_architecture(version.architectures[0], provider.arn, provider.architecture)


def resting_state(function: Function, version: FunctionVersion) -> str:
    """The state of a version that is neither being made nor failed.

    Only what is published of a managed function runs; a version whose scaling is 0 to 0 is deactivated.
    """
    if not version.is_managed:
        return STATE_ACTIVE
    if not version.is_published:
        return STATE_ACTIVE_NON_INVOCABLE
    return STATE_DEACTIVATED if bounds_of(function, version.version).deactivated else STATE_ACTIVE


def invoked_version(function: Function, qualifier: str | None, number: str) -> FunctionVersion | None:
    """The version that runs where ``qualifier`` means ``number``; None for one that is not there.

    Without a qualifier a managed function runs ``$LATEST.PUBLISHED``, never ``$LATEST``. Raises InvalidParameterValue
    and NoPublishedVersion.
    """
    if not function.latest.is_managed:
        return function.versions.get(number)
    if number == LATEST and qualifier is not None:
        raise faults.latest_is_not_run()
    if number in (LATEST, LATEST_PUBLISHED):
        version = function.versions.get(LATEST_PUBLISHED)
        if version is None:
            raise faults.nothing_published()
        return version
    return function.versions.get(number)


def _concurrency_per_vcpu(runtime: str) -> int:
    for pattern, first, per_vcpu in _RUNTIMES:
        match = pattern.fullmatch(runtime)
        if match is not None and int(match[1]) >= first:
            return per_vcpu
    raise faults.runtime_not_managed(runtime)
