"""Every example in a docstring, and docs/testing.md as its reader would write it down."""

from __future__ import annotations

import doctest
import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import venturekit.testing

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(venturekit.testing.__path__, "venturekit.testing.")
    if not module.ispkg
)


def examples_of(name: str) -> list[doctest.DocTest]:
    return [found for found in doctest.DocTestFinder().find(import_module(name)) if found.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples_of(name)])
def test_examples(name: str, vk_reset: None) -> None:
    for example in examples_of(name):
        outcome = doctest.DocTestRunner().run(example)
        assert outcome.failed == 0, example.name


def test_every_builder_and_tool_has_an_example() -> None:
    without = [
        name
        for name in venturekit.testing.__all__
        if ">>>" not in (getattr(venturekit.testing, name).__doc__ or "")
        and name not in ("LocalService", "ClientResponse", "RecordedCall", "ServiceUnavailableError")
    ]
    assert without == []


def test_the_page_is_true(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    blocks = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("```python")
    for name, source in blocks:
        (tmp_path / name).write_text(source)
    (tmp_path / "test_shared.py").write_text("def test_it(shared_service):\n    assert shared_service.url\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -W error\npythonpath = .\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VENTURE", "AWS_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(source.count("\ndef test_") for _, source in blocks) + 1
    assert f"{tests} passed" in done.stdout


def test_the_page_names_every_fixture_and_builder() -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    names = [*(name for name in venturekit.testing.__all__ if name.endswith("_event"))]
    names += [name for name in vars(import_module("venturekit.testing.plugin")) if name.startswith("vk_")]
    assert [name for name in names if f"`{name}" not in page] == []
