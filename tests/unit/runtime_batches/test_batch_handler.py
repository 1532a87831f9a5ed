"""Batches of queues and streams: which records come again, in which order they go, what time allows."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from venturekit.runtime import (
    BatchFailedError,
    BatchHandler,
    BatchRecord,
    HandlerConfigError,
    Logger,
    TaskTimeoutError,
    TaskValidationError,
    batch_handler,
    create_memory_idempotency_store,
    current_context,
    idempotent,
    set_transaction_provider,
    timeout_middleware,
)
from venturekit.runtime.batch_records import lanes_of
from venturekit.testing import (
    FakeLambdaContext,
    ManualClock,
    dynamodb_stream_event,
    kinesis_event,
    sqs_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable

both = pytest.mark.parametrize("kind", ["sync", "async"])
SILENT = Logger(min_level="silent")


def twin(fn: Callable[..., Any], kind: str) -> Callable[..., Any]:
    if kind == "sync":
        return fn

    async def waiting(body: Any, record: Any, logger: Any) -> Any:
        await asyncio.sleep(0)
        return fn(body, record, logger)

    return waiting


def fifo(*groups: str) -> dict[str, Any]:
    """One message for each group; its body is group and position: ``a0``."""
    events = [sqs_event(f"{group}{n}", queue="q.fifo", group_id=group) for n, group in enumerate(groups)]
    return {"Records": [record for event in events for record in event["Records"]]}


def ids(event: dict[str, Any], *positions: int) -> dict[str, Any]:
    """The report that tells these records."""
    names = []
    for position in positions:
        record = event["Records"][position]
        names.append(
            record.get("messageId")
            or record.get("kinesis", {}).get("sequenceNumber")
            or record.get("dynamodb", {}).get("SequenceNumber")
        )
    return {"batchItemFailures": [{"itemIdentifier": name} for name in names]}


class Doing:
    """A function that fails for some bodies, and keeps what it was called with."""

    def __init__(self, *failing: Any) -> None:
        self.failing, self.bodies = failing, list[Any]()

    def __call__(self, body: Any, record: Any, logger: Any) -> None:
        self.bodies.append(body)
        if body in self.failing:
            raise RuntimeError(f"no {body}")


def made(doing: Callable[..., Any], kind: str = "sync", **options: Any) -> BatchHandler:
    options.setdefault("logger", SILENT)
    handler: BatchHandler = batch_handler(twin(doing, kind), **options)
    return handler


@both
def test_only_what_failed_comes_again(kind: str) -> None:
    event, doing = sqs_event(*range(12)), Doing(0, 5, 11)
    assert made(doing, kind)(event) == ids(event, 0, 5, 11)
    assert sorted(doing.bodies) == list(range(12))
    assert made(Doing(), kind)(event) == {"batchItemFailures": []}
    assert made(Doing(), kind)({"Records": []}) == {"batchItemFailures": []}


@both
def test_all_have_failed(kind: str) -> None:
    event, doing = sqs_event(1, 2), Doing(1, 2)
    with pytest.raises(
        BatchFailedError, match="none of the 2 records of the batch was processed: RuntimeError: no "
    ) as e:
        made(doing, kind)(event)
    assert [(record.event, str(error)) for record, error in e.value.failures] == [(1, "no 1"), (2, "no 2")]
    assert isinstance(e.value.__cause__, RuntimeError)
    assert made(doing, kind, raise_when_all_failed=False)(event) == ids(event, 0, 1)


@both
@pytest.mark.parametrize(
    ("on_failure", "done", "again"),
    [
        (None, ["a0", "b1", "a2"], (2, 3, 4, 5)),
        ("stop", ["a0", "b1", "a2"], (2, 3, 4, 5)),
        ("skip_group", ["a0", "b1", "a2", "b4"], (2, 3)),
        ("continue", ["a0", "b1", "a2", "a3", "b4", "c5"], (2,)),
    ],
)
def test_fifo(kind: str, on_failure: Any, done: list[str], again: tuple[int, ...]) -> None:
    event, doing = fifo("a", "b", "a", "a", "b", "c"), Doing("a2")
    assert made(doing, kind, on_failure=on_failure)(event) == ids(event, *again)
    assert set(done) <= set(doing.bodies)
    if on_failure != "skip_group":
        assert sorted(doing.bodies) == sorted(done)
    else:
        assert sorted(doing.bodies) == ["a0", "a2", "b1", "b4", "c5"]


@both
def test_streams_stop_at_the_first_failure(kind: str) -> None:
    event, doing = kinesis_event(*range(4)), Doing(1)
    assert made(doing, kind)(event) == ids(event, 1, 2, 3)
    assert doing.bodies == [0, 1]
    changes = [dynamodb_stream_event(new={"id": str(n)})["Records"][0] for n in range(3)]
    table = {"Records": changes}

    def refuse(body: Any, record: BatchRecord, logger: Any) -> None:
        if body["Keys"] == {"id": {"S": "2"}}:
            raise RuntimeError

    assert made(refuse, kind)(table) == ids(table, 2)


def test_the_context_of_a_record() -> None:
    seen: list[Any] = []

    @batch_handler(logger=SILENT)
    def main(body: Any, record: BatchRecord) -> None:
        assert current_context() is record
        seen.append(
            (
                body,
                record.event,
                record.message_id,
                record.attempt,
                record.group_id,
                record.source,
                record.message_attributes["kind"]["stringValue"],
                record.request_id,
                record.get_remaining_time_in_millis(),
            )
        )

    event = sqs_event({"a": 1}, queue="q.fifo", group_id="g", receive_count=3, attributes={"kind": "x"})
    context = FakeLambdaContext(aws_request_id="request-1")
    main(event, context)
    message_id = event["Records"][0]["messageId"]
    assert seen == [({"a": 1}, {"a": 1}, message_id, 3, "g", "aws:sqs", "x", "request-1", 30_000)]
    assert current_context() is None


@dataclass
class Order:
    sku: str
    count: int = 1


class Model(BaseModel):
    sku: str


@both
@pytest.mark.parametrize("schema", [Order, Model])
def test_bodies_that_are_not_valid_come_again(kind: str, schema: Any) -> None:
    event = sqs_event({"sku": "x"}, {"sku": 3, "count": "a"}, "no json", "NaN", "", "[" * 100_000)
    skus: list[str] = []
    handler = made(lambda order, record, logger: skus.append(order.sku), kind, body=schema)
    assert handler(event) == ids(event, 1, 2, 3, 4, 5)
    assert skus == ["x"]


def test_why_a_body_is_not_valid() -> None:
    with pytest.raises(BatchFailedError) as e:
        made(Doing(), body=Order)(sqs_event({"count": 1}, "x"))
    (_, first), (_, second) = e.value.failures
    assert isinstance(first, TaskValidationError)
    assert [issue.field for issue in first.issues] == ["sku"]
    assert "the body is no JSON" in str(second)


@pytest.mark.parametrize(
    ("event", "bodies"),
    [
        (sqs_event("text", "3", '{"a": 1}', ""), ["text", 3, {"a": 1}, ""]),
        (kinesis_event(b"\xff\0", "text", {"a": 1}), [b"\xff\0", b"text", {"a": 1}]),
    ],
)
def test_bodies_without_a_schema(event: Any, bodies: list[Any]) -> None:
    doing = Doing()
    made(doing)(event)
    assert doing.bodies == bodies


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (None, "Records: is missing"),
        ({"Records": {}}, "Records: is missing"),
        ({"Records": [3]}, r"Records\.0: is no object"),
        ({"Records": [{"eventSource": "aws:s3"}]}, r"Records\.0: comes from 'aws:s3'"),
        ({"Records": [{"eventSource": "aws:sqs", "messageId": ""}]}, "has no id"),
        ({"Records": [{"eventSource": "aws:kinesis", "kinesis": 3}]}, "has no id"),
        ({"Records": [{"eventSource": "aws:dynamodb"}]}, "has no id"),
    ],
)
def test_what_is_no_batch(event: Any, said: str) -> None:
    with pytest.raises(TaskValidationError, match=said):
        made(Doing())(event)


@both
def test_what_there_is_no_time_for_comes_again(kind: str) -> None:
    clock = ManualClock()
    event, context = sqs_event(*range(5)), FakeLambdaContext(timeout_ms=1000, clock=clock)

    def slow(body: Any, record: BatchRecord, logger: Any) -> None:
        clock.advance(ms=400)

    # 0, 400 and 800 ms: with what is kept for the report there are 100 left for the third.
    assert made(slow, kind, concurrency=1)(event, context) == ids(event, 3, 4)
    with pytest.raises(BatchFailedError, match="there was no time to begin"):
        made(slow, kind)(event, context)


@both
def test_a_record_that_takes_too_long_is_cut_off(kind: str) -> None:
    event, lines = sqs_event("slow", "fast"), list[Any]()

    async def wait(body: Any) -> None:
        if body == "slow":
            await asyncio.Event().wait()

    def block(body: Any) -> None:
        if body == "slow":
            signal.pause()

    logger = Logger(write=lambda line: lines.append(json.loads(line)), format="JSON")
    fn: Any = block if kind == "sync" else wait
    assert batch_handler(fn, timeout_ms=20, logger=logger)(event) == ids(event, 0)
    failed = next(line for line in lines if line["message"] == "record failed")
    assert (failed["errorType"], failed["attempt"]) == (TaskTimeoutError.__name__, 1)
    assert failed["messageId"] == event["Records"][0]["messageId"]


@both
def test_a_limit_around_the_batch_ends_all_of_it(kind: str) -> None:
    begun: list[str] = []

    async def wait(body: str) -> None:
        begun.append(body)
        await asyncio.Event().wait()

    def block(body: str) -> None:
        begun.append(body)
        signal.pause()

    fn: Any = block if kind == "sync" else wait
    main = batch_handler(
        fn, timeout_ms=60_000, concurrency=1, middleware=[timeout_middleware(20)], task_log=False, logger=SILENT
    )
    with pytest.raises(TaskTimeoutError, match="within 20 ms"):
        main(sqs_event("a", "b"))
    assert begun == ["a"]


def test_records_are_processed_at_once_as_their_order_allows() -> None:
    running, most = set[str](), list[int]()

    async def main(body: str) -> None:
        group = body[0]
        assert group not in running
        running.add(group)
        most.append(len(running))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.remove(group)

    handler = batch_handler(main, on_failure="skip_group", concurrency=2, logger=SILENT)
    assert handler(fifo("a", "a", "b", "b", "c", "c")) == {"batchItemFailures": []}
    assert max(most) == 2


class Provider:
    """Transactions that tell what became of them."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def begin(self) -> Any:
        return self

    def __enter__(self) -> str:
        return "tx"

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ended.append("rolled back" if kind else "committed")


