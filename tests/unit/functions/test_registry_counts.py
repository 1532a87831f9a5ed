"""What the registry keeps up to date with every change instead of walking over all functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.functions.code_directories import CodeDirectories
from venturekit.service.functions.code_storage import AnyOf, CodeStorage
from venturekit.service.functions.records import LATEST, Alias, FunctionVersion, LayerReference
from venturekit.service.functions.registry import Function, FunctionRegistry
from venturekit.service.store import Archives

if TYPE_CHECKING:
    from pathlib import Path

REGION, ACCOUNT = "eu-west-1", "123456789012"
NAMES, KEYS = ["a", "b", "c", "aa"], ["k1", "k2", "k3"]

VERSIONS = st.dictionaries(st.sampled_from(["1", "2", "3"]), st.sampled_from(KEYS), max_size=3)
CHANGE = st.tuples(st.sampled_from(NAMES), st.none() | st.tuples(VERSIONS, st.sampled_from(KEYS), st.booleans()))


def function_of(name: str, keys: dict[str, str], latest_key: str = "k1", *, layer: bool = False) -> Function:
    layers = (LayerReference("arn:layer:1", 1, "layer", 1),) if layer else ()
    latest = FunctionVersion(name=name, function_arn=f"arn:{name}", code_key=latest_key, layers=layers)
    published = [replace(latest, version=number, code_key=key, layers=()) for number, key in keys.items()]
    return Function(name=name, versions={LATEST: latest}).with_versions(*published)


@settings(deadline=None, max_examples=150)
@given(at_first=st.lists(CHANGE, max_size=4), changes=st.lists(CHANGE, max_size=12))
def test_counts_equal_those_of_a_walk_over_all(at_first: list[Any], changes: list[Any]) -> None:
    registry = FunctionRegistry(region=REGION, account_id=ACCOUNT)
    expected = {name: function_of(name, *made[:2], layer=made[2]) for name, made in at_first if made is not None}
    registry.load(expected.values(), {name: function.last_version for name, function in expected.items()})
    keys = registry.code_keys()
    for name, made in changes:
        if made is not None:
            expected[name] = function_of(name, *made[:2], layer=made[2])
            registry.put(expected[name])
        elif name in expected:
            del expected[name]
            registry.remove(name)
        assert keys == set().union(*(function.code_keys() for function in expected.values()))
        assert list(registry.names_after("")) == sorted(expected)
        assert list(registry.names_after("a")) == sorted(set(expected) - {"a"})


def test_a_number_outlives_its_function() -> None:
    registry = FunctionRegistry(region=REGION, account_id=ACCOUNT)
    registry.load([function_of("f", {"1": "k1", "2": "k2"})], {"f": 2, "gone": 5})
    assert [registry.last_version(name) for name in ("f", "gone", "other")] == [2, 5, 0]
    registry.remove("f")
    assert (registry.last_version("f"), registry.is_blank) == (2, False)
    registry.put(Function(name="f", versions=function_of("f", {}).versions, last_version=registry.last_version("f")))
    registry.put(registry.function("f").with_versions(function_of("f", {"3": "k1"}).versions["3"]))
    assert registry.last_version("f") == 3


def test_what_was_resolved_is_forgotten_with_a_change() -> None:
    registry = FunctionRegistry(region=REGION, account_id=ACCOUNT)
    function = function_of("f", {"1": "k1", "2": "k2"})
    registry.put(function.with_alias(Alias(function_arn="arn:f", name="live", function_version="1")))
    first = registry.resolve("f", "live")
    assert registry.resolve("f", "live") is first
    registry.put(registry.function("f").with_alias(Alias(function_arn="arn:f", name="live", function_version="2")))
    assert registry.resolve("f", "live").version.version == "2"
    registry.remove("f")
    with pytest.raises(ApiError):
        registry.resolve("f", "live")


class Asked(Container[str]):
    """Keys in use that can be asked for but not walked: there may be tens of thousands."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.questions: list[object] = []

    def __contains__(self, key: object) -> bool:
        self.questions.append(key)
        return key in self.keys

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the keys in use were walked")


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    return Archives(tmp_path / "archives")


@pytest.fixture
def storage(tmp_path: Path, archives: Archives) -> Callable[[Asked], CodeStorage]:
    return lambda in_use: CodeStorage(archives, CodeDirectories(tmp_path / "code", archives.path), lambda: in_use)


def test_only_what_was_retired_is_asked_for(archives: Archives, storage: Callable[[Asked], CodeStorage]) -> None:
    used, retired, other = (archives.put(content) for content in (b"1", b"2", b"3"))
    in_use = Asked(used)
    asyncio.run(storage(in_use).collect(used, retired))
    assert (sorted(in_use.questions), archives.keys()) == (sorted([used, retired]), {used, other})


def test_nothing_is_asked_when_nothing_was_retired(storage: Callable[[Asked], CodeStorage]) -> None:
    in_use = Asked()
    asyncio.run(storage(in_use).collect())
    assert in_use.questions == []


def test_at_the_start_everything_unused_goes(archives: Archives, storage: Callable[[Asked], CodeStorage]) -> None:
    used, _ = archives.put(b"1"), archives.put(b"2")
    asyncio.run(storage(Asked(used)).collect_all())
    assert archives.keys() == {used}


def test_what_any_container_holds_is_in_use() -> None:
    first, second = {"a"}, {"b"}
    in_use = AnyOf(first, second)
    assert [key in in_use for key in ("a", "b", "c")] == [True, True, False]
    second.add("c")
    first.clear()
    assert [key in in_use for key in ("a", "b", "c")] == [False, True, True]
