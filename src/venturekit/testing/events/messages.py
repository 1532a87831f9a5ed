"""Events of queues, topics, buckets and EventBridge.

Sources: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "… Amazon SNS", "… Amazon S3"; Amazon S3 User
Guide, "Event message structure"; EventBridge User Guide, "Event structure".
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from venturekit.testing.events.common import (
    ACCOUNT_ID,
    REGION,
    base64_of,
    digits,
    iso_time,
    new_id,
    now_ms,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def sqs_event(
    *messages: Any,
    queue: str = "queue",
    attributes: Mapping[str, Any] | None = None,
    group_id: str | None = None,
    receive_count: int = 1,
    trace: str | None = None,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A batch from an SQS queue: a text is a message as it is, any other value becomes JSON::

        >>> from venturekit.testing import sqs_event
        >>> event = sqs_event({"orderId": "1"}, {"orderId": "2"}, queue="orders")
        >>> [record["body"] for record in event["Records"]]
        ['{"orderId":"1"}', '{"orderId":"2"}']
        >>> event["Records"][0]["eventSourceARN"]
        'arn:aws:sqs:us-east-1:123456789012:orders'

    ``attributes`` are message attributes, texts, numbers or bytes. A queue whose name ends in ``.fifo`` has
    ``group_id``. ``receive_count`` tells how often the messages were received, ``trace`` is a trace header. All of it
    holds for every message: of messages that differ, put together the ``Records`` of several events.
    """
    moment = now_ms(time_epoch_ms)
    fifo = queue.endswith(".fifo")
    if group_id is not None and not fifo:
        raise ValueError(f"messages of the queue {queue!r} have no group: the name of one that has it ends in .fifo")
    records = []
    for message in messages:
        body = text_of(message)
        system = {
            "ApproximateReceiveCount": str(receive_count),
            "SentTimestamp": str(moment),
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": str(moment + 1),
        }
        if fifo:
            system |= {
                "SequenceNumber": str(int(digits(15), 16)).zfill(20),
                "MessageGroupId": group_id or "group",
                "MessageDeduplicationId": digits(32),
            }
        if trace is not None:
            system["AWSTraceHeader"] = trace
        records.append(
            {
                "messageId": new_id(),
                "receiptHandle": f"AQEB{digits(64)}",
                "body": body,
                "attributes": system,
                "messageAttributes": {name: _sqs_attribute(value) for name, value in (attributes or {}).items()},
                "md5OfBody": md5(body.encode(), usedforsecurity=False).hexdigest(),
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{region}:{account_id}:{queue}",
                "awsRegion": region,
            }
        )
    return {"Records": records}


def _sqs_attribute(value: Any) -> dict[str, Any]:
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    if isinstance(value, bytes):
        return {"binaryValue": base64_of(value), **lists, "dataType": "Binary"}
    kind = "Number" if isinstance(value, int | float) and not isinstance(value, bool) else "String"
    return {"stringValue": text_of(value), **lists, "dataType": kind}


def sns_event(
    *messages: Any,
    topic: str = "topic",
    subject: str | None = None,
    attributes: Mapping[str, str] | None = None,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """Notifications of an SNS topic: a text is a message as it is, any other value becomes JSON::

        >>> from venturekit.testing import sns_event
        >>> sns_event("hello", topic="greetings", subject="hi")["Records"][0]["Sns"]["Message"]
        'hello'

    SNS calls a function once for each message; several make several records all the same.
    """
    topic_arn = f"arn:aws:sns:{region}:{account_id}:{topic}"
    host = f"https://sns.{region}.amazonaws.com"
    records = []
    for message in messages:
        subscription = f"{topic_arn}:{new_id()}"
        notification = {
            "Type": "Notification",
            "MessageId": new_id(),
            "TopicArn": topic_arn,
            "Subject": subject,
            "Message": text_of(message),
            "Timestamp": iso_time(now_ms(time_epoch_ms)),
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
            "SigningCertUrl": f"{host}/SimpleNotificationService-{digits(32)}.pem",
            "UnsubscribeUrl": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription}",
            "MessageAttributes": {
                name: {"Type": "String", "Value": value} for name, value in (attributes or {}).items()
            },
        }
        records.append(
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription,
                "Sns": notification,
            }
        )
    return {"Records": records}


def s3_event(
    *keys: str,
    bucket: str = "bucket",
    event_name: str = "ObjectCreated:Put",
    size_bytes: int = 1024,
    version_id: str | None = None,
    region: str = REGION,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """Notifications of an S3 bucket, one for each key::

        >>> from venturekit.testing import s3_event
        >>> s3_event("in/my photo.jpg", bucket="uploads")["Records"][0]["s3"]["object"]["key"]
        'in/my+photo.jpg'

    Keys are encoded as S3 does it: ``urllib.parse.unquote_plus`` gives them back. An object that was removed
    (``event_name="ObjectRemoved:Delete"``) has neither size nor tag.
    """
    records = []
    for key in keys:
        stored: dict[str, Any] = {"key": quote_plus(key, safe="/")}
        if event_name.startswith("ObjectCreated"):
            stored |= {"size": size_bytes, "eTag": md5(key.encode(), usedforsecurity=False).hexdigest()}
        if version_id is not None:
            stored["versionId"] = version_id
        stored["sequencer"] = digits(18).upper()
        records.append(
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": region,
                "eventTime": iso_time(now_ms(time_epoch_ms)),
                "eventName": event_name,
                "userIdentity": {"principalId": "AWS:AIDAINPONIXQXHT3IKHL2"},
                "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                "responseElements": {"x-amz-request-id": digits(16).upper(), "x-amz-id-2": f"{digits(64)}="},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "configuration",
                    "bucket": {
                        "name": bucket,
                        "ownerIdentity": {"principalId": "A3I5XTEXAMAI3E"},
                        "arn": f"arn:aws:s3:::{bucket}",
                    },
                    "object": stored,
                },
            }
        )
    return {"Records": records}


def eventbridge_event(
    detail_type: str,
    detail: Mapping[str, Any] | None = None,
    *,
    source: str = "app",
    resources: Sequence[str] = (),
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    event_id: str | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """An event of an EventBridge bus::

    >>> from venturekit.testing import eventbridge_event
    >>> event = eventbridge_event("OrderPlaced", {"orderId": "1"}, source="shop")
    >>> event["detail-type"], event["source"], event["detail"]
    ('OrderPlaced', 'shop', {'orderId': '1'})
    """
    return {
        "version": "0",
        "id": new_id(event_id),
        "detail-type": detail_type,
        "source": source,
        "account": account_id,
        "time": iso_time(now_ms(time_epoch_ms), milliseconds=False),
        "region": region,
        "resources": list(resources),
        "detail": dict(detail or {}),
    }


def schedule_event(
    rule: str = "schedule",
    *,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    event_id: str | None = None,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """The event of a rule with a schedule::

    >>> from venturekit.testing import schedule_event
    >>> schedule_event("nightly")["resources"]
    ['arn:aws:events:us-east-1:123456789012:rule/nightly']
    """
    return eventbridge_event(
        "Scheduled Event",
        source="aws.events",
        resources=[f"arn:aws:events:{region}:{account_id}:rule/{rule}"],
        region=region,
        account_id=account_id,
        event_id=event_id,
        time_epoch_ms=time_epoch_ms,
    )
