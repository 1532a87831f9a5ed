"""Functions with a capacity provider through boto3: configuration, versions, invocation, scaling."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import ROLE, client_of, until, zip_of
from tests.service.managed_support import (
    LATEST_PUBLISHED,
    PROVIDER_ARN,
    RUNTIME,
    Providers,
    create_managed,
    managed,
    publish,
    refusal,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

INVALID = "InvalidParameterValueException"
ARN = "arn:aws:lambda:us-east-1:000000000000:function"
TELLS = """
def handler(event, context):
    return [context.function_version, context.invoked_function_arn]
"""
NETWORK = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


@pytest.fixture
def provider(shared_service: RunningService) -> Iterator[str]:
    """The ARN of a capacity provider."""
    made = Providers(shared_service.client)
    yield made.create()
    made.delete_all()


@pytest.fixture
def functions(provider: str, shared_service: RunningService) -> Iterator[FunctionSet]:
    """Gone before the provider is."""
    del provider
    made = shared_service.functions()
    yield made
    made.delete_all()


def given(provider: str, **members: Any) -> dict[str, Any]:
    code = {"Code": {"ZipFile": zip_of({"app.py": TELLS})}}
    return {"Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE, **code, **managed(provider), **members}


def config_of(shown: Any) -> Any:
    return shown["CapacityProviderConfig"]["LambdaManagedInstancesCapacityProviderConfig"]


def test_what_a_provider_brings_with_it(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    made = client.create_function(FunctionName="brings", **given(provider))
    functions.names.append("brings")
    assert config_of(made) == {
        "CapacityProviderArn": provider,
        "PerExecutionEnvironmentMaxConcurrency": 16,
        "ExecutionEnvironmentMemoryGiBPerVCpu": 2.0,
    }
    assert (made["MemorySize"], made["State"]) == (2048, "Pending")
    assert made["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": "/aws/lambda/brings",
    }
    assert "SnapStart" not in made
    until(lambda: state_of(functions, "brings") == "ActiveNonInvocable", "it is made")
    shown = client.get_function(FunctionName="brings")["Configuration"]
    assert (shown["LastUpdateStatus"], config_of(shown)) == ("Successful", config_of(made))
    listed = [each for each in client.list_functions()["Functions"] if each["FunctionName"] == "brings"]
    assert [config_of(each) for each in listed] == [config_of(made)]


@pytest.mark.parametrize(
    ("members", "concurrency"),
    [
        ({"MemorySize": 8192}, 64),
        ({"Runtime": "nodejs22.x"}, 64),
        ({"Runtime": "nodejs24.x", "MemorySize": 4096}, 128),
        ({"Runtime": "provided.al2023", "MemorySize": 3000}, 8),
        ({"Runtime": "python3.14", "MemorySize": 32768}, 256),
        ({"Runtime": "nodejs22.x", "MemorySize": 32768}, 1024),
    ],
)
def test_invocations_at_once_by_default(
    functions: FunctionSet, provider: str, members: dict[str, Any], concurrency: int
) -> None:
    made = functions.client.create_function(FunctionName="default", **given(provider, **members))
    functions.names.append("default")
    assert config_of(made)["PerExecutionEnvironmentMaxConcurrency"] == concurrency


REFUSED = [
    ({"Runtime": "python3.12"}, "The runtime python3.12 cannot have a capacity provider"),
    ({"Runtime": "nodejs20.x"}, "The runtime nodejs20.x cannot have a capacity provider"),
    ({"Runtime": "provided.al2"}, "The runtime provided.al2 cannot have a capacity provider"),
    ({"LoggingConfig": {"LogFormat": "Text"}}, 'LogLevel is not supported when LogFormat is set to "Text". Remove Log'),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart is not supported for Lambda Managed Instances func"),
    ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "TenancyConfig is not supported for Lambda Managed Ins"),
    ({"VpcConfig": NETWORK}, "VpcConfig is not supported for Lambda Managed Instances functions."),
    (
        {"MemorySize": 2047},
        "'MemorySize' value failed to satisfy constraint: Member must have value greater than or equal",
    ),
    ({"Architectures": ["arm64"]}, "The architecture arm64 of the function is not that of the capacity provider"),
]


@pytest.mark.parametrize(("members", "message"), REFUSED)
def test_what_a_managed_function_cannot_have(
    functions: FunctionSet, provider: str, members: dict[str, Any], message: str
) -> None:
    client = functions.client
    code, text = refusal(client.create_function, FunctionName="refused", **given(provider, **members))
    assert (code, text[: len(message)]) == (INVALID, message)
    if "TenancyConfig" in members or "Architectures" in members:
        return
    name = create_managed(functions, provider, TELLS)
    code, text = refusal(client.update_function_configuration, FunctionName=name, **members)
    assert (code, text[: len(message)]) == (INVALID, message)
    assert client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"


def test_memory_is_that_of_a_vcpu_at_least(functions: FunctionSet, provider: str) -> None:
    four = managed(provider, ExecutionEnvironmentMemoryGiBPerVCpu=4.0)
    code, text = refusal(functions.client.create_function, FunctionName="small", **{**given(provider), **four})
    assert code == INVALID
    assert "raise MemorySize to 4096" in text
    name = create_managed(functions, provider, TELLS, MemorySize=4096, **four)
    shown = functions.client.get_function_configuration(FunctionName=name)
    assert config_of(shown)["PerExecutionEnvironmentMaxConcurrency"] == 16


def test_a_provider_that_is_not_there(functions: FunctionSet, provider: str) -> None:
    del provider
    missing = ("ResourceNotFoundException", f"Capacity provider not found: {PROVIDER_ARN}:none")
    create = functions.client.create_function
    assert refusal(create, FunctionName="missing", **given(f"{PROVIDER_ARN}:none")) == missing
    elsewhere = PROVIDER_ARN.replace("000000000000", "111122223333") + ":p"
    assert refusal(create, FunctionName="missing", **given(elsewhere))[0] == INVALID


def test_a_function_is_managed_from_the_beginning_or_never(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    ordinary = functions.create(TELLS, Runtime=RUNTIME)
    assert refusal(client.update_function_configuration, FunctionName=ordinary, **managed(provider)) == (
        INVALID,
        "CapacityProviderConfig isn't supported for Lambda Default functions.",
    )
    publish_to = {"PublishTo": "LATEST_PUBLISHED"}
    in_vain = "PublishTo LATEST_PUBLISHED is only supported for Lambda Managed Instances functions: leave it out."
    assert refusal(client.publish_version, FunctionName=ordinary, **publish_to) == (INVALID, in_vain)
    new = {"FunctionName": ordinary, "ZipFile": zip_of({"app.py": "0"})}
    assert refusal(client.update_function_code, **new, **publish_to) == (INVALID, in_vain)
    scaling = {"FunctionName": ordinary, "Qualifier": "1"}
    assert refusal(client.get_function_scaling_config, **scaling)[0] == INVALID
    code, text = refusal(functions.invoke, name=f"{ordinary}:{LATEST_PUBLISHED}")
    assert (code, text) == ("ResourceNotFoundException", f"Function not found: {ARN}:{ordinary}:{LATEST_PUBLISHED}")
    unchecked = client_of(functions.url, parameter_validation=False)
    # What would take it away does not exist in the model.
    code, text = refusal(unchecked.update_function_configuration, FunctionName=ordinary, CapacityProviderConfig={})
    unchecked.close()
    assert code == "ValidationException"
    assert "capacityProviderConfig.lambdaManagedInstancesCapacityProviderConfig" in text
    big = {"FunctionName": ordinary, "MemorySize": 10241}
    assert refusal(client.update_function_configuration, **big)[0] == INVALID


def test_a_change_of_the_provider_config(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    name = create_managed(functions, provider, TELLS, MemorySize=8192, Timeout=5400)
    wanted = managed(provider, PerExecutionEnvironmentMaxConcurrency=5, ExecutionEnvironmentMemoryGiBPerVCpu=8.0)
    answer = client.update_function_configuration(FunctionName=name, **wanted)
    assert answer["LastUpdateStatus"] == "InProgress"
    functions.wait_updated(name)
    shown = client.get_function_configuration(FunctionName=name)
    assert {"CapacityProviderConfig": shown["CapacityProviderConfig"]} == wanted
    assert (shown["State"], shown["Timeout"]) == ("ActiveNonInvocable", 5400)
    # What is absent stays.
    client.update_function_configuration(FunctionName=name, MemorySize=16384)
    functions.wait_updated(name)
    assert config_of(client.get_function_configuration(FunctionName=name))["PerExecutionEnvironmentMaxConcurrency"] == 5


def test_other_ways_to_have_concurrency(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    name = create_managed(functions, provider, TELLS)
    publish(functions, name, latest=False)
    words = "is not supported for Lambda Managed Instances functions."
    reserve = {"FunctionName": name, "ReservedConcurrentExecutions": 1}
    assert refusal(client.put_function_concurrency, **reserve) == (INVALID, f"ReservedConcurrentExecutions {words}")
    provision = {"FunctionName": name, "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}
    assert refusal(client.put_provisioned_concurrency_config, **provision) == (
        INVALID,
        f"Provisioned Concurrency {words}",
    )


def test_only_what_is_published_runs(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    name = create_managed(functions, provider, TELLS)
    unpublished = "NoPublishedVersionException"
    assert refusal(functions.invoke, name=name)[0] == unpublished
    assert refusal(functions.invoke, name=f"{name}:{LATEST_PUBLISHED}")[0] == unpublished
    assert refusal(client.invoke, FunctionName=name, InvocationType="Event")[0] == unpublished
    assert refusal(functions.invoke, name=f"{name}:$LATEST")[0] == INVALID
    publish(functions, name, latest=False)
    assert refusal(functions.invoke, name=name)[0] == unpublished
    publish(functions, name)
    client.create_alias(FunctionName=name, Name="one", FunctionVersion="1")
    client.create_alias(FunctionName=name, Name="published", FunctionVersion=LATEST_PUBLISHED)
    client.create_alias(FunctionName=name, Name="latest", FunctionVersion="$LATEST")
    for qualifier, version in (
        (None, LATEST_PUBLISHED),
        (LATEST_PUBLISHED, LATEST_PUBLISHED),
        ("published", LATEST_PUBLISHED),
        ("1", "1"),
        ("one", "1"),
    ):
        outcome = functions.invoke(name, **({"Qualifier": qualifier} if qualifier else {}))
        arn = f"{ARN}:{name}:{qualifier}" if qualifier else f"{ARN}:{name}"
        assert (outcome.version, outcome.value) == (version, [version, arn])
    for qualifier in ("$LATEST", "latest"):
        assert refusal(functions.invoke, name=name, Qualifier=qualifier)[0] == INVALID


def test_events_run_what_is_published(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    writes = f"""
def handler(event, context):
    open({str(tmp_path)!r} + "/" + event, "w").write(context.function_version)
