"""How a Node.js function is started: the command line of AWS's runtimes, with our runtime file in theirs' place. Pure.

Source: AWS pages "Building Lambda functions with Node.js" (the experimental features that are switched off) and
"Modifying the runtime environment"; the options and shares of memory are those of the bootstrap in AWS's base images.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.nodes import Node, runtime_major

if TYPE_CHECKING:
    from collections.abc import Iterator

    from venturekit.service.environments.ports import EnvironmentSpec

RUNTIME_DIRECTORY: Final = Path(__file__).with_name("node")
"""A package whose main file is our runtime: `node FOLDER` runs it wherever the folder is shown to a function."""
AWS_CLIENT: Final = "aws-lambda-ric"
WAIT: Final = "wait"
"""The argument that has our runtime wait for its function."""
_NO_REQUIRED_MODULES: Final = "require-module"
_NO_DETECTED_MODULES: Final = "detect-module"
# From which release of a major version on node knows `--no-experimental-…`; it refuses to start with what it does not.
_KNOWN_SINCE: Final = {_NO_REQUIRED_MODULES: {20: (17, 0), 22: (0, 0)}, _NO_DETECTED_MODULES: {20: (10, 0), 21: (1, 0)}}
_SWITCHED_OFF: Final = {
    18: (_NO_REQUIRED_MODULES, _NO_DETECTED_MODULES),
    20: (_NO_REQUIRED_MODULES,),
    22: (_NO_REQUIRED_MODULES, _NO_DETECTED_MODULES),
}
# What node or the C library reads when a process starts. A process that waits for its function has started already.
_READ_AT_START: Final = ("NODE_", "LD_", "UV_", "V8_", "ICU_", "OPENSSL_", "SSL_", "MALLOC_", "GLIBC_", "LC_", "LANG")
_READ_LATER: Final = frozenset({"NODE_ENV", "NODE_PATH"})


@dataclass(frozen=True, slots=True)
class NodeStart:
    """``argv`` of the main process; the rest as in a StartPlan."""

    argv: tuple[str, ...]
    reads: tuple[str, ...]
    extras: tuple[str, ...]
    may_wait: bool


def start_of(spec: EnvironmentSpec, node: Node) -> NodeStart:
    """The command line of a function of a Node.js runtime on this ``node``."""
    options = node_options(spec, node)
    client = carried_client(spec)
    if client is not None:
        return NodeStart((node.path, *options, client, spec.handler), _installation(node), (), may_wait=False)
    directory = str(RUNTIME_DIRECTORY)
    return NodeStart((node.path, *options, directory), _installation(node), (directory,), may_wait=may_wait(spec))


def node_options(spec: EnvironmentSpec, node: Node) -> list[str]:
    """Options before the program's file: nine tenths of the memory are for what lives long, half a tenth for new."""
    new_space = spec.memory_size_mb // 10
    memory = [f"--max-semi-space-size={new_space // 2}", f"--max-old-space-size={spec.memory_size_mb - new_space}"]
    given = spec.variables.get("NODE_OPTIONS", "")
    switched_off = [
        f"--no-experimental-{feature}"
        for feature in _SWITCHED_OFF.get(runtime_major(spec.runtime) or 0, ())
        if _knows(node, feature) and f"--experimental-{feature}" not in given
    ]
    return ["--expose-gc", "--max-http-header-size=81920", *memory, *switched_off]


def _knows(node: Node, feature: str) -> bool:
    since = _KNOWN_SINCE[feature]
    major = max((known for known in since if known <= node.version[0]), default=None)
    if major is None:
        return False
    return major < node.version[0] or node.version[1:] >= since[major]


def node_path(spec: EnvironmentSpec, runtime_root: Path) -> str:
    """``NODE_PATH``: where modules are looked for that do not lie beside the function's code.

    In /opt the layers are one folder: what is for this version in any of them comes before the rest.
    """
    major = runtime_major(spec.runtime)
    layers = [layer / "nodejs" for layer in reversed(spec.layers)]
    folders = [*(layer / f"node{major}" / "node_modules" for layer in layers)]
    folders += [*(layer / "node_modules" for layer in layers), runtime_root / "node_modules"]
    return ":".join(map(str, [*folders, runtime_root, spec.code_directory]))


def carried_client(spec: EnvironmentSpec) -> str | None:
    """The program of AWS's own runtime interface client, where the function's code or layers bring it."""
    for modules in _module_folders(spec):
        folder = modules / AWS_CLIENT
        try:
            package = json.loads((folder / "package.json").read_bytes())
            program = package["bin"]
            if isinstance(program, dict):
                program = program[AWS_CLIENT]
            path: str = os.path.normpath(folder / program)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if path.startswith(f"{folder}{os.sep}") and os.path.isfile(path):
            return path
    return None


def _module_folders(spec: EnvironmentSpec) -> Iterator[Path]:
    yield spec.code_directory / "node_modules"
    for layer in reversed(spec.layers):
        yield layer / "nodejs" / f"node{runtime_major(spec.runtime)}" / "node_modules"
        yield layer / "nodejs" / "node_modules"


def may_wait(spec: EnvironmentSpec) -> bool:
    """Whether a process that started before it knew the function is as good as one that starts for it."""
    if spec.max_concurrency:
        return False
    return not any(name.startswith(_READ_AT_START) and name not in _READ_LATER for name in spec.variables)


def _installation(node: Node) -> tuple[str, ...]:
    # The C++ part of a distribution's node may be a library of its own.
    return node.path, os.path.join(os.path.dirname(os.path.dirname(node.path)), "lib")
