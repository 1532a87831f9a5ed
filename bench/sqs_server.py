"""A server that speaks as much of SQS as the bench needs, from memory. Usage: sqs_server.py PORT."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sys
from collections import deque
from typing import Any

import httptools


class Queues:
    """Queues by their URLs' last part; a message that was received stays away until it is deleted.

    One whose name ends with ``-endless`` has as many messages as it is asked for.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._waiting: dict[str, deque[tuple[str, str, str]]] = {}
        self._held: dict[str, dict[str, tuple[str, str, str]]] = {}
        self._numbers = itertools.count(1)

    def answer(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        """The answer of one operation."""
        name = members.get("QueueName") or members["QueueUrl"].rpartition("/")[2]
        match operation:
            case "CreateQueue" | "GetQueueUrl":
                self._waiting.setdefault(name, deque())
                self._held.setdefault(name, {})
                return {"QueueUrl": f"http://127.0.0.1:{self._port}/123456789012/{name}"}
            case "SendMessageBatch":
                for entry in members["Entries"]:
                    body = entry["MessageBody"]
                    self._waiting[name].append((str(next(self._numbers)), body, _digest(body)))
                sent = [
                    {"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": _digest(entry["MessageBody"])}
                    for entry in members["Entries"]
                ]
                return {"Successful": sent, "Failed": []}
            case "ReceiveMessage":
                return {"Messages": [self._receive(name) for _ in range(self._count(name, members))]}
            case "DeleteMessageBatch":
                for entry in members["Entries"]:
                    self._held[name].pop(entry["ReceiptHandle"], None)
                return {"Successful": [{"Id": entry["Id"]} for entry in members["Entries"]], "Failed": []}
        numbers = {"VisibilityTimeout": "300", "ApproximateNumberOfMessages": str(len(self._waiting[name]))}
        return {"Attributes": {**numbers, "ApproximateNumberOfMessagesNotVisible": str(len(self._held[name]))}}

    def _count(self, name: str, members: dict[str, Any]) -> int:
        if name.endswith("-endless"):
            body = '{"orderId": "%s"}' % ("0" * 100)
            self._waiting[name].extend((str(next(self._numbers)), body, "0") for _ in range(10))
        return min(len(self._waiting[name]), members["MaxNumberOfMessages"])

    def _receive(self, name: str) -> dict[str, Any]:
        number, body, digest = message = self._waiting[name].popleft()
        self._held[name][number] = message
        system = {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000", "SenderId": "a"}
        return {"MessageId": number, "ReceiptHandle": number, "Body": body, "MD5OfBody": digest, "Attributes": system}


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._parser = httptools.HttpRequestParser(self)
        self._body, self._operation = bytearray(), ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The operation is in a header."""
        if name.lower() == b"x-amz-target":
            self._operation = value.decode().rpartition(".")[2]

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer; a request for messages of an empty queue waits a little."""
        members, self._body = json.loads(self._body), bytearray()
        answer = self._queues.answer(self._operation, members)
        if members.get("WaitTimeSeconds") and not answer.get("Messages", True):
            asyncio.get_running_loop().call_later(0.5, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def main(port: int) -> None:
    """Serve until the end of the process."""
    queues = Queues(port)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(queues), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    # It stands for a server elsewhere: what is measured must not wait for this processor's share of it.
    os.nice(10)
    asyncio.run(main(int(sys.argv[1])))
