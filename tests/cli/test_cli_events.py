"""``vk events``: what it prints, whom it asks, and how it exits; against a real service."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from tests.cli.conftest import BOUND_SECONDS, clean_environment, command, serving
from venturekit.cli import event_words, events, main
from venturekit.cli.api import Api, Endpoint, function_path

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
FINAL = ("succeeded", "failed", "dropped")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A service that runs failed events again at once, with the function ``app``."""
    with serving(tmp_path_factory.mktemp("events"), "--async-retry-delays", "0.01,0.02") as running:
        running.create("app")
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A service whose failed events wait for a minute."""
    with serving(tmp_path_factory.mktemp("patient")) as running:
        running.create("app")
        yield running


def accept(served, event, name="app"):
    """An event of its own; returns its request id."""
    with closing(Api(Endpoint(served.url, "us-east-1", None))) as api:
        headers = {"X-Amz-Invocation-Type": "Event"}
        answer = api.request(
            "POST", function_path(name, "/invocations"), body=json.dumps(event).encode(), headers=headers
        )
        assert answer.status == 202
        return answer.headers["x-amzn-requestid"]


def wait(served, request_id, *states, attempts=None, until=lambda event: True):
    """The event as `vk events show --json` has it, once it is in one of these states."""
    give_up = time.monotonic() + BOUND_SECONDS
    with closing(Api(Endpoint(served.url, "us-east-1", None))) as api:
        while time.monotonic() < give_up:
            event = api.json("GET", f"{events.EVENTS}/{request_id}")
            if event["state"] in (states or FINAL) and attempts in (None, event["attempts"]) and until(event):
                return event
    raise AssertionError(f"{event['state']} and not {states or FINAL}")


def rows_of(out):
    return [line.split("\t") for line in out.decode().splitlines()]


def on_terminal(served, *arguments, says=b""):
    """Exit status and output of a command with a person at the terminal, who types this when asked."""
    master, slave = pty.openpty()
    env = clean_environment({"AWS_ENDPOINT_URL_LAMBDA": served.url, "COLUMNS": "100", "TERM": "dumb"})
    process = subprocess.Popen(command("events", *arguments), stdin=slave, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    seen = b""
    try:
        while piece := os.read(master, 65536):
            seen += piece
            if says and seen.endswith(b"[y/N]: "):
                os.write(master, says)
    except OSError:
        pass  # the other side is closed
    os.close(master)
    return process.wait(30), seen.decode().replace("\r\n", "\n")


class Here:
    """``vk events`` in this process, which is faster."""

    def __init__(self, monkeypatch, capsys):
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, url, *arguments):
        for name in [name for name in os.environ if name.startswith(("AWS_", "VENTUREKIT_"))]:
            self._monkeypatch.delenv(name)
        self._monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        return main(["events", *arguments])

    def said(self):
        """What went to standard error. Nothing went to standard output."""
        captured = self._capsys.readouterr()
        assert captured.out == ""
        return captured.err


@pytest.fixture
def here(monkeypatch, capsys):
    return Here(monkeypatch, capsys)


# --- list -----------------------------------------------------------------------------------------------------------


def test_a_list_is_lines_with_tabs_where_nobody_looks(served):
    good, bad = accept(served, {}), accept(served, {"fail": "not today"})
    wait(served, good)
    number = wait(served, bad)["number"]
    done = served.vk("events", "list", "--state", "failed")
    assert (done.status, done.err) == (0, "")
    row = next(row for row in rows_of(done.out) if row[1] == bad)
    assert row[:5] == [f"#{number}", bad, "app", "failed", "3"]
    assert re.fullmatch(TIME, row[5])
    assert row[6] == "RetriesExhausted; ValueError: not today"
    row = next(row for row in rows_of(served.vk("events", "list").out) if row[1] == good)
    assert (row[3], row[4], row[6]) == ("succeeded", "1", "")
    assert served.vk("events", "list", "--function", "nobody").out == b""


def test_a_list_as_json_is_what_the_service_says(served):
    request_id = accept(served, {})
    wait(served, request_id)
    found = served.vk("events", "list", "--json", "--function", "app", "--state", "succeeded").json
    event = next(event for event in found if event["requestId"] == request_id)
    assert (event["state"], event["attempts"], event["owedDeliveries"]) == ("succeeded", 1, 0)
    assert event["last"]["kind"] == "succeeded"


def test_a_list_that_is_cut_says_so(served):
    ids = [accept(served, {}) for _ in range(3)]
    for request_id in ids:
        wait(served, request_id)
    done = served.vk("events", "list", "--limit", "2", "--json")
    assert [event["requestId"] for event in done.json] == ids[:0:-1]
    assert done.err == "vk: there may be more than these 2: --limit shows them\n"
    oldest = served.vk("events", "list", "--limit", "1", "--oldest", "--json").json
    assert oldest[0]["number"] == 1


def test_on_a_terminal_a_list_fits(served):
    request_id = accept(served, {"fail": "not today"})
    wait(served, request_id)
    status, text = on_terminal(served, "list", "--limit", "1")
    assert status == 0
    title, row, *_ = text.splitlines()
    assert title.split() == ["EVENT", "REQUEST", "ID", "FUNCTION", "STATE", "ATTEMPTS", "ACCEPTED", "WHY"]
    assert request_id[:8] in row
    assert request_id not in text


class Pages:
    """Stands for the client: answers with these documents, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def json(self, method, target):
        self.asked.append((method, target.removeprefix(events.EVENTS)))
        return self.answers.pop(0)


