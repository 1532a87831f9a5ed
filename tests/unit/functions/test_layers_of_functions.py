"""Functions with layers: what they may refer to, and that they keep what they have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:"
Run = Callable[..., Any]
ZipOf = Callable[[str], bytes]


async def publish(service: Any, data: bytes, name: str = "l") -> str:
    answer = await service.call("PublishLayerVersion", LayerName=name, Content={"ZipFile": data})
    return str(answer["LayerVersionArn"])


async def refused(service: Any, members: dict[str, Any], *layers: str) -> Any:
    error = await service.refused("CreateFunction", **members, Layers=list(layers))
    assert len(service.registry) == 0
    return error


def test_five_layers_in_their_order(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        arns = [await publish(service, zip_of(f"a = {name!r}"), name) for name in "ecadb"]
        await service.create(Layers=arns, Publish=True)
        return arns, [
            [layer["Arn"] for layer in (await service.call("GetFunctionConfiguration", FunctionName=name))["Layers"]]
            for name in ("f", "f:1")
        ]

    arns, shown = run(scenario)
    assert shown == [arns, arns]


def test_six_layers(run: Run, zip_of: ZipOf, create_members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        arns = [await publish(service, zip_of("a = 1"), name) for name in "abcdef"]
        return await refused(service, create_members, *arns)

    error = run(scenario)
    assert (error.code, error.message) == ("InvalidParameterValueException", "Cannot reference more than 5 layers.")


@pytest.mark.parametrize("second", [1, 2])
def test_two_versions_of_one_layer(run: Run, zip_of: ZipOf, create_members: dict[str, Any], second: int) -> None:
    async def scenario(service: Any) -> Any:
        arns = [await publish(service, zip_of("a = 1")) for _ in range(3)]
        other = await publish(service, zip_of("a = 1"), "other")
        return await refused(service, create_members, arns[0], other, arns[second - 1], arns[2])

    error = run(scenario)
    assert (error.code, error.type) == ("InvalidParameterValueException", "User")
    assert error.message == (
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{LAYER}l:1 and {LAYER}l:{second} are versions of the same layer."
    )


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        (f"{LAYER}none:1", f"Layer version {LAYER}none:1 does not exist."),
        (f"{LAYER}l:9", f"Layer version {LAYER}l:9 does not exist."),
        ("arn:aws:lambda:::awslayer:Any", "Layer version arn:aws:lambda:::awslayer:Any does not exist."),
        (
            "arn:aws:lambda:us-east-1:123456789012:layer:l:1",
            "Layers are not in the same region as the function. Layers are expected to be in region eu-west-1.",
        ),
    ],
)
def test_layers_that_are_not_there(
    run: Run, zip_of: ZipOf, create_members: dict[str, Any], arn: str, message: str
) -> None:
    async def scenario(service: Any) -> Any:
        return await refused(service, create_members, await publish(service, zip_of("a = 1")), arn)

    error = run(scenario)
    assert (error.code, error.status, error.message) == ("InvalidParameterValueException", 400, message)


def test_code_and_layers_together_have_a_limit(run: Run, zip_of: ZipOf, create_members: dict[str, Any]) -> None:
    code_bytes = len("def handler(event, context): return event\n")
    limit_bytes = 262_144_000

    async def scenario(service: Any) -> Any:
        arns = [await publish(service, zip_of("abc"), name) for name in "ab"]
        assert [service.layers.find(arn).unzipped_size_bytes for arn in arns] == [3, 3]
        # Stands for a layer that is nearly as large as can be.
        large = replace(service.layers.find(arns[0]), unzipped_size_bytes=limit_bytes - code_bytes - 3)
        service.layers.put(large)
        await service.create("fits", Layers=arns)
        update = {"FunctionName": "fits", "ZipFile": zip_of("x" * (code_bytes + 1))}
        refused_update = await service.refused("UpdateFunctionCode", **update)
        assert service.registry.version("fits").code_size_bytes < len(update["ZipFile"])
        service.layers.put(replace(large, unzipped_size_bytes=large.unzipped_size_bytes + 2))
        members = {**create_members, "Layers": arns}
        return refused_update, await service.refused("CreateFunction", **members), len(service.registry)

    update, creation, count = run(scenario)
    text = "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is"
    assert [update.message, creation.message] == [
        f"{text} {limit_bytes + 1} bytes.",
        f"{text} {limit_bytes + 2} bytes.",
    ]
    assert (creation.code, creation.status, count) == ("InvalidParameterValueException", 400, 1)


def test_a_function_keeps_a_layer_that_was_deleted(run: Run, zip_of: ZipOf, create_members: dict[str, Any]) -> None:
    async def before(service: Any) -> None:
        arn = await publish(service, zip_of("layer = 1"))
        await service.create(Layers=[arn])
        key = service.registry.version("f").layers[0].code_key
        await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        await service.plane.tasks.settled()
        assert key in service.archives.keys() & service.directories.keys()
        error = await service.refused("CreateFunction", **{**create_members, "FunctionName": "g", "Layers": [arn]})
        assert error.message == f"Layer version {arn} does not exist."
        # Other changes of the function do not ask for the layer again.
        await service.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("new = 1"))
        await service.plane.tasks.settled()

    async def after_a_restart(service: Any) -> None:
        await service.plane.tasks.settled()
        (layer,) = service.registry.version("f").layers
        assert (layer.arn, layer.code_size_bytes) == (f"{LAYER}l:1", len(zip_of("layer = 1")))
        assert service.archives.keys() == service.registry.version("f").code_keys
        await service.call("DeleteFunction", FunctionName="f")
        await service.plane.tasks.settled()
        assert service.archives.keys() == service.directories.keys() == set()

    run(before)
    run(after_a_restart)


def test_layers_are_replaced_and_a_refused_update_changes_nothing(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        first, second = [await publish(service, zip_of(f"a = {number}")) for number in (1, 2)]
        await service.create(Layers=[first])
        before = service.registry.version("f")
        update = {"FunctionName": "f", "Description": "new"}
        error = await service.refused("UpdateFunctionConfiguration", **update, Layers=[first, second])
        assert error.code == "InvalidParameterValueException"
        assert service.registry.version("f") is before
        answer = await service.call("UpdateFunctionConfiguration", **update, Layers=[second])
        assert [layer["Arn"] for layer in answer["Layers"]] == [second]
        # Code and layers are what an environment is made of: those with the former layer are replaced.
        assert service.registry.version("f").identity != before.identity
        await service.plane.tasks.settled()
        kept = await service.call("UpdateFunctionConfiguration", FunctionName="f", Description="newer")
        assert kept["Layers"] == answer["Layers"]

    run(scenario)


def test_a_layer_that_runs_is_not_removed(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Layers=[await publish(service, zip_of("layer = 1"))])
        service.running = set(service.registry.version("f").code_keys)
        await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        await service.call("DeleteFunction", FunctionName="f")
        await service.plane.tasks.settled()
        assert service.directories.keys() == service.running
        service.running = set()
        await service.plane.code.collect()
        assert service.directories.keys() == set()

    run(scenario)


def test_the_archive_of_a_version_that_is_deleted_goes_with_its_layers(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await service.create(Layers=[await publish(service, zip_of("layer = 1"))], Publish=True)
        await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
        updated = await service.call("UpdateFunctionConfiguration", FunctionName="f", Layers=[])
        assert "Layers" not in updated
        await service.plane.tasks.settled()
        assert len(service.archives.keys()) == 2
        await service.call("DeleteFunction", FunctionName="f", Qualifier="1")
        await service.plane.tasks.settled()
        assert service.archives.keys() == {service.registry.version("f").code_key}

    run(scenario)


def test_a_layer_deleted_while_a_function_is_created(run: Run, zip_of: ZipOf, create_members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        arn = await publish(service, zip_of("layer = 1"))
        found, find = asyncio.Event(), service.plane.layer

        def seen(layer_version_arn: str) -> Any:
            found.set()
            return find(layer_version_arn)

        service.plane.layer = seen
        async with service.plane.lock("f"):
            creation = asyncio.create_task(service.refused("CreateFunction", **create_members, Layers=[arn]))
            # From here on it only waits for the lock.
            await found.wait()
            await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
            await service.plane.code.collect()
            assert service.archives.keys() == set()
        error = await creation
        await service.plane.code.collect()
        assert (len(service.registry), service.archives.keys()) == (0, set())
        return error, arn

    error, arn = run(scenario)
    assert (error.code, error.message) == (
        "InvalidParameterValueException",
        f"Layer version {arn} does not exist.",
    )


def test_held_archives_stay(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        key = service.layers.find(await publish(service, zip_of("layer = 1"))).code_key
        async with service.plane.code.held([key]):
            await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1)
            await service.plane.tasks.settled()
            assert service.archives.keys() == {key}
        await service.plane.code.collect()
        assert service.archives.keys() == set()
        with pytest.raises(LookupError, match=key):
            async with service.plane.code.held([key]):
                pytest.fail("it is gone")

    run(scenario)
