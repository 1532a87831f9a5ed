"""A front process's server for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.front.front_lab import Lab, api_entry, entry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    """The server that the tests share."""
    made = Lab(entry())
    yield made
    made.close()


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """A server with one function URL that everybody may call."""
    shared_lab.reset()
    yield shared_lab
    shared_lab.reset()


@pytest.fixture
def streaming(lab: Lab) -> Lab:
    """The same with responses that stream."""
    lab.configure(entry(invokeMode="RESPONSE_STREAM"))
    lab.refresh()
    return lab


@pytest.fixture(scope="session")
def shared_sockets() -> Iterator[Lab]:
    """The server that the tests of WebSockets share."""
    made = Lab(entry(), api_entry())
    yield made
    made.close()


@pytest.fixture
def sockets(shared_sockets: Lab) -> Iterator[Lab]:
    """A server with one WebSocket API, whose functions answer 200."""
    shared_sockets.reset()
    shared_sockets.api.result = lambda _event: b'{"statusCode": 200}'
    yield shared_sockets
    shared_sockets.reset()
