"""Parts of the edge, and an unmodified botocore client whose requests the edge answers without a socket."""

from __future__ import annotations

import asyncio
import re
import struct
import zlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from venturekit.service.api.edge import Answer, Edge
from venturekit.service.api.model import service_model
from venturekit.service.api.operations import OperationTable
from venturekit.service.api.patterns import translate_pattern
from venturekit.service.api.registry import Registry

ACCOUNT = "arn:aws:lambda:us-east-1:123456789012"
SAMPLES = (
    "my-function",
    "1",
    "",
    "*",
    "name_of_a_group",
    "123456789012",
    "code.test",
    "o-a1b2c3d4e5",
    "sg-0123456789abcdef0",
    "subnet-0123456789abcdef0",
    "csc-0123456789abcdefg",
    "broker.example.test:9092",
    "/mnt/data",
    "8e5b2c1a-0f3d-4c6b-9a7e-112233445566",
    "lambda:InvokeFunction",
    "lambda:GetLayerVersion",
    "us-east-1",
    "SomethingException",
    "$LATEST",
    "$LATEST.PUBLISHED",
    "arn:aws:sqs:us-east-1:123456789012:queue",
    "arn:aws:kms:us-east-1:123456789012:key/8e5b2c1a",
    "arn:aws:iam::123456789012:role/service-role/lambda",
    "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
    f"{ACCOUNT}:function:my-function",
    f"{ACCOUNT}:function:my-function:1/durable-execution/one/two",
    f"{ACCOUNT}:layer:my-layer",
    f"{ACCOUNT}:layer:my-layer:3",
    f"{ACCOUNT}:code-signing-config:csc-0123456789abcdefg",
    f"{ACCOUNT}:capacity-provider:pool",
    f"{ACCOUNT}:event-source-mapping:8e5b2c1a-0f3d-4c6b-9a7e-112233445566",
    f"{ACCOUNT}:runtime/python3.13/version/1",
    "arn:aws:lambda:us-east-1::runtime:0123456789abcdef",
)


def sample_text(shape: Any) -> str:
    """A string that satisfies the constraints of ``shape`` (of our model or botocore's)."""
    if shape.enum:
        return shape.enum[-1]
    if shape.pattern is None:
        return "é value"[: int(shape.maximum or 99)].ljust(int(shape.minimum or 0), "x")
    compiled = re.compile(translate_pattern(shape.pattern))
    for text in SAMPLES:
        padded = text.ljust(int(shape.minimum or 0), "x")
        for each in (text, padded):
            if compiled.fullmatch(each) and (shape.minimum or 0) <= len(each) <= (shape.maximum or 10**9):
                return each
    raise AssertionError(f"no sample for {shape.name}: {shape.pattern}")


def sample(shape: Any) -> Any:
    """A value of ``shape`` with every member filled that satisfies every constraint."""
    match shape.kind:
        case "structure":
            return {m.name: sample(m.shape) for m in shape.members.values()}
        case "list":
            return [sample(shape.element)] * max(1, int(shape.minimum or 1))
        case "map":
            return {sample(shape.key): sample(shape.element)}
        case "integer" | "long":
            return int(shape.maximum if shape.maximum is not None else max(7, shape.minimum or 0))
        case "double" | "float":
            return (float(shape.minimum or 0) + float(shape.maximum or 1)) / 2
        case "boolean":
            return True
        case "timestamp":
            return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        case "blob":
            return b"\x00\xffblob"
        case _:
            return sample_text(shape)


def frame(event_type: str, content_type: str, payload: bytes) -> bytes:
    """One event-stream frame, as an SDK reads it."""
    headers = b""
    for name, value in ((":message-type", "event"), (":event-type", event_type), (":content-type", content_type)):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    return prelude + headers + payload + struct.pack(">I", zlib.crc32(prelude + headers + payload))


class _Raw:
    """The part of a urllib3 response that botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, amt: int = 1024, decode_content: bool | None = None) -> Any:
        yield self.read()

    def read(self, amt: int | None = None) -> bytes:
        body, self._body = self._body, b""
        return body

    def isclosed(self) -> bool:
        return not self._body

    def close(self) -> None:
        self._body = b""

    def release_conn(self) -> None:
        self.close()


class LoopbackClient:
    """``client`` is botocore's own; each request goes to ``edge`` and the edge's answer to botocore's parser."""

    def __init__(self) -> None:
        config = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1})
        self.client = botocore.session.Session().create_client(
            "lambda", region_name="us-east-1", endpoint_url="http://127.0.0.1:9001", config=config
        )
        self.client.meta.events.register("before-send.lambda", self._send)
        mapping = self.client.meta.method_to_api_mapping
        self.methods = {operation: method for method, operation in mapping.items()}
        self.edge: BoundEdge | None = None
        self.answers: list[Answer] = []

    def call(self, operation_name: str, members: dict[str, Any]) -> dict[str, Any]:
        """Call an operation by its name in the model."""
        return getattr(self.client, self.methods[operation_name])(**members)

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        parts = urlsplit(request.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name.lower().encode(): _bytes(value) for name, value in request.headers.items()}
        body = request.body.read() if hasattr(request.body, "read") else _bytes(request.body or b"")
        assert self.edge is not None
        answer = asyncio.run(self.edge.answer(request.method.encode(), target.encode(), headers, body, "request-1"))
        self.answers.append(answer)
        received = {name.decode(): value.decode() for name, value in answer.headers}
        return AWSResponse(request.url, answer.status, received, _Raw(answer.body))


class BoundEdge(Edge):
    """An edge that always answers by the same operations."""

    __slots__ = ("operations",)

    def __init__(self, table: OperationTable, operations: Registry, *, report: Any) -> None:
        super().__init__(table, report=report)
        self.operations = operations

    async def answer(self, *request: Any, **options: Any) -> Answer:
        """The answer of these operations."""
        return await super().answer(*request, **{"operations": lambda: self.operations, **options})


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else bytes(str(value), "utf-8")


@pytest.fixture(scope="session")
def loopback() -> LoopbackClient:
    return LoopbackClient()


@pytest.fixture(scope="session")
def table() -> OperationTable:
    return OperationTable(service_model().operations.values())


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def faults() -> list[BaseException]:
    """What the edge of :func:`edge` has reported."""
    return []


@pytest.fixture
def edge(table: OperationTable, registry: Registry, faults: list[BaseException]) -> BoundEdge:
    return BoundEdge(table, registry, report=faults.append)


@pytest.fixture(scope="session", name="sample")
def sample_fixture() -> Any:
    return sample


@pytest.fixture(scope="session", name="frame")
def frame_fixture() -> Any:
    return frame
