"""From stored documents to functions: nothing is changed by it, and what is equal is kept once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.functions.loading import loaded_functions
from venturekit.service.functions.records import LATEST, Alias, FunctionVersion, LayerReference
from venturekit.service.functions.registry import Function
from venturekit.service.store import StoredFunction

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 2.5]) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=6,
)
VARIABLES = st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["x", "y"]))


def function(name: str, *, extras: tuple[Any, ...] = ({}, {}), **members: Any) -> Function:
    """A function with ``$LATEST`` and version 1, an alias and tags."""
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"
    given = {
        "runtime": "python3.12",
        "role": "arn:aws:iam::123456789012:role/r",
        "environment": {"STAGE": "production", "NAME": name},
        "layers": (LayerReference("arn:layer:1", 5000, "k" * 64, 9000),),
        "memory_size_mb": 2048,
    }
    latest = FunctionVersion(name=name, function_arn=arn, extras=extras[0], **{**given, **members})
    made = Function(name=name, versions={LATEST: latest})
    made = made.with_versions(replace(latest, version="1", published_from="f", extras=extras[1]))
    return made.with_alias(Alias(function_arn=arn, name="live", function_version="1", description="What callers get"))


def stored(made: Function) -> StoredFunction:
    """The function as the store gives it: every value an object of its own."""
    documents = json.dumps(
        [
            dict(made.settings),
            [version.to_document() for version in made.versions.values()],
            [alias.to_document() for alias in made.aliases.values()],
        ]
    )
    return StoredFunction("123456789012", made.name, *json.loads(documents))


def text(made: Function) -> str:
    """All of a function; in texts, True and 1 differ."""
    return json.dumps([made.name, made.last_version, *vars_of(made)])


def vars_of(made: Function) -> list[Any]:
    item = stored(made)
    return [item.document, item.versions, item.aliases]


@settings(deadline=None, max_examples=150)
@given(
    extras=st.tuples(*[st.dictionaries(st.sampled_from(["VpcConfig", "KMSKeyArn"]), JSON, max_size=2)] * 2),
    environments=st.tuples(VARIABLES, VARIABLES),
    setting=JSON.filter(lambda value: value not in (None, {}, [])),
    numbers=st.tuples(st.integers(0, 2), st.booleans()),
)
def test_loading_changes_nothing(
    extras: tuple[Any, Any], environments: tuple[Any, Any], setting: Any, numbers: tuple[int, bool]
) -> None:
    made = [
        function("f", extras=extras, environment=environments[0], timeout_seconds=numbers[0]),
        function("g", extras=extras[::-1], environment=environments[1], shows_environment=numbers[1]),
    ]
    made = [item.with_setting("any", setting).with_setting("tags", {"k": "v"}) for item in made]
    loaded = loaded_functions([stored(item) for item in made], {"f": 1, "g": 1})
    assert [text(item) for item in loaded] == [text(item) for item in made]
    assert loaded == made


@pytest.mark.parametrize("member", ["environment", "role", "runtime", "function_arn", "architectures", "extras"])
def test_the_versions_of_a_function_share(member: str) -> None:
    (loaded,) = loaded_functions([stored(function("f"))], {})
    latest, published = loaded.versions.values()
    assert getattr(latest, member) is getattr(published, member)
    assert latest.name is loaded.name


def test_functions_share_what_is_common() -> None:
    tagged = [function(name).with_setting("tags", {"team": "payments & more"}) for name in ("f", "g")]
    first, second = loaded_functions([stored(item) for item in tagged], {})
    for member in ("role", "runtime", "architectures", "memory_size_mb"):
        assert getattr(first.latest, member) is getattr(second.latest, member), member
    assert first.latest.environment["STAGE"] is second.latest.environment["STAGE"]
    assert first.tags["team"] is second.tags["team"]
    assert first.latest.layers[0].code_key is second.latest.layers[0].code_key


def test_what_a_member_of_settings_lacks_is_left_out() -> None:
    item = replace(stored(function("f")), document={"tags": {}, "policies": None, "urlConfigs": [], "reserved": 0})
    (loaded,) = loaded_functions([item], {"f": 7})
    assert (loaded.settings, loaded.last_version) == ({"reserved": 0}, 7)
