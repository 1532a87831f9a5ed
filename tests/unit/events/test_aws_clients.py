"""Which address a service of AWS has, by what it is asked, and what calls of it raise."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from moto.server import ThreadedMotoServer

from venturekit.service.aws import AwsClients, AwsTarget, _keep_local_credentials, aws_target, begin_in_thread
from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
OWN = "http://127.0.0.1:9001"
A, B = "http://a", "http://b"
AWS, NOWHERE = AwsTarget(None, calls_aws=True), None
VARIABLES = {"sqs": "SQS", "sns": "SNS", "events": "EVENTBRIDGE", "s3": "S3"}


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the user's own, and no way to an instance's credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.mark.parametrize("service", VARIABLES)
@pytest.mark.parametrize(
    ("environ", "allow_aws", "target"),
    [
        ({}, False, NOWHERE),
        ({"AWS_ENDPOINT_URL": ""}, False, NOWHERE),
        ({}, True, AWS),
        ({"AWS_ENDPOINT_URL": A}, False, AwsTarget(A, False)),
        ({"AWS_ENDPOINT_URL": A}, True, AwsTarget(A, True)),
        ({"AWS_ENDPOINT_URL": A, "AWS_ENDPOINT_URL_*": B}, False, AwsTarget(B, False)),
        ({"AWS_ENDPOINT_URL_*": B, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, False, NOWHERE),
        ({"AWS_ENDPOINT_URL_*": B, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}, True, AWS),
        ({"AWS_ENDPOINT_URL_LAMBDA": B}, False, NOWHERE),
        # The service's own address is that of no other one, by whatever name of this machine.
        ({"AWS_ENDPOINT_URL": OWN}, False, NOWHERE),
        ({"AWS_ENDPOINT_URL": "http://localhost:9001/"}, False, NOWHERE),
        ({"AWS_ENDPOINT_URL": "http://[::1]:9001"}, True, AWS),
        ({"AWS_ENDPOINT_URL": OWN, "AWS_ENDPOINT_URL_*": B}, False, AwsTarget(B, False)),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9002"}, False, AwsTarget("http://127.0.0.1:9002", False)),
        ({"AWS_ENDPOINT_URL": "http://other:9001"}, False, AwsTarget("http://other:9001", False)),
        ({"AWS_ENDPOINT_URL": "http://[bad"}, False, AwsTarget("http://[bad", False)),
    ],
)
def test_where_a_service_is(service: str, environ: dict[str, str], allow_aws: bool, target: AwsTarget | None) -> None:
    environ = {name.replace("*", VARIABLES[service]): value for name, value in environ.items()}
    assert aws_target(environ, service, allow_aws=allow_aws, own_url=OWN) == target


def test_an_own_address_without_a_port() -> None:
    environ = {"AWS_ENDPOINT_URL": "https://lambda.example"}
    assert aws_target(environ, "sqs", allow_aws=False, own_url="https://lambda.example:443") is None


@pytest.mark.parametrize("service", VARIABLES)
def test_an_obstacle_names_the_settings(service: str) -> None:
    clients = AwsClients({}, region="eu-west-1", allow_aws=False)
    for name in (service, f"AWS_ENDPOINT_URL_{VARIABLES[service]}", "AWS_ENDPOINT_URL", "--allow-aws"):
        assert name in clients.obstacle(service)
    with pytest.raises(AwsNotAskedError, match="no endpoint is known"):
        clients.call(service, "", "any", {})
    assert AwsClients({}, region="eu-west-1", allow_aws=True).obstacle(service) == ""


def test_the_own_address_is_asked_for_when_it_is_known() -> None:
    urls = [""]
    clients = AwsClients({"AWS_ENDPOINT_URL": OWN}, region="eu-west-1", allow_aws=False, own_url=lambda: urls[0])
    assert clients.obstacle("sqs") == ""
    urls[0] = OWN
    assert clients.obstacle("sqs") != ""


def clients_of(url: str, **environ: str) -> AwsClients:
    return AwsClients({"AWS_ENDPOINT_URL": url, **environ}, region="us-east-1", allow_aws=False)


def test_calls_and_their_errors(moto_url: str) -> None:
    clients = clients_of(moto_url, **KEYS)
    created = clients.call("sqs", "eu-west-1", "create_queue", {"QueueName": "q"})
    assert created["QueueUrl"].endswith("/123456789012/q")
    # Each region has queues of its own, and the client of one is made once.
    with pytest.raises(AwsRefusedError) as caught:
        clients.call("sqs", "us-east-1", "get_queue_url", {"QueueName": "q"})
    assert (caught.value.code, caught.value.status) == ("AWS.SimpleQueueService.NonExistentQueue", 400)
    assert str(caught.value) == "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist."
    assert clients.client("sqs", "eu-west-1") is clients.client("sqs", "eu-west-1")
    assert clients.client("sqs") is clients.client("sqs", "us-east-1")
    # What botocore itself finds fault with.
    with pytest.raises(AwsNotAskedError, match="QueueName"):
        clients.call("sqs", "eu-west-1", "get_queue_url", {"QueueName": 1})


def test_nothing_to_sign_with(moto_url: str) -> None:
    with pytest.raises(AwsNotAskedError, match="AWS_ACCESS_KEY_ID"):
        clients_of(moto_url).call("sqs", "", "list_queues", {})


@pytest.mark.parametrize("url", ["no address", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(AwsNotAskedError):
        clients_of(url, **KEYS).call("sqs", "", "list_queues", {})


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(AwsNotAskedError, match="Could not connect"):
            clients_of(url, **KEYS).call("sqs", "", "list_queues", {})


def test_every_call_is_one_attempt_within_a_bound() -> None:
    clients = clients_of(A, **KEYS)
    for service in VARIABLES:
        config = clients.client(service).meta.config
        assert (config.connect_timeout, config.read_timeout) == (3.0, 10.0)
        assert config.retries["total_max_attempts"] == 1
    assert clients.client("s3", attempts=2).meta.config.retries["total_max_attempts"] == 2


def test_an_own_address_in_the_variables_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore reads the process's variables by itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", OWN)
    environ = {"AWS_ENDPOINT_URL": OWN, **KEYS}
    clients = AwsClients(environ, region="eu-west-1", allow_aws=True, own_url=lambda: OWN)
    assert clients.client("sqs").meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"


def test_only_local_credentials_without_leave_to_call_aws() -> None:
    """Else a service without credentials would look for an instance's, which is a call of AWS."""
    import botocore.session

    session = botocore.session.Session()
    _keep_local_credentials(session)
    methods = [provider.METHOD for provider in session.get_component("credential_provider").providers]
    assert methods == ["env", "shared-credentials-file", "config-file"]


def test_the_client_is_not_imported_before_it_is_needed() -> None:
    lines = (
        "import sys; from venturekit.service.s3 import S3CodeSource; from venturekit.service.aws import AwsClients; "
        "clients = AwsClients({'AWS_ENDPOINT_URL': 'http://a'}, region='us-east-1', allow_aws=True); "
        "S3CodeSource(clients); clients.obstacle('sqs'); "
        "print({'boto3', 'botocore'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


def test_a_thread_tells_when_it_has_ended_however_late() -> None:
    go_on, ended = threading.Event(), []

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def end() -> None:
            ended.append(True)
            over.set()

        waited_for = begin_in_thread(lambda: 1, "test", lambda: None)
        given_up = begin_in_thread(lambda: go_on.wait(20), "test", end)
        given_up.cancel()
        assert ended == []
        loop.call_soon(go_on.set)
        async with asyncio.timeout(20):
            await over.wait()
            return await waited_for

    assert asyncio.run(main()) == 1
    assert ended == [True]


def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await begin_in_thread(fail, "test", lambda: None)

    asyncio.run(main())
