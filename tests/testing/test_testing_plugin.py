"""The plugin of pytest as others have it: found by its entry point, in a run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.runtime import _process, environ, invoke
from venturekit.testing import plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from venturekit.testing import Client, FakeInvoker, FakeLambdaContext, LocalService, ManualClock

UNUSED = """
import sys

def test_nothing_was_imported():
    loaded = {name for name in sys.modules if name.startswith("venturekit")}
    assert loaded == {"venturekit", "venturekit.testing", "venturekit.testing.plugin"}
    assert "boto3" not in sys.modules
"""
USED = """
import pytest
from venturekit.runtime import handler, invoke

@handler
def main(body, ctx):
    return invoke(function="price", payload=body).data

@pytest.mark.parametrize("number", range(4))
def test_a_call(vk_client, vk_invoker, vk_logs, vk_clock, vk_context, number):
    vk_invoker.add_function("price", lambda event, context: event["count"] * number)
    assert vk_client(main).post("/", json={"count": 2}, context=vk_context).data == 2 * number
    assert vk_logs.one("request completed")["status"] == 201
    assert vk_invoker.calls[0].payload == {"count": 2}

def test_nothing_is_left():
    from venturekit.runtime import _process
    assert _process.state.invoker is None
"""
MODULE_THAT_SETS_UP = """
import sqlite3
from venturekit.runtime import DbApiTransactions, handler, set_transaction_provider
from venturekit.runtime.patterns import configure_circuit_breaker, create_memory_breaker_store

set_transaction_provider(DbApiTransactions(lambda: sqlite3.connect(":memory:")))
store = create_memory_breaker_store()
configure_circuit_breaker(failure_threshold=1, store=store)

@handler(transactional=True)
def main(body, ctx):
    return ctx.tx.execute("select 7").fetchone()[0]
"""
USER_OF_THE_MODULE = """
import pytest

if {at_collection}:
    import app

@pytest.mark.parametrize("number", range(2))
def test_what_a_module_has_set_up_stays(vk_client, number):
    import app
    from venturekit.runtime.patterns.breakers import breakers

    assert vk_client(app.main).get("/").data == 7
    assert (breakers().failure_threshold, breakers().store) == (1, app.store)
    assert breakers().of("target").may_call()
    breakers().of("target").failed()

def test_what_was_counted_is_forgotten(vk_reset):
    from venturekit.runtime.patterns.breakers import breakers
    assert breakers().of("target").may_call()

def test_what_a_test_sets_instead_does_not_stay(vk_reset):
    from venturekit.runtime import set_transaction_provider
    set_transaction_provider(None)

def test_so_it_is_there_again(vk_client):
    import app
    assert vk_client(app.main).get("/").data == 7
"""
WITHOUT_EXTRA = """
import venturekit.testing.service
venturekit.testing.service._NEEDED = ("not_installed",)

def test_a_service(vk_service):
    assert False
"""


def run(directory: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config -W error\n")
    (directory / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(directory)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VENTURE"))}
    return subprocess.run(command, cwd=directory, env=kept, capture_output=True, text=True, timeout=60)


def test_the_entry_point_is_installed() -> None:
    found = [entry.value for entry in entry_points(group="pytest11") if entry.name == "vk"]
    assert found == ["venturekit.testing.plugin"]


def test_a_run_that_does_not_use_it_imports_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, UNUSED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_with_workers(tmp_path: Path) -> None:
    done = run(tmp_path, USED, "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.parametrize("at_collection", [True, False])
def test_what_modules_set_up_when_they_are_imported_stays(tmp_path: Path, at_collection: bool) -> None:
    (tmp_path / "app.py").write_text(MODULE_THAT_SETS_UP)
    done = run(tmp_path, USER_OF_THE_MODULE.replace("{at_collection}", str(at_collection)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_a_service_without_the_extra_fails_in_clear_words(tmp_path: Path) -> None:
    done = run(tmp_path, WITHOUT_EXTRA)
    assert done.returncode == 1
    assert "pip install 'venturekit[local]'" in done.stdout
    assert "Traceback" not in done.stdout


def test_fixtures_are_documented() -> None:
    fixtures = {name for name in vars(plugin) if name.startswith("vk_")}
    assert fixtures == {"vk_clock", "vk_client", "vk_context", "vk_invoker", "vk_logs", "vk_reset", "vk_service"}
    assert plugin.__doc__ is not None
    assert {name for name in fixtures if name not in plugin.__doc__} == set()


def test_the_environment_of_a_test_wins(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, vk_reset: None
) -> None:
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "mine")
    monkeypatch.delenv("VENTURE_STAGE", raising=False)
    fake: FakeInvoker = request.getfixturevalue("vk_invoker")
    assert (environ.project_name(), environ.stage()) == ("mine", "test")
    fake.add_function("f", returns=1)
    assert invoke(function="f").data == 1
    assert fake.calls[0].name == "mine-test-fn-f"


def test_fixtures_belong_together(
    vk_clock: ManualClock, vk_context: FakeLambdaContext, vk_client: Callable[..., Client], vk_invoker: FakeInvoker
) -> None:
    assert vk_context.clock is vk_clock
    assert _process.state.invoker is vk_invoker
    seen: list[Any] = []
    vk_client(lambda event, context: seen.append((event, context))).get("/")
    event, context = seen[0]
    assert event["requestContext"]["timeEpoch"] == vk_clock.epoch_ms
    assert context.clock is vk_clock


def test_a_service(vk_service: LocalService) -> None:
    import boto3

    vk_service.create_function("f", {"app.py": "def main(event, context): return event"}, framework=False)
    # Nothing is said here of where it is.
    assert boto3.Session().client("lambda").invoke(FunctionName="f", Payload=b"[1]")["Payload"].read() == b"[1]"
