"""Fixtures for pytest, there as soon as VentureKit is installed. Nothing of it is imported before a test asks.

``vk_clock``, ``vk_context``, ``vk_client``, ``vk_invoker``, ``vk_logs``, ``vk_service`` and ``vk_reset``; see
docs/testing.md. Types for annotations: ``from venturekit.testing import FakeInvoker, ...``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from venturekit.testing.client import Client
    from venturekit.testing.clock import ManualClock
    from venturekit.testing.invoker import FakeInvoker
    from venturekit.testing.lambda_context import FakeLambdaContext
    from venturekit.testing.logs import LogCapture
    from venturekit.testing.service import LocalService

PROJECT: Final = "test-project"
STAGE: Final = "test"
# What would lead clients away from the service of a test.
_ELSEWHERE: Final = (
    *("VENTURE_LOCAL", "VENTURE_LOCAL_URLS"),
    *("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
)


@pytest.fixture
def vk_reset() -> Iterator[None]:
    """Nothing that the framework keeps for the process is left over from a test, or for the next one.

    What modules set up when they are imported stays: they are imported once.
    """
    from venturekit.testing.process_state import between_tests

    with between_tests():
        yield


@pytest.fixture
def vk_clock(vk_reset: None) -> ManualClock:
    """A clock that moves only when the test says so: ``vk_clock.advance(seconds=30)``.

    Retries of tasks and of ``invoke()`` wait by it, which takes no time.
    """
    from venturekit.runtime import _process
    from venturekit.testing.clock import ManualClock

    clock = ManualClock()
    _process.state.pause, _process.state.apause = clock.sleep, clock.asleep
    return clock


@pytest.fixture
def vk_context(vk_clock: ManualClock) -> FakeLambdaContext:
    """The second argument of a handler; its time runs on ``vk_clock``."""
    from venturekit.testing.lambda_context import FakeLambdaContext

    return FakeLambdaContext(clock=vk_clock)


@pytest.fixture
def vk_client(vk_clock: ManualClock) -> Callable[..., Client]:
    """Makes clients of handlers, on ``vk_clock``: ``client = vk_client({"GET /users/{id}": main})``."""
    from venturekit.testing.client import Client

    def make(handlers: Any, **options: Any) -> Client:
        return Client(handlers, **{"clock": vk_clock, **options})

    return make


@pytest.fixture
def vk_invoker(vk_clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> FakeInvoker:
    """What ``invoke()`` calls in this test: functions and routes that it registers.

    ``VENTURE_PROJECT_NAME`` and ``VENTURE_STAGE`` are set if they are not.
    """
    from venturekit.runtime import _process, environ
    from venturekit.testing.invoker import FakeInvoker

    if environ.project_name() is None:
        monkeypatch.setenv("VENTURE_PROJECT_NAME", PROJECT)
    if environ.stage() is None:
        monkeypatch.setenv("VENTURE_STAGE", STAGE)
    invoker = _process.state.invoker = FakeInvoker(clock=vk_clock)
    return invoker


@pytest.fixture
def vk_logs() -> Iterator[LogCapture]:
    """The records that the framework's loggers write in this test."""
    from venturekit.testing.logs import LogCapture

    with LogCapture() as capture:
        yield capture


@pytest.fixture
def vk_service(tmp_path: Path, vk_reset: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalService]:
    """A real service, the test's own; boto3, the AWS CLI and ``invoke()`` find it by the environment.

    Needs ``venturekit[local]``.
    """
    from venturekit.testing.service import LocalService, ServiceUnavailableError

    try:
        service = LocalService(tmp_path / "venturekit-service")
    except ServiceUnavailableError as error:
        pytest.fail(f"vk_service: {error}", pytrace=False)
    with service:
        for name, value in service.variables.items():
            monkeypatch.setenv(name, value)
        for name in _ELSEWHERE:
            monkeypatch.delenv(name, raising=False)
        yield service
