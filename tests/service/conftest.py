"""Fixtures of the tests of the whole service: one for all, or one of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import FunctionSet, Leaks, RunningService, client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The service that most tests share."""
    running = RunningService(tmp_path_factory.mktemp("service") / "data")
    yield running
    running.close()


@pytest.fixture
def functions(shared_service: RunningService) -> Iterator[FunctionSet]:
    """Functions on the shared service; deleted afterwards."""
    made = shared_service.functions()
    yield made
    made.delete_all()


@pytest.fixture
def leak_free(shared_service: RunningService) -> Iterator[FunctionSet]:
    """Functions on the shared service, of which no process, descriptor or directory may be left."""
    leaks = Leaks(shared_service)
    leaks.begin()
    made = FunctionSet(shared_service.url, client_of(shared_service.url))
    yield made
    made.delete_all()
    made.client.close()
    leaks.check()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., RunningService]]:
    """Start services of one's own: ``start_service(data_dir=..., **settings)``."""
    started: list[RunningService] = []

    def start(data_dir: Path | None = None, **settings: Any) -> RunningService:
        running = RunningService(data_dir or tmp_path / f"data-{len(started)}", **settings)
        started.append(running)
        return running

    yield start
    for running in reversed(started):
        running.close()
