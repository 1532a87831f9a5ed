"""Structures: attributes and items, equal, unchangeable, copied and pickled, shown without what is secret."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

import venturekit.client
from tests.unit.client.command_support import json_answer
from venturekit.client import (
    DestinationConfig,
    GetFunctionCommand,
    GetFunctionConfigurationCommand,
    InvokeCommand,
    InvokeCommandOutput,
    InvokeComplete,
    InvokeWithResponseStreamResponseEvent,
    OnFailure,
    OnSuccess,
    Output,
    PayloadChunk,
    ResponseMetadata,
    Structure,
)

ARN = "arn:aws:sqs:us-east-1:000000000000:q"
CHUNK = InvokeWithResponseStreamResponseEvent(PayloadChunk=PayloadChunk(Payload=b"abc"))
COMPLETE = InvokeWithResponseStreamResponseEvent(InvokeComplete=InvokeComplete())
FUNCTION = (
    '{"Configuration":{"FunctionName":"f","State":"Active","Environment":{"Variables":{"KEY":"hidden-value"}},'
    '"Later":{"Deep":[{"New":1}]}},"Code":{"Location":"https://signed.example"},"Tags":{"a":"b"},"Newer":[1]}'
)


def output_of(document: str = FUNCTION) -> Any:
    output = GetFunctionCommand(FunctionName="f").read(json_answer(document))
    output.note(ResponseMetadata("id", 200, 2))
    return output


def test_members_are_attributes_and_items() -> None:
    config = DestinationConfig(OnFailure=OnFailure(Destination=ARN))
    assert config.OnFailure is config["OnFailure"]
    assert config["OnFailure"]["Destination"] == ARN
    assert config.OnSuccess is None
    assert "OnSuccess" not in config
    assert config.get("OnSuccess", 1) == 1
    with pytest.raises(KeyError, match="OnSuccess"):
        config["OnSuccess"]
    assert (list(config), len(config), dict(**config)) == (["OnFailure"], 1, {"OnFailure": config.OnFailure})
    assert isinstance(config, Mapping)


def test_dictionaries_become_structures() -> None:
    config = DestinationConfig(OnFailure={"Destination": ARN}, OnSuccess=None)
    assert config.OnFailure == OnFailure(Destination=ARN)
    assert isinstance(config.OnFailure, OnFailure)
    assert dict(config) == {"OnFailure": {"Destination": ARN}}
    assert config.plain() == {"OnFailure": {"Destination": ARN}}
    assert type(config.plain()["OnFailure"]) is dict


def test_members_of_a_newer_service_can_be_read() -> None:
    output = output_of()
    assert (output.Newer, output["Newer"]) == ([1], [1])
    assert output.Configuration.Later["Deep"][0]["New"] == 1
    with pytest.raises(AttributeError, match="Nothing"):
        output.Nothing


def test_what_is_equal() -> None:
    assert OnFailure(Destination="a") == OnFailure(Destination="a") == {"Destination": "a"}
    assert OnFailure(Destination="a") != OnFailure(Destination="b")
    assert OnFailure(Destination="a") != OnSuccess(Destination="a")
    assert GetFunctionCommand(FunctionName="f") != GetFunctionConfigurationCommand(FunctionName="f")
    assert OnFailure() != "OnFailure"
    assert OnFailure() != None  # noqa: E711 - the comparison itself is meant
    assert output_of() == output_of()
    with pytest.raises(TypeError, match="unhashable"):
        hash(OnFailure())


def test_nothing_can_be_changed() -> None:
    command = InvokeCommand(FunctionName="f")
    with pytest.raises(AttributeError, match="InvokeCommand cannot be changed: make another one"):
        command.FunctionName = "g"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="cannot be changed"):
        command.Other = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="cannot be changed"):
        del command.FunctionName
    with pytest.raises(TypeError):
        command["FunctionName"] = "g"  # type: ignore[index]
    assert command.replaced(FunctionName="g") == InvokeCommand(FunctionName="g")
    assert command.FunctionName == "f"


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, *(lambda value, p=p: pickle.loads(pickle.dumps(value, p)) for p in (2, 4, 5))]
)
def test_copies_are_equal(again: Any) -> None:
    for value in (
        InvokeCommand(FunctionName="f", Payload=b"1", InvocationType="Event"),
        DestinationConfig(OnFailure=OnFailure(Destination=ARN)),
        output_of(),
        CHUNK,
        InvokeCommandOutput(StatusCode=200, Payload=b""),
    ):
        copied = again(value)
        assert copied == value
        assert type(copied) is type(value)
        assert repr(copied) == repr(value)
        assert getattr(copied, "metadata", None) == getattr(value, "metadata", None)
    assert copy.copy(output_of()).metadata == ("id", 200, 2)


def seen(event: Any) -> str:
    match event:
        case {"PayloadChunk": {"Payload": bytes(data)}}:
            return f"chunk {data.decode()}"
        case {"InvokeComplete": {"ErrorCode": str(code)}}:
            return f"failed {code}"
        case {"InvokeComplete": _}:
            return "complete"
        case InvokeWithResponseStreamResponseEvent(PayloadChunk=None):
            return "unknown"
    return "no event"


def test_events_match_patterns() -> None:
    assert seen(CHUNK) == "chunk abc"
    assert seen(COMPLETE) == "complete"
    failed = InvokeComplete(ErrorCode="Unhandled")
    assert seen(InvokeWithResponseStreamResponseEvent(InvokeComplete=failed)) == "failed Unhandled"
    assert seen(InvokeWithResponseStreamResponseEvent.of({"Later": b""})) == "unknown"
    assert "PayloadChunk" in CHUNK
    assert CHUNK.PayloadChunk
    assert "InvokeComplete" not in CHUNK
    # Of a stream that ended well the last event is empty, and there all the same.
    assert "InvokeComplete" in COMPLETE
    assert COMPLETE.InvokeComplete is not None


def test_what_is_secret_is_not_shown() -> None:
    command = InvokeCommand(FunctionName="f", Payload=b"hidden-value", ClientContext="aGlkZGVu")
    assert repr(command) == "InvokeCommand(FunctionName='f', Payload=..., ClientContext=...)"
    shown = repr(output_of())
    assert "hidden-value" not in shown
    assert "signed.example" not in shown
    assert "Variables=..." in shown
    assert repr(InvokeCommandOutput(StatusCode=200, Payload=b"hidden")) == (
        "InvokeCommandOutput(StatusCode=200, Payload=...)"
    )
    assert "abc" not in repr(CHUNK)
    assert repr(InvokeWithResponseStreamResponseEvent.of({"Later": b"hidden"})).endswith("(Later=<6 bytes>)")
    long = InvokeComplete(ErrorDetails="e" * 201)
    assert repr(long) == "InvokeComplete(ErrorDetails=<201 characters>)"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"OnFailur": 1}, "DestinationConfig has no member OnFailur; did you mean OnFailure?"),
        ({"on_failure": 1}, "DestinationConfig has no member on_failure"),
        ({"X": 1}, "DestinationConfig has no member X: it has OnSuccess, OnFailure"),
    ],
)
def test_a_member_that_there_is_not(members: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as caught:
        DestinationConfig(**members)
    assert text in str(caught.value)


def test_a_structure_without_members() -> None:
    class Nothing(Structure):
        """It has none."""

    assert dict(Nothing()) == {}
    with pytest.raises(TypeError, match="Nothing has no member A: it has none"):
        Nothing(A=1)  # type: ignore[call-arg]


STRUCTURES = [
    value
    for name in venturekit.client.__all__
    if isinstance(value := getattr(venturekit.client, name), type) and issubclass(value, Structure)
]


@pytest.mark.parametrize("kind", STRUCTURES, ids=lambda kind: kind.__name__)
def test_every_structure_says_what_it_is(kind: type[Structure]) -> None:
    assert kind.__doc__
    assert len(kind.__doc__) > 20
    assert set(kind.readers) <= set(kind.members)
    assert kind.secret <= set(kind.members)
    # What has the name of a member could not be called any more.
    assert not set(kind.members) & {name for name in dir(Output) if name != "metadata"}
