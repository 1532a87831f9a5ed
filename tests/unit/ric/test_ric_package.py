"""What the package may be made of: it is loaded by the function's interpreter, under a name that may not be its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import venturekit.ric

FOLDER = Path(venturekit.ric.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_module_is_valid_for_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_imports_are_relative_or_of_the_standard_library(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1
            names = [node.module or ""] if node.level == 0 else []
        for name in names:
            assert name.partition(".")[0] in sys.stdlib_module_names


def test_the_import_is_light() -> None:
    heavy = (
        "asyncio dataclasses inspect uuid http http.client ssl socket selectors typing urllib email datetime decimal"
    )
    code = f"import sys; sys.path.append({str(FOLDER.parents[1])!r}); import venturekit.ric; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert "venturekit.ric.bootstrap" in loaded
    assert loaded.isdisjoint(heavy.split())
