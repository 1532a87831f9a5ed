"""Waiters: boto3's, by its table; they end when it has come, cannot come any more, or lasts too long. No test waits."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.command_support import Scripted, data, json_answer
from venturekit.client import (
    AccessDeniedException,
    ClientClosedError,
    ConnectError,
    FunctionConfiguration,
    GetFunctionCommand,
    GetFunctionCommandOutput,
    LambdaClient,
    OperationError,
    ParameterValidationError,
    ResourceNotFoundException,
    State,
    WaiterError,
)
from venturekit.client.async_conveniences import AsyncConveniences
from venturekit.client.conveniences import Conveniences
from venturekit.client.waiters import WAITERS, Acceptor, Waiting

NAMES = list(WAITERS)
MISSING = ResourceNotFoundException("Function not found", status=404)


def answer(name: str, value: str, reason: str = "") -> str:
    """What GetFunction or GetFunctionConfiguration gives for a waiter when its member has this value."""
    member = "LastUpdateStatus" if "updated" in name else "State"
    inner = f'{{"{member}":"{value}","{member}Reason":"{reason}"}}'
    return f'{{"Configuration":{inner}}}' if WAITERS[name].command is GetFunctionCommand else inner


def success(name: str) -> str:
    return answer(name, "Successful" if "updated" in name else "Active")


def pending(name: str) -> Any:
    return MISSING if name == "function_exists" else answer(name, "InProgress" if "updated" in name else "Pending")


class Timed:
    """A clock that only the waits of a client move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        monkeypatch.setattr("venturekit.client.conveniences.time", self)
        monkeypatch.setattr("venturekit.client.async_conveniences.time", self)

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Client(Conveniences):
    def __init__(self, clock: Timed, *outcomes: Any) -> None:
        self.scripted = Scripted(*outcomes)
        self.send = self.scripted  # type: ignore[method-assign, assignment]
        self._wait = clock.wait  # type: ignore[method-assign]


class AsyncClient(AsyncConveniences):
    def __init__(self, clock: Timed, *outcomes: Any) -> None:
        self.scripted = Scripted(*outcomes)
        self.send = self.scripted.later  # type: ignore[method-assign]
        self._clock = clock

    async def _wait(self, seconds: float) -> None:
        self._clock.wait(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Timed:
    return Timed(monkeypatch)


def test_the_waiters_are_those_of_boto3() -> None:
    described = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): waiter for name, waiter in data("waiters-2")["waiters"].items()
    }
    assert set(described) == set(WAITERS)
    for name, waiter in described.items():
        ours = WAITERS[name]
        assert (ours.command.operation, ours.delay_seconds, ours.max_attempts) == (
            waiter["operation"],
            waiter["delay"],
            waiter["maxAttempts"],
        )
        accepted = [Acceptor(a["state"], a["matcher"], a.get("argument"), a["expected"]) for a in waiter["acceptors"]]
        assert list(ours.acceptors) == accepted


@pytest.mark.parametrize("name", NAMES)
def test_it_has_come_already(name: Any, clock: Timed) -> None:
    client = Client(clock, success(name))
    output = client.wait_until(name, FunctionName="f", Qualifier="7")
    assert client.scripted.inputs == [{"FunctionName": "f", "Qualifier": "7"}]
    assert client.scripted.commands[0].operation == WAITERS[name].command.operation
    assert isinstance(output, FunctionConfiguration | GetFunctionCommandOutput)
    assert clock.waits == []


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_later(name: Any, clock: Timed) -> None:
    outcomes = [pending(name), "{}" if name != "function_exists" else MISSING, pending(name), success(name)]
    expected = [WAITERS[name].delay_seconds] * 3
    Client(clock, *outcomes).wait_until(name, FunctionName="f")
    assert clock.waits == expected
    asyncio.run(AsyncClient(clock, *outcomes).wait_until(name, FunctionName="f"))
    assert clock.waits == expected * 2


@pytest.mark.parametrize("name", [name for name in NAMES if name != "function_exists"])
def test_it_cannot_come_any_more(name: Any, clock: Timed) -> None:
    outcomes = [pending(name), answer(name, "Failed", "no such image")]
    member = "LastUpdateStatus" if "updated" in name else "State"
    text = f"^{name}: f has {member} Failed: no such image$"
    with pytest.raises(WaiterError, match=text) as caught:
        Client(clock, *outcomes).wait_until(name, FunctionName="f")
    assert member in str(caught.value.last)
    with pytest.raises(WaiterError, match=text):
        asyncio.run(AsyncClient(clock, *outcomes).wait_until(name, FunctionName="f"))


