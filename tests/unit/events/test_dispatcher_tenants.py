"""The events of one tenant do not wait for those of another, of the same function or of any."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.unit.events.event_lab import Held, Lab, run, times
from tests.unit.store.event_tables import new_event
from venturekit.service.events.tenant_lanes import TENANTS_BEYOND
from venturekit.service.store.event_changes import redrive
from venturekit.service.store.events import insert_events, lane_states, take_turn
from venturekit.service.store.migrations import MIGRATIONS, migrate

if TYPE_CHECKING:
    from pathlib import Path


class Holding:
    """A function's behaviour: what is for the tenant ``slow`` waits to be let go, all else succeeds."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    def __call__(self, held: Held) -> None:
        if held.attempt.event.tenant_id == "slow":
            self.held.append(held)
        else:
            held.succeed()

    def release(self, count: int = 1_000_000) -> int:
        going, self.held = self.held[:count], self.held[count:]
        for each in going:
            each.succeed()
        return len(going)


def test_a_flood_for_one_tenant_does_not_delay_another(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding, tenants={})
        for _ in range(2000):
            lab.put(tenant="slow")
        await lab.quiet()
        quick = [await lab.accept(tenant="quick") for _ in range(40)]
        assert [lab.state(event) for event in quick] == ["succeeded"] * 40
        assert {time for event in quick for time in times(function, event)} == {0.0}
        assert function.tenants is not None
        assert (function.tenants["slow"].runs, function.tenants["quick"].runs) == (16, 40)
        while holding.release():
            await lab.quiet()
        assert lab.states() == {"succeeded": 2040}

    run(tmp_path, scenario)


def test_tenants_take_turns_where_a_function_has_reserved_little(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        lab.targets.create(behave=holding, tenants={})
        lab.targets.account.reserve("f", 2)
        for _ in range(100):
            lab.put(tenant="slow")
        await lab.quiet()
        quick = [lab.put(tenant="quick") for _ in range(3)]
        await lab.quiet()
        assert [lab.state(event) for event in quick] == ["queued"] * 3
        # One place comes free, and after each of its events again.
        holding.release(1)
        await lab.quiet()
        assert lab.state(quick[0]) == "succeeded"
        while holding.release():
            await lab.quiet()
        # Nobody was throttled, which would be a second or more.
        assert {tuple(lab.kinds(event)) for event in quick} == {("accepted", "started", "succeeded")}
        assert lab.states() == {"succeeded": 103}

    run(tmp_path, scenario)


def test_a_throttle_is_found_out_by_one_event_of_all_tenants(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(tenants={})
        lab.targets.account.reserve("f", 1)
        assert function.concurrency.take()
        events = [lab.put(tenant=f"t{number}") for number in range(300)]
        await lab.advance(20.0)
        assert 15 <= sum(lab.kinds(event).count("throttled") for event in events) <= 25
        function.concurrency.release()
        await lab.advance(400.0)
        assert lab.states() == {"succeeded": 300}

    run(tmp_path, scenario)


def test_a_tenant_without_room_is_looked_at_again(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding, tenants={})
        await lab.accept(tenant="slow")
        assert function.tenants is not None
        function.tenants["slow"].room = 0
        waiting = await lab.accept(tenant="slow")
        quick = await lab.accept(tenant="quick")
        await lab.advance(1.0)
        assert (lab.state(waiting), lab.state(quick)) == ("queued", "succeeded")
        function.tenants["slow"].room = 1
        await lab.advance(0.1)
        assert lab.state(waiting) == "running"
        holding.release()

    run(tmp_path, scenario)


def test_a_thousand_tenants_leave_nothing_behind(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        most = 0

        def look(held: Held) -> None:
            nonlocal most
            most = max(most, lab.dispatcher.running)
            held.succeed()

        lab.targets.create(behave=look, tenants={})
        for number in range(1000):
            lab.put(tenant=f"t{number}")
        await lab.quiet()
        assert lab.states() == {"succeeded": 1000}
        assert most <= 16 * TENANTS_BEYOND
        dispatcher = lab.dispatcher
        assert (len(dispatcher._lanes), len(dispatcher._pools), dispatcher.running, dispatcher.live) == (0, 0, 0, 0)
        assert lab.loop.next_timer is None

    run(tmp_path, scenario)


def test_events_of_tenants_are_found_again_after_a_restart(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.dispatcher.stop()
        lab.targets.create(tenants={})
        events = [await lab.accept(tenant=tenant) for tenant in ("a", "b", "a")]
        # A function may have been one without tenants when events were accepted, and the other way round.
        events.append(await lab.accept())
        later = Lab(lab.path, loop=lab.loop, targets=lab.targets, lease="lease-2")
        await later.begin()
        await later.quiet()
        assert {later.state(event) for event in events} == {"succeeded"}
        await later.dispatcher.close()
        later.close_store()

    run(tmp_path, scenario)


def test_lanes_of_tenants_in_the_tables() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        # Accepted by a release that knew tenants, and not that they take turns.
        migrate(connection, MIGRATIONS[:7])
        insert_events(connection, [new_event(tenant_id="a") for _ in range(50)])
        migrate(connection)
        insert_events(connection, [new_event(tenant_id="b", accepted_at=1001.0), new_event()])
        b, plain = new_event(tenant_id="b").lane, new_event().lane
        assert {state.lane[2:]: state.queued for state in lane_states(connection)} == {("a",): 50, ("b",): 1, (): 1}
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        turn = take_turn(connection, "lease", [], [(b, 5), (plain, 5)], 2000.0, 0.0)
        connection.set_trace_callback(None)
        assert [event.lane for event in turn.claimed] == [b, plain]
        assert turn.next_due == {b: None, plain: None}
        # However many events of other tenants there are, none of them is looked at.
        plans = [
            step[3]
            for statement in statements
            if "state = 'queued'" in statement and statement.startswith("SELECT")
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
        assert sum("events_due (account_id=? AND function_name=? AND tenant_id=?" in plan for plan in plans) == 4
        failed = turn.claimed[0]
        connection.execute("UPDATE events SET state = 'failed', finished_wall = 1 WHERE id = ?", (failed.event_id,))
        assert redrive(connection, failed.account_id, [failed.event_id], 3000.0, 0.0).lanes == {b}
