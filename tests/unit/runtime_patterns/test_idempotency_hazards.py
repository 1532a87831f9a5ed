"""What goes wrong around calls that take effect once: whose answer it is, what cannot be kept, what is cut off."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_patterns.idempotency_lab import Asynchronous, Faulty
from venturekit.runtime import (
    HandlerConfigError,
    Logger,
    Middleware,
    Response,
    TaskTimeoutError,
    UserContext,
    batch_handler,
    create_memory_idempotency_store,
    error,
    handler,
    idempotency_middleware,
    set_transaction_provider,
    task_handler,
)
from venturekit.runtime.encoding import NotSerializableError
from venturekit.runtime.patterns import IdempotencyPendingError, IdempotencyResultError, idempotent
from venturekit.runtime.patterns.driving import adrive, drive
from venturekit.runtime.patterns.idempotency_flow import Call, Idempotency
from venturekit.runtime.patterns.idempotency_keys import fingerprint
from venturekit.runtime.patterns.record_checks import RecordValueError
from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.runtime.ws import ws_handler
from venturekit.testing import Client, websocket_message_event

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET = Logger(min_level="silent")
KEY = {"Idempotency-Key": "k-1"}
both = pytest.mark.parametrize("kind", ["sync", "async"])


class Scene:
    """A handler behind the middleware; ``answer`` makes the response of each run."""

    def __init__(
        self, answer: Any = lambda ctx, n: {"n": n}, inner: Any = (), made: Any = None, **options: Any
    ) -> None:
        self.ran = 0
        options.setdefault("store", create_memory_idempotency_store())

        def fn(body: Any, ctx: Any) -> Any:
            self.ran += 1
            return answer(ctx, self.ran)

        chain = [idempotency_middleware(**options), *inner]
        main = handler(fn, middleware=chain, access_log=False, logger=QUIET, **(made or {}))
        self.client = Client({"$default": main})

    def send(self, method: str = "POST", path: str = "/orders", **options: Any) -> Any:
        options.setdefault("json", {"sku": "a"})
        return self.client.request(method, path, headers={**KEY, **options.pop("headers", {})}, **options)


def is_replay(response: Any) -> bool:
    return bool(response.headers.get("idempotent-replayed") == "true")


# --- whose answer it is ---------------------------------------------------------------------------------------------


def test_what_a_call_between_functions_was_answered_is_not_for_those_outside() -> None:
    """Scopes are not checked for the one, and are for the others."""
    scene = Scene(made={"scopes": ["orders:write"]})
    for sender in ({}, {"user_id": "u"}):
        assert scene.send(internal=True, **sender).status_code == 201
    assert scene.send().status_code == 401
    assert scene.send(claims={"sub": "u"}).status_code == 403
    assert is_replay(scene.send(internal=True, user_id="u"))


def test_whoever_brings_a_token_that_nobody_has_read_shares_with_nobody() -> None:
    scene = Scene()
    tokens = ("Bearer a", "Bearer b", "Bearer a")
    assert [scene.send(headers={"Authorization": token}).json()["data"]["n"] for token in tokens] == [1, 2, 1]
    # A signature is another one with every attempt.
    signed = [scene.send(headers={"Authorization": f"AWS4-HMAC-SHA256 Signature={n}"}) for n in range(2)]
    assert is_replay(signed[1])


@pytest.mark.parametrize("what", ["user", "tenant"])
def test_nothing_is_kept_when_it_was_not_known_yet_whose_it_is(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    def who(ctx: Any, next: Any) -> Any:
        setattr(ctx, what, UserContext(ctx.headers["x-who"]))
        return next()

    scene = Scene(inner=[Middleware("who", who)])
    assert [scene.send(headers={"X-Who": name}).json()["data"]["n"] for name in "ab"] == [1, 2]

    main = handler(
        lambda: 1, middleware=[idempotency_middleware(MemoryRecordStore()), Middleware("who", who)], access_log=False
    )
    Client(main).post("/", headers={**KEY, "X-Who": "a"})
    assert "stands before what finds out who asks" in capsys.readouterr().out


def test_fields_of_a_body_are_those_of_one_route() -> None:
    scene = Scene(payload=["amount"])
    assert scene.send(path="/orders/1/pay", json={"amount": 1}).status_code == 201
    for other in ({"path": "/orders/2/pay"}, {"path": "/orders/1/pay", "method": "PUT"}):
        assert scene.send(**other, json={"amount": 1}).status_code == 422
    assert is_replay(scene.send(path="/orders/1/pay", json={"amount": 1, "sent": "later"}))


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_data_of_a_response_without_content() -> None:
    scene = Scene(lambda ctx, n: {"data": {"deleted": n}}, methods=["DELETE"])
    first, again = scene.send("DELETE"), scene.send("DELETE")
    assert (first.status_code, again.status_code, again.bytes, is_replay(again)) == (204, 204, b"", True)


@pytest.mark.parametrize("status", [408, 425, 429])
def test_what_asks_to_come_again_is_not_kept(status: int) -> None:
    scene = Scene(lambda ctx, n: error(status) if n == 1 else {"n": n})
    assert [scene.send().status_code, scene.send().status_code] == [status, 201]


def test_what_can_be_read_once_is_in_the_first_answer_too() -> None:
    scene = Scene(lambda ctx, n: {"rows": (row for row in (1, 2)), "more": [map(str, [3])]})
    assert [scene.send().json() for _ in range(2)] == [{"data": {"rows": [1, 2], "more": [["3"]]}}] * 2


class Small(MemoryRecordStore):
    """Takes values up to a size, as DynamoDB does."""

    def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        if len(str(value)) > 2000:
            raise RecordValueError("the value is too large")
        return super().write(id, value, now, **options)


def test_an_answer_that_is_too_large_for_the_store_is_not_a_reason_to_run_again() -> None:
    scene = Scene(lambda ctx, n: Response("x" * 5000), store=Small(), pending_seconds=0.001)
    assert (scene.send().text, scene.ran) == ("x" * 5000, 1)
    assert (scene.send().status_code, scene.ran) == (500, 1)

    ran: list[int] = []

    @idempotent(key=lambda n: n, store=Small())
    def fn(n: int) -> str:
        ran.append(n)
        return "x" * 5000

    assert len(fn(1)) == 5000
    with pytest.raises(IdempotencyResultError, match="the value is too large"):
        fn(1)
    assert ran == [1]


def test_results_that_can_be_read_once_reach_the_caller() -> None:
    @idempotent(key=lambda n: n, store=create_memory_idempotency_store())
    def fn(n: int) -> Any:
        rows = iter([1, 2])
        return rows if n == 1 else {"rows": rows}

    assert list(fn(1)) == list(fn(2)["rows"]) == [1, 2]
    for n in (1, 2):
        with pytest.raises(IdempotencyResultError, match="read once"):
            fn(n)


# --- which calls are the same ---------------------------------------------------------------------------------------


@dataclass
class Tagged:
    tags: Any


def test_sets_are_the_same_in_whatever_order_they_are() -> None:
    # These collide in a set, which then has them in the order in which they came.
    one, other = set([0, 8, 16, "a"]), set(["a", 16, 8, 0])  # noqa: C405 - two literals would be one constant
    assert list(one) != list(other)
    assert fingerprint({"x": one}) == fingerprint({"x": other}) == fingerprint({"x": frozenset(other)})
    assert fingerprint(Tagged(one)) == fingerprint(Tagged(other)) != fingerprint(Tagged(one - {8}))


def test_arguments_that_can_be_read_once_are_refused_and_not_read() -> None:
    @idempotent(key=lambda rows: "k", store=create_memory_idempotency_store())
    def fn(rows: Any) -> int:
        return sum(rows)

    rows = iter([1, 2])
    with pytest.raises(NotSerializableError, match=r"read once.*payload= can choose"):
        fn(rows)
    assert list(rows) == [1, 2]


def test_what_has_a_default_by_name_only_is_the_same_when_it_is_given() -> None:
    ran: list[Any] = []

    @idempotent(store=create_memory_idempotency_store())
    def fn(order: int, *, currency: str = "EUR") -> int:
        ran.append(currency)
        return len(ran)

    assert [fn(1), fn(1, currency="EUR"), fn(order=1), fn(1, currency="USD")] == [1, 1, 1, 2]


class Charge:
    """Something that can be called."""

    def __call__(self, order: int) -> int:
        return order


@pytest.mark.parametrize("fn", [lambda order: 1, partial(max, 1), Charge()])
def test_functions_without_a_name_of_their_own_get_one(fn: Any) -> None:
    """Two of them would be one function, and give one another's results."""
    store = create_memory_idempotency_store()
    with pytest.raises(HandlerConfigError, match="no name of its own: give it one, name="):
        idempotent(store=store)(fn)
    first, second = (idempotent(store=store, name=f"f{n}")(lambda order, n=n: n) for n in range(2))
    assert [first(1), second(1), second(1)] == [0, 1, 1]
    assert callable(idempotent(store=store, name="f")(fn))


