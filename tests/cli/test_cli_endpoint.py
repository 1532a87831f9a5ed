"""Which service a command talks to, how it signs, and what it says when nothing useful answers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest

from venturekit.cli import environ
from venturekit.cli.api import Api, Endpoint, UnreachableError
from venturekit.cli.exits import CommandError

READING = [
    ["functions"],
    ["functions", "get", "f"],
    ["functions", "delete", "f"],
    ["invoke", "f"],
    ["logs", "f"],
    ["logs", "f", "-f"],
]
OK_EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextlib.contextmanager
def scripted(*answers: bytes):
    """A server that gives each connection one of these answers and closes it. Its address, and what it was sent."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def answer() -> None:
            for text in answers:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(30)
                    seen.append(connection.recv(65536))
                    connection.sendall(text)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
        thread.join(30)


@pytest.mark.parametrize("arguments", READING)
def test_without_a_service_a_command_says_how_to_start_one(vk, free_port, arguments):
    url = f"http://127.0.0.1:{free_port}"
    done = vk(*arguments, env={"AWS_ENDPOINT_URL_LAMBDA": url})
    assert (done.status, done.out) == (4, b"")
    assert done.err == f"vk: no service at {url}: start one with `vk serve`, or name another --endpoint-url\n"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "http://127.0.0.1:9001"),
        ({"VENTUREKIT_PORT": "9100"}, "http://127.0.0.1:9100"),
        ({"VENTUREKIT_PORT": "0"}, "http://127.0.0.1:9001"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "VENTUREKIT_PORT": "9100"}, "http://a:1"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_LAMBDA": "http://b:2"}, "http://b:2"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_LAMBDA": ""}, "http://a:1"),
    ],
)
def test_the_endpoint_follows_from_the_variables(variables, expected):
    assert environ.endpoint_url(variables) == expected


def test_the_option_wins_over_the_variables(vk, free_port):
    done = vk(
        "functions", "--endpoint-url", f"http://localhost:{free_port}", env={"AWS_ENDPOINT_URL": "http://other:1"}
    )
    assert (done.status, f"no service at http://localhost:{free_port}" in done.err) == (4, True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"AWS_ACCESS_KEY_ID": "a"}, None),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, ("a", "b", None)),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "t"}, ("a", "b", "t")),
        (
            {
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "AWS_SESSION_TOKEN": "t",
                "VENTUREKIT_ACCESS_KEY_ID": "c",
                "VENTUREKIT_SECRET_ACCESS_KEY": "d",
            },
            ("c", "d", None),
        ),
    ],
)
def test_the_key_pair_follows_from_the_variables(variables, expected):
    found = environ.credentials(variables)
    assert (found and (found.access_key_id, found.secret_access_key, found.session_token)) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "c"}, "c"),
        ({"AWS_DEFAULT_REGION": "c", "AWS_REGION": "b"}, "b"),
        ({"AWS_DEFAULT_REGION": "c", "AWS_REGION": "b", "VENTUREKIT_REGION": "a"}, "a"),
    ],
)
def test_the_region_follows_from_the_variables(variables, expected):
    assert environ.region(variables) == expected


def test_a_service_with_keys_takes_signed_requests_only(serve, tmp_path):
    keys = {"VENTUREKIT_ACCESS_KEY_ID": "AKIDEXAMPLE", "VENTUREKIT_SECRET_ACCESS_KEY": "secret"}
    aws = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    with serve("--region", "eu-west-1", env=keys) as served:
        done = served.vk("functions")
        assert (done.status, done.err.partition(":")[0]) == (1, "vk")
        assert "Exception" in done.err
        for env in (keys | {"VENTUREKIT_REGION": "eu-west-1"}, aws | {"AWS_REGION": "eu-west-1"}):
            assert served.vk("functions", env=env).status == 0
        assert served.vk("functions", "--region", "eu-west-1", env=aws).status == 0
        assert "InvalidSignatureException" in served.vk("functions", env=aws).err
        wrong = aws | {"AWS_SECRET_ACCESS_KEY": "wrong"}
        assert "InvalidSignatureException" in served.vk("functions", "--region", "eu-west-1", env=wrong).err
        (tmp_path / "hello.py").write_text("def handler(e, c): return e")
        env = aws | {"AWS_REGION": "eu-west-1"}
        large = b'{"\xc3\xa9": "' + b"x" * 1_000_000 + b'"}'
        done = served.vk("run", "hello.py", "-p", "-", env=env, stdin=large)
        # Whether the answer is escaped to ASCII depends on the runtime's version.
        assert (done.status, json.loads(done.out)) == (0, json.loads(large))
        done = served.vk("logs", "hello", env=env)
        assert done.status == 3