def test_pages_are_read_until_there_are_enough_or_no_more():
    pages = Pages({"events": [1, 2], "nextMarker": "7"}, {"events": [], "nextMarker": "5"}, {"events": [3]})
    assert events.list_events(pages, {"state": "failed"}, 5) == ([1, 2, 3], False)
    assert pages.asked == [
        ("GET", "?state=failed&limit=5"),
        ("GET", "?state=failed&marker=7&limit=3"),
        ("GET", "?state=failed&marker=5&limit=3"),
    ]
    pages = Pages({"events": [0] * 500, "nextMarker": "7"}, {"events": [0] * 100, "nextMarker": "5"})
    found, more = events.list_events(pages, {}, 600)
    assert (len(found), more) == (600, True)
    assert [target for _, target in pages.asked] == ["?limit=500", "?marker=7&limit=100"]


# --- show -----------------------------------------------------------------------------------------------------------


def test_an_event_that_failed_is_shown_with_every_attempt(served):
    request_id = accept(served, {"fail": "not today"})
    number = wait(served, request_id)["number"]
    done = served.vk("events", "show", request_id[:8])
    assert (done.status, done.err) == (0, "")
    facts, history = done.out.decode().split("\n\nHistory\n")
    shown = dict(line.split("\t") for line in facts.splitlines())
    assert (shown["event"], shown["request id"], shown["function"]) == (f"#{number}", request_id, "app")
    assert (shown["state"], shown["attempts"], shown["payload"]) == ("failed", "3", "21 bytes")
    rows = [line.split("\t") for line in history.splitlines()]
    assert all(re.fullmatch(TIME, row[0]) for row in rows)
    assert [row[1] for row in rows] == ["accepted", *["started", "error"] * 3, "failed"]
    errors = [row[2] for row in rows if row[1] == "error"]
    for error, end in zip(errors, (", again after 0.01 s", ", again after 0.02 s", ""), strict=True):
        assert re.fullmatch(rf"ValueError: not today, [0-9.e-]+ ms, version \$LATEST{end}", error)
    assert rows[-1][2] == "RetriesExhausted"
    assert b"Payload" not in done.out


def test_an_event_is_shown_by_its_number_with_its_payload(served):
    request_id = accept(served, {"fail": "é"})
    number = wait(served, request_id)["number"]
    done = served.vk("events", "show", f"#{number}", "--payload")
    assert done.out.endswith(b'\n\nPayload\n{"fail": "\\u00e9"}\n')
    found = served.vk("events", "show", str(number), "--payload", "--json").json
    assert (found["requestId"], found["payload"]) == (request_id, '{"fail": "\\u00e9"}')
    assert found["history"][0]["kind"] == "accepted"
    status, text = on_terminal(served, "show", f"#{number}", "--payload")
    assert status == 0
    assert text.endswith('\nPayload\n{\n  "fail": "é"\n}\n')
    assert re.search(rf"\nWHEN +WHAT +DETAIL *\n{TIME}  accepted", text)


