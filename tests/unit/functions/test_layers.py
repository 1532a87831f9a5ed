"""PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions, DeleteLayerVersion."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.functions.code_source import S3RefusedError
from venturekit.service.functions.layer_registry import LayerRegistry, LayerVersion
from venturekit.service.store import StoredLayers, StoredLayerVersion

LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:l"
FOREIGN = "arn:aws:lambda:eu-west-1:999988887777:layer:l"
Run = Callable[..., Any]
ZipOf = Callable[[str], bytes]


async def publish(service: Any, data: bytes, name: str = "l", **members: Any) -> Any:
    return await service.call("PublishLayerVersion", LayerName=name, Content={"ZipFile": data}, **members)


async def numbers(service: Any, **members: Any) -> list[int]:
    answer = await service.call("ListLayerVersions", **{"LayerName": "l", **members})
    return [item["Version"] for item in answer["LayerVersions"]]


def test_a_published_version_has_exactly_these_members(run: Run, zip_of: ZipOf) -> None:
    data = zip_of("a = 1")
    members = {
        "Description": "d",
        "LicenseInfo": "MIT",
        "CompatibleRuntimes": ["python3.12", "python3.11"],
        "CompatibleArchitectures": ["arm64"],
    }

    async def scenario(service: Any) -> Any:
        published = await publish(service, data, **members)
        return published, [
            await service.call("GetLayerVersion", LayerName="l", VersionNumber=1),
            await service.call("GetLayerVersion", LayerName=LAYER, VersionNumber=1),
            await service.call("GetLayerVersionByArn", Arn=f"{LAYER}:1"),
        ]

    published, got = run(scenario)
    assert published == {
        "Content": {
            "Location": f"http://localhost/code/{hashlib.sha256(data).hexdigest()}",
            "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "CodeSize": len(data),
        },
        "LayerArn": LAYER,
        "LayerVersionArn": f"{LAYER}:1",
        "Version": 1,
        "CreatedDate": "2023-11-14T22:13:20.000+0000",
        **members,
    }
    assert got == [published] * 3


def test_members_that_were_not_given_are_left_out_and_empty_lists_are_not(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        empty = {"CompatibleRuntimes": [], "CompatibleArchitectures": []}
        return await publish(service, zip_of("a = 1")), await publish(service, zip_of("a = 1"), **empty)

    bare, empty = run(scenario)
    assert bare.keys() == {"Content", "LayerArn", "LayerVersionArn", "Version", "CreatedDate", "Description"}
    assert bare["Description"] == ""
    assert (empty["CompatibleRuntimes"], empty["CompatibleArchitectures"], empty["Version"]) == ([], [], 2)
    # Same content, same archive: unpacked once.
    assert bare["Content"]["CodeSha256"] == empty["Content"]["CodeSha256"]


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ({}, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"ZipFile": b""}, "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        (
            {"ZipFile": b"no zip"},
            "InvalidParameterValueException",
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (
            {"ZipFile": bytes(52_428_801)},
            "RequestEntityTooLargeException",
            "Zipped size must be smaller than 52428800 bytes",
        ),
    ],
    ids=["none", "empty", "no zip", "too large"],
)
def test_content_that_is_refused_leaves_nothing(run: Run, content: dict[str, bytes], code: str, message: str) -> None:
    async def scenario(service: Any) -> Any:
        error = await service.refused("PublishLayerVersion", LayerName="l", Content=content)
        listed = await service.call("ListLayers")
        return error, listed, service.archives.keys(), service.directories.keys(), await service.store.load_layers()

    error, *left = run(scenario)
    assert (error.code, error.message) == (code, message)
    assert left == [{"Layers": []}, set(), set(), StoredLayers([], {})]


def test_content_from_s3(run: Run, zip_of: ZipOf) -> None:
    asked: list[tuple[str, str, str | None]] = []

    async def fetch(bucket: str, key: str, version: str | None) -> bytes:
        asked.append((bucket, key, version))
        if key == "none":
            raise S3RefusedError("NoSuchKey", "The specified key does not exist.")
        return zip_of("a = 1")

    async def scenario(service: Any) -> Any:
        content = {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "v"}
        published = await service.call("PublishLayerVersion", LayerName="l", Content=content)
        missing = {"S3Bucket": "bucket", "S3Key": "none"}
        error = await service.refused("PublishLayerVersion", LayerName="l", Content=missing)
        return published, error, await numbers(service)

    published, error, listed = run(scenario, fetch_code=fetch)
    assert published["Content"]["CodeSize"] == len(zip_of("a = 1"))
    assert asked == [("bucket", "key", "v"), ("bucket", "none", None)]
    assert error.code == "InvalidParameterValueException"
    assert "NoSuchKey" in error.message
    assert listed == [1]


def test_versions_published_at_once_have_numbers_of_their_own(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> Any:
        published = await asyncio.gather(*(publish(service, zip_of(f"a = {number % 3}")) for number in range(12)))
        assert len(service.archives.keys()) == 3
        return sorted(version["Version"] for version in published), await numbers(service)

    assert run(scenario) == (list(range(1, 13)), list(range(12, 0, -1)))


def test_numbers_are_never_given_again(run: Run, zip_of: ZipOf) -> None:
    async def publish_and_delete(service: Any) -> None:
        for number in (1, 2):
            assert (await publish(service, zip_of("a = 1")))["Version"] == number
        assert await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=2) == {}
        assert (await publish(service, zip_of("a = 1")))["Version"] == 3
        for number in (1, 3):
            await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=number)
        assert await service.call("ListLayers") == {"Layers": []}

    async def after_a_restart(service: Any) -> Any:
        return (await publish(service, zip_of("a = 1")))["Version"]

    run(publish_and_delete)
    assert run(after_a_restart) == 4


def test_everything_is_there_after_a_restart(run: Run, zip_of: ZipOf) -> None:
    async def before(service: Any) -> Any:
        await publish(service, zip_of("a = 1"), CompatibleRuntimes=["python3.12"])
        await service.call(
            "AddLayerVersionPermission",
            LayerName="l",
            VersionNumber=1,
            StatementId="s",
            Action="lambda:GetLayerVersion",
            Principal="*",
        )
        return await seen(service)

    async def seen(service: Any) -> Any:
        await service.plane.tasks.settled()
        version = await service.call("GetLayerVersion", LayerName="l", VersionNumber=1)
        policy = await service.call("GetLayerVersionPolicy", LayerName="l", VersionNumber=1)
        return version, policy, service.archives.keys()

    first = run(before)
    assert run(seen) == first
    assert len(first[2]) == 1


@pytest.mark.parametrize("operation", ["GetLayerVersion", "DeleteLayerVersion", "GetLayerVersionPolicy"])
@pytest.mark.parametrize("number", [0, -1])
def test_numbers_below_one(run: Run, operation: str, number: int) -> None:
    error = run(lambda service: service.refused(operation, LayerName="l", VersionNumber=number))
    assert (error.code, error.status, error.type) == ("InvalidParameterValueException", 400, "User")
    assert error.message == "Layer Version Cannot be less than 1"


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetLayerVersion", {"LayerName": "l", "VersionNumber": 2}),
        ("GetLayerVersion", {"LayerName": "m", "VersionNumber": 1}),
        ("GetLayerVersionByArn", {"Arn": f"{LAYER}:2"}),
        ("GetLayerVersionByArn", {"Arn": "arn:aws:lambda:::awslayer:Any"}),
    ],
)
def test_versions_that_do_not_exist(run: Run, zip_of: ZipOf, operation: str, members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        await publish(service, zip_of("a = 1"))
        return await service.refused(operation, **members)

    error = run(scenario)
    assert (error.code, error.status, error.type) == ("ResourceNotFoundException", 404, "User")
    assert error.message == "The resource you requested does not exist."


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetLayerVersion", {"LayerName": "arn:aws:lambda:us-east-1:123456789012:layer:l", "VersionNumber": 1}),
        ("GetLayerVersionByArn", {"Arn": "arn:aws:lambda:us-east-1:123456789012:layer:l:1"}),
        ("ListLayerVersions", {"LayerName": "arn:aws:lambda:us-east-1:123456789012:layer:l"}),
    ],
)
def test_another_region(run: Run, operation: str, members: dict[str, Any]) -> None:
    error = run(lambda service: service.refused(operation, **members))
    assert (error.code, error.status) == ("ResourceNotFoundException", 404)
    assert error.message == "Layers from 'us-east-1' are not reachable in this region ('eu-west-1')"


@pytest.mark.parametrize(
    ("operation", "members", "resource"),
    [
        ("PublishLayerVersion", {"Content": {"ZipFile": b"x"}}, FOREIGN),
        ("ListLayerVersions", {}, FOREIGN),
        ("GetLayerVersion", {"VersionNumber": 1}, f"{FOREIGN}:1"),
        ("DeleteLayerVersion", {"VersionNumber": 1}, f"{FOREIGN}:1"),
        ("GetLayerVersionPolicy", {"VersionNumber": 1}, f"{FOREIGN}:1"),
    ],
)
def test_another_account(run: Run, operation: str, members: dict[str, Any], resource: str) -> None:
    error = run(lambda service: service.refused(operation, LayerName=FOREIGN, **members))
    assert (error.code, error.status, error.type) == ("AccessDeniedException", 403, None)
    assert error.message == (
        f"User: arn:aws:iam::123456789012:root is not authorized to perform: lambda:{operation} on resource: "
        f"{resource} because no resource-based policy allows the lambda:{operation} action"
    )


def test_versions_are_listed_newest_first_in_pages(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        for _ in range(11):
            await publish(service, zip_of("a = 1"))
        await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=7)
        assert await numbers(service) == [11, 10, 9, 8, 6, 5, 4, 3, 2, 1]
        assert await numbers(service, LayerName=LAYER, MaxItems=3) == [11, 10, 9]
        page = await service.call("ListLayerVersions", LayerName="l", MaxItems=5)
        # The last item of a page may go before the next one is asked for.
        await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=6)
        rest = await service.call("ListLayerVersions", LayerName="l", MaxItems=5, Marker=page["NextMarker"])
        assert [item["Version"] for item in rest["LayerVersions"]] == [5, 4, 3, 2, 1]
        assert "NextMarker" not in rest
        assert await numbers(service, LayerName="none") == []

    run(scenario)


def test_filters(run: Run, zip_of: ZipOf) -> None:
    kinds = [
        (["python3.12"], ["x86_64"]),
        (["python3.12", "python3.13"], ["arm64"]),
        (["nodejs22.x"], ["arm64", "x86_64"]),
        (None, None),
    ]

    async def scenario(service: Any) -> None:
        for runtimes, architectures in kinds:
            given = {"CompatibleRuntimes": runtimes, "CompatibleArchitectures": architectures}
            await publish(service, zip_of("a = 1"), **given)
        for runtime, architecture, expected in (
            ("python3.12", None, [2, 1]),
            (None, "arm64", [3, 2]),
            ("python3.12", "arm64", [2]),
            ("java21", None, []),
            (None, None, [4, 3, 2, 1]),
        ):
            asked = {"CompatibleRuntime": runtime, "CompatibleArchitecture": architecture}
            assert await numbers(service, **asked) == expected
            layers = (await service.call("ListLayers", **asked))["Layers"]
            assert [layer["LatestMatchingVersion"]["Version"] for layer in layers] == expected[:1]
        assert await numbers(service, CompatibleRuntime="python3.12", MaxItems=1) == [2]

    run(scenario)


def test_layers_are_listed_by_name_in_pages(run: Run, zip_of: ZipOf) -> None:
    names = ["b", "B", "a-1", "a", "ab", "_", "z9", "z10"]

    async def scenario(service: Any) -> Any:
        for name in names:
            await publish(service, zip_of("a = 1"), name, Description=name)
        seen, marker = [], None
        while marker != "":
            page = await service.call("ListLayers", MaxItems=3, **({"Marker": marker} if marker else {}))
            seen.append(page["Layers"])
            marker = page.get("NextMarker", "")
        return seen

    pages = run(scenario)
    assert [len(page) for page in pages] == [3, 3, 2]
    listed = [layer for page in pages for layer in page]
    assert [layer["LayerName"] for layer in listed] == sorted(names)
    arn = LAYER[:-1] + "B"
    assert listed[0] == {
        "LayerName": "B",
        "LayerArn": arn,
        "LatestMatchingVersion": {
            "LayerVersionArn": f"{arn}:1",
            "Version": 1,
            "Description": "B",
            "CreatedDate": "2023-11-14T22:13:20.000+0000",
        },
    }


@pytest.mark.parametrize("operation", ["ListLayers", "ListLayerVersions"])
def test_a_marker_that_no_page_gave(run: Run, operation: str) -> None:
    error = run(lambda service: service.refused(operation, LayerName="l", Marker="?"))
    assert error.code == "InvalidParameterValueException"
    assert "Marker" in error.message


def test_deleting_is_idempotent_and_removes_the_archive(run: Run, zip_of: ZipOf) -> None:
    async def scenario(service: Any) -> None:
        await publish(service, zip_of("a = 1"))
        await publish(service, zip_of("a = 1"), "same")
        for _ in range(2):
            assert await service.call("DeleteLayerVersion", LayerName="l", VersionNumber=1) == {}
        assert await service.call("DeleteLayerVersion", LayerName="never", VersionNumber=1) == {}
        await service.plane.tasks.settled()
        assert len(service.archives.keys()) == 1
        await service.call("DeleteLayerVersion", LayerName="same", VersionNumber=1)
        await service.plane.tasks.settled()
        assert service.archives.keys() == service.directories.keys() == set()
        assert service.reports == []

    run(scenario)


VERSION = LayerVersion(
    layer_arn=LAYER,
    version=1,
    code_key="k" * 64,
    code_sha256="h",
    code_size_bytes=1,
    unzipped_size_bytes=2,
    created_date="d",
)
KEYS = ("a" * 64, "b" * 64)
ARNS = st.builds("arn:aws:lambda:eu-west-1:{:012d}:layer:{}".format, st.integers(1, 3), st.sampled_from("ab-_09Z"))
STEPS = st.lists(st.tuples(ARNS, st.integers(1, 4), st.booleans()), max_size=40)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.sampled_from("ab-_09Z "))
def test_the_registry_agrees_with_a_plain_set(steps: list[tuple[str, int, bool]], after: str) -> None:
    registry = LayerRegistry()
    model: set[tuple[str, int]] = set()
    highest: dict[str, int] = {}
    for arn, number, is_removal in steps:
        if is_removal and (found := registry.version(arn, number)) is not None:
            registry.remove(found)
            model.discard((arn, number))
        elif not is_removal:
            document = VERSION.to_document() | {"layer_arn": arn, "version": number, "code_key": KEYS[number % 2]}
            registry.put(LayerVersion.from_document(document))
            model.add((arn, number))
            highest[arn] = max(highest.get(arn, 0), number)
    for account in range(1, 4):
        prefix = f"arn:aws:lambda:eu-west-1:{account:012d}:layer:"
        expected = sorted({arn for arn, _ in model if arn.startswith(prefix) and arn > prefix + after})
        assert list(registry.layer_arns(prefix, after)) == expected
    for arn in highest:
        found_numbers = [version.version for version in registry.versions(arn)]
        assert found_numbers == sorted((number for other, number in model if other == arn), reverse=True)
        assert registry.last_version(arn.split(":")[4], arn.rpartition(":")[2]) == highest[arn]
        assert (registry.find(f"{arn}:1") is not None) == ((arn, 1) in model)
    assert registry.code_keys() == {KEYS[number % 2] for _, number in model}


def test_documents_bring_back_equal_versions() -> None:
    full = LayerVersion.from_document(
        VERSION.to_document()
        | {"compatible_runtimes": ["a"], "compatible_architectures": [], "policy": [{"Sid": "s"}], "unknown": 1}
    )
    assert (full.compatible_runtimes, full.compatible_architectures, full.policy) == (("a",), (), ({"Sid": "s"},))
    registry = LayerRegistry()
    registry.load(StoredLayers([StoredLayerVersion("123456789012", "l", 1, full.to_document())], {}))
    assert registry.find(f"{LAYER}:1") == full
    assert [registry.find(text) for text in ("", LAYER, f"{LAYER}:x", f"{LAYER}:2")] == [None] * 4
