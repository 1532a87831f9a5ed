"""The bounds on the environments of a version, and which version of a managed function runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.functions.managed_instances import invoked_version, resting_state
from venturekit.service.functions.records import LATEST, LATEST_PUBLISHED, FunctionVersion
from venturekit.service.functions.registry import Function
from venturekit.service.functions.scaling import (
    ScalingBounds,
    applied_to,
    bounds_of,
    kept_initialised,
    requested,
    setting_of,
)
from venturekit.service.functions.settings import SCALING, with_qualified_setting, without_qualifier

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
CONFIG = {"CapacityProviderArn": "a", "PerExecutionEnvironmentMaxConcurrency": 7}
MANAGED = {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": CONFIG}}
COUNTS = st.none() | st.integers(0, 20)


def version(number: str, *, managed: bool = True) -> FunctionVersion:
    return FunctionVersion(name="f", function_arn=ARN, version=number, extras=MANAGED if managed else {})


def function(*numbers: str, managed: bool = True) -> Function:
    return Function(name="f", versions={each: version(each, managed=managed) for each in (LATEST, *numbers)})


def members(minimum: int | None, maximum: int | None) -> dict[str, Any]:
    return {"MinExecutionEnvironments": minimum, "MaxExecutionEnvironments": maximum}


def put(of: Function, number: str, minimum: int | None, maximum: int | None, allocated: int = 0) -> Function:
    setting = setting_of(requested(members(minimum, maximum), "token"), applied_to(of, number, allocated))
    return with_qualified_setting(of, SCALING, number, setting)


@settings(deadline=None, max_examples=150)
@given(minimum=COUNTS, maximum=COUNTS)
def test_what_can_be_requested(minimum: int | None, maximum: int | None) -> None:
    allowed = (
        minimum is None or (minimum == 0 and maximum == 0) or (minimum > 0 and (maximum is None or minimum <= maximum))
    )
    if not allowed:
        with pytest.raises(ApiError) as caught:
            requested(members(minimum, maximum), "t")
        assert caught.value.code == "InvalidParameterValueException"
        return
    bounds = requested(members(minimum, maximum), "t")
    assert bounds == ScalingBounds(minimum or 0, maximum, "t")
    assert bounds.deactivated == (maximum == 0)
    kept = with_qualified_setting(function("1"), SCALING, "1", setting_of(bounds, ScalingBounds()))
    assert bounds_of(kept, "1") == bounds


def test_what_is_in_force_until_the_environments_are_there() -> None:
    first = put(function("1"), "1", 2, 4)
    assert applied_to(first, "1", 1) == ScalingBounds()
    assert applied_to(first, "1", 2) == ScalingBounds(2, 4, "token")
    second = put(first, "1", 3, 3, allocated=2)
    assert applied_to(second, "1", 2).shown() == {"MinExecutionEnvironments": 2, "MaxExecutionEnvironments": 4}
    assert applied_to(second, "1", 3).shown() == {"MinExecutionEnvironments": 3, "MaxExecutionEnvironments": 3}


def test_of_which_versions_environments_are_kept() -> None:
    scaled = put(put(put(function("1", "2", LATEST_PUBLISHED), "1", 0, 0), "2", 2, None), LATEST_PUBLISHED, 1, 9)
    assert kept_initialised(scaled) == {
        "2": ScalingBounds(2, None, "token"),
        LATEST_PUBLISHED: ScalingBounds(1, 9, "token"),
    }
    assert kept_initialised(without_qualifier(scaled.without_version("2"), "2")).keys() == {LATEST_PUBLISHED}


def test_states_to_rest_in() -> None:
    scaled = put(function("1", LATEST_PUBLISHED), "1", 0, 0)
    states = {number: resting_state(scaled, each) for number, each in scaled.versions.items()}
    assert states == {LATEST: "ActiveNonInvocable", "1": "Deactivated", LATEST_PUBLISHED: "Active"}
    assert resting_state(function(managed=False), version(LATEST, managed=False)) == "Active"


def test_what_runs() -> None:
    published = function("1", LATEST_PUBLISHED)
    for qualifier, number, runs in (
        (None, LATEST, LATEST_PUBLISHED),
        (LATEST_PUBLISHED, LATEST_PUBLISHED, LATEST_PUBLISHED),
        ("alias", "1", "1"),
        ("2", "2", None),
    ):
        found = invoked_version(published, qualifier, number)
        assert (None if found is None else found.version) == runs
    for of, qualifier, code in (
        (published, LATEST, "InvalidParameterValueException"),
        (published, "alias", "InvalidParameterValueException"),
        (function("1"), None, "NoPublishedVersionException"),
    ):
        with pytest.raises(ApiError) as caught:
            invoked_version(of, qualifier, LATEST)
        assert caught.value.code == code
    assert invoked_version(function(managed=False), None, LATEST) == version(LATEST, managed=False)
    assert invoked_version(function(managed=False), None, LATEST_PUBLISHED) is None


def test_the_order_of_versions() -> None:
    shuffled = function(LATEST_PUBLISHED, "10", "9")
    assert [each.version for each in shuffled.in_order()] == [LATEST, "9", "10", LATEST_PUBLISHED]
    # It is no number: the next one is not counted from it.
    assert function("3").with_versions(version(LATEST_PUBLISHED)).last_version == 0
    assert function().with_versions(version("3"), version(LATEST_PUBLISHED)).last_version == 3


def test_what_a_version_knows() -> None:
    managed = version("1")
    assert (managed.is_managed, managed.max_concurrency, managed.capacity_provider_arn) == (True, 7, "a")
    ordinary = replace(managed, extras={})
    assert (ordinary.is_managed, ordinary.max_concurrency, ordinary.capacity_provider_arn) == (False, 0, "")
