"""A process that knows nothing, a store in memory on a clock of its own, and a server that takes messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.runtime_ws.management_server import ManagementServer
from venturekit.runtime import _process
from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.runtime.ws import ConnectionStore, create_connection_store
from venturekit.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "VENTURE_LOCAL", "VENTURE_LOG_LEVEL"):
        monkeypatch.delenv(variable, raising=False)
    _process.reset()
    yield
    _process.reset()


@pytest.fixture
def server() -> Iterator[ManagementServer]:
    with ManagementServer() as made:
        yield made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> ConnectionStore:
    return create_connection_store(MemoryRecordStore(), clock=clock.time, concurrency=4)
