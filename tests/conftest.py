"""Rules of the whole suite: full counts on demand, no silent skip under CI, and floors under the number of tests."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

FULL = os.environ.get("VENTUREKIT_TEST_FULL") == "1"
CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
FLOORS = Path(__file__).parent / "floors.toml"
LONG_TEXT = 20_000
SHORT_EXAMPLES = 50
# Where hypothesis keeps what ``@settings`` says, on a function.
PROPERTY_SETTINGS = "_hypothesis_internal_use_settings"

# An example may wait for the other tests on a busy machine; what may take how long is asserted where it matters.
settings.register_profile("short", deadline=None, max_examples=SHORT_EXAMPLES)
settings.register_profile("full", deadline=None, max_examples=1000)
settings.load_profile("full" if FULL else "short")


@pytest.fixture(scope="session")
def full_counts() -> bool:
    """Whether ``scripts/test --all`` asked for full counts."""
    return FULL


@dataclass
class Floors:
    """Counts the tests that pass and compares them with the least numbers of ``floors.toml``."""

    folders: Mapping[str, int]
    counts: Mapping[str, Mapping[str, Any]]
    passed: set[str] = field(default_factory=set)

    def shortfalls(self) -> Iterable[str]:
        """One sentence for each floor that was missed."""
        for folder, least in self.folders.items():
            found = sum(name.startswith(f"{folder}/") for name in self.passed)
            if found < least:
                yield f"{folder}: {found} tests passed, at least {least} must"
        for name, floor in self.counts.items():
            cases = {match["case"] for test in self.passed if (match := re.fullmatch(floor["tests"], test))}
            if len(cases) < floor["at_least"]:
                yield f"{name}: {len(cases)} cases passed, at least {floor['at_least']} must"


FLOORS_KEY = pytest.StashKey[Floors]()


def whole_suite(config: pytest.Config) -> bool:
    """Whether nothing was left out by a path, an expression or an early stop: only then floors mean something."""
    options = config.option
    narrowed = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "maxfail", "collectonly", "lf", "stepwise")
    from_settings = config.args_source in {pytest.Config.ArgsSource.TESTPATHS, pytest.Config.ArgsSource.INVOCATION_DIR}
    return from_settings and not any(getattr(options, name, None) for name in narrowed)


def pytest_configure(config: pytest.Config) -> None:
    """Floors are counted where all reports come together: not in a worker of xdist."""
    # Started in the background by a shell this process ignores it, and so would every program whose Ctrl-C is tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput") and whole_suite(config):
        table = tomllib.loads(FLOORS.read_text())
        folders = table["folders"] | (table.get("folders_in_full", {}) if FULL else {})
        config.stash[FLOORS_KEY] = Floors(folders, table["counts"])
        config.pluginmanager.register(Collector(config.stash[FLOORS_KEY]), "venturekit-floors")


@dataclass
class Collector:
    """Feeds ``Floors`` from the reports and turns a shortfall into the exit status."""

    floors: Floors

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.floors.passed.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and any(self.floors.shortfalls()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for shortfall in self.floors.shortfalls():
            terminalreporter.line(f"FLOOR MISSED {shortfall} (tests/floors.toml)", red=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the collector of garbage, which would look through ever more tests, and keep what is compiled.

    Each worker collects everything. What was collected stays to the end: it is not looked through again either.
    """
    writes_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = writes_nothing
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """After each file take out what it has left, and look no more through what stays: that grows with every file."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
    return result


def try_fewer_examples(item: pytest.Item) -> None:
    """The short form of a property: numbers of examples beside it count in the full form."""
    machine = getattr(getattr(item, "cls", None), "settings", None)
    if isinstance(machine, settings) and machine.max_examples > SHORT_EXAMPLES:
        item.cls.settings = settings(machine, max_examples=SHORT_EXAMPLES)  # type: ignore[attr-defined]
    function = getattr(item, "function", None)
    own = getattr(function, PROPERTY_SETTINGS, None)
    if isinstance(own, settings) and own.max_examples > SHORT_EXAMPLES:
        setattr(function, PROPERTY_SETTINGS, settings(own, max_examples=SHORT_EXAMPLES))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test marked ``full`` has a smaller twin that always runs, so it is left out of the short form."""
    if not FULL:
        for item in items:
            try_fewer_examples(item)
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Where long texts differ. Under CI pytest would print all of both, which for megabytes takes minutes."""
    if op != "==" or not isinstance(left, str | bytes) or type(left) is not type(right):
        return None
    assert isinstance(right, str | bytes)
    if len(left) + len(right) < LONG_TEXT:
        return None
    places = (place for place, (ours, theirs) in enumerate(zip(left, right, strict=False)) if ours != theirs)
    place = next(places, min(len(left), len(right)))
    shown = slice(max(0, place - 20), place + 60)
    return [
        f"texts of {len(left)} and {len(right)} that differ at {place}:",
        f"left:  {left[shown]!r}",
        f"right: {right[shown]!r}",
    ]


def _skip_is_failure(report: pytest.TestReport | pytest.CollectReport) -> None:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which counts as a failure under CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a test that skips itself has failed: what it needs must be installed there."""
    report = yield
    _skip_is_failure(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is imported."""
    report = yield
    _skip_is_failure(report)
    return report
