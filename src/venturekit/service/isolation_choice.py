"""Which isolation execution environments get: what the settings ask for, established."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.config import least_isolation

if TYPE_CHECKING:
    from pathlib import Path

    from venturekit.service.config import Settings
    from venturekit.service.environments.isolation.policy import Policy


def isolation_policy(settings: Settings, data_dir: Path, runtime_directory: Path, interpreter: str) -> Policy | None:
    """The policy of all environments, None for the level ``process``. Raises IsolationUnavailableError."""
    required = least_isolation(settings)
    if settings.isolation == required == "process":
        return None
    # Rarely needed, and dear to import.
    from venturekit.service.environments.isolation.establish import establish
    from venturekit.service.environments.isolation.policy import Surroundings

    around = Surroundings(
        data_directory=data_dir,
        runtime_directory=runtime_directory,
        bytecode_directory=data_dir / "bytecode",
        mountpoint=data_dir / "mountpoint",
    )
    return establish(
        wanted=settings.isolation,
        required=required,
        accept_gaps=settings.accept_isolation_gaps,
        interpreter=interpreter,
        around=around,
        connect_ports=settings.connect_ports,
        bind_ports=settings.bind_ports,
    )
