"""Steps that run at the same time, what is made of their contexts, and the keys that calls of steps carry."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_patterns.saga_lab import Crash, Lab, StoreDownError, states
from venturekit.runtime import ainvoke, invoke, parallel, saga, step
from venturekit.runtime._process import state
from venturekit.runtime.context import BaseContext, TenantContext, _current
from venturekit.runtime.invocation.request import LambdaReply
from venturekit.runtime.patterns import SagaDefinitionError

if TYPE_CHECKING:
    from venturekit.runtime.invocation.request import LambdaRequest
    from venturekit.runtime.patterns import SagaGroup


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def lab(request: pytest.FixtureRequest, pauses: list[float]) -> Lab:
    made = Lab(asynchronous=request.param)
    made.pauses = pauses  # type: ignore[attr-defined]
    return made


def group(lab: Lab, *given: Any, name: str = "g") -> SagaGroup:
    return parallel(name, [lab.step(one) if isinstance(one, str) else one for one in given])


def setting(lab: Lab, name: str, **values: Any) -> Any:
    """A step that sets values."""
    undo = lab.function(lambda ctx: lab.journal.append(f"-{name} {json.dumps(ctx, sort_keys=True)}"))
    return step(name, lab.function(lambda ctx: {**ctx, **values}), undo)


def test_steps_of_a_group_run_at_the_same_time(lab: Lab) -> None:
    met = threading.Barrier(3)
    meeting: list[int] = []

    async def ameets(ctx: Any) -> None:
        meeting.append(1)
        while len(meeting) < 3:
            await asyncio.sleep(0)

    meets = ameets if lab.asynchronous else (lambda ctx: (met.wait(20), None)[1])
    made = lab.saga("a", parallel("g", [step(name, meets) for name in "bcd"]), "e")
    assert lab.run(made).success
    assert lab.journal == ["a", "e"]


def test_blocking_steps_of_a_group_run_at_the_same_time_in_an_asynchronous_run() -> None:
    met = threading.Barrier(2)
    made = saga("s", [parallel("g", [step(name, lambda ctx: (met.wait(20), None)[1]) for name in "ab"])])
    assert asyncio.run(made.arun({})).success


def test_what_they_change_is_brought_together(lab: Lab) -> None:
    drops = step("drops", lab.function(lambda ctx: {name: ctx[name] for name in ctx if name != "old"}))
    together = group(lab, setting(lab, "b", b=1, same={"x": [1]}), setting(lab, "c", c=2, same={"x": [1]}), drops)
    result = lab.run(lab.saga("a", together, "d"), {"old": 1, "x": 0})
    assert result.context == {"x": 0, "a": 1, "b": 1, "c": 2, "same": {"x": [1]}, "d": 1}
    assert "changed" not in json.dumps(result.record.to_dict())


@pytest.mark.parametrize("other", [2, 1.0, True, None, "1"])
def test_two_that_set_one_name_differently_are_an_error(lab: Lab, other: Any) -> None:
    made = lab.saga("a", group(lab, setting(lab, "b", key=1), setting(lab, "c", key=other)), "d")
    result = lab.run(made)
    message = "the parallel steps 'b' and 'c' set 'key' differently"
    assert result.record.error == {"step": "g", "type": "ParallelContextError", "message": message}
    # Each undoes what it has done itself.
    told = json.dumps(other)
    assert lab.journal == ["a", f'-c {{"a": 1, "key": {told}}}', '-b {"a": 1, "key": 1}', "-a"]


def test_one_that_sets_what_another_removes_is_an_error_too(lab: Lab) -> None:
    removes = step("r", lab.function(lambda ctx: {}))
    result = lab.run(lab.saga(group(lab, setting(lab, "b", x=2), removes)), {"x": 1})
    assert (result.success, result.context) == (False, {"x": 1})


def test_siblings_of_one_that_fails_are_waited_for_and_undone(lab: Lab) -> None:
    failed = threading.Event()

    def late(ctx: dict[str, Any]) -> dict[str, Any]:
        assert failed.wait(20)
        lab.journal.append("late")
        return {**ctx, "late": 1}

    async def alate(ctx: dict[str, Any]) -> dict[str, Any]:
        while not failed.is_set():
            await asyncio.sleep(0)
        return late(ctx)

    def fails(ctx: Any) -> None:
        failed.set()
        raise ValueError("no")

    slow = step("late", alate if lab.asynchronous else late, lab.function(lambda ctx: lab.journal.append(f"-{ctx}")))
    result = lab.run(lab.saga("a", group(lab, step("fails", lab.function(fails)), slow), "z"))
    assert lab.journal == ["a", "late", "-{'a': 1, 'late': 1}", "-a"]
    assert states(result) == ["compensated", "failed", "compensated", "pending"]


def test_members_are_tried_again_each_for_itself(lab: Lab) -> None:
    lab.journal.fails("b", ValueError("1"), ValueError("2"))
    result = lab.run(lab.saga(group(lab, lab.step("b", retries=2, retry_delay_ms=10), "c")))
    assert result.success
    assert sorted(lab.journal) == ["b", "b", "b", "c"]
    assert lab.pauses == [0.01, 0.02]  # type: ignore[attr-defined]


def test_a_member_that_takes_too_long_is_not_waited_for(lab: Lab) -> None:
    release = threading.Event()

    async def awaits(ctx: Any) -> None:
        await asyncio.Event().wait()

    endless = awaits if lab.asynchronous else lambda ctx: (release.wait(30), None)[1]
    slow = step("slow", endless, lab.function(lambda ctx: lab.journal.append("-slow")), timeout_ms=30)
    result = lab.run(lab.saga(group(lab, slow, "b")))
    release.set()
    assert result.record.error is not None
    assert result.record.error["type"] == "SagaStepTimeoutError"
    assert lab.journal == ["b", "-b", "-slow"]


def test_a_group_goes_on_with_those_that_are_not_done(lab: Lab) -> None:
    lab.journal.fails("c", Crash())
    made = lab.saga(group(lab, "b", "c"), "d")
    with pytest.raises(Crash):
        lab.run(made, {"x": 1}, "1")
    lab.clock.now += 100
    result = lab.resume(made, "1")
    assert result.context == {"x": 1, "b": 1, "c": 1, "d": 1}
    assert lab.journal.count("c") == 2


def test_a_sibling_that_was_interrupted_is_undone_and_not_run_again(lab: Lab) -> None:
    made = lab.saga("a", group(lab, "b", "c"))
    lab.journal.fails("b", ValueError("no"))
    # The second outcome of the group cannot be written.
    lab.store.fail(4, StoreDownError())
    with pytest.raises(StoreDownError):
        lab.run(made, {}, "1")
    lab.clock.now += 100
    lab.store.heal()
    del lab.journal[:]
    assert lab.resume(made, "1").record.status == "compensated"
    assert lab.journal == ["-c", "-a"]


def test_what_is_in_flight_has_ended_before_an_error_of_the_store_is_raised(lab: Lab) -> None:
    failing, ended = threading.Event(), []

    def ends(ctx: Any) -> None:
        failing.wait(0.05)
        ended.append(1)

    async def aends(ctx: Any) -> None:
        await asyncio.sleep(0.05)
        ended.append(1)

    lab.store.fail(2, StoreDownError())
    with pytest.raises(StoreDownError):
        lab.run(lab.saga(group(lab, "b", step("c", aends if lab.asynchronous else ends))))
    assert ended == [1]


def test_a_group_cannot_fill_a_record(lab: Lab) -> None:
    large = [setting(lab, name, **{name: "x" * 150_000}) for name in "bc"]
    result = lab.run(lab.saga("a", group(lab, *large)))
    assert result.record.error is not None
    assert result.record.error["type"] == "SagaContextError"
    assert max(len(json.dumps(write)) for write in lab.store.writes) < 400_000
    assert lab.journal[-1] == "-a"
    assert [one[:2] for one in lab.journal[1:3]] == ["-c", "-b"]


def test_tasks_of_a_cancelled_group_are_cancelled() -> None:
    lab, ended, reached = Lab(asynchronous=True), [], asyncio.Event()

    async def waits(ctx: Any) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async def main() -> None:
        task = asyncio.create_task(lab.saga(group(lab, step("b", waits), step("c", waits))).arun({}))
        await reached.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == [1, 1]


def test_steps_of_a_group_see_the_context_of_the_invocation(lab: Lab) -> None:
    tenants: list[str] = []

    def look(ctx: Any) -> None:
        current = _current.get()
        assert current.tenant is not None
        tenants.append(current.tenant.id)

    ctx = BaseContext("r")
    ctx.tenant = TenantContext("acme")
    token = _current.set(ctx)
    try:
        assert lab.run(lab.saga(group(lab, step("b", lab.function(look)), step("c", lab.function(look))))).success
    finally:
        _current.reset(token)
    assert tenants == ["acme", "acme"]


# --- idempotency keys -------------------------------------------------------------------------------------------------


class Target:
    """Answers every call, and keeps the key of each."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, str | None]] = []

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        if request.client_context is not None:
            key = json.loads(request.client_context)["custom"]["venturekit"].get("idempotencyKey")
            self.keys.append((request.function_name.removeprefix("shop-"), key))
            return LambdaReply(200, b"{}")
        event = json.loads(request.payload)
        self.keys.append((request.function_name.removeprefix("shop-"), event["headers"].get("idempotency-key")))
        return LambdaReply(200, json.dumps({"statusCode": 200, "headers": {}, "body": "{}"}).encode())

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        return self.invoke(request)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "shop")
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    state.invoker = Target()
    return state.invoker


