"""Create, Get, Update, Delete and List of FunctionUrlConfig."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.functions.urls import moment_text, url_id

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
MISSING = "The resource you requested does not exist."
NO_FUNCTION = "Function does not exist"
CORS = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET", "*"], "MaxAge": 86400, "AllowHeaders": []}
Run = Callable[..., Any]


async def call(service: Any, verb: str, name: str = "f", **members: Any) -> Any:
    answer = await service.call(f"{verb}FunctionUrlConfig", FunctionName=name, **members)
    return {member: value for member, value in answer.items() if value is not None}


async def aliased(service: Any) -> None:
    await service.create(Publish=True)
    for name in ("live", "beta"):
        await service.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion="1")


def address(qualifier: str = "") -> str:
    return f"http://{url_id('123456789012', 'f', qualifier)}.test/"


def run_with_urls(run: Run, scenario: Callable[[Any], Any]) -> Any:
    return run(scenario, function_url=lambda url: f"http://{url}.test/")


def test_a_config_from_its_creation_to_its_end(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        service.time = 1_686_230_418.244654
        created = await call(service, "Create", AuthType="NONE")
        assert created == {
            "FunctionUrl": address(),
            "FunctionArn": ARN,
            "AuthType": "NONE",
            "CreationTime": "2023-06-08T13:20:18.244654Z",
        }
        service.time += 60
        got = await call(service, "Get")
        assert got == {**created, "InvokeMode": "BUFFERED", "LastModifiedTime": created["CreationTime"]}
        updated = await call(service, "Update", AuthType="AWS_IAM")
        assert updated == {**created, "AuthType": "AWS_IAM", "LastModifiedTime": "2023-06-08T13:21:18.244654Z"}
        assert await call(service, "Get") == {**updated, "InvokeMode": "BUFFERED"}
        assert await call(service, "Delete") == {}
        assert (await service.refused("GetFunctionUrlConfig", FunctionName="f")).message == MISSING
        assert service.registry.function("f").settings == {}
        again = await call(service, "Create", AuthType="NONE")
        assert again["FunctionUrl"] == created["FunctionUrl"]

    run_with_urls(run, scenario)


def test_everything_given_is_kept(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        created = await call(service, "Create", AuthType="NONE", Cors=CORS, InvokeMode="RESPONSE_STREAM")
        assert (created["Cors"], created["InvokeMode"]) == (CORS, "RESPONSE_STREAM")
        updated = await call(service, "Update", AuthType="AWS_IAM")
        assert (updated["Cors"], "InvokeMode" in updated) == (CORS, False)
        got = await call(service, "Get")
        assert (got["Cors"], got["InvokeMode"], got["AuthType"]) == (CORS, "RESPONSE_STREAM", "AWS_IAM")
        return got

    async def restarted(service: Any) -> Any:
        return await call(service, "Get")

    assert run_with_urls(run, scenario) == run_with_urls(run, restarted)


def test_cors_is_replaced_whole_and_taken_away_by_an_empty_one(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        await call(service, "Create", AuthType="NONE", Cors=CORS)
        await call(service, "Update", Cors={"AllowCredentials": True})
        assert (await call(service, "Get"))["Cors"] == {"AllowCredentials": True}
        assert "Cors" not in await call(service, "Update", Cors={})
        assert "Cors" not in await call(service, "Get")
        assert "Cors" not in await call(service, "Update", InvokeMode="BUFFERED")

    run(scenario)


def test_the_function_and_each_alias_have_one(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        for members in ({"Qualifier": "live"}, {"name": f"{ARN}:beta"}, {}):
            await call(service, "Create", AuthType="NONE", **members)
        listed = await service.call("ListFunctionUrlConfigs", FunctionName="f:live")
        configs = listed["FunctionUrlConfigs"]
        assert [config["FunctionArn"] for config in configs] == [ARN, f"{ARN}:beta", f"{ARN}:live"]
        assert [config["FunctionUrl"] for config in configs] == [address(name) for name in ("", "beta", "live")]
        assert configs[2] == await call(service, "Get", Qualifier="live")
        page = await service.call("ListFunctionUrlConfigs", FunctionName="f", MaxItems=1)
        rest = await service.call("ListFunctionUrlConfigs", FunctionName="f", Marker=page["NextMarker"])
        assert page["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"] == configs
        assert rest["NextMarker"] is None
        await service.refused("ListFunctionUrlConfigs", FunctionName="f", Marker="wrong")
        # Without a qualifier only the function's own goes; an alias takes its own along.
        await call(service, "Delete")
        await service.call("DeleteAlias", FunctionName="f", Name="live")
        left = await service.call("ListFunctionUrlConfigs", FunctionName="f")
        assert left["FunctionUrlConfigs"] == configs[1:2]

    run_with_urls(run, scenario)


@pytest.mark.parametrize(("qualifier", "arn"), [(None, ARN), ("live", f"{ARN}:live")])
def test_a_second_config_is_refused(run: Run, qualifier: str | None, arn: str) -> None:
    members = {} if qualifier is None else {"Qualifier": qualifier}

    async def scenario(service: Any) -> Any:
        await aliased(service)
        await call(service, "Create", AuthType="NONE", **members)
        before = service.registry.function("f")
        error = await service.refused("CreateFunctionUrlConfig", FunctionName="f", AuthType="AWS_IAM", **members)
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert (error.code, error.status) == ("ResourceConflictException", 409)
    assert error.message == (
        f"Failed to create function url config for [functionArn = {arn}]. Error message:  "
        "FunctionUrlConfig exists for this Lambda function"
    )


def test_what_does_not_exist(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await aliased(service)
        for members in (
            {"FunctionName": "g"},
            {"FunctionName": "f", "Qualifier": "nobody"},
            {"FunctionName": "g:live"},
        ):
            for operation, message in (
                ("CreateFunctionUrlConfig", NO_FUNCTION),
                ("UpdateFunctionUrlConfig", NO_FUNCTION),
                ("GetFunctionUrlConfig", MISSING),
                ("DeleteFunctionUrlConfig", MISSING),
            ):
                error = await service.refused(operation, AuthType="NONE", **members)
                assert (error.status, error.message) == (404, message), (operation, members)
        for operation in ("UpdateFunctionUrlConfig", "GetFunctionUrlConfig", "DeleteFunctionUrlConfig"):
            for members in ({"FunctionName": "f"}, {"FunctionName": "f:live"}):
                error = await service.refused(operation, **members)
                assert (error.status, error.message) == (404, MISSING)
        error = await service.refused("ListFunctionUrlConfigs", FunctionName="g")
        assert (error.status, error.message) == (404, NO_FUNCTION)
        assert (await service.call("ListFunctionUrlConfigs", FunctionName="f"))["FunctionUrlConfigs"] == []

    run(scenario)


@pytest.mark.parametrize("verb", ["Create", "Get", "Update", "Delete"])
def test_two_qualifiers_that_differ(run: Run, verb: str) -> None:
    async def scenario(service: Any) -> Any:
        await aliased(service)
        members = {"FunctionName": "f:live", "Qualifier": "beta", "AuthType": "NONE"}
        return await service.refused(f"{verb}FunctionUrlConfig", **members)

    assert run(scenario).message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


@pytest.mark.parametrize("verb", ["Create", "Update"])
@pytest.mark.parametrize("method", ["TRACE", "get", ""])
def test_methods_that_aws_does_not_take(run: Run, verb: str, method: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        if verb == "Update":
            await call(service, "Create", AuthType="NONE")
        before = service.registry.function("f")
        error = await service.refused(
            f"{verb}FunctionUrlConfig", FunctionName="f", AuthType="NONE", Cors={"AllowMethods": ["GET", method]}
        )
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert f"'{method}'" in error.message


NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
PARTS = st.tuples(st.from_regex(r"[0-9]{12}", fullmatch=True), NAMES, st.just("") | NAMES)


@given(PARTS, PARTS)
@settings(deadline=None, max_examples=200)
def test_ids_are_stable_and_differ(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    assert re.fullmatch(r"[a-z0-9]{32}", url_id(*first))
    assert (url_id(*first) == url_id(*second)) == (first == second)


def test_the_id_is_the_same_in_every_release() -> None:
    assert url_id("123456789012", "f", "") == "vzai7asxpy69iwzjhryqk1izfjn7aic7"


def test_a_moment_without_fractions_has_them_all_the_same() -> None:
    assert moment_text(1_700_000_000.0) == "2023-11-14T22:13:20.000000Z"
