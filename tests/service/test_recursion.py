"""Functions that invoke themselves, directly or by way of others, through unmodified boto3: loops are stopped."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import RunningService, client_of, lines_starting, send, until
from venturekit.protocol.lineage import STOPPED, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"

# Every round invokes the next function of the ring, and says in its log in which it is.
LOOP = """
import json
import boto3
client = boto3.client("lambda")

def handler(event, context):
    print("round", event["round"])
    if event["round"] == event.get("last"):
        return {"rounds": event["round"]}
    following = {**event, "round": event["round"] + 1}
    ring = event.get("ring", [context.function_name])
    name = ring[following["round"] % len(ring)]
    try:
        answer = client.invoke(FunctionName=name, InvocationType=event["type"], Payload=json.dumps(following))
    except client.exceptions.RecursiveInvocationException as error:
        return {"rounds": following["round"], "error": error.response}
    return json.loads(answer["Payload"].read() or "null")
"""
TRACED = """
import os

def handler(event, context):
    print("trace", os.environ["_X_AMZN_TRACE_ID"])
    if event.get("fails"):
        raise ValueError("on purpose")
    return os.environ["_X_AMZN_TRACE_ID"]
"""
SINK = """
import json

def handler(event, context):
    print("record", json.dumps(event))
"""

WAYS: dict[str, dict[str, Any]] = {"ric": {}, "awslambdaric": {"python_runtime": "awslambdaric"}}


class Loops:
    """A service of its own, on which functions loop, and what happened to the events on it."""

    def __init__(self, running: RunningService) -> None:
        self.running = running
        self.functions = running.functions()
        self.client = client_of(running.url, read_timeout=120)

    def create(self, source: str = LOOP, **members: Any) -> str:
        return self.functions.create(source, Timeout=60, MemorySize=512, **members)

    def count(self, name: str, beginning: str) -> int:
        """How many lines of a function's log begin so."""
        return len(lines_starting("".join(self.functions.log_lines(name)), beginning))

    def allow(self, name: str) -> None:
        self.client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")

    def send_event(self, name: str, event: Any, **headers: str) -> None:
        body = json.dumps(event).encode()
        assert self.functions.post(name, body, X_Amz_Invocation_Type="Event", **headers).status == 202

    def ended(self, name: str, count: int = 1) -> list[tuple[str, list[tuple[str, dict[str, Any]]]]]:
        """State and history of the events of a function, as soon as so many have ended and none is left."""
        path = self.running.data_dir / "venturekit.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:

            def look() -> list[tuple[int, str]]:
                query = "SELECT id, state FROM events WHERE function_name = ? ORDER BY id"
                rows = database.execute(query, (name,)).fetchall()
                over = len(rows) >= count and all(state in {"succeeded", "failed"} for _, state in rows)
                return rows if over else []

            events = until(look, f"{count} events of {name} end", 60)
            query = "SELECT kind, detail FROM event_history WHERE event_id = ? ORDER BY number"
            return [
                (state, [(kind, json.loads(text or "{}")) for kind, text in database.execute(query, (number,))])
                for number, state in events
            ]


@pytest.fixture(scope="module", params=["ric", pytest.param("awslambdaric", marks=pytest.mark.full)])
def loops(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loops]:
    """A service for each of the two ways to run Python functions."""
    directory = tmp_path_factory.mktemp("loops") / "data"
    running = RunningService(directory, async_retry_delays=(0.0, 0.0), **WAYS[request.param])
    made = Loops(running)
    yield made
    made.client.close()
    running.close()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loops]:
    """A service for what does not depend on how functions are run."""
    running = RunningService(tmp_path_factory.mktemp("traced") / "data", async_retry_delays=(0.0, 0.0))
    made = Loops(running)
    yield made
    made.client.close()
    running.close()


# --- loops of real functions ---------------------------------------------------------------------------------------


