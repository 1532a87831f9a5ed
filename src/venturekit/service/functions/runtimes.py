"""Which runtimes a function may have here."""

from __future__ import annotations

from typing import Final

from venturekit.service.functions import faults

# In the order in which AWS lists them is not known to be stable; newest first reads best in an error.
SERVED: Final = (
    *(f"python3.{minor}" for minor in range(15, 7, -1)),
    *(f"nodejs{major}.x" for major in (26, 24, 22, 20, 18)),
    "provided.al2023",
    "provided.al2",
    # AWS takes no new functions of it; here it is the same as the others, a bootstrap.
    "provided",
)

# Known to AWS, not run here.
_FOREIGN: Final = (
    *("java25", "java21", "java17", "java11", "java8.al2", "java8.al2023", "java11.al2023", "java17.al2023"),
    *("dotnet10", "dotnet8", "dotnet6", "ruby4.0", "ruby3.4", "ruby3.3", "ruby3.2", "custom"),
)

# AWS has blocked both creation and update with these (AWS Lambda Developer Guide, "Lambda runtimes").
_BLOCKED: Final = frozenset(
    {
        *("nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x"),
        *("nodejs14.x", "nodejs16.x", "python2.7", "python3.6", "python3.7", "java8", "go1.x"),
        *("dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "ruby2.5", "ruby2.7"),
    }
)


# Developer Guide, "Improving startup performance with Lambda SnapStart": Python from 3.12 on; no Node, no provided.
_SNAP_START: Final = frozenset(f"python3.{minor}" for minor in range(12, 16))


def supports_snap_start(runtime: str) -> bool:
    """Whether AWS has SnapStart for a runtime that is served here."""
    return runtime in _SNAP_START


def check_runtime(runtime: str) -> None:
    """Raise InvalidParameterValue for a runtime AWS does not know, has ended, or that cannot be run here."""
    if runtime in SERVED:
        return
    if runtime in _BLOCKED:
        raise faults.invalid_parameter(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime in _FOREIGN:
        raise faults.not_served(
            f"Runtime {runtime}",
            "use a python3.x or nodejs runtime, or bring the runtime in the archive as bootstrap (provided.al2023)",
        )
    known = ", ".join((*SERVED, *_FOREIGN))
    raise faults.invalid_parameter(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{known}] "
        "or be a valid ARN"
    )
