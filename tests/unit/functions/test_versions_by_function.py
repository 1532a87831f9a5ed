"""ListVersionsByFunction, and what publishing does to states and revisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
Run = Callable[..., Any]
STATES = {"State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RuntimeVersionConfig"}


async def publish(service: Any, count: int) -> None:
    for number in range(count):
        await service.call("UpdateFunctionConfiguration", FunctionName="f", Description=f"d{number}")
        await service.plane.tasks.settled()
        await service.call("PublishVersion", FunctionName="f")


def test_every_version_comes_once_in_the_order_of_numbers(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        await publish(service, 11)
        await service.call("DeleteFunction", FunctionName="f", Qualifier="4")
        pages, marker = [], {}
        while True:
            page = await service.call("ListVersionsByFunction", FunctionName="f", MaxItems=3, **marker)
            pages.append(page["Versions"])
            if "NextMarker" not in page:
                break
            marker = {"Marker": page["NextMarker"]}
        whole = await service.call("ListVersionsByFunction", FunctionName=ARN, MaxItems=10_000)
        return pages, whole

    pages, whole = run(scenario)
    assert [len(page) for page in pages] == [3, 3, 3, 2]
    versions = [version for page in pages for version in page]
    assert whole == {"Versions": versions}
    assert [version["Version"] for version in versions] == ["$LATEST", *(str(n) for n in range(1, 12) if n != 4)]
    assert [version["FunctionArn"] for version in versions] == [f"{ARN}:{item['Version']}" for item in versions]
    assert not any(STATES & version.keys() for version in versions)


def test_a_page_holds_fifty_at_most(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        await publish(service, 50)
        page = await service.call("ListVersionsByFunction", FunctionName="f", MaxItems=10_000)
        rest = await service.call("ListVersionsByFunction", FunctionName="f", Marker=page["NextMarker"])
        return page, rest

    page, rest = run(scenario)
    assert len(page["Versions"]) == 50
    assert [version["Version"] for version in rest["Versions"]] == ["50"]
    assert "NextMarker" not in rest


def test_a_marker_stays_good_when_its_version_is_deleted(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        await publish(service, 3)
        page = await service.call("ListVersionsByFunction", FunctionName="f", MaxItems=2)
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        return await service.call("ListVersionsByFunction", FunctionName="f", Marker=page["NextMarker"])

    assert [version["Version"] for version in run(scenario)["Versions"]] == ["2", "3"]


@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        ({"FunctionName": "g"}, 404, "Function not found: " + ARN[:-1] + "g"),
        ({"FunctionName": "f", "Marker": "nonsense"}, 400, "Invalid Marker: "),
        ({"FunctionName": "f:1"}, 400, "This operation concerns the function, not a version or alias: "),
        ({"FunctionName": ARN.replace("eu-west-1", "us-east-1")}, 404, "Functions from 'us-east-1' are not reachable"),
    ],
)
def test_refused_lists(run: Run, members: dict[str, Any], status: int, message: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        return await service.refused("ListVersionsByFunction", **members)

    error = run(scenario)
    assert error.status == status
    assert error.message.startswith(message)


def test_publishing_gives_latest_a_new_revision_and_nothing_else(run: Run) -> None:
    """As recorded; publishing again, which gives the same version, changes nothing."""

    async def scenario(service: Any) -> None:
        await service.create()
        before = service.registry.version("f")
        first = await service.call("PublishVersion", FunctionName="f", RevisionId=before.revision_id)
        after = service.registry.version("f")
        assert len({before.revision_id, after.revision_id, first["RevisionId"]}) == 3
        assert after.identity == before.identity
        assert after.last_modified == before.last_modified
        again = await service.call("PublishVersion", FunctionName="f", RevisionId=after.revision_id)
        assert again == first
        assert service.registry.version("f") is after

    run(scenario)


def test_a_refused_publication_changes_nothing(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        before = service.registry.function("f")
        errors = [
            await service.refused("PublishVersion", FunctionName="f", **members)
            for members in ({"CodeSha256": "a"}, {"RevisionId": "b"}, {"PublishTo": "LATEST_PUBLISHED"})
        ]
        assert service.registry.function("f") is before
        assert service.registry.last_version("f") == 0
        return [error.status for error in errors]

    assert run(scenario) == [400, 412, 400]


def test_with_snap_start_a_version_is_pending_first(run: Run, held_activation: Any) -> None:
    event, activate = held_activation
    event.set()

    async def before(service: Any) -> Any:
        await service.create(SnapStart={"ApplyOn": "PublishedVersions"})
        event.clear()
        published = await service.call("PublishVersion", FunctionName="f")
        latest = await service.call("GetFunctionConfiguration", FunctionName="f")
        assert latest["SnapStart"] == published["SnapStart"]
        assert (latest["State"], latest["LastUpdateStatus"]) == ("Active", "Successful")
        return published

    async def after(service: Any) -> Any:
        event.set()
        await service.plane.tasks.settled()
        return await service.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")

    async def both(service: Any) -> Any:
        return await before(service), await after(service)

    published, active = run(both, activate=activate)
    assert published["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert (published["State"], published["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in published
    assert active["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")


def test_code_that_is_updated_and_published_with_snap_start(run: Run, zip_of: Callable[[str], bytes]) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(SnapStart={"ApplyOn": "PublishedVersions"}, Publish=True)
        answer = await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"), Publish=True)
        await service.plane.tasks.settled()
        states = {version.state for version in service.registry.function("f").versions.values()}
        return answer, states

    answer, states = run(scenario)
    assert (answer["Version"], answer["State"]) == ("2", "Pending")
    assert states == {"Active"}
