"""Whatever happens, in any order: every accepted event ends once, as its history says, and nothing is left behind."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.events.event_lab import HOURS, TERMINAL, Held, Lab
from venturekit.service.api.errors import api_error
from venturekit.service.events.retry import EventPolicy
from venturekit.service.invocation.concurrency import AccountConcurrency
from venturekit.service.store.errors import StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("a", "b", "c")
DELAYS = (60.0, 120.0)
ENDS_OF_A_TRY = ("error", "succeeded", "throttled", "system-error", "failed", "interrupted")

names = st.sampled_from(NAMES)
endings = st.lists(st.sampled_from(["succeed", "fail", "reject", "hold"]), max_size=4)
accepts = st.tuples(st.just("accept"), names, endings, st.integers(1, 25))
steps = st.lists(
    st.one_of(
        accepts,
        accepts,
        accepts,
        st.tuples(st.just("advance"), st.sampled_from([0.0, 0.5, 1.0, 7.0, 59.9, 60.0, 120.0, 600.0])),
        st.tuples(st.just("throttle"), names),
        st.tuples(st.just("delete or create"), names),
        st.tuples(st.just("suspend"), names),
        st.tuples(st.just("reserve nothing"), names),
        st.tuples(st.just("trouble"), st.integers(1, 5)),
        st.tuples(st.just("answer"), st.integers(1, 10), st.booleans()),
        st.tuples(st.just("restart"), st.booleans(), st.booleans()),
        st.tuples(st.just("policy"), names, st.integers(0, 2), st.sampled_from([60, 300, 21_600])),
    ),
    min_size=10,
    max_size=40,
)


class World:
    """A service whose processes come and go, with functions that follow a script for each event."""

    def __init__(self, path: Path) -> None:
        self.lab = Lab(path)
        self.scripts: dict[str, list[str]] = {}
        self.answers = self.lab.answers
        self.held: list[Held] = []
        self.processes = 1
        self.throttled: set[str] = set()
        for name in NAMES:
            self.lab.targets.create(name, behave=self.behave)

    def behave(self, held: Held) -> None:
        script = self.scripts.get(held.attempt.request_id.decode(), [])
        ending = script.pop(0) if script else "succeed"
        if ending == "hold":
            self.held.append(held)
        else:
            getattr(held, ending)()

    async def do(self, what: str, *given: Any) -> None:
        await getattr(self, what.replace(" ", "_"))(*given)

    async def accept(self, name: str, script: Sequence[str], count: int) -> None:
        for _ in range(count):
            self.scripts[self.lab.put(name)] = list(script)

    async def advance(self, seconds: float) -> None:
        await self.lab.advance(seconds)

    async def throttle(self, name: str) -> None:
        """Synchronous invokes take all the room, or leave it."""
        concurrency = self.lab.targets.account.function(name)
        if name in self.throttled:
            self.throttled.discard(name)
            concurrency.release()
            self.lab.targets.account.reserve(name, None)
        elif concurrency.reserved is None:
            self.lab.targets.account.reserve(name, concurrency.running + 1)
            assert concurrency.take()
            self.throttled.add(name)

    async def reserve_nothing(self, name: str) -> None:
        concurrency = self.lab.targets.account.function(name)
        if name not in self.throttled:
            self.lab.targets.account.reserve(name, 0 if concurrency.reserved is None else None)

    async def delete_or_create(self, name: str) -> None:
        if name in self.throttled:
            await self.throttle(name)
        if name in self.lab.targets.functions:
            self.lab.targets.delete(name)
        else:
            self.lab.targets.create(name, behave=self.behave)

    async def suspend(self, name: str) -> None:
        if function := self.lab.targets.functions.get(name):
            pending = api_error("ResourceConflictException", "Pending")
            function.not_runnable = None if function.not_runnable else pending

    async def policy(self, name: str, retries: int, age: int) -> None:
        if function := self.lab.targets.functions.get(name):
            function.policy = EventPolicy(maximum_retry_attempts=retries, maximum_event_age_seconds=age)

    async def trouble(self, count: int) -> None:
        self.lab.events.trouble += [StoreBusyError("as told") for _ in range(count)]

    async def answer(self, count: int, fails: bool) -> None:
        going, self.held = self.held[:count], self.held[count:]
        for held in going:
            if fails:
                held.fail()
            else:
                held.succeed()

    async def restart(self, in_order: bool, quiet: bool) -> None:
        """The next process. What the former one was running may still answer: too late."""
        former = self.lab
        if quiet:
            await former.quiet()
        if in_order:
            await former.dispatcher.close()
        former.close_store()
        await former.quiet()
        for name in tuple(self.throttled):
            await self.throttle(name)
        assert former.reported == []
        self.processes += 1
        former.targets.account = AccountConcurrency(1000)
        for name, function in former.targets.functions.items():
            function.concurrency = former.targets.account.function(name)
        self.lab = Lab(former.path, loop=former.loop, targets=former.targets, lease=f"lease-{self.processes}")
        self.lab.answers = self.answers
        await self.lab.begin()

    async def let_all_end(self) -> None:
        """Every hindrance goes; then there is time enough."""
        for name in NAMES:
            if name in self.throttled:
                await self.throttle(name)
            if name not in self.lab.targets.functions:
                await self.delete_or_create(name)
            self.lab.targets.account.reserve(name, None)
            self.lab.targets.functions[name].not_runnable = None
        self.lab.events.trouble.clear()
        self.scripts.clear()
        await self.answer(1_000_000, False)
        await self.lab.advance(7 * HOURS)

    def check(self) -> None:
        lab = self.lab
        assert set(lab.states()) <= set(TERMINAL)
        stored = {request_id for (request_id,) in lab.rows("SELECT request_id FROM events")}
        assert len(stored) == lab.rows("SELECT count(*) FROM events")[0][0]
        for request_id, error in self.answers.items():
            assert (request_id in stored) is (error is None), "202 if and only if it was stored"
        runs = Counter(made.request_id for function in lab.targets.functions.values() for made in function.runs)
        for request_id in stored:
            self.check_history(request_id, runs[request_id])
        assert lab.rows("SELECT count(*) FROM events WHERE lease IS NOT NULL") == [(0,)]
        assert (lab.dispatcher.live, lab.dispatcher.running, len(lab.dispatcher._lanes)) == (0, 0, 0)
        assert lab.targets.account.running == 0
        assert (lab.reported, lab.loop.next_timer) == ([], None)

    def check_history(self, request_id: str, runs: int) -> None:
        lines = self.lab.history(request_id)
        kinds = [line.kind for line in lines]
        assert kinds[0] == "accepted"
        assert kinds[-1] in ("succeeded", "failed")
        assert kinds.count("succeeded") + kinds.count("failed") == 1
        attempts, _ = self.lab.tries(request_id)
        assert attempts == kinds.count("error") + kinds.count("succeeded") <= 3
        for earlier, later in itertools.pairwise(lines):
            if earlier.kind == "started":
                assert later.kind in ENDS_OF_A_TRY
            elif later.kind == "started":
                # A retry comes when it was said to come, or later where something kept it.
                assert later.after >= earlier.after + earlier.detail.get("nextDelaySeconds", 0.0) - 1e-3
        errors = [line for line in lines if line.kind == "error" and "nextDelaySeconds" in line.detail]
        assert [line.detail["nextDelaySeconds"] for line in errors] == list(DELAYS[: len(errors)])
        # Functions that were deleted have taken their runs with them: those are not counted here.
        assert runs <= kinds.count("started")


@settings(max_examples=60)
@given(steps)
def test_every_accepted_event_ends_once(script: list[tuple[Any, ...]]) -> None:
    async def scenario(path: Path) -> None:
        world = World(path)
        await world.lab.begin()
        for step in script:
            await world.do(*step)
        await world.let_all_end()
        world.check()
        await world.lab.dispatcher.close()
        world.lab.close_store()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder) / "events.db"))