def test_what_is_owed_is_shown_with_its_reason(served):
    served.create("owing")
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    with closing(Api(Endpoint(served.url, "us-east-1", None))) as api:
        config = {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": queue}}}
        api.json("PUT", "/2019-09-25/functions/owing/event-invoke-config", config)
    request_id = accept(served, {"fail": "x"}, "owing")
    wait(served, request_id)
    wait(served, request_id, "failed", until=lambda event: event["deliveries"][0]["reason"])
    text = served.vk("events", "show", request_id).out.decode()
    assert re.search(rf"\n\nOwed\nOnFailure\t{queue}\t\d+\tdue.*\t.*AWS_ENDPOINT_URL.*\n\nHistory\n", text)
    assert "state\tfailed, 1 undelivered\n" in text
    (row,) = rows_of(served.vk("events", "list", "--state", "undelivered", "--function", "owing").out)
    assert row[1] == request_id
    done = served.vk("events", "drop", "--function", "owing", "--state", "undelivered", "--yes")
    assert rows_of(done.out) == [["events dropped", "0"], ["deliveries dropped", "1"]]


def test_times_are_those_of_this_machine(served):
    request_id = accept(served, {})
    wait(served, request_id)
    shown = [
        dict(line.split("\t") for line in text.split("\n\n")[0].splitlines())["accepted"]
        for zone in ("UTC", "Asia/Kolkata")
        for text in [served.vk("events", "show", request_id, env={"TZ": zone}).out.decode()]
    ]
    utc, kolkata = (datetime.fromisoformat(text) for text in shown)
    assert kolkata - utc == timedelta(hours=5, minutes=30)


# --- counts ---------------------------------------------------------------------------------------------------------


def test_events_are_counted(patient):
    request_id = accept(patient, {"fail": "x"})
    wait(patient, request_id, "queued", attempts=1)
    (found,) = patient.vk("events", "counts", "--json").json
    assert list(found) == ["functionName", "queued", "running", "succeeded", "failed", "dropped", "undelivered"]
    assert (found["functionName"], found["queued"] >= 1) == ("app", True)
    (row,) = rows_of(patient.vk("events", "counts", "--function", "app").out)
    assert row == [str(value) for value in found.values()]
    assert patient.vk("events", "counts", "--function", "nobody").out == b""


# --- redrive and drop -----------------------------------------------------------------------------------------------


def test_events_are_redriven_and_what_is_wrong_with_one_does_not_stop_the_others(served):
    bad, good = accept(served, {"fail": "x"}), accept(served, {})
    number, done_number = wait(served, bad)["number"], wait(served, good)["number"]
    done = served.vk("events", "redrive", good, "ffffffff", bad[:12])
    assert done.status == 1, "that of the first that could not be redriven"
    assert rows_of(done.out) == [[f"#{number}", bad, "app", "queued", "0"]]
    assert done.err == (
        f"vk: Event #{done_number} ({good}) has succeeded: its payload is gone, so it cannot be run again\n"
        "vk: There is no event ffffffff (any more)\n"
    )
    assert [line["kind"] for line in wait(served, bad, "failed")["history"]].count("redriven") == 1
    assert served.vk("events", "redrive", "ffffffff").status == 3
    done = served.vk("events", "redrive", bad, "--deliveries")
    assert (done.status, done.err) == (1, f"vk: Event #{number} ({bad}) has nothing that is owed\n")


def test_an_event_that_waits_is_dropped(patient):
    request_id = accept(patient, {"fail": "x"})
    wait(patient, request_id, "queued", attempts=1)
    (row,) = rows_of(patient.vk("events", "list", "--limit", "1").out)
    assert re.fullmatch(r"queued, due in \d+(\.\d)? s", row[3])
    assert row[6] == "ValueError: x"
    (dropped,) = patient.vk("events", "drop", request_id, "--json").json
    assert (dropped["requestId"], dropped["state"]) == (request_id, "dropped")
    done = patient.vk("events", "drop", request_id)
    assert (done.status, "has been dropped, and nothing is owed of it" in done.err) == (1, True)


def test_many_events_are_changed_only_when_somebody_says_yes(patient):
    ids = [accept(patient, {"fail": "x"}) for _ in range(2)]
    for request_id in ids:
        wait(patient, request_id, "queued", attempts=1)
    done = patient.vk("events", "drop", "--all")
    assert (done.status, done.err) == (2, "vk: --yes is needed to drop several events where nobody can be asked\n")
    (count,) = [item["queued"] for item in patient.vk("events", "counts", "--json").json]
    status, text = on_terminal(patient, "drop", "--function", "app", says=b"n\n")
    assert status == 1
    assert f"drop {count} queued events of app? [y/N]: n\n" in text
    assert "vk: nothing was done\n" in text
    assert {wait(patient, request_id, "queued")["state"] for request_id in ids} == {"queued"}
    status, text = on_terminal(patient, "drop", "--all", says=b"y\n")
    assert (status, f"drop {count} queued events of all functions? [y/N]: y\n" in text) == (0, True)
    assert re.search(rf"events dropped +{count}\ndeliveries dropped +0\n", text)
    assert {wait(patient, request_id, "dropped")["state"] for request_id in ids} == {"dropped"}
    done = patient.vk("events", "redrive", "--function", "app", "--state", "dropped", "--yes", "--json")
    assert done.status == 0
    assert done.json["events"] >= 2
    for request_id in ids:
        wait(patient, request_id, "queued", attempts=1)


def test_changes_of_many_events_go_on_until_all_is_done(capsys):
    pages = Pages({"events": 5, "deliveries": 1, "nextMarker": "5-9"}, {"events": 2, "deliveries": 0})
    events._change_all(lambda marker: pages.json("POST", json.dumps(marker)), "redriven", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"events": 7, "deliveries": 1}
    assert [json.loads(target) for _, target in pages.asked] == [{}, {"marker": "5-9"}]


WHICH = "say which events: their ids, or --function NAME, or --all"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("redrive",), 2, WHICH),
        (("redrive", "00000000", "--all"), 2, WHICH),
        (("redrive", "--all", "--function", "app"), 2, WHICH),
        (("redrive", "00000000", "--state", "failed"), 2, "--state goes with --function or --all"),
        (("redrive", "--all", "--deliveries"), 2, "say --state undelivered"),
        (("redrive", "--all", "--state", "running", "--yes"), 1, "state must be one of failed, dropped, queued"),
        (("redrive", "00000000"), 3, "There is no event 00000000"),
        (("drop",), 2, WHICH),
        (("drop", "00000000", "--state", "queued"), 2, "--state goes with --function or --all"),
        (("drop", "--all", "--state", "dropped", "--yes"), 1, "state must be one of queued, failed, undelivered"),
        (("drop", "nonsense"), 1, "'nonsense' is not an event"),
        (("show", "#99999"), 3, "There is no event #99999"),
        (("show", "../../health"), 1, "'../../health' is not an event"),
        (("show",), 2, "Missing argument 'ID'"),
        (("list", "--state", "done"), 1, "state must be one of queued, running, succeeded"),
        (("list", "--limit", "0"), 2, "Invalid value for '--limit'"),
        (("list", "--function", "a b"), 1, "'a b' is not a function name"),
        (("counts", "--function", "app:prod"), 1, "leave ':prod' out"),
    ],
)
def test_wrong_usage_is_answered_with_what_is_wrong(served, here, arguments, status, says):
    assert here(served.url, *arguments) == status
    assert says in here.said()


