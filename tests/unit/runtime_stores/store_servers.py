"""The servers that stores of records talk to: DynamoDB by moto, and a real Redis or Valkey on a Unix socket."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = ("user", "tenant")


@contextmanager
def dynamodb_server() -> Iterator[str]:
    """The address of moto's server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    finally:
        server.stop()


def dynamodb_client(url: str, **settings: Any) -> Any:
    """A client of boto3 for it."""
    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(**{"max_pool_connections": 8, **settings}),
    )


class RedisServer:
    """A server that keeps nothing on disk and listens on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        assert program, "no Redis on PATH (Debian: apt-get install redis-server)"
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        settings = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [program, *settings, "--dir", str(folder), "--daemonize", "no"], stdout=subprocess.PIPE, text=True
        )

    def wait_until_ready(self) -> None:
        """Returns when it accepts connections."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "eady to accept connections" in line:
                return
        raise AssertionError("the server ended before it was ready")

    def stop(self) -> None:
        """End it; for good."""
        self.process.kill()
        self.process.communicate(timeout=30)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server, in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="vk-redis-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()
