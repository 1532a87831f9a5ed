"""Events of message brokers: Kafka and Amazon MQ.

Sources: AWS Lambda Developer Guide, "Using Lambda with Amazon MSK", "Using Lambda with self-managed Apache Kafka",
"Using Lambda with Amazon MQ".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from venturekit.testing.events.common import ACCOUNT_ID, REGION, base64_of, bytes_of, new_id, now_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLUSTER: Final = "751d2973-a626-431c-9d4e-d7975eb44dd7-2"
_BROKER: Final = "b-9bcfa592-423a-4942-879d-eb284b418fc8"


def msk_event(
    *values: Any,
    topic: str = "topic",
    partition: int = 0,
    key: Any = None,
    headers: Mapping[str, str | bytes] | None = None,
    first_offset: int = 0,
    cluster: str = "cluster",
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A batch from a topic of Amazon MSK: bytes and texts are records as they are, any other value becomes JSON::

    >>> from venturekit.testing import msk_event
    >>> event = msk_event("hello", topic="greetings", key="k", headers={"lang": "en"})
    >>> record = event["records"]["greetings-0"][0]
    >>> record["value"], record["key"], record["headers"]
    ('aGVsbG8=', 'aw==', [{'lang': [101, 110]}])
    """
    return {
        "eventSource": "aws:kafka",
        "eventSourceArn": f"arn:aws:kafka:{region}:{account_id}:cluster/{cluster}/{_CLUSTER}",
        "bootstrapServers": f"b-1.{cluster}.a1bcde.c1.kafka.{region}.amazonaws.com:9092",
        "records": _records(values, topic, partition, key, headers, first_offset, now_ms(time_epoch_ms)),
    }


def kafka_event(
    *values: Any,
    topic: str = "topic",
    partition: int = 0,
    key: Any = None,
    headers: Mapping[str, str | bytes] | None = None,
    first_offset: int = 0,
    bootstrap_servers: str = "kafka.example.com:9092",
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """The same from a Kafka of one's own, which has no ARN::

    >>> from venturekit.testing import kafka_event
    >>> kafka_event({"id": 1})["eventSource"]
    'SelfManagedKafka'
    """
    return {
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": bootstrap_servers,
        "records": _records(values, topic, partition, key, headers, first_offset, now_ms(time_epoch_ms)),
    }


def _records(
    values: tuple[Any, ...],
    topic: str,
    partition: int,
    key: Any,
    headers: Mapping[str, str | bytes] | None,
    first_offset: int,
    moment: int,
) -> dict[str, list[dict[str, Any]]]:
    described = [{name: _signed(bytes_of(value))} for name, value in (headers or {}).items()]
    records = []
    for index, value in enumerate(values):
        record: dict[str, Any] = {
            "topic": topic,
            "partition": partition,
            "offset": first_offset + index,
            "timestamp": moment,
            "timestampType": "CREATE_TIME",
        }
        if key is not None:
            record["key"] = base64_of(key)
        records.append({**record, "value": base64_of(value), "headers": described})
    return {f"{topic}-{partition}": records}


def _signed(data: bytes) -> list[int]:
    """Bytes as the numbers that Java has for them: above 127 they are negative."""
    return [byte - 256 if byte > 127 else byte for byte in data]


def mq_event(
    *messages: Any,
    queue: str = "queue",
    engine: Literal["activemq", "rabbitmq"] = "activemq",
    virtual_host: str = "/",
    properties: Mapping[str, Any] | None = None,
    broker: str = "broker",
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A batch from a queue of Amazon MQ: bytes and texts are messages as they are, any other value becomes JSON::

        >>> from venturekit.testing import mq_event
        >>> mq_event("hello", queue="orders")["messages"][0]["data"]
        'aGVsbG8='
        >>> list(mq_event("hello", queue="orders", engine="rabbitmq")["rmqMessagesByQueue"])
        ['orders::/']

    ``properties`` are those of ActiveMQ's messages, or the headers of RabbitMQ's. Raises ValueError for another engine.
    """
    arn = f"arn:aws:mq:{region}:{account_id}:broker:{broker}:{_BROKER}"
    moment = now_ms(time_epoch_ms)
    if engine == "activemq":
        made = [_active_message(message, queue, properties, region, moment) for message in messages]
        return {"eventSource": "aws:mq", "eventSourceArn": arn, "messages": made}
    if engine == "rabbitmq":
        listed = {f"{queue}::{virtual_host}": [_rabbit_message(message, properties) for message in messages]}
        return {"eventSource": "aws:rmq", "eventSourceArn": arn, "rmqMessagesByQueue": listed}
    raise ValueError(f"{engine!r} is no engine of Amazon MQ: 'activemq' and 'rabbitmq' are")


def _active_message(
    message: Any, queue: str, properties: Mapping[str, Any] | None, region: str, moment: int
) -> dict[str, Any]:
    kind = "bytes" if isinstance(message, bytes | bytearray) else "text"
    return {
        "messageID": f"ID:{_BROKER}-1.mq.{region}.amazonaws.com-{new_id()}:1:1:1:1",
        "messageType": f"jms/{kind}-message",
        "timestamp": moment,
        "deliveryMode": 1,
        "correlationID": "",
        "replyTo": "null",
        "destination": {"physicalName": queue},
        "redelivered": False,
        "type": "",
        "expiration": 0,
        "priority": 0,
        "data": base64_of(message),
        "brokerInTime": moment,
        "brokerOutTime": moment + 1,
        "properties": dict(properties or {}),
    }


def _rabbit_message(message: Any, headers: Mapping[str, Any] | None) -> dict[str, Any]:
    described = {
        name: {"bytes": _signed(bytes_of(value))} if isinstance(value, str | bytes) else value
        for name, value in (headers or {}).items()
    }
    return {
        "basicProperties": {
            "contentType": "text/plain",
            "contentEncoding": None,
            "headers": described,
            "deliveryMode": 1,
            "priority": 0,
            "correlationId": None,
            "replyTo": None,
            "expiration": None,
            "messageId": None,
            "timestamp": None,
            "type": None,
            "userId": None,
            "appId": None,
            "clusterId": None,
            "bodySize": len(bytes_of(message)),
        },
        "redelivered": False,
        "data": base64_of(message),
    }
