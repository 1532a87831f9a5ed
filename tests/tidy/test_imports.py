"""The import table of ARCHITECTURE.md holds, and there are no import cycles."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

HEADER = "| Package | Of ours | Third party | Never |"


class Module(Protocol):
    """What the fixture ``modules`` is made of."""

    @property
    def path(self) -> str: ...

    @property
    def tree(self) -> ast.Module: ...

    @property
    def dotted(self) -> str: ...


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    package: str
    ours: frozenset[str]
    third_party: frozenset[str]
    never: frozenset[str]


def covers(prefix: str, path: str) -> bool:
    """Whether a row's path is this module's or a folder above it; ``a`` covers ``a.py`` and ``a/…``."""
    return path == prefix or path == f"{prefix}.py" or path.startswith(f"{prefix}/")


def parse_table(markdown: str) -> dict[str, Rule]:
    """The rows below the header, by their first cell."""
    _, found, below = markdown.partition(HEADER)
    assert found, f"ARCHITECTURE.md has no table {HEADER}"
    rules = {}
    for line in below.strip().splitlines()[1:]:
        if not line.startswith("|"):
            break
        names = [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]
        assert len(names) == 4, line
        assert len(names[0]) == 1, line
        rules[names[0][0]] = Rule(names[0][0], *(frozenset(cell) for cell in names[1:]))
    return rules


def rule_of(path: str, rules: Mapping[str, Rule]) -> Rule | None:
    """The row with the longest path that covers the module."""
    covering = [rule for rule in rules.values() if covers(rule.package, path)]
    return max(covering, key=lambda rule: len(rule.package), default=None)


def imported(module: Module, known: Mapping[str, str]) -> Iterable[tuple[str, int, bool]]:
    """Every import: dotted name of the module, line, and whether it happens while this module is imported.

    ``from package import name`` counts as an import of ``package.name`` where that is a module (``known``).
    """
    lazy = {
        inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or for_types_only(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            names = [full if (full := f"{base}.{alias.name}") in known else base for alias in node.names]
        else:
            continue
        for name in names:
            yield name, node.lineno, node not in lazy


def for_types_only(node: ast.AST) -> bool:
    """``if TYPE_CHECKING:``, which is not run."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """The dotted name that an import is from, relative ones resolved."""
    if not node.level:
        return node.module or ""
    package = module.dotted.split(".") if module.path.endswith("__init__.py") else module.dotted.split(".")[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, node.module] if node.module else package)


def offences(module: Module, rules: Mapping[str, Rule], known: Mapping[str, str]) -> Iterable[str]:
    """One sentence for each import that the table does not allow."""
    rule = rule_of(module.path, rules)
    for name, line, _ in imported(module, known):
        where, top = f"{module.path}:{line} imports {name}", name.partition(".")[0]
        if rule is None:
            yield f"{module.path}: no row of the table covers this module"
            return
        if top == "venturekit":
            target = known.get(name, name.removeprefix("venturekit").lstrip(".").replace(".", "/"))
            allowed = {rule.package, *rule.ours}
            if target != "__init__.py" and not any(covers(prefix, target) for prefix in allowed):
                yield f"{where}, which `{rule.package}` may not"
        elif top in sys.stdlib_module_names:
            if top in rule.never:
                yield f"{where}, which `{rule.package}` must never"
        elif top not in rule.third_party:
            yield f"{where}, a third-party package that `{rule.package}` may not import"


def cycle(graph: Mapping[str, Iterable[str]]) -> Sequence[str]:
    """The modules of one cycle in their order, or nothing."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Sequence[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name not in done:
            for target in graph.get(name, ()):
                if found := visit(target, (*trail, name)):
                    return found
            done.add(name)
        return ()

    for start in graph:
        if found := visit(start, ()):
            return found
    return ()


@pytest.fixture(scope="module")
def rules(root: Path) -> dict[str, Rule]:
    return parse_table((root / "ARCHITECTURE.md").read_text())


@pytest.fixture(scope="module")
def known(modules: list[Module]) -> dict[str, str]:
    """Path by dotted name."""
    return {module.dotted: module.path for module in modules}


def test_every_import_is_allowed_by_the_table(
    modules: list[Module], rules: dict[str, Rule], known: dict[str, str]
) -> None:
    found = [offence for module in modules for offence in offences(module, rules, known)]
    assert not found, "\n".join(found)


def test_every_row_names_something_that_exists(modules: list[Module], rules: dict[str, Rule]) -> None:
    paths = [module.path for module in modules]
    named = {name for rule in rules.values() for name in (rule.package, *rule.ours)}
    assert [name for name in sorted(named) if not any(covers(name, path) for path in paths)] == []


def test_there_are_no_import_cycles(modules: list[Module], known: dict[str, str]) -> None:
    graph = {
        module.dotted: {name for name, _, at_import in imported(module, known) if at_import and name in known}
        - {module.dotted}
        for module in modules
    }
    assert cycle(graph) == ()


@dataclass(frozen=True)
class Sample:
    path: str
    tree: ast.Module

    @property
    def dotted(self) -> str:
        return "venturekit." + self.path.removesuffix(".py").replace("/", ".")


TABLE = f"""
{HEADER}
|---|---|---|---|
| `low` | | | `socket` |
| `high` | `low` | `orjson` | |
| `high/odd.py` | | | |
"""


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("low/a.py", "import json", 0),
        ("low/a.py", "import socket", 1),
        ("low/a.py", "from socket import socket", 1),
        ("low/a.py", "import venturekit.high.b", 1),
        ("low/a.py", "def f():\n    from venturekit.high import b", 1),
        ("low/a.py", "from ..high import b", 1),
        ("low/a.py", "from . import other", 0),
        ("low/a.py", "from venturekit import __version__", 0),
        ("low/a.py", "import orjson", 1),
        ("high/b.py", "import orjson\nfrom venturekit.low import a", 0),
        ("high/b.py", "import httptools.parser", 1),
        ("high/odd.py", "from venturekit.low import a", 1),
        ("elsewhere.py", "import json", 1),
        ("lowest.py", "import json", 1),
    ],
)
def test_the_rules_catch_what_they_are_for(path: str, source: str, expected: int) -> None:
    known = {"venturekit": "__init__.py", "venturekit.low.a": "low/a.py", "venturekit.high.b": "high/b.py"}
    assert len(list(offences(Sample(path, ast.parse(source)), parse_table(TABLE), known))) == expected


def test_a_cycle_is_found() -> None:
    assert cycle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ("b", "c")
    assert cycle({"a": ["b", "c"], "b": ["c"], "c": []}) == ()
