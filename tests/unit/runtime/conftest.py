"""Every test of the framework starts in a process that knows nothing, and leaves one like that behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.runtime.support import Lines
from venturekit.runtime import _process

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = (
    *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "_X_AMZN_TRACE_ID"),
    *("VENTURE_LOG_LEVEL", "VENTURE_LOCAL", "VENTURE_LOCAL_URLS", "VENTURE_PROJECT_NAME", "VENTURE_STAGE"),
    *("VENTURE_INTENT_OUTPUTS", "VENTURE_LOCALES"),
)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    _process.reset()
    yield
    _process.reset()


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that retries would have waited, which they do not."""
    waited: list[float] = []

    async def apause(seconds: float) -> None:
        waited.append(seconds)

    _process.state.pause, _process.state.apause = waited.append, apause
    return waited