@pytest.mark.parametrize("arguments", [("list",), ("show", "1"), ("redrive", "1", "2"), ("drop", "--all", "--yes")])
def test_without_a_service_every_command_says_so(here, free_port, arguments):
    url = f"http://127.0.0.1:{free_port}"
    assert here(url, *arguments) == 4
    assert here.said().count(f"no service at {url}") == 1


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0104, "0.0104 s"),
        (1, "1 s"),
        (59.94, "59.9 s"),
        (100.4, "100 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (150, "2.5 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 d"),
        (1e9, "11574.1 d"),
        (-3, "-3 s"),
    ],
)
def test_durations_are_readable(seconds, text):
    assert event_words.duration(seconds) == text


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ({}, ""),
        ({"condition": "EventAgeExceeded", "reason": "it waited"}, "EventAgeExceeded, it waited"),
        ({"errorType": "E", "errorMessage": "m", "durationMs": 1.5}, "E: m, 1.5 ms"),
        ({"errorMessage": "m"}, "m"),
        ({"reason": "r", "nextDelaySeconds": 300.0}, "r, again after 5 min"),
        ({"kind": "OnFailure", "target": "arn:q", "reason": "gone"}, "OnFailure to arn:q, gone"),
        ({"from": "failed", "deliveries": 2}, "it was failed, deliveries 2"),
        ({"executedVersion": "7", "durationMs": 12.0}, "12 ms, version 7"),
        ({"new": {"a": 1}}, "new {'a': 1}"),
    ],
)
def test_details_in_words(detail, text):
    assert event_words.detail_text(detail) == text


