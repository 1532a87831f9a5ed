"""The outbox on a real store: what is owed is delivered, however targets behave, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.events.outbox_support import (
    ACCOUNT,
    FUNCTION,
    OTHER,
    QUEUE,
    TRACE,
    WAIT_SECONDS,
    WALL,
    Lab,
    lines,
    play,
)
from venturekit.service.events.delivery_errors import MessageRefusedError, TargetFailedError
from venturekit.service.events.invocation_record import Outcome, invocation_record
from venturekit.service.store.errors import StoreClosedError, StoreFullError

if TYPE_CHECKING:
    from pathlib import Path

    from venturekit.service.store.outbox import OwedMessage

BACKOFFS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
GONE = TargetFailedError("the queue is gone")


def test_what_is_owed_is_delivered_and_no_longer_owed(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        first, second = lab.owe("one", "two")
        (third,) = lab.owe("three", target=OTHER, kind="DeadLetter")
        await lab.quiet()
        assert {target: sorted(bodies) for target, bodies in lab.senders.sent.items()} == {
            QUEUE: ["one", "two"],
            OTHER: ["three"],
        }
        assert lab.owed() == []
        assert lab.outbox.owed == 0
        assert lab.history(first) == lab.history(second) == [("delivered", {"kind": "OnFailure", "target": QUEUE})]
        assert lab.history(third) == [("delivered", {"kind": "DeadLetter", "target": OTHER})]
        assert lab.rows("SELECT wall FROM event_history WHERE kind = 'delivered'") == [(WALL,)] * 3
        assert lab.loop.timers == []

    play(tmp_path, scenario)


def test_what_was_left_out_is_in_the_history(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> Any:
        lab.senders.answers[QUEUE] = lambda _message: ("responsePayload", "requestPayload")
        (event,) = lab.owe("one")
        await lab.quiet()
        return lab.history(event)

    detail = {"kind": "OnFailure", "target": QUEUE, "omitted": ["responsePayload", "requestPayload"]}
    assert play(tmp_path, scenario) == [("delivered", detail)]


def test_a_target_that_fails_is_tried_again_after_one_second_to_five_minutes_for_ever(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.senders.fail(QUEUE, GONE)
        (event,) = lab.owe("one")
        await lab.quiet()
        for number, delay in enumerate(BACKOFFS, 1):
            assert lab.senders.tried[QUEUE] == number
            assert lab.owed() == [("one", "the queue is gone", number)]
            assert lab.loop.next_in() == delay
            await lab.pass_time(delay / 2)
            assert lab.senders.tried[QUEUE] == number
            await lab.pass_time(delay / 2)
        assert lab.outbox.owed == 1
        assert lab.outbox.waiting() == {QUEUE: "the queue is gone"}
        lab.senders.heal(QUEUE)
        await lab.pass_time(300)
        assert lab.senders.sent == {QUEUE: ["one"]}
        assert lab.owed() == []
        assert lab.outbox.waiting() == {}
        # The same reason time and again is one line, and one warning.
        assert lab.history(event) == [
            ("delivery-failed", {"kind": "OnFailure", "target": QUEUE, "reason": "the queue is gone"}),
            ("delivered", {"kind": "OnFailure", "target": QUEUE}),
        ]
        assert lab.warnings == [f"what is owed to {QUEUE} waits: the queue is gone"]

    play(tmp_path, scenario)


def test_another_reason_is_another_line(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> Any:
        (event,) = lab.owe("one", wake=False)
        for reason in ("a", "b", "b", "a"):
            lab.senders.fail(QUEUE, TargetFailedError(reason))
            await lab.make_due()
            await lab.quiet()
        return [detail["reason"] for _, detail in lab.history(event)]

    assert play(tmp_path, scenario) == ["a", "b", "a"]


def test_a_failing_target_is_probed_with_one_message(tmp_path: Path) -> None:
    """However much is owed to it: after the first failures one message tells how it fares."""

    async def scenario(lab: Lab) -> None:
        lab.senders.fail(QUEUE, GONE)
        lab.owe(*map(str, range(500)))
        await lab.quiet()
        first = lab.senders.tried[QUEUE]
        assert first == 4
        assert lab.loop.next_in() == 1.0
        for number, delay in enumerate(BACKOFFS[:5], 1):
            await lab.pass_time(delay)
            assert lab.senders.tried[QUEUE] == first + number
        lab.senders.heal(QUEUE)
        await lab.pass_time(300)
        # The messages that were tried wait for their own time, the longest for five minutes.
        await lab.pass_time(300)
        assert sorted(map(int, lab.senders.sent[QUEUE])) == list(range(500))
        assert lab.owed() == []

    play(tmp_path, scenario)


def test_a_refused_message_lets_the_others_pass(tmp_path: Path) -> None:
    def refuse_bad(message: OwedMessage) -> None:
        if message.body == b"bad":
            raise MessageRefusedError("InvalidMessageContents")

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = refuse_bad
        _, bad, *_ = lab.owe("1", "bad", "2", "3", "4", "5", "6", "7")
        await lab.quiet()
        assert sorted(lab.senders.sent[QUEUE]) == list("1234567")
        assert lab.owed() == [("bad", "InvalidMessageContents", 1)]
        assert lab.outbox.waiting() == {}
        for number, delay in enumerate(BACKOFFS, 1):
            assert lab.owed() == [("bad", "InvalidMessageContents", number)]
            assert lab.loop.next_in() == delay
            await lab.pass_time(delay)
        lab.senders.heal(QUEUE)
        await lab.pass_time(300)
        assert lines(lab.history(bad)) == ["delivery-failed", "delivered"]

    play(tmp_path, scenario)


def test_a_target_that_refuses_everything_is_left_alone(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.senders.fail(QUEUE, MessageRefusedError("no"))
        lab.owe(*map(str, range(200)))
        await lab.quiet()
        first = lab.senders.tried[QUEUE]
        assert 16 <= first <= 20
        await lab.pass_time(1.0)
        assert lab.senders.tried[QUEUE] <= first + 1
        lab.senders.heal(QUEUE)
        for _ in range(3):
            await lab.pass_time(300)
        assert len(lab.senders.sent[QUEUE]) == 200

    play(tmp_path, scenario)


def test_a_target_that_hangs_delays_no_other(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_message: OwedMessage) -> None:
        assert release.wait(WAIT_SECONDS)

    async def scenario(lab: Lab) -> None:
        hanging = [f"{QUEUE}-{number}" for number in range(7)]
        for target in hanging:
            lab.senders.answers[target] = hang
            lab.owe(*"abcdefgh", target=target)
        delivered = asyncio.Event()
        loop = asyncio.get_running_loop()
        lab.senders.answers[OTHER] = lambda message: loop.call_soon_threadsafe(delivered.set) and None
        lab.owe("one", target=OTHER)
        async with asyncio.timeout(WAIT_SECONDS):
            await delivered.wait()
        assert not any(lab.senders.sent[target] for target in hanging)
        release.set()
        await lab.quiet()
        assert all(sorted(lab.senders.sent[target]) == list("abcdefgh") for target in hanging)

    play(tmp_path, scenario)


def test_no_answer_in_time_is_a_failure_and_a_late_one_counts(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_message: OwedMessage) -> None:
        assert release.wait(WAIT_SECONDS)

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = hang
        (event,) = lab.owe("one")
        await lab.quiet()
        assert lab.owed() == [("one", "no answer within 0.05 s", 1)]
        release.set()
        async with asyncio.timeout(WAIT_SECONDS):
            while lab.threads._of_targets:
                await asyncio.sleep(0)
        await lab.pass_time(1.0)
        # It had left after all: it is settled, not sent again.
        assert lab.senders.sent == {QUEUE: ["one"]}
        assert lab.senders.tried == {QUEUE: 1}
        assert lines(lab.history(event)) == ["delivery-failed", "delivered"]
        assert lab.outbox.owed == 0

    play(tmp_path, scenario, timeout_seconds=0.05)


def test_a_target_that_never_answers_keeps_a_few_threads_only(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_message: OwedMessage) -> None:
        release.wait(WAIT_SECONDS)
        raise TargetFailedError("broken off")

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = hang
        lab.owe(*map(str, range(50)))
        await lab.quiet()
        for _ in range(12):
            await lab.pass_time(300)
        assert lab.senders.tried[QUEUE] == 8
        assert lab.outbox.waiting() == {QUEUE: "it has not answered earlier messages yet"}
        release.set()
        async with asyncio.timeout(WAIT_SECONDS):
            while lab.threads._of_targets:
                await asyncio.sleep(0)
        lab.senders.heal(QUEUE)
        for _ in range(3):
            await lab.pass_time(300)
        assert sorted(map(int, lab.senders.sent[QUEUE])) == list(range(50))

    play(tmp_path, scenario, timeout_seconds=0.02)


def test_without_an_address_it_waits_with_that_reason_and_costs_nothing(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> list[int]:
        lab.senders.obstacles[QUEUE] = "no endpoint is known for sqs"
        events = lab.owe(*map(str, range(150)))
        await lab.quiet()
        assert set(lab.owed()) == {(str(number), "no endpoint is known for sqs", 1) for number in range(150)}
        reason = {"kind": "OnFailure", "target": QUEUE, "reason": "no endpoint is known for sqs"}
        assert all(lab.history(event) == [("delivery-failed", reason)] for event in events)
        assert lab.loop.timers == []
        assert lab.outbox.owed == 150
        assert lab.outbox.waiting() == {QUEUE: "no endpoint is known for sqs"}
        # What comes later is told too, but not in a hurry.
        lab.owe("late")
        lab.owe("later")
        await lab.quiet()
        assert lab.loop.next_in() == 1.0
        await lab.pass_time(1.0)
        assert lab.owed()[150:] == [(body, "no endpoint is known for sqs", 1) for body in ("late", "later")]
        assert lab.loop.timers == []
        assert lab.warnings == [f"what is owed to {QUEUE} waits: no endpoint is known for sqs"]
        assert lab.senders.tried == {}
        return events

    async def still_none(lab: Lab) -> None:
        commits = lab.store.commits
        await lab.make_due()
        assert {attempts for _, _, attempts in lab.owed()} == {1}
        assert lab.loop.timers == []
        assert lab.store.commits == commits + 3  # of this test alone

    async def restarted(lab: Lab) -> None:
        assert len(lab.senders.sent[QUEUE]) == 152
        assert lab.owed() == []

    play(tmp_path, scenario)

    async def first_look(lab: Lab) -> None:
        lab.senders.obstacles[QUEUE] = "no endpoint is known for sqs"
        await lab.outbox.start()
        await lab.quiet()
        await still_none(lab)

    play(tmp_path, first_look, start=False)
    play(tmp_path, restarted)


def test_a_restart_tries_everything_at_once(tmp_path: Path) -> None:
    async def failing(lab: Lab) -> None:
        lab.senders.fail(QUEUE, GONE)
        lab.owe("one")
        await lab.quiet()
        for delay in BACKOFFS:
            await lab.pass_time(delay)

    async def restarted(lab: Lab) -> None:
        assert lab.senders.sent == {QUEUE: ["one"]}

    play(tmp_path, failing)
    play(tmp_path, restarted)


def test_redriven_means_now(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.senders.fail(QUEUE, GONE)
        lab.owe("one", "two")
        await lab.quiet()
        lab.senders.heal(QUEUE)
        await lab.make_due()
        assert sorted(lab.senders.sent[QUEUE]) == ["one", "two"]
        assert lab.loop.timers == []

    play(tmp_path, scenario)


def test_what_is_due_later_is_sent_later(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.owe("later", due_in=30.0)
        lab.owe("now")
        await lab.quiet()
        assert lab.senders.sent == {QUEUE: ["now"]}
        assert lab.loop.next_in() == 30.0
        await lab.pass_time(30.0)
        assert lab.senders.sent == {QUEUE: ["now", "later"]}

    play(tmp_path, scenario)


def test_what_was_dropped_meanwhile_is_neither_sent_nor_settled(tmp_path: Path) -> None:
    release, begun = threading.Event(), threading.Event()

    def hang(_message: OwedMessage) -> None:
        begun.set()
        assert release.wait(WAIT_SECONDS)

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = hang
        (event,) = lab.owe("one")
        assert await asyncio.to_thread(begun.wait, WAIT_SECONDS)
        lab.rows("DELETE FROM deliveries")
        # Whoever comes next may have the same id.
        (other,) = lab.owe("two", wake=False)
        assert lab.rows("SELECT id FROM deliveries") == [(1,)]
        release.set()
        await lab.quiet()
        assert lab.senders.sent == {QUEUE: ["one", "two"]} or lab.owed() == [("two", "", 0)]
        assert lab.history(event) == []
        lab.outbox.wake({QUEUE})
        await lab.quiet()
        assert lab.senders.sent == {QUEUE: ["one", "two"]}
        assert lines(lab.history(other)) == ["delivered"]

    play(tmp_path, scenario)


def test_closing_leaves_what_is_not_confirmed(tmp_path: Path) -> None:
    release, begun = threading.Event(), threading.Event()

    def hang(_message: OwedMessage) -> None:
        begun.set()
        release.wait(WAIT_SECONDS)
        raise TargetFailedError("broken off")

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = hang
        lab.owe("one", "two")
        assert await asyncio.to_thread(begun.wait, WAIT_SECONDS)
        async with asyncio.timeout(WAIT_SECONDS / 2):
            await lab.outbox.close()
        release.set()
        assert [body for body, _, _ in lab.owed()] == ["one", "two"]

    async def restarted(lab: Lab) -> None:
        assert sorted(lab.senders.sent[QUEUE]) == ["one", "two"]

    play(tmp_path, scenario, close_seconds=0.05)
    play(tmp_path, restarted)


def test_closing_waits_a_little_for_what_is_under_way(tmp_path: Path) -> None:
    release, begun = threading.Event(), threading.Event()

    def hang(_message: OwedMessage) -> None:
        begun.set()
        assert release.wait(WAIT_SECONDS)

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = hang
        lab.owe("one", *["more"] * 20)
        assert await asyncio.to_thread(begun.wait, WAIT_SECONDS)
        closing = asyncio.ensure_future(lab.outbox.close())
        await asyncio.sleep(0)
        release.set()
        await closing
        # What was on its way is settled, nothing new was begun.
        assert len(lab.owed()) == 21 - 4

    play(tmp_path, scenario, close_seconds=WAIT_SECONDS)


def test_sent_but_not_settled_is_settled_and_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lab: Lab) -> None:
        real = lab.deliveries.delivered

        async def full(*_arguments: Any) -> bool:
            raise StoreFullError("the disk is full")

        monkeypatch.setattr(lab.deliveries, "delivered", full)
        (event,) = lab.owe("one")
        await lab.quiet()
        await lab.pass_time(1.0)
        assert lab.senders.sent == {QUEUE: ["one"]}
        assert lab.owed() == [("one", "", 0)]
        assert lab.outbox.waiting() == {QUEUE: "the store does not take it: the disk is full"}
        monkeypatch.setattr(lab.deliveries, "delivered", real)
        await lab.pass_time(2.0)
        assert lab.senders.sent == {QUEUE: ["one"]}
        assert lab.owed() == []
        assert lines(lab.history(event)) == ["delivered"]

    play(tmp_path, scenario)


def test_none_is_sent_again_while_it_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(message: OwedMessage) -> None:
        if message.body == b"slow":
            assert release.wait(WAIT_SECONDS)

    async def scenario(lab: Lab) -> None:
        real, failed = lab.deliveries.delivered, asyncio.Event()

        async def full_once(*arguments: Any) -> bool:
            if failed.is_set():
                return await real(*arguments)
            failed.set()
            raise StoreFullError("the disk is full")

        monkeypatch.setattr(lab.deliveries, "delivered", full_once)
        lab.senders.answers[QUEUE] = hang
        lab.owe("quick", "slow")
        async with asyncio.timeout(WAIT_SECONDS):
            await failed.wait()
        for _ in range(20):
            await asyncio.to_thread(lab.rows, "SELECT 1")
            lab.loop.advance(5.0)
        release.set()
        await lab.quiet()
        await lab.pass_time(5.0)
        assert sorted(lab.senders.sent[QUEUE]) == ["quick", "slow"]
        assert lab.owed() == []

    play(tmp_path, scenario)


def test_what_comes_at_the_end_of_a_look_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lab: Lab) -> None:
        real, late = lab.deliveries.target, ["two"]

        async def target(arn: str) -> Any:
            found = await real(arn)
            if late:
                lab.owe(late.pop())
            return found

        monkeypatch.setattr(lab.deliveries, "target", target)
        lab.owe("one")
        await lab.quiet()
        assert lab.senders.sent == {QUEUE: ["one", "two"]}

    play(tmp_path, scenario)


def test_a_store_that_has_failed_ends_all_deliveries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lab: Lab) -> None:
        async def closed(*_arguments: Any) -> bool:
            raise StoreClosedError("the store is closed")

        monkeypatch.setattr(lab.deliveries, "delivered", closed)
        lab.owe("one")
        await lab.quiet()
        assert lab.warnings == ["nothing is delivered any more until a restart: the store is closed"]
        lab.owe("two", target=OTHER)
        await lab.quiet()
        assert lab.senders.sent == {QUEUE: ["one"]}
        assert lab.loop.timers == []

    play(tmp_path, scenario)


def test_an_unexpected_failure_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    def fault(message: OwedMessage) -> None:
        if message.body == b"odd":
            raise ZeroDivisionError

    async def scenario(lab: Lab) -> None:
        lab.senders.answers[QUEUE] = fault
        lab.owe("odd", "one", "two", "three", "four", "five")
        await lab.quiet()
        assert [type(error) for error in lab.reports] == [ZeroDivisionError]
        assert sorted(lab.senders.sent[QUEUE]) == ["five", "four", "one", "three", "two"]
        assert lab.owed() == [("odd", "an unexpected failure, see the log of the service", 1)]
        assert lab.loop.next_in() == 1.0
        lab.senders.heal(QUEUE)
        await lab.pass_time(1.0)
        assert lab.owed() == []
        lab.reports.clear()


def test_an_unexpected_failure_of_the_store_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lab: Lab) -> None:
        async def fault(*_arguments: Any) -> list[Any]:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(lab.deliveries, "due", fault)
            lab.owe("one")
            await lab.quiet()
            assert [type(error) for error in lab.reports] == [ZeroDivisionError]
            assert lab.outbox.waiting() == {QUEUE: "an unexpected failure, see the log of the service"}
            assert lab.loop.next_in() == 1.0
        await lab.pass_time(1.0)
        assert lab.senders.sent == {QUEUE: ["one"]}
        lab.reports.clear()

    play(tmp_path, scenario)


# --- functions of the service itself -------------------------------------------------------------------------------


TARGET = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:g"


@pytest.mark.parametrize(("target", "qualifier"), [(TARGET, ""), (f"{TARGET}:live", "live"), (f"{TARGET}:7", "7")])
def test_a_record_for_a_function_becomes_an_event(tmp_path: Path, target: str, qualifier: str) -> None:
    record = invocation_record(
        wall=WALL,
        request_id="r",
        function_arn=FUNCTION,
        condition="Success",
        invoke_count=1,
        request_payload=b"1",
        outcome=Outcome("$LATEST", b"2", ""),
    ).decode()

    async def scenario(lab: Lab) -> None:
        (event_id,) = lab.owe(record, target=target, kind="OnSuccess")
        await lab.quiet()
        assert lab.owed() == []
        assert lab.functions.checked == [(FUNCTION, target)]
        (event,) = lab.functions.events
        new_id = "00000000-0000-4000-8000-00000000000a"
        assert (event.account_id, event.function_name, event.qualifier) == (ACCOUNT, "g", qualifier)
        assert (event.request_id, event.payload, event.trace) == (new_id, record.encode(), TRACE)
        assert (event.accepted_at, event.accepted_wall) == (lab.loop.now, WALL)
        assert lab.rows(
            "SELECT account_id, function_name, qualifier, request_id, trace, state, payload FROM events "
            "JOIN event_payloads ON event_id = id WHERE function_name = 'g'"
        ) == [(ACCOUNT, "g", qualifier, new_id, TRACE, "queued", record.encode())]
        detail = {"kind": "OnSuccess", "target": target, "requestId": new_id}
        assert lab.history(event_id) == [("delivered", detail)]

    play(tmp_path, scenario)


def test_a_record_too_large_for_an_event_goes_without_its_payloads(tmp_path: Path) -> None:
    large = b'"' + b"x" * 700_000 + b'"'

    def record(outcome: Outcome | None) -> str:
        return invocation_record(
            wall=WALL,
            request_id="r",
            function_arn=FUNCTION,
            condition="Success",
            invoke_count=1,
            request_payload=large,
            outcome=outcome,
        ).decode()

    async def scenario(lab: Lab) -> None:
        (event_id,) = lab.owe(record(Outcome("$LATEST", large, "")), target=TARGET)
        await lab.quiet()
        (event,) = lab.functions.events
        whole = json.loads(event.payload)
        assert "responsePayload" not in whole
        assert whole["requestPayload"] == "x" * 700_000
        assert lab.history(event_id)[0][1]["omitted"] == ["responsePayload"]

    play(tmp_path, scenario)


def test_a_function_that_is_gone_or_may_not_be_invoked(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.functions.refused[TARGET] = MessageRefusedError("Function not found")
        (event,) = lab.owe("{}", target=TARGET)
        (other,) = lab.owe("{}", target=f"{TARGET}2")
        await lab.quiet()
        assert [item.function_name for item in lab.functions.events] == ["g2"]
        assert lab.owed() == [("{}", "Function not found", 1)]
        del lab.functions.refused[TARGET]
        await lab.pass_time(1.0)
        assert [item.function_name for item in lab.functions.events] == ["g2", "g"]
        assert lines(lab.history(event)) == ["delivery-failed", "delivered"]
        assert lines(lab.history(other)) == ["delivered"]

    play(tmp_path, scenario)


def test_a_record_that_was_dropped_becomes_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lab: Lab) -> None:
        real = lab.functions.check_function_target

        def drop_first(source_arn: str, target_arn: str) -> None:
            real(source_arn, target_arn)
            lab.rows("DELETE FROM deliveries")

        monkeypatch.setattr(lab.functions, "check_function_target", drop_first)
        lab.owe("{}", target=TARGET)
        await lab.quiet()
        assert lab.functions.events == []
        assert lab.rows("SELECT count(*) FROM events WHERE function_name = 'g'") == [(0,)]

    play(tmp_path, scenario)


COLUMNS = "event_id, kind, target, attributes, source, trace, due_at, created_wall"

# --- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_memory_does_not_grow_with_what_is_owed(tmp_path: Path, count: int) -> None:
    async def scenario(lab: Lab) -> None:
        lab.senders.fail(QUEUE, GONE)
        lab.owe("x" * 1000, wake=False)
        for exponent in range(count.bit_length() - 1):
            copies = min(2**exponent, count - 2**exponent)
            lab.rows(f"INSERT INTO deliveries ({COLUMNS}) SELECT {COLUMNS} FROM deliveries LIMIT ?", copies)
        lab.rows(
            "INSERT INTO delivery_bodies (delivery_id, body) SELECT deliveries.id, (SELECT body FROM delivery_bodies) "
            "FROM deliveries WHERE id NOT IN (SELECT delivery_id FROM delivery_bodies)"
        )
        tracemalloc.start()
        try:
            await lab.outbox.start()
            await lab.quiet()
            assert lab.outbox.owed >= count / 2
            for delay in BACKOFFS:
                await lab.pass_time(delay)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 2_000_000

    play(tmp_path, scenario, start=False)