def test_messages_of_websockets() -> None:
    ran: list[Any] = []

    def send(message: Any, ctx: Any) -> Any:
        ran.append(message)
        return {"n": len(ran)}

    middleware = [idempotency_middleware(create_memory_idempotency_store(), key=lambda ctx: ctx.message["id"])]
    main = ws_handler(send, middleware=middleware, require_auth=False, logger=QUIET)
    event = websocket_message_event({"id": "m-1", "text": "hi"})
    assert main(event) == main(event)
    assert len(ran) == 1
    assert main(websocket_message_event({"id": "m-1", "text": "ho"}))["statusCode"] == 422
    assert len(ran) == 1


# --- what is cut off ------------------------------------------------------------------------------------------------


def rules(store: Any, **options: Any) -> Idempotency:
    given: dict[str, Any] = {
        "ttl_seconds": 100,
        "pending_seconds": None,
        "on_pending": "conflict",
        "on_store_error": "refuse",
        "clock": lambda: 1_800_000_000.0,
        "log": lambda *_: None,
    }
    return Idempotency(store, **{**given, **options})


def call(number: int, remaining_ms: Any = lambda: 10_000) -> Call:
    return Call("key", "p", f"owner-{number}", remaining_ms)


def around(made: Idempotency, one: Call, run: Any, pause: Any = lambda seconds: None) -> Any:
    return made.around(one, run, dump=lambda result: result, replay=lambda kept: ["again", kept], pause=pause)


