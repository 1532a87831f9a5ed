"""When calls are repeated, after how long, and what is told of it: for both clients, against scripted answers."""

from __future__ import annotations

import email.utils
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.both_clients import BOTH, Blocking
from tests.unit.client.scripted_server import Peer, ScriptedServer, answer
from venturekit.client import (
    ConnectError,
    ConnectionLostError,
    GetFunctionRecursionConfigCommand,
    InvokeCommand,
    LambdaServiceException,
    PutFunctionRecursionConfigCommand,
    TooManyRequestsException,
)
from venturekit.client.answers import service_error, skew_of
from venturekit.client.commands import WireResponse
from venturekit.client.errors import PoolError
from venturekit.client.invoke_commands import InvokeAsyncCommand, InvokeWithResponseStreamCommand
from venturekit.client.retries import Attempts, RetryQuota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = GetFunctionRecursionConfigCommand(FunctionName="f")
PUT = PutFunctionRecursionConfigCommand(FunctionName="f", RecursiveLoop="Allow")
INVOKE = InvokeCommand(FunctionName="f")
OK = answer(b'{"RecursiveLoop":"Allow"}', "x-amzn-RequestId: last-id")
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


def refusal(code: str, status: int, *fields: str, body: bytes = b'{"message":"no"}') -> bytes:
    return answer(body, f"x-amzn-ErrorType: {code}", "x-amzn-RequestId: an-id", *fields, status=f"{status} No")


def throttle(*fields: str) -> bytes:
    return refusal("TooManyRequestsException", 429, *fields)


CLOSED = b""


