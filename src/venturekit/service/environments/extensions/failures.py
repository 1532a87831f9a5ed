"""How extensions fail: the error types and texts that callers of the function get. Pure.

Source: the error types are as recorded; the texts are those of AWS's log lines of extensions that ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments.failures import exit_text

if TYPE_CHECKING:
    from venturekit.service.environments.failures import Exit

CRASH: Final = "Extension.Crash"
EXIT_ERROR: Final = "Extension.ExitError"
INIT_ERROR: Final = "Extension.InitError"
LAUNCH_ERROR: Final = "Extension.LaunchError"
_RUNTIME: Final = "Runtime exited with error: "


def ended_text(ended: Exit) -> str:
    """How the process of an extension ended."""
    return exit_text(ended).removeprefix(_RUNTIME) if ended.code or ended.signal else "exit code 0"


def never_registered_text(names: list[str], seconds: float) -> str:
    """Some have not registered when the init phase was over."""
    return f"{', '.join(names)} did not register within {seconds:g} seconds"
