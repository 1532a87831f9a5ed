"""Events by hand: what is answered, whom it is told, and in which words something is refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.events.event_rows import FUTURE, NOW, OTHER, OWN, QUEUE, TOPIC, WALL, Rows, delivery
from venturekit.service.api.errors import ApiError
from venturekit.service.events import inspection
from venturekit.service.events.inspection import Change, Inspection
from venturekit.service.events.shapes import LISTED_CHARACTERS
from venturekit.service.store import Store
from venturekit.service.store.event_queries import EventQueries
from venturekit.service.store.event_views import EventFilter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATER = NOW + 30.0
ID = "4f0c6a4e-0000-4000-8000-00000000000a"


class Lab:
    """An inspection of a real store, and what it tells the others."""

    def __init__(self, store: Store) -> None:
        self.rows = Rows(store)
        self.told: list[Any] = []
        self.inspection = Inspection(
            EventQueries(store),
            queue=self,
            deliver=lambda targets: self.told.append(sorted(targets)),
            steady=lambda: LATER,
            wall=lambda: WALL + 30,
        )

    def due(self, lane: tuple[str, str], at: float) -> None:
        self.told.append((lane, at))

    def counted(self, change: int) -> None:
        if change:
            self.told.append(change)

    def find(self, reference: str, account_id: str = OWN) -> int:
        return asyncio.run(self.inspection.find(account_id, reference)).event_id

    def change(self, change: Change, number: int) -> Any:
        async def make() -> Any:
            return await self.inspection.change(change, OWN, await self.inspection.find(OWN, f"#{number}"))

        return asyncio.run(make())

    def change_all(self, change: Change, state: str, marker: str = "", **members: Any) -> Any:
        wanted = EventFilter(account_id=OWN, state=state, function_name=members.pop("function", ""))
        permit = members.pop("permit", lambda name: None)
        return asyncio.run(self.inspection.change_all(change, wanted, marker=marker, permit=permit))

    def page(self, **members: Any) -> Any:
        wanted = EventFilter(account_id=OWN)
        given = {"limit": 10, "marker": "", "oldest_first": False, **members}
        return asyncio.run(self.inspection.page(wanted, **given))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    yield Lab(store)
    store.close()


def refusal(call: Any, *values: Any, **members: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        call(*values, **members)
    return caught.value.status, caught.value.message or ""


# --- which event ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [ID, ID.upper(), ID[:8], ID[:13], ID[:-1], "#{}", "{}"])
def test_an_event_is_named_by_its_id_the_beginning_of_it_or_its_number(lab: Lab, reference: str) -> None:
    lab.rows.add()
    number = lab.rows.add(request_id=ID)
    lab.rows.add()
    assert lab.find(reference.format(number)) == number


@pytest.mark.parametrize(
    "reference", ["", "4f0c6a4", "ghijklmn", ID + "0", "#", "#x", "#-1", "4f0c6a4e%", "x" * 500, "é" * 8]
)
def test_what_is_no_reference_is_refused_with_what_one_is(lab: Lab, reference: str) -> None:
    status, message = refusal(lab.find, reference)
    assert status == 400
    assert "give its request id, the first 8 or more characters of it, or its number, such as 7 or '#7'" in message
    assert len(message) < 300


@pytest.mark.parametrize("reference", ["#7", "7", ID, ID[:8], "#" + "9" * 18, "12345678"])
def test_an_event_that_is_not_there(lab: Lab, reference: str) -> None:
    lab.rows.add(account_id=OTHER, request_id=ID)
    assert refusal(lab.find, reference) == (404, f"There is no event {reference} (any more)")


def test_a_beginning_that_is_not_enough_is_told_with_the_events_it_could_mean(lab: Lab) -> None:
    ids = [f"{ID[:-1]}{digit}" for digit in "123456"]
    for request_id in ids:
        lab.rows.add(request_id=request_id)
    status, message = refusal(lab.find, ID[:9])
    assert status == 400
    assert message == f"{ID[:9]} begins several request ids, give more of it: {', '.join(ids[:0:-1])}"
    assert lab.find(ids[2]) == 3


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_an_event_in_a_list(lab: Lab) -> None:
    number = lab.rows.waiting(request_id=ID)
    assert lab.page()["events"] == [
        {
            "number": number,
            "requestId": ID,
            "functionName": "f",
            "state": "queued",
            "attempts": 2,
            "backoffs": 1,
            "owedDeliveries": 0,
            "acceptedAt": "2023-11-14T22:13:20.000Z",
            "ageSeconds": 30.0,
            "dueInSeconds": FUTURE - LATER,
            "last": {"at": "2023-11-14T22:13:21.000Z", "kind": "error", "detail": {"errorMessage": "no"}},
            "lastError": {"at": "2023-11-14T22:13:21.000Z", "kind": "error", "detail": {"errorMessage": "no"}},
        }
    ]


def test_in_a_list_long_texts_are_cut(lab: Lab) -> None:
    number = lab.rows.waiting()
    text = "é" * (LISTED_CHARACTERS + 1)
    detail = json.dumps({"errorMessage": text, "durationMs": 3})
    lab.rows.query("UPDATE event_history SET detail = ? WHERE event_id = ? AND kind = 'error'", detail, number)
    expected = {"errorMessage": text[:-1] + "…", "durationMs": 3}
    (event,) = lab.page()["events"]
    assert (event["last"]["detail"], event["lastError"]["detail"]) == (expected, expected)
    shown = asyncio.run(lab.inspection.show(OWN, asyncio.run(lab.inspection.find(OWN, "#1")), with_payload=False))
    assert shown["history"][-1]["detail"]["errorMessage"] == text


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a": 1}', {"payload": '{"a": 1}'}),
        ('"é"'.encode(), {"payload": '"é"'}),
        (b'"\xff"', {"payloadBase64": "Iv8i"}),
    ],
)
def test_an_event_with_all_there_is_to_it(lab: Lab, payload: bytes, expected: dict[str, str]) -> None:
    number = lab.rows.add("failed", payload=payload, owed=[delivery(due_at=LATER + 1.5)])
    event = asyncio.run(lab.inspection.find(OWN, f"#{number}"))
    shown = asyncio.run(lab.inspection.show(OWN, event, with_payload=True))
    assert {name: shown[name] for name in shown if name.startswith("payload")} == {
        "payloadSizeBytes": len(payload),
        **expected,
    }
    assert shown["deliveries"] == [
        {
            "kind": "OnFailure",
            "target": QUEUE,
            "attempts": 0,
            "reason": "",
            "dueInSeconds": 1.5,
            "createdAt": "2023-11-14T22:13:20.000Z",
            "sizeBytes": 6,
        }
    ]
    assert [line["kind"] for line in shown["history"]] == ["accepted", "failed"]
    assert (shown["trace"], shown["endedAt"]) == ("Root=1", "2023-11-14T22:13:20.000Z")
    assert not {"ageSeconds", "dueInSeconds", "historyOmitted"} & set(shown)
    without = asyncio.run(lab.inspection.show(OWN, event, with_payload=False))
    assert [name for name in without if name.startswith("payload")] == ["payloadSizeBytes"]


def test_a_list_goes_on_where_the_marker_says(lab: Lab) -> None:
    numbers = [lab.rows.add() for _ in range(3)]
    first = lab.page(limit=2)
    second = lab.page(limit=2, marker=first["nextMarker"])
    assert [event["number"] for page in (first, second) for event in page["events"]] == numbers[::-1]
    assert "nextMarker" not in second


@pytest.mark.parametrize("marker", ["x", "-1", "1-", "1-2-3", "9" * 19, " 1", "١"])
def test_a_marker_that_no_page_gave_is_refused(lab: Lab, marker: str) -> None:
    assert refusal(lab.page, marker=marker) == (400, "the marker must be the nextMarker of the page before, unchanged")


# --- one event is changed -------------------------------------------------------------------------------------------


def test_a_redriven_event_is_counted_and_due_and_what_is_owed_is_sent(lab: Lab) -> None:
    number = lab.rows.add("failed", owed=[delivery(), delivery(TOPIC)])
    answer = lab.change(lab.inspection.redriving(), number)
    assert answer == {
        "number": number,
        "requestId": lab.rows.row(number, "request_id")[0],
        "functionName": "f",
        "state": "queued",
        "deliveries": 2,
    }
    assert lab.told == [1, ((OWN, "f"), LATER), [TOPIC, QUEUE]]


def test_a_dropped_event_is_counted_and_nothing_is_due(lab: Lab) -> None:
    number = lab.rows.add()
    assert lab.change(lab.inspection.dropping(), number)["state"] == "dropped"
    assert lab.told == [-1]
    number = lab.rows.add("failed", owed=[delivery()])
    answer = lab.change(lab.inspection.dropping(), number)
    assert (answer["state"], answer["deliveries"], lab.told) == ("failed", 1, [-1, [QUEUE]])


def test_only_what_is_owed_is_sent_when_that_is_wanted(lab: Lab) -> None:
    number = lab.rows.add("failed", owed=[delivery()])
    answer = lab.change(lab.inspection.redriving(deliveries_only=True), number)
    assert (answer["state"], answer["deliveries"], lab.told) == ("failed", 1, [[QUEUE]])


def test_to_redrive_an_event_that_is_due_changes_nothing_and_is_no_mistake(lab: Lab) -> None:
    assert lab.change(lab.inspection.redriving(), lab.rows.add())["state"] == "queued"
    assert lab.told == []


@pytest.mark.parametrize(
    ("state", "verb", "says"),
    [
        ("running", "redrive", "is being run: wait until that has ended"),
        ("succeeded", "redrive", "has succeeded: its payload is gone, so it cannot be run again"),
        ("running", "drop", "is being run: wait until that has ended"),
        ("succeeded", "drop", "has succeeded, and nothing is owed of it: there is nothing to drop"),
        ("failed", "drop", "has failed, and nothing is owed of it: there is nothing to drop"),
        ("dropped", "drop", "has been dropped, and nothing is owed of it: there is nothing to drop"),
        *[(state, "deliver", "has nothing that is owed") for state in ("queued", "running", "succeeded", "failed")],
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(lab: Lab, state: str, verb: str, says: str) -> None:
    number = lab.rows.add(state, request_id=ID)
    change = (
        lab.inspection.dropping() if verb == "drop" else lab.inspection.redriving(deliveries_only=verb == "deliver")
    )
    assert refusal(lab.change, change, number) == (409, f"Event #{number} ({ID}) {says}")
    assert lab.told == []


def test_an_event_that_was_forgotten_meanwhile_is_not_there(lab: Lab) -> None:
    number = lab.rows.add("failed")
    event = asyncio.run(lab.inspection.find(OWN, f"#{number}"))
    lab.rows.query("DELETE FROM events")
    for work in (
        lambda: lab.inspection.change(lab.inspection.redriving(), OWN, event),
        lambda: lab.inspection.show(OWN, event, with_payload=False),
    ):
        assert refusal(lambda work=work: asyncio.run(work()))[0] == 404


# --- many events are changed ----------------------------------------------------------------------------------------


def all_of(lab: Lab, change: Change, state: str, **members: Any) -> tuple[int, int, int]:
    """Events and deliveries that were changed, and requests that it took."""
    events = deliveries = requests = 0
    marker = ""
    while True:
        answer = lab.change_all(change, state, marker, **members)
        events, deliveries, requests = events + answer["events"], deliveries + answer["deliveries"], requests + 1
        marker = answer.get("nextMarker", "")
        if not marker:
            return events, deliveries, requests


@pytest.mark.parametrize(("batch", "requests"), [(1, 4), (3, 2), (500, 1)])
def test_all_events_of_a_filter_are_changed_bit_by_bit(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, batch: int, requests: int
) -> None:
    monkeypatch.setattr(inspection, "BATCH_EVENTS", batch)
    monkeypatch.setattr(inspection, "BATCHES_AT_ONCE", 2)
    failed = [lab.rows.add("failed", function=name) for name in "fgfgfgf"]
    others = [lab.rows.add(state) for state in ("succeeded", "running", "dropped")]
    others.append(lab.rows.add("failed", account_id=OTHER))
    assert all_of(lab, lab.inspection.redriving(), "failed") == (7, 0, requests)
    assert {lab.rows.state(number) for number in failed} == {"queued"}
    assert [lab.rows.state(number) for number in others] == ["succeeded", "running", "dropped", "failed"]
    assert sum(item for item in lab.told if isinstance(item, int)) == 7
    assert {item[0] for item in lab.told if isinstance(item, tuple)} == {(OWN, "f"), (OWN, "g")}


def test_only_those_of_one_function(lab: Lab) -> None:
    f, g = lab.rows.add(), lab.rows.add(function="g")
    assert all_of(lab, lab.inspection.dropping(), "queued", function="g")[0] == 1
    assert [lab.rows.state(number) for number in (f, g)] == ["queued", "dropped"]


def test_what_is_undelivered_is_dropped_everywhere(lab: Lab) -> None:
    owing = [lab.rows.add(state, owed=[delivery()] * 2) for state in ("failed", "succeeded")]
    assert all_of(lab, lab.inspection.dropping(), "undelivered")[:2] == (0, 4)
    assert [lab.rows.owed(number) for number in owing] == [[], []]
    assert lab.told == [[QUEUE]]


def test_events_that_come_meanwhile_are_left_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "BATCH_EVENTS", 1)
    monkeypatch.setattr(inspection, "BATCHES_AT_ONCE", 1)
    for _ in range(2):
        lab.rows.add()
    first = lab.change_all(lab.inspection.dropping(), "queued")
    late = lab.rows.add()
    second = lab.change_all(lab.inspection.dropping(), "queued", first["nextMarker"])
    assert (first["events"], second) == (1, {"events": 1, "deliveries": 0})
    assert lab.rows.state(late) == "queued"


def test_nothing_of_a_function_is_changed_that_is_not_permitted(lab: Lab) -> None:
    allowed, denied = lab.rows.add("failed"), lab.rows.add("failed", function="g")

    def permit(name: str) -> None:
        if name == "g":
            raise ApiError("AccessDeniedException", "no", status=403)

    assert refusal(lab.change_all, lab.inspection.redriving(), "failed", permit=permit) == (403, "no")
    assert {lab.rows.state(number) for number in (allowed, denied)} == {"failed"}
