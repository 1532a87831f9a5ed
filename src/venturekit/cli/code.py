"""A function's code as the Lambda API takes it: a zip archive, made in memory from a file or a directory.

The same files always make the same bytes, so that an unchanged function keeps its code and its warm environments.
"""

from __future__ import annotations

import ast
import io
import os
import stat
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from venturekit.cli import environ, framework, javascript
from venturekit.cli.exits import USAGE, CommandError, complain

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT: Final = frozenset({"__pycache__", ".git", ".venv", ".venturekit"})
LIMIT_BYTES: Final = 262_144_000
"""The most that AWS takes, unzipped."""
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
BOOTSTRAP: Final = "bootstrap"
PROVIDED: Final = "provided.al2023"
NODE_MAJORS: Final = (24, 22, 20, 18)
NODE_DEFAULT: Final = "nodejs22.x"
HANDLER_NAMES: Final = ("handler", "lambda_handler", "main")


@dataclass(frozen=True, slots=True)
class Code:
    """An archive, and what it suggests: the handler, whether it has a bootstrap, and whether it is JavaScript."""

    archive: bytes
    handler: str | None
    has_bootstrap: bool
    is_node: bool = False

    def settings(self, handler: str | None, runtime: str | None, given_by: str = "--handler") -> tuple[str, str]:
        """Handler and runtime, where not given from the code. Raises CommandError when the code does not tell.

        ``given_by`` is what the error tells to use, as the command spells it.
        """
        chosen = runtime or (PROVIDED if self.has_bootstrap else node_runtime() if self.is_node else own_runtime())
        named = handler or self.handler or (BOOTSTRAP if chosen.startswith("provided") else None)
        if named is None:
            example = "app.mjs" if self.is_node else "app.py"
            raise CommandError(f"{given_by} is needed: MODULE.FUNCTION, for example app.handler for {example}", USAGE)
        return named, chosen


def own_runtime() -> str:
    """The runtime of the Python that runs this command."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def node_runtime() -> str:
    """The newest runtime that AWS has for a Node.js of this machine; without one, that of :data:`NODE_DEFAULT`."""
    from venturekit.service.environments.nodes import find_nodes

    majors = {node.version[0] for node in find_nodes(environ.variables(), str(Path.home()))}
    return next((f"nodejs{major}.x" for major in NODE_MAJORS if major in majors), NODE_DEFAULT)


def load_code(given: str) -> Code:
    """The code at a path: a zip archive is taken as it is, another file or a directory is zipped.

    Raises CommandError when it cannot be read or is too large.
    """
    path = Path(given).expanduser()
    try:
        if path.is_dir():
            return _from_directory(path)
        if not path.exists():
            raise CommandError(f"there is no file or directory {given}", USAGE)
        if not path.is_file():
            raise CommandError(f"{given} is neither a file nor a directory", USAGE)
        if path.suffix.lower() == ".zip":
            return _from_archive(path)
        return _from_file(path)
    except OSError as error:
        raise CommandError(f"{error.filename or given}: {error.strerror}", USAGE) from error


def default_handler(path: Path) -> str:
    """``MODULE.FUNCTION`` for a Python file: the first of HANDLER_NAMES that it defines, else the first."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        # Python itself says best what is wrong with the file: when the function is started.
        defined: set[str] = set()
    else:
        defined = set(_top_level_names(tree))
    name = next((name for name in HANDLER_NAMES if name in defined), HANDLER_NAMES[0])
    return f"{path.stem}.{name}"


def _top_level_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom) and framework.is_framework(node.module or ""):
            # Its handler() makes handlers, and is none.
            continue
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def _from_archive(path: Path) -> Code:
    _check_size(path.stat().st_size, path)
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CommandError(f"{path} is not a zip archive: {error}", USAGE) from None
    return Code(data, None, BOOTSTRAP in names, is_node=javascript.is_node(names))


def _from_file(path: Path) -> Code:
    _check_size(path.stat().st_size, path)
    if path.suffix in javascript.TYPESCRIPT_SUFFIXES:
        command = f"npx esbuild {path.name} --bundle --platform=node --format=esm --outfile={path.stem}.mjs"
        raise CommandError(f"{path.name} is TypeScript, which no runtime executes: compile it first: {command}", USAGE)
    is_node = javascript.is_node([path.name])
    handler = javascript.default_handler(path) if is_node else default_handler(path) if path.suffix == ".py" else None
    _warn_of_bootstrap([(path.name, path)])
    return Code(_zip(framework.with_framework([(path.name, path)])), handler, path.name == BOOTSTRAP, is_node)


def _from_directory(path: Path) -> Code:
    files = sorted(_files(path, "", frozenset()))
    if not files:
        raise CommandError(f"the directory {path} holds no files", USAGE)
    _check_size(sum(file.stat().st_size for _, file in files), path)
    names = {name for name, _ in files}
    python = [file for name, file in files if name.endswith(".py") and "/" not in name]
    main = javascript.main_file(names)
    if main is not None:
        handler: str | None = javascript.default_handler(path / main)
    else:
        handler = default_handler(python[0]) if len(python) == 1 else None
    _warn_of_bootstrap(files)
    return Code(_zip(framework.with_framework(files)), handler, BOOTSTRAP in names, javascript.is_node(names))


def _files(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, Path]]:
    """Names in the archive and files, links followed; a link to a folder that it is in is left out."""
    status = folder.stat()
    here = above | {(status.st_dev, status.st_ino)}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in LEFT_OUT or entry.name.endswith(".pyc"):
            continue
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            target = entry.stat()
            if (target.st_dev, target.st_ino) not in here:
                yield from _files(Path(entry.path), f"{name}/", here)
        elif entry.is_file():
            yield name, Path(entry.path)


def _warn_of_bootstrap(files: list[tuple[str, Path]]) -> None:
    """AWS says "permission denied" only when the function is invoked."""
    for name, file in files:
        if name == BOOTSTRAP and not file.stat().st_mode & 0o111:
            complain(f"{file} is not executable, so it cannot start as a runtime: chmod +x {file}")


def _zip(files: list[tuple[str, Path]]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            mode = 0o755 if file.stat().st_mode & 0o111 else 0o644
            info.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(info, file.read_bytes())
    return target.getvalue()


def _check_size(size: int, path: Path) -> None:
    if size > LIMIT_BYTES:
        raise CommandError(f"{path} is {size} bytes large; a function may have at most {LIMIT_BYTES}", USAGE)