@both
def test_each_record_has_its_own_transaction(kind: str) -> None:
    provider = Provider()
    set_transaction_provider(provider)

    def act(body: Any, record: BatchRecord, logger: Any) -> None:
        assert record.tx == "tx"
        if body == 1:
            raise RuntimeError

    event = sqs_event(0, 1, 2)
    assert made(act, kind, transactional=True, concurrency=1)(event) == ids(event, 1)
    assert provider.ended == ["committed", "rolled back", "committed"]


def test_the_logs() -> None:
    lines: list[Any] = []

    def act(body: Any, record: BatchRecord, log: Any) -> None:
        log.info("doing", body=body)
        if body == 2:
            raise RuntimeError("no")

    event = sqs_event(1, 2)
    batch_handler(act, logger=Logger(write=lambda line: lines.append(json.loads(line)), format="JSON"))(event)
    told = [(line["message"], line.get("messageId")) for line in lines]
    first, second = (record["messageId"] for record in event["Records"])
    assert told == [
        ("doing", first),
        ("doing", second),
        ("record failed", second),
        ("not all records of the batch were processed", None),
        ("task completed", None),
    ]
    assert "stackTrace" in lines[2]
    assert {name: lines[3][name] for name in ("succeeded", "failed", "notBegun")} == {
        "succeeded": 1,
        "failed": 1,
        "notBegun": 0,
    }


