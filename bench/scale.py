"""The control plane with very many functions: a store as it looks after a long time, and what calls take on it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import socket
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rig import PYTHON_RUNTIME, ROLE, SDK_HEADERS, Measured, Unavailable, python_archive, pss_mib, service

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from venturekit.service.functions.records import FunctionVersion
    from venturekit.service.store import Store

FUNCTIONS = 10_000
PUBLISHED = 3
ACCOUNT = "000000000000"
REGION = "us-east-1"
LIST = "/2015-03-31/functions?MaxItems=50"
AT_ONCE = 1_000
"""How many functions are written by one commit."""

Request = tuple[str, str, object]
"""Method, target and document of one call."""


# --- a store with many functions ----------------------------------------------------------------------------------


def populate(data_dir: Path, functions: int = FUNCTIONS) -> list[str]:
    """Write functions with ``$LATEST``, three published versions, tags and an alias each, and give their names.

    The documents are those that the operations would have stored, and every archive has a file, although one and the
    same: nothing here runs the code. A data directory that is none yet is made one.
    """
    from venturekit.service.store import Archives, DataDirectoryLock, Store

    lock = DataDirectoryLock.acquire(data_dir)
    try:
        archives = Archives(data_dir / "archives")
        first = archives.path(archives.put(python_archive()))
        store = Store.open(data_dir / "venturekit.sqlite3")
        try:
            return asyncio.run(_populate(store, functions, lambda key: os.link(first, archives.path(key))))
        finally:
            store.close()
    finally:
        lock.release()


async def _populate(store: Store, functions: int, keep: Callable[[str], None]) -> list[str]:
    numbers = random.Random(1)
    names = [f"team-{number % 40:02d}-service-{number:05d}-handler" for number in range(functions)]
    for begin in range(0, functions, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for name in names[begin : begin + AT_ONCE]:
                group.create_task(_store(store, name, numbers, keep))
    return names


async def _store(store: Store, name: str, numbers: random.Random, keep: Callable[[str], None]) -> None:
    from venturekit.service.functions.changes import version_row
    from venturekit.service.functions.records import Alias
    from venturekit.service.store import AliasRow, FunctionChange

    versions = _versions(name, numbers)
    for key in {version.code_key for version in versions}:
        keep(key)
    alias = Alias(
        function_arn=versions[0].function_arn,
        name="live",
        function_version=str(PUBLISHED),
        description="What callers get",
        revision_id=_identifier(numbers),
    )
    document = {"tags": {"team": name[:7], "stage": "production", "cost-center": "4711"}}
    account = store.of_account(ACCOUNT)
    row = AliasRow(alias.name, alias.revision_id, alias.to_document())
    # The writer takes the two of one function, and those of its neighbours, in one commit.
    created = account.create_function(name, document, [version_row(version) for version in versions])
    await asyncio.gather(created, account.change_function(name, FunctionChange(aliases=[row])))


def _versions(name: str, numbers: random.Random) -> list[FunctionVersion]:
    """``$LATEST`` and what was published of it, each time after a change of code."""
    from venturekit.service.functions.lifecycle import published
    from venturekit.service.functions.records import FunctionVersion

    latest = FunctionVersion(
        name=name,
        function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
        runtime=PYTHON_RUNTIME,
        handler="app.handler",
        role=ROLE,
        description=f"Answers what {name} is asked",
        timeout_seconds=30,
        memory_size_mb=512,
        environment={
            "STAGE": "production",
            "LOG_LEVEL": "INFO",
            "TABLE_NAME": f"{name}-table",
            "QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}-queue",
            "POWERTOOLS_SERVICE_NAME": name,
        },
        log_group=f"/aws/lambda/{name}",
        state="Active",
        last_update_status="Successful",
    )
    found = []
    for number in range(1, PUBLISHED + 1):
        digest = hashlib.sha256(numbers.randbytes(32)).digest()
        latest = replace(
            latest,
            code_key=digest.hex(),
            code_sha256=base64.b64encode(digest).decode(),
            code_size_bytes=numbers.randrange(1_000, 2_000_000),
            unzipped_size_bytes=numbers.randrange(2_000_000, 8_000_000),
            revision_id=_identifier(numbers),
            identity=_identifier(numbers),
            last_modified=f"2025-0{number}-{numbers.randrange(10, 28)}T10:{numbers.randrange(10, 60)}:00.123+0000",
        )
        version = published(latest, str(number), description=None, identity=_identifier(numbers))
        found.append(replace(version, revision_id=_identifier(numbers)))
    return [latest, *found]


def _identifier(numbers: random.Random) -> str:
    return str(uuid.UUID(int=numbers.getrandbits(128), version=4))


# --- calls --------------------------------------------------------------------------------------------------------


class Client:
    """One keep-alive connection that speaks just enough HTTP: the time of a call is nearly all the service's."""

    def __init__(self, port: int) -> None:
        self._host = f"127.0.0.1:{port}"
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, request: Request) -> tuple[float, bytes]:
        """The milliseconds a call took and the body of its answer. Raises Unavailable when that is not a 2xx."""
        method, target, document = request
        body = b"" if document is None else json.dumps(document).encode()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in SDK_HEADERS.items()]
        message = "\r\n".join([*lines, "", ""]).encode() + body
        begin = time.perf_counter()
        self._socket.sendall(message)
        head, content = self._answer()
        taken_ms = (time.perf_counter() - begin) * 1e3
        if not head.startswith(b"HTTP/1.1 2"):
            raise Unavailable(f"{method} {target}: {head[:60]!r} {content[:300].decode(errors='replace')}")
        return taken_ms, content

    def _answer(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        parts, missing = [body], (int(lengths[0]) if lengths else 0) - len(body)
        while missing > 0:
            parts.append(self._received())
            missing -= len(parts[-1])
        return head, b"".join(parts)

    def _received(self) -> bytes:
        data = self._socket.recv(262_144)
        if not data:
            raise Unavailable("the service closed the connection")
        return data


def reads(name: str) -> dict[str, Request]:
    """One call of every operation that reads, by name."""
    arn = quote(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}", safe="")
    function = f"/2015-03-31/functions/{name}"
    return {
        "GetFunction": ("GET", function, None),
        "GetFunctionConfiguration": ("GET", f"{function}/configuration?Qualifier=live", None),
        "ListVersionsByFunction": ("GET", f"{function}/versions", None),
        "GetAlias": ("GET", f"{function}/aliases/live", None),
        "ListAliases": ("GET", f"{function}/aliases", None),
        "ListTags": ("GET", f"/2017-03-31/tags/{arn}", None),
        "GetPolicy": ("GET", f"{function}/policy", None),
        "GetFunctionConcurrency": ("GET", f"/2019-09-30/functions/{name}/concurrency", None),
        "GetFunctionRecursionConfig": ("GET", f"/2024-08-31/functions/{name}/recursion-config", None),
        "GetRuntimeManagementConfig": ("GET", f"/2021-07-20/functions/{name}/runtime-management-config", None),
        "GetAccountSettings": ("GET", "/2016-08-19/account-settings", None),
        "ListLayers": ("GET", "/2018-10-31/layers", None),
    }


def writes(name: str) -> dict[str, Request]:
    """One call of every kind of change, in an order in which each has something to change."""
    arn = quote(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}", safe="")
    function = f"/2015-03-31/functions/{name}"
    permission = {
        "StatementId": "bucket",
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        "SourceArn": f"arn:aws:s3:::{name}",
    }
    code = {"ZipFile": base64.b64encode(python_archive(padding_bytes=800)).decode()}
    return {
        "UpdateFunctionConfiguration": ("PUT", f"{function}/configuration", {"Timeout": 31}),
        "PublishVersion": ("POST", f"{function}/versions", {"Description": "measured"}),
        "CreateAlias": ("POST", f"{function}/aliases", {"Name": "next", "FunctionVersion": "1"}),
        "UpdateAlias": ("PUT", f"{function}/aliases/next", {"FunctionVersion": "2"}),
        "DeleteAlias": ("DELETE", f"{function}/aliases/next", None),
        "TagResource": ("POST", f"/2017-03-31/tags/{arn}", {"Tags": {"measured": "yes"}}),
        "AddPermission": ("POST", f"{function}/policy", permission),
        "PutFunctionConcurrency": (
            "PUT",
            f"/2017-10-31/functions/{name}/concurrency",
            {"ReservedConcurrentExecutions": 1},
        ),
        "PublishLayerVersion": ("POST", f"/2018-10-31/layers/{name}/versions", {"Content": code}),
        "UpdateFunctionCode": ("PUT", f"{function}/code", code),
        "DeleteFunction": ("DELETE", function, None),
    }


# --- rows ---------------------------------------------------------------------------------------------------------


@dataclass
class Scale:
    """A service on a store with many functions, started on first use and ended with the stack."""

    stack: ExitStack
    functions: int = FUNCTIONS
    samples: int = 200
    starts: int = 3

    @cached_property
    def data_dir(self) -> Path:
        """The data directory with the populated store."""
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-bench-"))) / "data"

    @cached_property
    def names(self) -> list[str]:
        """The functions of the store."""
        return populate(self.data_dir, self.functions)

    @cached_property
    def ready_ms(self) -> list[float]:
        """What the starts on this store took; the service of the last one is ``running``."""
        _ = self.names
        times = []
        for _ in range(self.starts - 1):
            with service(data_dir=self.data_dir) as running:
                times.append(running.ready_ms)
        self.running = self.stack.enter_context(service(data_dir=self.data_dir))
        return [*times, self.running.ready_ms]

    @cached_property
    def client(self) -> Client:
        """A connection to the running service."""
        _ = self.ready_ms
        client = Client(self.running.port)
        self.stack.callback(client.close)
        return client

    @cached_property
    def read_and_written(self) -> tuple[list[str], list[str]]:
        """The functions to read and others to change, as many of each as there are samples, in any order."""
        chosen = random.Random(2).sample(self.names, 2 * self.samples)
        return chosen[: self.samples], chosen[self.samples :]


def start(scale: Scale) -> Measured:
    """From the exec of ``vk`` to the ready file."""
    return Measured(statistics.median(scale.ready_ms), f"median of {len(scale.ready_ms)}")


def memory(scale: Scale) -> Measured:
    """Memory of the service; every function was listed before, and what it counts at the first question is counted."""
    _walk(scale.client, LIST)
    scale.client.call(reads(scale.names[0])["GetAccountSettings"])
    versions = scale.functions * (1 + PUBLISHED)
    return Measured(pss_mib(scale.running.process.pid), f"PSS of the service process, {versions:,} versions")


def list_page(scale: Scale) -> Measured:
    """Pages of 50 functions, all of them one after the other; every page of all versions in the note."""
    plain, found = _walk(scale.client, LIST)
    if found != scale.functions:
        raise Unavailable(f"{found} of {scale.functions} functions were listed")
    every, _ = _walk(scale.client, f"{LIST}&FunctionVersion=ALL", pages=len(plain))
    return Measured(
        statistics.median(plain), f"{len(plain)} pages, slowest {max(plain):.2f}; ALL {statistics.median(every):.2f}"
    )


def _walk(client: Client, target: str, pages: int | None = None) -> tuple[list[float], int]:
    times, found, marker = list[float](), 0, ""
    while pages is None or len(times) < pages:
        taken, body = client.call(("GET", f"{target}&Marker={quote(marker, safe='')}" if marker else target, None))
        page = json.loads(body)
        times.append(taken)
        found += len(page["Functions"])
        marker = page.get("NextMarker") or ""
        if not marker:
            break
    return times, found


def slowest_read(scale: Scale) -> Measured:
    """The operation that reads whose median is the highest."""
    names = scale.read_and_written[0]
    for name in names:
        # Or there would be no policy to read.
        scale.client.call(writes(name)["AddPermission"])
    return _slowest(scale, reads, names)


def slowest_write(scale: Scale) -> Measured:
    """The operation that changes something whose median is the highest."""
    return _slowest(scale, writes, scale.read_and_written[1])


def _slowest(scale: Scale, calls: Callable[[str], dict[str, Request]], names: list[str]) -> Measured:
    requests = [calls(name) for name in names]
    medians = {
        operation: statistics.median(scale.client.call(of_function[operation])[0] for of_function in requests)
        for operation in requests[0]
    }
    ordered = sorted(medians.items(), key=lambda item: -item[1])
    return Measured(ordered[0][1], ", ".join(f"{operation} {taken:.2f}" for operation, taken in ordered))
