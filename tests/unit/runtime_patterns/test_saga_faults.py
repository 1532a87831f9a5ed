"""Sagas on their bad days: errors in disguise, limits at the wrong moment, sagas in sagas, leases, foreign records."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_patterns.saga_lab import AsyncStore, Crash, Lab, StoreDownError, in_function, states
from venturekit.runtime import TaskTimeoutError, parallel, saga, step, task_handler
from venturekit.runtime.patterns import (
    SagaBusyError,
    SagaCompensationError,
    SagaContextError,
    SagaRecordError,
    SagaStatus,
    SagaSuspendedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

within_function = contextmanager(in_function)


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def lab(request: pytest.FixtureRequest, pauses: list[float]) -> Lab:
    return Lab(asynchronous=request.param)


class PaymentError(Exception):
    """What a step makes of whatever went wrong."""


# --- errors that hide that the work may be done -----------------------------------------------------------------------


def caused(error: BaseException) -> None:
    raise PaymentError("not paid") from error


def in_between(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        raise PaymentError("not paid")


def grouped(error: BaseException) -> None:
    assert isinstance(error, Exception)
    raise ExceptionGroup("not paid", [ValueError("x"), ExceptionGroup("y", [error])])


def hidden(error: BaseException) -> None:
    raise PaymentError("not paid") from None


@pytest.mark.parametrize(
    ("raises", "error", "undone"),
    [
        (caused, ConnectionResetError(), True),
        (caused, TimeoutError(), True),
        (caused, ValueError("declined"), False),
        (in_between, TimeoutError(), True),
        (in_between, ValueError("declined"), False),
        (grouped, TimeoutError(), True),
        (grouped, ValueError("declined"), False),
        (hidden, TimeoutError(), False),
    ],
)
def test_an_error_that_was_made_of_a_lost_answer_leaves_the_step_to_be_undone(
    lab: Lab, raises: Callable[[BaseException], None], error: Exception, undone: bool
) -> None:
    pay = step("pay", lab.function(lambda _: raises(error)), lab.function(lambda _: lab.journal.append("-pay")))
    result = lab.run(lab.saga("a", pay))
    assert lab.journal == ["a", *(["-pay"] if undone else []), "-a"]
    assert result.record.steps[1].uncertain is undone


def test_what_the_caller_deals_with_is_no_cause_of_a_steps_error(lab: Lab) -> None:
    lab.journal.fails("b", ValueError("declined"))
    try:
        raise ConnectionError("of something else")
    except ConnectionError:
        result = lab.run(lab.saga("a", "b"))
    assert (lab.journal, result.record.steps[1].uncertain) == (["a", "b", "-a"], False)


def test_a_limit_that_the_step_made_an_error_of_its_own_of(lab: Lab) -> None:
    def blocks(ctx: Any) -> None:
        try:
            threading.Event().wait(30)
        except Exception as late:
            raise PaymentError("not paid") from late

    async def awaits(ctx: Any) -> None:
        try:
            await asyncio.Event().wait()
        except BaseException:
            raise PaymentError("not paid")

    undo = lab.function(lambda _: lab.journal.append("-pay"))
    result = lab.run(lab.saga("a", step("pay", awaits if lab.asynchronous else blocks, undo, timeout_ms=20)))
    assert lab.journal == ["a", "-pay", "-a"]
    assert result.record.error == {"step": "pay", "type": "PaymentError", "message": "not paid"}


def test_the_end_of_time_that_the_step_made_an_error_of_its_own_of() -> None:
    lab = Lab(asynchronous=False)
    ends = [True]

    def blocks(ctx: Any) -> None:
        try:
            if ends.pop():
                threading.Event().wait(30)
        except Exception:
            ends.append(False)
            raise PaymentError("not paid") from None

    made = lab.saga("a", step("b", blocks))
    with within_function(650), pytest.raises(SagaSuspendedError):
        made.run({}, "1")
    assert (made.resume("1").success, lab.journal) == (True, ["a"])


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_without_words_is_an_error_like_any(lab: Lab) -> None:
    lab.journal.fails("b", UnspeakableError(), UnspeakableError())
    result = lab.run(lab.saga("a", lab.step("b", retries=1)))
    assert lab.journal == ["a", "b", "b", "-a"]
    assert result.record.error is not None
    assert result.record.error["type"] == "UnspeakableError"


# --- StopIteration, CancelledError ------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a group"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking run", "async run"])
def test_a_blocking_step_that_found_nothing_more(grouped: bool, asynchronous: bool) -> None:
    lab = Lab(asynchronous=False)
    empty = step("empty", lambda _: next(iter(())))
    made = lab.saga("a", parallel("g", [empty, lab.step("b")]) if grouped else empty)
    result = asyncio.run(asyncio.wait_for(made.arun({}), 20)) if asynchronous else made.run({})
    assert result.record.status == "compensated"
    assert result.record.error is not None
    assert "StopIteration" in f"{result.record.error}"
    assert lab.journal == (["a", "b", "-b", "-a"] if grouped else ["a", "-a"])


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a group"])
@pytest.mark.parametrize("blocks", [False, True], ids=["awaits", "blocks first"])
def test_a_step_whose_own_work_was_cancelled_has_failed(grouped: bool, blocks: bool) -> None:
    lab = Lab(asynchronous=True)

    async def awaits(ctx: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    def gives(ctx: Any) -> Any:
        return awaits(ctx)

    undo = lab.function(lambda _: lab.journal.append("-cancelled"))
    cancelled = step("cancelled", gives if blocks else awaits, undo)
    result = lab.run(lab.saga("a", parallel("g", [cancelled, lab.step("b")]) if grouped else cancelled))
    assert result.record.error is not None
    assert result.record.error["type"] == "CancelledError"
    assert sorted(lab.journal) == sorted(["a", "-cancelled", "-a", *(["b", "-b"] if grouped else [])])


def test_a_blocking_step_whose_own_loop_was_cancelled_has_failed() -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    lab = Lab(asynchronous=False)
    assert lab.run(lab.saga("a", step("b", lambda _: asyncio.run(main())))).record.status == "compensated"
    assert lab.journal == ["a", "-a"]


def test_a_store_call_that_is_cancelled_leaves_no_step_running() -> None:
    lab, ended, reached = Lab(asynchronous=True), [], asyncio.Event()

    class Waiting(AsyncStore):
        async def write(self, id: str, value: dict[str, Any], now: float, **options: Any) -> bool:
            if options["version"] == 1:
                reached.set()
                await asyncio.Event().wait()
            return await super().write(id, value, now, **options)

    async def waits(ctx: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def main() -> None:
        made = saga("s", [parallel("g", [step("b", waits), lab.step("c")])], store=Waiting())
        task = asyncio.create_task(made.arun({}, "1"))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["cancelled"]

    asyncio.run(main())


def test_a_task_whose_time_is_over_in_a_store_call_waits_for_no_thread() -> None:
    lab, release, returned = Lab(asynchronous=False), threading.Event(), []
    write = lab.store.write

    def slow(id: str, value: dict[str, Any], now: float, **options: Any) -> bool:
        if options["version"] == 1:
            threading.Event().wait(30)
        return write(id, value, now, **options)

    lab.store.write = slow  # type: ignore[method-assign]

    def waits(ctx: Any) -> None:
        release.wait(10)
        returned.append("too late")

    made = lab.saga(parallel("g", [step("b", waits), lab.step("c")]))

    @task_handler(timeout_ms=60, task_log=False)
    def task(event: Any) -> Any:
        return made.run({}, "1")

    with pytest.raises(TaskTimeoutError):
        task({})
    assert returned == []
    release.set()


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_quick_sibling_does_not_shorten_the_lease_of_a_slow_one(lab: Lab) -> None:
    written, write = threading.Event(), lab.store.write

    def watched(id: str, value: dict[str, Any], now: float, **options: Any) -> bool:
        if any(one["state"] == "completed" for one in value["steps"]):
            written.set()
        return write(id, value, now, **options)

    lab.store.write = watched  # type: ignore[method-assign]

    async def awaits(ctx: Any) -> None:
        while not written.is_set():
            await asyncio.sleep(0)

    slow = step("slow", awaits if lab.asynchronous else lambda _: (written.wait(20), None)[1], timeout_ms=300_000)
    lab.run(lab.saga(parallel("g", [slow, lab.step("quick")]), lab.step("z")), {}, "1")
    leases = [one["lease_until"] and one["lease_until"] - lab.clock.now for one in lab.store.writes]
    assert leases == [301, 301, 60, None]


def test_the_lease_lasts_through_the_wait_before_another_attempt_and_then_the_attempt(lab: Lab) -> None:
    lab.journal.fails("a", ValueError("1"))
    lab.run(lab.saga(lab.step("a", retries=1, retry_delay_ms=90_000)), {}, "1")
    leases = [write["lease_until"] and write["lease_until"] - lab.clock.now for write in lab.store.writes]
    assert leases == [60, 150, None]


@pytest.mark.parametrize("late", [False, True], ids=["not written", "written"])
@pytest.mark.parametrize("write", range(1, 6))
def test_whoever_was_failed_by_the_store_may_go_on_at_once(lab: Lab, write: int, late: bool) -> None:
    made = lab.saga("a", parallel("g", [lab.step("b"), lab.step("c")]), "d")
    lab.store.fail(write, StoreDownError(), late=late)
    with pytest.raises(StoreDownError):
        lab.run(made, {}, "1")
    assert lab.run(made, {}, "1").success
    # What is known of the steps is not lost, but for those of a group that were running.
    assert [lab.journal.count(name) for name in "ad"] == [1, 1]


def test_a_store_that_stays_down_is_not_asked_for_long(lab: Lab) -> None:
    asked: list[str] = []

    def down(*given: Any, **options: Any) -> Any:
        asked.append(lab.store.writes[-1]["status"])
        raise StoreDownError

    begins = step("b", lab.function(lambda _: setattr(lab.store, "write", down) or setattr(lab.store, "read", down)))
    with pytest.raises(StoreDownError):
        lab.run(lab.saga("a", begins), {}, "1")
    assert len(asked) == 2
    # Where little time is left it is not asked at all: the lease ends soon.
    del lab.store.write, lab.store.read, asked[:]
    with within_function(9_000), pytest.raises(StoreDownError):
        lab.run(lab.saga("a", begins), {}, "2")
    assert len(asked) == 1


def test_an_attempt_of_a_task_goes_on_where_the_last_one_was_ended(lab: Lab) -> None:
    slow = [True]

    def blocks(ctx: Any) -> None:
        if slow.pop():
            slow.append(False)
            threading.Event().wait(30)

    async def awaits(ctx: Any) -> None:
        if slow.pop():
            slow.append(False)
            await asyncio.Event().wait()

    made = lab.saga("a", step("b", awaits if lab.asynchronous else blocks), "c")

    @task_handler(timeout_ms=60, retries=1, retry_delay_ms=1, task_log=False)
    def task(event: Any) -> Any:
        return made.run({}, "1").success

    @task_handler(timeout_ms=60, retries=1, retry_delay_ms=1, task_log=False)
    async def atask(event: Any) -> Any:
        return (await made.arun({}, "1")).success

    assert (atask if lab.asynchronous else task)({}) is True
    assert lab.journal == ["a", "c"]


def test_a_thread_that_goes_on_keeps_the_lease() -> None:
    lab, release = Lab(asynchronous=False), threading.Event()
    made = lab.saga(parallel("g", [step("b", lambda _: (release.wait(20), None)[1]), lab.step("c")]))

    @task_handler(timeout_ms=60, task_log=False)
    def task(event: Any) -> Any:
        return made.run({}, "1")

    @task_handler(timeout_ms=60, task_log=False)
    async def atask(event: Any) -> Any:
        return await made.arun({}, "2")

    for each in (task, atask):
        with pytest.raises(TaskTimeoutError):
            each({})
    for number in "12":
        with pytest.raises(SagaBusyError):
            made.resume(number)
    release.set()


# --- sagas within sagas -----------------------------------------------------------------------------------------------


class Nested:
    """A saga of one step, which is a saga of two."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.inner = lab.saga("x", "y", name="inner", lease_seconds=60)

        def blocks(ctx: Any) -> Any:
            return {**ctx, **self.inner.run({}, "1").context}

        async def awaits(ctx: Any) -> Any:
            return {**ctx, **(await self.inner.arun({}, "1")).context}

        whole = step("whole", awaits if lab.asynchronous else blocks, lab.function(lambda _: lab.journal.append("-w")))
        self.outer = lab.saga("a", whole, name="outer", lease_seconds=1)


