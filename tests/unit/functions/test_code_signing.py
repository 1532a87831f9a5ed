"""Code signing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.api.errors import render_error
from venturekit.service.api.registry import Level

CSC = "arn:aws:lambda:eu-west-1:123456789012:code-signing-config:csc-0123456789abcdefg"
Run = Callable[..., Any]


def test_a_function_has_no_code_signing_config(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        assert await service.call("GetFunctionCodeSigningConfig", FunctionName="f") == {}
        return await service.refused("GetFunctionCodeSigningConfig", FunctionName="g")

    error = run(scenario)
    assert (error.status, error.message) == (
        404,
        "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:g",
    )


@pytest.mark.parametrize("operation", ["GetCodeSigningConfig", "ListFunctionsByCodeSigningConfig"])
def test_no_config_is_found(run: Run, operation: str) -> None:
    async def scenario(service: Any) -> Any:
        assert await service.call("ListCodeSigningConfigs") == {"CodeSigningConfigs": []}
        return await service.refused(operation, CodeSigningConfigArn=CSC)

    error = run(scenario)
    assert (error.code, error.status) == ("ResourceNotFoundException", 404)
    text = f"The Lambda code signing configuration {CSC} can not be found."
    assert render_error(error, "r")[2] == f'{{"Message":"{text}"}}'.encode()


def test_what_writes_is_declined_with_a_reason(run: Run) -> None:
    async def scenario(service: Any) -> None:
        for operation in (
            "CreateCodeSigningConfig",
            "UpdateCodeSigningConfig",
            "DeleteCodeSigningConfig",
            "PutFunctionCodeSigningConfig",
            "DeleteFunctionCodeSigningConfig",
        ):
            assert service.operations.handler(operation) is None
            status = service.operations.status(operation)
            assert status.level is Level.NOT
            assert "signatures are not checked" in status.reason

    run(scenario)
