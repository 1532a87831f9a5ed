"""The rules of tests/conftest.py, each tried on a small suite of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.forms import in_full

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
import pytest

@pytest.mark.parametrize("loop", ["a", "b"])
@pytest.mark.parametrize("case", ["one", "two"])
def test_cases(case, loop): pass

@pytest.mark.full
def test_long(): pass
"""
SKIPS = "import pytest\n\ndef test_skips(): pytest.skip('no compiler')\n"
MODULE_SKIPS = "import pytest\n\npytest.skip('no module', allow_module_level=True)\n"
EXPECTED_FAILURE = "import pytest\n\n@pytest.mark.xfail(reason='known')\ndef test_known(): assert False\n"
SETTINGS = '[tool.pytest.ini_options]\ntestpaths = ["tests"]\nmarkers = ["full: long"]\n'
FLOORS = """
[folders]
"tests/unit" = {folder}
[folders_in_full]
"tests/unit" = {full}
[counts.cases]
at_least = {cases}
tests = 'tests/unit/test_a\\.py::test_cases\\[(?P<case>\\w+)-\\w+\\]'
"""


class SmallSuite:
    """A folder with the real conftest, some tests and some floors."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        (folder / "tests" / "unit").mkdir(parents=True)
        shutil.copy(root / "tests" / "conftest.py", folder / "tests")
        (folder / "pyproject.toml").write_text(SETTINGS)
        self.write(SUITE)
        self.floors()

    def write(self, source: str) -> None:
        (self.folder / "tests" / "unit" / "test_a.py").write_text(source)

    def floors(self, *, folder: int = 4, cases: int = 2, full: int = 5) -> None:
        text = FLOORS.format(folder=folder, cases=cases, full=full)
        (self.folder / "tests" / "floors.toml").write_text(text)

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Exit status and output."""
        kept = {name: value for name, value in os.environ.items() if name not in {"CI", "VENTUREKIT_TEST_FULL"}}
        environment = {name: value for name, value in kept.items() if not name.startswith("PYTEST_")} | variables
        # Of all plugins that are installed it needs one at most.
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        plugins = ["-p", "xdist"] if "-n" in arguments else []
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib"]
        command += [*plugins, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def suite(root: Path, tmp_path: Path) -> SmallSuite:
    return SmallSuite(root, tmp_path)


def test_a_whole_run_above_its_floors_passes(suite: SmallSuite) -> None:
    status, output = suite.run()
    assert (status, "FLOOR MISSED" in output) == (0, False), output
    assert "4 passed, 1 deselected" in output


@pytest.mark.parametrize("arguments", [("-n", "2"), *in_full(((),))])
def test_a_missed_floor_fails_the_run(suite: SmallSuite, arguments: tuple[str, ...]) -> None:
    suite.floors(folder=5, cases=3)
    status, output = suite.run(*arguments)
    assert status == 1, output
    assert "FLOOR MISSED tests/unit: 4 tests passed, at least 5 must" in output
    assert "FLOOR MISSED cases: 2 cases passed, at least 3 must" in output


@pytest.mark.parametrize("arguments", [("tests/unit",), ("-k", "one"), ("-m", "not full"), ("--maxfail=1",)])
@pytest.mark.full
def test_a_part_of_the_suite_has_no_floors(suite: SmallSuite, arguments: tuple[str, ...]) -> None:
    suite.floors(folder=1000)
    status, output = suite.run(*arguments)
    assert (status, "FLOOR MISSED" in output) == (0, False), output


def test_full_counts_include_what_the_short_form_leaves_out(suite: SmallSuite) -> None:
    suite.floors(full=6)
    status, output = suite.run(VENTUREKIT_TEST_FULL="1")
    assert status == 1, output
    assert "5 passed" in output
    assert "FLOOR MISSED tests/unit: 5 tests passed, at least 6 must" in output


@pytest.mark.parametrize("source", [SKIPS, MODULE_SKIPS])
def test_a_skip_fails_under_ci_only(suite: SmallSuite, source: str) -> None:
    suite.write(source)
    assert suite.run("tests/unit")[0] in {0, 5}
    status, output = suite.run("tests/unit", CI="true")
    assert status != 0
    assert "was skipped, which counts as a failure under CI" in output
    assert "no compiler" in output or "no module" in output


def test_an_expected_failure_is_no_skip(suite: SmallSuite) -> None:
    suite.write(EXPECTED_FAILURE)
    status, output = suite.run("tests/unit", CI="true")
    assert (status, "1 xfailed" in output) == (0, True), output


def test_every_floor_is_about_something_that_exists(root: Path) -> None:
    table = tomllib.loads((root / "tests" / "floors.toml").read_text())
    with_tests = {file.parent for file in (root / "tests").rglob("test_*.py")}
    assert all(least > table["folders"][folder] for folder, least in table["folders_in_full"].items())
    for folder, least in table["folders"].items():
        assert least > 0
        assert any(folder_with_tests.is_relative_to(root / folder) for folder_with_tests in with_tests), folder
    for name, floor in table["counts"].items():
        assert "case" in re.compile(floor["tests"]).groupindex, name
        assert (root / floor["tests"].partition("::")[0].replace("\\", "")).is_file(), name


def test_every_folder_of_tests_has_a_floor(root: Path) -> None:
    floored = [root / folder for folder in tomllib.loads((root / "tests" / "floors.toml").read_text())["folders"]]
    folders = {file.parent for file in (root / "tests").rglob("test_*.py")}
    assert [str(path) for path in sorted(folders) if not any(path.is_relative_to(floor) for floor in floored)] == []
