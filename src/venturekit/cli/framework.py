"""The framework in an archive: code that imports ``venturekit`` and does not bring it along gets it.

A Lambda function can import what is in its archive and its layers. Whoever tries out one file should not have to build
an archive first.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import venturekit

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGE: Final = "venturekit"
PARTS: Final = ("protocol", "runtime", "transport")
"""The parts of the package that run in a function."""


def with_framework(files: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """The files of an archive, by their names in it, and the framework's if one of them imports it."""
    if any(name.startswith(f"{PACKAGE}/") for name, _ in files):
        return files
    if not any(name.endswith(".py") and imports_framework(file) for name, file in files):
        return files
    return sorted([*files, *framework_files()])


@cache
def framework_files() -> tuple[tuple[str, Path], ...]:
    """The files of the framework that is installed here."""
    root = Path(venturekit.__file__).parent
    found: Iterable[Path] = (path for part in PARTS for path in (root / part).rglob("*.py"))
    return tuple((f"{PACKAGE}/{path.relative_to(root)}", path) for path in (root / "__init__.py", *found))


def imports_framework(file: Path) -> bool:
    """Whether a Python file imports the package, anywhere in it; one that cannot be read as Python does not."""
    text = file.read_bytes()
    if PACKAGE.encode() not in text:
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return any(_imports(node) for node in ast.walk(tree))


def _imports(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and is_framework(node.module or "")
    return isinstance(node, ast.Import) and any(is_framework(alias.name) for alias in node.names)


def is_framework(module: str) -> bool:
    """Whether a module is one of the package's."""
    return module.partition(".")[0] == PACKAGE
