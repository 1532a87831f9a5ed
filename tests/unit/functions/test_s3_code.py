"""Code from S3: the real client against a real server, alone and through the operations."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from venturekit.service.aws import AwsClients
from venturekit.service.functions.code_source import CodeFetchError, CodeTooLargeError, S3RefusedError
from venturekit.service.s3 import FETCHES_AT_ONCE, S3CodeSource

Run = Callable[..., Any]
Put = Callable[[str, bytes], str]
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No settings of the user's own, and no way to an instance's credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """An S3 with the bucket ``code``."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(s3_url: str) -> Put:
    """Puts an object that all may read into the bucket, which keeps versions: ``bucket(key, data)`` returns its own."""
    options = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3_url, **options)
    client.create_bucket(Bucket="code")
    client.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
    return lambda key, data: client.put_object(Bucket="code", Key=key, Body=data, ACL="public-read")["VersionId"]


def source_with(environ: dict[str, str], **options: Any) -> S3CodeSource:
    return S3CodeSource(AwsClients(environ, region="eu-west-1", allow_aws=False), **options)


def source_of(url: str, **options: Any) -> S3CodeSource:
    return source_with({"AWS_ENDPOINT_URL_S3": url, **KEYS}, **options)


def fetched(source: S3CodeSource, key: str, version: str | None = None, bucket: str = "code") -> bytes:
    return asyncio.run(source.fetch_code(bucket, key, version))


def test_without_an_s3_the_error_names_the_settings() -> None:
    source = source_with({})
    with pytest.raises(CodeFetchError) as caught:
        fetched(source, "a")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "--allow-aws", "ZipFile"):
        assert name in str(caught.value)


@pytest.mark.parametrize("keys", [KEYS, {}, {"AWS_ACCESS_KEY_ID": "half"}], ids=["signed", "unsigned", "half a pair"])
def test_objects_and_their_versions(s3_url: str, bucket: Put, keys: dict[str, str]) -> None:
    first = bucket("folder/v.zip", b"one")
    bucket("folder/v.zip", b"two" * 100_000)
    source = source_with({"AWS_ENDPOINT_URL": s3_url, **keys})
    assert fetched(source, "folder/v.zip") == b"two" * 100_000
    assert fetched(source, "folder/v.zip", first) == b"one"


def test_what_may_not_be_read(run: Run, s3_url: str, bucket: Put, create_members: dict[str, Any]) -> None:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=s3_url, **keys).put_object(Bucket="code", Key="private", Body=b"x")
    source = source_with({"AWS_ENDPOINT_URL": s3_url})
    members = {**create_members, "Code": {"S3Bucket": "code", "S3Key": "private"}}
    error = run(lambda service: service.refused("CreateFunction", **members), fetch_code=source.fetch_code)
    assert (error.status, error.code) == (403, "AccessDeniedException")
    assert error.message.startswith(
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for "
        "code/private. S3 Error Code: "
    )


@pytest.mark.parametrize(
    ("bucket_name", "key", "code"), [("code", "nothing", "NoSuchKey"), ("nowhere", "a", "NoSuchBucket")]
)
def test_what_is_not_there(s3_url: str, bucket: Put, bucket_name: str, key: str, code: str) -> None:
    with pytest.raises(S3RefusedError) as caught:
        fetched(source_of(s3_url), key, bucket=bucket_name)
    assert caught.value.code == code
    assert caught.value.message.startswith("The specified ")


def test_the_largest_object(s3_url: str, bucket: Put) -> None:
    bucket("limit", b"x" * 100_000)
    assert len(fetched(source_of(s3_url, max_bytes=100_000), "limit")) == 100_000
    with pytest.raises(CodeTooLargeError):
        fetched(source_of(s3_url, max_bytes=99_999), "limit")


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(CodeFetchError) as caught:
            fetched(source_of(url), "a")
    assert f"S3 at {url} could not be asked" in str(caught.value)
    assert "AWS_ENDPOINT_URL_S3" in str(caught.value)


def test_a_thread_that_cannot_be_had_keeps_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def fetch_often() -> list[str]:
        source, reasons = source_of("http://127.0.0.1:9", timeout_seconds=5.0), []
        for _ in range(FETCHES_AT_ONCE + 1):
            with pytest.raises(CodeFetchError) as caught:
                await source.fetch_code("code", "a", None)
            reasons.append(str(caught.value))
        return reasons

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert set(asyncio.run(fetch_often())) == {"no thread could be had to fetch it (can't start new thread): try again"}


