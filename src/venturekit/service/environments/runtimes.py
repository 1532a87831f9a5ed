"""How the main process of an environment is started: which program, in which mode. Decides only; starts nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from venturekit.service.environments.exec_wrapper import wrapped, wrapper_of
from venturekit.service.environments.interpreters import (
    Choice,
    Interpreter,
    RuntimeUnavailableError,
    choose,
    interpreter_files,
)
from venturekit.service.environments.node_start import start_of
from venturekit.service.environments.nodes import choose_node, runtime_major

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from venturekit.service.environments.nodes import Node
    from venturekit.service.environments.ports import EnvironmentSpec

INVALID_ENTRYPOINT: Final = "Runtime.InvalidEntrypoint"
INVALID_RUNTIME: Final = "Runtime.InvalidRuntime"
NO_SITE: Final = "-S"
"""Python's option that keeps the packages installed for the interpreter out of functions: AWS's has none but boto3."""
AWSLAMBDARIC_PROGRAM: Final = (
    "import os, runpy, site, sys; site.setquit(); site.setcopyright(); site.sethelper(); sys.path[0] = os.getcwd(); "
    "runpy.run_module('awslambdaric', run_name='__main__', alter_sys=True)"
)
"""``python -m awslambdaric`` with the built-ins that would be missing without ``site``, such as ``exit``."""

PythonRuntime = Literal["ric", "awslambdaric"]
PythonStart = Literal["fork", "spawn"]


class StartRefusedError(Exception):
    """There is nothing to start: ``error_type`` and text as the caller of the function gets them."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What the launcher is told. ``interpreter`` None: any launcher executes ``argv``.

    ``extras`` are files and folders that the program reads beside its interpreter's, the function's and the system's;
    ``reads`` as well, and those cannot be shown elsewhere. ``may_wait``: a process with this command line that was
    started beforehand, and waits to be told whose it is, serves as well.
    """

    mode: Literal["fork", "exec"]
    argv: tuple[str, ...]
    interpreter: Interpreter | None = None
    framed_log: bool = False
    extras: tuple[str, ...] = ()
    warning: str | None = None
    reads: tuple[str, ...] = ()
    may_wait: bool = False

    @property
    def needed(self) -> tuple[str, ...]:
        """Files and folders of this machine that an isolated process must be let to."""
        interpreter = interpreter_files(self.interpreter.path) if self.interpreter else ()
        return (*interpreter, *self.reads, *self.extras)


@dataclass(frozen=True, slots=True)
class PythonSettings:
    """How Python functions run on this service.

    ``own`` is the service's interpreter. ``awslambdaric_interpreter`` is the one for which AWS's client is installed
    (it holds compiled code), or None.
    """

    interpreters: Sequence[Interpreter]
    own: Interpreter
    runtime: PythonRuntime
    start: PythonStart
    strict: bool
    spawn_script: Path
    ric_directory: Path
    awslambdaric_interpreter: Interpreter | None


def is_served(runtime: str) -> bool:
    """Whether functions of this runtime can run here."""
    return runtime.startswith(("python3.", "provided")) or runtime_major(runtime) is not None


def version_names(runtime: str, region: str) -> tuple[str, str]:
    """What the log says of the version of a runtime: its name, such as ``python:3.13``, and its ARN."""
    family = runtime.replace("python3", "python:3").replace("provided.", "provided:").replace("nodejs", "nodejs:")
    return family, f"arn:aws:lambda:{region}::runtime:{runtime}"


def plan_start(spec: EnvironmentSpec, python: PythonSettings, nodes: Sequence[Node] = ()) -> StartPlan:
    """How to start the main process of ``spec``. Raises StartRefusedError when there is nothing to start.

    ``nodes`` are the installations of Node.js; ``python.strict`` goes for their versions, too.
    """
    if spec.runtime.startswith("provided"):
        return StartPlan("exec", (_find_bootstrap(spec),))
    if spec.runtime.startswith("python3."):
        plan = _plan_python(spec, python)
    elif runtime_major(spec.runtime) is not None:
        plan = _plan_node(spec, nodes, strict=python.strict)
    else:
        text = f"the runtime {spec.runtime} is not served yet: python3.*, nodejs*.x, provided, provided.al2 and "
        raise StartRefusedError(INVALID_RUNTIME, f"{text}provided.al2023 are")
    if spec.max_concurrency:
        # Its workers write lines, each to a connection of its own.
        plan = replace(plan, framed_log=False, may_wait=False)
    wrapper = wrapper_of(spec)
    if wrapper is None:
        return plan
    return replace(plan, argv=wrapped(wrapper, plan.argv, spec), may_wait=False)


def _plan_node(spec: EnvironmentSpec, nodes: Sequence[Node], *, strict: bool) -> StartPlan:
    try:
        choice = choose_node(spec.runtime, nodes, strict=strict)
    except RuntimeUnavailableError as error:
        raise StartRefusedError(INVALID_RUNTIME, str(error)) from error
    start = start_of(spec, choice.node)
    return StartPlan(
        "exec",
        start.argv,
        framed_log=True,
        extras=start.extras,
        warning=choice.warning,
        reads=start.reads,
        may_wait=start.may_wait and not has_libraries(spec),
    )


def _plan_python(spec: EnvironmentSpec, python: PythonSettings) -> StartPlan:
    try:
        choice = choose(spec.runtime, python.interpreters, strict=python.strict)
    except RuntimeUnavailableError as error:
        raise StartRefusedError(INVALID_RUNTIME, str(error)) from error
    if python.runtime == "awslambdaric":
        return _plan_awslambdaric(spec, python, choice)
    interpreter = choice.interpreter
    if python.start == "spawn" or has_libraries(spec) or wrapper_of(spec):
        script = str(python.spawn_script)
        argv: tuple[str, ...] = (interpreter.path, NO_SITE, script, str(python.ric_directory), spec.handler)
        if wrapper_of(spec):
            # Wrappers put options before the last argument, which is the runtime's file on AWS.
            argv = argv[:-2]
        extras = (script, str(python.ric_directory))
        return StartPlan("exec", argv, interpreter, framed_log=True, extras=extras, warning=choice.warning)
    # The name that ps shows and sys.argv[0] holds: AWS's is bootstrap.py, too.
    argv = ("bootstrap.py", spec.handler)
    return StartPlan("fork", argv, interpreter, framed_log=True, warning=choice.warning)


def _plan_awslambdaric(spec: EnvironmentSpec, python: PythonSettings, choice: Choice) -> StartPlan:
    interpreter = python.awslambdaric_interpreter
    if interpreter is None:
        raise StartRefusedError(
            INVALID_RUNTIME,
            "the service was started with --python-runtime awslambdaric, but awslambdaric is not installed beside it: "
            "install it with pip install 'venturekit[local,awslambdaric]', or use --python-runtime ric",
        )
    warning = None
    if choice.interpreter.version != interpreter.version or not choice.exact:
        warning = f"runtime {spec.runtime} runs on {interpreter}: awslambdaric is installed for that one only"
        if python.strict and f"python{interpreter.version[0]}.{interpreter.version[1]}" != spec.runtime:
            raise StartRefusedError(INVALID_RUNTIME, warning)
    argv = (interpreter.path, NO_SITE, "-c", AWSLAMBDARIC_PROGRAM, spec.handler)
    return StartPlan("exec", argv, interpreter, framed_log=True, warning=warning)


def has_libraries(spec: EnvironmentSpec) -> bool:
    """Whether code or layers bring shared libraries for the search path, ``lib/*.so*``.

    A process's dynamic loader reads LD_LIBRARY_PATH once, when the program is executed: a forked process would not
    find them.
    """
    return any(_has_library(directory / "lib") for directory in (spec.code_directory, *spec.layers))


def _has_library(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(".so" in entry.name for entry in entries)
    except OSError:
        return False


def _find_bootstrap(spec: EnvironmentSpec) -> str:
    for directory in (spec.code_directory, *reversed(spec.layers)):
        candidate = directory / "bootstrap"
        if os.path.isfile(candidate):
            return str(candidate)
    raise StartRefusedError(
        INVALID_ENTRYPOINT, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    )
