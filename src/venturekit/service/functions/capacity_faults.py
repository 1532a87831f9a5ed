"""Every error about capacity providers and managed functions, beside those of ``faults``.

What AWS answers is known of few; where nothing is said, the words are a choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.api.errors import api_error
from venturekit.service.functions.faults import conflict, failed_validation, invalid_parameter, resource_not_found

if TYPE_CHECKING:
    from venturekit.service.api.errors import ApiError


def provider_not_found(arn: str) -> ApiError:
    """404 for a capacity provider."""
    return resource_not_found(f"Capacity provider not found: {arn}")


def provider_exists(name: str) -> ApiError:
    """409 of CreateCapacityProvider for a name that is taken."""
    return conflict(f"Capacity provider already exist: {name}")


def provider_in_use(arn: str) -> ApiError:
    """409 of DeleteCapacityProvider (AWS page "Troubleshooting Lambda Managed Instances": it says that, not how)."""
    return conflict(
        f"The capacity provider {arn} is used by function versions, which ListFunctionVersionsByCapacityProvider "
        "lists: delete them first."
    )


def provider_not_in_this_state(arn: str, state: str) -> ApiError:
    """409 for a capacity provider that is being made or deleted."""
    return conflict(f"The operation cannot be performed at this time. The capacity provider {arn} is {state}.")


def too_many_providers(limit: int) -> ApiError:
    """400 CapacityProviderLimitExceededException."""
    return api_error(
        "CapacityProviderLimitExceededException", f"The account has {limit} capacity providers, which is its limit."
    )


def too_many_versions(arn: str, limit: int) -> ApiError:
    """400 FunctionVersionsPerCapacityProviderLimitExceededException."""
    return api_error(
        "FunctionVersionsPerCapacityProviderLimitExceededException",
        f"The capacity provider {arn} has {limit} published function versions, which is its limit.",
    )


def provider_name_too_long(name: str, limit: int) -> ApiError:
    """400 for a name over the 64 characters of an ARN that can be tagged: the model's 140 are those of the ARN."""
    return failed_validation(name, "capacityProviderName", f"have length less than or equal to {limit}")


def provider_elsewhere(arn: str, region: str, account_id: str) -> ApiError:
    """400 for the ARN of a capacity provider of another account or region."""
    return invalid_parameter(
        f"The capacity provider {arn} is not in the account {account_id} and the region {region}: use one that is."
    )


def two_instance_lists() -> ApiError:
    """400 for both lists of instance types (AWS page "Capacity providers": only one of them)."""
    return invalid_parameter("Specify only one of AllowedInstanceTypes or ExcludedInstanceTypes.")


def tags_without_mode(mode: str) -> ApiError:
    """400 for tags to propagate that do not go with the mode."""
    return invalid_parameter(f"ExplicitTags go with PropagateTags.Mode Explicit only: it is {mode}.")


def nothing_to_update() -> ApiError:
    """400 for UpdateCapacityProvider without any member."""
    return invalid_parameter("Give CapacityProviderScalingConfig, PropagateTags or TelemetryConfig to update.")


def not_managed_before() -> ApiError:
    """400 of UpdateFunctionConfiguration for a function that was made without a capacity provider (published)."""
    return invalid_parameter("CapacityProviderConfig isn't supported for Lambda Default functions.")


def runtime_not_managed(runtime: str) -> ApiError:
    """400 for a runtime that has no concurrent invocations (words of our own)."""
    return invalid_parameter(
        f"The runtime {runtime} cannot have a capacity provider: on Lambda Managed Instances functions run from "
        "python3.13, nodejs22.x and provided.al2023 on."
    )


def text_log_format() -> ApiError:
    """400 for the log format Text (published; AWS speaks of levels whether any are given or not)."""
    return invalid_parameter(
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the '
        'LogFormat to "JSON" and try again.'
    )


def not_with_managed(what: str) -> ApiError:
    """400 for something that a managed function cannot have."""
    return invalid_parameter(f"{what} is not supported for Lambda Managed Instances functions.")


def memory_too_small(minimum_mb: int) -> ApiError:
    """400 for less memory than the smallest managed function has."""
    return invalid_parameter(
        "'MemorySize' value failed to satisfy constraint: "
        f"Member must have value greater than or equal to {minimum_mb} for Lambda Managed Instances functions"
    )


def less_than_one_vcpu(memory_size_mb: int, gib_per_vcpu: float) -> ApiError:
    """400 for memory that is less than that of one vCPU."""
    return invalid_parameter(
        f"MemorySize {memory_size_mb} gives less than one vCPU at ExecutionEnvironmentMemoryGiBPerVCpu "
        f"{gib_per_vcpu:g}: raise MemorySize to {round(gib_per_vcpu * 1024)}, or lower the other."
    )


def other_architecture(architecture: str, arn: str, provided: str) -> ApiError:
    """400 for a function whose architecture is not that of the capacity provider's instances."""
    return invalid_parameter(
        f"The architecture {architecture} of the function is not that of the capacity provider {arn}: {provided}."
    )


def publish_to_default() -> ApiError:
    """400 for ``PublishTo`` with a function that has no capacity provider."""
    return invalid_parameter(
        "PublishTo LATEST_PUBLISHED is only supported for Lambda Managed Instances functions: leave it out."
    )


def latest_is_not_run() -> ApiError:
    """400 for an invocation of ``$LATEST``."""
    return invalid_parameter(
        "$LATEST of a Lambda Managed Instances function cannot be invoked: publish a version and invoke that, "
        "or publish with PublishTo LATEST_PUBLISHED and invoke the function without a qualifier."
    )


def nothing_published() -> ApiError:
    """400 NoPublishedVersionException: the function is invoked without a qualifier."""
    return api_error(
        "NoPublishedVersionException",
        "The function has no version $LATEST.PUBLISHED: publish it with PublishTo LATEST_PUBLISHED.",
    )


def scaling_of_default() -> ApiError:
    """400 of the scaling operations for a function without a capacity provider."""
    return invalid_parameter("FunctionScalingConfig is only supported for Lambda Managed Instances functions.")


def minimum_of_zero() -> ApiError:
    """400 for a minimum of 0 with another maximum (AWS page "Scaling Lambda Managed Instances")."""
    return invalid_parameter("MinExecutionEnvironments can be 0 only if MaxExecutionEnvironments is 0.")


def minimum_over_maximum(minimum: int, maximum: int) -> ApiError:
    """400 for a minimum that is greater than the maximum."""
    return invalid_parameter(f"MinExecutionEnvironments {minimum} is greater than MaxExecutionEnvironments {maximum}.")
