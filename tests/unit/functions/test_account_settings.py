"""GetAccountSettings, and the totals behind it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from venturekit.service.functions.records import FunctionVersion
from venturekit.service.functions.registry import Function, FunctionRegistry
from venturekit.service.functions.usage import AccountUsage

Run = Callable[..., Any]
ZipOf = Callable[[str], bytes]


def test_an_empty_account(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        return await service.call("GetAccountSettings")

    assert run(scenario) == {
        "AccountLimit": {
            "TotalCodeSize": 80530636800,
            "CodeSizeUnzipped": 262144000,
            "CodeSizeZipped": 52428800,
            "ConcurrentExecutions": 1000,
            "UnreservedConcurrentExecutions": 1000,
        },
        "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": 0},
    }


def test_usage_follows_every_change(run: Run, zip_of: ZipOf) -> None:
    small, large = zip_of("a = 1"), zip_of("a = 1\n" * 100)

    async def usage(service: Any) -> tuple[int, int, int]:
        answer = await service.call("GetAccountSettings")
        used = answer["AccountUsage"]
        limit = answer["AccountLimit"]
        return used["TotalCodeSize"], used["FunctionCount"], limit["UnreservedConcurrentExecutions"]

    async def scenario(service: Any) -> Any:
        assert await usage(service) == (0, 0, 500)
        await service.create(Code={"ZipFile": small}, Publish=True)
        assert await usage(service) == (2 * len(small), 1, 500)
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=large)
        await service.plane.tasks.settled()
        await service.create("g", Code={"ZipFile": large})
        await service.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=40)
        await service.call("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=0)
        assert await usage(service) == (2 * len(large) + len(small), 2, 460)
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        assert await usage(service) == (2 * len(large), 2, 460)
        await service.call("DeleteFunction", FunctionName="g")
        return await usage(service)

    async def restarted(service: Any) -> Any:
        return await usage(service)

    assert run(scenario, concurrent_executions=500) == (len(large), 1, 460)
    assert run(restarted, concurrent_executions=500) == (len(large), 1, 460)


def test_layers_are_part_of_the_code_size(run: Run, zip_of: ZipOf) -> None:
    archive = zip_of("a = 1")

    async def scenario(service: Any) -> None:
        await service.create(Code={"ZipFile": archive})
        for _ in range(2):
            await service.call("PublishLayerVersion", LayerName="l", Content={"ZipFile": archive})
        used = (await service.call("GetAccountSettings"))["AccountUsage"]
        assert used == {"TotalCodeSize": 3 * len(archive), "FunctionCount": 1}
        await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        used = (await service.call("GetAccountSettings"))["AccountUsage"]
        assert used["TotalCodeSize"] == 2 * len(archive)

    run(scenario)


def test_a_limit_below_what_is_reserved_leaves_nothing(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await service.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=300)

    async def restarted(service: Any) -> Any:
        return (await service.call("GetAccountSettings"))["AccountLimit"]

    run(scenario)
    limit = run(restarted, concurrent_executions=200)
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (200, 0)


def test_ten_thousand_functions_are_counted_once() -> None:
    registry = FunctionRegistry(region="eu-west-1", account_id="123456789012")
    versions = {
        number: FunctionVersion(name="f", function_arn="a", version=number, code_size_bytes=100)
        for number in ("$LATEST", "1", "2", "3")
    }
    functions = [
        Function(name=f"f{number}", versions=versions, settings={"reservedConcurrentExecutions": number % 2})
        for number in range(10_000)
    ]
    registry.load(functions, {})
    usage = AccountUsage(registry)
    assert (usage.total_code_size_bytes, usage.reserved_executions) == (4_000_000, 5_000)
    began = time.process_time()
    for number in range(1_000):
        registry.put(functions[number].without_version("3"))
        assert usage.total_code_size_bytes == 4_000_000 - 100 * (number + 1)
    # A walk over everything takes milliseconds; a thousand of them would take many seconds.
    assert time.process_time() - began < 1.0
