"""The CPython interpreters of this machine, and which of them runs a function of a given runtime.

Looking around executes nothing and costs a few hundred `access` calls: versions are read from names. The choice is a
pure decision (design rule: the exact version where it is on the machine, else the nearest one, newer before older).
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

OLDEST_SUPPORTED = (3, 9)
_NEWEST_LOOKED_FOR = 20
_SYSTEM_FOLDERS = ("/usr/local/bin", "/usr/bin")
_OTHER_ROOT = "/opt"
_VERSIONED_NAME = re.compile(r"python(3)\.(\d+)")
# Folder names of installed versions: 3.12.1, 3.14.0rc2, 3.14-dev; uv: cpython-3.12.1-linux-x86_64-gnu. Free-threaded
# builds (3.13.0t, 3.13.0+freethreaded) are other interpreters than AWS's and are left out.
_VERSION_FOLDER = re.compile(r"(?:cpython-)?3\.(\d+)(?:\.\d+)?(?:(?:a|b|rc)\d+|-dev)?(?:-(?!.*freethreaded).*)?")
_RUNTIME = re.compile(r"python3\.(\d+)")


class RuntimeUnavailableError(Exception):
    """No interpreter may run this runtime. `runtime` is its name, `found` what was found on the machine."""

    def __init__(self, message: str, runtime: str, found: Sequence[Interpreter]) -> None:
        super().__init__(message)
        self.runtime = runtime
        self.found = tuple(found)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython: `version` as (major, minor), `path` of the executable with links resolved."""

    version: tuple[int, int]
    path: str

    def __str__(self) -> str:
        return f"Python {self.version[0]}.{self.version[1]} ({self.path})"


@dataclass(frozen=True, slots=True)
class Choice:
    """The interpreter for a runtime; `warning` is None exactly when it is the runtime's own version."""

    interpreter: Interpreter
    exact: bool
    warning: str | None


def own_interpreter() -> Interpreter:
    """The interpreter that runs this process; of a virtual environment, the one it was made from."""
    executable = getattr(sys, "_base_executable", None) or sys.executable
    return Interpreter((sys.version_info[0], sys.version_info[1]), os.path.realpath(executable))


def find_interpreters(environ: Mapping[str, str], home: str, own: Interpreter | None = None) -> list[Interpreter]:
    """All interpreters found, each once, ordered by version and within a version by preference.

    Looked at: the own interpreter, PATH (without shims), pyenv, uv, the system's folders and /opt/python*.
    """
    first = [own or own_interpreter()]
    seen: dict[str, Interpreter] = {}
    for interpreter in [*first, *_scan(environ, home)]:
        if interpreter.version >= OLDEST_SUPPORTED:
            seen.setdefault(interpreter.path, interpreter)
    return sorted(seen.values(), key=lambda interpreter: interpreter.version)


def choose(runtime: str, interpreters: Iterable[Interpreter], *, strict: bool) -> Choice:
    """The interpreter for `runtime` ("python3.12"): its own version, else the nearest newer, else the nearest older.

    Raises ValueError when `runtime` is not a Python runtime, RuntimeUnavailableError when there is no interpreter at
    all, or with `strict` when the exact version is missing.
    """
    match = _RUNTIME.fullmatch(runtime)
    if match is None:
        raise ValueError(f"{runtime!r} is not a Python runtime such as 'python3.12'")
    wanted = (3, int(match[1]))
    # A stable sort: of one version, the first found stays first.
    usable = [interpreter for interpreter in interpreters if interpreter.version >= OLDEST_SUPPORTED]
    found = sorted(usable, key=lambda interpreter: interpreter.version)
    newer = [interpreter for interpreter in found if interpreter.version >= wanted]
    version = newer[0].version if newer else found[-1].version if found else None
    chosen = next((interpreter for interpreter in found if interpreter.version == version), None)
    if chosen is not None and chosen.version == wanted:
        return Choice(chosen, exact=True, warning=None)
    remedy = f"install Python 3.{wanted[1]}, for example with: uv python install 3.{wanted[1]}"
    if chosen is None or strict:
        listed = ", ".join(str(interpreter) for interpreter in found) or "none"
        message = f"no interpreter for runtime {runtime} on this machine ({remedy}); found: {listed}"
        raise RuntimeUnavailableError(message, runtime, found)
    return Choice(chosen, exact=False, warning=f"runtime {runtime} is not on this machine, using {chosen}; {remedy}")


def interpreter_files(path: str) -> tuple[str, ...]:
    """What an interpreter reads of its installation: itself, and the libraries beside its folder `bin`."""
    prefix = os.path.dirname(os.path.dirname(path))
    return (path, os.path.join(prefix, "lib"), os.path.join(prefix, "lib64"))


def _scan(environ: Mapping[str, str], home: str) -> Iterator[Interpreter]:
    for folder in environ.get("PATH", "").split(os.pathsep):
        # Shims (pyenv, asdf, mise) are shell scripts that decide anew in every folder.
        if os.path.isabs(folder) and os.path.basename(os.path.normpath(folder)) != "shims":
            yield from _in_folder(folder)
    pyenv_root = environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    yield from _in_version_folders(os.path.join(pyenv_root, "versions"))
    data_home = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    yield from _in_version_folders(environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data_home, "uv", "python"))
    for folder in _SYSTEM_FOLDERS:
        yield from _in_folder(folder)
    yield from _below_opt()


def _in_folder(folder: str) -> Iterator[Interpreter]:
    """python3.N under its own name, and python3 when it is a link to a name that tells its version."""
    for minor in range(OLDEST_SUPPORTED[1], _NEWEST_LOOKED_FOR):
        path = os.path.join(folder, f"python3.{minor}")
        if _is_program(path):
            yield Interpreter((3, minor), os.path.realpath(path))
    path = os.path.join(folder, "python3")
    if _is_program(path):
        target = os.path.realpath(path)
        match = _VERSIONED_NAME.fullmatch(os.path.basename(target))
        if match is not None:
            yield Interpreter((int(match[1]), int(match[2])), target)


def _in_version_folders(root: str) -> Iterator[Interpreter]:
    for name in _list(root):
        match = _VERSION_FOLDER.fullmatch(name)
        if match is not None:
            path = os.path.join(root, name, "bin", f"python3.{match[1]}")
            if _is_program(path):
                yield Interpreter((3, int(match[1])), os.path.realpath(path))


def _below_opt() -> Iterator[Interpreter]:
    for name in _list(_OTHER_ROOT):
        if name.startswith("python"):
            folder = os.path.join(_OTHER_ROOT, name)
            yield from _in_folder(os.path.join(folder, "bin"))
            yield from _in_version_folders(folder)


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK) and os.path.isfile(path)


def _list(folder: str) -> list[str]:
    # Newest patch release first: 3.12.10 before 3.12.9.
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)], reverse=True)
