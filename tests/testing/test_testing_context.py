"""The fake context beside the real one, the manual clock, the capture of logs."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.ric.client import Invocation
from venturekit.ric.context import FunctionIdentity, LambdaContext
from venturekit.ric.faults import ResponseStreamError
from venturekit.ric.response_stream import ResponseStream
from venturekit.runtime import create_logger, handler, logger, task_handler
from venturekit.runtime.patterns.breakers import create_circuit_breaker
from venturekit.testing import Client, FakeLambdaContext, LogCapture, ManualClock, ResponseRecorder

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_fake_context_has_the_attributes_of_the_real_one() -> None:
    invocation = Invocation.__new__(Invocation)
    for name in Invocation.__slots__:
        setattr(invocation, name, None)
    invocation.deadline_ms = 0
    real = LambdaContext(FunctionIdentity({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}), invocation)
    fake = FakeLambdaContext()
    public = {name for name in dir(real) if not name.startswith("_")} - {"w3c"}
    assert {name for name in public if not hasattr(fake, name)} == set()
    assert type(fake.memory_limit_in_mb) is type(real.memory_limit_in_mb)
    assert fake.identity.cognito_identity_id is None


def test_what_a_context_is_given() -> None:
    context = FakeLambdaContext(
        function_name="f",
        aws_request_id="r",
        client_context={"custom": {"a": 1}, "env": {"b": "2"}, "client": {"app_title": "t"}},
        identity={"cognito_identity_id": "i", "cognito_identity_pool_id": "p"},
        tenant_id="t",
        region="eu-west-1",
        account_id="000000000000",
    )
    assert context.client_context is not None
    assert context.client_context.custom == {"a": 1}
    assert context.client_context.client is not None
    assert context.client_context.client.app_title == "t"
    assert (context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id) == ("i", "p")
    assert context.invoked_function_arn == "arn:aws:lambda:eu-west-1:000000000000:function:f"
    assert (context.log_group_name, context.tenant_id) == ("/aws/lambda/f", "t")
    context.log("line")
    assert context.logged == ["line"]


def test_time_runs_on_the_clock(vk_context: FakeLambdaContext, vk_clock: ManualClock) -> None:
    assert vk_context.get_remaining_time_in_millis() == 30_000
    vk_clock.advance(29_999)
    assert vk_context.get_remaining_time_in_millis() == 1
    vk_clock.advance(seconds=5)
    assert vk_context.get_remaining_time_in_millis() == 0
    with pytest.raises(ValueError, match="does not go back"):
        vk_clock.advance(-1)


def test_without_streaming_there_is_no_stream() -> None:
    assert not hasattr(FakeLambdaContext(streaming=False), "response_stream")


def test_a_stream_is_kept() -> None:
    context = FakeLambdaContext()
    stream = context.response_stream
    assert stream is context.streamed
    stream.content_type = "text/plain"
    assert (stream.started, stream.write("ä"), stream.write(""), stream.started) == (False, 1, 0, True)
    asyncio.run(stream.awrite(memoryview(b"bc")))
    assert stream.over()
    assert stream.closed
    assert (stream.pieces, stream.payload) == (["ä".encode(), b"bc"], "äbc".encode())
    assert stream.response().headers == (("content-type", "text/plain"),)


def test_a_stream_without_pieces() -> None:
    stream = ResponseRecorder()
    stream.begin_http(204, cookies=["a=b"])
    stream.close()
    stream.close()
    assert stream.over()
    assert (stream.pieces, stream.response().status, stream.response().cookies) == ([], 204, ("a=b",))
    assert not ResponseRecorder().over()


def test_a_recorder_has_what_the_real_stream_has() -> None:
    names = {name for name in dir(ResponseStream) if not name.startswith("_")}
    assert names - set(dir(ResponseRecorder)) == set()


def begin(**options: Any) -> Callable[[Any], object]:
    return lambda stream: stream.begin_http(**options)


@pytest.mark.parametrize(
    "do",
    [
        begin(status_code=99),
        begin(status_code=True),
        begin(status_code="200"),
        begin(cookies="a=b"),
        begin(cookies=["a\n"]),
        begin(headers={"a": "b\r\nc"}),
        begin(headers={"a": None}),
        begin(headers={1: "a"}),
        begin(headers={"a": "\u20ac"}),
        lambda stream: setattr(stream, "content_type", 3),
        lambda stream: setattr(stream, "content_type", "a\0"),
        lambda stream: stream.write(3),
        lambda stream: (stream.over(), stream.write("a")),
        lambda stream: (stream.over(), stream.flush()),
        lambda stream: (stream.over(), stream.begin_http()),
        lambda stream: (stream.over(), setattr(stream, "content_type", "a/b")),
    ],
)
def test_a_recorder_complains_as_the_real_stream_does(do: Callable[[Any], object]) -> None:
    nobody: Any = None
    told = []
    for stream in (ResponseStream(nobody, nobody), ResponseRecorder()):
        with pytest.raises((ValueError, TypeError, ResponseStreamError)) as caught:
            do(stream)
        told.append((type(caught.value), str(caught.value)))
    assert told[0] == told[1]


def test_retries_of_a_task_wait_by_the_clock(vk_clock: ManualClock, vk_context: FakeLambdaContext) -> None:
    attempts: list[int] = []

    @task_handler(retries=3, retry_delay_ms=1000, task_log=False)
    def main() -> str:
        attempts.append(vk_clock.epoch_ms)
        if len(attempts) < 4:
            raise LookupError("not yet")
        return "done"

    assert main({}, vk_context) == "done"
    assert [after - before for before, after in pairwise(attempts)] == [1000, 2000, 4000]


def test_async_retries_wait_by_the_clock_too(vk_clock: ManualClock, vk_context: FakeLambdaContext) -> None:
    @task_handler(retries=1, retry_delay_ms=20_000, task_log=False)
    async def main(_event: Any) -> None:
        raise LookupError("never")

    with pytest.raises(LookupError):
        main({}, vk_context)
    assert vk_context.get_remaining_time_in_millis() == 10_000


def test_a_breaker_on_the_clock(vk_clock: ManualClock) -> None:
    breaker = create_circuit_breaker(failure_threshold=1, clock=vk_clock.monotonic)
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 // 0)
    assert breaker.call(lambda: "called", fallback="instead") == "instead"
    vk_clock.advance(seconds=30)
    assert breaker.call(lambda: "called", fallback="instead") == "called"


# --- logs -------------------------------------------------------------------------------------------------------------


@handler
def logged(_body: Any, _ctx: Any, log: Any) -> None:
    log.info("placed", {"orderId": "1", "password": "secret"}, count=2)  # noqa: PLE1205 - a logger of ours
    logger.warn("careful")


def test_records_are_kept(vk_logs: LogCapture, capsys: pytest.CaptureFixture[str]) -> None:
    Client(logged).get("/", request_id="r")
    assert vk_logs.messages == ["placed", "careful", "request completed"]
    record = vk_logs.one("placed", level="INFO", count=2)
    assert (record["orderId"], record["password"], record["requestId"]) == ("1", "[redacted]", "r")
    assert vk_logs.find(level="WARN") == [vk_logs.records[1]]
    assert len(vk_logs) == len(list(vk_logs)) == 3
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(AssertionError, match=r"0 records have \{'message': 'none'\}; written was:\n.*placed"):
        vk_logs.one("none")
    vk_logs.clear()
    with pytest.raises(AssertionError, match="written was:\nnothing"):
        vk_logs.one(level="INFO")


@pytest.mark.parametrize("form", ["JSON", "Text"])
def test_both_formats_are_captured_and_written(form: str) -> None:
    lines: list[str] = []
    log = create_logger(format=form, write=lines.append, min_level="info")
    with LogCapture() as capture:
        log.info("one", value=object())
        log.debug("hidden")
        with pytest.raises(RuntimeError, match="installed already"):
            capture.install()
    log.info("two")
    capture.remove()
    assert capture.messages == ["one"]
    assert len(lines) == 2
