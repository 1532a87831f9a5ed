"""The Node.js installations of this machine, and which of them runs a function of a given runtime.

As for Python (``interpreters.py``) the exact version is used where it is on the machine, else the nearest one, newer
before older. Versions are read from the names of folders; a ``node`` whose folder does not tell is asked, once.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.interpreters import RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

OLDEST_SUPPORTED: Final = 18
ASK_SECONDS: Final = 10.0
_SYSTEM_FOLDERS: Final = ("/usr/local/bin", "/usr/bin")
_OTHER_ROOT: Final = "/opt"
_PROGRAMS: Final = ("node", "nodejs")
# What a link may lead to: the version managers' own programs and those of snap decide anew in every folder.
_REAL_NAMES: Final = re.compile(r"node(js)?(-?v?\d[\d.]*)?")
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
# Folder names of installed versions: v20.11.1, 20.11.1, node-v20.11.1-linux-x64.
_VERSION_FOLDER: Final = re.compile(r"(?:node-)?v?(\d+)\.(\d+)\.(\d+)(?:-linux-\w+)?")
_RUNTIME: Final = re.compile(r"nodejs(\d+)\.x")

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js: ``path`` is the executable with links resolved."""

    version: Version
    path: str

    def __str__(self) -> str:
        return f"Node.js {'.'.join(map(str, self.version))} ({self.path})"


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """The installation for a runtime; ``warning`` is None exactly when it is the runtime's own version."""

    node: Node
    warning: str | None


def runtime_major(runtime: str) -> int | None:
    """20 for "nodejs20.x"; None for what is no Node.js runtime."""
    match = _RUNTIME.fullmatch(runtime)
    return int(match[1]) if match else None


def find_nodes(environ: Mapping[str, str], home: str, ask: Callable[[str], Version | None] | None = None) -> list[Node]:
    """All installations found, each once, ordered by major version and within one by preference. May take a while.

    Looked at: PATH, the folders of nvm, fnm, volta, asdf, mise and n, the system's folders and /opt/node*. ``ask``
    tells the version of an executable that runs nothing but that.
    """
    asked = ask or ask_version
    found: dict[str, Version | None] = {}
    for path, version in _scan(environ, home):
        if path not in found:
            found[path] = version or asked(path)
    nodes = [Node(version, path) for path, version in found.items() if version and version[0] >= OLDEST_SUPPORTED]
    return sorted(nodes, key=lambda node: node.version[0])


def ask_version(path: str) -> Version | None:
    """What ``node --version`` says, None when it does not say anything of the kind. Blocks."""
    try:
        said = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={},
            timeout=ASK_SECONDS,
            text=True,
            check=False,
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return _version(_VERSION.match(said))


def choose_node(runtime: str, nodes: Iterable[Node], *, strict: bool) -> NodeChoice:
    """The installation for ``runtime`` ("nodejs20.x"): its own version, else the nearest newer, else the nearest older.

    Raises ValueError when ``runtime`` is not a Node.js runtime, RuntimeUnavailableError when there is no Node.js at
    all, or with ``strict`` when the exact major version is missing.
    """
    wanted = runtime_major(runtime)
    if wanted is None:
        raise ValueError(f"{runtime!r} is not a Node.js runtime such as 'nodejs20.x'")
    found = sorted(nodes, key=lambda node: node.version[0])
    newer = [node for node in found if node.version[0] >= wanted]
    major = newer[0].version[0] if newer else found[-1].version[0] if found else None
    chosen = next((node for node in found if node.version[0] == major), None)
    if chosen is not None and chosen.version[0] == wanted:
        return NodeChoice(chosen, warning=None)
    remedy = f"install Node.js {wanted}, for example with: nvm install {wanted}"
    if chosen is None or strict:
        listed = ", ".join(map(str, found)) or "none"
        message = f"no Node.js for runtime {runtime} on this machine ({remedy}); found: {listed}"
        raise RuntimeUnavailableError(message, runtime, ())
    return NodeChoice(chosen, warning=f"runtime {runtime} is not on this machine, using {chosen}; {remedy}")


def _scan(environ: Mapping[str, str], home: str) -> Iterator[tuple[str, Version | None]]:
    for folder in environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(folder) and os.path.basename(os.path.normpath(folder)) != "shims":
            yield from _in_folder(folder)
    for root, below in _version_roots(environ, home):
        for name in _newest_first(root):
            match = _VERSION_FOLDER.fullmatch(name)
            if match is not None:
                yield from _in_folder(os.path.join(root, name, below), _version(match))
    for folder in _SYSTEM_FOLDERS:
        yield from _in_folder(folder)
    for name in _newest_first(_OTHER_ROOT):
        if name.startswith("node"):
            yield from _in_folder(os.path.join(_OTHER_ROOT, name, "bin"))


def _version_roots(environ: Mapping[str, str], home: str) -> Iterator[tuple[str, str]]:
    """Folders that hold one folder for each version, and where below that its program lies."""
    data_home = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")

    def at(variable: str, *default: str) -> str:
        return environ.get(variable) or os.path.join(*default)

    yield os.path.join(at("NVM_DIR", home, ".nvm"), "versions", "node"), "bin"
    for fnm in (at("FNM_DIR", data_home, "fnm"), os.path.join(home, ".fnm")):
        yield os.path.join(fnm, "node-versions"), os.path.join("installation", "bin")
    yield os.path.join(at("VOLTA_HOME", home, ".volta"), "tools", "image", "node"), "bin"
    yield os.path.join(at("ASDF_DATA_DIR", home, ".asdf"), "installs", "nodejs"), "bin"
    yield os.path.join(at("MISE_DATA_DIR", data_home, "mise"), "installs", "node"), "bin"
    yield os.path.join(at("N_PREFIX", "/usr/local"), "n", "versions", "node"), "bin"


def _in_folder(folder: str, version: Version | None = None) -> Iterator[tuple[str, Version | None]]:
    for name in _PROGRAMS:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            target = os.path.realpath(path)
            if _REAL_NAMES.fullmatch(os.path.basename(target)):
                yield target, version or _version_in(target)


def _version_in(path: str) -> Version | None:
    """The version that one of the path's folders is named after."""
    found = (_VERSION_FOLDER.fullmatch(part) for part in reversed(path.split(os.sep)))
    return next((_version(match) for match in found if match is not None), None)


def _version(match: re.Match[str] | None) -> Version | None:
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _newest_first(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)], reverse=True)
