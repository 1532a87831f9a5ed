"""The outbox at real servers: queues that come and go, hang, throttle, or are none. Time is set by hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.stand_in import ACCOUNT, KEYS, REGION, RawServer, StandIn, refusal, stand_ins
from tests.unit.events.outbox_support import Lab, lines, play
from venturekit.service.aws import AwsClients
from venturekit.service.events.senders import Senders
from venturekit.service.store.errors import StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORD = '{"version":"1.0","requestContext":{"requestId":"r"},"requestPayload":{}}'


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    made: list[RawServer] = []

    def make(answer: Callable[[bytes], bytes | None]) -> RawServer:
        made.append(RawServer(answer))
        return made[-1]

    yield make
    for server in made:
        server.close()


def senders_at(url: str, **environ: str) -> Senders:
    return Senders(AwsClients({**KEYS, "AWS_ENDPOINT_URL": url, **environ}, region=REGION, allow_aws=False))


def reasons(lab: Lab) -> list[str]:
    return [reason for _, reason, _ in lab.owed()]


def test_a_queue_that_is_deleted_and_made_again(stand_in: StandIn, tmp_path: Path) -> None:
    queue = stand_in.queue("again")

    async def scenario(lab: Lab) -> None:
        lab.owe(RECORD, target=queue)
        await lab.quiet()
        stand_in.received(queue)
        stand_in.delete_queue(queue)
        (event,) = lab.owe(RECORD, target=queue)
        await lab.quiet()
        for delay in (1.0, 2.0, 4.0):
            assert lab.loop.next_in() == delay
            await lab.pass_time(delay)
        missing = "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist."
        assert reasons(lab) == [missing]
        stand_in.queue("again")
        await lab.pass_time(8.0)
        assert lab.owed() == []
        assert [message["Body"] for message in stand_in.received(queue)] == [RECORD]
        assert lines(lab.history(event)) == ["delivery-failed", "delivered"]

    play(tmp_path, scenario, senders=senders_at(stand_in.url))


def test_an_event_bus_and_a_bucket_that_are_made_late(stand_in: StandIn, tmp_path: Path) -> None:
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/late"
    bucket = "arn:aws:s3:::late-bucket"

    async def scenario(lab: Lab) -> None:
        lab.owe(RECORD, target=bus)
        lab.owe(RECORD, target=bucket)
        await lab.quiet()
        assert [reason.partition(":")[0] for reason in reasons(lab)] == ["ResourceNotFoundException", "NoSuchBucket"]
        _, queue = stand_in.bus("late")
        stand_in.bucket("late-bucket")
        await lab.pass_time(1.0)
        assert lab.owed() == []
        (message,) = stand_in.received(queue)
        assert json.loads(message["Body"])["detail"] == json.loads(RECORD)
        assert list(stand_in.objects(bucket).values()) == [json.loads(RECORD)]

    play(tmp_path, scenario, senders=senders_at(stand_in.url))


def test_a_record_that_is_sent_again_to_a_bucket_lies_there_once(stand_in: StandIn, tmp_path: Path) -> None:
    bucket = stand_in.bucket("once")
    senders = senders_at(stand_in.url)

    async def killed(lab: Lab) -> None:
        forget(lab)
        lab.owe(RECORD, target=bucket)
        await lab.quiet()

    async def restarted(lab: Lab) -> None:
        assert lab.owed() == []

    play(tmp_path, killed, senders=senders)
    play(tmp_path, restarted, senders=senders)
    assert len(stand_in.objects(bucket)) == 1


def forget(lab: Lab) -> None:
    """Nothing that is sent can be settled any more: as far as the store knows, the process is gone."""

    async def delivered(*_arguments: Any) -> bool:
        raise StoreClosedError("killed")

    lab.deliveries.delivered = delivered  # type: ignore[method-assign]


def test_sent_but_not_settled_before_the_end_is_sent_again(stand_in: StandIn, tmp_path: Path) -> None:
    queue = stand_in.queue("twice")
    senders = senders_at(stand_in.url)

    async def killed(lab: Lab) -> None:
        forget(lab)
        lab.owe(RECORD, target=queue)
        await lab.quiet()
        assert [body for body, _, _ in lab.owed()] == [RECORD]

    async def restarted(lab: Lab) -> None:
        assert lab.owed() == []

    play(tmp_path, killed, senders=senders)
    play(tmp_path, restarted, senders=senders)
    assert [message["Body"] for message in stand_in.received(queue, 2)] == [RECORD, RECORD]


def test_a_queue_that_hangs_delays_no_topic(
    stand_in: StandIn, tmp_path: Path, raw_server: Callable[..., RawServer]
) -> None:
    topic, arrived = stand_in.topic("beside")
    hanging = raw_server(lambda _request: None)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:hanging"

    async def scenario(lab: Lab) -> None:
        lab.owe(*[RECORD] * 8, target=queue)
        assert await asyncio.to_thread(hanging.asked.wait, 20)
        lab.owe(RECORD, target=topic)
        # The queue's own messages are still on their way.
        assert await asyncio.to_thread(stand_in.received, arrived)
        await lab.quiet()
        assert set(reasons(lab)) <= {"", "no answer within 0.5 s"}
        assert lab.outbox.waiting() == {queue: "no answer within 0.5 s"}

    senders = senders_at(stand_in.url, AWS_ENDPOINT_URL_SQS=hanging.url)
    play(tmp_path, scenario, senders=senders, timeout_seconds=0.5)


def test_a_queue_that_throttles(tmp_path: Path, raw_server: Callable[..., RawServer]) -> None:
    taken: list[bytes] = []

    def answer(request: bytes) -> bytes:
        if len(server.requests) <= 3:
            return refusal(400, "RequestThrottled", "Rate exceeded")
        taken.append(request)
        body = json.dumps({"QueueUrl": f"{server.url}/{ACCOUNT}/slow", "MessageId": "m"})
        return f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    server = raw_server(answer)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:slow"

    async def scenario(lab: Lab) -> None:
        (event,) = lab.owe(RECORD, target=queue)
        await lab.quiet()
        for delay in (1.0, 2.0, 4.0):
            assert reasons(lab) == ["RequestThrottled: Rate exceeded"]
            assert lab.loop.next_in() == delay
            await lab.pass_time(delay)
        assert lab.owed() == []
        assert lines(lab.history(event)) == ["delivery-failed", "delivered"]

    play(tmp_path, scenario, senders=senders_at(server.url))
    assert len(taken) == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"garbage\r\n\r\n", b""])
def test_something_else_that_listens_there_gets_nothing_off_the_books(
    tmp_path: Path, raw_server: Callable[..., RawServer], answer: bytes
) -> None:
    server = raw_server(lambda _request: answer)
    targets = [
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
        f"arn:aws:sns:{REGION}:{ACCOUNT}:t",
        f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/b",
        "arn:aws:s3:::bucket",
    ]

    async def scenario(lab: Lab) -> None:
        for target in targets:
            lab.owe(RECORD, target=target)
        await lab.quiet()
        assert [attempts for _, _, attempts in lab.owed()] == [1] * 4
        assert all(reasons(lab))

    play(tmp_path, scenario, senders=senders_at(server.url))


def test_a_queue_that_takes_less_than_others(stand_in: StandIn, tmp_path: Path) -> None:
    queue = stand_in.queue("small", MaximumMessageSize="1024")
    head = '{"version":"1.0","requestContext":{"requestId":"r"},"requestPayload":1'
    record = f'{head},"responseContext":{{"statusCode":200}},"responsePayload":"{"x" * 2000}"}}'

    async def scenario(lab: Lab) -> None:
        (event,) = lab.owe(record, target=queue)
        await lab.quiet()
        assert [kind for kind, _ in lab.history(event)] == ["delivered"]
        assert lab.history(event)[0][1]["omitted"] == ["responsePayload"]

    play(tmp_path, scenario, senders=senders_at(stand_in.url))
    assert [message["Body"] for message in stand_in.received(queue)] == [
        f'{head},"responseContext":{{"statusCode":200}}}}'
    ]


def test_nothing_to_sign_with_is_a_reason_to_wait(stand_in: StandIn, tmp_path: Path, monkeypatch: Any) -> None:
    """Unsigned requests look like those for another service: they would be answered, by the wrong one."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in (*KEYS, "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    queue = stand_in.queue("unsigned")
    senders = Senders(AwsClients({"AWS_ENDPOINT_URL": stand_in.url}, region=REGION, allow_aws=False))

    async def scenario(lab: Lab) -> None:
        lab.owe(RECORD, target=queue)
        await lab.quiet()
        assert "AWS_ACCESS_KEY_ID" in reasons(lab)[0]

    play(tmp_path, scenario, senders=senders)
    assert stand_in.messages(queue) == []
