"""Who may talk to the endpoint."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.api.guard import MAX_CACHED_HOSTS, admit, parse_host

ALLOWED = frozenset({b"localhost", b"127.0.0.1", b"[::1]", b"lambda.test"})
OWN = {b"x-amz-date": b"20260102T030405Z"}


def refusal(headers: dict[bytes, bytes], *, verified: bool = False) -> ApiError:
    with pytest.raises(ApiError) as caught:
        admit(headers, ALLOWED, verified=verified)
    return caught.value


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"localhost:9001",
        b"LOCALHOST:9001",
        b"localhost.",
        b"localhost.:80",
        b"127.0.0.1:65535",
        b"[::1]",
        b"[::1]:9001",
        b"Lambda.Test:1",
    ],
)
def test_allowed_hosts(host: bytes) -> None:
    admit({b"host": host, **OWN}, ALLOWED)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"evil.test", "evil.test"),
        (b"evil.test:9001", "evil.test"),
        (b"localhost.evil.test", "localhost.evil.test"),
        (b"127.0.0.1.evil.test", "127.0.0.1.evil.test"),
        (b"0.0.0.0:9001", "0.0.0.0"),
        (b"[::]", "[::]"),
        (b"[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
        (b"127.1", "127.1"),
    ],
)
def test_other_hosts_are_refused_by_name(host: bytes, name: str) -> None:
    for verified in (False, True):
        error = refusal({b"host": host, **OWN}, verified=verified)
        assert (error.status, error.code) == (403, "AccessDeniedException")
        assert error.message is not None
        assert f"The host {name} is not allowed" in error.message
        assert f"--allow-host {name}" in error.message


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"localhost, localhost",
        b"localhost,evil.test",
        b"user@localhost",
        b"localhost:port",
        b"localhost:",
        b"localhost:65536",
        b"localhost:999999",
        b"localhost/evil",
        b" localhost",
        b"[::1",
        b"::1",
        b"[]",
        b".",
        b"local\x00host",
        b"\xff",
        b"localhost\n",
    ],
)
def test_hosts_that_cannot_be_read(host: bytes) -> None:
    error = refusal({b"host": host, **OWN})
    assert (error.status, error.code) == (400, "MalformedHttpRequestException")
    assert "Host" in str(error.message)


def test_a_missing_host() -> None:
    assert refusal(OWN).message == "The request has no Host header; add one."


@pytest.mark.parametrize("origin", [b"http://localhost:9001", b"null", b"", b"https://evil.test"])
def test_any_origin_is_refused(origin: bytes) -> None:
    for verified in (False, True):
        headers = {b"host": b"localhost", b"origin": origin, b"authorization": b"AWS4-HMAC-SHA256 x", **OWN}
        error = refusal(headers, verified=verified)
        assert (error.status, error.code) == (403, "AccessDeniedException")
        assert "Origin" in str(error.message)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"AWS4-HMAC-SHA256 Credential=x"},
        {b"x-amz-date": b"20260102T030405Z"},
        {b"x-amz-client": b""},
        {b"amz-sdk-invocation-id": b"1"},
    ],
)
def test_what_a_web_page_cannot_send_is_accepted(headers: dict[bytes, bytes]) -> None:
    admit({b"host": b"localhost:9001", **headers}, ALLOWED)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b"text/plain"},
        {b"authorization": b"Basic eA=="},
        {b"authorization": b"Bearer AWS4-HMAC-SHA256"},
        {b"x-amzn-trace-id": b"Root=1"},
        {b"x-amzx": b"1"},
        {b"amz-sdk": b"1"},
    ],
)
def test_what_a_web_page_could_send_is_refused(headers: dict[bytes, bytes]) -> None:
    error = refusal({b"host": b"localhost:9001", **headers})
    assert (error.status, error.code, error.type) == (403, "MissingAuthenticationTokenException", None)
    assert error.message is not None
    assert error.message.startswith("Missing Authentication Token")
    assert "'x-amz-client: curl'" in error.message
    admit({b"host": b"localhost:9001", **headers}, ALLOWED, verified=True)


def test_the_cache_is_of_exact_bytes_and_bounded() -> None:
    cache: set[bytes] = set()
    for port in range(2 * MAX_CACHED_HOSTS):
        admit({b"host": b"localhost:%d" % port, **OWN}, ALLOWED, cache=cache)
    assert len(cache) == MAX_CACHED_HOSTS
    assert b"localhost:0" in cache
    with pytest.raises(ApiError):
        admit({b"host": b"evil.test", **OWN}, ALLOWED, cache=cache)
    with pytest.raises(ApiError):
        admit({b"host": b"localhost:0", b"origin": b"null", **OWN}, ALLOWED, cache=cache)
    assert b"evil.test" not in cache


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40) | st.text("localhost127.[]:%@,", max_size=20).map(str.encode))
def test_only_api_errors_leave(host: bytes) -> None:
    name, status = b"", 0
    try:
        name = parse_host(host)
    except ApiError as error:
        status = error.status
    assert status == 400 if not name else host.lower().startswith(name)