def test_a_function_that_invokes_itself_runs_16_times(loops: Loops) -> None:
    name = loops.create()
    event = json.dumps({"round": 1, "type": "RequestResponse"})
    answer = json.loads(loops.client.invoke(FunctionName=name, Payload=event)["Payload"].read())
    assert answer["rounds"] == 17
    assert answer["error"]["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["error"]["Error"] == {"Code": "RecursiveInvocationException", "Message": STOPPED}
    assert loops.count(name, "round") == 16


def test_an_event_that_sends_itself_is_run_16_times(loops: Loops) -> None:
    name = loops.create()
    loops.send_event(name, {"round": 1, "type": "Event"})
    events = loops.ended(name, 17)
    assert [state for state, _ in events] == ["succeeded"] * 16 + ["failed"]
    _, history = events[-1]
    assert [kind for kind, _ in history if kind != "started"] == ["accepted", "failed"]
    assert history[-1][1] == {"condition": "RecursiveInvocation", "reason": STOPPED}
    assert loops.count(name, "round") == 16


def test_functions_that_invoke_one_another_run_16_times_each(loops: Loops) -> None:
    ring = [loops.create() for _ in range(2)]
    loops.send_event(ring[0], {"round": 0, "type": "Event", "ring": ring})
    first, second = loops.ended(ring[0], 17), loops.ended(ring[1], 16)
    assert [state for state, _ in first] == ["succeeded"] * 16 + ["failed"]
    assert [state for state, _ in second] == ["succeeded"] * 16
    assert [loops.count(name, "round") for name in ring] == [16, 16]


def test_a_function_that_may_runs_on(loops: Loops) -> None:
    name = loops.create()
    loops.allow(name)
    loops.send_event(name, {"round": 1, "type": "Event", "last": 20})
    assert [state for state, _ in loops.ended(name, 20)] == ["succeeded"] * 20
    assert loops.count(name, "round") == 20


def test_a_loop_of_both_kinds_of_invocation_is_stopped(loops: Loops) -> None:
    """A synchronous half of the loop: what is stopped is whichever comes to its seventeenth round first."""
    inner = loops.create()
    source = LOOP.replace('InvocationType=event["type"]', 'InvocationType="RequestResponse"')
    outer = loops.create(source)
    loops.send_event(outer, {"round": 0, "type": "Event", "ring": [outer, inner]})
    assert [state for state, _ in loops.ended(outer, 17)] == ["succeeded"] * 16 + ["failed"]
    assert loops.count(inner, "round") == 16


# --- the limit, by hand --------------------------------------------------------------------------------------------


def trace_after(name: str, rounds: int) -> str:
    """The trace header of a chain of requests in which a function has run so often."""
    return f"{TRACE};Lineage=1:0a0b0c0d:3|1:{key_of(f'{ARN}:{name}')}:{rounds - 1}"


def test_the_seventeenth_round_is_refused(traced: Loops) -> None:
    functions = traced.functions
    name = traced.create(TRACED)
    for _ in range(2):
        assert functions.post(name, X_Amzn_Trace_Id=trace_after(name, 15)).json == trace_after(name, 16)
        for rounds in (16, 17, 1000):
            answer = functions.post(name, X_Amzn_Trace_Id=trace_after(name, rounds))
            assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "RecursiveInvocationException")
            assert answer.body == json.dumps({"Type": "User", "Message": STOPPED}, separators=(",", ":")).encode()
    traced.allow(name)
    assert functions.post(name, X_Amzn_Trace_Id=trace_after(name, 16)).json == trace_after(name, 17)
    traced.client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Terminate")
    assert functions.post(name, X_Amzn_Trace_Id=trace_after(name, 16)).status == 400


@pytest.mark.parametrize("spelling", ["%7C", "%7c", "%257C"])
def test_a_lineage_that_botocore_has_encoded_counts(traced: Loops, spelling: str) -> None:
    name = traced.create(TRACED)
    given = trace_after(name, 16).replace("|", spelling)
    assert traced.functions.post(name, X_Amzn_Trace_Id=given).status == 400