"""
    name = create_managed(functions, provider, writes)
    publish(functions, name)
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"done"')
    assert answer["StatusCode"] == 202
    until(lambda: (tmp_path / "done").exists() and (tmp_path / "done").read_text() == LATEST_PUBLISHED, "it has run")


def test_the_environments_know_what_they_are(functions: FunctionSet, provider: str) -> None:
    source = """
import os
def handler(event, context):
    return [os.environ[f"AWS_LAMBDA_{name}"] for name in ("INITIALIZATION_TYPE", "FUNCTION_VERSION", "LOG_FORMAT")]
"""
    name = create_managed(functions, provider, source)
    publish(functions, name)
    assert functions.invoke(name).value == ["lambda-managed-instances", LATEST_PUBLISHED, "JSON"]


def test_publishing_again(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    name = create_managed(functions, provider, "def handler(event, context):\n    return 'first'\n")
    first = client.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED", Description="one")
    assert (first["Version"], first["State"], first["Description"]) == (LATEST_PUBLISHED, "Pending", "one")
    assert first["FunctionArn"] == f"{ARN}:{name}:{LATEST_PUBLISHED}"
    until(lambda: state_of(functions, name, LATEST_PUBLISHED) == "Active", "it becomes active")
    assert functions.invoke(name).value == "first"
    # Nothing has changed: it is what it was.
    again = client.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED")
    assert (again["State"], again["Description"]) == ("Active", "one")
    functions.update(name, "def handler(event, context):\n    return 'second'\n")
    assert functions.invoke(name).value == "first"
    publish(functions, name)
    assert functions.invoke(name).value == "second"
    assert client.publish_version(FunctionName=name)["Version"] == "1"


def test_publishing_with_the_code(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    made = client.create_function(FunctionName="at-once", Publish=True, PublishTo="LATEST_PUBLISHED", **given(provider))
    functions.names.append("at-once")
    assert (made["Version"], made["State"]) == (LATEST_PUBLISHED, "Pending")
    until(lambda: state_of(functions, "at-once", LATEST_PUBLISHED) == "Active", "it becomes active")
    assert functions.invoke("at-once").version == LATEST_PUBLISHED
    code = zip_of({"app.py": "def handler(event, context):\n    return 'new'\n"})
    new = client.update_function_code(FunctionName="at-once", ZipFile=code, Publish=True, PublishTo="LATEST_PUBLISHED")
    assert (new["Version"], new["State"]) == (LATEST_PUBLISHED, "Pending")
    until(lambda: state_of(functions, "at-once", LATEST_PUBLISHED) == "Active", "it becomes active again")
    assert functions.invoke("at-once").value == "new"
    functions.wait_updated("at-once")
    new = client.update_function_code(FunctionName="at-once", ZipFile=zip_of({"app.py": TELLS}), Publish=True)
    assert new["Version"] == "1"
    until(lambda: state_of(functions, "at-once", "1") == "Active", "it becomes active")


def test_versions_in_lists(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    name = create_managed(functions, provider, TELLS)
    publish(functions, name)
    publish(functions, name, latest=False)
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    assert [each["Version"] for page in pages for each in page["Versions"]] == ["$LATEST", "1", LATEST_PUBLISHED]
    pages = client.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 1})
    found = [each for page in pages for each in page["Functions"] if each["FunctionName"] == name]
    assert [each["Version"] for each in found] == ["$LATEST", "1", LATEST_PUBLISHED]
    assert found[2]["FunctionArn"] == f"{ARN}:{name}:{LATEST_PUBLISHED}"
    client.delete_function(FunctionName=name, Qualifier=LATEST_PUBLISHED)
    assert refusal(functions.invoke, name=name)[0] == "NoPublishedVersionException"
    publish(functions, name)
    assert functions.invoke(name).version == LATEST_PUBLISHED


def test_permissions_and_settings_of_the_published_version(functions: FunctionSet, provider: str) -> None:
    client = functions.client
    name = create_managed(functions, provider, TELLS)
    publish(functions, name)
    target = {"FunctionName": name, "Qualifier": LATEST_PUBLISHED}
    granted = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "111122223333"}
    client.add_permission(**target, **granted)
    policy = json.loads(client.get_policy(**target)["Policy"])
    assert policy["Statement"][0]["Resource"] == f"{ARN}:{name}:{LATEST_PUBLISHED}"
    client.put_function_event_invoke_config(**target, MaximumRetryAttempts=0)
    assert client.get_function_event_invoke_config(**target)["MaximumRetryAttempts"] == 0
    # They stay with what is published next.
    functions.update(name, f"{TELLS}# changed\n")
    publish(functions, name)
    assert json.loads(client.get_policy(**target)["Policy"]) == policy


class Scaling:
    """The scaling of one version."""

    def __init__(self, functions: FunctionSet, name: str, qualifier: str) -> None:
        self.client = functions.client
        self.target = {"FunctionName": name, "Qualifier": qualifier}

    def put(self, **bounds: int) -> Any:
        return self.client.put_function_scaling_config(**self.target, FunctionScalingConfig=self.members(bounds))

    @staticmethod
    def members(bounds: dict[str, int]) -> dict[str, int]:
        return {f"{name.capitalize()}ExecutionEnvironments": number for name, number in bounds.items()}

    def shows(self, requested: dict[str, int], applied: dict[str, int]) -> bool:
        found = self.client.get_function_scaling_config(**self.target)
        assert found["RequestedFunctionScalingConfig"] == self.members(requested)
        return bool(found["AppliedFunctionScalingConfig"] == self.members(applied))


def test_environments_are_kept_initialised(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    source = f"""
import os
open({str(tmp_path)!r} + f"/{{os.getpid()}}", "w").close()
def handler(event, context):
    return os.getpid()