@pytest.mark.parametrize("url", ["127.0.0.1:9001", "ftp://a", "http://", "http://a:port", "http://a:99999"])
def test_an_address_that_is_none_is_wrong_usage(vk, url):
    done = vk("functions", "--endpoint-url", url)
    assert (done.status, done.out) == (2, b"")
    assert f"vk: the endpoint {url!r} is not an address such as http://127.0.0.1:9001\n" == done.err


def test_a_name_that_nobody_knows_is_unreachable(vk):
    done = vk("functions", "--endpoint-url", "http://nobody.invalid:1")
    assert (done.status, done.err.startswith("vk: no service at http://nobody.invalid:1 (")) == (4, True)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (b"", 4, "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 4, "no service at"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n{}", 4, "the answer is longer than"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n<p/>", 1, "is not a Lambda service: status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<p/>", 1, "is not a Lambda service: no JSON"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n[]", 1, "is not a Lambda service: status 500"),
        (b'HTTP/1.1 403 No\r\nContent-Length: 16\r\n\r\n{"Message":"no"}', 1, "vk: no\n"),
        (
            (
                b"HTTP/1.1 404 No\r\nx-amzn-ErrorType: ResourceNotFoundException:http://x\r\n"
                b'Content-Length: 18\r\n\r\n{"message":"gone"}'
            ),
            3,
            "vk: ResourceNotFoundException: gone\n",
        ),
        (
            (
                b"HTTP/1.1 403 No\r\nx-amzn-ErrorType: AccessDeniedException\r\n"
                b'Content-Length: 16\r\n\r\n{"Message":null}'
            ),
            1,
            "vk: AccessDeniedException, without a reason\n",
        ),
    ],
)
def test_what_answers_wrongly_is_told(vk, answer, status, says):
    with scripted(answer) as (url, seen):
        done = vk("functions", "get", "f", "--endpoint-url", url)
    assert len(seen) == 1
    assert (done.status, done.out) == (status, b"")
    assert says in done.err
    assert "Traceback" not in done.err


def test_requests_carry_a_header_that_no_web_page_can_send():
    with scripted(OK_EMPTY) as (url, seen):
        api = Api(Endpoint(url + "/prefix/", "us-east-1", None))
        assert api.json("GET", "/path?q=1") == {}
        api.close()
    head = seen[0].decode().lower()
    assert head.startswith("get /prefix/path?q=1 http/1.1\r\n")
    assert "\r\nx-amz-client: vk\r\n" in head
    assert "authorization" not in head


def test_an_answer_that_does_not_come_is_not_waited_for_forever():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        api = Api(Endpoint(url, "us-east-1", None))
        with pytest.raises(UnreachableError, match=r"no answer within 0\.05 s"):
            api.request("GET", "/", timeout=0.05)


def test_a_bundle_that_is_not_there_is_named(vk):
    done = vk("functions", "--endpoint-url", "https://127.0.0.1:1", env={"AWS_CA_BUNDLE": "missing.pem"})
    assert (done.status, done.err) == (2, "vk: AWS_CA_BUNDLE missing.pem: No such file or directory\n")


def test_https_with_a_bundle(serve, vk, tmp_path):
    import subprocess

    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )
    with serve("--tls-certificate", "certificate.pem", "--tls-key", "key.pem") as served:
        assert served.url.startswith("https://")
        done = served.vk("functions")
        assert (done.status, "AWS_CA_BUNDLE" in done.err) == (4, True)
        assert served.vk("functions", env={"AWS_CA_BUNDLE": str(tmp_path / "certificate.pem")}).status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "where"),
    [
        ([], 0, "out"),
        (["--help"], 0, "out"),
        (["-h"], 0, "out"),
        (["invoke", "--help"], 0, "out"),
        (["functions", "create", "-h"], 0, "out"),
        (["nonsense"], 2, "err"),
        (["--nonsense"], 2, "err"),
        (["invoke"], 2, "err"),
        (["invoke", "f", "--nonsense"], 2, "err"),
    ],
)
def test_help_and_usage(vk, arguments, status, where):
    done = vk(*arguments)
    assert done.status == status
    assert "Usage: vk" in (done.out.decode() if where == "out" else done.err)


def test_help_names_every_command(vk):
    text = vk("--help").out.decode()
    assert [
        word for word in ("serve", "run", "invoke", "functions", "logs", "doctor") if f"\n  {word} " not in text
    ] == []


def test_the_version_is_that_of_the_package(vk):
    from venturekit import __version__

    assert vk("--version").out.decode() == f"vk {__version__}\n"
    assert vk("functions", "--version").status == 2


def test_errors_have_a_status():
    assert CommandError("x").status == 1
    assert UnreachableError("x").status == 4
