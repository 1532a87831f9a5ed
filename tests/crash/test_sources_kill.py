"""kill -9 of a service that works off a queue: every message is processed, and none deleted that was not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.crash.test_kill import ServeProcess
from tests.service.harness import send, until, wait_gone
from tests.service.stand_in import ACCOUNT, KEYS, REGION, StandIn, stand_ins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Tells of a message only when it has done its work: what was told of was processed.
SOURCE = """
import os, time
def handler(event, context):
    time.sleep(0.02)
    out = os.open(os.environ["OUT"], os.O_WRONLY | os.O_APPEND)
    for record in event["Records"]:
        os.write(out, record["body"].encode() + b"\\n")
    os.close(out)
"""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


def kill_and_go_on(stand_in: StandIn, folder: Path, kills: int, messages: int, seed: int) -> None:
    """Kill services in the middle of a queue; the last one ends it."""
    draw = random.Random(seed)
    out = folder / "out"
    out.touch()
    queue = stand_in.queue(f"killed-{seed}-{kills}", VisibilityTimeout="1")
    bodies = {f"message-{number}" for number in range(messages)}
    for body in sorted(bodies):
        stand_in.sqs.send_message(QueueUrl=stand_in._url(queue), MessageBody=body)

    def told() -> set[str]:
        return set(out.read_text().split())

    def serve() -> ServeProcess:
        return ServeProcess(folder / "data", "--account-id", ACCOUNT, "--region", REGION)

    service = serve()
    name = service.functions.create(SOURCE, Timeout=1, Environment={"Variables": {"OUT": str(out)}})
    service.functions.client.create_event_source_mapping(EventSourceArn=queue, FunctionName=name, BatchSize=2)
    for _ in range(kills):
        enough = min(messages, len(told()) + draw.randint(0, max(1, messages // (kills + 1))))
        until(lambda enough=enough: len(told()) >= enough, f"{enough} are processed")  # type: ignore[misc]
        service.kill()
        service.end()
        service = serve()
    try:
        until(lambda: told() >= bodies, "all are processed", 60, pause_seconds=0.01)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def left() -> int:
            answer = stand_in.sqs.get_queue_attributes(QueueUrl=stand_in._url(queue), AttributeNames=names)
            return sum(int(answer["Attributes"][each]) for each in names)

        until(lambda: left() == 0, "all are deleted", 60, pause_seconds=0.02)
    finally:
        service.end()
    assert told() == bodies


@pytest.fixture
def environ(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the processes inherit."""
    for variable, value in {**KEYS, "AWS_ENDPOINT_URL_SQS": stand_in.url}.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.usefixtures("environ")
def test_a_killed_service_loses_no_message(stand_in: StandIn, tmp_path: Path) -> None:
    kill_and_go_on(stand_in, tmp_path, kills=2, messages=20, seed=1)


@pytest.mark.usefixtures("environ")
def test_the_process_that_polls_ends_with_a_killed_service(stand_in: StandIn, tmp_path: Path) -> None:
    service = ServeProcess(tmp_path / "data", "--account-id", ACCOUNT, "--region", REGION)
    try:
        name = service.functions.create("def handler(event, context):\n    return 1\n", Timeout=1)
        # It waits for messages when the service is killed.
        queue = stand_in.queue("ends-with-it", VisibilityTimeout="30")
        service.functions.client.create_event_source_mapping(EventSourceArn=queue, FunctionName=name)
        pid = send(service.url, "GET", "/_venturekit/health").json["polling"]["pid"]
        service.kill()
        wait_gone([pid], 2.0)
    finally:
        service.end()


@pytest.mark.full
@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize("seed", range(10))
def test_a_service_that_is_killed_often_loses_no_message(stand_in: StandIn, tmp_path: Path, seed: int) -> None:
    kill_and_go_on(stand_in, tmp_path, kills=8, messages=120, seed=seed)