def line(what, **detail):
    return {"at": "2026-01-01T00:00:00.000Z", "kind": what, "detail": detail}


@pytest.mark.parametrize(
    ("state", "last", "error", "text"),
    [
        ("queued", line("accepted"), None, ""),
        ("queued", line("error", errorMessage="m"), line("error", errorMessage="m"), "m"),
        ("running", line("started"), line("error", errorMessage="m"), "m"),
        ("failed", line("failed", condition="C"), line("error", errorMessage="m", durationMs=1), "C; m"),
        ("failed", line("failed", condition="C", reason="r"), None, "C, r"),
        ("failed", line("delivery-failed", kind="K", target="T", reason="r"), None, "K to T, r"),
        ("failed", line("delivered", kind="K", target="T"), line("error", errorMessage="m"), "m"),
        ("succeeded", line("succeeded", durationMs=1), line("error", errorMessage="m"), ""),
        ("succeeded", line("delivery-failed", reason="r"), line("error", errorMessage="m"), "r"),
        ("dropped", line("dropped"), None, ""),
        (
            "queued",
            line("redriven", **{"from": "failed"}),
            line("error", errorMessage="m"),
            "redriven, it was failed; m",
        ),
        ("failed", line("redriven", deliveries=1), line("error", errorMessage="m"), "redriven, deliveries 1; m"),
        ("succeeded", line("delivery-dropped", kind="K", target="T"), None, "delivery-dropped, K to T"),
    ],
)
def test_why_an_event_is_where_it_is(state, last, error, text):
    event = {"state": state, "last": last, **({"lastError": error} if error else {})}
    assert event_words.why(event) == text


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"state": "failed"}, "failed"),
        ({"state": "queued", "dueInSeconds": 90.0}, "queued, due in 90 s"),
        ({"state": "queued", "dueInSeconds": -1.0}, "queued, due"),
        ({"state": "succeeded", "owedDeliveries": 2}, "succeeded, 2 undelivered"),
    ],
)
def test_states_tell_what_is_to_come(members, text):
    assert event_words.state_of({"owedDeliveries": 0, **members}) == text


def test_a_function_is_named_with_its_qualifier():
    assert event_words.function_of({"functionName": "f", "qualifier": "prod"}) == "f:prod"
    assert event_words.function_of({"functionName": "f"}) == "f"


def test_a_history_that_was_cut_says_so(monkeypatch, capsys):
    event = {
        "number": 1,
        "requestId": "a",
        "functionName": "f",
        "state": "running",
        "attempts": 0,
        "owedDeliveries": 0,
        "acceptedAt": "2026-01-01T00:00:00.000Z",
        "ageSeconds": 5000.0,
        "trace": "Root=1",
        "payloadSizeBytes": None,
        "deliveries": [],
        "history": [line("started")],
        "historyOmitted": 3,
    }
    monkeypatch.setattr(events.options, "connect", lambda *_: Pages(event))
    events.show("1")
    text = capsys.readouterr().out
    assert "\nHistory (without its first 3 lines)\n" in text
    assert "age\t83.3 min\n" in text
    assert "payload\tgone\n" in text
