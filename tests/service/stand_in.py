"""What stands in for AWS's queues, topics, buses and buckets: moto's server, and servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import boto3
from moto.server import ThreadedMotoServer

from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ACCOUNT = "123456789012"
"""Moto's own: a service of the same account gives and takes the same ARNs."""
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


class StandIn:
    """A server for SQS, SNS, EventBridge and S3. Names are never used twice: tests share it."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.get_host_and_port()[1]}"
        session = boto3.Session("a", "b", region_name=REGION)
        self.sqs, self.sns, self.events, self.s3 = (
            session.client(service, endpoint_url=self.url) for service in ("sqs", "sns", "events", "s3")
        )

    def close(self) -> None:
        self._server.stop()
        for client in (self.sqs, self.sns, self.events, self.s3):
            client.close()

    def environ(self, **variables: str) -> dict[str, str]:
        """Variables of a service that sends everything here."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url, **variables}

    def queue(self, name: str, **attributes: str) -> str:
        """Make a queue; returns its ARN."""
        self.sqs.create_queue(QueueName=name, Attributes=attributes)
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def delete_queue(self, arn: str) -> None:
        self.sqs.delete_queue(QueueUrl=self._url(arn))

    def topic(self, name: str) -> tuple[str, str]:
        """Make a topic, and a queue that gets what is published there; returns both ARNs."""
        topic, queue = self.sns.create_topic(Name=name)["TopicArn"], self.queue(f"{name}-queue")
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        return str(topic), queue

    def bus(self, name: str) -> tuple[str, str]:
        """Make an event bus, and a queue that gets what Lambda puts there; returns both ARNs."""
        bus, queue = self.events.create_event_bus(Name=name)["EventBusArn"], self.queue(f"{name}-queue")
        self.events.put_rule(Name=f"{name}-rule", EventBusName=name, EventPattern='{"source": ["lambda"]}')
        target = {"Id": "queue", "Arn": queue}
        self.events.put_targets(Rule=f"{name}-rule", EventBusName=name, Targets=[target])
        return str(bus), queue

    def bucket(self, name: str) -> str:
        """Make a bucket; returns its ARN."""
        self.s3.create_bucket(Bucket=name)
        return f"arn:aws:s3:::{name}"

    def received(self, queue: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many messages have come to a queue; exactly those are there."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(self.messages(queue))
            return len(found) >= count

        until(look, f"{count} messages arrive at {queue}")
        assert len(found) == count
        return found

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Take what is in a queue now."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self._url(queue),
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            page = answer.get("Messages", [])
            if not page:
                return found
            for message in page:
                self.sqs.delete_message(QueueUrl=self._url(queue), ReceiptHandle=message["ReceiptHandle"])
            found += page

    def objects(self, bucket: str) -> dict[str, Any]:
        """What lies in a bucket: values of JSON by key."""
        name = bucket.rpartition(":")[2]
        keys = [item["Key"] for item in self.s3.list_objects_v2(Bucket=name).get("Contents", [])]
        return {key: json.loads(self.s3.get_object(Bucket=name, Key=key)["Body"].read()) for key in keys}

    def _url(self, arn: str) -> str:
        return f"{self.url}/{ACCOUNT}/{arn.rpartition(':')[2]}"


class RawServer:
    """Answers the request of every connection with what ``answer(request)`` gives; with None, it never answers."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.asked = threading.Event()
        self.requests: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            request = client.recv(1 << 20)
            self.requests.append(request)
            self.asked.set()
            answer = self._answer(request)
            if answer is not None:
                client.sendall(answer)
                client.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            client.close()
        self._thread.join(10)


def refusal(status: int, code: str, message: str) -> bytes:
    """An error as SQS gives it."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode()
    return (
        f"HTTP/1.1 {status} Any\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def stand_ins() -> Iterator[StandIn]:
    """For a fixture: one stand-in, closed at the end."""
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def bodies(messages: Iterable[dict[str, Any]]) -> list[Any]:
    return [json.loads(message["Body"]) for message in messages]
