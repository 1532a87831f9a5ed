"""Which function URL a request is for, and names that are not this machine's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.front.addresses import Address, HostRefusedError, Hosts

ID = "abc0123456789abcdefghijklmnopqrs"
HOSTS = Hosts(("lambda.example", "127.0.0.1"))


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (f"{ID}.lambda-url.us-east-1.localhost:9002", "/", Address(ID, "/")),
        (f"{ID}.lambda-url.us-east-1.localhost", "/a%20b//c", Address(ID, "/a%20b//c")),
        (f"{ID.upper()}.Lambda-URL.us-east-1.LOCALHOST.", "/x", Address(ID, "/x")),
        (f"{ID}.lambda-url.eu-central-1.lambda.example", "/x", Address(ID, "/x")),
        (f"{ID}.lambda-url.us-east-1.localhost", f"/_url/{ID}/x", Address(ID, f"/_url/{ID}/x")),
        ("127.0.0.1:9002", f"/_url/{ID}/a/b", Address(ID, "/a/b")),
        ("localhost", f"/_url/{ID}", Address(ID, "/")),
        ("[::1]:9002", f"/_url/{ID}/", Address(ID, "/")),
        ("lambda.example", f"/_url/{ID}//", Address(ID, "//")),
        ("localhost", "/_url/../x", Address("..", "/x")),
        ("localhost", "/_url/", Address("", "/")),
        ("localhost:9002", "/", None),
        ("localhost:9002", "/_url", None),
        ("localhost:9002", f"/x/_url/{ID}/", None),
    ],
)
def test_the_url_that_is_meant(host: str, path: str, expected: Address | None) -> None:
    assert HOSTS.address([host], path) == expected


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ([], 400),
        ([""], 400),
        (["localhost", "localhost"], 400),
        (["local host"], 400),
        (["localhost:port"], 400),
        (["localhost/x"], 400),
        (["user@localhost"], 400),
        (["evil.example"], 403),
        ([f"{ID}.lambda-url.us-east-1.evil.example"], 403),
        ([f"{ID}.lambda-url.us-east-1.localhost.evil.example"], 403),
        ([f"x.{ID}.lambda-url.us-east-1.localhost"], 403),
        (["lambda-url.us-east-1.localhost"], 403),
        (["anything.localhost"], 403),
        (["192.168.0.1"], 403),
        (["a" * 300], 400),
    ],
)
def test_a_name_that_is_refused(hosts: list[str], status: int) -> None:
    with pytest.raises(HostRefusedError) as caught:
        HOSTS.address(hosts, f"/_url/{ID}/")
    assert caught.value.status == status
    if status == 403:
        assert f"--allow-host {hosts[0]}" in str(caught.value)


@given(
    st.lists(
        st.sampled_from(["localhost", "lambda.example", "lambda-url", "us-east-1", ID, "evil", "", " ", "@", "/"])
    ),
    st.sampled_from(["", ":9002", ":", ".", "é"]),
)
def test_only_names_on_the_list_and_below_it_are_served(labels: list[str], end: str) -> None:
    host = ".".join(labels) + end
    name = host.strip().removesuffix(":9002").removesuffix(".")
    served = ("localhost", "lambda.example")
    expected = name in served or any(name == f"{ID}.lambda-url.us-east-1.{domain}" for domain in served)
    try:
        HOSTS.address([host], "/")
    except HostRefusedError:
        assert not expected
    else:
        assert name.endswith(served)