class Hanging(Asynchronous):
    """One of its writes does not answer, whether it is done or not."""

    def __init__(self, hangs: int, is_done: bool) -> None:
        super().__init__()
        self.hangs = hangs
        self.is_done = is_done
        self.hung = asyncio.Event()

    async def write(self, *arguments: Any, **options: Any) -> Any:
        self.hangs -= 1
        if self.hangs:
            return await super().write(*arguments, **options)
        if self.is_done:
            await super().write(*arguments, **options)
        self.hung.set()
        return await asyncio.Event().wait()


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize(("hangs", "then"), [(1, "new"), (2, ["again", "result"])])
def test_a_call_that_is_cancelled_while_its_record_is_written(hangs: int, then: Any, is_done: bool) -> None:
    """Its claim does not hold the key; its result is known."""

    async def run(result: str) -> str:
        return result

    async def scene() -> Any:
        store = Hanging(hangs, is_done)
        task = asyncio.ensure_future(adrive(around(rules(store), call(1), lambda: run("result"))))
        await asyncio.wait_for(store.hung.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        return await adrive(around(rules(store), call(2), lambda: run("new")))

    assert asyncio.run(scene()) == then


def test_a_claim_that_a_time_limit_ends_does_not_hold_the_key() -> None:
    class Slow(Faulty):
        def do(self, name: str, operation: Any) -> Any:
            result = super().do(name, operation)
            if len(self.done) == 1:
                raise TaskTimeoutError(5)
            return result

    store = Slow()
    with pytest.raises(TaskTimeoutError):
        drive(around(rules(store), call(1), lambda: "result"), instead="")
    assert drive(around(rules(store), call(2), lambda: "result"), instead="") == "result"


def test_whoever_waits_for_a_slow_store_too_does_not_wait_beyond_its_time() -> None:
    left = [10_000.0]

    class Slow(Faulty):
        def do(self, name: str, operation: Any) -> Any:
            left[0] -= 1000
            return super().do(name, operation)

    def pause(seconds: float) -> None:
        left[0] -= seconds * 1000

    store = Slow()
    made = rules(store, on_pending="wait")
    flow = around(made, call(1), lambda: "runs")
    flow.send(None), flow.send(True)
    left[0] = 10_000
    with pytest.raises(IdempotencyPendingError):
        drive(around(made, call(2, lambda: left[0]), lambda: "never", pause), instead="")
    assert left[0] > -1000, "but for the last answer of the store"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e12])
def test_times_that_are_none(seconds: float) -> None:
    for name in ("ttl_seconds", "pending_seconds"):
        with pytest.raises(ValueError, match="seconds"):
            rules(MemoryRecordStore(), **{name: seconds})


# --- transactions ---------------------------------------------------------------------------------------------------


class Broken:
    """A database whose commits fail."""

    @contextmanager
    def begin(self) -> Iterator[str]:
        yield "tx"
        raise ConnectionError("the commit has failed")


@both
def test_a_result_is_not_kept_before_the_transaction_is(kind: str) -> None:
    """The function would be given as done, and what it did was rolled back."""

    def fn(event: Any) -> str:
        return "done"

    async def afn(event: Any) -> str:
        return "done"

    once: Any = idempotent(store=create_memory_idempotency_store())(fn if kind == "sync" else afn)
    for make in (task_handler, batch_handler, handler):
        with pytest.raises(HandlerConfigError, match=r"before its transaction.*idempotency_middleware"):
            make(once, transactional=True)
    set_transaction_provider(Broken())
    chain = [idempotency_middleware(create_memory_idempotency_store(), key=lambda ctx: "k")]
    main = task_handler(fn if kind == "sync" else afn, transactional=True, middleware=chain, logger=QUIET)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            main({})