def calling(lab: Lab, name: str, *calls: tuple[str, dict[str, Any]]) -> Any:
    """A step that makes calls, and undoes itself by the first of them."""

    def execute(ctx: Any) -> None:
        for route, options in calls:
            invoke(route, **options) if route else invoke(**options)

    async def aexecute(ctx: Any) -> None:
        for route, options in calls:
            await (ainvoke(route, **options) if route else ainvoke(**options))

    async def acompensate(ctx: Any) -> None:
        await ainvoke(calls[0][0])

    if lab.asynchronous:
        return step(name, aexecute, acompensate)
    return step(name, execute, lambda ctx: (invoke(calls[0][0]), None)[1])


def test_calls_of_a_step_carry_its_key(lab: Lab, target: Target) -> None:
    pays = calling(lab, "pay", ("cards/charge", {}), ("", {"function": "audit", "payload": {}}), ("cards/charge", {}))
    lab.journal.fails("z", ValueError("no"))
    lab.run(lab.saga(pays, "z"), {}, "42")
    assert target.keys == [
        ("cards-charge", "order#42#pay"),
        ("dev-fn-audit", "order#42#pay"),
        ("cards-charge", "order#42#pay#2"),
        ("cards-charge", "order#42#pay#compensate"),
    ]
    invoke("cards/charge")
    assert target.keys[-1] == ("cards-charge", None)


