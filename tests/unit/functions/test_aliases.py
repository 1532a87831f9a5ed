"""UpdateAlias, DeleteAlias, ListAliases, and what goes with an alias."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import render_error
from venturekit.service.functions.paging import page_of_qualifiers
from venturekit.service.functions.settings import PER_QUALIFIER, qualifier_order, without_qualifier

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
Run = Callable[..., Any]
ZipOf = Callable[[str], bytes]


async def with_versions(service: Any, zip_of: ZipOf, count: int = 2) -> None:
    """The function ``f`` with versions 1 to ``count``."""
    await service.create(Publish=True)
    for number in range(2, count + 1):
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of(f"n = {number}"), Publish=True)
        await service.plane.tasks.settled()


async def create_alias(service: Any, name: str = "live", version: str = "1", **members: Any) -> Any:
    return await service.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion=version, **members)


def weights(**shares: float) -> dict[str, Any]:
    return {"AdditionalVersionWeights": {name.removeprefix("v"): share for name, share in shares.items()}}


def test_an_update_changes_what_it_names_and_keeps_the_rest(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await with_versions(service, zip_of, 3)
        created = await create_alias(service, Description="d", RoutingConfig=weights(v2=0.25))
        changes: list[dict[str, Any]] = [
            {"Description": ""},
            {"FunctionVersion": "3"},
            {"RoutingConfig": weights(v1=1.0)},
            {"RoutingConfig": {"AdditionalVersionWeights": {}}},
            {},
        ]
        answers = [await service.call("UpdateAlias", FunctionName="f", Name="live", **change) for change in changes]
        constant = {"AliasArn": f"{ARN}:live", "Name": "live", "Description": ""}
        assert [{name: value for name, value in answer.items() if name != "RevisionId"} for answer in answers] == [
            {**constant, "FunctionVersion": "1", "RoutingConfig": weights(v2=0.25)},
            {**constant, "FunctionVersion": "3", "RoutingConfig": weights(v2=0.25)},
            {**constant, "FunctionVersion": "3", "RoutingConfig": weights(v1=1.0)},
            {**constant, "FunctionVersion": "3"},
            {**constant, "FunctionVersion": "3"},
        ]
        # Also an update that changes nothing is a revision.
        assert len({answer["RevisionId"] for answer in (created, *answers)}) == 6
        assert await service.call("GetAlias", FunctionName="f", Name="live") == answers[-1]

    run(scenario)


def test_an_empty_routing_config_takes_the_weights_away(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await with_versions(service, zip_of)
        await create_alias(service, RoutingConfig=weights(v2=0.5))
        assert service.registry.resolve("f", "live", draw=0.9).version.version == "2"
        answer = await service.call("UpdateAlias", FunctionName="f", Name="live", RoutingConfig={})
        assert "RoutingConfig" not in answer
        assert service.registry.resolve("f", "live", draw=0.9).version.version == "1"

    run(scenario)


@pytest.mark.parametrize(
    ("members", "status", "message", "body_start"),
    [
        ({"Name": "nobody"}, 404, f"Alias not found: {ARN}:nobody", b'{"Type":"User","Message"'),
        ({"FunctionName": "g"}, 404, f"Alias not found: {ARN[:-1]}g:live", b'{"Type":"User","Message"'),
        ({"FunctionVersion": "9"}, 404, f"Function not found: {ARN}:9", b'{"Type":"User","Message"'),
        ({"RoutingConfig": weights(v9=0.1)}, 404, f"Function not found: {ARN}:9", b'{"Type":"User","Message"'),
        (
            {"RoutingConfig": weights(v2=0.1, v3=0.1)},
            400,
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
            b'{"message"',
        ),
        (
            {"RoutingConfig": weights(v1=0.1)},
            400,
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
            b'{"message"',
        ),
        # The weight that stays would be the version's own.
        (
            {"FunctionVersion": "2"},
            400,
            "Invalid function version 2. Function version 2 is already included in routing configuration.",
            b'{"message"',
        ),
        (
            {"FunctionVersion": "$LATEST"},
            400,
            "$LATEST is not supported for an alias pointing to more than 1 version",
            b'{"message"',
        ),
        (
            {"RevisionId": "other"},
            412,
            REVISION,
            b'{"Type":"User","message"',
        ),
        ({"FunctionName": "f:1"}, 400, "This operation concerns the function", b'{"Type":"User","message"'),
    ],
)
def test_refused_updates_change_nothing(
    run: Run, zip_of: ZipOf, members: dict[str, Any], status: int, message: str, body_start: bytes
) -> None:
    async def scenario(service: Any) -> Any:
        await with_versions(service, zip_of, 2)
        await create_alias(service, RoutingConfig=weights(v2=0.25))
        before = service.registry.function("f")
        error = await service.refused("UpdateAlias", **{"FunctionName": "f", "Name": "live", **members})
        assert service.registry.function("f") is before
        return error

    error = run(scenario)
    assert error.status == status
    assert error.message.startswith(message)
    assert render_error(error, "r")[2].startswith(body_start)


def test_the_revision_guards_an_update(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Publish=True)
        first = await create_alias(service)
        guard = {"FunctionName": "f", "Name": "live", "RevisionId": first["RevisionId"]}
        await service.call("UpdateAlias", **guard, Description="once")
        assert (await service.refused("UpdateAlias", **guard, Description="twice")).status == 412
        assert (await service.call("GetAlias", FunctionName="f", Name="live"))["Description"] == "once"

    run(scenario)


def test_a_deleted_alias_is_gone_with_what_hangs_on_it(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        await create_alias(service)
        await create_alias(service, "other")
        function = service.registry.function("f")
        settings = {member: {"live": {"a": 1}, "other": {"b": 2}} for member in PER_QUALIFIER}
        for member, value in settings.items():
            function = function.with_setting(member, value)
        await service.plane.commit(service.registry.function("f"), function)
        assert await service.call("DeleteAlias", FunctionName="f", Name="live") == {}
        # A second time, and one that never was: as on AWS that is no error.
        assert await service.call("DeleteAlias", FunctionName="f", Name="live") == {}
        error = await service.refused("GetAlias", FunctionName="f", Name="live")
        assert error.message == f"Cannot find alias arn: {ARN}:live"
        assert (await service.refused("DeleteAlias", FunctionName="g", Name="live")).message == (
            f"Function not found: {ARN[:-1]}g"
        )
        assert service.registry.function("f").settings == {member: {"other": {"b": 2}} for member in PER_QUALIFIER}
        # Nothing points to the version any more.
        await service.call("DeleteAlias", FunctionName="f", Name="other")
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        return service.registry.function("f")

    async def restarted(service: Any) -> Any:
        return service.registry.function("f")

    assert run(scenario) == run(restarted)


def test_a_deleted_version_takes_its_settings_along(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Publish=True)
        function = service.registry.function("f")
        changed = function.with_setting("policies", {"1": [{"Sid": "a"}], "": [{"Sid": "b"}]})
        await service.plane.commit(function, changed.with_setting("urlConfigs", {"1": {"AuthType": "NONE"}}))
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        assert service.registry.function("f").settings == {"policies": {"": [{"Sid": "b"}]}}

    run(scenario)


def test_nothing_hangs_on_most_qualifiers(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        function = service.registry.function("f")
        assert without_qualifier(function, "live") is function

    run(scenario)


def test_aliases_are_listed_by_name_in_pages(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await with_versions(service, zip_of)
        for number in range(60):
            await create_alias(service, f"a{number:02}", "1" if number % 2 else "2")
        first = await service.call("ListAliases", FunctionName="f", MaxItems=10_000)
        assert [alias["Name"] for alias in first["Aliases"]] == [f"a{number:02}" for number in range(50)]
        # The last one of the page may go: the marker stays good.
        await service.call("DeleteAlias", FunctionName="f", Name="a49")
        second = await service.call("ListAliases", FunctionName="f", Marker=first["NextMarker"], MaxItems=7)
        assert [alias["Name"] for alias in second["Aliases"]] == [f"a{number}" for number in range(50, 57)]
        third = await service.call("ListAliases", FunctionName="f", Marker=second["NextMarker"])
        assert [alias["Name"] for alias in third["Aliases"]] == ["a57", "a58", "a59"]
        assert third["NextMarker"] is None
        odd = await service.call("ListAliases", FunctionName="f", FunctionVersion="1")
        assert len(odd["Aliases"]) == 29
        assert {alias["FunctionVersion"] for alias in odd["Aliases"]} == {"1"}

    run(scenario)


def test_a_version_lists_the_aliases_that_may_invoke_it(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await with_versions(service, zip_of)
        plain = await create_alias(service, "plain", "2")
        weighted = await create_alias(service, "weighted", "1", RoutingConfig=weights(v2=0.1))
        both = await service.call("ListAliases", FunctionName="f", FunctionVersion="2")
        assert both["Aliases"] == [plain, weighted]
        assert (await service.call("ListAliases", FunctionName="f", FunctionVersion="1"))["Aliases"] == [weighted]
        for version in ("$LATEST", "7"):
            assert (await service.call("ListAliases", FunctionName="f", FunctionVersion=version))["Aliases"] == []
        error = await service.refused("ListAliases", FunctionName="g")
        assert (error.status, error.message) == (404, f"Function not found: {ARN[:-1]}g")

    run(scenario)


DEEP = base64.b64encode(b"[" * 100_000).decode()


@pytest.mark.parametrize("marker", ["x", "é", "e30=", "WyJhIiwiYiJd", "W10=", "WzFd", "!!!!", DEEP])
def test_a_wrong_marker_is_refused(run: Run, marker: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        return await service.refused("ListAliases", FunctionName="f", Marker=marker)

    error = run(scenario)
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert "NextMarker" in error.message


NAMES = st.one_of(
    st.just("$LATEST"),
    st.integers(1, 10**6).map(str),
    st.from_regex(r"(?![0-9]+\Z)[a-zA-Z0-9_-]{1,10}", fullmatch=True),
)


@given(st.sets(NAMES), st.integers(1, 60))
@settings(deadline=None, max_examples=100)
def test_pages_give_every_qualifier_once_in_order(qualifiers: set[str], size: int) -> None:
    found: list[str] = []
    members: dict[str, Any] = {"MaxItems": size}
    for _ in range(len(qualifiers) + 1):
        page, marker = page_of_qualifiers(qualifiers, members)
        assert len(page) <= min(size, 50)
        found += page
        if marker is None:
            break
        members["Marker"] = marker
    assert found == sorted(qualifiers, key=qualifier_order)


def test_the_order_of_qualifiers() -> None:
    assert sorted(["b", "10", "$LATEST", "9", "a", "-"], key=qualifier_order) == ["$LATEST", "9", "10", "-", "a", "b"]