def test_a_saga_without_time_suspends_the_saga_that_it_is_a_step_of(lab: Lab) -> None:
    nested = Nested(lab)
    # Enough for the first step of each, and for the inner saga to begin.
    with within_function(*[900] * 8, 300), pytest.raises(SagaSuspendedError, match=r"the saga 'outer' .*'whole'"):
        lab.run(nested.outer, {}, "1")
    assert lab.journal in (["a"], ["a", "x"])
    assert lab.resume(nested.outer, "1").context == {"a": 1, "x": 1, "y": 1}
    assert lab.journal == ["a", "x", "y"]


def test_a_saga_whose_inner_one_is_still_leased_waits_for_it(lab: Lab) -> None:
    nested = Nested(lab)
    lab.journal.fails("y", Crash())
    with pytest.raises(Crash):
        lab.run(nested.outer, {}, "1")
    lab.clock.now += 30
    with pytest.raises(SagaSuspendedError, match=r"the saga 'inner' .* is run by somebody else") as caught:
        lab.resume(nested.outer, "1")
    assert (caught.value.record.status, lab.journal) == (SagaStatus.RUNNING, ["a", "x", "y"])
    assert isinstance(caught.value.__cause__, SagaBusyError)
    lab.clock.now += 30
    assert lab.resume(nested.outer, "1").context == {"a": 1, "x": 1, "y": 1}
    assert lab.journal == ["a", "x", "y", "y"]


