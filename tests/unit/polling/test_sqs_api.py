"""SQS is asked without botocore: what is sent, and what becomes of answers that are none."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.stand_in import KEYS, RawServer, refusal
from venturekit.protocol.sigv4 import Credentials, SignatureVerifier
from venturekit.service.aws import AwsClients
from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.service.polling.sqs import SqsQueues
from venturekit.service.polling.sqs_api import SqsApi
from venturekit.service.sources.ports import QueueDescription, QueueError, QueueRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
NOW = 1_700_000_000.0
REFUSED = refusal(400, "QueueDoesNotExist", "gone")


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the user's own, and no way to an instance's credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def answer(document: object, status: int = 200) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status} Any\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], RawServer]]:
    servers: list[RawServer] = []

    def start(content: bytes) -> RawServer:
        servers.append(RawServer(lambda request: content))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def api(url: str, *, allow_aws: bool = False, **variables: str) -> SqsApi:
    environ = {"AWS_ENDPOINT_URL_SQS": url, **KEYS, **variables}
    return SqsApi(AwsClients(environ, region="us-east-1", allow_aws=allow_aws), wall=lambda: NOW)


def ask(asked: SqsApi) -> Any:
    return asked.call("eu-west-1", "GetQueueUrl", {"QueueName": "é"})


def test_a_request_is_signed_for_the_region_of_its_queue(serve: Callable[[bytes], RawServer]) -> None:
    server = serve(answer({"QueueUrl": "u"}))
    assert ask(api(server.url + "/base", AWS_SESSION_TOKEN="token")) == {"QueueUrl": "u"}
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    assert start == b"POST /base HTTP/1.1"
    assert json.loads(body) == {"QueueName": "é"}
    assert headers[b"x-amz-target"] == b"AmazonSQS.GetQueueUrl"
    assert headers[b"content-type"] == b"application/x-amz-json-1.0"
    assert headers[b"x-amzn-query-mode"] == b"true"
    pair = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], "token")
    verifier = SignatureVerifier({pair.access_key_id: pair}.get, region="eu-west-1", service="sqs")
    assert verifier.verify(b"POST", b"/base", headers, lambda: sha256(body).hexdigest(), now=NOW) is pair


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (REFUSED, "QueueDoesNotExist", "gone"),
        (
            REFUSED.replace(b"\r\n", b"\r\nx-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\r\n", 1),
            "AWS.SimpleQueueService.NonExistentQueue",
            "gone",
        ),
        (answer({"__type": "Other:http://x/", "Message": "m"}, 500), "Other", "m"),
    ],
)
def test_refusals(serve: Callable[[bytes], RawServer], content: bytes, code: str, message: str) -> None:
    with pytest.raises(AwsRefusedError) as raised:
        ask(api(serve(content).url))
    assert (raised.value.code, raised.value.message) == (code, message)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (answer(b"<xml/>"), "answered 200, and not as SQS does"),
        (answer([]), "answered 200, and not as SQS does"),
        (answer({}, 503), "answered 503, and not as SQS does"),
        (answer(b"not found", 404), "answered 404, and not as SQS does"),
        (b"no HTTP\r\n\r\n", "no HTTP"),
        (b"", "closed before the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", "1 of 5 bytes"),
    ],
)
def test_what_is_no_answer(serve: Callable[[bytes], RawServer], content: bytes, text: str) -> None:
    with pytest.raises(AwsNotAskedError, match=text):
        ask(api(serve(content).url))


def test_addresses_that_cannot_be_asked() -> None:
    with pytest.raises(AwsNotAskedError, match="cannot be reached"):
        ask(api("http://127.0.0.1:9"))
    with pytest.raises(AwsNotAskedError, match="is no address of an endpoint"):
        ask(api("ftp://127.0.0.1"))
    with pytest.raises(AwsNotAskedError, match="no endpoint is known for sqs"):
        ask(api(""))


def test_proxies(serve: Callable[[bytes], RawServer]) -> None:
    proxy = serve(answer({}))
    url = proxy.url.replace("://", "://user:secret@")
    ask(api("http://queues.invalid:81", http_proxy=url))
    assert proxy.requests[0].startswith(b"POST http://queues.invalid:81/ HTTP/1.1\r\nHost: queues.invalid:81\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in proxy.requests[0]
    server = serve(answer({}))
    ask(api(server.url, HTTP_PROXY=url, NO_PROXY="127.0.0.1"))
    assert len(server.requests) == len(proxy.requests) == 1


def test_keys_are_found_where_botocore_finds_them(serve: Callable[[bytes], RawServer], tmp_path: Path) -> None:
    server = serve(answer({}))
    keyless = SqsApi(
        AwsClients({"AWS_ENDPOINT_URL_SQS": server.url}, region="us-east-1", allow_aws=False), wall=lambda: NOW
    )
    with pytest.raises(AwsNotAskedError, match="there are no credentials to sign with"):
        ask(keyless)
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n")
    aws = AwsClients({"AWS_ENDPOINT_URL_SQS": server.url}, region="us-east-1", allow_aws=False)
    ask(SqsApi(aws, wall=lambda: NOW))
    assert b"Credential=AKIDFILE/20231114/eu-west-1/sqs/aws4_request" in server.requests[0]


def test_aws_itself_is_asked_where_that_is_allowed() -> None:
    aws = AwsClients(KEYS, region="us-east-1", allow_aws=True)
    assert aws.endpoint_url("sqs", "eu-west-1") == "https://sqs.eu-west-1.amazonaws.com"
    assert aws.tls_context("sqs").get_ca_certs()


# --- queues ---------------------------------------------------------------------------------------------------------


class Scripted:
    """Answers of the API, by operation."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"GetQueueUrl": {"QueueUrl": "u"}, **answers}
        self.calls: list[tuple[str, Any]] = []

    def call(self, region: str, operation: str, members: Any) -> Any:
        assert region == "eu-west-1"
        self.calls.append((operation, members))
        found = self.answers[operation]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.mark.parametrize(
    "messages", ["text", 5, [5], [{"MessageId": "a"}], [{"ReceiptHandle": "a"}], [{"MessageAttributes": 1}]]
)
def test_messages_that_are_none(messages: Any) -> None:
    queues = SqsQueues(Scripted(ReceiveMessage={"Messages": messages}))  # type: ignore[arg-type]
    with pytest.raises(QueueError, match="what answers for sqs gave a message"):
        queues.receive(QUEUE, 10, 0)


