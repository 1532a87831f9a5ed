"""PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.api.errors import ApiError, render_error
from venturekit.service.functions.concurrency import check_reservation

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
QUALIFIED = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)
Run = Callable[..., Any]


def too_little(minimum: int) -> str:
    return (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        f"its minimum value of [{minimum}]."
    )


async def put(service: Any, reserved: int, name: str = "f") -> Any:
    return await service.call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=reserved)


async def get(service: Any, name: str = "f") -> Any:
    return await service.call("GetFunctionConcurrency", FunctionName=name)


def test_a_reservation_is_put_changed_and_deleted(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        assert await get(service) == {}
        assert await put(service, 7) == {"ReservedConcurrentExecutions": 7}
        assert await put(service, 3, ARN) == {"ReservedConcurrentExecutions": 3}
        assert await get(service) == {"ReservedConcurrentExecutions": 3}
        assert service.registry.function("f").settings == {"reservedConcurrentExecutions": 3}
        for _ in range(2):
            assert await service.call("DeleteFunctionConcurrency", FunctionName="f") == {}
            assert await get(service) == {}

    run(scenario)


def test_zero_is_a_reservation_and_survives_a_restart(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        await put(service, 0)
        return await get(service), service.registry.function("f")

    async def restarted(service: Any) -> Any:
        return await get(service), service.registry.function("f")

    before, after = run(scenario), run(restarted)
    assert before == after
    assert before[0] == {"ReservedConcurrentExecutions": 0}


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("PutFunctionConcurrency", {"ReservedConcurrentExecutions": 1}),
        ("GetFunctionConcurrency", {}),
        ("DeleteFunctionConcurrency", {}),
    ],
)
@pytest.mark.parametrize("name", ["f:$LATEST", "f:1", f"{ARN}:live", "g:1"])
def test_versions_and_aliases_are_refused(run: Run, operation: str, members: dict[str, Any], name: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        return await service.refused(operation, FunctionName=name, **members)

    error = run(scenario)
    assert (error.code, error.status, error.message) == ("InvalidParameterValueException", 400, QUALIFIED)


def test_a_missing_function(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        # A value that would be refused plays no role.
        members = {"FunctionName": "g", "ReservedConcurrentExecutions": 5000}
        return [
            await service.refused("PutFunctionConcurrency", **members),
            await service.refused("GetFunctionConcurrency", FunctionName="g"),
            await service.refused("DeleteFunctionConcurrency", FunctionName="g"),
        ]

    errors = run(scenario)
    arn = f"{ARN[:-1]}g"
    assert [error.message for error in errors] == [
        f"Function not found: {arn}:$LATEST",
        f"Function not found: {arn}",
        f"Function not found: {arn}",
    ]


def test_a_hundred_stay_unreserved(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await service.create("g")
        error = await service.refused("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=901)
        assert error.message == too_little(100)
        assert render_error(error, "r")[2].startswith(b'{"message"')
        assert service.registry.function("f").settings == {}
        await put(service, 500)
        await put(service, 400, "g")
        # Its own reservation does not count against a function.
        await put(service, 450)
        await put(service, 500)
        await service.refused("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=401)
        await service.call("DeleteFunctionConcurrency", FunctionName="g")
        await put(service, 900)
        await service.call("DeleteFunction", FunctionName="f")
        await put(service, 900, "g")

    run(scenario)


def test_the_account_may_have_another_limit(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await put(service, 100)
        await service.refused("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=101)

    run(scenario, concurrent_executions=200)


def test_an_account_of_ten_has_nothing_to_reserve(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        await put(service, 0)
        return await service.refused("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1)

    assert run(scenario, concurrent_executions=10).message == too_little(10)


def test_functions_do_not_get_the_same_remainder(run: Run) -> None:
    async def scenario(service: Any) -> None:
        names = [f"f{number}" for number in range(8)]
        for name in names:
            await service.create(name)
        outcomes = await asyncio.gather(*(put(service, 200, name) for name in names), return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        assert (len(refused), {error.message for error in refused}) == (4, {too_little(100)})
        settings = await service.call("GetAccountSettings")
        assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 200

    run(scenario)


@pytest.mark.parametrize(
    ("wanted", "former", "total", "limit", "allowed"),
    [
        (900, 0, 0, 1000, True),
        (901, 0, 0, 1000, False),
        (0, 0, 900, 1000, True),
        (1, 0, 900, 1000, False),
        (900, 900, 900, 1000, True),
        (901, 900, 900, 1000, False),
        # The limit was lowered below what is reserved: less is fine, more is not.
        (400, 500, 900, 600, True),
        (501, 500, 900, 600, False),
        (1, 0, 0, 50, False),
        (1, 0, 0, 101, True),
    ],
)
def test_what_may_be_reserved(wanted: int, former: int, total: int, limit: int, allowed: bool) -> None:
    try:
        check_reservation(wanted, former=former, total=total, limit=limit)
    except ApiError:
        assert not allowed
    else:
        assert allowed