@pytest.mark.parametrize("name", NAMES)
def test_it_lasts_too_long(name: Any, clock: Timed) -> None:
    waiter = WAITERS[name]
    seen = (
        "gives ResourceNotFoundException" if name == "function_exists" else "has (State Pending|LastUpd.* InProgress)"
    )
    limit = waiter.delay_seconds * waiter.max_attempts
    client = Client(clock, *[pending(name)] * (waiter.max_attempts + 1))
    with pytest.raises(WaiterError, match=f"^{name}: not within {limit:g} s: f {seen}$") as caught:
        client.wait_until(name, FunctionName="f")
    assert sum(clock.waits) == limit
    assert len(client.scripted.commands) == waiter.max_attempts + 1
    assert caught.value.last is not None


def test_limits_of_ones_own(clock: Timed) -> None:
    with pytest.raises(WaiterError, match=r"not within 2.5 s: f has State Pending$"):
        Client(clock, *[pending("function_active")] * 4).wait_until(
            "function_active", FunctionName="f", max_wait_seconds=2.5, delay_seconds=1
        )
    # The last look is at the end, not before it.
    assert clock.waits == [1, 1, 0.5]
    with pytest.raises(WaiterError, match="not within 0 s"):
        Client(clock, MISSING).wait_until("function_exists", FunctionName="f", max_wait_seconds=0)


@pytest.mark.parametrize("error", [AccessDeniedException("m", status=403), ConnectError("m"), ClientClosedError("m")])
def test_other_errors_are_raised_as_they_are(error: Exception, clock: Timed) -> None:
    for name in NAMES:
        with pytest.raises(type(error)) as caught:
            Client(clock, pending(name), error).wait_until(name, FunctionName="f")  # type: ignore[call-overload]
        assert caught.value is error
    with pytest.raises(ResourceNotFoundException):
        Client(clock, MISSING).wait_until("function_active", FunctionName="f")


@pytest.mark.parametrize(
    ("members", "kind", "text"),
    [
        ({"FunctionName": "a b"}, ParameterValidationError, "FunctionName is 'a b'"),
        ({}, TypeError, "needs FunctionName"),
        ({"FunctionName": "f", "Name": 1}, TypeError, "has no member Name"),
        ({"FunctionName": "f", "delay_seconds": 0}, ParameterValidationError, "asked without a pause"),
        ({"FunctionName": "f", "delay_seconds": -1}, ParameterValidationError, "delay_seconds is -1: it is a number"),
        ({"FunctionName": "f", "max_wait_seconds": "9"}, ParameterValidationError, "max_wait_seconds is '9'"),
        ({"FunctionName": "f", "max_wait_seconds": float("inf")}, ParameterValidationError, "max_wait_seconds is inf"),
        ({"FunctionName": "f", "max_wait_seconds": True}, ParameterValidationError, "max_wait_seconds is True"),
    ],
)
def test_what_cannot_be_waited_for(members: dict[str, Any], kind: type[Exception], text: str, clock: Timed) -> None:
    with pytest.raises(kind, match=text):
        Client(clock).wait_until("function_active", **members)
    with pytest.raises(kind, match=text):
        asyncio.run(AsyncClient(clock).wait_until("function_active", **members))


def test_a_waiter_that_there_is_not(clock: Timed) -> None:
    with pytest.raises(
        OperationError, match="no waiter 'FunctionActive': there are function_active, function_active_v2"
    ):
        Client(clock).wait_until("FunctionActive", FunctionName="f")  # type: ignore[call-overload]


@given(
    delay=st.floats(0.001, 100),
    limit=st.floats(0, 1000),
    took=st.lists(st.floats(0, 50), min_size=1, max_size=50),
)
def test_a_waiting_ends_at_its_limit(delay: float, limit: float, took: list[float]) -> None:
    waiting = Waiting("function_active", {"FunctionName": "f"}, limit, delay)
    output = waiting.command.read(json_answer('{"State":"Pending"}'))
    now = 0.0
    for seconds in took:
        now += seconds
        if now >= limit:
            with pytest.raises(WaiterError):
                waiting.seconds_after(output, 0.0, now)
            return
        wait = waiting.seconds_after(output, 0.0, now)
        assert wait is not None
        assert 0 < wait <= delay
        now += wait
        assert now <= limit + 1e-6


def test_closing_a_client_ends_its_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    client = LambdaClient(endpoint_url="http://127.0.0.1:9", unsigned=True)
    outputs = iter([FunctionConfiguration.of({"State": State.Pending})])
    send = client.send

    def sent(command: Any) -> Any:
        output = next(outputs, None)
        if output is None:
            return send(command)
        client.close()
        return output

    monkeypatch.setattr(client, "send", sent)
    begun = time.monotonic()
    with pytest.raises(ClientClosedError):
        client.wait_until("function_active", FunctionName="f", delay_seconds=60)
    assert time.monotonic() - begun < 30
