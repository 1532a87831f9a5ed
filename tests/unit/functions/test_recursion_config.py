"""PutFunctionRecursionConfig, GetFunctionRecursionConfig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
Run = Callable[..., Any]


def test_the_setting_is_kept(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        assert await service.call("GetFunctionRecursionConfig", FunctionName="f") == {"RecursiveLoop": "Terminate"}
        for name, value in ((ARN, "Allow"), ("f", "Terminate"), ("123456789012:function:f", "Allow")):
            answer = await service.call("PutFunctionRecursionConfig", FunctionName=name, RecursiveLoop=value)
            assert answer == {"RecursiveLoop": value}
            assert await service.call("GetFunctionRecursionConfig", FunctionName="f") == answer
        assert service.registry.function("f").settings == {"recursiveLoop": "Allow"}
        return service.registry.function("f")

    async def restarted(service: Any) -> Any:
        return service.registry.function("f")

    assert run(scenario) == run(restarted)


def test_the_default_is_not_kept(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await service.call("PutFunctionRecursionConfig", FunctionName="f", RecursiveLoop="Terminate")
        assert service.registry.function("f").settings == {}

    run(scenario)


@pytest.mark.parametrize(
    ("operation", "members"),
    [("PutFunctionRecursionConfig", {"RecursiveLoop": "Allow"}), ("GetFunctionRecursionConfig", {})],
)
def test_a_missing_function(run: Run, operation: str, members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        return await service.refused(operation, FunctionName="g", **members)

    error = run(scenario)
    assert (error.status, error.message) == (404, f"Function not found: {ARN[:-1]}g")
