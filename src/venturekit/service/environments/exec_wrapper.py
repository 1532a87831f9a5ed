"""``AWS_LAMBDA_EXEC_WRAPPER``: the program that starts the runtime in the platform's place (managed runtimes only).

Its arguments are the whole command line of the runtime, whose file is the last one, as AWS's example scripts expect.
Source: AWS page "Modifying the runtime environment"; texts and exit statuses are those of AWS's bootstrap scripts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from venturekit.service.environments.ports import EnvironmentSpec

VARIABLE: Final = "AWS_LAMBDA_EXEC_WRAPPER"
SHELL: Final = "/bin/sh"
MISSING: Final = 'echo "$0: does not exist"; exit 127'
NOT_EXECUTABLE: Final = 'echo "$0: is not an executable"; exit 126'
BAD_INTERPRETER: Final = 'echo "$0: bad interpreter: $1"; exit 126'
_TASK_ROOT: Final = "/var/task"
_LAYER_ROOT: Final = "/opt"
_STARTS_ITSELF: Final = (b"#!", b"\x7fELF")
_FIRST_LINE_BYTES: Final = 256
_FIRST_LINE: Final = re.compile(rb"#![ \t]*([^ \t\n\0]+)")


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
        beginning = program.read(_FIRST_LINE_BYTES)
    missing = _missing_interpreter(beginning)
    if missing is not None:
        return (SHELL, "-c", BAD_INTERPRETER, wrapper, missing)
    # A script without a first line that names its interpreter: AWS's bootstrap is a shell, which runs it.
    return (*(() if beginning.startswith(_STARTS_ITSELF) else (SHELL,)), path, *argv)


def _missing_interpreter(beginning: bytes) -> str | None:
    """What a script's first line names, where that is nothing that can be executed. None for all the rest."""
    match = _FIRST_LINE.match(beginning)
    named = os.fsdecode(match[1]) if match else ""
    if not named or named.startswith((f"{_TASK_ROOT}/", f"{_LAYER_ROOT}/")) or os.path.exists(named):
        return None
    if named.endswith("\r"):
        return f"{named.rstrip()} with a carriage return: save the script with line feeds as its line ends"
    return named


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