def test_a_saga_that_could_not_be_undone_leaves_the_step_to_be_undone(lab: Lab) -> None:
    nested = Nested(lab)
    lab.journal.fails("y", ValueError("no"))
    lab.journal.fails("-x", *[ValueError("not undone")] * 3)
    result = lab.run(nested.outer, {}, "1")
    assert result.record.error is not None
    assert result.record.error["type"] == SagaCompensationError.__name__
    assert lab.journal == ["a", "x", "y", "-x", "-x", "-x", "-w", "-a"]


# --- contexts ---------------------------------------------------------------------------------------------------------


def test_the_order_of_names_is_no_difference(lab: Lab) -> None:
    given = {"m": {"x": 1, "y": [{"p": 1, "q": 2}]}}
    turned = {"m": {"y": [{"q": 2, "p": 1}], "x": 1}}
    steps = [
        step("b", lab.function(lambda _: given)),
        step("c", lab.function(lambda _: turned)),
    ]
    assert lab.run(lab.saga(parallel("g", steps))).context == given
    # Who only turned it around has not changed it.
    steps = [step("b", lab.function(lambda _: turned)), step("c", lab.function(lambda _: {"m": {"x": 2}}))]
    assert lab.run(lab.saga(parallel("g", steps)), given).context == {"m": {"x": 2}}


