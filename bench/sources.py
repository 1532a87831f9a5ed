"""Rows of event source mappings: messages of a queue through a function, against stand-ins for SQS.

Moto's server is the stand-in that the tests know. It gives fewer messages than the service could take, so there is a
second one: a server that does no more than SQS's wire asks for.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig import (
    Load,
    Measured,
    Service,
    Unavailable,
    answers,
    c_archive,
    cpu_ns,
    free_port,
    running,
    service,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

ACCOUNT = "123456789012"
WORKERS = 5
"""As many ask moto directly as a mapping begins with."""
PATIENCE_SECONDS = 120.0


@dataclass
class Sources:
    """What the rows share, started on first use and ended with the stack."""

    stack: ExitStack
    messages: int = 4_000
    rounds: int = 3
    seconds: float = 2.0

    def stand_in(self, command: list[str], name: str, port: int) -> StandIn:
        """Start a server for SQS and a service that asks it."""
        log = Path(os.devnull)
        process = self.stack.enter_context(running(command, pinned=False, log=log))
        wait_until(lambda: answers(port), process, log, name)
        url = f"http://127.0.0.1:{port}"
        environ = {"AWS_ENDPOINT_URL_SQS": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        served = self.stack.enter_context(service(environ=environ))
        for function in ("c", "d"):
            served.create(function, "provided.al2023", "bootstrap", c_archive())
            served.wait_active(function)
        return StandIn(url, served, name)

    @cached_property
    def moto(self) -> StandIn:
        """Moto's server."""
        port = free_port()
        return self._own("moto_server.py", "moto", port)

    @cached_property
    def lean(self) -> StandIn:
        """The server of this module."""
        port = free_port()
        return self._own("sqs_server.py", "lean", port)

    def _own(self, script: str, name: str, port: int) -> StandIn:
        return self.stand_in([sys.executable, str(Path(__file__).with_name(script)), str(port)], name, port)


class StandIn:
    """A server for SQS with the service that asks it."""

    def __init__(self, url: str, served: Service, name: str) -> None:
        import boto3
        from botocore.config import Config

        self.served, self.name = served, name
        session = boto3.Session("a", "b", region_name="us-east-1")
        self.sqs: Any = session.client("sqs", endpoint_url=url, config=Config(max_pool_connections=32))
        self._queues = 0

    def queue(self, messages: int) -> tuple[str, str]:
        """A queue with so many messages; its URL and ARN."""
        self._queues += 1
        name = f"{self.name}-{self._queues}"
        url = self.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
        body = json.dumps({"orderId": "0" * 100})
        for _ in range(messages // 10):
            entries = [{"Id": str(number), "MessageBody": body} for number in range(10)]
            self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"

    def left(self, url: str) -> int:
        """How many messages a queue holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def wait_empty(self, url: str) -> None:
        """Raises Unavailable when there are as many of them for too long."""
        last, since = 0, time.monotonic()
        while left := self.left(url):
            if left != last:
                last, since = left, time.monotonic()
            elif time.monotonic() > since + PATIENCE_SECONDS:
                raise Unavailable(f"{left} messages were still there, {PATIENCE_SECONDS:g} s after the one before")
            time.sleep(0.02)

    def mapped(self, messages: int) -> tuple[float, float]:
        """Messages in a second through a mapping, and the service's CPU for each (microseconds)."""
        url, arn = self.queue(messages)
        before, begin = cpu_ns(self.served.process.pid), time.perf_counter()
        with self.mapping(arn):
            self.wait_empty(url)
            taken = time.perf_counter() - begin
            cpu_us = (cpu_ns(self.served.process.pid) - before) / 1e3
        return messages / taken, cpu_us / messages

    @contextmanager
    def mapping(self, arn: str) -> Iterator[str]:
        """A queue mapped to the function ``c``, for the time of the block."""
        path = "/2015-03-31/event-source-mappings"
        made = self.served.call("POST", path, {"EventSourceArn": arn, "FunctionName": "c", "BatchSize": 10})
        place = f"{path}/{made['UUID']}"
        try:
            yield place
        finally:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while self.served.call("GET", place)["State"] != "Enabled" and time.monotonic() < give_up:
                time.sleep(0.002)
            self.served.call("DELETE", place)
            with suppress(Unavailable):
                while self.served.call("GET", place) and time.monotonic() < give_up:
                    time.sleep(0.01)

    def invokes(self, *, seconds: float) -> tuple[Load, Load]:
        """Invokes of another function by one client: with nothing beside them, and beside a mapping that is busy."""
        self.served.load("d", seconds=0.2)
        quiet = self.served.load("d", seconds=seconds)
        self.sqs.create_queue(QueueName=f"{self.name}-endless")
        with self.mapping(f"arn:aws:sqs:us-east-1:{ACCOUNT}:{self.name}-endless") as place:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while self.served.call("GET", place).get("LastProcessingResult") != "OK":
                if time.monotonic() > give_up:
                    raise Unavailable("no message was processed")
                time.sleep(0.01)
            return quiet, self.served.load("d", seconds=seconds)

    def alone(self, messages: int) -> float:
        """Messages in a second to as many threads that do nothing but receive and delete."""
        url, _ = self.queue(messages)

        def take() -> None:
            while found := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                entries = [
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                    for number, message in enumerate(found)
                ]
                self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)

        begin = time.perf_counter()
        threads = [threading.Thread(target=take) for _ in range(WORKERS)]
        _each(threads, threading.Thread.start)
        _each(threads, threading.Thread.join)
        return messages / (time.perf_counter() - begin)


def against_moto(shared: Sources) -> Measured:
    """Interleaved rounds: through a mapping, and what moto gives to threads that do nothing else."""
    moto, pairs = shared.moto, list[tuple[float, float]]()
    moto.mapped(100)
    for _ in range(shared.rounds):
        ours, _ = moto.mapped(shared.messages // 4)
        pairs.append((ours, moto.alone(shared.messages // 4)))
    ours, limit = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return Measured(ratio, f"{ours:,.0f} messages/s of {limit:,.0f}/s that moto gives to {WORKERS} threads alone")


def rate(shared: Sources) -> Measured:
    """Against a server that does no more than it must."""
    shared.lean.mapped(1_000)
    rates, cpu = zip(*(shared.lean.mapped(shared.messages * 2) for _ in range(shared.rounds)), strict=True)
    return Measured(
        statistics.median(rates), f"a lean stand-in for SQS; {statistics.median(cpu):.0f} µs of service CPU a message"
    )


def service_cpu(shared: Sources) -> Measured:
    """What a thousand messages cost the process that answers callers; their function's invocations included."""
    shared.lean.mapped(1_000)
    cpu = [shared.lean.mapped(shared.messages * 2)[1] for _ in range(shared.rounds)]
    return Measured(statistics.median(cpu), "without the process that polls")


def invokes_meanwhile(shared: Sources) -> Measured:
    """The slowest warm invokes of another function while messages are polled, invoked with and deleted."""
    pairs = [shared.lean.invokes(seconds=shared.seconds) for _ in range(shared.rounds)]
    busy_ms = statistics.median(busy.p99_us for _, busy in pairs) / 1e3
    ratio = statistics.median(busy.p99_us / quiet.p99_us for quiet, busy in pairs)
    quiet_us = statistics.median(quiet.p99_us for quiet, _ in pairs)
    return Measured(busy_ms, f"{ratio:.1f} times the {quiet_us:,.0f} µs without a mapping")


def _each(threads: list[threading.Thread], do: Callable[[threading.Thread], None]) -> None:
    for thread in threads:
        do(thread)
