"""The outbox: delivers what is owed to destinations and dead-letter queues, for as long as it takes.

Every target has a lane of its own. A target that fails, hangs or throttles is left alone for a while, then tried with
one message; the others do not notice. What is owed stays in the store until it was delivered: memory holds a few
messages of each target that is being sent to.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING, Final

from venturekit.service.events.delivery import DELIVERY_FAILED, SentNotSettledError, as_text, described, reason_of
from venturekit.service.events.delivery_errors import DeliveryError, MessageRefusedError
from venturekit.service.events.delivery_retry import after_refusal, after_target_failure, is_noted
from venturekit.service.events.target_lane import TargetLane
from venturekit.service.store.errors import StoreBusyError, StoreDiskError, StoreError, StoreFullError
from venturekit.service.store.event_documents import Transition
from venturekit.service.store.outbox import FailedDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from venturekit.service.events.delivery import Courier
    from venturekit.service.events.delivery_retry import Retry
    from venturekit.service.events.ports import Loop, Timer
    from venturekit.service.store.outbox import Deliveries, OwedDelivery

PAGE: Final = 64
BEGUN_AT_ONCE: Final = 100
"""So many targets are looked at anew before others have their turn on the loop."""
CLOSE_SECONDS: Final = 3.0


class Outbox:
    """Delivers what the store owes. ``await start()``; ``await close()`` leaves what was not confirmed to the next one.

    ``steady`` and ``wall`` tell the time in seconds. ``warn`` gets a sentence when a target begins to fail, ``report``
    unexpected exceptions.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        courier: Courier,
        *,
        loop: Loop,
        steady: Callable[[], float],
        wall: Callable[[], float],
        warn: Callable[[str], None],
        report: Callable[[BaseException], None],
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._deliveries = deliveries
        self._courier = courier
        self._loop = loop
        self._steady = steady
        self._wall = wall
        self._warn = warn
        self._report = report
        self._close_seconds = close_seconds
        self._lanes: dict[str, TargetLane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        # When lanes are to be looked at; also times that are out of date.
        self._times: list[tuple[float, int, TargetLane]] = []
        self._numbers = itertools.count()
        self._stopped = True

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to deliver; what had to wait in a former process is tried at once."""
        self._stopped = False
        try:
            await self._deliveries.release(self._steady())
        except StoreError as error:
            self._warn(f"deliveries that failed wait for their time: {error}")
        found = await self._deliveries.targets()
        for begin in range(0, len(found), BEGUN_AT_ONCE):
            some = found[begin : begin + BEGUN_AT_ONCE]
            self.wake([item.target for item in some])
            for item in some:
                self._lanes[item.target].owed = item.count
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Begin nothing new, give what is on its way some time, then end."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._close_seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def owed(self) -> int:
        """How many messages are owed, as of the last look at each target."""
        return sum(lane.owed for lane in self._lanes.values())

    def waiting(self) -> dict[str, str]:
        """The targets that are left alone at the moment, and why."""
        return {lane.target: lane.reason for lane in self._lanes.values() if lane.reason}

    # --- what others tell ---------------------------------------------------------------------------------------

    def wake(self, targets: Iterable[str]) -> None:
        """Something new is owed to these targets, and is committed."""
        for target in targets:
            lane = self._lanes.get(target)
            if lane is None:
                lane = self._lanes[target] = TargetLane(target)
            lane.fresh = True
            self._work(lane)
            self._note_time(lane)
        self._set_timer()

    def redriven(self, targets: Iterable[str]) -> None:
        """Somebody has made due what is owed to these targets, or has dropped some of it: they are tried at once."""
        targets = frozenset(targets)
        for target in targets:
            if target in self._lanes:
                self._lanes[target].forget_failures()
        self.wake(targets)

    # --- lanes --------------------------------------------------------------------------------------------------

    def _work(self, lane: TargetLane) -> None:
        """Have a lane looked at, unless that happens already or it is too early."""
        if self._stopped or lane.task is not None:
            return
        lane.wake_at = lane.look_at
        if lane.wake_at <= self._steady():
            lane.wake_at = None
            lane.task = self._spawn(self._look(lane))
            lane.task.add_done_callback(lambda task: self._looked(lane, task))

    async def _look(self, lane: TargetLane) -> None:
        """Deliver what is due."""
        lane.fresh = False
        lane.looked_at = self._steady()
        try:
            await self._settle_sent(lane)
            obstacle = self._courier.obstacle(lane.target)
            lane.parked = bool(obstacle)
            if obstacle:
                await self._park(lane, obstacle)
            else:
                await self._drain(lane)
            found = await self._deliveries.target(lane.target)
        except StoreError as error:
            self._store_failed(lane, error)
        else:
            lane.plan(found)

    def _looked(self, lane: TargetLane, task: asyncio.Task[None]) -> None:
        lane.task = None
        if not task.cancelled() and task.exception() is not None:
            # Nothing of it is lost; it is tried again as if the target had failed.
            self._stall(lane, after_target_failure(lane.health), "an unexpected failure, see the log of the service")
            lane.wake_at = lane.resume_at
        if lane.fresh:
            self._work(lane)
        elif lane.wake_at is None:
            self._lanes.pop(lane.target, None)
        self._note_time(lane)
        self._set_timer()

    async def _drain(self, lane: TargetLane) -> None:
        while not self._stopped and lane.is_open(self._steady()):
            page = await self._deliveries.due(lane.target, self._steady(), PAGE)
            if not page:
                return
            while page and not self._stopped and lane.is_open(self._steady()):
                count = lane.at_once
                # All of them end before an error counts: none may be under way twice.
                ends = await asyncio.gather(
                    *(self._deliver(lane, delivery) for delivery in page[:count]), return_exceptions=True
                )
                for error in ends:
                    if error is not None:
                        raise error
                del page[:count]

    async def _park(self, lane: TargetLane, reason: str) -> None:
        """Tell every message once why it waits; that costs nothing more until something new comes."""
        self._note_reason(lane, reason)
        while not self._stopped:
            page = await self._deliveries.after(lane.target, lane.place, PAGE)
            if not page:
                return
            failures = [self._failure(item, reason, item.due_at) for item in page if item.reason != reason]
            if failures:
                await self._deliveries.failed(failures)
            lane.place = (page[-1].due_at, page[-1].delivery_id)

    # --- one delivery -------------------------------------------------------------------------------------------

    async def _deliver(self, lane: TargetLane, delivery: OwedDelivery) -> None:
        def keep(history: Sequence[Transition]) -> None:
            lane.unsettled[delivery.delivery_id] = (delivery, history)

        health = lane.health
        try:
            await self._courier.deliver(delivery, doubtful=not health.is_good, late=keep)
        except SentNotSettledError as error:
            keep(error.history)
            raise error.error from None
        except MessageRefusedError as error:
            await self._failed(lane, delivery, after_refusal(lane.health, delivery.attempts), reason_of(error))
        except DeliveryError as error:
            # Those that were sent together have failed together: that counts once.
            await self._failed(lane, delivery, after_target_failure(health), reason_of(error))
        except StoreError:
            raise
        except Exception as error:
            # No message may hold up those behind it.
            self._report(error)
            reason = "an unexpected failure, see the log of the service"
            await self._failed(lane, delivery, after_refusal(lane.health, delivery.attempts), reason)
        else:
            lane.recovered()

    async def _failed(self, lane: TargetLane, delivery: OwedDelivery, retry: Retry, reason: str) -> None:
        due_at = self._steady() + retry.message_delay_seconds
        self._stall(lane, retry, reason)
        await self._deliveries.failed([self._failure(delivery, reason, due_at)])

    def _failure(self, delivery: OwedDelivery, reason: str, due_at: float) -> FailedDelivery:
        lines = []
        if is_noted(delivery.attempts, delivery.reason, reason):
            lines = [Transition(self._wall(), DELIVERY_FAILED, as_text(described(delivery) | {"reason": reason}))]
        return FailedDelivery(delivery, due_at, reason, lines)

    async def _settle_sent(self, lane: TargetLane) -> None:
        """What has left but could not be settled is settled, not sent again."""
        for delivery, history in list(lane.unsettled.values()):
            await self._deliveries.delivered(delivery, history)
            lane.unsettled.pop(delivery.delivery_id, None)

    # --- how a target fares -------------------------------------------------------------------------------------

    def _stall(self, lane: TargetLane, retry: Retry, reason: str) -> None:
        lane.failed(retry, self._steady())
        if retry.target_delay_seconds:
            self._note_reason(lane, reason)

    def _note_reason(self, lane: TargetLane, reason: str) -> None:
        if reason != lane.reason:
            lane.reason = reason
            self._warn(f"what is owed to {lane.target} waits: {reason}")

    def _store_failed(self, lane: TargetLane, error: StoreError) -> None:
        if isinstance(error, StoreBusyError | StoreDiskError | StoreFullError):
            self._stall(lane, after_target_failure(lane.health), f"the store does not take it: {error}")
            lane.wake_at = lane.resume_at
        elif not self._stopped:
            # Whatever was sent now would be sent again by the next process.
            self._stopped = True
            self._warn(f"nothing is delivered any more until a restart: {error}")

    # --- tasks and time -----------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._report_failure)
        return task

    def _report_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error)

    def _note_time(self, lane: TargetLane) -> None:
        """See to it that a lane is looked at in time."""
        at = lane.wake_at
        if at is not None and at != lane.timed_at and lane.task is None and at < float("inf"):
            lane.timed_at = at
            heapq.heappush(self._times, (at, next(self._numbers), lane))

    def _set_timer(self) -> None:
        """One timer, for the lane that is to be looked at first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop_old_times()
        if not self._stopped and self._times:
            self._timer = self._loop.call_later(max(0.0, self._times[0][0] - self._steady()), self._ripen)

    def _drop_old_times(self) -> None:
        while self._times:
            at, _, lane = self._times[0]
            if lane.wake_at == at and lane.task is None and self._lanes.get(lane.target) is lane:
                return
            self._pop_time()

    def _pop_time(self) -> TargetLane:
        at, _, lane = heapq.heappop(self._times)
        if lane.timed_at == at:
            lane.timed_at = None
        return lane

    def _ripen(self) -> None:
        now = self._steady()
        self._drop_old_times()
        while self._times and self._times[0][0] <= now:
            lane = self._pop_time()
            self._work(lane)
            self._note_time(lane)
            self._drop_old_times()
        self._set_timer()
