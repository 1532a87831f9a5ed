"""A real service for the time of a test: a process of its own, on a free port, in a directory that the test gives."""

from __future__ import annotations

import io
import select
import subprocess
import sys
import threading
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from venturekit.cli.framework import framework_files
from venturekit.testing.environ import service_variables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
ACTIVE_SECONDS: Final = 60.0
REGION: Final = "us-east-1"
_NEEDED: Final = ("boto3", "httptools", "orjson", "starlette", "typer", "uvicorn")
_ROLE: Final = "arn:aws:iam::000000000000:role/test"
_MADE: Final = ("Active", "ActiveNonInvocable")
_READY: Final = "Serving the Lambda API at "


class ServiceUnavailableError(RuntimeError):
    """No service could be started; the text says why and what to do."""


class LocalService:
    """The service of ``vk serve``, for tests::

        with LocalService(tmp_path) as service:
            service.create_function("hello", {"app.py": SOURCE}, handler="app.main")
            answer = service.client.invoke(FunctionName="hello", Payload=b"{}")

    ``url`` is its address, ``client`` a boto3 client of it, ``variables`` what makes any other client find it:
    ``AWS_ENDPOINT_URL_LAMBDA``, a region and keys. ``settings`` are options of ``vk serve``: ``{"idle-timeout": "5"}``.

    Raises ServiceUnavailableError without ``venturekit[local]``, and when the service does not start.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            raise ServiceUnavailableError(
                f"a service needs what is not installed here ({', '.join(missing)}): pip install 'venturekit[local]'"
            )
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / "service.log"
        self._client: Any = None
        data_dir = str(directory / "data")
        options = {"port": "0", "front-port": "0", "data-dir": data_dir, "drain-timeout": "1", **(settings or {})}
        command = [
            sys.executable,
            "-m",
            "venturekit.testing.service_process",
            "serve",
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=service_variables(),
                cwd=directory,
            )
        try:
            self.url = self._address()
        except BaseException:
            self.close()
            raise
        self.variables: Mapping[str, str] = {
            "AWS_ENDPOINT_URL_LAMBDA": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def _address(self) -> str:
        """The address that the service prints when it is ready. Raises ServiceUnavailableError."""
        output = self._process.stdout
        assert output is not None
        # Not select(): it takes no descriptor above 1023.
        waiting = select.poll()
        waiting.register(output, select.POLLIN)
        ready = waiting.poll(START_SECONDS * 1000)
        line = output.readline().decode() if ready else ""
        if not line.startswith(_READY):
            why = f"has not started within {START_SECONDS:g} s" if not ready else "did not start"
            raise ServiceUnavailableError(f"the service {why}:\n{self.log[-4000:]}")
        return line.removeprefix(_READY).strip()

    @property
    def log(self) -> str:
        """What the service itself has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def client(self) -> Any:
        """A boto3 client of the Lambda API; it tries once."""
        if self._client is None:
            import boto3
            from botocore.config import Config

            session = boto3.Session("test", "test", region_name=REGION)
            config = Config(retries={"total_max_attempts": 1})
            self._client = session.client("lambda", endpoint_url=self.url, config=config)
        return self._client

    def create_function(
        self,
        name: str,
        code: Mapping[str, str | bytes] | Path,
        *,
        handler: str = "app.main",
        environment: Mapping[str, str] | None = None,
        runtime: str | None = None,
        framework: bool = True,
        **members: Any,
    ) -> str:
        """Create a function and wait until it can be invoked; returns its ARN.

        ``code``: files by their names, or a directory. ``framework``: put ``venturekit.runtime`` into the archive too.
        ``environment``: its variables. ``members`` are those of CreateFunction: ``Timeout``, ``MemorySize``, ….

        Raises what boto3 raises, ServiceUnavailableError for a function that does not become active.
        """
        answer = self.client.create_function(
            FunctionName=name,
            Runtime=runtime or f"python3.{sys.version_info.minor}",
            Handler=handler,
            Role=members.pop("Role", _ROLE),
            Code={"ZipFile": archive_of(code, framework=framework)},
            Environment={"Variables": dict(environment or {})},
            **members,
        )
        deadline = time.monotonic() + ACTIVE_SECONDS
        never = threading.Event()
        while (state := self.client.get_function_configuration(FunctionName=name))["State"] not in _MADE:
            if state["State"] == "Failed" or time.monotonic() > deadline:
                raise ServiceUnavailableError(f"{name} is {state['State']}: {state.get('StateReason', '')}")
            never.wait(0.005)
        return str(answer["FunctionArn"])

    def close(self) -> None:
        """End the service and all of its functions. Closing twice does nothing."""
        if self._client is not None:
            self._client.close()
            self._client = None
        # The end of its input is what ends it.
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def archive_of(code: Mapping[str, str | bytes] | Path, *, framework: bool = True) -> bytes:
    """A code archive of files or of a directory, with ``venturekit.runtime`` beside them if ``framework``."""
    files: dict[str, str | bytes] = {}
    if isinstance(code, Path):
        if not code.is_dir():
            raise NotADirectoryError(f"{code} is no directory: code is one, or files by their names")
        files |= {
            path.relative_to(code).as_posix(): path.read_bytes()
            for path in sorted(code.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
    else:
        files |= code
    if framework:
        files |= {name: path.read_bytes() for name, path in framework_files()}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return data.getvalue()
