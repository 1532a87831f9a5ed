"""What tests of capacity providers and managed functions share."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.service.harness import FunctionSet

ACCOUNT = "000000000000"
PROVIDER_ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:capacity-provider"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/operator"
GIVEN = {
    "VpcConfig": {"SubnetIds": ["subnet-1a"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}
LATEST_PUBLISHED = "$LATEST.PUBLISHED"
RUNTIME = "python3.13"
_NUMBERS = itertools.count(1)


class Providers:
    """Capacity providers of one test, gone after it: the functions that have them are to be deleted before."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.names: list[str] = []

    def create(self, name: str | None = None, *, wait: bool = True, **members: Any) -> str:
        """The ARN of a new provider."""
        name = name or f"provider-{next(_NUMBERS)}"
        made = self.client.create_capacity_provider(CapacityProviderName=name, **{**GIVEN, **members})
        self.names.append(name)
        if wait:
            until(lambda: self.state(name) == "Active", f"{name} becomes active")
        return str(made["CapacityProvider"]["CapacityProviderArn"])

    def get(self, name: str) -> Any:
        return self.client.get_capacity_provider(CapacityProviderName=name)["CapacityProvider"]

    def state(self, name: str) -> str:
        return str(self.get(name)["State"])

    def exists(self, name: str) -> bool:
        try:
            return bool(self.state(name))
        except self.client.exceptions.ResourceNotFoundException:
            return False

    def delete_all(self) -> None:
        for name in self.names:
            with suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.delete_capacity_provider(CapacityProviderName=name)
            until(lambda name=name: not self.exists(name), f"{name} is gone")


def managed(arn: str, **members: Any) -> dict[str, Any]:
    """The members of a function that make it a managed one."""
    config = {"CapacityProviderArn": arn, **members}
    return {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": config}}


def create_managed(functions: FunctionSet, arn: str, source: str | None, **members: Any) -> str:
    """A managed function, of which nothing is published yet."""
    name = functions.create(source, wait=False, **{"Runtime": RUNTIME, "Timeout": 20, **managed(arn), **members})
    until(lambda: state_of(functions, name) == "ActiveNonInvocable", f"{name} is made")
    return name


def state_of(functions: FunctionSet, name: str, qualifier: str = "$LATEST") -> str:
    return str(functions.client.get_function_configuration(FunctionName=name, Qualifier=qualifier)["State"])


def publish(functions: FunctionSet, name: str, *, latest: bool = True, state: str = "Active", **members: Any) -> str:
    """Publish to ``$LATEST.PUBLISHED``, or a number, and wait for its state."""
    target = {"PublishTo": "LATEST_PUBLISHED"} if latest else {}
    version = str(functions.client.publish_version(FunctionName=name, **target, **members)["Version"])
    until(lambda: state_of(functions, name, version) == state, f"{name}:{version} becomes {state}")
    return version


def refusal(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    """Code and message of the error that a call is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    error: Mapping[str, str] = caught.value.response["Error"]
    return error["Code"], error["Message"]


class Managed:
    """A managed function that is ready, and how it is called."""

    def __init__(self, functions: FunctionSet, provider: str, source: str | None, most: int, **members: Any) -> None:
        self.functions = functions
        given = {**managed(provider, PerExecutionEnvironmentMaxConcurrency=most), **members}
        self.name = create_managed(functions, provider, source, **given)
        publish(functions, self.name)
        self._pool = ThreadPoolExecutor(32)

    def begin(self, **event: Any) -> Callable[[], Any]:
        """Call the function; what comes back gives its outcome."""
        future = self._pool.submit(self.functions.invoke, self.name, event, Qualifier=LATEST_PUBLISHED)
        return lambda: future.result(60)

    def __call__(self, **event: Any) -> Any:
        return self.begin(**event)()

    def all(self, calls: int, **event: Any) -> list[Any]:
        """So many calls at once, and their outcomes."""
        begun = [self.begin(**event) for _ in range(calls)]
        return [outcome() for outcome in begun]
