"""Pools of tenants under random loads, crashes and changes: nothing of one ever serves another."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.runtime_support import NEXT, bench_in, scenario
from venturekit.service.environments import tenants
from venturekit.service.environments.lifecycle import State

if TYPE_CHECKING:
    from tests.service.runtime_support import Bench, Event
    from venturekit.service.environments.environment import Environment

TENANTS = ("", "a", "b", "c", "d", "e")
LIMIT = 4
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "serve", "serve", "serve", "crash", "drop", "time", "rest", "update"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


class Waiting:
    """A runtime's open call for its next event, without a socket."""

    def __init__(self) -> None:
        self.connection = self
        self.eof = False

    def respond(self, _answer: bytes) -> None:
        """The event has come."""

    def abort(self) -> None:
        """It was cut."""


class Tenancy:
    """What the model knows: who was served where."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.identity = 1
        self.most_busy = 0
        self.events: dict[Event, str] = {}
        self.served: dict[object, set[str]] = defaultdict(set)
        bench.host.settings = replace(bench.host.settings, tenant_environments_limit=LIMIT)

    async def step(self, action: str, number: int) -> None:
        host = self.bench.host
        environments = sorted(host.environments.values(), key=lambda each: each.number)
        if action == "submit":
            tenant = TENANTS[number]
            pool = self.bench.pool_of("f", tenant_id=tenant, identity=str(self.identity))
            event = self.bench.submit(pool=pool)
            self.events[event] = tenant
        elif action == "update":
            self.identity += 1
            host.keep_only(self.bench.pool.spec.function_arn, {("$LATEST", str(self.identity))})
        elif action == "time":
            self.bench.loop.advance(1.1)
        elif action == "rest":
            host.sweep(host.clock.now + 301)
        elif environments:
            self.happens(action, environments[number % len(environments)])
        await self.bench.until(lambda: not self.bench.tasks)
        self.look()

    def happens(self, action: str, environment: Environment) -> None:
        if action == "crash":
            self.bench.launchers.exit(environment.number, 1)
        elif action == "drop" and environment.state is State.IDLE:
            environment.parked.eof = True  # type: ignore[union-attr]
        elif action == "serve" and environment.state is State.INVOKE:
            environment.answered(b"1", error=False)
        elif action == "serve" and environment.state in (State.STARTING, State.RESPONDED):
            environment.next(Waiting())  # type: ignore[arg-type]

    def look(self) -> None:
        """Whom each environment, scratch directory and log stream serves."""
        host = self.bench.host
        for environment in host.environments.values():
            event: Any = environment.invocation
            if event is None:
                continue
            for shared in (environment, environment.sandbox.tmp, environment.stream):
                self.served[shared].add(self.events[event])
                assert self.served[shared] == {environment.spec.tenant_id}
        of_tenants = [each for pool in host.pools.values() if pool.spec.tenant_id for each in pool.environments]
        # Beyond the limit there are only as many as were of use at the same time.
        self.most_busy = max(self.most_busy, sum(each.state is not State.IDLE for each in of_tenants))
        assert len(of_tenants) <= max(LIMIT, self.most_busy)
        assert all(event.ended <= 1 for event in self.events)

    async def finish(self) -> None:
        """Whoever waits is served in the end, and of tenants that are gone nothing is kept."""
        host = self.bench.host
        for _ in range(len(self.events) * 8 + 20):
            for environment in [*host.environments.values()]:
                self.happens("serve", environment)
            await self.bench.until(lambda: not self.bench.tasks)
            self.look()
        assert [event.ended for event in self.events] == [1] * len(self.events)
        host.sweep(host.clock.now + 301)
        await self.bench.until(lambda: not host.environments)
        host.sweep(host.clock.now + 301)
        assert not [pool for pool in host.pools.values() if pool.spec.tenant_id]


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_no_two_tenants_ever_share_an_environment(steps: list[tuple[str, int]]) -> None:
    async def run(folder: Path) -> None:
        async with bench_in(folder) as bench:
            tenancy = Tenancy(bench)
            for action, number in steps:
                await tenancy.step(action, number)
            await tenancy.finish()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@scenario()
async def test_the_longest_idle_environment_of_another_tenant_makes_room(bench: Bench) -> None:
    bench.host.settings = replace(bench.host.settings, tenant_environments_limit=2)
    pools = [bench.pool_of("f", tenant_id=tenant) for tenant in "abc"]
    none, _ = await bench.idle_runtime()
    first, _ = await bench.idle_runtime(pool=pools[0])
    bench.clock.now += 1
    second, _ = await bench.idle_runtime(pool=pools[1])
    third, _, _ = await bench.runtime(pool=pools[2])
    await bench.until(lambda: first.state is State.TERMINATED)
    assert [each.state for each in (none, second, third)] == [State.IDLE, State.IDLE, State.INVOKE]
    assert pools[0] not in bench.host.pools.values()


@scenario()
async def test_a_machine_without_room_has_no_idle_environments_of_other_tenants(bench: Bench) -> None:
    pools = [bench.pool_of("f", tenant_id=tenant) for tenant in "abc"]
    first, _ = await bench.idle_runtime(pool=pools[0])
    bench.clock.now += 1
    second, _ = await bench.idle_runtime(pool=pools[1])
    with patch.object(tenants, "no_room_reason", lambda: "no memory"):
        await bench.runtime(pool=pools[2])
    await bench.until(lambda: first.state is State.TERMINATED)
    assert second.state is State.IDLE


@scenario()
async def test_tenants_that_are_served_are_not_pushed_out(bench: Bench) -> None:
    bench.host.settings = replace(bench.host.settings, tenant_environments_limit=1)
    served = [(await bench.runtime(pool=bench.pool_of("f", tenant_id=tenant)))[0] for tenant in "abc"]
    assert [each.state for each in served] == [State.INVOKE] * 3


@scenario()
async def test_a_flood_of_one_tenant_delays_another_by_one_start(bench: Bench) -> None:
    flood, late = (bench.pool_of("f", tenant_id=tenant) for tenant in "ab")
    limit = bench.host.settings.starting_limit
    for _ in range(limit + 3):
        bench.submit(pool=flood)
    environments = await bench.launched(limit, pool=flood)
    event = bench.submit(pool=late)
    for environment in environments[:2]:
        await (await bench.connect(environment)).call("GET", NEXT)
    (served,) = await bench.launched(1, pool=late)
    await (await bench.connect(served)).call("GET", NEXT)
    assert served.invocation is event
    for environment in environments[2:]:
        await (await bench.connect(environment)).call("GET", NEXT)
    await bench.launched(limit + 3, pool=flood)
