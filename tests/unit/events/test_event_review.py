"""Attempts to stop, starve or bloat asynchronous invocation: each of them fails."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.events.event_lab import Lab, run
from tests.unit.events.outbox_support import OTHER, QUEUE, play
from tests.unit.events.outbox_support import Lab as OutboxLab
from tests.unit.store.event_tables import ACCOUNT, event_tables, new_event
from venturekit.service.aws import CLIENTS_KEPT, AwsClients
from venturekit.service.events.delivery import REASON_CHARACTERS
from venturekit.service.events.delivery_errors import MessageRefusedError, TargetFailedError
from venturekit.service.events.dispatcher import COLD_SHARE, NO_CLAIM_SECONDS, REFUSED_CLAIM_SECONDS
from venturekit.service.events.intake import Intake
from venturekit.service.events.invocation_record import (
    PARSED_ERROR_BYTES,
    Outcome,
    dead_letter_attributes,
    record_forms,
)
from venturekit.service.events.retry import Ended, EventPolicy
from venturekit.service.events.sending_threads import LATE_THREADS, SendingThreads
from venturekit.service.events.settlement import (
    AT_ONCE_BYTES,
    RECORD_LIMIT_BYTES,
    Moment,
    Try,
    settled,
    settled_at_once,
)
from venturekit.service.store.connection import connect
from venturekit.service.store.deliveries import insert_deliveries
from venturekit.service.store.errors import StoreClosedError
from venturekit.service.store.event_documents import FAILED, ClaimedEvent, NewDelivery, NewEvent, Settlement
from venturekit.service.store.events import TURN_BYTES, insert_events, steady_offset, take_turn
from venturekit.service.store.migrations import migrate
from venturekit.service.store.outbox import (
    READS_AT_ONCE,
    FailedDelivery,
    due_deliveries,
    note_failures,
    owed_message,
    release_deliveries,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_SECONDS = 20.0
SOURCE = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f:$LATEST"
TARGET = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:g"
BUCKET = "arn:aws:s3:::records"
MEGABYTE = 1024 * 1024


def delivery(body: bytes = b"{}", target: str = QUEUE) -> NewDelivery:
    return NewDelivery(
        kind="OnFailure",
        target=target,
        body=body,
        attributes="{}",
        source=SOURCE,
        trace="Root=1-a-b",
        due_at=1000.5,
        created_wall=5.5,
    )


# --- what targets say -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["half a \ud800 character", "\x1b]0;a title\x07", "a\nline\u2028more", "\x00"])
def test_what_a_target_says_is_written_down_whatever_it_is(tmp_path: Path, said: str) -> None:
    async def scenario(lab: OutboxLab) -> None:
        lab.senders.fail(QUEUE, MessageRefusedError(f"no: {said}"))
        (event_id,) = lab.owe("{}")
        await lab.quiet()
        ((_, reason, attempts),) = lab.owed()
        assert (reason.startswith("no: "), reason.isprintable(), attempts) == (True, True, 1)
        assert lab.history(event_id) == [("delivery-failed", {"kind": "OnFailure", "target": QUEUE, "reason": reason})]

    play(tmp_path, scenario)


def test_a_message_that_a_target_complains_about_oddly_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    async def scenario(lab: OutboxLab) -> None:
        def answer(message: Any) -> None:
            if b"odd" in message.body:
                raise MessageRefusedError("\udfff")

        lab.senders.answers[QUEUE] = answer
        lab.owe('"odd"')
        await lab.quiet()
        lab.owe('"even"')
        await lab.quiet()
        assert lab.senders.sent[QUEUE] == ['"even"']

    play(tmp_path, scenario)


def test_a_target_cannot_fill_the_history_with_long_answers(tmp_path: Path) -> None:
    async def scenario(lab: OutboxLab) -> None:
        (event_id,) = lab.owe("{}")
        for number in range(3):
            lab.senders.fail(QUEUE, TargetFailedError(f"{number}" + "x" * MEGABYTE))
            await lab.make_due()
        assert [len(detail["reason"]) for _, detail in lab.history(event_id)] == [REASON_CHARACTERS] * 3

    play(tmp_path, scenario)


# --- what is owed -----------------------------------------------------------------------------------------------------


def test_a_failure_does_not_write_the_message_again(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "db", writer=True)) as connection:
        migrate(connection)
        insert_events(connection, [new_event()])
        insert_deliveries(connection, 1, [delivery(b"x" * MEGABYTE)])
        log = tmp_path / "db-wal"
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for attempt in range(3):
            (owed,) = due_deliveries(connection, QUEUE, 1e9, 10)
            note_failures(connection, [FailedDelivery(owed, 1000.0 * attempt, "no " * attempt, [])])
            release_deliveries(connection, 1.0)
        assert 0 < log.stat().st_size < MEGABYTE / 4
        (owed,) = due_deliveries(connection, QUEUE, 1e9, 10)
        message = owed_message(connection, owed.delivery_id)
        assert message is not None
        assert (owed.attempts, len(message.body)) == (3, MEGABYTE)
        assert settle(connection, owed, [])
        assert connection.execute("SELECT count(*) FROM delivery_bodies").fetchone() == (0,)


def test_a_message_whose_body_is_gone_is_tried_again_later_and_not_at_once(tmp_path: Path) -> None:
    async def scenario(lab: OutboxLab) -> None:
        def answer(message: Any) -> None:
            raise ValueError(f"no body: {message.body}")

        lab.senders.answers[QUEUE] = answer
        lab.owe("{}", wake=False)
        lab.rows("DELETE FROM delivery_bodies")
        lab.outbox.wake({QUEUE})
        await lab.quiet()
        assert lab.senders.tried[QUEUE] == 1
        await lab.pass_time(1.0)
        assert lab.senders.tried[QUEUE] == 2
        lab.reports.clear()

    play(tmp_path, scenario)


def test_many_targets_do_not_take_all_threads_of_the_service(tmp_path: Path) -> None:
    async def scenario(lab: OutboxLab) -> None:
        targets = [f"{QUEUE}-{number}" for number in range(500)]
        lab.senders.obstacle = lambda target: "" if target == QUEUE else "no address"  # type: ignore[method-assign]
        for target in targets:
            lab.owe("{}", target=target, wake=False)
        lab.owe("{}", wake=False)
        reading, most, read = 0, 0, lab.store.read

        async def counting(query: Callable[[sqlite3.Connection], Any]) -> Any:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            try:
                return await read(query)
            finally:
                reading -= 1

        lab.store.read = counting  # type: ignore[method-assign]
        await lab.outbox.start()
        # Also before all of them were looked at.
        assert lab.outbox.owed == 501
        await lab.quiet()
        assert most == READS_AT_ONCE
        assert lab.senders.sent == {QUEUE: ["{}"]}
        assert lab.rows("SELECT count(*), count(DISTINCT reason) FROM deliveries") == [(500, 1)]

    play(tmp_path, scenario, start=False)


def test_each_of_many_targets_is_tried_again_at_its_time(tmp_path: Path) -> None:
    async def scenario(lab: OutboxLab) -> None:
        targets = [f"{QUEUE}-{number}" for number in range(30)]
        for target in targets:
            lab.senders.fail(target, TargetFailedError("gone"))
            lab.owe("{}", target=target)
            await lab.quiet()
            lab.loop.now += 0.01
        assert [lab.senders.tried[target] for target in targets] == [1] * 30
        # The first ones are due now, one after the other.
        await lab.pass_time(0.755)
        assert [lab.senders.tried[target] for target in targets] == [2] * 6 + [1] * 24
        await lab.pass_time(0.3)
        assert [lab.senders.tried[target] for target in targets] == [2] * 30
        assert len(lab.loop.timers) == 1

    play(tmp_path, scenario)


# --- large answers ----------------------------------------------------------------------------------------------------


def end(answer: bytes, *, error: str = "", payload: bytes = b'{"a":1}', **policy: str) -> Settlement:
    event = ClaimedEvent(1, ACCOUNT, "f", "", "id", payload, "Root=1-a-b", 1.0, 2, 0)
    ended = Ended.FUNCTION_ERROR if error else Ended.SUCCESS
    return settled(
        event,
        Try(ended=ended, outcome=Outcome("$LATEST", answer, error)),
        policy=EventPolicy(**policy),  # type: ignore[arg-type]
        source=SOURCE,
        moment=Moment(2.0, 3.0),
        delays_seconds=(60.0,),
    )


@pytest.mark.parametrize("target", [QUEUE, TARGET])
def test_an_answer_that_no_target_takes_is_not_kept(target: str) -> None:
    answer = b"[" + b"[]," * (2 * MEGABYTE) + b"[]]"
    (owed,) = end(answer, on_success=target).deliveries
    record = json.loads(owed.body)
    assert "responsePayload" not in record
    assert (record["requestPayload"], record["responseContext"]["statusCode"]) == ({"a": 1}, 200)
    assert json.loads(owed.attributes) == {"omitted": ["responsePayload"]}
    # What is left of it can be made smaller still.
    assert [form.omitted for form in record_forms(owed.body)] == [(), ("requestPayload",)]


def test_an_answer_that_fits_is_kept_and_so_is_any_for_a_bucket() -> None:
    payload = b'"%b"' % (b"a" * 1000)
    answer = b'"%b"' % (b"b" * (RECORD_LIMIT_BYTES - len(payload) - 2))
    (owed,) = end(answer, payload=payload, on_success=QUEUE).deliveries
    assert (json.loads(owed.body)["responsePayload"], owed.attributes) == (json.loads(answer), "{}")
    (cut,) = end(answer + b" ", payload=payload, on_success=QUEUE).deliveries
    assert "responsePayload" not in json.loads(cut.body)
    (stored,) = end(answer * 2, payload=payload, error="Unhandled", on_failure=BUCKET).deliveries
    assert (json.loads(stored.body)["responsePayload"], stored.attributes) == ((answer * 2).decode(), "{}")


@pytest.mark.parametrize(
    "answer",
    [b'"\\ud800"', b"[" * 300 + b"]" * 300, b"1" * 5000, b"\xff", b"NaN", b"", b'{"a":1}x', b'"\x01"', b"1e999"],
)
def test_a_record_is_json_whatever_the_answer_is(answer: bytes) -> None:
    (owed,) = end(answer, on_success=QUEUE).deliveries
    value = json.loads(owed.body, parse_int=str, parse_float=str)
    assert "responsePayload" in value


def test_what_was_left_out_at_first_is_told_when_the_rest_has_arrived(tmp_path: Path) -> None:
    async def scenario(lab: OutboxLab) -> None:
        lab.senders.answers[QUEUE] = lambda _message: ("requestPayload",)
        events = lab.owe('{"a":1}', wake=False) + lab.owe('{"a":1}', target=TARGET, wake=False)
        lab.rows("UPDATE deliveries SET attributes = ?", '{"omitted":["responsePayload"]}')
        lab.outbox.wake({QUEUE, TARGET})
        await lab.quiet()
        told = [detail["omitted"] for event in events for _, detail in lab.history(event)]
        assert told == [["responsePayload", "requestPayload"], ["responsePayload"]]

    play(tmp_path, scenario)


def test_a_huge_error_is_not_taken_apart_for_its_dead_letter() -> None:
    small = b'{"errorMessage": "no", "more": "%b"}' % (b"x" * (PARSED_ERROR_BYTES - 100))
    large = small[:-2] + b"x" * 100 + small[-2:]
    told = [
        dead_letter_attributes("id", Outcome("1", payload, "Unhandled"), "")["ErrorMessage"]["StringValue"]
        for payload in (small, large)
    ]
    assert told[0] == "no"
    assert (told[1][:24], len(told[1])) == ('{"errorMessage": "no", "', 1024)


# --- large rounds -----------------------------------------------------------------------------------------------------


def test_a_turn_claims_no_more_than_can_be_read_quickly() -> None:
    payload = b'"%b"' % (b"x" * (MEGABYTE - 2))
    count = TURN_BYTES // MEGABYTE
    with event_tables() as connection:
        insert_events(connection, [new_event(f"f{number}", payload=payload) for number in range(count + 5)])
        lanes = [(ACCOUNT, f"f{number}") for number in range(count + 5)]
        turn = take_turn(connection, "l", [], [(lane, 1) for lane in lanes], 2000.0, 1.0)
        assert len(turn.claimed) == count
        assert list(turn.next_due) == lanes[:count]


def test_what_a_turn_leaves_has_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.store.events.TURN_BYTES", 100)

    async def scenario(lab: Lab) -> None:
        functions = [lab.targets.create(f"f{number}") for number in range(10)]
        for function in functions:
            lab.put(function.name, b'"%b"' % (b"x" * 60))
        await lab.quiet()
        assert [len(function.runs) for function in functions] == [1] * 10

    run(tmp_path, scenario)


def test_large_settlements_are_made_a_few_at_a_time() -> None:
    def ended(*sizes: int) -> tuple[str, Settlement]:
        deliveries = [delivery(bytes(size)) for size in sizes]
        made = Settlement(
            event_id=1, state=FAILED, attempts=1, backoffs=0, due_at=1.0, history=(), deliveries=deliveries
        )
        return "lane", made

    half = AT_ONCE_BYTES // 2
    assert settled_at_once([]) == 0
    assert settled_at_once([ended()] * 300) == 300
    assert settled_at_once([ended(half, half), ended()]) == 1
    assert settled_at_once([ended(half), ended(), ended(half), ended()]) == 3


def test_a_function_whose_environments_are_not_known_yet_gets_few_events(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(takes=1.0, room=0)
        events = [lab.put() for _ in range(10)]
        await lab.quiet()
        assert len(function.runs) == COLD_SHARE
        function.room = 1000
        await lab.advance(0.1)
        assert len(function.runs) == 10
        await lab.advance(1.0)
        assert [lab.state(event) for event in events] == ["succeeded"] * 10

    run(tmp_path, scenario)


# --- bad rows ---------------------------------------------------------------------------------------------------------


def spoil(lab: Lab, statement: str) -> None:
    with closing(sqlite3.connect(lab.path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_an_event_without_its_payload_is_not_asked_for_again_and_again(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.targets.create()
        lab.dispatcher.stop()
        first = lab.put()
        await lab.quiet()
        spoil(lab, "DELETE FROM event_payloads")
        turn = lab.events.turn

        def bounded(*arguments: Any) -> Any:
            # Or a failure of this test would go on for ever.
            if lab.events.turns > 50:
                raise StoreClosedError("there were too many turns")
            return turn(*arguments)

        lab.events.turn = bounded  # type: ignore[method-assign]
        lab.dispatcher.begin()
        await lab.advance(10 * NO_CLAIM_SECONDS)
        assert 1 <= lab.events.turns <= 11
        second = lab.put()
        await lab.advance(NO_CLAIM_SECONDS)
        assert (lab.state(first), lab.state(second)) == ("queued", "succeeded")

    run(tmp_path, scenario)


def test_an_event_that_cannot_be_read_stops_no_other_function(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        for name in ("bad", "f", "g"):
            lab.targets.create(name)
        lab.dispatcher.stop()
        bad = [lab.put("bad") for _ in range(2)]
        others = [lab.put(name) for name in ("f", "g") * 20]
        await lab.quiet()
        spoil(lab, "UPDATE events SET trace = CAST(x'ff80' AS TEXT) WHERE id = 1")
        lab.dispatcher.begin()
        await lab.advance(30.0)
        assert {lab.state(event) for event in others} == {"succeeded"}
        assert {lab.state(event) for event in bad} == {"queued"}
        later = await lab.accept("f")
        assert lab.state(later) == "succeeded"
        assert any("events of bad could not be claimed" in sentence for sentence in lab.warned)
        assert lab.reported
        lab.reported.clear()
        spoil(lab, "UPDATE events SET trace = 'Root=1-a-b' WHERE id = 1")
        await lab.advance(REFUSED_CLAIM_SECONDS)
        assert {lab.state(event) for event in bad} == {"succeeded"}

    run(tmp_path, scenario)


def test_a_claim_and_a_settlement_that_are_refused_are_both_found(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        for name in ("bad", "f", "g"):
            lab.targets.create(name, takes=5.0)
        running = [lab.put(name) for name in ("f", "g")]
        await lab.quiet()
        spoiled = lab.put("f")
        await lab.quiet()
        lab.dispatcher.stop()
        bad = lab.put("bad")
        await lab.quiet()
        spoil(lab, "UPDATE events SET trace = CAST(x'ff80' AS TEXT) WHERE function_name = 'bad'")
        turn = lab.events.turn

        def refusing(lease: str, settlements: Any, *more: Any) -> Any:
            (number,) = lab.rows("SELECT id FROM events WHERE request_id = ?", spoiled)[0]
            if any(item.event_id == number for item in settlements):
                lab.events.trouble.append(ValueError("not this one"))
            return turn(lease, settlements, *more)

        lab.events.turn = refusing  # type: ignore[method-assign]
        lab.loop.now += 5.0
        lab.dispatcher.begin()
        await lab.advance(30.0)
        assert {lab.state(event) for event in running} == {"succeeded"}
        assert (lab.state(spoiled), lab.state(bad)) == ("running", "queued")
        lab.reported.clear()

    run(tmp_path, scenario)


# --- those who are answered -------------------------------------------------------------------------------------------


def test_a_caller_who_cannot_be_answered_keeps_nobody_waiting() -> None:
    async def inside() -> None:
        loop = asyncio.get_running_loop()
        unhandled: list[Any] = []
        loop.set_exception_handler(lambda _loop, context: unhandled.append(context["exception"]))
        told: list[str] = []

        class Store:
            def put(self, _events: Any) -> asyncio.Future[None]:
                written: asyncio.Future[None] = loop.create_future()
                loop.call_soon(written.set_result, None)
                return written

        intake = Intake(
            Store(),  # type: ignore[arg-type]
            loop=loop,
            limit=10,
            queued=lambda: 0,
            accepted=lambda _events: None,
        )
        event = NewEvent(ACCOUNT, "f", "", "id", b"{}", "", 1.0, 2.0)

        def tell(name: str, _error: object) -> None:
            told.append(name)

        def fails(_error: object) -> None:
            raise OSError("the connection is in an odd state")

        for name in ("first", "odd", "last"):
            intake.put(event, fails if name == "odd" else partial(tell, name))
        async with asyncio.timeout(WAIT_SECONDS):
            while not intake.is_idle:
                await asyncio.sleep(0)
            intake.put(event, partial(tell, "next"))
            while not intake.is_idle:
                await asyncio.sleep(0)
        assert told == ["first", "last", "next"]
        assert [str(error) for error in unhandled] == ["the connection is in an odd state"]

    asyncio.run(inside())


# --- threads, clients, clocks -----------------------------------------------------------------------------------------


def test_targets_that_never_answer_take_no_more_than_their_threads() -> None:
    async def inside() -> None:
        begun: list[tuple[asyncio.Future[Any], Callable[[], None]]] = []

        def begin(_work: Any, _name: str, ended: Callable[[], None]) -> asyncio.Future[Any]:
            begun.append((asyncio.get_running_loop().create_future(), ended))
            return begun[-1][0]

        threads = SendingThreads(begin, timeout_seconds=0.0)  # type: ignore[arg-type]
        late: list[str] = []

        async def send(target: str, *, doubtful: bool) -> None:
            async with threads.room(doubtful=doubtful):
                await threads.run(target, lambda: "sent", late=late.append)

        for number in range(LATE_THREADS):
            with pytest.raises(TargetFailedError, match="no answer within"):
                await send(f"t{number}", doubtful=True)
        with pytest.raises(TargetFailedError, match=f"{LATE_THREADS} earlier messages"):
            await send("other", doubtful=True)
        assert len(begun) == LATE_THREADS
        # One that has not failed is sent to.
        with pytest.raises(TargetFailedError, match="no answer within"):
            await send(OTHER, doubtful=False)
        for future, ended in begun[:2]:
            ended()
            future.set_result("late")
        await asyncio.sleep(0)
        assert late == ["late", "late"]
        with pytest.raises(TargetFailedError, match="no answer within"):
            await send("other", doubtful=True)

    asyncio.run(inside())


def test_arns_with_any_number_of_regions_fill_no_memory() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    clients = AwsClients(environ, region="us-east-1", allow_aws=False)
    often = clients.client("sqs", "eu-west-1")
    for number in range(CLIENTS_KEPT + 10):
        clients.client("sqs", f"xx-west-{number}")
        assert clients.client("sqs", "eu-west-1") is often
    assert len(clients._clients) == CLIENTS_KEPT


def test_a_machine_that_is_brought_back_to_an_earlier_state_does_not_turn_time_back() -> None:
    with event_tables() as connection:
        first = steady_offset(connection, "boot", 1000.0, 1e9)
        accepted_at = first + 1_000_000.0
        insert_events(connection, [new_event(accepted_at=accepted_at)])
        # The same boot, but it was not so long ago.
        offset = steady_offset(connection, "boot", 60.0, 1e9)
        assert offset + 60.0 >= accepted_at
        assert steady_offset(connection, "boot", 61.0, 1e9) == offset