def test_binary_attributes_are_bytes() -> None:
    message = {"MessageId": "m", "ReceiptHandle": "r", "MessageAttributes": {"b": {"BinaryValue": "/wA="}}}
    queues = SqsQueues(Scripted(ReceiveMessage={"Messages": [message]}))  # type: ignore[arg-type]
    (received,) = queues.receive(QUEUE, 10, 20)
    assert received["MessageAttributes"]["b"]["BinaryValue"] == b"\xff\x00"


def test_a_url_is_asked_for_once_and_again_after_a_refusal() -> None:
    scripted = Scripted(GetQueueAttributes={"Attributes": {"VisibilityTimeout": "30"}})
    queues = SqsQueues(scripted)  # type: ignore[arg-type]
    for _ in range(2):
        assert queues.describe(QUEUE) == QueueDescription(30)
    scripted.answers["DeleteMessageBatch"] = AwsRefusedError("Gone", "m", 400)
    with pytest.raises(QueueRefusedError, match="Gone: m"):
        queues.delete(QUEUE, ["r"])
    queues.describe(QUEUE)
    asked = [operation for operation, _ in scripted.calls]
    assert asked.count("GetQueueUrl") == 2
    assert scripted.calls[0][1] == {"QueueName": "q", "QueueOwnerAWSAccountId": "123456789012"}


def test_many_messages_are_deleted_ten_at_a_time() -> None:
    scripted = Scripted(DeleteMessageBatch={"Failed": [{"Code": "ReceiptHandleIsInvalid", "Message": "m"}]})
    with pytest.raises(QueueRefusedError, match="ReceiptHandleIsInvalid: m"):
        SqsQueues(scripted).delete(QUEUE, [str(number) for number in range(25)])  # type: ignore[arg-type]
    sizes = [len(members["Entries"]) for operation, members in scripted.calls if operation == "DeleteMessageBatch"]
    assert sizes == [10, 10, 5]
