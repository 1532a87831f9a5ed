"""``@idempotent``: which calls are the same, what is given again, and what cannot be."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.runtime_patterns.idempotency_lab import Asynchronous, Clock
from venturekit.runtime import (
    BadRequestError,
    HandlerConfigError,
    Logger,
    TenantContext,
    UserContext,
    current_context,
    handler,
    task_handler,
)
from venturekit.runtime.encoding import NotSerializableError
from venturekit.runtime.patterns import (
    IdempotencyKeyReusedError,
    IdempotencyPendingError,
    IdempotencyResultError,
    create_memory_idempotency_store,
    idempotent,
)
from venturekit.runtime.patterns.driving import AsyncStoreError
from venturekit.testing import FakeLambdaContext

KINDS = ("sync", "async", "async store")
QUIET = Logger(min_level="silent")


class Charging:
    """A function that says how often it has run, blocking or not, with one kind of store or the other."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.ran = 0
        self.store = Asynchronous() if kind == "async store" else create_memory_idempotency_store()
        decorate = idempotent(store=self.store, **options)  # type: ignore[arg-type]

        def charge(order: Any, amount: Any = 1, *more: Any, currency: str = "EUR") -> Any:
            self.ran += 1
            return {"order": order, "number": self.ran}

        async def acharge(order: Any, amount: Any = 1, *more: Any, currency: str = "EUR") -> Any:
            await asyncio.sleep(0)
            return charge(order)

        self.is_async = kind != "sync"
        self.decorated: Any = decorate(acharge) if self.is_async else decorate(charge)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.decorated(*args, **kwargs)
        return asyncio.run(result) if self.is_async else result


@pytest.mark.parametrize("kind", KINDS)
def test_once_for_each_key(kind: str) -> None:
    charge = Charging(kind, key=lambda order: order["id"])
    first = charge({"id": 7})
    assert charge({"id": 7}) == first == {"order": {"id": 7}, "number": 1}
    assert charge({"id": 8})["number"] == 2
    with pytest.raises(IdempotencyKeyReusedError):
        charge({"id": 7, "more": True})
    assert charge.ran == 2


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_however_they_are_written(kind: str) -> None:
    charge = Charging(kind)
    for args, kwargs in (
        ((1,), {}),
        ((1, 1), {}),
        ((), {"order": 1}),
        ((), {"amount": 1, "order": 1, "currency": "EUR"}),
    ):
        assert charge(*args, **kwargs)["number"] == 1
    for number, (args, kwargs) in enumerate((((1, 2), {}), ((1, 1, 3), {}), ((1,), {"currency": "USD"})), 2):
        assert charge(*args, **kwargs)["number"] == number


def test_the_order_of_members_says_nothing_and_everything_else_does() -> None:
    charge = Charging("sync")
    assert charge({"a": 1, "b": [1, 2]}) == charge({"b": [1, 2], "a": 1})
    for other in ({"a": 1, "b": [2, 1]}, {"a": "1", "b": [1, 2]}, {"a": 1}, None, "a", 1, True):
        before = charge.ran
        charge(other)
        assert charge.ran == before + 1


def test_a_payload_of_which_only_a_part_matters() -> None:
    charge = Charging("sync", key=lambda order: order["id"], payload=lambda order: order["amount"])
    assert charge({"id": 1, "amount": 5, "sent": 1}) == charge({"id": 1, "amount": 5, "sent": 2})
    with pytest.raises(IdempotencyKeyReusedError):
        charge({"id": 1, "amount": 6})


def test_no_key_is_no_idempotency() -> None:
    charge = Charging("sync", key=lambda order: order.get("id"))
    assert [charge({})["number"], charge({})["number"]] == [1, 2]
    assert Charging("async", key=lambda order: None)(1)["number"] == 1


@pytest.mark.parametrize("key", ["", True, 1.5, b"x", ["a"]])
def test_keys_that_are_none(key: Any) -> None:
    charge = Charging("sync", key=lambda order: key)
    with pytest.raises(BadRequestError, match="a text or a number is expected"):
        charge(1)
    assert charge.ran == 0


def test_arguments_that_json_cannot_hold() -> None:
    charge = Charging("sync")
    with pytest.raises(NotSerializableError, match="payload= can choose"):
        charge(object())
    assert charge.ran == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_runs_again(kind: str) -> None:
    left = [ValueError("no"), KeyError("x")]
    options: Any = {"store": Asynchronous() if kind == "async store" else create_memory_idempotency_store()}

    def fn(order: int) -> str:
        if left:
            raise left.pop()
        return "done"

    async def afn(order: int) -> str:
        return fn(order)

    decorated: Any = idempotent(**options)(fn if kind == "sync" else afn)
    call = (lambda: decorated(1)) if kind == "sync" else (lambda: asyncio.run(decorated(1)))
    for expected in (KeyError, ValueError):
        with pytest.raises(expected):
            call()
    assert call() == "done"


