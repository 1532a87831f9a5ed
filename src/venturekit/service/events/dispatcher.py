"""Runs queued events: claims those that are due, hands them to environments, settles what becomes of them.

One round at a time: all that ended since the last one is settled and all that may run now is claimed, in one
transaction. While it is being written the next round gathers.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from venturekit.protocol.lineage import ROUNDS_LIMIT, STOPPED, advanced
from venturekit.service.api.errors import ApiError
from venturekit.service.events.attempt import Attempt
from venturekit.service.events.course import Course
from venturekit.service.events.invocation_record import Outcome
from venturekit.service.events.lanes import SHARE
from venturekit.service.events.retry import (
    EVENT_AGE_EXCEEDED,
    FUNCTION_NOT_FOUND,
    RECURSIVE_INVOCATION,
    ZERO_RESERVED_CONCURRENCY,
    Ended,
    EventPolicy,
    too_old,
)
from venturekit.service.events.settlement import Moment, Try, given_up, settled, settled_at_once, succeeded
from venturekit.service.events.tenant_lanes import FunctionLanes, TenantsLane
from venturekit.service.store.errors import StoreBusyError, StoreDiskError, StoreError, StoreFullError
from venturekit.service.store.event_documents import FAILED, QUEUED, SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from venturekit.service.events.lanes import Lane
    from venturekit.service.events.ports import Loop, Pool, Targets, Timer
    from venturekit.service.store.event_documents import ClaimedEvent, NewEvent, Settlement
    from venturekit.service.store.event_documents import Lane as LaneKey
    from venturekit.service.store.events import EventStore, Turn

LEASE_MARGIN_SECONDS: Final = 600.0
"""For how long an event stays claimed beyond its function's timeout: environments may have to be started, twice."""
LOOK_AGAIN_SECONDS: Final = 0.05
"""After which lanes are looked at again that had events but no room."""
CLOSING_ROUNDS: Final = 5
"""How often it is tried to settle at the end what the store did not take."""
CLOSING_SECONDS: Final = 5.0
"""How long each of these rounds is waited for."""
STORE_RETRY_SECONDS: Final = 1.0
NO_CLAIM_SECONDS: Final = 1.0
"""After which a lane is looked at again whose events are due, but none of which could be claimed."""
REFUSED_CLAIM_SECONDS: Final = 60.0
"""And one whose claim the store refused."""
COLD_SHARE: Final = 2
"""How many events of a function are claimed as long as its environments are not known: each may have to start one, and
the starts are shared by all functions.
"""
ROUNDS_APART_SECONDS: Final = 0.005
"""How far apart rounds begin while callers wait for their events to be accepted, who come first: a round takes from
them what its events take of the loop, and many small ones take more than few large ones."""
OUTCOMES: Final = {SUCCEEDED: "succeeded", FAILED: "failed", QUEUED: "retried"}
"""By the state that follows: what became of a try."""
NO_POLICY: Final = EventPolicy()


