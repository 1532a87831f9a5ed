"""Queued events of a whole service over HTTP: seen, redriven, dropped; by whom; and kept within bounds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.clients.client_support import OTHER, OWN, Key, arn, create, send_signed, statement, write_keys
from tests.service.harness import FunctionSet, Response, RunningService, client_of, send, until
from venturekit.service.access.actions import EVENT_ACTIONS
from venturekit.service.store import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVENTS = "/_venturekit/events"
HEADERS = {"X-Amz-Client": "test"}
# Fails as long as the event says so; waits for a named pipe if it names one.
SOURCE = """
def handler(event, context):
    if "wait" in event:
        open(event["wait"]).read()
    if "fail" in event:
        raise ValueError(event["fail"])
    return event
"""
MENDED = "def handler(event, context):\n    return 'mended'\n"


class Events:
    """The pages about events of one service, and functions whose events they are."""

    def __init__(self, running: RunningService) -> None:
        self.running = running
        self.functions = running.functions()

    def ask(self, method: str, target: str = "", headers: dict[str, str] = HEADERS) -> Response:
        return send(self.running.url, method, EVENTS + target, headers=headers)

    def get(self, target: str = "") -> Any:
        answer = self.ask("GET", target)
        assert answer.status == 200, answer.body
        return answer.json

    def done(self, method: str, target: str) -> Any:
        answer = self.ask(method, target)
        assert answer.status == 200, answer.body
        return answer.json

    def refused(self, method: str, target: str) -> tuple[int, str]:
        answer = self.ask(method, target)
        return answer.status, answer.json["message"]

    def send(self, name: str, event: Any) -> str:
        """Accept an event; returns its request id."""
        payload = json.dumps(event).encode()
        answer = self.running.client.invoke(FunctionName=name, InvocationType="Event", Payload=payload)
        assert answer["StatusCode"] == 202
        return str(answer["ResponseMetadata"]["RequestId"])

    def show(self, request_id: str) -> Any:
        return self.get(f"/{request_id}?payload=true")

    def until(self, request_id: str, state: str, attempts: int | None = None) -> Any:
        """The event, once it is in this state."""

        def look() -> Any:
            event = self.show(request_id)
            return event if event["state"] == state and attempts in (None, event["attempts"]) else None

        return until(look, f"{request_id} is {state}")

    def kinds(self, request_id: str) -> list[str]:
        return [line["kind"] for line in self.show(request_id)["history"]]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """What fails is run again at once."""
    running = RunningService(tmp_path_factory.mktemp("at_once") / "data", {}, async_retry_delays="0.01,0.02")
    yield running
    running.close()


@pytest.fixture(scope="module")
def as_on_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """What fails is run again after a minute."""
    running = RunningService(tmp_path_factory.mktemp("as_on_aws") / "data", {})
    yield running
    running.close()


@pytest.fixture
def quick(at_once: RunningService) -> Iterator[Events]:
    events = Events(at_once)
    yield events
    events.functions.delete_all()


@pytest.fixture
def slow(as_on_aws: RunningService) -> Iterator[Events]:
    events = Events(as_on_aws)
    yield events
    events.functions.delete_all()


# --- see ------------------------------------------------------------------------------------------------------------


def test_an_event_that_failed_three_times_shows_every_attempt(quick: Events) -> None:
    name = quick.functions.create(SOURCE)
    request_id = quick.send(name, {"fail": "not today"})
    event = quick.until(request_id, "failed")
    assert (event["requestId"], event["functionName"], event["attempts"]) == (request_id, name, 3)
    assert (event["payload"], event["payloadSizeBytes"]) == ('{"fail": "not today"}', 21)
    history = [(line["kind"], line["detail"]) for line in event["history"]]
    assert [kind for kind, _ in history] == ["accepted", *["started", "error"] * 3, "failed"]
    errors = [detail for kind, detail in history if kind == "error"]
    assert [(error["errorType"], error["errorMessage"]) for error in errors] == [("ValueError", "not today")] * 3
    assert [error.get("nextDelaySeconds") for error in errors] == [0.01, 0.02, None]
    assert all(error["durationMs"] > 0 for error in errors)
    assert history[-1][1] == {"condition": "RetriesExhausted"}
    times = [line["at"] for line in event["history"]]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (event["acceptedAt"], event["endedAt"])


def test_a_list_holds_the_events_of_a_function_newest_first_page_by_page(quick: Events) -> None:
    name = quick.functions.create(SOURCE)
    ids = [quick.send(name, {"number": number}) for number in range(5)]
    for request_id in ids:
        quick.until(request_id, "succeeded")
    found: list[str] = []
    target = f"?function={name}&limit=2"
    while True:
        page = quick.get(target)
        assert len(page["events"]) <= 2
        found += [event["requestId"] for event in page["events"]]
        if "nextMarker" not in page:
            break
        target = f"?function={quote(arn(name), safe='')}&limit=2&marker={page['nextMarker']}"
    assert found == ids[::-1]
    oldest = quick.get(f"?function={name}&order=oldest")["events"]
    assert [event["requestId"] for event in oldest] == ids
    assert all(event["last"]["kind"] == "succeeded" and "lastError" not in event for event in oldest)
    assert quick.get("?function=nobody") == {"events": []}


def test_lists_and_counts_by_state(slow: Events) -> None:
    name = slow.functions.create(SOURCE)
    waiting = slow.send(name, {"fail": "no"})
    slow.until(waiting, "queued", attempts=1)
    slow.until(slow.send(name, {}), "succeeded")
    (event,) = slow.get(f"?function={name}&state=queued")["events"]
    assert event["requestId"] == waiting
    assert 50 < event["dueInSeconds"] <= 60
    assert 0 <= event["ageSeconds"] < 60
    assert event["lastError"]["detail"]["errorMessage"] == "no"
    assert slow.get(f"/counts?function={name}") == {
        "functions": [
            {
                "functionName": name,
                "queued": 1,
                "running": 0,
                "succeeded": 1,
                "failed": 0,
                "dropped": 0,
                "undelivered": 0,
            }
        ]
    }
    assert [item["functionName"] for item in slow.get("/counts")["functions"]].count(name) == 1


def test_an_event_is_found_by_its_number_or_the_beginning_of_its_id(quick: Events) -> None:
    request_id = quick.send(quick.functions.create(SOURCE), {})
    number = quick.until(request_id, "succeeded")["number"]
    for reference in (request_id[:8], request_id.upper(), quote(f"#{number}"), str(number)):
        assert quick.get(f"/{reference}")["requestId"] == request_id


# --- redrive --------------------------------------------------------------------------------------------------------


def test_a_failed_event_is_redriven_on_the_newest_code_and_then_has_no_payload(quick: Events) -> None:
    name = quick.functions.create(SOURCE)
    request_id = quick.send(name, {"fail": "no"})
    former = quick.until(request_id, "failed")
    quick.functions.update(name, MENDED)
    answer = quick.done("POST", f"/{request_id[:8]}/redrive")
    assert answer == {
        "number": former["number"],
        "requestId": request_id,
        "functionName": name,
        "state": "queued",
        "deliveries": 0,
    }
    event = quick.until(request_id, "succeeded")
    assert (event["attempts"], event["payloadSizeBytes"]) == (1, None)
    assert [line["kind"] for line in event["history"]][-4:] == ["failed", "redriven", "started", "succeeded"]
    until(lambda: quick.running.health()["queuedEvents"] == 0, "none is live")
    status, message = quick.refused("POST", f"/{request_id}/redrive")
    assert (status, "its payload is gone" in message) == (409, True)


def test_an_event_that_waits_for_a_retry_is_run_at_once(slow: Events) -> None:
    request_id = slow.send(slow.functions.create(SOURCE), {"fail": "no"})
    slow.until(request_id, "queued", attempts=1)
    slow.done("POST", f"/{request_id}/redrive")
    event = slow.until(request_id, "queued", attempts=2)
    assert event["dueInSeconds"] > 100, "the second retry waits as long as ever"
    assert slow.kinds(request_id) == ["accepted", "started", "error", "redriven", "started", "error"]


def test_all_failed_events_of_a_function_are_redriven(quick: Events) -> None:
    name, other = quick.functions.create(SOURCE), quick.functions.create(SOURCE)
    ids = [quick.send(name, {"fail": "no"}) for _ in range(3)]
    left = quick.send(other, {"fail": "no"})
    for request_id in (*ids, left):
        quick.until(request_id, "failed")
    quick.functions.update(name, MENDED)
    assert quick.done("POST", f"/redrive?function={name}") == {"events": 3, "deliveries": 0}
    for request_id in ids:
        quick.until(request_id, "succeeded")
    assert quick.show(left)["state"] == "failed"


# --- drop -----------------------------------------------------------------------------------------------------------


def test_a_dropped_event_is_not_run_and_can_be_redriven(start_service: Callable[..., RunningService]) -> None:
    slow = Events(start_service())
    name = slow.functions.create(SOURCE)
    request_id = slow.send(name, {"fail": "no"})
    slow.until(request_id, "queued", attempts=1)
    assert slow.running.health()["queuedEvents"] == 1
    assert slow.done("DELETE", f"/{request_id}")["state"] == "dropped"
    event = slow.show(request_id)
    assert (event["state"], event["payload"], event["history"][-1]["kind"]) == ("dropped", '{"fail": "no"}', "dropped")
    assert slow.running.health()["queuedEvents"] == 0
    slow.functions.update(name, MENDED)
    slow.done("POST", f"/{request_id}/redrive")
    slow.until(request_id, "succeeded", attempts=1)


def test_an_event_that_runs_is_neither_redriven_nor_dropped(quick: Events, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    request_id = quick.send(quick.functions.create(SOURCE, Timeout=60), {"wait": str(pipe)})
    # Opening to write returns when the function has opened to read: from then on it runs.
    with pipe.open("w"):
        (event,) = quick.get("?state=running")["events"]
        assert event["requestId"] == request_id
        expected = (409, f"Event #{event['number']} ({request_id}) is being run: wait until that has ended")
        assert quick.refused("POST", f"/{request_id}/redrive") == expected
        assert quick.refused("DELETE", f"/{request_id}") == expected
    quick.until(request_id, "succeeded")
    assert quick.kinds(request_id) == ["accepted", "started", "succeeded"]


def test_the_queue_of_a_function_is_emptied(slow: Events) -> None:
    name, other = slow.functions.create(SOURCE), slow.functions.create(SOURCE)
    ids = [slow.send(function, {"fail": "no"}) for function in (name, name, other)]
    for request_id in ids:
        slow.until(request_id, "queued", attempts=1)
    assert slow.done("DELETE", f"?function={name}") == {"events": 2, "deliveries": 0}
    assert [slow.show(request_id)["state"] for request_id in ids] == ["dropped", "dropped", "queued"]


# --- what is owed ---------------------------------------------------------------------------------------------------

QUEUE = f"arn:aws:sqs:us-east-1:{OWN}:failed"


def test_what_waits_for_an_endpoint_is_shown_with_its_reason_and_can_be_dropped(quick: Events) -> None:
    name = quick.functions.create(SOURCE)
    quick.functions.client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": QUEUE}}
    )
    request_id = quick.send(name, {"fail": "no"})
    quick.until(request_id, "failed")
    (event,) = quick.get(f"?function={name}&state=undelivered")["events"]
    assert (event["requestId"], event["owedDeliveries"]) == (request_id, 1)
    (owed,) = until(lambda: [item for item in quick.show(request_id)["deliveries"] if item["reason"]], "the reason")
    assert (owed["kind"], owed["target"]) == ("OnFailure", QUEUE)
    assert "AWS_ENDPOINT_URL" in owed["reason"]
    # Without an endpoint that is all there is to it.
    assert quick.done("POST", f"/{request_id}/redrive?deliveries=true")["deliveries"] == 1
    answer = quick.done("DELETE", f"/{request_id}")
    assert (answer["state"], answer["deliveries"]) == ("failed", 1)
    event = quick.show(request_id)
    assert (event["owedDeliveries"], event["deliveries"]) == (0, [])
    assert event["history"][-1]["kind"] == "delivery-dropped"
    assert event["history"][-1]["detail"]["target"] == QUEUE
    status, message = quick.refused("DELETE", f"/{request_id}")
    assert (status, "there is nothing to drop" in message) == (409, True)


def test_what_a_target_has_refused_is_delivered_as_soon_as_somebody_says_so(quick: Events) -> None:
    name, target = quick.functions.create(SOURCE), quick.functions.create(SOURCE)
    quick.functions.client.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn(target)}}
    )
    quick.functions.client.delete_function(FunctionName=target)
    request_id = quick.send(name, {})
    # The back-off is two seconds by then, and would be longer each time.
    until(lambda: [item for item in quick.show(request_id)["deliveries"] if item["attempts"] >= 2], "it fails twice")
    quick.functions.create(SOURCE, name=target)
    quick.done("POST", f"/redrive?function={name}&state=undelivered")
    event = until(lambda: None if (found := quick.show(request_id))["deliveries"] else found, "it is delivered")
    assert event["state"] == "succeeded"
    kinds = [line["kind"] for line in event["history"]]
    assert kinds[-2:] == ["redriven", "delivered"]
    assert event["history"][-2]["detail"] == {"deliveries": 1}
    (hop,) = quick.get(f"?function={target}")["events"]
    assert quick.until(hop["requestId"], "succeeded")["number"] > event["number"]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "status", "says"),
    [
        ("GET", "?state=done", 400, "state must be one of queued, running, succeeded, failed, dropped, undelivered"),
        ("GET", "?limit=0", 400, "limit must be 1 to 500, not '0'"),
        ("GET", "?limit=501", 400, "limit must be 1 to 500"),
        ("GET", "?limit=%D9%A1", 400, "limit must be 1 to 500"),
        ("GET", "?limit=" + "9" * 4000, 400, "limit must be 1 to 500"),
        ("GET", "?marker=x", 400, "the marker must be the nextMarker of the page before"),
        ("GET", "?order=up", 400, "order must be one of newest, oldest, not 'up'"),
        ("GET", "?function=a%20b", 400, "'a b' is not a function name"),
        ("GET", "?function=f:prod", 400, "leave ':prod' out"),
        ("GET", "?function=" + quote(arn("f", OTHER)), 403, ""),
        ("GET", "?sort=up", 400, "there is no parameter 'sort': there are state, function, limit, marker, order"),
        ("GET", "?state=failed&state=queued", 400, "the parameter state was given 2 times"),
        ("GET", "/counts?state=failed", 400, "there is no parameter 'state': there are function"),
        ("GET", "/12345678?payload=yes", 400, "payload must be one of true, false, not 'yes'"),
        ("GET", "/nothing-of-the-kind", 400, "'nothing-of-the-kind' is not an event"),
        ("GET", "/00000000", 404, "There is no event 00000000"),
        ("GET", "/%2399999", 404, "There is no event #99999"),
        ("GET", "/", 400, "'' is not an event"),
        ("GET", "/%ff%fe", 400, "is not an event"),
        ("POST", "/00000000/redrive", 404, "There is no event 00000000"),
        ("POST", "/00000000/redrive?deliveries=1", 400, "deliveries must be one of true, false"),
        ("DELETE", "/00000000", 404, "There is no event 00000000"),
        ("DELETE", "/00000000?all=true", 400, "there is no parameter 'all': there is none here"),
        ("POST", "/redrive", 400, "say which events: those of a function (function=NAME), or of all functions"),
        ("POST", "/redrive?all=true&function=f", 400, "say which events"),
        ("POST", "/redrive?all=true&state=succeeded", 400, "state must be one of failed, dropped, queued, undelivered"),
        ("POST", "/redrive?all=1", 400, "all must be one of true, false"),
        ("POST", "/redrive?all=true&marker=1-x", 400, "the marker must be"),
        ("DELETE", "", 400, "say which events"),
        ("DELETE", "?all=true&state=running", 400, "state must be one of queued, failed, undelivered, not 'running'"),
        ("PUT", "", 405, "/_venturekit/events is not served for PUT"),
        ("POST", "", 405, "is not served for POST"),
        ("POST", "/00000000", 405, "is not served for POST"),
        ("GET", "/00000000/redrive", 405, "is not served for GET"),
        ("GET", "/00000000/history", 404, "the service has no /_venturekit/events/00000000/history"),
        ("GET", "/a/redrive/c", 404, "the service has no"),
    ],
)
def test_bad_input_is_answered_with_what_is_wrong(
    at_once: RunningService, method: str, target: str, status: int, says: str
) -> None:
    answer = send(at_once.url, method, EVENTS + target, headers=HEADERS)
    assert (answer.status, says in answer.json["message"]) == (status, True), answer.body
    assert len(answer.body) < 1000


@pytest.mark.parametrize(("method", "target"), [("GET", ""), ("POST", "/redrive?all=true"), ("DELETE", "?all=true")])
@pytest.mark.parametrize(
    "headers", [{}, {**HEADERS, "Origin": "http://evil.example"}, {**HEADERS, "Host": "evil.example"}]
)
def test_a_web_page_neither_sees_nor_changes_events(
    at_once: RunningService, method: str, target: str, headers: dict[str, str]
) -> None:
    answer = send(at_once.url, method, EVENTS + target, headers=headers)
    assert answer.status == 403
    assert b"events" not in answer.body


def test_a_store_that_takes_nothing_is_said_to_be_so(slow: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = slow.send(slow.functions.create(SOURCE), {"fail": "no"})
    slow.until(request_id, "queued", attempts=1)

    async def full(*_: Any, **__: Any) -> None:
        raise StoreFullError("the disk is full: free some space")

    with monkeypatch.context() as patched:
        patched.setattr(slow.running.service._store, "perform", full)
        expected = (503, "The store: the disk is full: free some space")
        assert slow.refused("DELETE", f"/{request_id}") == expected
        assert slow.refused("POST", f"/{request_id}/redrive") == expected
    assert slow.show(request_id)["state"] == "queued"


# --- whose events ---------------------------------------------------------------------------------------------------


def as_account(account_id: str) -> dict[str, str]:
    scope = f"{account_id}/20261121/us-east-1/lambda/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}


def test_two_accounts_do_not_see_each_others_events(quick: Events) -> None:
    client = client_of(quick.running.url, signed=(OTHER, "any"))
    functions = FunctionSet(quick.running.url, client)
    name = functions.create(SOURCE, name="twin")
    quick.functions.create(SOURCE, name="twin")
    own = quick.send(name, {"fail": "own"})
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": "other"}')
    other = answer["ResponseMetadata"]["RequestId"]
    event = quick.until(own, "failed")

    def seen(headers: dict[str, str]) -> list[str]:
        page = quick.ask("GET", "?function=twin", headers).json
        return [event["requestId"] for event in page["events"]]

    until(lambda: quick.ask("GET", f"/{other}", as_account(OTHER)).json["state"] == "failed", "it fails")
    assert (seen(HEADERS), seen(as_account(OTHER)), seen(as_account(OWN))) == ([own], [other], [own])
    for method, target in [("GET", f"/{own}"), ("POST", f"/{own}/redrive"), ("DELETE", f"/%23{event['number']}")]:
        assert quick.ask(method, target, as_account(OTHER)).status == 404
    assert quick.ask("GET", "/counts", as_account(OTHER)).json["functions"][0]["failed"] == 1
    assert quick.ask("DELETE", "?all=true&state=failed", as_account(OTHER)).json == {"events": 0, "deliveries": 0}
    assert quick.ask("POST", "/redrive?all=true", as_account(OTHER)).json == {"events": 1, "deliveries": 0}
    assert quick.show(own)["history"] == event["history"]
    functions.delete_all()
    client.close()


FULL = Key("full", (statement(["lambda:*", "venturekit:*"]),))
LAMBDA = Key("lambda", (statement("lambda:*"),))
READER = Key("reader", (statement(["venturekit:Get*", "venturekit:List*"]),))
ORDERS = Key("orders", (statement("venturekit:*", arn("orders")),))
CAREFUL = Key("careful", (statement("venturekit:*"), statement("venturekit:*", arn("secret"), "Deny")))
NEIGHBOUR = Key("neighbour", (statement("venturekit:*"),), account_id=OTHER)
KEYS = (FULL, LAMBDA, READER, ORDERS, CAREFUL, NEIGHBOUR)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, dict[str, str]]]:
    """A service with these keys, and a failed event of the functions ``orders`` and ``secret``: their request ids."""
    folder = tmp_path_factory.mktemp("guarded")
    write_keys(folder / "keys.json", KEYS)
    running = RunningService(folder / "data", {}, credentials=folder / "keys.json", async_retry_delays="0.01,0.01")
    client = FULL.client(running.url)
    ids = {}
    for name in ("orders", "secret"):
        create(client, name, SOURCE)
        answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": "no"}')
        ids[name] = answer["ResponseMetadata"]["RequestId"]
    for request_id in ids.values():
        target = f"{EVENTS}/{request_id}"
        until(lambda target=target: send_signed(running, FULL, "GET", target).json["state"] == "failed", "it fails")
    yield running, ids
    client.close()
    running.close()


def denied(key: Key, action: str, resource: str, why: str) -> str:
    user = f"arn:aws:iam::{key.account_id}:user/{key.user}"
    return f"User: {user} is not authorized to perform: venturekit:{action} on resource: {resource} {why}"


NO_POLICY = "because no identity-based policy allows the venturekit:{} action"
DENY = "with an explicit deny in an identity-based policy"
REQUESTS = {
    "ListEvents": ("GET", "?function={name}"),
    "GetEvent": ("GET", "/{id}"),
    "RedriveEvent": ("POST", "/{id}/redrive?deliveries=true"),
    "DropEvent": ("DELETE", "/{id}"),
}


def asked(guarded: tuple[RunningService, dict[str, str]], key: Key, action: str, name: str) -> tuple[int, str]:
    running, ids = guarded
    method, target = REQUESTS[action]
    answer = send_signed(running, key, method, EVENTS + target.format(name=name, id=ids.get(name, name)))
    return answer.status, answer.json.get("message", "")


def test_every_action_is_asked_for_by_a_request() -> None:
    assert set(REQUESTS) == set(EVENT_ACTIONS)


@pytest.mark.parametrize("action", REQUESTS)
def test_what_a_key_may_do_to_events_its_statements_say(
    guarded: tuple[RunningService, dict[str, str]], action: str
) -> None:
    # Nothing is owed and nothing waits: who may do that is told that there is nothing to do.
    served = 200 if action in ("ListEvents", "GetEvent") else 409
    assert asked(guarded, FULL, action, "orders")[0] == served
    assert asked(guarded, ORDERS, action, "orders")[0] == served
    assert asked(guarded, CAREFUL, action, "orders")[0] == served
    reads = served == 200
    status, message = asked(guarded, READER, action, "orders")
    assert status == (200 if reads else 403)
    assert reads or message == denied(READER, action, "*", NO_POLICY.format(action))
    named = action == "ListEvents"
    expected = denied(LAMBDA, action, arn("orders") if named else "*", NO_POLICY.format(action))
    assert asked(guarded, LAMBDA, action, "orders") == (403, expected)


@pytest.mark.parametrize("action", REQUESTS)
def test_a_deny_about_a_function_holds_for_its_events(
    guarded: tuple[RunningService, dict[str, str]], action: str
) -> None:
    assert asked(guarded, CAREFUL, action, "secret") == (403, denied(CAREFUL, action, arn("secret"), DENY))


@pytest.mark.parametrize("action", ["GetEvent", "RedriveEvent", "DropEvent"])
@pytest.mark.parametrize("reference", ["secret", "00000000-0000-4000-8000-000000000000", "%2399", "nonsense"])
def test_who_may_not_does_not_learn_which_events_there_are(
    guarded: tuple[RunningService, dict[str, str]], action: str, reference: str
) -> None:
    expected = denied(ORDERS, action, "*", NO_POLICY.format(action))
    assert asked(guarded, ORDERS, action, reference) == (403, expected)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_about_all_functions_is_asked_about_with_a_star(
    guarded: tuple[RunningService, dict[str, str]], method: str
) -> None:
    running, _ = guarded
    target = {"GET": "", "POST": "/redrive?all=true", "DELETE": "?all=true&state=failed"}[method]
    action = {"GET": "ListEvents", "POST": "RedriveEvent", "DELETE": "DropEvent"}[method]
    answer = send_signed(running, ORDERS, method, EVENTS + target)
    assert (answer.status, answer.json["message"]) == (403, denied(ORDERS, action, "*", NO_POLICY.format(action)))
    answer = send_signed(running, CAREFUL, method, EVENTS + target)
    if method == "GET":
        assert len(answer.json["events"]) == 2
    else:
        expected = denied(CAREFUL, action, arn("secret"), DENY)
        assert (answer.status, answer.json["message"]) == (403, expected)


def test_a_key_of_another_account_sees_nothing_of_this_one(guarded: tuple[RunningService, dict[str, str]]) -> None:
    running, ids = guarded
    assert send_signed(running, NEIGHBOUR, "GET", EVENTS).json == {"events": []}
    assert asked(guarded, NEIGHBOUR, "GetEvent", "orders")[0] == 404
    assert send(running.url, "GET", f"{EVENTS}/{ids['orders']}", headers=HEADERS).status == 403, "unsigned"


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_history_survives_a_restart_and_is_cut_to_its_limit(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = Events(start_service(tmp_path / "data"))
    name = first.functions.create(SOURCE)
    ids = [first.send(name, {}) for _ in range(6)]
    for request_id in ids:
        first.until(request_id, "succeeded")
    order = [event["requestId"] for event in first.get()["events"]]
    first.running.close()
    second = Events(start_service(tmp_path / "data"))
    assert [event["requestId"] for event in second.get()["events"]] == order
    assert [line["kind"] for line in second.show(ids[0])["history"]] == ["accepted", "started", "succeeded"]
    second.running.close()
    third = Events(start_service(tmp_path / "data", event_history_limit=2))
    until(lambda: len(third.get()["events"]) <= 3, "the history is cut")
    left = [event["requestId"] for event in third.get()["events"]]
    assert 2 <= len(left) <= 3, "the newest event stays, whenever it ended"
    assert left[0] == order[0]
