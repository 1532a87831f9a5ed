"""Sends what is owed to queues, topics, event buses and buckets. Blocks: for threads.

Nothing counts as sent that the service has not given a sign of: what listens at a wrong address may answer 200 to
anything. Sources: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations"; as recorded: the
source ``lambda`` and the resources of events on a bus.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from venturekit.protocol.trace import parse_trace_header
from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.service.events.delivery_errors import (
    DeliveryError,
    MessageRefusedError,
    MessageTooLargeError,
    NoEndpointError,
    TargetFailedError,
)
from venturekit.service.events.invocation_record import (
    Form,
    as_message,
    attributes_of,
    dead_letter_forms,
    record_forms,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from venturekit.service.events.aws_calls import AwsCalls
    from venturekit.service.store.outbox import OwedMessage

DEAD_LETTER: Final = "DeadLetter"
ON_SUCCESS: Final = "OnSuccess"
EVENT_SOURCE: Final = "lambda"

_KIB: Final = 1024
# Of a whole message, its attributes included. A topic can be set to take more, but Lambda sends no more.
LIMITS_BYTES: Final = {"sqs": 1024 * _KIB, "sns": 256 * _KIB, "events": 1024 * _KIB}

_TOO_LARGE: Final = re.compile(
    r"shorter than|too (?:long|large|big)|over the limit|size (?:limit|exceed)", re.IGNORECASE
)
_TOO_LARGE_CODES: Final = frozenset({"EntityTooLarge", "RequestEntityTooLarge", "413"})
# The service has looked into the message: all other errors say something about the target or the caller.
_REFUSALS: Final = frozenset(
    {
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidParameter",
        "InvalidAttributeValue",
        "ParameterValueInvalid",
        "InvalidArgument",
        "MalformedDetail",
        "ValidationException",
        "ValidationError",
    }
)


@dataclass(frozen=True, slots=True)
class TargetArn:
    """An ARN in its parts; ``resource`` is whatever follows the account."""

    text: str
    service: str
    region: str
    account_id: str
    resource: str


def parse_target(arn: str) -> TargetArn:
    """An ARN in its parts, those empty that it lacks."""
    parts = [*arn.split(":", 5), *[""] * 5]
    return TargetArn(arn, *parts[2:6])


class Senders:
    """Sends messages to whatever kind of target they are owed to."""

    def __init__(self, aws: AwsCalls) -> None:
        self._aws = aws
        # Found out once; a queue that is made anew has the same URL.
        self._queue_urls: dict[str, str] = {}
        self._kinds: Mapping[str, Callable[[OwedMessage, TargetArn, Form], None]] = {
            "sqs": self._to_queue,
            "sns": self._to_topic,
            "events": self._to_bus,
            "s3": self._to_bucket,
        }

    def obstacle(self, target: str) -> str:
        """Why nothing can be sent to this target until a restart; empty if it can be tried."""
        return self._aws.obstacle(parse_target(target).service)

    def send(self, message: OwedMessage) -> tuple[str, ...]:
        """Send a message; returns the members of the record that were left out, because the target takes only so much.

        Raises DeliveryError.
        """
        arn = parse_target(message.target)
        send = self._kinds.get(arn.service)
        if send is None:
            raise MessageRefusedError(f"nothing can be sent to {arn.service}")
        forms = dead_letter_forms if message.kind == DEAD_LETTER else record_forms
        return self._send_largest(forms(message.body), lambda form: send(message, arn, form))

    def _send_largest(self, forms: Iterable[Form], send: Callable[[Form], None]) -> tuple[str, ...]:
        """Send the first of the forms that is not too large."""
        too_large = MessageTooLargeError("the message is too large")
        for form in forms:
            try:
                send(form)
            except MessageTooLargeError as error:
                too_large = error
            else:
                return form.omitted
        raise too_large

    def _to_queue(self, message: OwedMessage, arn: TargetArn, form: Form) -> None:
        members: dict[str, Any] = {"MessageBody": as_message(form.body), **self._attributes(message, form)}
        _check_size(arn, members["MessageBody"], members.get("MessageAttributes", {}))
        if message.kind != DEAD_LETTER and _is_trace(message.trace):
            members["MessageSystemAttributes"] = {
                "AWSTraceHeader": {"DataType": "String", "StringValue": message.trace}
            }
        try:
            answer = self._call(arn, "send_message", {"QueueUrl": self._queue_url(arn), **members})
            _require(answer, "MessageId", arn)
        except TargetFailedError:
            self._queue_urls.pop(arn.text, None)
            raise

    def _queue_url(self, arn: TargetArn) -> str:
        url = self._queue_urls.get(arn.text)
        if url is None:
            members = {"QueueName": arn.resource, "QueueOwnerAWSAccountId": arn.account_id}
            answer = self._call(arn, "get_queue_url", members)
            url = self._queue_urls[arn.text] = str(_require(answer, "QueueUrl", arn))
        return url

    def _to_topic(self, message: OwedMessage, arn: TargetArn, form: Form) -> None:
        members: dict[str, Any] = {"Message": as_message(form.body), **self._attributes(message, form)}
        _check_size(arn, members["Message"], members.get("MessageAttributes", {}))
        _require(self._call(arn, "publish", {"TopicArn": arn.text, **members}), "MessageId", arn)

    def _to_bus(self, message: OwedMessage, arn: TargetArn, form: Form) -> None:
        result = "Success" if message.kind == ON_SUCCESS else "Failure"
        entry: dict[str, Any] = {
            "Source": EVENT_SOURCE,
            "DetailType": f"Lambda Function Invocation Result - {result}",
            "Resources": [arn.text, message.source],
            "Detail": form.body.decode("utf-8", "replace"),
            "EventBusName": arn.text,
        }
        about = (EVENT_SOURCE, entry["DetailType"], *entry["Resources"])
        _check_size(arn, entry["Detail"], {}, sum(len(text) for text in about))
        answer = self._call(arn, "put_events", {"Entries": [entry]})
        result_entry = (answer.get("Entries") or [{}])[0]
        if result_entry.get("ErrorCode"):
            _fail(AwsRefusedError(result_entry["ErrorCode"], result_entry.get("ErrorMessage", ""), 200))
        _require(result_entry, "EventId", arn)

    def _to_bucket(self, message: OwedMessage, arn: TargetArn, form: Form) -> None:
        members = {
            "Bucket": arn.resource,
            "Key": object_key(message),
            "Body": form.body,
            "ContentType": "application/json",
        }
        _require(self._call(arn, "put_object", members), "ETag", arn)

    def _attributes(self, message: OwedMessage, form: Form) -> dict[str, Any]:
        if message.kind != DEAD_LETTER:
            return {}
        return {"MessageAttributes": attributes_of(json.loads(message.attributes), message.body, form)}

    def _call(self, arn: TargetArn, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        obstacle = self._aws.obstacle(arn.service)
        if obstacle:
            raise NoEndpointError(obstacle)
        try:
            return self._aws.call(arn.service, arn.region, operation, members)
        except AwsRefusedError as error:
            _fail(error)
        except AwsNotAskedError as error:
            raise TargetFailedError(str(error)) from error


def object_key(message: OwedMessage) -> str:
    """The name of a record in a bucket: the same whenever this delivery is tried again, and no other's."""
    made = datetime.fromtimestamp(message.created_wall, UTC)
    # arn:aws:lambda:region:account:function:name:qualifier
    name = message.source.split(":")[6]
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{message.source} {message.delivery_id} {message.created_wall!r}")
    return f"aws/lambda/async/{name}/{made:%Y/%m/%d}/{made:%Y-%m-%dT%H.%M.%S}-{unique}"


