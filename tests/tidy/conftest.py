"""The repository as the rules see it: its files, and its source parsed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "venturekit"
NOT_OURS = {".git", ".venv", ".venturekit", ".hypothesis", "__pycache__", "bin", "results", "dist", "node_modules"}
# Kept by tools beside the source: not in the repository.
CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".egg-info")


@dataclass(frozen=True)
class Module:
    """One file of ``src/venturekit``; ``path`` is relative to it, with slashes."""

    path: str
    text: str
    tree: ast.Module

    @property
    def dotted(self) -> str:
        """Its name for an import statement."""
        parts = ["venturekit", *self.path.removesuffix(".py").split("/")]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every Python file of the package."""
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text()
        found.append(Module(file.relative_to(SOURCE).as_posix(), text, ast.parse(text)))
    assert len(found) > 20, "the source was not found"
    return found


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every text file of the repository, relative to its root."""
    found = []
    for file in sorted(ROOT.rglob("*")):
        relative = file.relative_to(ROOT)
        if file.is_dir() or NOT_OURS.intersection(relative.parts) or any(p.endswith(CACHES) for p in relative.parts):
            continue
        if b"\0" not in file.read_bytes()[:4096]:
            found.append(relative)
    assert Path("README.md") in found
    return found
