"""Which environment variables a function may set, and how many bytes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from venturekit.service.functions import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 4096

# AWS Lambda Developer Guide, "Working with environment variables": set by the service, not by customers.
RESERVED: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)

_PREFIX: Final = (
    "Lambda was unable to configure your environment variables because the environment variables you have provided "
)


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise InvalidParameterValue for a reserved name or for more than 4096 bytes, in AWS's words."""
    reserved = [name for name in variables if name in RESERVED]
    if reserved:
        raise faults.invalid_parameter(
            f"{_PREFIX}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise faults.invalid_parameter(f"{_PREFIX}exceeded the 4KB limit. String measured: {measured}")