class Dispatcher:
    """Runs the events of a store.

    ``lease`` names this process among all that ever claimed events. ``steady`` and ``wall`` tell the time in seconds.
    ``deliver(targets)`` is called when the outbox owes something new to these ARNs. ``concurrency`` is how many events
    of one function run at once. ``crowded()`` tells whether callers wait for their events to be accepted.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        targets: Targets,
        lease: str,
        steady: Callable[[], float],
        wall: Callable[[], float],
        loop: Loop,
        deliver: Callable[[set[str]], None],
        report: Callable[[BaseException], None],
        warn: Callable[[str], None],
        delays_seconds: Sequence[float],
        concurrency: int,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._targets = targets
        self._lease = lease
        self._steady = steady
        self._wall = wall
        self._loop = loop
        self._deliver = deliver
        self._report = report
        self._warn = warn
        self._delays_seconds = delays_seconds
        self._lanes = FunctionLanes(concurrency, self._room, self._pool_room)
        self._pools: dict[LaneKey, Pool] = {}
        self._running: dict[int, Attempt | None] = {}
        self._settlements: list[tuple[LaneKey, Settlement]] = []
        self._live = 0
        self.outcomes = dict.fromkeys(OUTCOMES.values(), 0)
        """So many tries have ended in which way, since the service was started."""
        self._round: asyncio.Future[Turn] | None = None
        self._crowded = crowded
        self._scheduled = False
        self._resting = False
        self._began = -math.inf
        self._timer: Timer | None = None
        self._claims = False
        # One settlement to a round: one of them is refused, and it is not known which.
        self._singly = False
        # In so many rounds nothing but one lane is claimed: a claim is refused, and it is not known which.
        self._lone_claims = 0
        self._closing = False
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Put back what a former process was running, and see what waits."""
        await self._store.release(self._wall())
        for state in await self._store.lanes():
            self._live += state.queued
            self._lanes.due(state.lane, state.next_due_at)

    def begin(self) -> None:
        """Run events from now on."""
        self._claims = True
        self._wake()

    def stop(self) -> None:
        """Claim nothing more; what runs may end."""
        self._claims = False

    async def close(self) -> None:
        """Make durable what has ended, and forget the rest: the next process runs it again."""
        self._claims = False
        self._closing = True
        for _ in range(CLOSING_ROUNDS):
            if self._round is None and (not self._settlements or not self._begin_round()):
                break
            await self._quiet()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    @property
    def live(self) -> int:
        """How many events are queued or run."""
        return self._live

    @property
    def running(self) -> int:
        """How many events are being run."""
        return len(self._running)

    def sweep(self) -> None:
        """Take back what is claimed for longer than any invocation can last: its outcome has been lost."""
        now = self._steady()
        for attempt in [each for each in self._running.values() if each is not None and each.lease_until < now]:
            reason = "the outcome did not come: the event is claimed anew"
            self._end(attempt.event, Try(ended=Ended.SYSTEM_ERROR, reason=reason), attempt.policy)
        # The machine may have been asleep: steady time goes on then, and the loop's timers do not.
        self._wake()

    # --- what others tell ---------------------------------------------------------------------------------------

    def accepted(self, events: Iterable[NewEvent]) -> None:
        """These events were committed."""
        for event in events:
            self._live += 1
            self._lanes.due(event.lane, event.accepted_at)
        self._wake()

    def due(self, lane: LaneKey, at: float) -> None:
        """An event that was stored before is due at ``at``: somebody has changed that."""
        self._lanes.due(lane, at)
        self._wake()

    def counted(self, change: int) -> None:
        """Somebody else has ended (-1) or revived (+1) so many events."""
        self._live += change

    # --- rounds -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._scheduled and not self._resting and not self._closed and self._round is None:
            self._scheduled = True
            self._loop.call_soon(self._next_round)

    def _next_round(self) -> None:
        self._scheduled = False
        if self._round is not None or self._closed:
            return
        rest = self._began + ROUNDS_APART_SECONDS - self._steady()
        if rest > 0 and self._crowded():
            self._resting = True
            self._loop.call_later(rest, self._rested)
        else:
            self._begin_round()

    def _rested(self) -> None:
        self._resting = False
        self._wake()

    def _begin_round(self) -> bool:
        """Begin a round if there is anything to do; False if there is not, or the store takes nothing."""
        now = self._steady()
        count = 1 if self._singly else 0 if self._lone_claims else settled_at_once(self._settlements)
        settlements, self._settlements = self._settlements[:count], self._settlements[count:]
        for lane, _ in settlements:
            # Settled in the same transaction as others of the lane are claimed: these may take their places.
            self._lanes.ended(lane)
        claims = self._lanes.take(now) if self._claims and not self._singly else []
        if self._lone_claims and not self._singly:
            claims = self._one_of(claims)
            if not claims:
                return self._begin_round()
        if not claims and not settlements:
            if self._claims:
                self._set_timer(now)
            return False
        self._began = now
        try:
            self._round = self._store.turn(self._lease, [item for _, item in settlements], claims, now, self._wall())
        except StoreError as error:
            self._round_failed(settlements, claims, error)
            return False
        self._round.add_done_callback(lambda future: self._round_ended(future, settlements, claims))
        return True

    def _one_of(self, claims: list[tuple[LaneKey, int]]) -> list[tuple[LaneKey, int]]:
        """One lane to claim, another one in each round."""
        number = self._lone_claims % max(len(claims), 1)
        self._lone_claims = self._lone_claims - 1 if claims else 0
        for lane, _ in (*claims[:number], *claims[number + 1 :]):
            self._lanes.unclaimed(lane)
        return claims[number : number + 1]

    def _round_ended(
        self,
        future: asyncio.Future[Turn],
        settlements: list[tuple[LaneKey, Settlement]],
        claims: list[tuple[LaneKey, int]],
    ) -> None:
        self._round = None
        error = future.exception()
        if error is not None:
            self._round_failed(settlements, claims, error)
            return
        turn = future.result()
        self._singly = self._singly and bool(self._settlements)
        self._have_settled(settlements, frozenset(turn.stale))
        per_lane: dict[LaneKey, int] = {}
        for event in turn.claimed:
            per_lane[event.lane] = per_lane.get(event.lane, 0) + 1
            self._running[event.event_id] = None
        for lane, _ in claims:
            if lane in turn.next_due:
                self._have_claimed(lane, per_lane.get(lane, 0), turn.next_due[lane])
            else:
                self._lanes.unclaimed(lane)
        if not self._closing:
            courses: dict[tuple[str, str, str], Course] = {}
            for event in turn.claimed:
                self._run(event, courses)
        # At once, not in the loop's next turn: so it is committed with what the intake has begun to write.
        self._next_round()

    def _round_failed(
        self,
        settlements: list[tuple[LaneKey, Settlement]],
        claims: list[tuple[LaneKey, int]],
        error: BaseException,
    ) -> None:
        self._settlements = settlements + self._settlements
        for lane, _ in settlements:
            self._lanes.resumed(lane)
        for lane, _ in claims:
            self._lanes.unclaimed(lane)
        if isinstance(error, (StoreBusyError, StoreDiskError, StoreFullError)):
            self._warn(f"queued events wait: {error}")
            self._timer_for(STORE_RETRY_SECONDS)
            return
        if not isinstance(error, StoreError):
            self._round_refused(settlements, claims, error)
            return
        # What is held stays held in the database; the next process puts it back.
        self._closed = True
        self._running.clear()
        self._warn(f"queued events are not run any more until a restart: {error}")

    def _round_refused(
        self,
        settlements: list[tuple[LaneKey, Settlement]],
        claims: list[tuple[LaneKey, int]],
        error: BaseException,
    ) -> None:
        """Something about one event is wrong that nobody thought of: find out about which, and go on without it."""
        self._report(error)
        if not settlements and len(claims) == 1:
            ((lane, _),) = claims
            self._lanes.pause(lane, self._steady() + REFUSED_CLAIM_SECONDS)
            self._warn(f"events of {lane[1]} could not be claimed, and wait: {error}")
        elif claims:
            self._lone_claims = len(claims)
        if len(settlements) == 1 and not claims:
            lane, settlement = self._settlements.pop(0)
            self._running.pop(settlement.event_id, None)
            self._lanes.ended(lane)
            self._warn(f"event #{settlement.event_id} could not be settled, and is run again after a restart: {error}")
        self._singly = bool(self._settlements)
        self._timer_for(STORE_RETRY_SECONDS)

    def _have_claimed(self, lane: LaneKey, count: int, next_due: float | None) -> None:
        if not count and next_due is not None and next_due <= self._began:
            # Its row is there, and something that belongs to it is not: asking again at once would go on for ever.
            self._lanes.pause(lane, self._steady() + NO_CLAIM_SECONDS)
        self._lanes.claimed(lane, count, next_due)
        if lane not in self._lanes:
            self._pools.pop(lane, None)

    def _have_settled(self, settlements: list[tuple[LaneKey, Settlement]], stale: frozenset[int]) -> None:
        owed: set[str] = set()
        for lane, settlement in settlements:
            self._running.pop(settlement.event_id, None)
            if lane not in self._lanes:
                self._pools.pop(lane, None)
            if settlement.event_id in stale:
                continue
            if (outcome := OUTCOMES.get(settlement.state)) is not None:
                self.outcomes[outcome] += 1
            if settlement.state == QUEUED:
                self._lanes.due(lane, settlement.due_at)
            else:
                self._live -= 1
                owed.update(delivery.target for delivery in settlement.deliveries)
        if owed:
            self._deliver(owed)

    def _set_timer(self, now: float) -> None:
        waits = [LOOK_AGAIN_SECONDS] if self._lanes.holds_back else []
        if (at := self._lanes.next_at()) is not None:
            waits.append(max(at - now, 0.0))
        if waits:
            self._timer_for(min(waits))

    def _timer_for(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._wake)

    async def _quiet(self) -> None:
        future = self._round
        if future is not None:
            await asyncio.wait({future}, timeout=CLOSING_SECONDS)

    # --- one event ----------------------------------------------------------------------------------------------

    def _room(self, lane: Lane) -> int:
        """How many more events of a lane make sense now, as far as its function is concerned."""
        concurrency = self._targets.concurrency(lane.key[0], lane.key[1])
        if concurrency.reserved == 0:
            return SHARE  # they end without being run
        room = concurrency.room
        if room <= 0:
            # Nothing of its own will end and make room: one event finds out, and waits as a throttled one does.
            return 0 if lane.running else 1
        # Each tenant has environments of its own.
        return room if isinstance(lane, TenantsLane) else min(room, self._pool_room(lane))

    def _pool_room(self, lane: Lane) -> int:
        """How many more events of a lane make sense now, as far as its environments are concerned."""
        pool = self._pools.get(lane.key)
        # One at least: callers who wait in the pool must not keep events from ever getting there.
        return COLD_SHARE if pool is None else max(pool.room, 0 if lane.running else 1)

    def _run(self, event: ClaimedEvent, courses: dict[tuple[str, str, str], Course]) -> None:
        """Run an event. ``courses`` are those that were found for others of the same round."""
        try:
            self._resolve(event, courses)
        except Exception as error:
            # One event that something is wrong with must not take the others with it.
            self._report(error)
            self._end(event, Try(ended=Ended.SYSTEM_ERROR, reason=f"unexpected: {error!r:.1000}"), NO_POLICY)

    def _resolve(self, event: ClaimedEvent, courses: dict[tuple[str, str, str], Course]) -> None:
        now = self._steady()
        # Tenants run the same.
        key = (event.account_id, event.function_name, event.qualifier)
        course = courses.get(key)
        if course is None:
            try:
                target = self._targets.resolve(event.account_id, event.function_name, event.qualifier)
            except ApiError as error:
                self._unresolved(event, error, now)
                return
            course = Course(target)
            if target.lasting:
                courses[key] = course
        policy, concurrency = course.policy, course.concurrency
        # Of the trace that the event came with: a further try of it is no further round.
        trace, rounds = advanced(event.trace.encode("latin-1"), course.lineage_key)
        if rounds >= ROUNDS_LIMIT and not course.recursion_allowed:
            self._give_up(event, RECURSIVE_INVOCATION, STOPPED, policy)
        elif too_old(now, event.accepted_at, policy):
            self._give_up(event, EVENT_AGE_EXCEEDED, "it waited for longer than its maximum age", policy)
        elif concurrency.reserved == 0:
            self._give_up(event, ZERO_RESERVED_CONCURRENCY, "the function's reserved concurrency is 0", policy)
        elif not concurrency.take():
            self._lanes.pause_function(event.lane, now + 1.0)
            self._end(event, Try(ended=Ended.THROTTLED, reason=concurrency.exceeded), policy)
        else:
            self._submit(event, course, trace, now)

    def _submit(self, event: ClaimedEvent, course: Course, trace: bytes, now: float) -> None:
        attempt = Attempt(
            event,
            course,
            trace=trace,
            began=now,
            lease_until=now + course.timeout_seconds + LEASE_MARGIN_SECONDS,
            ended=self._answered,
            refused=self._refused,
        )
        try:
            pool = course.pool_of(event.tenant_id)
        except ApiError as error:
            course.concurrency.release()
            self._end(event, Try(ended=Ended.SYSTEM_ERROR, reason=_reason(error)), course.policy)
            return
        self._running[event.event_id] = attempt
        self._pools[event.lane] = pool
        pool.submit(attempt)

    def _unresolved(self, event: ClaimedEvent, error: ApiError, now: float) -> None:
        if error.status == 404:
            self._give_up(event, FUNCTION_NOT_FOUND, _reason(error), NO_POLICY)
        elif too_old(now, event.accepted_at, NO_POLICY):
            self._give_up(event, EVENT_AGE_EXCEEDED, _reason(error), NO_POLICY)
        else:
            self._end(event, Try(ended=Ended.SYSTEM_ERROR, reason=_reason(error)), NO_POLICY)

    def _answered(self, attempt: Attempt, payload: bytes | bytearray, error: bytes) -> None:
        event = attempt.event
        if self._closed or self._running.get(event.event_id) is not attempt:
            return
        moment = self._moment()
        duration_ms = (moment.steady - attempt.began) * 1000
        if not error and not attempt.policy.on_success:
            self._settle(event, succeeded(event, attempt.executed_version, duration_ms, moment))
            return
        outcome = Outcome(attempt.executed_version, bytes(payload), error.decode())
        ended = Ended.FUNCTION_ERROR if error else Ended.SUCCESS
        self._end(event, Try(ended=ended, outcome=outcome, duration_ms=duration_ms), attempt.policy)

    def _refused(self, attempt: Attempt, reason: str) -> None:
        if not self._closed and self._running.get(attempt.event.event_id) is attempt:
            self._end(attempt.event, Try(ended=Ended.SYSTEM_ERROR, reason=reason), attempt.policy)

    def _end(self, event: ClaimedEvent, made: Try, policy: EventPolicy) -> None:
        settlement = settled(
            event,
            made,
            policy=policy,
            source=self._targets.arn(event.account_id, event.function_name, event.qualifier),
            moment=self._moment(),
            delays_seconds=self._delays_seconds,
        )
        self._settle(event, settlement)

    def _give_up(self, event: ClaimedEvent, condition: str, reason: str, policy: EventPolicy) -> None:
        source = self._targets.arn(event.account_id, event.function_name, event.qualifier)
        self._settle(event, given_up(event, condition, reason, policy=policy, source=source, moment=self._moment()))

    def _settle(self, event: ClaimedEvent, settlement: Settlement) -> None:
        # It is this attempt's last word: a second one of the same attempt is not listened to.
        self._running[event.event_id] = None
        self._settlements.append((event.lane, settlement))
        self._wake()

    def _moment(self) -> Moment:
        return Moment(self._steady(), self._wall())


def _reason(error: ApiError) -> str:
    return f"{error.code}: {error.message}" if error.message else error.code