"""
    name = create_managed(functions, provider, source, **managed(provider, PerExecutionEnvironmentMaxConcurrency=1))
    publish(functions, name)
    scaling = Scaling(functions, name, LATEST_PUBLISHED)
    assert scaling.shows({"min": 0}, {"min": 0})
    assert not list(tmp_path.iterdir())
    answer = scaling.put(min=2, max=3)
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["FunctionState"]) == (202, "Active")
    both = {"min": 2, "max": 3}
    until(lambda: scaling.shows(both, both), "two are initialised")
    begun = {int(each.name) for each in tmp_path.iterdir()}
    assert len(begun) >= 2
    assert functions.invoke(name).value in begun
    # Nobody keeps what is not asked for; a minimum that is left out is the default one.
    scaling.put(max=1)
    assert scaling.shows({"min": 0, "max": 1}, {"min": 0, "max": 1})


def test_a_deactivated_version(functions: FunctionSet, provider: str) -> None:
    name = create_managed(functions, provider, TELLS)
    publish(functions, name)
    publish(functions, name, latest=False)
    assert functions.invoke(name).version == LATEST_PUBLISHED
    scaling = Scaling(functions, name, LATEST_PUBLISHED)
    assert scaling.put(min=0, max=0)["FunctionState"] == "Deactivated"
    assert state_of(functions, name, LATEST_PUBLISHED) == "Deactivated"
    assert refusal(functions.invoke, name=name)[0] == "ResourceConflictException"
    assert functions.invoke(name, Qualifier="1").version == "1"
    # What is published next is what its scaling says.
    functions.update(name, f"{TELLS}# changed\n")
    publish(functions, name, state="Deactivated")
    assert scaling.put(min=1, max=1)["FunctionState"] == "Active"
    assert functions.invoke(name).version == LATEST_PUBLISHED
    # A number has its own.
    functions.update(name, f"{TELLS}# changed again\n")
    Scaling(functions, name, "1").put(max=0)
    assert state_of(functions, name, "1") == "Deactivated"
    publish(functions, name, latest=False)
    assert state_of(functions, name, "2") == "Active"


def test_scalings_that_are_refused(functions: FunctionSet, provider: str) -> None:
    name = create_managed(functions, provider, TELLS)
    publish(functions, name, latest=False)
    one, none = Scaling(functions, name, "1"), Scaling(functions, name, "2")
    for bounds in ({"min": 0, "max": 1}, {"min": 0}, {"min": 2, "max": 1}, {"min": 15001, "max": 15001}):
        code, _ = refusal(one.put, **bounds)
        assert code in (INVALID, "ParamValidationError", "ValidationException")
    assert one.shows({"min": 0}, {"min": 0})
    missing = ("ResourceNotFoundException", f"Function not found: {ARN}:{name}:2")
    assert refusal(none.put, min=1, max=1) == missing
    assert refusal(functions.client.get_function_scaling_config, **none.target) == missing
