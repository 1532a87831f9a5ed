"""Sagas from outside: what runs, in which order, what is given back and what is stored; blocking and asynchronous."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_patterns.saga_lab import AsyncStore, Crash, Lab, StoreDownError, in_function, states
from venturekit.runtime import TaskTimeoutError, create_memory_saga_store, saga, step, task_handler
from venturekit.runtime.invocation.errors import (
    BadResponseError,
    FunctionFailedError,
    InvokeTimeoutError,
    ServerStatusError,
    TransportError,
)
from venturekit.runtime.patterns import (
    SagaBusyError,
    SagaChangedError,
    SagaCompensationError,
    SagaContextError,
    SagaIdInUseError,
    SagaNotFoundError,
    SagaRecordError,
    SagaStatus,
    SagaSuspendedError,
    create_default_saga_store,
    create_dynamodb_saga_store,
    create_redis_saga_store,
    create_sqlite_saga_store,
    parallel,
)
from venturekit.runtime.patterns.driving import AsyncStoreError
from venturekit.runtime.patterns.record_stores import MemoryRecordStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

within_function = contextmanager(in_function)


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def lab(request: pytest.FixtureRequest, pauses: list[float]) -> Lab:
    made = Lab(asynchronous=request.param)
    made.pauses = pauses  # type: ignore[attr-defined]
    return made


def test_each_step_gets_the_context_of_the_one_before(lab: Lab) -> None:
    changed = step("changes", lab.function(lambda ctx: ctx.update(seen=sorted(ctx))))
    result = lab.run(lab.saga("a", changed, "b"), {"x": [1]})
    assert (result.success, result.context) == (True, {"x": [1], "a": 1, "seen": ["a", "x"], "b": 1})
    assert lab.journal == ["a", "b"]
    record = result.record
    assert (record.status, record.error, record.lease_until) == (SagaStatus.COMPLETED, None, None)
    assert [one.attempts for one in record.steps] == [1, 1, 1]
    assert states(result) == ["completed"] * 3
    assert len(record.id) == 36


def test_a_record_is_written_before_and_after_each_step(lab: Lab) -> None:
    seen: list[Any] = []
    look = step("look", lab.function(lambda ctx: seen.append(lab.store.writes[-1]["steps"])))
    result = lab.run(lab.saga("a", look, "b"), {}, "1")
    assert [one["state"] for one in seen[0]] == ["completed", "running", "pending"]
    assert [[one["state"] for one in write["steps"]] for write in lab.store.writes] == [
        ["running", "pending", "pending"],
        ["completed", "running", "pending"],
        ["completed", "completed", "running"],
        ["completed", "completed", "completed"],
    ]
    assert lab.store.read("order#1", 0.0).value == result.record.to_dict()


def test_what_was_done_is_undone_in_reverse_order(lab: Lab) -> None:
    lab.journal.fails("d", ValueError("declined"))
    result = lab.run(lab.saga("a", lab.step("b", undone=False), "c", "d", "e"), {"x": 1})
    assert not result.success
    assert lab.journal == ["a", "b", "c", "d", "-c", "-a"]
    assert result.record.error == {"step": "d", "type": "ValueError", "message": "declined"}
    assert states(result) == ["compensated", "completed", "compensated", "failed", "pending"]
    assert result.context == {"x": 1, "a": 1, "b": 1, "c": 1}


def test_the_first_step_fails_and_there_is_nothing_to_undo(lab: Lab) -> None:
    lab.journal.fails("a", ValueError())
    assert lab.run(lab.saga("a", "b")).record.status == "compensated"
    assert lab.journal == ["a"]


def test_a_step_is_tried_again_with_a_context_of_its_own(lab: Lab) -> None:
    given: list[Any] = []
    outcomes = [ValueError("1"), ValueError("2"), None]

    def execute(ctx: dict[str, Any]) -> None:
        given.append(dict(ctx))
        ctx["spoilt"] = True
        if (error := outcomes.pop(0)) is not None:
            raise error

    result = lab.run(lab.saga(step("a", lab.function(execute), retries=3, retry_delay_ms=50)), {"x": 1})
    assert result.success
    assert given == [{"x": 1}] * 3
    assert lab.pauses == [0.05, 0.1]  # type: ignore[attr-defined]
    (one,) = result.record.steps
    assert (one.attempts, one.failures, one.error) == (3, 2, {"type": "ValueError", "message": "2"})


def test_a_step_is_given_up_after_its_retries(lab: Lab) -> None:
    lab.journal.fails("b", *[ValueError(str(n)) for n in range(9)])
    result = lab.run(lab.saga("a", lab.step("b", retries=2)))
    assert lab.journal == ["a", "b", "b", "b", "-a"]
    assert result.record.error == {"step": "b", "type": "ValueError", "message": "2"}


@pytest.mark.parametrize(
    ("error", "undone"),
    [
        (ValueError("no"), False),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (InvokeTimeoutError("t"), True),
        (TransportError("t"), True),
        (BadResponseError("b"), True),
        (ServerStatusError("s", status_code=500), False),
        (FunctionFailedError("f", details={"errorType": "ValueError"}), False),
        (FunctionFailedError("f", details={"errorType": "Sandbox.Timedout"}), True),
        (FunctionFailedError("f", details={"errorType": "Runtime.ExitError"}), True),
        (FunctionFailedError("f", details="odd"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_step_that_may_have_done_its_work_is_undone_too(lab: Lab, error: Exception, undone: bool) -> None:
    lab.journal.fails("b", error)
    result = lab.run(lab.saga("a", "b"))
    assert lab.journal == ["a", "b", *(["-b"] if undone else []), "-a"]
    assert result.record.steps[1].uncertain is undone


def test_a_step_that_takes_too_long_is_ended_and_undone(lab: Lab) -> None:
    ended: list[str] = []
    never = threading.Event()

    async def waits(ctx: Any) -> None:
        await asyncio.Event().wait()

    endless = waits if lab.asynchronous else (lambda ctx: ended.append("no") if never.wait(30) else None)
    slow = step("slow", endless, lab.function(lambda ctx: ended.append("undone")), timeout_ms=30)
    result = lab.run(lab.saga("a", slow))
    assert not result.success
    assert result.record.error is not None
    assert result.record.error["type"] == "SagaStepTimeoutError"
    assert ended == ["undone"]
    assert lab.journal == ["a", "-a"]


def test_a_compensation_is_tried_three_times(lab: Lab) -> None:
    lab.journal.fails("c", ValueError("declined"))
    lab.journal.fails("-b", OSError("1"), OSError("2"))
    result = lab.run(lab.saga("a", "b", "c"))
    assert lab.journal == ["a", "b", "c", "-b", "-b", "-b", "-a"]
    assert lab.pauses == [1, 2]  # type: ignore[attr-defined]
    assert states(result) == ["compensated", "compensated", "failed"]


def test_a_compensation_that_fails_for_good_is_recorded_and_raised(lab: Lab) -> None:
    lab.journal.fails("c", ValueError("declined"))
    lab.journal.fails("-b", *[OSError("no refund")] * 3)
    made = lab.saga("a", "b", "c")
    with pytest.raises(SagaCompensationError, match="could not be undone: b: no refund") as caught:
        lab.run(made, {}, "1")
    assert lab.journal == ["a", "b", "c", "-b", "-b", "-b", "-a"]
    result = caught.value.result
    assert (result.success, result.record.status) == (False, SagaStatus.FAILED)
    assert states(result) == ["compensated", "compensation_failed", "failed"]
    assert [one.id for one in made_records(lab, made, "failed")] == ["1"]
    # It stays known, nothing runs again, until somebody says so.
    del lab.journal[:]
    with pytest.raises(SagaCompensationError):
        lab.resume(made, "1")
    assert lab.journal == []
    assert lab.resume(made, "1", retry_failed=True).record.status == "compensated"
    assert lab.journal == ["-b"]
    assert made_records(lab, made, "failed") == []


def made_records(lab: Lab, made: Any, status: str) -> list[Any]:
    return (asyncio.run(made.afind(status)) if lab.asynchronous else made.find(status)).records


class Recursive(dict[str, Any]):
    """Contains itself."""

    def __init__(self) -> None:
        super().__init__()
        self["self"] = self


@pytest.mark.parametrize(
    "context",
    [{"a": b"bytes"}, [1], "text", 5, {"a": float("nan")}, {"a": object()}, Recursive(), {"a": "x" * 300_000}],
    ids=["bytes", "list", "text", "number", "nan", "object", "recursive", "large"],
)
def test_a_context_that_is_no_json_object_is_refused_before_anything_runs(lab: Lab, context: Any) -> None:
    with pytest.raises(SagaContextError, match="JSON"):
        lab.run(lab.saga("a"), context)
    assert (lab.journal, lab.store.writes) == ([], [])
    # Given by a step, it cannot be kept: the step has run, and is undone. Another attempt would be the same.
    gives = step("gives", lab.function(lambda _: context), lab.function(lambda _: lab.journal.append("-gives")))
    result = lab.run(lab.saga("a", gives._replace(retries=5)))
    assert (result.success, lab.journal) == (False, ["a", "-gives", "-a"])
    assert result.record.error is not None
    assert result.record.error["type"] == "SagaContextError"


def test_an_id_begins_once(lab: Lab) -> None:
    made = lab.saga("a", "b")
    first = lab.run(made, {"x": 1, "y": 2}, "order-#1 50%")
    writes = len(lab.store.writes)
    again = lab.run(made, {"y": 2, "x": 1}, "order-#1 50%")
    assert (again.success, again.context, again.record.id) == (True, first.context, "order-#1 50%")
    assert (lab.journal, len(lab.store.writes)) == (["a", "b"], writes)
    assert lab.resume(made, "order-#1 50%").context == first.context
    with pytest.raises(SagaIdInUseError, match="another context"):
        lab.run(made, {"x": 2, "y": 2}, "order-#1 50%")
    with pytest.raises(SagaNotFoundError, match="no saga 'order' has the id 'other'"):
        lab.resume(made, "other")
    assert lab.journal == ["a", "b"]


@pytest.mark.parametrize("id", ["", "a" * 257, "line\nbreak", 5, "\ud800", "😀" * 256])
def test_an_id_that_is_none(lab: Lab, id: Any) -> None:
    with pytest.raises(ValueError, match="the id of a saga"):
        lab.run(lab.saga("a"), {}, id)
    assert lab.journal == []


def test_sagas_of_two_names_have_ids_of_their_own(lab: Lab) -> None:
    assert lab.run(lab.saga("a"), {}, "1").success
    assert lab.run(lab.saga("b", name="other"), {}, "1").success
    assert lab.journal == ["a", "b"]


@pytest.mark.parametrize(
    "steps",
    [["a", "c"], ["a", "b", "c"], ["a"], ["b", "a"]],
    ids=["renamed", "added", "removed", "moved"],
)
def test_a_saga_of_another_definition_is_refused(lab: Lab, steps: list[str]) -> None:
    lab.store.fail(2, StoreDownError())
    with pytest.raises(StoreDownError):
        lab.run(lab.saga("a", "b"), {}, "1")
    lab.store.heal()
    lab.clock.now += 100
    with pytest.raises(SagaChangedError, match="was begun with the steps 'a', 'b'"):
        lab.resume(lab.saga(*steps), "1")
    grouped = lab.saga(parallel("g", [lab.step("a"), lab.step("b")]))
    with pytest.raises(SagaChangedError, match="now it has 'g/a', 'g/b'"):
        lab.resume(grouped, "1")
    assert lab.journal == ["a"]
    assert lab.resume(lab.saga("a", "b"), "1").success


def test_a_saga_that_has_ended_may_have_had_other_steps(lab: Lab) -> None:
    lab.run(lab.saga("a", "b"), {}, "1")
    assert lab.run(lab.saga("c"), {}, "1").success
    assert lab.journal == ["a", "b"]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, 6))
def test_a_store_that_fails_loses_nothing(lab: Lab, write: int, late: bool) -> None:
    made = lab.saga("a", "b", "c", "d")
    lab.store.fail(write, StoreDownError("no answer"), late=late)
    with pytest.raises(StoreDownError):
        lab.run(made, {"x": 1}, "1")
    lab.store.heal()
    lab.clock.now += 100
    result = lab.run(made, {"x": 1}, "1")
    assert result.success
    assert set(lab.journal) == {"a", "b", "c", "d"}
    assert result.context == {"x": 1, "a": 1, "b": 1, "c": 1, "d": 1}


def test_a_saga_that_somebody_runs_is_left_to_them(lab: Lab) -> None:
    made = lab.saga("a", "b", lease_seconds=10)
    lab.journal.fails("b", Crash())
    with pytest.raises(Crash):
        lab.run(made, {}, "1")
    lab.clock.now += 9
    with pytest.raises(SagaBusyError, match="can be resumed in 1 s") as caught:
        lab.resume(made, "1")
    assert caught.value.retry_after_seconds == 1
    with pytest.raises(SagaBusyError):
        lab.run(made, {}, "1")
    lab.clock.now += 1
    result = lab.resume(made, "1")
    assert result.success
    assert lab.journal == ["a", "b", "b"]
    assert result.record.steps[1].uncertain


def test_a_step_that_was_interrupted_and_then_fails_is_undone(lab: Lab) -> None:
    made = lab.saga("a", "b")
    lab.journal.fails("b", Crash(), ValueError("no"))
    with pytest.raises(Crash):
        lab.run(made, {}, "1")
    lab.clock.now += 100
    assert not lab.resume(made, "1").success
    assert lab.journal == ["a", "b", "b", "-b", "-a"]


def test_the_lease_is_as_long_as_the_step(lab: Lab) -> None:
    lab.run(lab.saga("a", lab.step("b", timeout_ms=300_000)), {}, "1")
    leases = [write["lease_until"] and write["lease_until"] - write["updated_at"] for write in lab.store.writes]
    assert leases == [60, 301, None]
    lab.run(lab.saga("a", lease_seconds=0.5), {}, "short")
    assert lab.store.writes[3]["lease_until"] - lab.store.writes[3]["updated_at"] == 0.5
    with within_function(20_100):
        lab.run(lab.saga("a", "b"), {}, "2")
    leases = [write["lease_until"] and write["lease_until"] - write["updated_at"] for write in lab.store.writes[5:]]
    assert leases == [21, 21, None]


def test_whoever_lost_the_saga_stops(lab: Lab) -> None:
    made = lab.saga("a", step("other", lab.function(lambda _: other(lab))), "b")
    with pytest.raises(SagaBusyError, match="is run by somebody else, who has written"):
        lab.run(made, {}, "1")
    assert lab.journal == ["a"]


def other(lab: Lab) -> None:
    """Somebody who goes on with the saga meanwhile."""
    record = lab.store.inner.read("order#1", lab.clock())
    assert record is not None
    assert lab.store.inner.write(record.id, record.value, lab.clock(), version=record.version)


# --- the time of the function -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remaining_ms", "timeout_ms", "begins"), [(500, None, False), (600, None, True), (5099, 5000, False)]
)
def test_a_step_that_does_not_fit_is_not_begun(
    lab: Lab, remaining_ms: int, timeout_ms: int | None, begins: bool
) -> None:
    made = lab.saga(lab.step("a", timeout_ms=timeout_ms))
    with within_function(remaining_ms):
        if begins:
            assert lab.run(made, {}, "1").success
            return
        with pytest.raises(SagaSuspendedError, match=r"too little time left .* resume\('1'\) goes on") as caught:
            lab.run(made, {}, "1")
    assert (lab.journal, caught.value.record.status) == ([], SagaStatus.RUNNING)
    # Nobody has it: it can go on at once.
    assert lab.resume(made, "1").success


def test_a_later_step_waits_for_the_next_function(lab: Lab) -> None:
    made = lab.saga("a", "b")
    with within_function(*[900] * 3, 300), pytest.raises(SagaSuspendedError):
        lab.run(made, {"x": 1}, "1")
    assert lab.journal == ["a"]
    assert lab.resume(made, "1").context == {"x": 1, "a": 1, "b": 1}
    assert lab.journal == ["a", "b"]


def test_a_retry_that_does_not_fit_waits_too_and_is_not_uncertain(lab: Lab) -> None:
    made = lab.saga(lab.step("a", retries=2, retry_delay_ms=2000))
    lab.journal.fails("a", ValueError())
    with within_function(2000), pytest.raises(SagaSuspendedError):
        lab.run(made, {}, "1")
    result = lab.resume(made, "1")
    (one,) = result.record.steps
    assert (result.success, one.attempts, one.failures, one.uncertain) == (True, 2, 1, False)
    assert lab.pauses == []  # type: ignore[attr-defined]


def test_a_compensation_that_does_not_fit_waits(lab: Lab) -> None:
    made = lab.saga("a", "b")
    lab.journal.fails("b", ValueError("no"))
    with within_function(*[900] * 6, 300), pytest.raises(SagaSuspendedError) as caught:
        lab.run(made, {}, "1")
    assert (lab.journal, caught.value.record.status) == (["a", "b"], SagaStatus.COMPENSATING)
    assert lab.resume(made, "1").record.status == "compensated"
    assert lab.journal == ["a", "b", "-a"]


def test_the_end_of_time_within_a_step_is_no_failure_of_it(lab: Lab) -> None:
    waits = threading.Event()

    async def awaits(ctx: Any) -> None:
        if not waits.is_set():
            waits.set()
            await asyncio.Event().wait()

    def blocks(ctx: Any) -> None:
        if not waits.is_set():
            waits.set()
            threading.Event().wait(30)

    made = lab.saga("a", step("b", awaits if lab.asynchronous else blocks))
    with within_function(650), pytest.raises(SagaSuspendedError) as caught:
        lab.run(made, {}, "1")
    assert states(caught.value) == ["completed", "running"]
    assert caught.value.record.lease_until is None
    result = lab.resume(made, "1")
    assert (result.success, lab.journal) == (True, ["a"])
    assert result.record.steps[1].attempts == 2


def test_the_limit_of_the_task_around_is_no_failure_of_the_step(lab: Lab) -> None:
    async def awaits(ctx: Any) -> None:
        await asyncio.Event().wait()

    made = lab.saga("a", step("b", awaits if lab.asynchronous else lambda _: threading.Event().wait(30)))

    @task_handler(timeout_ms=60, task_log=False)
    def task(event: Any) -> Any:
        return made.run({}, "1")

    @task_handler(timeout_ms=60, task_log=False)
    async def atask(event: Any) -> Any:
        return await made.arun({}, "1")

    with pytest.raises(TaskTimeoutError):
        (atask if lab.asynchronous else task)({})
    assert lab.journal == ["a"]
    assert states(asyncio.run(made.aget("1"))) == ["completed", "running"]


def test_a_task_with_a_limit_of_its_own_within_a_step_fails_like_any(lab: Lab) -> None:
    @task_handler(timeout_ms=30, task_log=False)
    def inner(event: Any) -> None:
        threading.Event().wait(30)

    made = saga("s", [step("b", lambda _: inner({}))], store=lab.store)

    @task_handler(timeout_ms=60_000, task_log=False)
    def task(event: Any) -> Any:
        return made.run({}).record.error

    assert task({})["type"] == "TaskTimeoutError"


def test_a_cancelled_saga_stops_where_it_is() -> None:
    lab = Lab(asynchronous=True)
    reached = asyncio.Event()

    async def waits(ctx: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    made = lab.saga("a", step("b", waits))

    async def main() -> None:
        task = asyncio.create_task(made.arun({}, "1"))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert lab.journal == ["a"]
    assert states(asyncio.run(made.aget("1"))) == ["completed", "running"]


def test_a_task_that_is_thrown_away_ends_quietly(recwarn: pytest.WarningsRecorder) -> None:
    lab = Lab(asynchronous=True)

    async def waits(ctx: Any) -> None:
        await asyncio.Event().wait()

    coroutine = lab.saga("a", step("b", waits)).arun({}, "1")

    async def main() -> None:
        # A few turns of it, by hand: then nobody goes on with it.
        for _ in range(2):
            coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert lab.journal == ["a"]
    assert [str(warning.message) for warning in recwarn] == []


# --- looking ----------------------------------------------------------------------------------------------------------


def test_sagas_that_are_stuck_are_found() -> None:
    lab = Lab(asynchronous=False)
    made = lab.saga("a", "b", lease_seconds=60)
    for number in range(5):
        lab.journal.fails("b", Crash())
        with pytest.raises(Crash):
            made.run({}, f"run-{number}")
    lab.journal.fails("b", ValueError("no"))
    lab.journal.fails("-a", Crash())
    with pytest.raises(Crash):
        made.run({}, "undo-1")
    assert lab.run(made, {}, "done").success
    assert made.stuck(0) == []
    lab.clock.now += 60
    assert [one.id for one in made.stuck(60)] == ["run-0", "run-1", "run-2", "run-3", "run-4", "undo-1"]
    assert [one.id for one in made.stuck(60, limit=2)] == ["run-0", "run-1"]
    assert made.stuck(61) == []
    assert lab.saga("a", name="other").stuck(0) == []
    page = made.find("running", limit=3)
    assert [one.id for one in page.records] == ["run-0", "run-1", "run-2"]
    assert [one.id for one in made.find("running", limit=3, after=page.after).records] == ["run-3", "run-4"]
    assert [one.id for one in made.find("compensating").records] == ["undo-1"]
    assert {made.resume(one.id).record.status.value for one in made.stuck(60)} == {"completed", "compensated"}
    assert made.stuck(0) == []
    assert asyncio.run(made.astuck(0)) == []


def test_what_cannot_be_looked_for() -> None:
    made = Lab(asynchronous=False).saga("a")
    with pytest.raises(ValueError, match="'completed'"):
        made.find("completed")
    with pytest.raises(ValueError, match="older_than_seconds"):
        made.stuck(-1)
    assert made.get("missing") is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"format": 2},
        {"format": 1},
        {"format": 1, "id": "1", "name": "order", "status": "odd", "context": {}},
        {
            "format": 1,
            "id": "1",
            "name": "order",
            "status": "running",
            "context": {},
            "error": None,
            "fingerprint": "",
            "started_at": 0,
            "updated_at": 0,
            "lease_until": None,
            "steps": [{"name": "a"}],
        },
    ],
)
def test_a_record_that_is_no_saga_is_refused(lab: Lab, value: dict[str, Any]) -> None:
    lab.store.inner.write("order#1", value, lab.clock(), version=0)
    with pytest.raises(SagaRecordError, match=r"what is stored for the saga 'order#1'"):
        lab.resume(lab.saga("a"), "1")
    assert lab.journal == []


def test_records_are_kept_as_long_as_they_are_needed(lab: Lab) -> None:
    made = lab.saga("a", "b", keep_seconds=100)
    assert lab.run(made, {}, "done").success
    lab.journal.fails("b", ValueError("no"))
    lab.journal.fails("-a", *[ValueError("no")] * 3)
    with pytest.raises(SagaCompensationError):
        lab.run(made, {}, "failed")
    lab.clock.now += 99
    assert lab.resume(made, "done").success
    lab.clock.now += 1e9
    with pytest.raises(SagaNotFoundError, match="days"):
        lab.resume(made, "done")
    with pytest.raises(SagaCompensationError):
        lab.resume(made, "failed")


# --- blocking and asynchronous ----------------------------------------------------------------------------------------


def test_asynchronous_steps_are_refused_by_run_before_anything_is_done() -> None:
    lab = Lab(asynchronous=True)
    made = lab.saga("a")
    for refused in (lambda: made.run({}), lambda: made.resume("1")):
        with pytest.raises(AsyncStoreError, match=r"the step 'a' .* use await saga.a(run|resume)"):
            refused()
    assert lab.store.writes == []


def test_a_coroutine_that_nobody_expected_fails_its_step(pauses: list[float]) -> None:
    lab = Lab(asynchronous=False)
    made = lab.saga("a", step("b", lambda _: asyncio.sleep(0), retries=5))
    result = made.run({})
    assert result.record.error is not None
    assert "use arun() and aresume()" in result.record.error["message"]
    assert (lab.journal, pauses) == (["a", "-a"], [])
    assert asyncio.run(made.arun({})).success


def test_blocking_steps_in_an_asynchronous_run() -> None:
    lab = Lab(asynchronous=False)
    lab.journal.fails("c", ValueError("no"))
    result = asyncio.run(lab.saga("a", lab.journal.step("b", asynchronous=True), "c").arun({}))
    assert (result.success, lab.journal) == (False, ["a", "b", "c", "-b", "-a"])


def test_an_asynchronous_store() -> None:
    lab = Lab(asynchronous=False)
    made = saga("order", [lab.step("a"), lab.step("b")], store=AsyncStore())
    with pytest.raises(AsyncStoreError, match=r"await saga\.arun"):
        made.run({}, "1")
    assert lab.journal == []

    async def main() -> None:
        assert (await made.arun({}, "1")).success
        assert (await made.aresume("1")).success
        assert (await made.afind("running")).records == []
        assert await made.astuck() == []
        assert (await made.aget("1")) is not None

    asyncio.run(main())


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_that_cannot_be() -> None:
    for options in ({"lease_seconds": 0}, {"keep_seconds": -1}):
        with pytest.raises(ValueError, match="is more than 0"):
            saga("s", [step("a", dict)], **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is no store of records"):
        saga("s", [step("a", dict)], store={})  # type: ignore[arg-type]


def test_stores_by_their_names(tmp_path: Path) -> None:
    assert isinstance(create_default_saga_store(), MemoryRecordStore)
    for store in (create_memory_saga_store(), create_sqlite_saga_store(tmp_path / "sagas.db")):
        made = saga("s", [step("a", lambda ctx: {**ctx, "ü": "é"})], store=store)
        assert made.run({}, "ü#1").context == {"ü": "é"}
        assert made.resume("ü#1").success
    default = saga("s", [step("a", dict)])
    assert default.run({}, "1").success
    assert default.resume("1").success
    assert create_redis_saga_store(url="redis://127.0.0.1:1").find is not None
    assert create_dynamodb_saga_store("table", client=tmp_path).table_name == "table"  # type: ignore[attr-defined]


def test_a_failure_is_logged_with_its_stack_trace(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.journal.fails("b", ValueError("first"), ValueError("declined"))
    lab.run(lab.saga("a", lab.step("b", retries=1)), {}, "1")
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["message"], first["errorMessage"]) == ("an attempt of the saga has failed, trying again", "first")
    assert (second["level"], second["saga"], second["sagaId"], second["step"]) == ("WARN", "order", "1", "b")
    assert "declined" in second["stackTrace"][-1]


def test_many_sagas_at_once_in_one_store(lab: Lab) -> None:
    made = lab.saga("a", "b")
    calls: list[Callable[[], Any]] = [lambda n=n: lab.run(made, {"n": n}) for n in range(8)]  # type: ignore[misc]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(lab.journal) == ["a"] * 8 + ["b"] * 8