def test_the_key_is_the_same_in_each_attempt_and_after_a_crash(lab: Lab, target: Target) -> None:
    lab.store.fail(2, Crash())
    made = lab.saga(calling(lab, "pay", ("charge", {}))._replace(retries=1))
    with pytest.raises(Crash):
        lab.run(made, {}, "4#2")
    lab.clock.now += 100
    lab.store.heal()
    lab.resume(made, "4#2")
    assert target.keys == [("charge", "order#4%232#pay")] * 2


def test_a_header_of_ones_own_wins(lab: Lab, target: Target) -> None:
    own = ("charge", {"headers": {"Idempotency-KEY": "mine"}})
    assert lab.run(lab.saga(calling(lab, "pay", own, ("charge", {}))), {}, "1").success
    assert target.keys == [("charge", "mine"), ("charge", "order#1#pay")]


def test_members_of_a_group_have_keys_of_their_own(lab: Lab, target: Target) -> None:
    both = [calling(lab, name, ("charge", {})) for name in ("one", "two")]
    assert lab.run(lab.saga(group(lab, *both)), {}, "1").success
    assert sorted(target.keys) == [("charge", "order#1#one"), ("charge", "order#1#two")]


def test_a_saga_within_a_step_has_keys_of_its_own(lab: Lab, target: Target) -> None:
    def execute(ctx: Any) -> None:
        saga("inner", [step("pay", lambda _: (invoke("charge"), None)[1])]).run({}, "7")
        invoke("charge")

    assert lab.run(lab.saga(step("outer", lab.function(execute))), {}, "1").success
    assert target.keys == [("charge", "inner#7#pay"), ("charge", "order#1#outer")]


# --- definitions ------------------------------------------------------------------------------------------------------


def nothing(ctx: Any) -> None:
    """A step's function."""


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "has 0 steps"),
        ([step("a", nothing)] * 2, "two steps or groups of the name 'a'"),
        ([step("a", nothing), parallel("a", [step("b", nothing)])], "name 'a'"),
        ([parallel("g", [step("a", nothing)]), step("a", nothing)], "name 'a'"),
        ([step(str(n), nothing) for n in range(201)], "has 201 steps"),
        (step("a", nothing), "are a list"),
        ({"name": "a", "execute": nothing}, "are a list"),
        ("ab", "are a list"),
        (5, "are a list"),
        ([nothing], "is no step"),
        ([{"execute": nothing}], "a step needs name"),
        ([{"name": "a"}], "a step needs execute"),
        ([{"name": "a", "execute": nothing, "undo": nothing}], "a step has no undo"),
    ],
)
def test_steps_that_make_no_saga(steps: Any, message: str) -> None:
    with pytest.raises(SagaDefinitionError, match=message):
        saga("s", steps)


@pytest.mark.parametrize("name", ["", "a#b", "a\nb", 5, None, "x" * 129])
def test_names_that_are_none(name: Any) -> None:
    for make in (lambda: saga(name, [step("a", nothing)]), lambda: step(name, nothing), lambda: parallel(name, [])):
        with pytest.raises(SagaDefinitionError, match="the name of"):
            make()


@pytest.mark.parametrize(
    "options",
    [
        {"execute": None},
        {"compensate": "undo"},
        {"retries": -1},
        {"retries": True},
        {"retry_delay_ms": -1},
        {"timeout_ms": 0},
        {"timeout_ms": 1.5},
    ],
)
def test_a_step_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(SagaDefinitionError, match=next(iter(options))):
        step(**{"name": "a", "execute": nothing, **options})


def test_groups_that_cannot_be() -> None:
    with pytest.raises(SagaDefinitionError, match="has no steps"):
        parallel("g", [])
    with pytest.raises(SagaDefinitionError, match="groups contain steps only"):
        parallel("g", [parallel("h", [step("a", nothing)])])  # type: ignore[list-item]


def test_the_seeds_form_of_a_step() -> None:
    journal = Lab(asynchronous=False).journal
    given = {"name": "a", "execute": journal.append, "retries": 1, "retryDelayMs": 5, "timeoutMs": 100}
    (one,) = saga("s", [given]).definition.steps
    assert one == step("a", journal.append, retries=1, retry_delay_ms=5, timeout_ms=100)
