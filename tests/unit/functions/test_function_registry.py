"""Names, versions, aliases and weights in memory; records as documents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.functions.records import Alias, FunctionVersion, LayerReference, last_modified_text
from venturekit.service.functions.registry import Function, FunctionRegistry

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"


def version(number: str = "$LATEST", **members: object) -> FunctionVersion:
    return FunctionVersion(name="f", function_arn=ARN, version=number, **members)  # type: ignore[arg-type]


@pytest.fixture
def registry() -> FunctionRegistry:
    registry = FunctionRegistry(region="eu-west-1", account_id="123456789012")
    function = Function(name="f", versions={"$LATEST": version()}).with_versions(version("1"), version("2"))
    function = function.with_alias(Alias(function_arn=ARN, name="live", function_version="1"))
    weighted = Alias(
        function_arn=ARN, name="canary", function_version="1", additional_version="2", additional_weight=0.25
    )
    registry.put(function.with_alias(weighted))
    return registry


@pytest.mark.parametrize(
    ("qualifier", "draw", "number", "invoked_arn", "alias"),
    [
        (None, 0.0, "$LATEST", ARN, None),
        ("$LATEST", 0.0, "$LATEST", f"{ARN}:$LATEST", None),
        ("2", 0.0, "2", f"{ARN}:2", None),
        ("live", 0.99, "1", f"{ARN}:live", "live"),
        ("canary", 0.0, "1", f"{ARN}:canary", "canary"),
        ("canary", 0.7499, "1", f"{ARN}:canary", "canary"),
        ("canary", 0.75, "2", f"{ARN}:canary", "canary"),
    ],
)
def test_resolve(
    registry: FunctionRegistry, qualifier: str | None, draw: float, number: str, invoked_arn: str, alias: str | None
) -> None:
    for _ in range(2):
        resolution = registry.resolve("f", qualifier, draw=draw)
        assert (resolution.version.version, resolution.invoked_arn, resolution.alias) == (number, invoked_arn, alias)
        assert resolution.version.qualified_arn == f"{ARN}:{number}"


@pytest.mark.parametrize(
    ("name", "qualifier", "arn"),
    [
        ("g", None, ARN[:-1] + "g:$LATEST"),
        ("g", "live", ARN[:-1] + "g:live"),
        ("f", "9", f"{ARN}:9"),
        ("f", "other", f"{ARN}:other"),
    ],
)
def test_what_is_not_there(registry: FunctionRegistry, name: str, qualifier: str | None, arn: str) -> None:
    with pytest.raises(ApiError) as caught:
        registry.resolve(name, qualifier)
    assert (caught.value.code, caught.value.message) == ("ResourceNotFoundException", f"Function not found: {arn}")


def test_a_change_is_seen_at_once_and_told(registry: FunctionRegistry) -> None:
    told: list[str] = []
    registry.subscribe(told.append)
    assert registry.resolve("f").version.handler == ""
    registry.put(registry.function("f").with_versions(version(handler="new.handler")))
    assert registry.resolve("f").version.handler == "new.handler"
    registry.put(registry.function("f").without_version("2"))
    with pytest.raises(ApiError):
        registry.resolve("f", "2")
    registry.remove("f")
    assert told == ["f", "f", "f"]
    assert ("f" in registry, len(registry), registry.last_version("f")) == (False, 0, 2)


@settings(deadline=None, max_examples=200)
@given(weight=st.floats(0.0, 1.0), chance=st.floats(0.0, 1.0, exclude_max=True))
def test_weights(weight: float, chance: float) -> None:
    alias = Alias(function_arn=ARN, name="a", function_version="1", additional_version="2", additional_weight=weight)
    assert alias.draw(chance) == ("2" if chance >= 1.0 - weight else "1")
    if weight in (0.0, 1.0):
        assert alias.draw(chance) == {0.0: "1", 1.0: "2"}[weight]


def test_documents_bring_back_equal_records() -> None:
    full = version(
        environment={"A": "b"},
        layers=(LayerReference("arn:layer:1", 5, "k" * 64, 9),),
        architectures=("arm64",),
        extras={"VpcConfig": {"SubnetIds": ["s"]}},
    )
    assert FunctionVersion.from_document(json.loads(json.dumps(full.to_document()))) == full
    alias = Alias(function_arn=ARN, name="a", function_version="1", additional_version="2", additional_weight=0.5)
    assert Alias.from_document(json.loads(json.dumps(alias.to_document()))) == alias
    # A document of a release that knew less, or more.
    assert FunctionVersion.from_document({"name": "f", "function_arn": ARN, "later": 1}) == version()


def test_the_fingerprint_follows_code_and_configuration_only() -> None:
    base = version(handler="a.b", code_key="k")
    assert base.fingerprint() == version("7", handler="a.b", code_key="k", state="Active", identity="i").fingerprint()
    for other in (version(handler="a.c", code_key="k"), version(handler="a.b", code_key="l")):
        assert other.fingerprint() != base.fingerprint()


def test_environment_variables_stay_out_of_reprs() -> None:
    assert "s3cret" not in repr(version(environment={"PASSWORD": "s3cret"}))
    assert "s3cret" not in repr(Function(name="f", versions={"$LATEST": version(environment={"P": "s3cret"})}))


def test_last_modified() -> None:
    assert last_modified_text(1_672_531_200.1239) == "2023-01-01T00:00:00.123+0000"