def failure_of(error: AwsRefusedError) -> DeliveryError:
    """What an error that a service answered with means for what is owed."""
    text = str(error)
    if error.status == 413 or error.code in _TOO_LARGE_CODES:
        return MessageTooLargeError(text)
    if error.code in _REFUSALS or error.code.endswith("BatchRequestTooLong"):
        return MessageTooLargeError(text) if _TOO_LARGE.search(text) else MessageRefusedError(text)
    return TargetFailedError(text)


def _fail(error: AwsRefusedError) -> NoReturn:
    raise failure_of(error) from error


def _require(answer: Mapping[str, Any], member: str, arn: TargetArn) -> Any:
    value = answer.get(member)
    if not value:
        raise TargetFailedError(f"what answers for {arn.service} gave no {member}: check that its address is right")
    return value


def _check_size(arn: TargetArn, text: str, attributes: Mapping[str, Mapping[str, str]], more_bytes: int = 0) -> None:
    size_bytes = len(text.encode()) + more_bytes
    for name, value in attributes.items():
        size_bytes += len(name) + sum(len(part.encode()) for part in value.values())
    limit_bytes = LIMITS_BYTES[arn.service]
    if size_bytes > limit_bytes:
        raise MessageTooLargeError(f"the message has {size_bytes} bytes, {arn.service} takes {limit_bytes}")


def _is_trace(trace: str) -> bool:
    """Whether a queue would take it: a caller may have sent anything."""
    try:
        parse_trace_header(trace)
    except ValueError:
        return False
    return True
