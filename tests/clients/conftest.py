"""One service for the tests with clients of all kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.service.harness import RunningService, zip_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = """
def handler(event, context):
    print("seen", event)
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("as told")
    return {"event": event, "version": context.function_version}
"""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The service that these tests share."""
    running = RunningService(tmp_path_factory.mktemp("clients") / "data")
    yield running
    running.close()


@pytest.fixture(scope="session")
def archive() -> bytes:
    """The code of a function that echoes its event."""
    return zip_of({"app.py": SOURCE})
