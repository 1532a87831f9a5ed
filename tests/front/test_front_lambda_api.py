"""What the front process makes of the service's answers, and when it says that there are none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.front import feed as feed_module
from venturekit.front.feed import Feed
from venturekit.front.http_client import Response, ServerGoneError
from venturekit.front.lambda_api import LambdaApi
from venturekit.front.table import UrlTable
from venturekit.protocol.sigv4 import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator


class PlayedClient:
    """Stands for the HTTP client: gives what the test has laid ready."""

    def __init__(self, *responses: Response | Exception) -> None:
        self._responses: Iterator[Response | Exception] = iter(responses)

    async def request(self, _head: bytes, _body: bytes = b"") -> Response:
        response = next(self._responses)
        if isinstance(response, Exception):
            raise response
        return response


def api_with(*responses: Response | Exception) -> LambdaApi:
    client: Any = PlayedClient(*responses)
    return LambdaApi(
        client, host="h:1", credentials=Credentials("k", "s"), region="us-east-1", signs=False, wall=lambda: 0.0
    )


def test_answers_of_the_page_that_authorizes() -> None:
    api = api_with(Response(200, {}, b'{"allowed":true}'), Response(404, {}, b"{}"), Response(400, {}, b"no"))
    assert asyncio.run(api.authorize("u", {})) == {"allowed": True}
    assert asyncio.run(api.authorize("u", {})) is None
    with pytest.raises(ServerGoneError, match=r"400.*no"):
        asyncio.run(api.authorize("u", {}))


def test_a_table_that_cannot_be_read_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.0)
    page = {"revision": 1, "reset": False, "more": False, "urls": [], "removed": []}
    failures = [ServerGoneError(f"failure {number}") for number in range(1, 31)]
    feed = Feed(api_with(*failures, Response(200, {}, json.dumps(page).encode())), UrlTable())

    async def follow() -> None:
        async with asyncio.timeout(20):
            following = asyncio.create_task(feed.run())
            await feed.loaded.wait()
            following.cancel()

    asyncio.run(follow())
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"the table of function URLs cannot be read: failure {feed_module.COMPLAINT_FAILURES}"
    ]
