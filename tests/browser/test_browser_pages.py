"""Function URLs as a browser sees them: pages that grow, requests of other pages, cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.service.streaming_support import MODE, Puppets
from tests.service.url_support import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.service.harness import FunctionSet

HTTP = "Content-Type: application/vnd.awslambda.http-integration-response"
PRELUDE = """api.piece(b'{"statusCode":200,"headers":{"content-type":"text/html"}}' + bytes(8))"""
ITEMS = "document.querySelectorAll('li').length"
ECHO = """
import json

def handler(event, context):
    headers = {"content-type": "text/html", "x-secret": "1", "x-shown": "2"}
    return {"statusCode": 200, "headers": headers, "cookies": ["seen=1"], "body": json.dumps(event)}
"""
FETCH = """
async ([url, method, headers]) => {
  try {
    const answer = await fetch(url, {method, headers});
    return [answer.status, answer.headers.get("x-shown"), answer.headers.get("x-secret"), await answer.text()];
  } catch (error) {
    return String(error);
  }
}
"""


@pytest.fixture
def puppets(browsed: FunctionSet) -> Iterator[Puppets]:
    made = Puppets(browsed)
    yield made
    made.close()


def test_a_streamed_page_is_seen_to_grow(puppets: Puppets, page: Page) -> None:
    url = make_url(puppets.functions.client, puppets.create(), InvokeMode="RESPONSE_STREAM")
    # The runtime is played from here, so the page is asked for without waiting for it.
    page.goto("about:blank")
    page.evaluate("url => { setTimeout(() => { location.href = url }, 0) }", url.url)
    runtime = puppets.started()
    runtime.do("api.next()")
    runtime.do(f"[api.begin({MODE!r}, {HTTP!r}), {PRELUDE}, api.piece('<!doctype html><title>grows</title><ul>')]")
    page.wait_for_url(url.url, wait_until="commit")
    for number in range(1, 6):
        runtime.do(f"api.piece('<li>piece {number}</li>')")
        page.wait_for_function(f"{ITEMS} == {number}")
        assert page.evaluate("document.readyState") == "loading"
    runtime.do("[api.piece('</ul>'), api.end()]")
    page.wait_for_load_state("load")
    assert page.evaluate("[...document.querySelectorAll('li')].map(item => item.textContent)") == [
        f"piece {number}" for number in range(1, 6)
    ]
    assert page.title() == "grows"


def test_requests_of_another_page(browsed: FunctionSet, page: Page) -> None:
    here = make_url(browsed.client, browsed.create(ECHO))
    origin = here.url.rstrip("/")
    rules = {"AllowOrigins": [origin], "AllowMethods": ["PUT"], "AllowHeaders": ["x-a"], "ExposeHeaders": ["x-shown"]}
    allowing = make_url(browsed.client, browsed.create(ECHO), Cors=rules)
    closed = make_url(browsed.client, browsed.create(ECHO))
    page.goto(here.url)
    assert page.evaluate(FETCH, [here.url, "DELETE", {"x-b": "1"}])[0] == 200
    status, shown, secret, body = page.evaluate(FETCH, [allowing.url, "PUT", {"x-a": "1"}])
    # Other headers of the response are not for pages of other origins.
    assert (status, shown, secret) == (200, "2", None)
    assert '"x-a": "1"' in body
    assert "Failed to fetch" in page.evaluate(FETCH, [allowing.url, "DELETE", {}])
    assert "Failed to fetch" in page.evaluate(FETCH, [allowing.url, "PUT", {"x-b": "1"}])
    assert "Failed to fetch" in page.evaluate(FETCH, [closed.url, "GET", {}])


def test_a_page_has_cookies_and_an_address_of_its_own(browsed: FunctionSet, page: Page) -> None:
    url = make_url(browsed.client, browsed.create(ECHO))
    page.goto(url.url)
    assert page.evaluate("document.cookie") == "seen=1"
    answer = page.goto(f"{url.url}again?x=1")
    assert answer is not None
    assert answer.json()["cookies"] == ["seen=1"]
    assert answer.json()["rawPath"] == "/again"
