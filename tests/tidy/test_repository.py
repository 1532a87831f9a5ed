"""What the repository's pages promise: links, commands, sections; and what must not be in any file."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Written in two halves, or this file would break its own rule.
MACHINE_PATHS = ["/wo" + "rk/", "/ro" + "ot/", "/tmp/te" + "am"]
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs.org", "deb." + "debian.org"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SCRIPTS = ["scripts/demo", "scripts/test", "scripts/check", "scripts/bench", "scripts/crash"]


def links(page: Path) -> list[str]:
    """Relative links of a Markdown page, without their anchors; code blocks left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [unquote(link.partition("#")[0]) for link in LINK.findall(text) if "://" not in link and link[0] != "#"]


def pages(root: Path, files: list[Path]) -> list[Path]:
    return [root / file for file in files if file.suffix == ".md"]


def test_the_changelog_has_an_unreleased_section(root: Path) -> None:
    _, found, below = (root / "CHANGELOG.md").read_text().partition("\n## [Unreleased]\n")
    assert found
    assert re.search(r"^- \S", below.partition("\n## [")[0], re.MULTILINE), "it is empty"


def test_every_link_leads_somewhere(root: Path, files: list[Path]) -> None:
    broken = [f"{p.name}: {link}" for p in pages(root, files) for link in links(p) if not (p.parent / link).exists()]
    assert broken == []


def test_every_file_in_docs_is_linked(root: Path, files: list[Path]) -> None:
    linked = {(page.parent / link).resolve() for page in pages(root, files) for link in links(page)}
    unlinked = [str(file) for file in files if file.parts[0] == "docs" and (root / file).resolve() not in linked]
    assert unlinked == []


def test_decisions_are_numbered_without_gaps(root: Path) -> None:
    names = sorted(path.name for path in (root / "docs" / "adr").iterdir())
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        text = (root / "docs" / "adr" / name).read_text()
        assert re.match(rf"# {name[:4]} \S", text), name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], name


@pytest.mark.parametrize("word", [*MACHINE_PATHS, *REGISTRIES])
def test_no_file_names_a_machine_or_a_registry(root: Path, files: list[Path], word: str) -> None:
    # Lock files are written by their tool.
    ours = [file for file in files if file.suffix != ".lock"]
    assert [str(file) for file in ours if word in (root / file).read_text(errors="replace")] == []


@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/setup.sh"])
def test_scripts_are_plain_sh(root: Path, script: str) -> None:
    assert script.endswith(".sh") or (root / script).read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", root / script], check=True, timeout=30)


@pytest.mark.parametrize("script", [*SCRIPTS, ".ci/run"])
def test_scripts_are_executable_and_stop_at_the_first_error(root: Path, script: str) -> None:
    assert os.access(root / script, os.X_OK)
    assert "\nset -eu\n" in (root / script).read_text()


def test_ci_runs_the_test_command_of_the_readme(root: Path) -> None:
    assert "scripts/test" in (root / "README.md").read_text()
    assert "exec sh scripts/test\n" in (root / ".ci" / "run").read_text()


def test_scripts_named_in_pages_exist(root: Path, files: list[Path]) -> None:
    named = {name for page in pages(root, files) for name in re.findall(r"\bscripts/[a-z_.]+[a-z]", page.read_text())}
    assert set(SCRIPTS) <= named
    assert [name for name in sorted(named) if not (root / name).exists()] == []
