"""What is wanted of which version: aliases, weights and versions that change under configurations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from venturekit.service.functions.provisioned import (
    FAILED,
    IN_PROGRESS,
    READY,
    UNPUBLISHED,
    ProvisionState,
    Wanted,
    allocation,
    divide,
    shares,
    standing,
)
from venturekit.service.functions.records import LATEST, Alias, FunctionVersion
from venturekit.service.functions.registry import Function
from venturekit.service.functions.settings import (
    PROVISIONED,
    qualified_settings,
    with_qualified_setting,
    without_qualifier,
)

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"


def version(number: str) -> FunctionVersion:
    return FunctionVersion(name="f", function_arn=ARN, version=number)


def function(*numbers: str) -> Function:
    return Function(name="f", versions={number: version(number) for number in (LATEST, *numbers)})


def alias(name: str, main: str, additional: str | None = None, weight: float = 0.0) -> Alias:
    return Alias(
        function_arn=ARN, name=name, function_version=main, additional_version=additional, additional_weight=weight
    )


def configured(of: Function, qualifier: str, executions: int, at: float = 0.0) -> Function:
    config = {"Requested": executions, "LastModified": at, "Token": f"{qualifier}@{at}"}
    return with_qualified_setting(of, PROVISIONED, qualifier, config)


@pytest.mark.parametrize(
    ("executions", "weight", "divided"),
    [
        (10, 0.0, (10, 0)),
        (10, 1.0, (0, 10)),
        (10, 0.3, (7, 3)),
        (4, 0.25, (3, 1)),
        (1, 0.5, (0, 1)),
        (1, 0.49, (1, 0)),
        (3, 0.5, (1, 2)),
    ],
)
def test_an_alias_divides_by_its_weights(executions: int, weight: float, divided: tuple[int, int]) -> None:
    assert divide(executions, weight) == divided


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 10_000), st.floats(0.0, 1.0))
def test_nothing_is_lost_by_dividing(executions: int, weight: float) -> None:
    main, additional = divide(executions, weight)
    assert main + additional == executions
    assert min(main, additional) >= 0
    assert abs(additional - executions * weight) <= 0.5 + 1e-9


def test_configurations_of_one_version_add_up() -> None:
    both = function("1").with_alias(alias("a", "1")).with_alias(alias("b", "1"))
    both = configured(configured(both, "b", 2, at=1.0), "a", 3, at=2.0)
    assert allocation(both) == {"1": Wanted(5, "b@1.0 a@2.0")}


def test_what_there_is_counts_for_the_first_configuration_first() -> None:
    both = function("1").with_alias(alias("a", "1")).with_alias(alias("b", "1"))
    both = configured(configured(both, "b", 2, at=1.0), "a", 3, at=2.0)

    def state_of(_: str) -> ProvisionState:
        return ProvisionState(allocated=3, available=2)

    first, second = (standing(both, qualifier, state_of) for qualifier in "ba")
    assert (first.status, first.allocated, first.available) == (READY, 2, 2)
    assert (second.status, second.allocated, second.available) == (IN_PROGRESS, 1, 0)


def test_a_failure_is_shown_where_something_is_missing() -> None:
    split = configured(function("1", "2").with_alias(alias("a", "1", "2", 0.5)), "a", 4)

    def state_of(number: str) -> ProvisionState:
        return ProvisionState(2, 2) if number == "1" else ProvisionState(failure="why")

    found = standing(split, "a", state_of)
    assert (found.status, found.allocated, found.failure) == (FAILED, 2, "why")


def test_an_alias_on_latest_has_nothing() -> None:
    moved = configured(function("1").with_alias(alias("a", LATEST)), "a", 4)
    assert allocation(moved) == {}
    found = standing(moved, "a", lambda _: ProvisionState(9, 9))
    assert (found.status, found.allocated, found.failure) == (FAILED, 0, UNPUBLISHED)


class Machine(RuleBasedStateMachine):
    """Versions come and go, aliases move and get weights, configurations are put and deleted, in any order."""

    NUMBERS = ("1", "2", "3")
    NAMES = ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.function = function("1")
        self.clock = 0.0

    @rule(number=st.sampled_from(NUMBERS))
    def publish(self, number: str) -> None:
        self.function = self.function.with_versions(version(number))

    @rule(number=st.sampled_from(NUMBERS))
    def delete_version(self, number: str) -> None:
        if not any(number in each.versions() for each in self.function.aliases.values()):
            self.function = without_qualifier(self.function.without_version(number), number)

    @rule(name=st.sampled_from(NAMES), data=st.data(), weight=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    def point(self, name: str, data: st.DataObject, weight: float) -> None:
        main = data.draw(st.sampled_from(sorted(self.function.versions)))
        others = sorted({*self.function.versions} - {main, LATEST})
        additional = data.draw(st.sampled_from([None, *others])) if main != LATEST else None
        self.function = self.function.with_alias(alias(name, main, additional, weight if additional else 0.0))

    @rule(name=st.sampled_from(NAMES))
    def delete_alias(self, name: str) -> None:
        self.function = without_qualifier(self.function.without_alias(name), name)

    @rule(data=st.data(), executions=st.integers(1, 9))
    def put(self, data: st.DataObject, executions: int) -> None:
        targets = sorted({*self.function.versions, *self.function.aliases} - {LATEST})
        if targets:
            self.clock += 1.0
            self.function = configured(self.function, data.draw(st.sampled_from(targets)), executions, self.clock)

    @rule(qualifier=st.sampled_from([*NUMBERS, *NAMES]))
    def delete_config(self, qualifier: str) -> None:
        self.function = with_qualified_setting(self.function, PROVISIONED, qualifier, None)

    def _configs(self) -> dict[str, Any]:
        return dict(qualified_settings(self.function, PROVISIONED))

    @invariant()
    def nothing_is_invented_or_lost(self) -> None:
        wanted = allocation(self.function)
        assert all(each.executions > 0 for each in wanted.values())
        assert wanted.keys() <= self.function.versions.keys() - {LATEST}
        on_latest = {each.name for each in self.function.aliases.values() if each.function_version == LATEST}
        requested = sum(
            config["Requested"] for qualifier, config in self._configs().items() if qualifier not in on_latest
        )
        assert sum(each.executions for each in wanted.values()) == requested

    @invariant()
    def what_is_shown_adds_up(self) -> None:
        wanted = allocation(self.function)
        states = {
            number: ProvisionState(each.executions - int(number) % 2, max(each.executions - 2, 0))
            for number, each in wanted.items()
        }
        found = {qualifier: standing(self.function, qualifier, states.__getitem__) for qualifier in self._configs()}
        assert sum(each.allocated for each in found.values()) == sum(each.allocated for each in states.values())
        assert all(each.available <= each.allocated <= each.requested for each in found.values())
        full = {
            qualifier: standing(
                self.function, qualifier, lambda number: ProvisionState(wanted[number].executions, 0)
            ).status
            for qualifier in {share.qualifier for share in shares(self.function)}
        }
        assert set(full.values()) <= {READY}

    @invariant()
    def only_what_changed_is_tried_again(self) -> None:
        untouched = replace(self.function, settings={**self.function.settings, "tags": {"a": "b"}})
        assert allocation(untouched) == allocation(self.function)


Machine.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=25)
TestMachine = Machine.TestCase
