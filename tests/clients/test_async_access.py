"""Asynchronous invocation under access control: who may put events, and that a refused one is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import (
    OTHER,
    OWN,
    Key,
    arn,
    clients_of,
    create,
    not_allowed,
    refused,
    send_signed,
    signed_headers,
    statement,
    write_keys,
)
from tests.service.async_support import Queue
from tests.service.harness import RunningService, send, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = Key("full", (statement("lambda:*"),))
INVOKER = Key("invoker", (statement("lambda:InvokeFunction", arn("target")),))
LEGACY = Key("legacy", (statement("lambda:InvokeAsync", arn("target")),))
NEIGHBOUR = Key("neighbour", (statement("lambda:*"),), account_id=OTHER)
STATEMENTS = ("lambda:InvokeFunction", "lambda:InvokeAsync")
EVENTS = "/2015-03-31/functions/target/invocations"
LEGACY_EVENTS = "/2014-11-13/functions/target/invoke-async"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("events")
    write_keys(folder / "keys.json", (FULL, INVOKER, LEGACY, NEIGHBOUR))
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    client = FULL.client(running.url)
    for name in ("target", "guarded-f"):
        create(client, name)
    client.close()
    yield running
    running.close()


@pytest.fixture
def client_for(guarded: RunningService) -> Iterator[Callable[..., Any]]:
    with clients_of(guarded.url) as make:
        yield make


@pytest.fixture
def queue(guarded: RunningService) -> Queue:
    return Queue(guarded)


def newest(queue: Queue) -> int:
    return int(queue.rows("SELECT coalesce(max(id), 0) FROM events")[0][0])


def event(client: Any, name: str, *, legacy: bool = False) -> str:
    """Put an event; gives its request id."""
    if legacy:
        answer = client.invoke_async(FunctionName=name, InvokeArgs=b"{}")
        assert answer["Status"] == 202
    else:
        answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        assert answer["StatusCode"] == 202
    return str(answer["ResponseMetadata"]["RequestId"])


@pytest.mark.parametrize("name", ["target", arn("target"), f"{OWN}:function:target"])
def test_who_may_invoke_may_put_events(client_for: Callable[..., Any], queue: Queue, name: str) -> None:
    for _ in range(2):
        queue.ended(event(client_for(INVOKER), name))
    queue.ended(event(client_for(LEGACY), name, legacy=True))


def test_who_may_not_is_refused_and_nothing_is_queued(client_for: Callable[..., Any], queue: Queue) -> None:
    queue.ended(event(client_for(FULL), "target"))
    before = newest(queue)
    members = {"InvocationType": "Event", "Payload": b"{}"}
    cases = [
        (INVOKER, "invoke", "InvokeFunction", "guarded-f", members),
        (INVOKER, "invoke", "InvokeFunction", "target:$LATEST", members),
        (LEGACY, "invoke", "InvokeFunction", "target", members),
        (INVOKER, "invoke_async", "InvokeAsync", "target", {"InvokeArgs": b"{}"}),
        (LEGACY, "invoke_async", "InvokeAsync", "guarded-f", {"InvokeArgs": b"{}"}),
    ]
    for key, method, action, name, given in cases:
        refusal = refused(getattr(client_for(key), method), FunctionName=name, **given)
        assert refusal == not_allowed(key, action, arn(name)), (key.user, method, name)
    assert newest(queue) == before


@pytest.mark.parametrize("target", [EVENTS, LEGACY_EVENTS])
@pytest.mark.parametrize("flaw", ["unsigned", "another body", "another type"])
def test_a_signature_covers_an_event(guarded: RunningService, queue: Queue, target: str, flaw: str) -> None:
    before = newest(queue)
    headers = signed_headers(guarded, FULL, "POST", target, b"{}")
    body = b"{}"
    if flaw == "unsigned":
        headers = {"X-Amz-Invocation-Type": "Event"}
    elif flaw == "another body":
        body = b"[]"
    else:
        # It was not there when the request was signed.
        headers["X-Amz-Invocation-Type"] = "Event"
    answer = send(guarded.url, "POST", target, body, headers)
    assert answer.status == 403, answer
    assert newest(queue) == before


@pytest.mark.parametrize("end", ["", "/"])
def test_invoke_async_on_both_paths_is_verified(guarded: RunningService, queue: Queue, end: str) -> None:
    answer = send_signed(guarded, LEGACY, "POST", f"{LEGACY_EVENTS}{end}", b'{"a": 1}')
    assert (answer.status, answer.body) == (202, b"")
    queue.ended(answer.headers["x-amzn-RequestId"])
    assert send_signed(guarded, INVOKER, "POST", f"{LEGACY_EVENTS}{end}", b"{}").status == 403


@pytest.mark.parametrize("legacy", [False, True])
def test_a_large_event_is_hashed_elsewhere_and_accepted_all_the_same(
    client_for: Callable[..., Any], queue: Queue, legacy: bool
) -> None:
    payload = b'"%b"' % (b"x" * (262_142 if legacy else 1_048_574))
    client = client_for(FULL)
    if legacy:
        answer = client.invoke_async(FunctionName="target", InvokeArgs=payload)
    else:
        answer = client.invoke(FunctionName="target", InvocationType="Event", Payload=payload)
    queue.ended(answer["ResponseMetadata"]["RequestId"])


@pytest.mark.parametrize("legacy", [False, True])
def test_another_account_needs_a_permission_of_the_function(
    client_for: Callable[..., Any], queue: Queue, legacy: bool
) -> None:
    owner, caller = client_for(FULL), client_for(NEIGHBOUR)
    call = caller.invoke_async if legacy else caller.invoke
    members: dict[str, Any] = {"InvokeArgs": b"{}"} if legacy else {"InvocationType": "Event", "Payload": b"{}"}
    before = newest(queue)
    assert refused(call, FunctionName=arn("target"), **members)[:2] == (403, "AccessDeniedException")
    assert newest(queue) == before
    sid = {"FunctionName": "target", "StatementId": f"neighbour-{int(legacy)}"}
    owner.add_permission(Action=STATEMENTS[legacy], Principal=OTHER, **sid)
    for _ in range(2):
        queue.ended(event(caller, arn("target"), legacy=legacy))
    owner.remove_permission(**sid)
    assert refused(call, FunctionName=arn("target"), **members)[:2] == (403, "AccessDeniedException")


def test_an_accepted_event_runs_although_the_permission_has_gone(
    client_for: Callable[..., Any], guarded: RunningService, queue: Queue
) -> None:
    """As on AWS: who may is decided when the event is put."""
    owner, caller = client_for(FULL), client_for(NEIGHBOUR)
    sid = {"FunctionName": "target", "StatementId": "for-a-while"}
    owner.add_permission(Action="lambda:InvokeFunction", Principal=OTHER, **sid)
    owner.put_function_concurrency(FunctionName="target", ReservedConcurrentExecutions=1)
    # Nothing has room while this counts as running.
    concurrency = guarded.do(lambda: guarded.service._targets.concurrency(OWN, "target"))
    assert guarded.do(concurrency.take)
    request_id = event(caller, arn("target"))
    until(lambda: "throttled" in queue.kinds(request_id), "it is throttled")
    owner.remove_permission(**sid)
    guarded.do(concurrency.release)
    queue.ended(request_id)
    owner.delete_function_concurrency(FunctionName="target")
