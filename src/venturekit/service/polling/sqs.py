"""Queues of SQS, or of what stands in for it: the port of pollers. Blocks: for threads."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.service.sources.ports import QueueDescription, QueueError, QueueRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.service.polling.sqs_api import SqsApi

AT_ONCE: Final = 10
"""Messages of one request that deletes or releases some (SQS API reference)."""


class SqsQueues:
    """Queues by their ARNs: see :class:`venturekit.service.sources.ports.Queues`."""

    def __init__(self, api: SqsApi) -> None:
        self._api = api
        # Found out once; a queue that is made anew has the same URL.
        self._urls: dict[str, str] = {}

    def describe(self, arn: str) -> QueueDescription:
        """Ask for a queue's attributes. Raises QueueError."""
        answer = self._call(arn, "GetQueueAttributes", {"AttributeNames": ["VisibilityTimeout"]})
        try:
            return QueueDescription(int(answer["Attributes"]["VisibilityTimeout"]))
        except (KeyError, TypeError, ValueError):
            raise QueueError(
                "what answers for sqs gave no VisibilityTimeout: check that its address is right"
            ) from None

    def receive(self, arn: str, count: int, wait_seconds: int) -> Sequence[Mapping[str, Any]]:
        """Up to ``count`` messages, with all of their attributes. Raises QueueError."""
        members = {
            "MaxNumberOfMessages": count,
            "WaitTimeSeconds": wait_seconds,
            "MessageAttributeNames": ["All"],
            # The newer name of the same, and the one that all that stand in for SQS know.
            "MessageSystemAttributeNames": ["All"],
            "AttributeNames": ["All"],
        }
        messages: Sequence[Mapping[str, Any]] = self._call(arn, "ReceiveMessage", members).get("Messages") or ()
        try:
            for message in messages:
                _check(message)
        except (AttributeError, TypeError, binascii.Error) as error:
            raise QueueError(f"what answers for sqs gave a message that is none: {error}") from error
        return messages

    def delete(self, arn: str, receipt_handles: Sequence[str]) -> None:
        """Delete messages. Raises QueueError when some could not be deleted."""
        self._batches(arn, "DeleteMessageBatch", receipt_handles, {})

    def release(self, arn: str, receipt_handles: Sequence[str]) -> None:
        """Make messages visible again at once. Raises QueueError."""
        self._batches(arn, "ChangeMessageVisibilityBatch", receipt_handles, {"VisibilityTimeout": 0})

    def _batches(self, arn: str, operation: str, handles: Sequence[str], more: Mapping[str, Any]) -> None:
        failed: list[Mapping[str, Any]] = []
        for begin in range(0, len(handles), AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, **more}
                for number, handle in enumerate(handles[begin : begin + AT_ONCE])
            ]
            failed += self._call(arn, operation, {"Entries": entries}).get("Failed") or ()
        if failed:
            raise QueueRefusedError(failed[0].get("Code", "Unknown"), failed[0].get("Message", ""))

    def _call(self, arn: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        region = arn.split(":")[3]
        try:
            url = self._urls.get(arn) or self._find(arn, region)
            return self._api.call(region, operation, {"QueueUrl": url, **members})
        except AwsRefusedError as error:
            self._urls.pop(arn, None)
            raise QueueRefusedError(error.code, error.message) from error
        except AwsNotAskedError as error:
            raise QueueError(str(error)) from error

    def _find(self, arn: str, region: str) -> str:
        account_id, name = arn.split(":")[4:6]
        members = {"QueueName": name, "QueueOwnerAWSAccountId": account_id}
        url = self._api.call(region, "GetQueueUrl", members).get("QueueUrl")
        if not url:
            raise QueueError("what answers for sqs gave no QueueUrl: check that its address is right")
        self._urls[arn] = str(url)
        return str(url)


def _check(message: Mapping[str, Any]) -> None:
    """Raise QueueError for what is no message; what is in base64 on the wire becomes bytes."""
    if not message.get("ReceiptHandle") or not message.get("MessageId"):
        raise QueueError("what answers for sqs gave a message without MessageId or ReceiptHandle")
    for attribute in (message.get("MessageAttributes") or {}).values():
        if attribute.get("BinaryValue") is not None:
            attribute["BinaryValue"] = base64.b64decode(attribute["BinaryValue"])