def test_the_three_forms_and_fewer_arguments() -> None:
    event = sqs_event(1)
    for main in (batch_handler(lambda: None), batch_handler({"fn": lambda body: None}), batch_handler()(print)):
        assert isinstance(main, BatchHandler)
        assert main(event) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_failure": "retry"}, "on_failure is one of continue, stop, skip_group"),
        ({"concurrency": 0}, "concurrency is at least 1"),
        ({"timeout_ms": 0}, "timeout_ms must be positive"),
    ],
)
def test_handlers_that_cannot_work(options: Any, said: str) -> None:
    with pytest.raises(HandlerConfigError, match=said):
        batch_handler(print, **options)
    with pytest.raises(HandlerConfigError, match="under 'fn'"):
        batch_handler({})


GROUPS = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


@given(GROUPS, st.sets(st.integers(0, 11)), st.sampled_from(["stop", "skip_group", "continue"]), st.booleans())
def test_order_and_report_agree(groups: list[str], failing: set[int], on_failure: Any, waits: bool) -> None:
    """Whatever fails: what was not done is told, and nothing is done after a failure that it has to wait for."""
    event = fifo(*groups)
    doing = Doing(*(f"{group}{n}" for n, group in enumerate(groups) if n in failing))
    handler = made(doing, "async" if waits else "sync", on_failure=on_failure, raise_when_all_failed=False)
    told = {failure["itemIdentifier"] for failure in handler(event)["batchItemFailures"]}
    begun = [int(body[1:]) for body in doing.bodies]
    done = [n for n in begun if n not in failing]
    assert told == {record["messageId"] for n, record in enumerate(event["Records"]) if n not in done}
    for group in "abc":
        of_group = [n for n in begun if groups[n] == group]
        assert of_group == sorted(of_group)
        if on_failure == "skip_group":
            assert not any(n in failing for n in of_group[:-1])
    if on_failure == "stop":
        assert begun == list(range(min(failing & set(range(len(groups))), default=len(groups) - 1) + 1))
    if on_failure == "continue":
        assert len(begun) == len(groups)