@pytest.fixture(params=BOTH, ids=lambda kind: kind.kind)
def calls(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """``calls(answers, **options)``: a client of a server that answers so, one answer after the other, then well.

    Its chance is always a half.
    """
    made: list[Any] = []

    def start(answers: list[bytes], **options: Any) -> Any:
        left = list(answers)

        def serve(peer: Peer) -> None:
            while True:
                peer.request()
                data = left.pop(0) if left else OK
                if data == CLOSED:
                    return
                peer.send(data)

        server = ScriptedServer(serve)
        client = request.param(server.url, **options)
        client.set_chance(0.5)
        client.server = server
        made.extend((client, server))
        return client

    yield start
    for each in made:
        each.close()
        assert getattr(each, "failures", []) == []


def tries(client: Any) -> list[str]:
    return [request.headers["amz-sdk-request"] for request in client.server.requests]


@pytest.mark.parametrize("command", [GET, PUT, INVOKE, InvokeAsyncCommand(FunctionName="f", InvokeArgs=b"{}")])
def test_a_throttled_call_is_repeated(calls: Callable[..., Any], command: Any) -> None:
    client = calls([throttle(), throttle()])
    output = client.send(command)
    assert (output.metadata.attempts, output.metadata.request_id) == (3, "last-id")
    # Half of one second, then half of two.
    assert client.waits == [0.5, 1.0]
    assert tries(client) == ["attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3"]
    assert len({request.body for request in client.server.requests}) == 1


def test_a_throttled_stream_is_repeated(calls: Callable[..., Any]) -> None:
    client = calls([throttle(), refusal("ResourceNotFoundException", 404)])
    with pytest.raises(LambdaServiceException) as refused:
        client.events(InvokeWithResponseStreamCommand(FunctionName="f"))
    assert (refused.value.attempts, client.waits) == (2, [0.5])


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_last_refusal_is_raised(calls: Callable[..., Any], most: int) -> None:
    client = calls([throttle()] * 9, max_attempts=most)
    with pytest.raises(TooManyRequestsException) as refused:
        client.send(INVOKE)
    assert (refused.value.attempts, refused.value.request_id, refused.value.status) == (most, "an-id", 429)
    assert str(refused.value).endswith("" if most == 1 else f"(after {most} attempts)")
    assert client.waits == [0.5 * 2**turn for turn in range(most - 1)]
    assert tries(client)[-1] == f"attempt={most}; max={most}"


@pytest.mark.parametrize(
    ("status", "command", "options", "count"),
    [
        (500, GET, {}, 3),
        (503, GET, {}, 3),
        (500, PUT, {}, 3),
        *((status, INVOKE, {}, 1) for status in (500, 502, 503, 504)),
        (504, INVOKE, {"retry_invokes": True}, 3),
        (500, InvokeCommand(FunctionName="f", InvocationType="Event"), {}, 1),
        (500, InvokeCommand(FunctionName="f", InvocationType="DryRun"), {}, 3),
        (502, InvokeAsyncCommand(FunctionName="f", InvokeArgs=b"{}"), {}, 1),
        (502, InvokeAsyncCommand(FunctionName="f", InvokeArgs=b"{}"), {"retry_invokes": True}, 3),
    ],
)
def test_a_call_that_may_have_been_carried_out(
    calls: Callable[..., Any], status: int, command: Any, options: dict[str, Any], count: int
) -> None:
    client = calls([refusal("ServiceException", status)] * 3, **options)
    with pytest.raises(LambdaServiceException) as failed:
        client.send(command)
    assert (failed.value.attempts, len(client.server.requests)) == (count, count)
    assert failed.value.outcome_unknown
    assert client.waits == [0.025, 0.05][: count - 1]


@pytest.mark.parametrize(
    ("command", "options", "count"), [(GET, {}, 2), (INVOKE, {}, 1), (INVOKE, {"retry_invokes": True}, 2)]
)
def test_a_connection_that_is_lost(
    calls: Callable[..., Any], command: Any, options: dict[str, Any], count: int
) -> None:
    client = calls([CLOSED], **options)
    if count == 1:
        with pytest.raises(ConnectionLostError):
            client.send(command)
    else:
        assert client.send(command).metadata.attempts == 2
    assert len(client.server.requests) == count


@pytest.mark.parametrize(
    "code", ["ResourceNotFoundException", "InvalidParameterValueException", "AccessDeniedException"]
)
def test_a_refusal_is_not_repeated(calls: Callable[..., Any], code: str) -> None:
    client = calls([refusal(code, 400)])
    with pytest.raises(LambdaServiceException, match="no") as refused:
        client.send(GET)
    assert (refused.value.code, refused.value.attempts, client.waits) == (code, 1, [])


@pytest.mark.parametrize("code", ["ResourceNotReadyException", "ENINotReadyException", "SnapStartNotReadyException"])
def test_an_invocation_that_has_not_run_is_repeated(calls: Callable[..., Any], code: str) -> None:
    client = calls([refusal(code, 502)])
    assert client.send(INVOKE).metadata.attempts == 2


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (["Retry-After: 7"], 7.0),
        (["Retry-After: 0"], 0.5),
        (["x-amz-retry-after: 1500"], 1.5),
        (["x-amz-retry-after: 2000", "Retry-After: 9"], 2.0),
        ([f"Date: {DATE}", "Retry-After: Sat, 21 Nov 2026 12:00:04 GMT"], 4.0),
        ([f"Date: {DATE}", "Retry-After: Sat, 21 Nov 2026 12:00:04 -0000"], 4.0),
        ([f"Date: {DATE}", "Retry-After: Sat, 21 Nov 2026 11:00:00 GMT"], 0.5),
        (["Retry-After: soon"], 0.5),
        (["Retry-After: -3"], 0.5),
        (["Retry-After: Sat, 99 Nov 99999 99:99:99 GMT"], 0.5),
        (["x-amz-retry-after: \xb2"], 0.5),
    ],
)
def test_the_service_says_when(calls: Callable[..., Any], fields: list[str], seconds: float) -> None:
    client = calls([throttle(*fields)])
    assert client.send(INVOKE).metadata.attempts == 2
    assert client.waits == [seconds]


