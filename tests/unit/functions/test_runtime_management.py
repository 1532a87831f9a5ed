"""GetRuntimeManagementConfig, PutRuntimeManagementConfig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
RUNTIME = "arn:aws:lambda:eu-west-1::runtime:0123456789abcdef"
Run = Callable[..., Any]


async def put(service: Any, mode: str, **members: Any) -> Any:
    given = {"FunctionName": "f", "UpdateRuntimeOn": mode, **members}
    return await service.call("PutRuntimeManagementConfig", **given)


async def get(service: Any, **members: Any) -> Any:
    return await service.call("GetRuntimeManagementConfig", **{"FunctionName": "f", **members})


def test_every_version_has_its_own_setting(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        assert await get(service) == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:$LATEST"}
        manual = await put(service, "Manual", RuntimeVersionArn=RUNTIME, Qualifier="1")
        assert manual == {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME, "FunctionArn": f"{ARN}:1"}
        assert await put(service, "FunctionUpdate") == {
            "UpdateRuntimeOn": "FunctionUpdate",
            "FunctionArn": f"{ARN}:$LATEST",
        }
        assert await get(service, FunctionName="f:1") == manual
        assert (await get(service, Qualifier="$LATEST"))["UpdateRuntimeOn"] == "FunctionUpdate"
        assert service.registry.function("f").settings == {
            "runtimeManagement": {
                "1": {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME},
                "$LATEST": {"UpdateRuntimeOn": "FunctionUpdate"},
            }
        }
        return service.registry.function("f")

    async def restarted(service: Any) -> Any:
        return service.registry.function("f")

    assert run(scenario) == run(restarted)


def test_auto_takes_the_setting_back(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await put(service, "Manual", RuntimeVersionArn=RUNTIME)
        assert await put(service, "Auto") == await get(service)
        assert await get(service) == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:$LATEST"}
        assert service.registry.function("f").settings == {}

    run(scenario)


def test_a_setting_goes_with_its_version(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Publish=True)
        await put(service, "FunctionUpdate", Qualifier="1")
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        assert service.registry.function("f").settings == {}

    run(scenario)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"UpdateRuntimeOn": "Manual"}, "RuntimeVersionArn is required when UpdateRuntimeOn is Manual"),
        ({"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": RUNTIME}, "RuntimeVersionArn goes with"),
        ({"UpdateRuntimeOn": "FunctionUpdate", "RuntimeVersionArn": RUNTIME}, "RuntimeVersionArn goes with"),
    ],
)
def test_mode_and_arn_must_agree(run: Run, members: dict[str, Any], message: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        before = service.registry.function("f")
        error = await service.refused("PutRuntimeManagementConfig", FunctionName="f", **members)
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    ("operation", "members"),
    [("PutRuntimeManagementConfig", {"UpdateRuntimeOn": "Auto"}), ("GetRuntimeManagementConfig", {})],
)
def test_what_has_no_setting(run: Run, operation: str, members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        return [
            await service.refused(operation, FunctionName=name, **members)
            for name in ("f:live", "f:7", "f:nobody", "g", "g:1")
        ]

    errors = run(scenario)
    assert [(error.status, error.message) for error in errors] == [
        (400, f"The provided function name {ARN}:live is invalid. Aliases are not allowed."),
        (404, f"Function not found: {ARN}:7"),
        (404, f"Function not found: {ARN}:nobody"),
        (404, f"Function not found: {ARN[:-1]}g"),
        (404, f"Function not found: {ARN[:-1]}g:1"),
    ]
