"""``AWS_LAMBDA_EXEC_WRAPPER``: the program that starts the runtime in the platform's place (managed runtimes only).

Its arguments are the whole command line of the runtime, whose file is the last one, as AWS's example scripts expect.
Source: AWS page "Modifying the runtime environment"; texts and exit statuses are those of AWS's bootstrap scripts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from venturekit.service.environments.ports import EnvironmentSpec

VARIABLE: Final = "AWS_LAMBDA_EXEC_WRAPPER"
SHELL: Final = "/bin/sh"
MISSING: Final = 'echo "$0: does not exist"; exit 127'
NOT_EXECUTABLE: Final = 'echo "$0: is not an executable"; exit 126'
_TASK_ROOT: Final = "/var/task"
_LAYER_ROOT: Final = "/opt"
_STARTS_ITSELF: Final = (b"#!", b"\x7fELF")


def wrapper_of(spec: EnvironmentSpec) -> str | None:
    """The wrapper that a function asks for, as it is spelled there; None for none."""
    return spec.variables.get(VARIABLE) or None


def wrapped(wrapper: str, argv: tuple[str, ...], spec: EnvironmentSpec) -> tuple[str, ...]:
    """The command line with the wrapper before it; of one that ends as AWS's does where the wrapper cannot be used.

    AWS's ``/var/task`` and ``/opt`` stand for the function's own folders at every isolation level.
    """
    path = _found(wrapper, spec)
    if path is None:
        return (SHELL, "-c", MISSING, wrapper)
    if not os.access(path, os.X_OK):
        return (SHELL, "-c", NOT_EXECUTABLE, wrapper)
    with open(path, "rb") as program:
        # A script without a first line that names its interpreter: AWS's bootstrap is a shell, which runs it.
        return (*(() if program.read(4).startswith(_STARTS_ITSELF) else (SHELL,)), path, *argv)


def _found(wrapper: str, spec: EnvironmentSpec) -> str | None:
    roots = {_TASK_ROOT: (spec.code_directory,), _LAYER_ROOT: tuple(reversed(spec.layers))}
    for root, folders in roots.items():
        if wrapper.startswith(f"{root}/"):
            candidates = [folder / wrapper.removeprefix(f"{root}/") for folder in folders]
            break
    else:
        # What is left is relative to the working directory, or a path of this machine.
        candidates = [spec.code_directory / wrapper]
    return next((str(path) for path in map(Path, candidates) if path.is_file()), None)