def test_versions_and_aliases_count_together(traced: Loops) -> None:
    name = traced.create(TRACED)
    version = traced.functions.publish(name)
    traced.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    for qualified in (f"{name}:$LATEST", f"{name}:{version}", f"{name}:live", f"{ARN}:{name}"):
        answer = traced.functions.post(qualified, X_Amzn_Trace_Id=trace_after(name, 15))
        assert answer.json == trace_after(name, 16)
        assert traced.functions.post(qualified, X_Amzn_Trace_Id=trace_after(name, 16)).status == 400


def test_a_streamed_invocation_counts_too(traced: Loops) -> None:
    name = traced.create(TRACED)
    target = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    for rounds, status in ((15, 200), (16, 400)):
        headers = {"X-Amz-Client": "test", "X-Amzn-Trace-Id": trace_after(name, rounds)}
        answer = send(traced.running.url, "POST", target, b"{}", headers)
        assert answer.status == status
    assert answer.headers["x-amzn-ErrorType"] == "RecursiveInvocationException"
    assert answer.json == {"Type": "User", "Message": STOPPED}


def test_a_dry_run_is_no_round(traced: Loops) -> None:
    name = traced.create(TRACED)
    for rounds in (16, 17):
        answer = traced.functions.post(name, X_Amz_Invocation_Type="DryRun", X_Amzn_Trace_Id=trace_after(name, rounds))
        assert answer.status == 204


def test_a_refused_round_takes_no_concurrency(traced: Loops) -> None:
    name = traced.create(TRACED)
    traced.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    for _ in range(3):
        assert traced.functions.post(name, X_Amzn_Trace_Id=trace_after(name, 16)).status == 400
    assert traced.functions.post(name).status == 200


def test_callers_from_outside_are_never_stopped(traced: Loops) -> None:
    functions = traced.functions
    name = traced.create(TRACED)
    lineage = f";Lineage=1:{key_of(f'{ARN}:{name}')}:0"
    seen = {functions.post(name).json for _ in range(100)}
    assert len(seen) == 100
    assert all(trace.endswith(f";Sampled=0{lineage}") for trace in seen)
    # One trace of a caller that is no function: each of its requests is the first of its kind.
    assert {functions.post(name, X_Amzn_Trace_Id=TRACE).json for _ in range(100)} == {TRACE + lineage}


@pytest.mark.parametrize("spoilt", ["Root=1-2 3;{}", "Parent=1;{}", "Root=1-2-3;x=" + "y" * 1000 + ";{}"])
def test_a_spoilt_trace_header_does_not_free_a_loop(traced: Loops, spoilt: str) -> None:
    functions = traced.functions
    name = traced.create(TRACED)
    lineage = trace_after(name, 15).removeprefix(f"{TRACE};")
    answer = functions.post(name, X_Amzn_Trace_Id=spoilt.format(lineage))
    assert answer.json.endswith(trace_after(name, 16).removeprefix(TRACE))
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=", answer.json)
    lineage = trace_after(name, 16).removeprefix(f"{TRACE};")
    assert functions.post(name, X_Amzn_Trace_Id=spoilt.format(lineage)).status == 400


# --- events, by hand -----------------------------------------------------------------------------------------------


def test_an_event_in_a_loop_is_accepted_and_not_run(traced: Loops) -> None:
    name = traced.create(TRACED)
    traced.send_event(name, {}, X_Amzn_Trace_Id=trace_after(name, 16))
    ((state, history),) = traced.ended(name)
    assert (state, history[-1]) == ("failed", ("failed", {"condition": "RecursiveInvocation", "reason": STOPPED}))
    assert traced.count(name, "trace") == 0
    traced.allow(name)
    traced.send_event(name, {}, X_Amzn_Trace_Id=trace_after(name, 16))
    assert [state for state, _ in traced.ended(name, 2)] == ["failed", "succeeded"]
    assert traced.count(name, f"trace {trace_after(name, 17)}") == 1


