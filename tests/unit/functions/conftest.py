"""A control plane on real parts: store, archives, code directories, the registry of operations."""

from __future__ import annotations

import asyncio
import io
import itertools
import zipfile
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.api.errors import ApiError
from venturekit.service.api.registry import Call, Registry
from venturekit.service.functions.code_directories import CodeDirectories
from venturekit.service.functions.code_storage import CodeStorage
from venturekit.service.functions.layer_registry import LayerRegistry
from venturekit.service.functions.operations import register_operations
from venturekit.service.functions.plane import ControlPlane
from venturekit.service.functions.registry import FunctionRegistry
from venturekit.service.store import Archives, Store

if TYPE_CHECKING:
    from pathlib import Path

    from venturekit.service.functions.records import FunctionVersion

REGION, ACCOUNT = "eu-west-1", "123456789012"


def make_zip(content: str = "def handler(event, context): return event\n") -> bytes:
    """A code archive of one module."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", content)
    return buffer.getvalue()


class Service:
    """The control plane and what a caller does with it."""

    def __init__(self, data_dir: Path, **options: Any) -> None:
        self.data_dir = data_dir
        self.time = 1_700_000_000.0
        self.reports: list[BaseException] = []
        self.logs: list[str] = []
        self.running: set[str] = set()
        numbers = itertools.count(1)
        self.store = Store.open(data_dir / "store.db", reserve_size_bytes=4096)
        self.archives = Archives(data_dir / "archives")
        self.directories = CodeDirectories(data_dir / "code", self.archives.path)
        self.registry = FunctionRegistry(region=REGION, account_id=ACCOUNT)
        self.layers = LayerRegistry()
        code = CodeStorage(self.archives, self.directories, self._code_keys, lambda: self.running)
        self.plane = ControlPlane(
            store=self.store.of_account(ACCOUNT),
            registry=self.registry,
            code=code,
            layers=self.layers,
            now=lambda: self.time,
            new_id=lambda: f"id-{next(numbers)}",
            code_location=lambda key: f"http://localhost/code/{key}",
            report=self.reports.append,
            log=self.logs.append,
            **options,
        )
        self.operations = Registry()
        register_operations(self.operations, self.plane)

    def _code_keys(self) -> set[str]:
        return self.registry.code_keys() | self.layers.code_keys()

    async def load(self) -> None:
        """Take over what a former service has stored."""
        self.layers.load(await self.store.load_layers())
        stored = await self.store.load_functions()
        self.plane.load(stored.functions, {name: last for (_, name), last in stored.last_versions.items()})
        self.plane.tasks.spawn(self.plane.code.collect_all())

    async def call(self, operation: str, **members: Any) -> Any:
        """One call of an operation, as the edge makes it."""
        handler = self.operations.handler(operation)
        assert handler is not None
        return await handler(Call(operation, members, "request-1"))

    async def create(self, name: str = "f", **members: Any) -> Any:
        """CreateFunction with what is needed, then wait until it is active."""
        members = {"Code": {"ZipFile": make_zip()}, "Runtime": "python3.12", "Handler": "app.handler", **members}
        answer = await self.call(
            "CreateFunction", FunctionName=name, Role="arn:aws:iam::123456789012:role/r", **members
        )
        await self.plane.tasks.settled()
        return answer

    async def refused(self, operation: str, **members: Any) -> ApiError:
        """The error a call is answered with."""
        with pytest.raises(ApiError) as caught:
            await self.call(operation, **members)
        return caught.value


Scenario = Callable[[Service], Awaitable[Any]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Run a scenario on a loaded service; a second run in one test is a restart on the same data."""

    def run_scenario(scenario: Scenario, **options: Any) -> Any:
        async def main() -> Any:
            service = Service(tmp_path, **options)
            try:
                await service.load()
                return await scenario(service)
            finally:
                await service.plane.close()
                service.store.close()

        return asyncio.run(main())

    return run_scenario


@pytest.fixture
def create_members() -> dict[str, Any]:
    """Members of a CreateFunction call that is accepted."""
    return {
        "FunctionName": "f",
        "Role": "arn:aws:iam::123456789012:role/r",
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Code": {"ZipFile": make_zip()},
    }


@pytest.fixture
def zip_of() -> Callable[[str], bytes]:
    """Makes a code archive of one module with the given text."""
    return make_zip


@pytest.fixture
def held_activation() -> tuple[asyncio.Event, Callable[[FunctionVersion], Coroutine[Any, Any, None]]]:
    """An event, and an activation that waits for it."""
    event = asyncio.Event()

    async def activate(_: FunctionVersion) -> None:
        await event.wait()

    return event, activate
