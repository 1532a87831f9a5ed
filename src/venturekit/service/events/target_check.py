"""Whether what a destination names is there: asked when it is configured, never for long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.service.events.senders import TargetArn, parse_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.events.aws_calls import AwsCalls
    from venturekit.service.events.sending_threads import BeginInThread

CHECK_TIMEOUT_SECONDS: Final = 3.0
CHECKS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class _Question:
    """An operation that asks for a target; the codes that say it is not there; what a real answer has, if anything."""

    operation: str
    members: Mapping[str, Any]
    missing: frozenset[str]
    sign: str


class TargetCheck:
    """Asks for queues, topics, buses and buckets. ``warn`` gets a sentence about each that nobody could tell of."""

    def __init__(
        self,
        aws: AwsCalls,
        *,
        begin: BeginInThread,
        warn: Callable[[str], None],
        timeout_seconds: float = CHECK_TIMEOUT_SECONDS,
    ) -> None:
        self._aws = aws
        self._begin = begin
        self._warn = warn
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def target_exists(self, arn: str) -> bool | None:
        """False if the target is known not to exist, None if nobody could tell within three seconds."""
        target = parse_target(arn)
        if self._aws.obstacle(target.service):
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._slots.acquire()
                return await self._ask(target)
        except TimeoutError:
            reason = f"no answer within {self._timeout_seconds:g} s"
        except (AwsRefusedError, AwsNotAskedError, RuntimeError) as error:
            reason = str(error)
        self._warn(f"the destination {arn} is taken as it is, {target.service} could not be asked for it: {reason}")
        return None

    def _ask(self, target: TargetArn) -> asyncio.Future[bool]:
        try:
            return self._begin(lambda: exists(self._aws, target), "check-target", self._slots.release)
        except RuntimeError:
            self._slots.release()
            raise


def exists(aws: AwsCalls, target: TargetArn) -> bool:
    """Ask whether a target exists. Raises AwsRefusedError and AwsNotAskedError when that is not what was answered."""
    question = _question(target)
    try:
        answer = aws.call(target.service, target.region, question.operation, question.members)
    except AwsRefusedError as error:
        if error.code in question.missing:
            return False
        raise
    if question.sign and not answer.get(question.sign):
        what = f"what answers for {target.service} gave no {question.sign}"
        raise AwsNotAskedError(f"{what}: check that its address is right")
    return True


def _question(target: TargetArn) -> _Question:
    match target.service:
        case "sqs":
            members = {"QueueName": target.resource, "QueueOwnerAWSAccountId": target.account_id}
            missing = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
            return _Question("get_queue_url", members, missing, "QueueUrl")
        case "sns":
            missing = frozenset({"NotFound", "NotFoundException"})
            return _Question("get_topic_attributes", {"TopicArn": target.text}, missing, "Attributes")
        case "events":
            missing = frozenset({"ResourceNotFoundException"})
            return _Question("describe_event_bus", {"Name": target.text}, missing, "Arn")
        case _:
            missing = frozenset({"NoSuchBucket", "404"})
            return _Question("head_bucket", {"Bucket": target.resource}, missing, "")
