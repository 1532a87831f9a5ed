"""Whether a destination is there: only a service that says so itself is believed."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.aws import begin_in_thread
from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.service.events.target_check import CHECKS_AT_ONCE, TargetCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:queue"
TOPIC = "arn:aws:sns:us-west-2:123456789012:topic"
BUS = "arn:aws:events:us-east-1:123456789012:event-bus/bus"
BUCKET = "arn:aws:s3:::bucket"
QUESTIONS: dict[str, tuple[str, str, str, dict[str, Any], dict[str, Any]]] = {
    QUEUE: (
        "sqs",
        "eu-west-1",
        "get_queue_url",
        {"QueueName": "queue", "QueueOwnerAWSAccountId": "123456789012"},
        {"QueueUrl": "u"},
    ),
    TOPIC: ("sns", "us-west-2", "get_topic_attributes", {"TopicArn": TOPIC}, {"Attributes": {"a": "b"}}),
    BUS: ("events", "us-east-1", "describe_event_bus", {"Name": BUS}, {"Arn": BUS}),
    BUCKET: ("s3", "", "head_bucket", {"Bucket": "bucket"}, {}),
}
MISSING = {
    QUEUE: "AWS.SimpleQueueService.NonExistentQueue",
    TOPIC: "NotFound",
    BUS: "ResourceNotFoundException",
    BUCKET: "404",
}


class Asked:
    """Answers with what ``answer()`` gives or raises, and keeps what was asked."""

    def __init__(self, answer: Callable[[], Any], obstacle: str = "") -> None:
        self.answer = answer
        self.calls: list[tuple[str, str, str, dict[str, Any]]] = []
        self._obstacle = obstacle

    def obstacle(self, service: str) -> str:
        return self._obstacle

    def call(self, service: str, region: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append((service, region, operation, dict(members)))
        answer = self.answer()
        if isinstance(answer, Exception):
            raise answer
        given: Mapping[str, Any] = answer
        return given


def check(asked: Asked, *arns: str, **options: Any) -> tuple[list[bool | None], list[str]]:
    """What the check says of each, and what it warns of."""

    async def main() -> tuple[list[bool | None], list[str]]:
        warnings: list[str] = []
        checker = TargetCheck(asked, begin=begin_in_thread, warn=warnings.append, **options)
        return list(await asyncio.gather(*map(checker.target_exists, arns))), warnings

    return asyncio.run(main())


@pytest.mark.parametrize("arn", QUESTIONS)
def test_a_target_that_is_there(arn: str) -> None:
    *question, answer = QUESTIONS[arn]
    asked = Asked(lambda: answer)
    assert check(asked, arn) == ([True], [])
    assert asked.calls == [tuple(question)]


@pytest.mark.parametrize("arn", QUESTIONS)
def test_a_target_that_is_not(arn: str) -> None:
    assert check(Asked(lambda: AwsRefusedError(MISSING[arn], "no", 400)), arn) == ([False], [])


@pytest.mark.parametrize("arn", QUESTIONS)
@pytest.mark.parametrize(
    "answer",
    [
        AwsRefusedError("AccessDenied", "no", 403),
        AwsRefusedError("Throttling", "slowly", 400),
        AwsRefusedError("503", "", 503),
        AwsNotAskedError("Could not connect"),
    ],
)
def test_a_target_that_nobody_can_tell_of(arn: str, answer: Exception) -> None:
    found, warnings = check(Asked(lambda: answer), arn)
    assert found == [None]
    assert warnings == [
        f"the destination {arn} is taken as it is, {arn.split(':')[2]} could not be asked for it: {answer}"
    ]


@pytest.mark.parametrize("arn", [QUEUE, TOPIC, BUS])
@pytest.mark.parametrize("answer", [{}, AwsRefusedError("404", "Not Found", 404)])
def test_something_else_at_the_address_is_not_believed(arn: str, answer: Any) -> None:
    found, warnings = check(Asked(lambda: answer), arn)
    assert (found, len(warnings)) == ([None], 1)


def test_nobody_is_asked_without_an_address() -> None:
    asked = Asked(dict, obstacle="no endpoint is known")
    assert check(asked, QUEUE) == ([None], [])
    assert asked.calls == []


def test_one_that_hangs_is_waited_for_a_short_time() -> None:
    release = threading.Event()
    arns = [QUEUE] * (CHECKS_AT_ONCE + 1)
    try:
        found, warnings = check(Asked(lambda: release.wait(20) and {}), *arns, timeout_seconds=0.05)
    finally:
        release.set()
    assert found == [None] * len(arns)
    assert all("no answer within 0.05 s" in warning for warning in warnings)


def test_a_thread_that_cannot_be_had_keeps_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> list[str]:
        warnings: list[str] = []
        checker = TargetCheck(Asked(dict), begin=begin_in_thread, warn=warnings.append, timeout_seconds=5.0)
        for _ in range(CHECKS_AT_ONCE + 1):
            assert await checker.target_exists(QUEUE) is None
        return warnings

    monkeypatch.setattr(threading.Thread, "start", refuse)
    warnings = asyncio.run(main())
    assert len(warnings) == CHECKS_AT_ONCE + 1
    assert all("can't start new thread" in warning for warning in warnings)