@pytest.mark.parametrize("field", ["Retry-After: 21", f"Retry-After: {'9' * 400}", f"x-amz-retry-after: {'9' * 5000}"])
def test_nobody_waits_so_long(calls: Callable[..., Any], field: str) -> None:
    client = calls([throttle(field)])
    with pytest.raises(TooManyRequestsException) as refused:
        client.send(INVOKE)
    assert (refused.value.retry_after or 0) > 20
    assert (refused.value.attempts, client.waits) == (1, [])


def test_a_date_of_a_service_that_does_not_tell_the_time() -> None:
    now = 1_800_000_000.0
    headers = {"retry-after": email.utils.formatdate(now + 12, usegmt=True)}
    error = service_error("Invoke", WireResponse(429, headers, b'{"message":"no"}'), "http://h", now)
    assert isinstance(error, LambdaServiceException)
    assert error.retry_after == 12.0


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_dates_of_any_kind_do_no_harm(text: str) -> None:
    response = WireResponse(503, {"retry-after": text, "x-amz-retry-after": text, "date": text}, b"")
    error = service_error("Invoke", response, "http://h", 0.0)
    assert isinstance(error, LambdaServiceException)
    assert error.retry_after is None or error.retry_after >= 0
    skew = skew_of(response, 0.0)
    assert skew is None or isinstance(skew, float)


def test_the_delay_is_bounded() -> None:
    attempts = Attempts(50, RetryQuota(), may_repeat=True, chance=lambda: 1.0)
    error = TooManyRequestsException("no", status=429)
    delays = [attempts.delay(error) for _ in range(9)]
    assert delays == [1, 2, 4, 8, 16, 20, 20, 20, 20]


# --- the quota -------------------------------------------------------------------------------------------------------


def fresh(quota: RetryQuota, most: int = 3) -> Attempts:
    return Attempts(most, quota, may_repeat=True, chance=lambda: 0.0)


def test_the_quota_runs_out_and_comes_back() -> None:
    quota, throttled = RetryQuota(), TooManyRequestsException("no", status=429)
    assert sum(fresh(quota).delay(throttled) is not None for _ in range(200)) == 100
    # Lost requests cost twice as much.
    fresh(quota).succeeded()
    assert fresh(quota).delay(throttled) is None
    for _ in range(4):
        fresh(quota).succeeded()
    retried = fresh(quota)
    assert retried.delay(throttled) == 0.0
    retried.succeeded()
    assert fresh(quota).delay(throttled) == 0.0
    quota = RetryQuota()
    assert sum(fresh(quota).delay(ConnectError("no")) is not None for _ in range(200)) == 50


def test_a_client_whose_quota_is_used_up_raises_at_once(calls: Callable[..., Any]) -> None:
    client = calls([throttle()] * 3)
    assert client.client._caller.quota.take(500)
    with pytest.raises(TooManyRequestsException) as refused:
        client.send(GET)
    assert (refused.value.attempts, client.waits) == (1, [])


@given(st.lists(st.sampled_from(["throttle", "lost", "success"]), max_size=300))
def test_the_quota_is_never_below_nothing_or_above_its_size(steps: list[str]) -> None:
    quota = RetryQuota()
    for step in steps:
        attempts = fresh(quota)
        if step == "success":
            attempts.succeeded()
        else:
            attempts.delay(ConnectError("no") if step == "lost" else TooManyRequestsException("no", status=429))
        assert 0 <= quota._left <= 500


def test_waiting_for_a_connection_is_not_done_again() -> None:
    assert fresh(RetryQuota()).delay(PoolError("in use")) is None


# --- waiting itself --------------------------------------------------------------------------------------------------


def test_the_chance_is_one() -> None:
    """Not a constant, and below what it may be."""
    waits = []
    with ScriptedServer(lambda peer: [peer.answer(b"", status="500 No") for _ in range(90)]) as server:
        client = Blocking(server.url, max_attempts=2)
        for _ in range(40):
            with pytest.raises(LambdaServiceException):
                client.send(GET)
        waits = client.waits
        client.close()
    assert len(set(waits)) > 20
    assert all(0 <= seconds <= 0.05 for seconds in waits)
