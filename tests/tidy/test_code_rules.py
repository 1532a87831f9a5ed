"""Rules of the source that no linter knows: environment variables, module state, docstrings, sizes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LARGEST_FILE_LINES = 500
# Files that are too long, with their length. Nothing is added here, and no number grows.
TOO_LONG: dict[str, int] = {}
READS_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
MUTABLE_TYPES = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "WeakSet"}
MUTABLE_TYPES |= {"WeakKeyDictionary", "WeakValueDictionary", "ChainMap", "count", "Lock", "RLock", "local", "Queue"}
MUTATORS = {"append", "add", "update", "pop", "popitem", "clear", "setdefault", "extend", "insert", "remove", "discard"}
CONSTANT = re.compile(r"_{0,2}[A-Z][A-Z0-9_]*|__\w+__")


class Module(Protocol):
    """What the fixture ``modules`` is made of."""

    path: str
    text: str
    tree: ast.Module


def environment_reads(tree: ast.Module) -> Iterable[int]:
    """Lines that read or hand on the environment variables of this process."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in READS_ENVIRONMENT:
                yield node.lineno
            case ast.ImportFrom(module="os", names=names) if READS_ENVIRONMENT & {alias.name for alias in names}:
                yield node.lineno


def module_level(tree: ast.Module) -> Iterable[ast.stmt]:
    """Statements that run at import, those inside ``if`` and ``try`` included."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop(0)
        yield node
        for block in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                pending += getattr(node, block, [])


def is_mutable(value: ast.expr | None) -> bool:
    """Whether an expression makes something that can be changed later."""
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in MUTABLE_TYPES
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def mutable_state(tree: ast.Module) -> Iterable[str]:
    """Module-level values that are, or could be meant to be, changed: one sentence each.

    A table under a constant's name is fine as long as nothing in its module changes it.
    """
    tables: set[str] = set()
    for node in module_level(tree):
        match node:
            case ast.Assign(targets=targets, value=value) if is_mutable(value):
                names = {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if is_mutable(value):
                names = {name}
            case _:
                continue
        tables |= names
        for name in sorted(names):
            if not CONSTANT.fullmatch(name):
                yield f"line {node.lineno}: {name} is mutable and not named as a constant"
    for inner in ast.walk(tree):
        match inner:
            case ast.Global(names=declared):
                yield f"line {inner.lineno}: global {', '.join(declared)}"
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in tables:
                yield f"line {inner.lineno}: {name} is changed"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if name in tables:
                if method in MUTATORS:
                    yield f"line {inner.lineno}: {name} is changed"


def without_docstring(path: str, tree: ast.Module) -> Iterable[str]:
    """Public modules, classes and functions that say nothing about themselves."""
    if any(part.startswith("_") and part not in {"__init__.py", "__main__.py"} for part in path.split("/")):
        return
    if ast.get_docstring(tree) is None:
        yield "the module"
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # The implementation speaks for its overloads.
        decorators = [] if isinstance(node, ast.ClassDef) else [ast.unparse(given) for given in node.decorator_list]
        if not node.name.startswith("_") and ast.get_docstring(node) is None and "overload" not in decorators:
            yield node.name


def exempt_from_environment_rule(markdown: str) -> list[str]:
    """What ARCHITECTURE.md names after ``Exempt:``."""
    found = re.search(r"Exempt: ((?:[^.]|\.py)*)\.", markdown)
    assert found is not None, "ARCHITECTURE.md names no exemption"
    return re.findall(r"`([^`]+)`", found[1])


def test_only_config_and_environ_modules_read_environment_variables(modules: list[Module], root: Path) -> None:
    exempt = exempt_from_environment_rule((root / "ARCHITECTURE.md").read_text())
    assert "ric" in exempt
    found = [
        f"{module.path}:{line}"
        for module in modules
        if any(name in module.text for name in READS_ENVIRONMENT)
        and module.path.split("/")[-1] not in {"config.py", "environ.py"}
        and not any(module.path == name or module.path.startswith(f"{name}/") for name in exempt)
        for line in environment_reads(module.tree)
    ]
    assert found == []


def test_every_exemption_is_needed(modules: list[Module], root: Path) -> None:
    for name in exempt_from_environment_rule((root / "ARCHITECTURE.md").read_text()):
        covered = [module for module in modules if module.path == name or module.path.startswith(f"{name}/")]
        assert any(list(environment_reads(module.tree)) for module in covered), name


def test_no_module_keeps_mutable_state(modules: list[Module]) -> None:
    assert [f"{module.path} {offence}" for module in modules for offence in mutable_state(module.tree)] == []


def test_public_names_have_docstrings(modules: list[Module]) -> None:
    assert [f"{m.path}: {name}" for m in modules for name in without_docstring(m.path, m.tree)] == []


def test_annotations_are_never_evaluated(modules: list[Module]) -> None:
    wanted = "from __future__ import annotations"
    # A package's docstring and its version are no code.
    trivial = [m.path for m in modules if all(isinstance(node, ast.Expr | ast.Assign) for node in m.tree.body)]
    assert [m.path for m in modules if wanted not in m.text and m.path not in trivial] == []


def test_no_file_is_too_long(modules: list[Module]) -> None:
    lengths = {module.path: len(module.text.splitlines()) for module in modules}
    assert {p: n for p, n in lengths.items() if n > TOO_LONG.get(p, LARGEST_FILE_LINES)} == {}


def test_the_list_of_long_files_only_shrinks(modules: list[Module]) -> None:
    lengths = {module.path: len(module.text.splitlines()) for module in modules}
    no_longer = [path for path in TOO_LONG if lengths.get(path, 0) <= LARGEST_FILE_LINES]
    assert no_longer == [], "take these off the list"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nos.environ['A']", 1),
        ("import os\nx = os.getenv('A')", 1),
        ("from os import environ", 1),
        ("import os\nos.getpid()", 0),
        ("def run(environ): return environ['A']", 0),
    ],
)
def test_reading_the_environment_is_seen(source: str, expected: int) -> None:
    assert len(list(environment_reads(ast.parse(source)))) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cache = {}", 1),
        ("cache: dict[str, int] = dict()", 1),
        ("import collections\nrecent = collections.deque()", 1),
        ("if True:\n    seen = set()", 1),
        ("x = 1\ndef f():\n    global x\n    x = 2", 1),
        ("TABLE = {}\ndef f(a): TABLE[a] = 1", 1),
        ("TABLE = []\ndef f(a): TABLE.append(a)", 1),
        ("TABLE = {}\ndef f(a): del TABLE[a]", 1),
        ("TABLE = {'a': 1}\ndef f(a): return TABLE[a]", 0),
        ("_NAMES: dict[str, int] = {}", 0),
        ("__all__ = ['a']", 0),
        ("names = ('a', 'b')", 0),
        ("def f():\n    cache = {}\n    cache['a'] = 1", 0),
    ],
)
def test_mutable_state_is_seen(source: str, expected: int) -> None:
    assert len(list(mutable_state(ast.parse(source)))) == expected


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("a.py", "", ["the module"]),
        ("a.py", "'''Doc.'''\nclass A: ...\ndef f(): ...\nasync def g(): ...", ["A", "f", "g"]),
        ("a.py", "'''Doc.'''\ndef _f(): ...\ndef g():\n    '''Doc.'''", []),
        ("_a.py", "def f(): ...", []),
    ],
)
def test_a_missing_docstring_is_seen(path: str, source: str, expected: list[str]) -> None:
    assert list(without_docstring(path, ast.parse(source))) == expected
