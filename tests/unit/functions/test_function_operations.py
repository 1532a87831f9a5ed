"""CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from venturekit.service.api.errors import render_error

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"
BAD_ZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
Run = Callable[..., Any]


def test_create_answers_pending_and_becomes_active(run: Run, create_members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        created = await service.call("CreateFunction", **create_members)
        await service.plane.tasks.settled()
        return created, await service.call("GetFunctionConfiguration", FunctionName="f")

    created, active = run(scenario)
    data = create_members["Code"]["ZipFile"]
    assert created == {
        "FunctionName": "f",
        "FunctionArn": ARN,
        "Runtime": "python3.12",
        "Role": "arn:aws:iam::123456789012:role/r",
        "Handler": "app.handler",
        "CodeSize": len(data),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2023-11-14T22:13:20.000+0000",
        "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": created["RevisionId"],
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "RuntimeVersionConfig": created["RuntimeVersionConfig"],
    }
    assert created["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws:lambda:eu-west-1::runtime:")
    changed = {name: value for name, value in active.items() if created.get(name) != value}
    assert changed == {"State": "Active", "LastUpdateStatus": "Successful", "RevisionId": active["RevisionId"]}
    assert created.keys() - active.keys() == {"StateReason", "StateReasonCode"}


def test_every_configured_member_is_echoed(run: Run, create_members: dict[str, Any]) -> None:
    members = {
        "Description": "d",
        "Timeout": 900,
        "MemorySize": 10240,
        "Environment": {"Variables": {"A": "é"}},
        "Architectures": ["arm64"],
        "EphemeralStorage": {"Size": 10240},
        "TracingConfig": {"Mode": "Active"},
        "LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": "g"},
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": True},
        "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:eu-west-1:123456789012:q"},
        "KMSKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/k",
        "Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:l:1"],
    }

    async def scenario(service: Any) -> Any:
        layer = await service.call("PublishLayerVersion", LayerName="l", Content=create_members["Code"])
        return layer, await service.create(**members)

    layer, created = run(scenario)
    assert created["Layers"] == [{"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]}]
    assert created["VpcConfig"] == {**members["VpcConfig"], "VpcId": ""}  # type: ignore[dict-item]
    assert created["LoggingConfig"] == {
        "LogFormat": "JSON",
        "LogGroup": "g",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "WARN",
    }
    for name in members.keys() - {"Layers", "VpcConfig", "LoggingConfig"}:
        assert created[name] == members[name]


def test_create_can_publish(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        created = await service.create(Publish=True)
        return created, await service.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")

    created, version = run(scenario)
    assert (created["Version"], created["FunctionArn"], created["State"]) == ("1", ARN, "Pending")
    assert (version["FunctionArn"], version["State"]) == (f"{ARN}:1", "Active")


REFUSED_CREATIONS = [
    ({"Runtime": None}, "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
    ({"Handler": None}, "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
    ({"Runtime": "python9.9"}, ("Value python9.9 at 'runtime' failed to satisfy constraint: Member must satisfy enum "
     "value set: [python3.15, python3.14, ...] or be a valid ARN")),
    ({"Runtime": "python3.6"}, ("The runtime parameter of python3.6 is no longer supported for creating or updating "
     "AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions.")),
    ({"Runtime": "java21"}, "Runtime java21 is not supported by this service: ..."),
    ({"FunctionName": "n" * 65}, (f"1 validation error detected: Value '{'n' * 65}' at 'functionName' failed to "
     "satisfy constraint: Member must have length less than or equal to 64")),
    ({"FunctionName": "f:1"}, ("This operation concerns the function, not a version or alias: leave ':1' out of "
     "FunctionName")),
    ({"Code": {}}, "Please provide a source for function code."),
    ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, ("The code could not be fetched from s3://b/k: this service was "
     "started without an S3 to fetch from: send the archive itself as ZipFile")),
    ({"Code": {"ImageUri": "i"}}, "Code from a container image (ImageUri) is not supported by this service: ..."),
    ({"Code": {"ZipFile": b""}}, "Uploaded file must be a non-empty zip"),
    ({"Code": {"ZipFile": b"no zip"}}, BAD_ZIP),
    ({"PackageType": "Image"}, "PackageType Image is not supported by this service: ..."),
    ({"FileSystemConfigs": [{"Arn": "a"}]}, "FileSystemConfigs is not supported by this service: ..."),
    ({"MemorySize": 10241}, ("'MemorySize' value failed to satisfy constraint: Member must have value less than or "
     "equal to 10240")),
    ({"Environment": {"Variables": {"OK": "1", "AWS_REGION": "x", "LAMBDA_TASK_ROOT": "y"}}}, ("Lambda was unable to "
     "configure your environment variables because the environment variables you have provided contains reserved keys "
     "that are currently not supported for modification. Reserved keys used in this request: AWS_REGION, "
     "LAMBDA_TASK_ROOT")),
    ({"Environment": {"Variables": {"A": "x" * 4089}}}, "Lambda was unable to configure your environment variables "
     "because the environment variables you have provided exceeded the 4KB limit. String measured: "
     '{"A":"' + "x" * 4089 + '"}'),
    ({"Layers": [f"arn:l{n}:1" for n in range(6)]}, "Cannot reference more than 5 layers."),
    ({"Layers": ["arn:l:1"]}, "Layer version arn:l:1 does not exist."),
    ({"LoggingConfig": {"SystemLogLevel": "INFO"}}, ('LogLevel is not supported when LogFormat is set to "Text". '
     'Remove LogLevel from your request or change the LogFormat to "Json" and try again.')),
    ({"LoggingConfig": {"LogGroup": "aws/mine"}}, ("LogGroup aws/mine begins with aws/, which is reserved: choose "
     "another name")),
    ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "SubnetIds and SecurityIds must coexist or be both empty list."),
    ({"VpcConfig": {"SecurityGroupIds": ["sg-1"]}}, "SubnetIds and SecurityIds must coexist or be both empty list."),
    ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::b"}}, ("DeadLetterConfig.TargetArn arn:aws:s3:::b must be the "
     "ARN of an SQS queue or an SNS topic, and not of a FIFO one")),
    ({"DeadLetterConfig": {"TargetArn": "arn:aws:sns:eu-west-1:123456789012:t.fifo"}}, ("DeadLetterConfig.TargetArn "
     "arn:aws:sns:eu-west-1:123456789012:t.fifo must be the ARN of an SQS queue or an SNS topic, and not of a FIFO "
     "one")),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "nodejs22.x"}, ("nodejs22.x is not supported for "
     "SnapStart enabled functions.")),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "python3.11"}, ("python3.11 is not supported for "
     "SnapStart enabled functions.")),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}, "EphemeralStorage": {"Size": 513}}, ("EphemeralStorage over "
     "512 MB is not supported for SnapStart enabled functions.")),
    ({"CodeSigningConfigArn": "arn:c"}, "CodeSigningConfigArn is not supported by this service: ...leave it out"),
    ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}, "Runtime": "python3.13",
      "SnapStart": {"ApplyOn": "PublishedVersions"}}, ("TenancyConfig is not supported for SnapStart enabled "
     "functions.")),
    ({"DurableConfig": {"ExecutionTimeout": 1}}, "DurableConfig is not supported by this service: ..."),
    ({"RuntimeConfig": {"RuntimeArn": "a"}}, "RuntimeConfig is not supported by this service: ..."),
    ({"AcceleratorConfig": {"AcceleratorMemorySize": 1}}, "AcceleratorConfig is not supported by this service: ..."),
    ({"ImageConfig": {"Command": ["a"]}}, "ImageConfig is not supported by this service: ..."),
    ({"PublishTo": "LATEST_PUBLISHED"},
     "PublishTo LATEST_PUBLISHED is only supported for Lambda Managed Instances functions: leave it out."),
    ({"Tags": {"aws:x": "1"}}, "..."),
]  # fmt: skip


@pytest.mark.parametrize(("members", "message"), REFUSED_CREATIONS)
def test_refused_creations(run: Run, create_members: dict[str, Any], members: dict[str, Any], message: str) -> None:
    async def scenario(service: Any) -> Any:
        error = await service.refused("CreateFunction", **{**create_members, **members})
        return error, len(service.registry), service.archives.keys(), service.directories.keys()

    error, *left = run(scenario)
    assert (error.code, error.status, error.type) == ("InvalidParameterValueException", 400, "User")
    beginning, _, end = message.partition("...")
    assert error.message.startswith(beginning)
    assert error.message.endswith(end)
    assert error.message == message or "..." in message
    assert left == [0, set(), set()]


def test_empty_values_ask_for_nothing(run: Run, create_members: dict[str, Any]) -> None:
    """Deployment tools send many of them."""
    empty = {
        "CodeSigningConfigArn": "",
        "DeadLetterConfig": {"TargetArn": ""},
        "DurableConfig": {},
        "FileSystemConfigs": [],
        "ImageConfig": {"EntryPoint": [], "Command": [], "WorkingDirectory": ""},
        "KMSKeyArn": "",
        "Layers": [],
        "LoggingConfig": {},
        "PackageType": "Zip",
        "SnapStart": {"ApplyOn": "None"},
        "Tags": {},
        "TracingConfig": {},
    }

    async def scenario(service: Any) -> Any:
        plain = await service.call("CreateFunction", **create_members)
        await service.plane.tasks.settled()
        await service.call("DeleteFunction", FunctionName="f")
        code = {**create_members["Code"], "ImageUri": "", "SourceKMSKeyArn": "", "S3ObjectStorageMode": "COPY"}
        return plain, await service.call("CreateFunction", **{**create_members, **empty, "Code": code})

    plain, answer = run(scenario)
    assert {**answer, "RevisionId": plain["RevisionId"]} == plain


def test_an_environment_and_a_network_that_were_given_are_shown_though_empty(run: Run) -> None:
    created = run(
        lambda service: service.create(
            Environment={"Variables": {}}, VpcConfig={"SubnetIds": [], "Ipv6AllowedForDualStack": True}
        )
    )
    assert created["Environment"] == {"Variables": {}}
    assert created["VpcConfig"] == {
        "SubnetIds": [],
        "SecurityGroupIds": [],
        "VpcId": "",
        "Ipv6AllowedForDualStack": False,
    }


def test_more_ephemeral_storage_than_there_can_be(run: Run, create_members: dict[str, Any]) -> None:
    error = run(lambda service: service.refused("CreateFunction", **create_members, EphemeralStorage={"Size": 10241}))
    assert (error.code, error.status) == ("ValidationException", 400)
    assert error.message == (
        "1 validation error detected: Value '10241' at 'ephemeralStorage.size' failed to satisfy constraint: Member "
        "must have value less than or equal to 10240"
    )


def test_the_largest_environment_passes(run: Run) -> None:
    assert run(lambda service: service.create(Environment={"Variables": {"A": "x" * 4088}}))["State"] == "Pending"


def test_a_timeout_over_fifteen_minutes(run: Run, create_members: dict[str, Any]) -> None:
    error = run(lambda service: service.refused("CreateFunction", **create_members, Timeout=901))
    assert render_error(error, "r")[2] == (
        b"{\"message\":\"1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
        b'Member must have value less than or equal to 900"}'
    )


def test_archives_over_the_limits(run: Run, create_members: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from venturekit.service.functions import archive_rules, code_source

    monkeypatch.setattr(code_source, "MAX_ZIPPED_BYTES", 100)
    error = run(lambda service: service.refused("CreateFunction", **create_members))
    assert render_error(error, "r")[0] == 413
    assert render_error(error, "r")[2] == b'{"message":"Zipped size must be smaller than 100 bytes"}'
    monkeypatch.undo()
    monkeypatch.setattr(archive_rules, "MAX_UNZIPPED_BYTES", 10)
    error = run(lambda service: service.refused("CreateFunction", **create_members))
    assert error.message == "Unzipped size must be smaller than 262144000 bytes"


def test_a_hostile_archive_is_refused_with_its_reason_and_logged(run: Run, create_members: dict[str, Any]) -> None:
    from tests.unit.archives.zip_builder import Entry, build

    async def scenario(service: Any) -> Any:
        create_members["Code"] = {"ZipFile": build(Entry("../evil", b"x"))}
        return await service.refused("CreateFunction", **create_members), service.logs

    error, logs = run(scenario)
    assert error.message == f"{BAD_ZIP} (the name '../evil' leaves the archive)"
    assert logs == ["refused a code archive: the name '../evil' leaves the archive"]


def test_a_name_that_is_taken(run: Run, create_members: dict[str, Any]) -> None:
    async def scenario(service: Any) -> Any:
        return await asyncio.gather(
            *(service.call("CreateFunction", **create_members) for _ in range(2)), return_exceptions=True
        )

    first, second = run(scenario)
    assert first["State"] == "Pending"
    assert (second.code, second.status) == ("ResourceConflictException", 409)
    assert second.message == "Function already exist: f"


@pytest.mark.parametrize("operation", ["GetFunction", "GetFunctionConfiguration"])
@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"FunctionName": "g"}, "ResourceNotFoundException", "Function not found: " + ARN[:-1] + "g"),
        ({"FunctionName": "g:live"}, "ResourceNotFoundException", "Function not found: " + ARN[:-1] + "g:live"),
        ({"FunctionName": "f", "Qualifier": "9"}, "ResourceNotFoundException", f"Function not found: {ARN}:9"),
        (
            {"FunctionName": "f:1", "Qualifier": "2"},
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            {"FunctionName": ARN.replace("eu-west-1", "us-east-1")},
            "ResourceNotFoundException",
            "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')",
        ),
        ({"FunctionName": ARN.replace("123456789012", "999999999999")}, "AccessDeniedException", None),
    ],
)
def test_addressing(run: Run, operation: str, members: dict[str, Any], code: str, message: str | None) -> None:
    async def scenario(service: Any) -> Any:
        await service.create()
        return await service.refused(operation, **members)

    error = run(scenario)
    assert (error.code, error.message) == (code, message)
    if message is None:
        assert render_error(error, "r")[2] == b'{"Message":null}'


def test_deleting_what_is_not_there(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        before = service.registry.function("f")
        answers = [await service.call("DeleteFunction", FunctionName="f", Qualifier=q) for q in ("9", "nothing")]
        assert service.registry.function("f") is before
        elsewhere = ARN.replace("eu-west-1", "us-east-1")
        return answers, [
            await service.refused("DeleteFunction", **members)
            for members in (
                {"FunctionName": "g"},
                {"FunctionName": "g", "Qualifier": "9"},
                {"FunctionName": "g", "Qualifier": "$LATEST"},
                {"FunctionName": "f:1", "Qualifier": "2"},
                {"FunctionName": elsewhere},
                {"FunctionName": ARN.replace("123456789012", "999999999999")},
            )
        ]

    answers, errors = run(scenario)
    assert answers == [{"StatusCode": 204}] * 2
    missing = (404, "Function not found: " + ARN[:-1] + "g")
    assert [(error.status, error.message) for error in errors] == [
        missing,
        missing,
        (400, "$LATEST version cannot be deleted without deleting the function."),
        (400, "The derived qualifier from the function name does not match the specified qualifier."),
        (404, "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"),
        (403, None),
    ]


@pytest.mark.parametrize("name", ["f", "function:f", "123456789012:f", "123456789012:function:f", ARN])
def test_every_name_form_finds_the_function(run: Run, name: str) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Tags={"team": "a"})
        return await service.call("GetFunction", FunctionName=name), await service.call(
            "GetFunction", FunctionName=name, Qualifier="$LATEST"
        )

    plain, qualified = run(scenario)
    assert plain["Configuration"]["FunctionArn"] == ARN
    assert qualified["Configuration"]["FunctionArn"] == f"{ARN}:$LATEST"
    assert plain["Tags"] == {"team": "a"}
    key = base64.b64decode(plain["Configuration"]["CodeSha256"]).hex()
    assert plain["Code"] == {"RepositoryType": "S3", "Location": f"http://localhost/code/{key}"}


def test_delete_removes_function_code_and_nothing_else(run: Run, zip_of: Callable[[str], bytes]) -> None:
    async def scenario(service: Any) -> Any:
        await service.create("f", Code={"ZipFile": zip_of("own = 1")}, Publish=True)
        await service.create("g", Code={"ZipFile": zip_of("shared = 1")})
        await service.create("h", Code={"ZipFile": zip_of("shared = 1")})
        answers = [await service.call("DeleteFunction", FunctionName=name) for name in ("f", "g")]
        await service.plane.tasks.settled()
        assert len(service.registry) == 1
        left = (service.archives.keys(), service.directories.keys())
        assert left == ({service.registry.version("h").code_key},) * 2
        error = await service.refused("GetFunction", FunctionName="f")
        await service.create("f", Publish=True)
        return answers, error, service.registry.function("f").last_version

    answers, error, version = run(scenario)
    assert answers == [{"StatusCode": 204}] * 2
    assert error.code == "ResourceNotFoundException"
    assert version == 2


def test_code_that_still_runs_is_removed_later(run: Run) -> None:
    async def scenario(service: Any) -> None:
        await service.create()
        key = service.registry.version("f").code_key
        service.running.add(key)
        await service.call("DeleteFunction", FunctionName="f")
        await service.plane.tasks.settled()
        assert service.directories.keys() == {key}
        service.running.clear()
        await service.plane.code.collect()
        assert service.directories.keys() == set()
        assert service.archives.keys() == set()

    run(scenario)


def test_deleting_versions(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create(Publish=True)
        await service.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
        errors = [
            await service.refused("DeleteFunction", FunctionName="f", Qualifier=q) for q in ("$LATEST", "live", "1")
        ]
        await service.create("g", Publish=True)
        await service.call("DeleteFunction", FunctionName="g:1")
        gone = await service.refused("GetFunction", FunctionName="g", Qualifier="1")
        latest = await service.call("GetFunctionConfiguration", FunctionName="g")
        return errors, gone, latest

    errors, gone, latest = run(scenario)
    assert [error.message for error in errors] == [
        "$LATEST version cannot be deleted without deleting the function.",
        "Deletion of aliases is not currently supported.",
        "Unable to delete version because the following aliases reference it: [live]",
    ]
    assert [error.status for error in errors] == [400, 400, 409]
    assert gone.code == "ResourceNotFoundException"
    assert latest["State"] == "Active"


async def all_pages(service: Any, **members: Any) -> tuple[list[Any], int]:
    functions: list[Any] = []
    pages = 0
    marker: dict[str, Any] = {}
    while pages < 1000:
        page = await service.call("ListFunctions", **members, **marker)
        functions += page["Functions"]
        pages += 1
        if "NextMarker" not in page:
            return functions, pages
        marker = {"Marker": page["NextMarker"]}
    raise AssertionError("paging does not end")


def test_a_thousand_functions_are_created_quickly_and_listed_once_each(
    run: Run, create_members: dict[str, Any], zip_of: Callable[[str], bytes]
) -> None:
    names = [f"fn-{number:04d}" for number in range(1000)]

    async def create(service: Any) -> list[float]:
        for name in names:
            await service.call("CreateFunction", **{**create_members, "FunctionName": name})
        seconds = []
        for number in range(21):
            code = {"ZipFile": zip_of(f"# {number}" + "x" * 1000)}
            members = {**create_members, "FunctionName": names[number], "Code": code}
            await service.call("DeleteFunction", FunctionName=names[number])
            await service.plane.tasks.settled()
            started = time.perf_counter()
            await service.call("CreateFunction", **members)
            seconds.append(time.perf_counter() - started)
        return seconds

    async def read(service: Any) -> Any:
        await service.call("PublishVersion", FunctionName=names[60])
        return await all_pages(service), await all_pages(service, FunctionVersion="ALL", MaxItems=7)

    seconds = run(create)
    assert statistics.median(seconds) <= 0.05, "the budget is 20 ms on a quiet machine"
    (functions, pages), (versions, _) = run(read)
    assert [function["FunctionName"] for function in functions] == names
    assert pages == 20
    expected = [(name, "$LATEST") for name in names]
    expected.insert(61, (names[60], "1"))
    assert [(version["FunctionName"], version["Version"]) for version in versions] == expected
    assert versions[61]["FunctionArn"].endswith(":fn-0060:1")


NESTED = base64.urlsafe_b64encode(b"[" * 30_000).decode()
MARKERS = ("x", "é", "WzFd", "bnVsbA==", NESTED, base64.urlsafe_b64encode(b'["a","b"]').decode())


def test_listing_leaves_out_states_and_checks_markers(run: Run) -> None:
    async def scenario(service: Any) -> Any:
        await service.create("b")
        await service.create("a")
        page = await service.call("ListFunctions", MaxItems=1)
        elsewhere = await service.call("ListFunctions", MasterRegion="us-east-1", FunctionVersion="ALL")
        errors = [await service.refused("ListFunctions", Marker=marker) for marker in MARKERS]
        # A marker stays good when its function is deleted.
        await service.call("DeleteFunction", FunctionName="a")
        rest = await service.call("ListFunctions", Marker=page["NextMarker"])
        return page, elsewhere, errors, rest

    page, elsewhere, errors, rest = run(scenario)
    (function,) = page["Functions"]
    assert function["FunctionName"] == "a"
    absent = {"State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RuntimeVersionConfig"}
    assert not absent & function.keys()
    assert elsewhere == {"Functions": []}
    assert {error.code for error in errors} == {"InvalidParameterValueException"}
    assert [item["FunctionName"] for item in rest["Functions"]] == ["b"]
    assert "NextMarker" not in rest
