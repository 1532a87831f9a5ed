"""A browser of this machine without a window, and a service whose functions it visits."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.service.harness import RunningService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.service.harness import FunctionSet

BOUND_MS = 20_000
START_BOUND_MS = 120_000
"""From a cold disk a browser takes its time."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    # Its own sandbox does not start for root, nor in most containers, whose /dev/shm is small.
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"),
    # It asks nobody but the service.
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium: Playwright's own is a download from elsewhere.

    For one module only: while Playwright runs, this thread has a running event loop, and other tests need their own.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium on PATH (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        # In a profile that is made for it and goes with it.
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS), timeout=START_BOUND_MS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a profile of its own."""
    context = browser.new_context()
    context.set_default_timeout(BOUND_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def browsed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("browsed") / "data")
    yield running
    running.close()


@pytest.fixture
def browsed(browsed_service: RunningService) -> Iterator[FunctionSet]:
    """Functions on that service; deleted afterwards."""
    made = browsed_service.functions()
    yield made
    made.delete_all()