def test_a_retry_is_no_further_round(traced: Loops) -> None:
    name = traced.create(TRACED)
    traced.send_event(name, {"fails": True}, X_Amzn_Trace_Id=trace_after(name, 15))
    ((state, history),) = traced.ended(name)
    assert (state, history[-1][1]["condition"]) == ("failed", "RetriesExhausted")
    assert traced.count(name, f"trace {trace_after(name, 16)}") == 3


def test_the_old_operation_goes_on_with_the_lineage_alone(traced: Loops) -> None:
    """InvokeAsync hands no trace on (Lambda API reference); a loop through it is one all the same."""
    name = traced.create(TRACED)
    target = f"/2014-11-13/functions/{name}/invoke-async"
    for rounds in (15, 16):
        headers = {"X-Amz-Client": "test", "X-Amzn-Trace-Id": trace_after(name, rounds)}
        assert send(traced.running.url, "POST", target, b"{}", headers).status == 202
    assert [state for state, _ in traced.ended(name, 2)] == ["succeeded", "failed"]
    (line,) = lines_starting("".join(traced.functions.log_lines(name)), "trace")
    assert line.endswith(trace_after(name, 16).removeprefix(TRACE))
    assert TRACE not in line


# --- destinations --------------------------------------------------------------------------------------------------


def configure(loops: Loops, name: str, side: str, target: str) -> None:
    loops.client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={side: {"Destination": f"{ARN}:{target}"}}
    )


def test_a_stopped_event_goes_to_the_failure_destination(loops: Loops) -> None:
    name, sink = loops.create(), loops.create(SINK)
    configure(loops, name, "OnFailure", sink)
    loops.send_event(name, {"round": 1, "type": "Event"})
    loops.ended(name, 17)
    until(lambda: loops.count(sink, "record"), "the record arrives")
    (line,) = lines_starting("".join(loops.functions.log_lines(sink)), "record")
    record = json.loads(line.removeprefix("record "))
    assert record["requestPayload"] == {"round": 17, "type": "Event"}
    assert record["requestContext"]["condition"] == "RecursiveInvocation"
    assert record["requestContext"]["functionArn"] == f"{ARN}:{name}:$LATEST"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record
    assert "responsePayload" not in record


def test_a_loop_of_destinations_is_stopped(traced: Loops) -> None:
    one, other = traced.create(TRACED), traced.create(TRACED)
    configure(traced, one, "OnSuccess", other)
    configure(traced, other, "OnSuccess", one)
    traced.send_event(one, {})
    states = [state for state, _ in traced.ended(one, 17)]
    assert states == ["succeeded"] * 16 + ["failed"]
    assert [state for state, _ in traced.ended(other, 16)] == ["succeeded"] * 16


def test_functions_that_tell_each_other_of_their_end_come_to_an_end(traced: Loops) -> None:
    """What was stopped goes to a failure destination, and is stopped there: nothing runs, and yet it would go on."""
    one, other = traced.create(TRACED), traced.create(TRACED)
    configure(traced, one, "OnFailure", other)
    configure(traced, other, "OnFailure", one)
    traced.client.put_function_concurrency(FunctionName=one, ReservedConcurrentExecutions=0)
    traced.client.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=0)
    traced.send_event(one, {})
    events = traced.ended(one, 33)
    assert len(traced.ended(other, 32)) == 32
    conditions = [next(detail for kind, detail in history if kind == "failed") for _, history in events]
    assert [each["condition"] for each in conditions] == ["ZeroReservedConcurrency"] * 16 + ["RecursiveInvocation"] * 17
    assert f"no record is sent to {ARN}:{other}" in conditions[-1]["reason"]
    assert all("no record" not in each["reason"] for each in conditions[:-1])


def test_the_answer_to_a_client_names_the_error(functions: FunctionSet) -> None:
    name = functions.create(TRACED)

    def add_trace(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["X-Amzn-Trace-Id"] = trace_after(name, 16)

    client = client_of(functions.url)
    client.meta.events.register("before-call.lambda.Invoke", add_trace)
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=name)
    client.close()
    assert isinstance(caught.value, client.exceptions.RecursiveInvocationException)
    assert caught.value.response["Message"] == STOPPED