def test_a_call_that_is_cancelled_frees_its_key() -> None:
    ran: list[int] = []

    @idempotent(store=Asynchronous())
    async def slow(order: int) -> str:
        ran.append(1)
        if len(ran) == 1:
            await asyncio.Event().wait()
        return "done"

    async def scene() -> str:
        task = asyncio.ensure_future(slow(1))
        while not ran:
            await asyncio.sleep(0)
        with pytest.raises(IdempotencyPendingError):
            await slow(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await slow(1)

    assert asyncio.run(scene()) == "done"


# --- results --------------------------------------------------------------------------------------------------------


@dataclass
class Receipt:
    id: int
    lines: list[str]


def test_results_are_given_again_as_what_they_were() -> None:
    made = Receipt(1, ["a"])

    def fn() -> Receipt:
        return made

    def once(**options: Any) -> Any:
        wrapped = idempotent(store=create_memory_idempotency_store(), **options)(fn)
        assert wrapped() is made
        return wrapped()

    assert once() == {"id": 1, "lines": ["a"]}
    assert once(result_type=Receipt) == made
    assert once(serialize=lambda receipt: receipt.id, deserialize=lambda id: Receipt(id, ["a"])) == made


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "ä\ud800", [1, [2]], {"a": {"b": None}}, "", 2**70])
def test_what_json_has_comes_back_as_it_is(value: Any) -> None:
    @idempotent(store=create_memory_idempotency_store())
    def fn() -> Any:
        return value

    assert [fn(), fn()] == [value, value]


@pytest.mark.parametrize("value", [object(), b"x", float("nan"), {"a": {1, object()}}])
def test_a_result_that_cannot_be_kept_is_returned_and_does_not_run_again(value: Any) -> None:
    ran: list[int] = []

    @idempotent(store=create_memory_idempotency_store())
    def fn() -> Any:
        ran.append(1)
        return value

    assert fn() is value
    with pytest.raises(IdempotencyResultError, match="has run with this key, but its result could not be kept"):
        fn()
    assert ran == [1]


def test_replays_can_be_noticed() -> None:
    seen: list[Any] = []
    charge = Charging("sync", on_replay=seen.append)
    charge(1)
    assert seen == []
    assert seen == [charge(1)]


# --- scope ----------------------------------------------------------------------------------------------------------


def test_keys_of_another_tenant_user_function_or_name_are_others() -> None:
    ran: list[Any] = []
    store = create_memory_idempotency_store()

    def made(name: str | None = None) -> Any:
        @idempotent(key=lambda event: event["id"], store=store, name=name)
        def work(event: Any) -> int:
            ran.append(event)
            return len(ran)

        @task_handler(logger=QUIET, task_log=False)
        def main(event: Any, ctx: Any) -> Any:
            ctx.tenant = TenantContext(event["tenant"]) if "tenant" in event else None
            ctx.user = UserContext(event["user"]) if "user" in event else None
            return work({"id": event["id"]})

        return main

    main, other = made(), made("other")
    a, b = FakeLambdaContext(function_name="a"), FakeLambdaContext(function_name="b")
    events = [{"id": 1}, {"id": 1, "tenant": "t"}, {"id": 1, "user": "t"}, {"id": 1, "tenant": "t", "user": "t"}]
    assert [main(event, a) for event in events * 2] == [1, 2, 3, 4] * 2
    assert [main(events[0], b), other(events[0], a), other(events[0], b)] == [5, 6, 6]


def test_in_a_task_its_time_is_the_time_of_the_record() -> None:
    clock, store = Clock(), create_memory_idempotency_store()
    seen: list[Any] = []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def write(self, id: str, value: Any, now: float, **options: Any) -> Any:
            seen.append((value["status"], value["until"] - clock.now))
            return store.write(id, value, now, **options)

    @task_handler(retries=1, retry_delay_ms=0, logger=QUIET, task_log=False)
    @idempotent(key=lambda event: event["id"], store=Noting(), clock=clock)  # type: ignore[arg-type]
    def main(event: Any, ctx: Any, logger: Any) -> str:
        if len(seen) == 1:
            raise ConnectionError
        return ctx.function_name

    assert main({"id": 1}, FakeLambdaContext(timeout_ms=5000)) == "function"
    assert seen == [("pending", 5.0), ("pending", 5.0), ("completed", 86_400.0)]
    assert current_context() is None


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_functions_that_cannot_be_idempotent() -> None:
    def generator() -> Any:
        yield 1

    async def asynchronous_generator() -> Any:
        yield 1

    decorate = idempotent(store=create_memory_idempotency_store())
    for made in (handler(lambda: 1), task_handler(lambda: 1)):
        with pytest.raises(HandlerConfigError, match="below the decorator"):
            decorate(made)
    for streams in (generator, asynchronous_generator):
        with pytest.raises(HandlerConfigError, match="only a whole result can be kept"):
            decorate(streams)
    for odd in (Receipt, 5):
        with pytest.raises(HandlerConfigError, match="is for functions"):
            decorate(odd)  # type: ignore[arg-type]
    with pytest.raises(HandlerConfigError, match="its store is asynchronous"):
        idempotent(store=Asynchronous())(lambda: 1)
    with pytest.raises(HandlerConfigError, match="belong together"):
        idempotent(store=create_memory_idempotency_store(), serialize=str, name="f")(lambda: 1)
    with pytest.raises(TypeError, match="no store of records"):
        idempotent(store={})  # type: ignore[arg-type]


def test_a_store_that_is_asynchronous_without_saying_so() -> None:
    store = Asynchronous()

    class Sly:
        def read(self, *arguments: Any) -> Any:
            return store.read(*arguments)

        def write(self, *arguments: Any, **options: Any) -> Any:
            return store.write(*arguments, **options)

    ran: list[int] = []
    decorated = idempotent(store=Sly(), name="sly")(lambda: ran.append(1))  # type: ignore[arg-type]
    with pytest.raises(AsyncStoreError, match="async def"):
        decorated()
    assert ran == []


def test_it_is_still_the_function_that_it_was() -> None:
    def charge(order: int) -> str:
        """Charges."""
        return "x"

    decorated = idempotent(store=create_memory_idempotency_store())(charge)
    assert (decorated.__name__, decorated.__doc__) == ("charge", "Charges.")
    assert inspect.signature(decorated) == inspect.signature(charge)