def test_lanes_of_records_without_a_group() -> None:
    class Bare:
        def __init__(self, name: str) -> None:
            self.message_id, self.group_id = name, None

    records: Any = [Bare("a"), Bare("b")]
    assert lanes_of(records, "skip_group") == [[records[0]], [records[1]]]


@pytest.mark.parametrize("concurrency", [1, 10])
def test_a_record_that_is_cancelled_by_what_it_awaits_has_failed(concurrency: int) -> None:
    """The records behind it are processed all the same, and the log says why it comes again."""
    done: list[int] = []
    said: list[Any] = []

    async def fn(number: int, record: Any) -> None:
        if number == 0:
            inner = asyncio.ensure_future(asyncio.Event().wait())
            asyncio.get_running_loop().call_soon(inner.cancel)
            await inner
        done.append(number)

    main = batch_handler(fn, concurrency=concurrency, logger=Logger(write=said.append))
    event = sqs_event(0, 1, 2)
    assert main(event) == ids(event, 0)
    assert done == [1, 2]
    (line,) = [json.loads(line) for line in said if "record failed" in line]
    assert line["errorType"] == "CancelledError"


def test_a_batch_that_is_cancelled_ends() -> None:
    begun, ended = [], []

    async def fn(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    main = batch_handler(fn, concurrency=2, logger=SILENT)

    async def scene() -> None:
        running = asyncio.ensure_future(main.acall(sqs_event(0, 1, 2)))
        while len(begun) < 2:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 20)

    asyncio.run(scene())
    assert sorted(begun) == sorted(ended) == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_not_the_failure_of_a_record(error: type[BaseException]) -> None:
    def fn(body: Any, record: Any, logger: Any) -> None:
        raise error

    with pytest.raises(error):
        made(fn)(sqs_event(1, 2))


@both
def test_messages_with_one_id_come_again_if_one_of_them_failed(kind: str) -> None:
    event = sqs_event(1, 2, 3)
    event["Records"][2]["messageId"] = event["Records"][0]["messageId"]
    assert made(Doing(3), kind)(event) == ids(event, 0)


def test_once_for_each_message() -> None:
    """A message that was processed, and whose deletion was lost, comes again."""
    doing = Doing(2)
    store = create_memory_idempotency_store()

    @idempotent(key=lambda body, record: record.message_id, store=store)
    def once(body: int, record: BatchRecord) -> None:
        doing(body, record, None)

    main = batch_handler(once, logger=SILENT)
    event = sqs_event(1, 2)
    assert main(event) == main(event) == ids(event, 1)
    assert doing.bodies == [1, 2, 2]
