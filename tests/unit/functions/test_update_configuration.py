"""UpdateFunctionConfiguration: every member, what it takes away, what it refuses; what GetFunction adds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
ROLE = "arn:aws:iam::123456789012:role/other"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"
Run = Callable[..., Any]

CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"Description": "new"}, {"Description": "new"}),
    ({"Handler": "other.handler"}, {"Handler": "other.handler"}),
    ({"Role": ROLE}, {"Role": ROLE}),
    ({"Timeout": 900}, {"Timeout": 900}),
    ({"MemorySize": 10240}, {"MemorySize": 10240}),
    ({"EphemeralStorage": {"Size": 10240}}, {"EphemeralStorage": {"Size": 10240}}),
    ({"TracingConfig": {"Mode": "Active"}}, {"TracingConfig": {"Mode": "Active"}}),
    ({"Environment": {"Variables": {"A": "1"}}}, {"Environment": {"Variables": {"A": "1"}}}),
    ({"DeadLetterConfig": {"TargetArn": QUEUE}}, {"DeadLetterConfig": {"TargetArn": QUEUE}}),
    ({"KMSKeyArn": KEY}, {"KMSKeyArn": KEY}),
    (
        {"SnapStart": {"ApplyOn": "PublishedVersions"}},
        {"SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}},
    ),
    (
        {"LoggingConfig": {"LogFormat": "JSON"}},
        {
            "LoggingConfig": {
                "LogFormat": "JSON",
                "LogGroup": "/aws/lambda/f",
                "ApplicationLogLevel": "INFO",
                "SystemLogLevel": "INFO",
            }
        },
    ),
    (
        {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
        {
            "VpcConfig": {
                "SubnetIds": ["subnet-1"],
                "SecurityGroupIds": ["sg-1"],
                "VpcId": "",
                "Ipv6AllowedForDualStack": False,
            }
        },
    ),
]
# Those that every update gives.
MOVED = {"RevisionId", "LastModified"}


def difference(former: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """What is new or other in ``later``; what is gone is None."""
    names = {name for name in former.keys() | later.keys() if former.get(name) != later.get(name)}
    return {name: later.get(name) for name in names - MOVED}


@pytest.mark.parametrize(("members", "expected"), CHANGES, ids=[next(iter(members)) for members, _ in CHANGES])
def test_one_member_changes_one_member(run: Run, members: dict[str, Any], expected: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        before = await service.call("GetFunctionConfiguration", FunctionName="f")
        identity = service.registry.version("f").identity
        service.time += 60
        answer = await service.call("UpdateFunctionConfiguration", FunctionName="f", **members)
        assert answer.pop("LastUpdateStatus") == "InProgress"
        assert answer.pop("LastUpdateStatusReason") == "The function is being created."
        assert answer.pop("LastUpdateStatusReasonCode") == "Creating"
        await service.plane.tasks.settled()
        after = await service.call("GetFunctionConfiguration", FunctionName="f")
        assert len({before["RevisionId"], answer["RevisionId"], after["RevisionId"]}) == 3
        assert before["LastModified"] < after["LastModified"] == answer["LastModified"]
        assert service.registry.version("f").identity != identity
        assert difference(answer, after) == {"LastUpdateStatus": "Successful"}
        return before, after

    async def restarted(service: Any) -> Any:
        return await service.call("GetFunctionConfiguration", FunctionName="f")

    before, after = run(scenario)
    assert difference(before, after) == expected
    assert run(restarted) == after


def test_another_runtime_has_another_runtime_version(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        first = await service.create()
        return first, await service.call("UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.13")

    first, second = run(scenario)
    assert second["Runtime"] == "python3.13"
    assert second["RuntimeVersionConfig"] != first["RuntimeVersionConfig"]


EMPTIED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"Description": "d"}, {"Description": ""}, {"Description": ""}),
    (
        {"Environment": {"Variables": {"A": "1"}}},
        {"Environment": {"Variables": {}}},
        {"Environment": {"Variables": {}}},
    ),
    ({"Environment": {"Variables": {"A": "1"}}}, {"Environment": {}}, {"Environment": {"Variables": {}}}),
    ({"DeadLetterConfig": {"TargetArn": QUEUE}}, {"DeadLetterConfig": {}}, {"DeadLetterConfig": None}),
    ({"DeadLetterConfig": {"TargetArn": QUEUE}}, {"DeadLetterConfig": {"TargetArn": ""}}, {"DeadLetterConfig": None}),
    ({"KMSKeyArn": KEY}, {"KMSKeyArn": ""}, {"KMSKeyArn": None}),
    ({"TracingConfig": {"Mode": "Active"}}, {"TracingConfig": {}}, {"TracingConfig": {"Mode": "PassThrough"}}),
    (
        {"SnapStart": {"ApplyOn": "PublishedVersions"}},
        {"SnapStart": {"ApplyOn": "None"}},
        {"SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}},
    ),
    (
        {"LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": "mine"}},
        {"LoggingConfig": {"LogFormat": "Text"}},
        {"LoggingConfig": {"LogFormat": "Text", "LogGroup": "mine"}},
    ),
    (
        {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": True}},
        {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}},
        {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False}},
    ),
]


@pytest.mark.parametrize(("first", "members", "expected"), EMPTIED)
def test_an_empty_value_takes_the_former_one_away(
    run: Run, first: dict[str, Any], members: dict[str, Any], expected: dict[str, Any]
) -> None:
    async def scenario(service: Any) -> Any:
        created = await service.create(**first)
        updated = await service.call("UpdateFunctionConfiguration", FunctionName="f", **members)
        untouched = difference(created, updated).keys() - expected.keys() - {"State", "StateReason", "StateReasonCode"}
        assert untouched == {"LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"}
        return {name: updated.get(name) for name in expected}

    assert run(scenario) == expected


def test_log_levels_that_are_not_given_stay(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"})
        members = {"LoggingConfig": {"SystemLogLevel": "WARN"}}
        return await service.call("UpdateFunctionConfiguration", FunctionName="f", **members)

    logging = run(scenario)["LoggingConfig"]
    assert (logging["ApplicationLogLevel"], logging["SystemLogLevel"]) == ("DEBUG", "WARN")


def test_an_update_without_a_change_is_an_update(run: Run) -> None:
    """As recorded."""

    async def scenario(service: Any) -> Any:
        await service.create()
        before = service.registry.version("f").revision_id
        answer = await service.call("UpdateFunctionConfiguration", FunctionName="f")
        assert (answer["LastUpdateStatus"], answer["RevisionId"] != before) == ("InProgress", True)
        # PublishVersion sees that nothing has changed.
        await service.plane.tasks.settled()
        first = await service.call("PublishVersion", FunctionName="f")
        await service.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=3)
        await service.plane.tasks.settled()
        assert (await service.call("PublishVersion", FunctionName="f")) == first
        await service.call("UpdateFunctionConfiguration", FunctionName="f", Description="new")
        await service.plane.tasks.settled()
        assert (await service.call("PublishVersion", FunctionName="f"))["Version"] == "2"

    run(scenario)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"FunctionName": "g"}, 404, "Function not found: " + ARN[:-1] + "g"),
    ({"FunctionName": "f:1"}, 400, "This operation concerns the function, not a version or alias: leave ':1' out of "),
    ({"RevisionId": "other"}, 412, "The Revision Id provided does not match the latest Revision Id. Call the "),
    ({"Runtime": "java21"}, 400, "Runtime java21 is not supported by this service: "),
    ({"Runtime": "python3.6"}, 400, "The runtime parameter of python3.6 is no longer supported for creating or "),
    ({"Timeout": 901}, 400, "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "),
    ({"MemorySize": 10241}, 400, "'MemorySize' value failed to satisfy constraint: Member must have value less "),
    ({"EphemeralStorage": {"Size": 10241}}, 400, "1 validation error detected: Value '10241' at 'ephemeralStorage.s"),
    ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, 400, "Lambda was unable to configure your environment "),
    ({"Environment": {"Variables": {"A": "x" * 4089}}}, 400, "Lambda was unable to configure your environment "),
    ({"Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:l:1"]}, 400, "Layer version arn:aws:lambda:eu-west-1:1"),
    ({"FileSystemConfigs": [{"Arn": "a", "LocalMountPath": "/mnt/a"}]}, 400, "FileSystemConfigs is not supported by "),
    ({"ImageConfig": {"WorkingDirectory": "/a"}}, 400, "ImageConfig is not supported by this service: "),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "provided.al2023"}, 400, "provided.al2023 is not supp"),
]


@pytest.mark.parametrize(("members", "status", "beginning"), REFUSED)
def test_a_refusal_changes_nothing(run: Run, members: dict[str, Any], status: int, beginning: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        before = service.registry.function("f")
        error = await service.refused("UpdateFunctionConfiguration", **{"FunctionName": "f", **members})
        assert service.registry.function("f") is before
        stored = (await service.store.load_functions()).functions[0].versions
        assert {version["revision_id"] for version in stored} == {
            version.revision_id for version in before.versions.values()
        }
        return error

    error = run(scenario)
    assert error.status == status
    assert error.message.startswith(beginning)


def test_snap_start_holds_for_what_comes_later(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(SnapStart={"ApplyOn": "PublishedVersions"})
        error = await service.refused("UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.11")
        members = {"Runtime": "python3.11", "SnapStart": {"ApplyOn": "None"}}
        await service.call("UpdateFunctionConfiguration", FunctionName="f", **members)
        return error

    assert run(scenario).message == "python3.11 is not supported for SnapStart enabled functions."


def test_an_update_waits_for_no_other(run: Run, create_members: dict[str, Any], held_activation: Any) -> None:
    event, activate = held_activation
    update = {"FunctionName": "f", "Timeout": 9}

    async def scenario(service: Any) -> None:
        await service.call("CreateFunction", **create_members)
        pending = await service.refused("UpdateFunctionConfiguration", **update)
        assert pending.status == 409
        assert pending.message.endswith("The function is currently in the following state: Pending")
        event.set()
        await service.plane.tasks.settled()
        event.clear()
        answers = await asyncio.gather(
            *(service.call("UpdateFunctionConfiguration", **update) for _ in range(2)), return_exceptions=True
        )
        assert answers[0]["Timeout"] == 9
        assert (answers[1].status, answers[1].message) == (
            409,
            f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}",
        )
        event.set()
        await service.plane.tasks.settled()
        assert service.registry.version("f").last_update_status == "Successful"

    run(scenario, activate=activate)


def test_the_right_revision_is_taken(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        revision = service.registry.version("f").revision_id
        await service.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9, RevisionId=revision)
        assert service.registry.version("f").timeout_seconds == 9

    run(scenario)


def test_a_version_keeps_the_configuration_it_was_published_with(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Publish=True, Environment={"Variables": {"A": "1"}})
        before = await service.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
        members = {"Timeout": 9, "Environment": {"Variables": {"A": "2"}}}
        await service.call("UpdateFunctionConfiguration", FunctionName="f", **members)
        await service.plane.tasks.settled()
        assert await service.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1") == before

    run(scenario)


def test_get_function_shows_the_reserved_concurrency(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        answers = [await service.call("GetFunction", FunctionName="f")]
        for reserved in (0, 7):
            await service.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=reserved)
            answers.append(await service.call("GetFunction", FunctionName="f", Qualifier="1"))
        return [answer.get("Concurrency") for answer in answers]

    assert run(scenario) == [None, {"ReservedConcurrentExecutions": 0}, {"ReservedConcurrentExecutions": 7}]


def test_a_runtime_version_that_was_set_is_shown(run: Run) -> None:
    arn = "arn:aws:lambda:eu-west-1::runtime:" + "a" * 64

    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        manual = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": arn}
        await service.call("PutRuntimeManagementConfig", FunctionName="f", Qualifier="1", **manual)
        await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        shown = [
            await service.call("GetFunctionConfiguration", FunctionName="f", Qualifier=qualifier)
            for qualifier in ("1", "live", "$LATEST")
        ]
        shown.append((await service.call("GetFunction", FunctionName="f:1"))["Configuration"])
        return [item["RuntimeVersionConfig"]["RuntimeVersionArn"] == arn for item in shown]

    assert run(scenario) == [True, True, False, True]