def test_an_address_that_is_none() -> None:
    with pytest.raises(CodeFetchError, match="could not be asked"):
        fetched(source_of("no address"), "a")


@pytest.fixture
def trickle() -> Iterator[tuple[str, Callable[[], None]]]:
    """A server that sends the beginning of an object of unknown length, and what makes it end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients: list[socket.socket] = []
        begun = threading.Event()

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                clients.append(client)
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
                begun.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def end() -> None:
            """Break off what was begun; waits until something was."""
            assert begun.wait(20)
            for client in clients:
                client.close()

        yield f"http://127.0.0.1:{listener.getsockname()[1]}", end
        end()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_an_answer_that_never_ends(trickle: tuple[str, Callable[[], None]]) -> None:
    """Whoever asks gets an answer in time, also those for whom no slot is free; a slot is free again at the end."""
    url, end = trickle
    source = source_of(url, timeout_seconds=1.0)

    async def main() -> list[Any]:
        asked = [source.fetch_code("code", "a", None) for _ in range(FETCHES_AT_ONCE + 1)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        end()
        for _ in range(FETCHES_AT_ONCE):
            await asyncio.wait_for(source._slots.acquire(), 20)
        return outcomes

    outcomes = asyncio.run(main())
    assert {type(outcome) for outcome in outcomes} == {CodeFetchError}
    assert {str(outcome) for outcome in outcomes} == {"S3 did not deliver it within 1 s: try again"}


def test_an_answer_that_breaks_off(trickle: tuple[str, Callable[[], None]]) -> None:
    url, end = trickle
    threading.Thread(target=end).start()
    with pytest.raises(CodeFetchError, match="could not be asked"):
        fetched(source_of(url), "a")


def test_a_function_made_of_an_object(
    run: Run, s3_url: str, bucket: Put, create_members: dict[str, Any], zip_of: Callable[[str], bytes]
) -> None:
    data = zip_of("first = 1")
    first = bucket("f.zip", data)
    bucket("f.zip", zip_of("second = 1"))
    bucket("bad.zip", b"no zip")
    code = {"S3Bucket": "code", "S3Key": "f.zip", "S3ObjectVersion": first}

    async def scenario(service: Any) -> Any:
        created = await service.create(Code=code)
        assert created["CodeSize"] == len(data)
        directory = service.directories.path(service.registry.version("f").code_key)
        assert (directory / "app.py").read_text() == "first = 1"
        members = {"FunctionName": "f", "S3Bucket": "code", "S3Key": "f.zip"}
        dry = await service.call("UpdateFunctionCode", **members, DryRun=True)
        assert service.registry.version("f").code_sha256 == created["CodeSha256"] != dry["CodeSha256"]
        updated = await service.call("UpdateFunctionCode", **members, Publish=True)
        assert (updated["CodeSha256"], updated["Version"]) == (dry["CodeSha256"], "1")
        await service.plane.tasks.settled()
        before = service.registry.function("f")
        errors = [
            await service.refused("UpdateFunctionCode", **{**members, "S3Key": "nothing"}),
            await service.refused("UpdateFunctionCode", **{**members, "S3Key": "bad.zip"}),
            await service.refused("CreateFunction", **{**create_members, "Code": code}),
            await service.refused(
                "CreateFunction", **{**create_members, "FunctionName": "g", "Code": {**code, "S3Bucket": "nowhere"}}
            ),
        ]
        assert service.registry.function("f") is before
        assert len(service.registry) == 1
        return errors

    errors = run(scenario, fetch_code=source_of(s3_url).fetch_code)
    assert [error.message for error in errors] == [
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
        "Function already exist: f",
        (
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does "
            "not exist"
        ),
    ]


def test_a_layer_made_of_an_object(run: Run, s3_url: str, bucket: Put, zip_of: Callable[[str], bytes]) -> None:
    bucket("l.zip", zip_of("layer = 1"))
    content = {"S3Bucket": "code", "S3Key": "l.zip"}

    async def scenario(service: Any) -> Any:
        return await service.call("PublishLayerVersion", LayerName="l", Content=content)

    answer = run(scenario, fetch_code=source_of(s3_url).fetch_code)
    assert answer["Content"]["CodeSize"] == len(zip_of("layer = 1"))
