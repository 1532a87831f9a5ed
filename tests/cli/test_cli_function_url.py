"""``vk functions url``: a function gets an address that answers HTTP."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

ECHO = """
import json

def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": event["rawPath"]}
"""


@pytest.fixture
def named(service, tmp_path):
    source = tmp_path / "app.py"
    source.write_text(ECHO)
    assert service.vk("functions", "create", "reachable", str(source)).status == 0
    yield "reachable"
    service.vk("functions", "delete", "reachable")


def get(url, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=30)
    connection.request("GET", path, headers={"Host": urlsplit(url).netloc, **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.headers
    connection.close()
    return found


def test_a_url_comes_changes_and_goes(service, named):
    done = service.vk("functions", "url", named)
    assert (done.status, done.err) == (0, "")
    url = done.out.decode().strip()
    assert get(url, "/orders")[:2] == (200, "/orders")
    assert "access-control-allow-origin" not in get(url, Origin="https://example.com")[2]

    changed = service.vk("functions", "url", named, "--stream", "--cors", "https://example.com", "--json").json
    assert (changed["FunctionUrl"], changed["InvokeMode"]) == (url, "RESPONSE_STREAM")
    status, body, headers = get(url, "/again", Origin="https://example.com")
    # A function that does not stream: its result is the body.
    assert (status, json.loads(body)["body"]) == (200, "/again")
    assert headers["access-control-allow-origin"] == "https://example.com"

    assert service.vk("functions", "url", named, "--iam", "--json").json["AuthType"] == "AWS_IAM"
    assert get(url)[0] == 403
    assert service.vk("functions", "url", named).out.decode().strip() == url
    assert get(url)[0] == 200
    assert "access-control-allow-origin" not in get(url, Origin="https://example.com")[2]

    assert service.vk("functions", "url", named, "--delete").status == 0
    assert get(url)[0] == 403
    assert service.vk("functions", "url", named, "--delete").status == 3


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("nobody",), 3, "Function does not exist"),
        (("reachable", "--delete", "--iam"), 2, "--delete stands alone"),
        (("reachable", "--qualifier", "missing"), 3, "Function does not exist"),
    ],
)
def test_refusals(service, named, arguments, status, words):
    done = service.vk("functions", "url", *arguments)
    assert done.status == status, done.err
    assert words in done.err
