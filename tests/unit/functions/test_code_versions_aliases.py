"""UpdateFunctionCode, PublishVersion, CreateAlias, GetAlias; activation; restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.api.errors import render_error

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
Run = Callable[..., Any]
ZipOf = Callable[[str], bytes]


def test_updated_code_has_new_hash_revision_and_identity(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        before = service.registry.version("f")
        changes: list[str] = []
        service.registry.subscribe(changes.append)
        answer = await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"))
        assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "InProgress")
        assert answer["LastUpdateStatusReason"] == "The function is being created."
        assert answer["LastUpdateStatusReasonCode"] == "Creating"
        await service.plane.tasks.settled()
        after = service.registry.version("f")
        assert (after.last_update_status, after.state) == ("Successful", "Active")
        assert len({before.identity, after.identity}) == 2
        assert len({before.revision_id, answer["RevisionId"], after.revision_id}) == 3
        assert changes == ["f", "f"]
        assert service.archives.keys() == service.directories.keys() == {after.code_key}
        assert (service.directories.path(after.code_key) / "app.py").read_text() == "new = 1"

    run(scenario)


def test_activation_changes_the_revision_and_not_the_identity(run: Run, create_members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> None:
        await service.call("CreateFunction", **create_members)
        pending = service.registry.version("f")
        await service.plane.tasks.settled()
        active = service.registry.version("f")
        assert pending.revision_id != active.revision_id
        assert pending.identity == active.identity != ""

    run(scenario)


def test_dry_run_validates_and_changes_nothing(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        before = service.registry.version("f")
        answer = await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"), DryRun=True)
        assert answer["CodeSha256"] != before.code_sha256
        error = await service.refused("UpdateFunctionCode", FunctionName="f", ZipFile=b"bad", DryRun=True)
        assert error.message.startswith("Could not unzip uploaded file.")
        assert service.registry.version("f") is before
        assert service.archives.keys() == {before.code_key}

    run(scenario)


def test_update_can_publish(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Publish=True)
        first = await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"), Publish=True)
        await service.plane.tasks.settled()
        again = await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"), Publish=True)
        await service.plane.tasks.settled()
        assert (first["Version"], first["FunctionArn"]) == ("2", f"{ARN}:2")
        assert again["Version"] == "2"
        versions = service.registry.function("f").versions
        assert {version.last_update_status for version in versions.values()} == {"Successful"}
        assert len(versions) == 3

    run(scenario)


def test_refused_updates(run: Run, zip_of: ZipOf) -> None:
    data = zip_of("new = 1")

    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        return [
            await service.refused("UpdateFunctionCode", **members)
            for members in (
                {"FunctionName": "g", "ZipFile": data},
                {"FunctionName": "f", "ZipFile": data, "RevisionId": "other"},
                {"FunctionName": "f"},
                {"FunctionName": "f", "S3Bucket": "b", "S3Key": "k"},
                {"FunctionName": "f:1", "ZipFile": data},
                {"FunctionName": "f", "ZipFile": b"bad"},
            )
        ]

    errors = run(scenario)
    assert [error.status for error in errors] == [404, 412, 400, 400, 400, 400]
    assert errors[0].message == "Function not found: " + ARN[:-1] + "g"
    assert (errors[1].code, errors[1].message) == ("PreconditionFailedException", REVISION)
    assert errors[2].message == "Please provide a source for function code."


def test_changes_while_an_activation_lasts(
    run: Run, zip_of: ZipOf, create_members: dict[str, Any], held_activation: Any
) -> None:
    event, activate = held_activation

    async def scenario(service: Any) -> None:
        await service.call("CreateFunction", **create_members)
        update = {"FunctionName": "f", "ZipFile": zip_of("new = 1")}
        for operation, members in (("UpdateFunctionCode", update), ("PublishVersion", {"FunctionName": "f"})):
            error = await service.refused(operation, **members)
            assert (error.code, error.status) == ("ResourceConflictException", 409)
            assert error.message == (
                "The operation cannot be performed at this time. The function is currently in the following state: "
                "Pending"
            )
        event.set()
        await service.plane.tasks.settled()
        event.clear()
        await service.call("UpdateFunctionCode", **update)
        error = await service.refused("UpdateFunctionCode", **update)
        assert error.message == (
            f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}"
        )
        # Deleted meanwhile: the activation finds nothing to do.
        await service.call("DeleteFunction", FunctionName="f")
        event.set()
        await service.plane.tasks.settled()
        assert "f" not in service.registry
        assert service.reports == []

    run(scenario, activate=activate)


def test_a_failed_activation_says_so_and_an_update_starts_over(
    run: Run, zip_of: ZipOf, create_members: dict[str, Any]
) -> None:
    outcomes = iter([RuntimeError("no interpreter"), None, RuntimeError("again"), None])

    async def activate(_: object) -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    async def scenario(service: Any) -> None:
        await service.create()
        failed = service.registry.version("f")
        assert (failed.state, failed.state_reason_code) == ("Failed", "InternalError")
        assert failed.state_reason == "The function could not be activated: no interpreter"
        answer = await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"))
        assert answer["State"] == "Pending"
        await service.plane.tasks.settled()
        assert service.registry.version("f").state == "Active"
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 2"))
        await service.plane.tasks.settled()
        version = service.registry.version("f")
        assert (version.state, version.last_update_status) == ("Active", "Failed")
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 3"))
        await service.plane.tasks.settled()
        assert service.registry.version("f").last_update_status == "Successful"
        assert [str(error) for error in service.reports] == ["no interpreter", "again"]

    run(scenario, activate=activate)


def test_publishing_without_a_change_gives_the_last_version(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Description="base")
        first = await service.call("PublishVersion", FunctionName="f", Description="one")
        same = await service.call("PublishVersion", FunctionName="f", Description="other")
        assert first == same
        assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", f"{ARN}:1", "one")
        assert first["State"] == "Active"
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"))
        await service.plane.tasks.settled()
        second = await service.call("PublishVersion", FunctionName="f")
        assert (second["Version"], second["Description"]) == ("2", "base")
        versions = service.registry.function("f").versions.values()
        assert len({version.identity for version in versions}) == 3
        assert len({version.revision_id for version in versions}) == 3
        # A deleted version's number is not given again.
        await service.call("DeleteFunction", FunctionName="f", Qualifier="2")
        assert (await service.call("PublishVersion", FunctionName="f"))["Version"] == "3"

    run(scenario)


def test_guards_of_publishing(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        latest = service.registry.version("f")
        errors = [
            await service.refused("PublishVersion", FunctionName="f", CodeSha256="abc="),
            await service.refused("PublishVersion", FunctionName="f", RevisionId="other"),
            await service.refused("PublishVersion", FunctionName="g"),
        ]
        await service.call(
            "PublishVersion", FunctionName="f", CodeSha256=latest.code_sha256, RevisionId=latest.revision_id
        )
        return errors, latest.code_sha256

    errors, sha = run(scenario)
    assert [error.message for error in errors] == [
        (
            f"CodeSHA256 (abc=) is different from current CodeSHA256 in $LATEST ({sha}). "
            "Please try again with the CodeSHA256 in $LATEST."
        ),
        REVISION,
        "Function not found: " + ARN[:-1] + "g",
    ]
    assert [error.status for error in errors] == [400, 412, 404]


def test_an_alias_is_created_and_got(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Publish=True)
        routing = {"AdditionalVersionWeights": {"2": 0.25}}
        service.plane.registry.put(
            service.registry.function("f").with_versions(
                type(service.registry.version("f"))(name="f", function_arn=ARN, version="2")
            )
        )
        created = await service.call(
            "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1", Description="d", RoutingConfig=routing
        )
        assert created == {
            "AliasArn": f"{ARN}:live",
            "Name": "live",
            "FunctionVersion": "1",
            "Description": "d",
            "RoutingConfig": routing,
            "RevisionId": created["RevisionId"],
        }
        assert await service.call("GetAlias", FunctionName="f", Name="live") == created
        plain = await service.call("CreateAlias", FunctionName="f", Name="plain", FunctionVersion="$LATEST")
        assert "RoutingConfig" not in plain
        configuration = await service.call("GetFunctionConfiguration", FunctionName="f", Qualifier="live")
        assert (configuration["FunctionArn"], configuration["Version"]) == (f"{ARN}:live", "1")

    run(scenario)


@pytest.mark.parametrize(
    ("version", "weights", "message", "body_start"),
    [
        (
            "1",
            {"2": 0.1, "3": 0.1},
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
            b'{"message',
        ),
        (
            "1",
            {"1": 0.5},
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
            b'{"message',
        ),
        ("$LATEST", {"1": 0.5}, "$LATEST is not supported for an alias pointing to more than 1 version", b'{"message'),
        ("9", {}, f"Function not found: {ARN}:9", b'{"Type":"User","Message'),
        ("1", {"9": 0.5}, f"Function not found: {ARN}:9", b'{"Type":"User","Message'),
    ],
)
def test_refused_aliases(run: Run, version: str, weights: dict[str, float], message: str, body_start: bytes) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        return await service.refused(
            "CreateAlias",
            FunctionName="f",
            Name="live",
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
        )

    error = run(scenario)
    assert error.message == message
    assert render_error(error, "r")[2].startswith(body_start)


def test_missing_and_duplicate_aliases(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        alias = {"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST"}
        await service.call("CreateAlias", **alias)
        return [
            await service.refused("CreateAlias", **alias),
            await service.refused("GetAlias", FunctionName="f", Name="other"),
            await service.refused("GetAlias", FunctionName="g", Name="other"),
        ]

    errors = run(scenario)
    assert [(error.status, error.message) for error in errors] == [
        (409, f"Alias already exists: {ARN}:live"),
        (404, f"Cannot find alias arn: {ARN}:other"),
        (404, f"Cannot find alias arn: {ARN[:-1]}g:other"),
    ]


def test_a_restart_keeps_everything(run: Run, zip_of: ZipOf) -> None:
    async def before(service: Any) -> Any:
        await service.create(
            Environment={"Variables": {"K": "v"}},
            Tags={"a": "b"},
            Publish=True,
            VpcConfig={"SubnetIds": ["s"], "SecurityGroupIds": ["g"]},
        )
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"), Publish=True)
        weights = {"AdditionalVersionWeights": {"2": 0.5}}
        await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig=weights)
        await service.create("gone", Publish=True)
        await service.call("DeleteFunction", FunctionName="gone")
        await service.plane.tasks.settled()
        return service.registry.function("f"), service.archives.keys()

    async def after(service: Any) -> Any:
        await service.plane.tasks.settled()
        assert service.registry.last_version("gone") == 1
        for version in service.registry.function("f").versions.values():
            assert (await service.plane.code.directory(version.code_key) / "app.py").is_file()
        return service.registry.function("f"), service.archives.keys()

    assert run(before) == run(after)


def test_a_function_left_pending_is_activated_after_a_restart(
    run: Run, create_members: dict[str, Any], held_activation: Any
) -> None:
    _, activate = held_activation

    async def before(service: Any) -> None:
        await service.call("CreateFunction", **create_members, Publish=True)
        await service.plane.tasks.close(0)

    async def after(service: Any) -> Any:
        await service.plane.tasks.settled()
        return [version.state for version in service.registry.function("f").versions.values()]

    run(before, activate=activate)
    assert run(after) == ["Active", "Active"]


def test_orphaned_code_is_removed_at_the_start(run: Run, zip_of: ZipOf) -> None:
    async def before(service: Any) -> None:
        await service.create()
        service.archives.put(zip_of("orphan = 1"))

    async def after(service: Any) -> None:
        await service.plane.tasks.settled()
        assert service.archives.keys() == {service.registry.version("f").code_key}

    run(before)
    run(after)


def test_a_cancelled_caller_leaves_memory_and_store_alike(run: Run, create_members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> None:
        task = asyncio.create_task(service.call("CreateFunction", **create_members))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.plane.tasks.settled()
        stored = await service.store.load_functions()
        assert [function.name for function in stored.functions] == ["f"]
        assert service.registry.version("f").state == "Active"

    run(scenario)


def test_a_store_that_cannot_commit_changes_nothing(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        before = service.registry.function("f")
        service.store.close()
        error = await service.refused("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"))
        assert service.registry.function("f") is before
        await service.plane.code.collect()
        assert service.archives.keys() == service.directories.keys() == {before.latest.code_key}
        return error

    error = run(scenario)
    assert (error.code, error.status, error.type) == ("ServiceException", 500, "Service")
    assert error.message == "The change was not made: the store is closed"
