"""Capacity providers through boto3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import Key, clients_of, not_allowed, refused, statement, write_keys
from tests.service.harness import ROLE, client_of, until, zip_of
from tests.service.managed_support import (
    GIVEN,
    PROVIDER_ARN,
    RUNTIME,
    Providers,
    create_managed,
    managed,
    publish,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

INVALID = "InvalidParameterValueException"
CONFLICT = "ResourceConflictException"
GONE = "ResourceNotFoundException"
ANY = "def handler(event, context):\n    return 1\n"
TAGS_IN_VAIN = "ExplicitTags go with PropagateTags.Mode Explicit only: it is None."


@pytest.fixture
def providers(shared_service: RunningService) -> Iterator[Providers]:
    made = Providers(shared_service.client)
    yield made
    made.delete_all()


def test_a_provider_from_its_creation_to_its_end(providers: Providers) -> None:
    client = providers.client
    members = {
        **GIVEN,
        "InstanceRequirements": {"Architectures": ["arm64"], "AllowedInstanceTypes": ["m8g.xlarge"]},
        "KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1",
        "PropagateTags": {"Mode": "Explicit", "ExplicitTags": {"team": "blue"}},
        "TelemetryConfig": {"LoggingConfig": {"SystemLogLevel": "WARN", "LogGroup": "providers"}},
        "Tags": {"stage": "test"},
    }
    answer = client.create_capacity_provider(CapacityProviderName="whole", **members)
    providers.names.append("whole")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    made = answer["CapacityProvider"]
    del members["Tags"]
    assert made == {
        "CapacityProviderArn": f"{PROVIDER_ARN}:whole",
        "State": "Pending",
        "LastModified": made["LastModified"],
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 400, "ScalingMode": "Auto"},
        **members,
    }
    until(lambda: providers.state("whole") == "Active", "it becomes active")
    assert providers.get(f"{PROVIDER_ARN}:whole") == {**made, "State": "Active"}

    policy = {"PredefinedMetricType": "LambdaCapacityProviderAverageCPUUtilization", "TargetValue": 30.0}
    manual = {"ScalingMode": "Manual", "ScalingPolicies": [policy]}
    answer = client.update_capacity_provider(CapacityProviderName="whole", CapacityProviderScalingConfig=manual)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    changed = answer["CapacityProvider"]
    assert changed == {
        **made,
        "State": "Active",
        "LastModified": changed["LastModified"],
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 400, **manual},
    }
    changed = client.update_capacity_provider(
        CapacityProviderName="whole", CapacityProviderScalingConfig={"ScalingMode": "Auto", "MaxVCpuCount": 8}
    )["CapacityProvider"]
    assert changed["CapacityProviderScalingConfig"] == {"MaxVCpuCount": 8, "ScalingMode": "Auto"}

    answer = client.delete_capacity_provider(CapacityProviderName="whole")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["CapacityProvider"] == {**changed, "State": "Deleting"}
    until(lambda: not client.list_capacity_providers(State="Deleting")["CapacityProviders"], "it is gone")
    missing = (GONE, f"Capacity provider not found: {PROVIDER_ARN}:whole")
    for call in (client.get_capacity_provider, client.delete_capacity_provider):
        assert refusal(call, CapacityProviderName="whole") == missing
    assert refusal(client.list_function_versions_by_capacity_provider, CapacityProviderName="whole") == missing
    providers.create("whole")


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"CapacityProviderName": "taken"}, CONFLICT, "Capacity provider already exist: taken"),
        (
            {"CapacityProviderName": "n" * 65},
            "ValidationException",
            (
                f"1 validation error detected: Value '{'n' * 65}' at 'capacityProviderName' failed to satisfy "
                "constraint: Member must have length less than or equal to 64"
            ),
        ),
        (
            {"CapacityProviderName": PROVIDER_ARN.replace("us-east-1", "us-east-2") + ":n"},
            INVALID,
            (
                f"The capacity provider {PROVIDER_ARN.replace('us-east-1', 'us-east-2')}:n is not in the account "
                "000000000000 and the region us-east-1: use one that is."
            ),
        ),
        (
            {"InstanceRequirements": {"AllowedInstanceTypes": ["m7a.*"], "ExcludedInstanceTypes": ["m5.*"]}},
            INVALID,
            "Specify only one of AllowedInstanceTypes or ExcludedInstanceTypes.",
        ),
        ({"PropagateTags": {"Mode": "None", "ExplicitTags": {"a": "b"}}}, INVALID, TAGS_IN_VAIN),
        (
            {"Tags": {"aws:a": "b"}},
            INVALID,
            "aws: prefixed tag key names are not allowed for external use.",
        ),
    ],
)
def test_creations_that_are_refused(providers: Providers, members: dict[str, Any], code: str, message: str) -> None:
    providers.create("taken")
    given = {"CapacityProviderName": "new", **GIVEN, **members}
    assert refusal(providers.client.create_capacity_provider, **given) == (code, message)


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"CapacityProviderName": "a b"}, "capacityProviderName"),
        ({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}, "vpcConfig.subnetIds"),
        ({"VpcConfig": {"SubnetIds": ["net"], "SecurityGroupIds": []}}, "vpcConfig.subnetIds"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] * 6}}, "vpcConfig.securityGroupIds"),
        ({"PermissionsConfig": {"CapacityProviderOperatorRoleArn": "me"}}, "permissionsConfig"),
        ({"InstanceRequirements": {"Architectures": ["x86_64", "arm64"]}}, "instanceRequirements.architectures"),
        ({"CapacityProviderScalingConfig": {"MaxVCpuCount": 1}}, "capacityProviderScalingConfig.maxVCpuCount"),
        ({"CapacityProviderScalingConfig": {"MaxVCpuCount": 15001}}, "capacityProviderScalingConfig.maxVCpuCount"),
        ({"CapacityProviderScalingConfig": {"ScalingMode": "Fast"}}, "capacityProviderScalingConfig.scalingMode"),
        ({"KmsKeyArn": "key"}, "kmsKeyArn"),
    ],
)
def test_constraints_of_the_model(start_client: Any, members: dict[str, Any], member: str) -> None:
    given = {"CapacityProviderName": "new", **GIVEN, **members}
    code, message = refusal(start_client.create_capacity_provider, **given)
    assert code == "ValidationException"
    assert f"at '{member}" in message


@pytest.fixture
def start_client(shared_service: RunningService) -> Any:
    """A client that leaves all checks to the service."""
    client = client_of(shared_service.url, parameter_validation=False)
    yield client
    client.close()


def test_an_update_says_what_to_change(providers: Providers) -> None:
    providers.create("same")
    update = providers.client.update_capacity_provider
    assert refusal(update, CapacityProviderName="same") == (
        INVALID,
        "Give CapacityProviderScalingConfig, PropagateTags or TelemetryConfig to update.",
    )
    vain = {"Mode": "None", "ExplicitTags": {"a": "b"}}
    assert refusal(update, CapacityProviderName="same", PropagateTags=vain) == (INVALID, TAGS_IN_VAIN)


def test_pages_of_providers(providers: Providers) -> None:
    names = [f"page-{number}" for number in range(5)]
    for name in reversed(names):
        providers.create(name)
    pages = list(providers.client.get_paginator("list_capacity_providers").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["CapacityProviders"]) for page in pages] == [2, 2, 1]
    found = [each["CapacityProviderArn"] for page in pages for each in page["CapacityProviders"]]
    assert found == [f"{PROVIDER_ARN}:{name}" for name in names]
    assert providers.client.list_capacity_providers(State="Failed")["CapacityProviders"] == []
    assert refusal(providers.client.list_capacity_providers, Marker="?")[0] == INVALID


def test_tags(providers: Providers) -> None:
    client, arn = providers.client, providers.create(Tags={"a": "1"})
    client.tag_resource(Resource=arn, Tags={"b": "2", "a": "3"})
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "3", "b": "2"}
    client.untag_resource(Resource=arn, TagKeys=["a", "c"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    many = {f"key-{number}": "" for number in range(50)}
    assert refusal(client.tag_resource, Resource=arn, Tags=many)[0] == INVALID
    assert refusal(client.list_tags, Resource=f"{PROVIDER_ARN}:none")[0] == GONE


def test_a_provider_that_is_used_stays(providers: Providers, functions: FunctionSet) -> None:
    client, arn = providers.client, providers.create()
    name = arn.rpartition(":")[2]
    managed_name = create_managed(functions, arn, ANY)
    functions.create(ANY, name="ordinary")
    publish(functions, managed_name)
    publish(functions, managed_name, latest=False)
    found = client.list_function_versions_by_capacity_provider(CapacityProviderName=name)
    assert found["CapacityProviderArn"] == arn
    own = f"arn:aws:lambda:us-east-1:000000000000:function:{managed_name}"
    assert found["FunctionVersions"] == [
        {"FunctionArn": f"{own}:$LATEST", "State": "ActiveNonInvocable"},
        {"FunctionArn": f"{own}:1", "State": "Active"},
        {"FunctionArn": f"{own}:$LATEST.PUBLISHED", "State": "Active"},
    ]
    paged = client.get_paginator("list_function_versions_by_capacity_provider").paginate(
        CapacityProviderName=name, PaginationConfig={"PageSize": 1}
    )
    assert [each for page in paged for each in page["FunctionVersions"]] == found["FunctionVersions"]
    code, message = refusal(client.delete_capacity_provider, CapacityProviderName=name)
    assert code == CONFLICT
    assert arn in message
    client.delete_function(FunctionName=managed_name)
    client.delete_capacity_provider(CapacityProviderName=name)


def test_another_provider_is_let_go(providers: Providers, functions: FunctionSet) -> None:
    """What holds a provider is what versions say, not what they said once."""
    first, second = providers.create(), providers.create()
    name = create_managed(functions, first, ANY)
    functions.client.update_function_configuration(FunctionName=name, **managed(second))
    functions.wait_updated(name)
    providers.client.delete_capacity_provider(CapacityProviderName=first)
    code, _ = refusal(providers.client.delete_capacity_provider, CapacityProviderName=second)
    assert code == CONFLICT


def test_a_limit_of_versions(providers: Providers, functions: FunctionSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.functions.capacity_providers.MAX_VERSIONS", 2)
    client = functions.client
    name = create_managed(functions, providers.create(), ANY)
    publish(functions, name)
    publish(functions, name, latest=False)
    functions.update(name, f"{ANY}# changed\n")
    exceeded = "FunctionVersionsPerCapacityProviderLimitExceededException"
    assert refusal(client.publish_version, FunctionName=name)[0] == exceeded
    # It takes the place of the one there is.
    publish(functions, name)


def test_a_limit_of_versions_that_are_published_at_once(
    providers: Providers, functions: FunctionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("venturekit.service.functions.capacity_providers.MAX_VERSIONS", 2)
    arn = providers.create()
    names = [create_managed(functions, arn, ANY) for _ in range(6)]

    def published(name: str) -> bool:
        try:
            return bool(functions.client.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED"))
        except functions.client.exceptions.FunctionVersionsPerCapacityProviderLimitExceededException:
            return False

    with ThreadPoolExecutor(len(names)) as pool:
        assert sum(pool.map(published, names)) == 2
    found = functions.client.list_function_versions_by_capacity_provider(CapacityProviderName=arn)["FunctionVersions"]
    assert sum(each["FunctionArn"].endswith("$LATEST.PUBLISHED") for each in found) == 2


def test_a_limit_of_providers(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.functions.capacity_providers.MAX_PROVIDERS", 1)
    providers.create()
    given = {"CapacityProviderName": "more", **GIVEN}
    assert refusal(providers.client.create_capacity_provider, **given)[0] == "CapacityProviderLimitExceededException"


def test_a_limit_of_providers_that_are_made_at_once(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.functions.capacity_providers.MAX_PROVIDERS", 2)

    def made(number: int) -> bool:
        try:
            return bool(providers.create(f"at-once-{number}", wait=False))
        except providers.client.exceptions.CapacityProviderLimitExceededException:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(made, range(6))) == 2
    until(lambda: {providers.state(name) for name in providers.names} == {"Active"}, "both become active")


def test_accounts_have_their_own(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    Providers(running.client).create("mine")
    other = client_of(running.url, signed=("111122223333", "any"))
    assert other.list_capacity_providers()["CapacityProviders"] == []
    arn = Providers(other).create("mine")
    assert arn == f"{PROVIDER_ARN}:mine".replace("000000000000", "111122223333")
    code, _ = refusal(running.client.get_capacity_provider, CapacityProviderName=arn)
    assert code == INVALID
    other.close()


def test_everything_is_there_after_a_restart(start_service: Callable[..., RunningService]) -> None:
    first = start_service()
    providers = Providers(first.client)
    arn = providers.create("kept", Tags={"a": "b"})
    providers.create("deleted")
    first.client.delete_capacity_provider(CapacityProviderName="deleted")
    functions = first.functions()
    name = create_managed(functions, arn, ANY)
    publish(functions, name)
    scaling = {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2}
    target = {"FunctionName": name, "Qualifier": "$LATEST.PUBLISHED"}
    first.client.put_function_scaling_config(**target, FunctionScalingConfig=scaling)
    before = providers.get("kept")
    shown = first.client.get_function_configuration(**target)
    first.close()
    second = start_service(data_dir=first.data_dir)
    assert second.client.list_capacity_providers()["CapacityProviders"] == [before]
    assert second.client.list_tags(Resource=arn)["Tags"] == {"a": "b"}
    after = second.client.get_function_configuration(**target)
    assert {**after, "ResponseMetadata": 0} == {**shown, "ResponseMetadata": 0}

    def applied() -> Any:
        found = second.client.get_function_scaling_config(**target)
        assert found["RequestedFunctionScalingConfig"] == scaling
        return found["AppliedFunctionScalingConfig"] == scaling

    until(applied, "an environment is initialised")
    assert refusal(second.client.delete_capacity_provider, CapacityProviderName="kept")[0] == CONFLICT


def test_who_may_give_a_function_a_provider(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    """It takes lambda:PassCapacityProvider beside the operation itself."""
    whole = Key("whole", (statement("lambda:*"),))
    bare = Key("bare", (statement("lambda:CreateFunction"), statement("lambda:UpdateFunctionConfiguration")))
    arn = f"{PROVIDER_ARN}:guarded"
    passing = Key("passing", (*bare.statements, statement("lambda:PassCapacityProvider", arn)))
    write_keys(tmp_path / "keys.json", (whole, bare, passing))
    running = start_service(credentials=tmp_path / "keys.json")
    with clients_of(running.url) as client_for:
        providers = Providers(client_for(whole))
        assert providers.create("guarded") == arn
        code = {"Code": {"ZipFile": zip_of({"app.py": ANY})}, "Handler": "app.handler", "Role": ROLE}
        function = {"FunctionName": "f", "Runtime": RUNTIME, **code, **managed(arn)}
        assert refused(client_for(bare).create_function, **function) == not_allowed(bare, "PassCapacityProvider", arn)
        other = refused(client_for(passing).create_function, **{**function, **managed(f"{PROVIDER_ARN}:other")})
        assert other == not_allowed(passing, "PassCapacityProvider", f"{PROVIDER_ARN}:other")
        assert client_for(passing).create_function(**function)["State"] == "Pending"