def test_a_context_that_breaks_while_it_is_written_is_no_context(lab: Lab) -> None:
    class Model:
        def model_dump(self, mode: str) -> Any:
            raise KeyError("lost")

    with pytest.raises(SagaContextError, match="KeyError"):
        lab.run(lab.saga("a"), {"m": Model()})
    gives = step("gives", lab.function(lambda _: {"m": Model()}), lab.function(lambda _: lab.journal.append("-gives")))
    result = lab.run(lab.saga("a", gives))
    assert (states(result), lab.journal) == (["compensated"] * 2, ["a", "-gives", "-a"])


# --- lists ------------------------------------------------------------------------------------------------------------


def test_a_record_that_cannot_be_read_hides_no_other(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    made = lab.saga("a")
    for number in "13":
        lab.journal.fails("a", Crash())
        with pytest.raises(Crash):
            lab.run(made, {}, number)
    later = {**lab.store.writes[0], "format": 2}
    lab.store.inner.write("order#2", later, lab.clock.now, version=0, keys={"state": "order#running"})
    lab.clock.now += 100
    found = asyncio.run(made.afind("running")) if lab.asynchronous else made.find("running")
    assert [one.id for one in found.records] == ["1", "3"]
    assert [one.id for one in made.stuck(0)] == ["1", "3"]
    assert "'order#2' has the format 2" in capsys.readouterr().out


def test_what_was_tried_last_comes_last(lab: Lab) -> None:
    made = lab.saga("a")
    for number in "123":
        lab.journal.fails("a", Crash())
        with pytest.raises(Crash):
            lab.run(made, {}, number)
    lab.clock.now += 100
    # It ends its process each time: the others must have their turn before it has its next.
    lab.journal.fails("a", Crash())
    with pytest.raises(Crash):
        lab.resume(made, "1")
    lab.clock.now += 100
    assert [one.id for one in made.stuck(0)] == ["2", "3", "1"]


def test_a_record_of_another_saga_is_none_of_this_one(lab: Lab) -> None:
    lab.run(lab.saga("a"), {}, "1")
    lab.store.inner.write("order#2", lab.store.writes[0], lab.clock.now, version=0)
    with pytest.raises(SagaRecordError, match="'order#2'"):
        lab.resume(lab.saga("a"), "2")
