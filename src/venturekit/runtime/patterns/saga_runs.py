"""Sagas: work in steps over several functions, that ends either done or undone, also after a crash.

Source: the saga guide: ``saga(name, steps, { store })``, ``run``; what it leaves open is said in the docstrings.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime import environ
from venturekit.runtime.middleware.base import is_async
from venturekit.runtime.patterns.driving import AsyncStoreError, adrive, drive
from venturekit.runtime.patterns.saga_context import context_of_text, fingerprint_of, text_of_context
from venturekit.runtime.patterns.saga_definition import Definition
from venturekit.runtime.patterns.saga_errors import SagaIdInUseError, SagaNotFoundError, SagaRecordError
from venturekit.runtime.patterns.saga_flow import (
    KEEP_SECONDS,
    STATE_KEY,
    Run,
    Settings,
    check_resumable,
    ended,
    log_line,
    store_id,
)
from venturekit.runtime.patterns.saga_record import LISTED, UNFINISHED, SagaRecord, SagaResult, SagaStatus
from venturekit.runtime.patterns.saga_stores import create_default_saga_store
from venturekit.runtime.patterns.saga_workers import AsyncWorker, BlockingWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from venturekit.runtime.patterns.records import Record, RecordPage, RecordStore
    from venturekit.runtime.patterns.saga_definition import SagaGroup, SagaStep
    from venturekit.runtime.patterns.saga_flow import Worker

    Steps = Iterable[SagaStep | SagaGroup | Mapping[str, Any]]

MAX_ID_LENGTH: Final = 256
_PAGE: Final = 100


class SagaPage(NamedTuple):
    """Some of the sagas that were looked for. ``after`` is where the next page begins, None behind the last one."""

    records: list[SagaRecord]
    after: str | None


class Saga:
    """What ``saga()`` makes. Every method has an asynchronous twin, ``arun`` for ``run``, for asynchronous steps and
    stores; both kinds of steps may be mixed in it.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        *,
        store: RecordStore | None = None,
        lease_seconds: float | None = None,
        keep_seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.definition = Definition(name, steps)
        for what, seconds in (("lease_seconds", lease_seconds), ("keep_seconds", keep_seconds)):
            if seconds is not None and seconds <= 0:
                raise ValueError(f"{what} is more than 0, and not {seconds}")
        if store is not None and not callable(getattr(store, "write", None)):
            raise TypeError(f"{store!r} is no store of records: create_sqlite_saga_store() and its like make one")
        self._store = store
        self._lock = allocate_lock()
        self._lease_seconds = lease_seconds
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._asynchronous = next(
            (one.name for one in self.definition.steps if is_async(one.execute) or is_async(one.compensate)), None
        )

    @property
    def name(self) -> str:
        """The name, which its records, its idempotency keys and its logs have."""
        return self.definition.name

    @property
    def store(self) -> RecordStore:
        """Where its records are."""
        if self._store is None:
            # Threads that begin at the same time must not have a store each.
            with self._lock:
                if self._store is None:
                    self._store = create_default_saga_store()
        return self._store

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, context: Any = None, id: str | None = None) -> SagaResult:
        """Run the saga to its end, and say how it ended::

            result = order_saga.run({"orderId": "42"}, id="order-42")
            if not result.success:
                print(result.record.error)

        A step that fails is a result: ``success`` is False, and what was done is undone. With an ``id`` a saga begins
        once: the same call again goes on with it where it stopped, or gives its known result. Without one it gets a
        new id, ``result.record.id``.

        Raises SagaCompensationError when it could not be undone, SagaSuspendedError when the function's time does not
        allow the next step, SagaBusyError when somebody else runs it, SagaContextError for a context that is no JSON
        object (before anything has run), SagaIdInUseError when the id has begun with another context, SagaChangedError
        when the steps were others then, AsyncStoreError for what needs ``arun``, and what a store that is down raises;
        then it goes on when it is resumed.
        """
        self._check_blocking("arun")
        return drive(self._started(context, id, BlockingWorker()), instead="await saga.arun(context)")

    async def arun(self, context: Any = None, id: str | None = None) -> SagaResult:
        """The same within an event loop. Cancelled, it stops where it is, to be resumed."""
        return await adrive(self._started(context, id, AsyncWorker()))

    def resume(self, id: str, *, retry_failed: bool = False) -> SagaResult:
        """Go on with a saga where it stopped: after a crash, a timeout, or an error of the store.

        What may have run when it stopped runs again: every step at least once, none is left out. One that has ended
        gives its known result; ``retry_failed`` tries the compensations of a failed one again, when what kept them
        from succeeding is repaired. Raises SagaNotFoundError, and what ``run`` raises.
        """
        self._check_blocking("aresume")
        return drive(self._resumed(id, retry_failed, BlockingWorker()), instead="await saga.aresume(id)")

    async def aresume(self, id: str, *, retry_failed: bool = False) -> SagaResult:
        """The same within an event loop."""
        return await adrive(self._resumed(id, retry_failed, AsyncWorker()))

    def _check_blocking(self, instead: str) -> None:
        if self._asynchronous is not None:
            raise AsyncStoreError(
                f"the step {self._asynchronous!r} of the saga {self.name!r} is asynchronous: use await saga.{instead}()"
            )

    def _started(self, context: Any, id: str | None, worker: Worker) -> Generator[Any, Any, SagaResult]:
        known_id = None if id is None else checked_id(self.name, id)
        initial = context_of_text(text_of_context({} if context is None else context))
        fingerprint = fingerprint_of(initial)
        settings = self._settings()
        if known_id is not None:
            found = yield from self._read(known_id, settings)
            if found is not None:
                return (yield from self._known(found, fingerprint, settings, worker))
        now = settings.clock()
        new_id = known_id or environ.new_request_id()
        outline = self.definition.outline()
        record = SagaRecord(new_id, self.name, outline, initial, fingerprint=fingerprint, now=now)
        return (yield from Run(settings, record, 0, worker).flow())

    def _known(
        self, found: tuple[SagaRecord, int], fingerprint: str, settings: Settings, worker: Worker
    ) -> Generator[Any, Any, SagaResult]:
        record, _ = found
        if record.fingerprint != fingerprint:
            raise SagaIdInUseError(
                f"a saga {self.name!r} with the id {record.id!r} began with another context: use another id, or the "
                f"same context; resume({record.id!r}) goes on with the one that there is"
            )
        return (yield from self._continued(found, settings, worker, retry_failed=False))

    def _resumed(self, id: str, retry_failed: bool, worker: Worker) -> Generator[Any, Any, SagaResult]:
        settings = self._settings()
        found = yield from self._read(checked_id(self.name, id), settings)
        if found is None:
            raise SagaNotFoundError(
                f"no saga {self.name!r} has the id {id!r}: it was never begun in this store, or ended longer ago than "
                f"records are kept ({self._keep_seconds / 86_400:g} days)"
            )
        return (yield from self._continued(found, settings, worker, retry_failed=retry_failed))

    def _continued(
        self, found: tuple[SagaRecord, int], settings: Settings, worker: Worker, *, retry_failed: bool
    ) -> Generator[Any, Any, SagaResult]:
        record, version = found
        again = retry_failed and record.status is SagaStatus.FAILED
        if record.is_finished and not again:
            return ended(record)
        check_resumable(settings, record)
        run = Run(settings, record, version, worker)
        if again:
            run.retry_compensations()
        return (yield from run.flow())

    # --- looking --------------------------------------------------------------------------------------------------

    def get(self, id: str) -> SagaRecord | None:
        """The record of a saga, or None. Raises SagaRecordError, and what the store raises."""
        return drive(self._got(id), instead="await saga.aget(id)")

    async def aget(self, id: str) -> SagaRecord | None:
        """The same within an event loop."""
        return await adrive(self._got(id))

    def find(self, status: str = "failed", *, limit: int = _PAGE, after: str | None = None) -> SagaPage:
        """Sagas of this name that are ``running``, ``compensating`` or ``failed``, in the order of their ids.

        Those that have ended well are not listed, but known by their id. What cannot be read is logged and passed over.
        Raises ValueError, what the store raises.
        """
        return drive(self._found(status, limit, after), instead="await saga.afind(status)")

    async def afind(self, status: str = "failed", *, limit: int = _PAGE, after: str | None = None) -> SagaPage:
        """The same within an event loop."""
        return await adrive(self._found(status, limit, after))

    def stuck(self, older_than_seconds: float = 300.0, limit: int = 100) -> list[SagaRecord]:
        """Sagas that have not ended, were not written for so long, and are run by nobody: to be resumed. One that
        cannot go on, because it was begun by other steps for example, must not keep the others from it. Of those that
        it comes across, ``limit`` at least, it gives the ones that have waited longest, at most ``limit``::

        for record in order_saga.stuck():
            try:
                order_saga.resume(record.id)
            except SagaError as problem:
                logger.error("the order cannot go on", order=record.id, error=problem)
        """
        return drive(self._stuck(older_than_seconds, limit), instead="await saga.astuck()")

    async def astuck(self, older_than_seconds: float = 300.0, limit: int = 100) -> list[SagaRecord]:
        """The same within an event loop."""
        return await adrive(self._stuck(older_than_seconds, limit))

    def _got(self, id: str) -> Generator[Any, Any, SagaRecord | None]:
        found = yield from self._read(checked_id(self.name, id), self._settings())
        return None if found is None else found[0]

    def _found(self, status: str, limit: int, after: str | None) -> Generator[Any, Any, SagaPage]:
        if status not in LISTED:
            raise ValueError(f"{', '.join(LISTED)} sagas are listed, and not {status!r}: get(id) knows all of them")
        state = f"{self.name}#{SagaStatus(status).value}"
        page: RecordPage = yield self.store.find(STATE_KEY, state, self._clock(), limit=limit, after=after)
        return SagaPage([saga for record in page.records for saga in _readable(record)], page.after)

    def _stuck(self, older_than_seconds: float, limit: int) -> Generator[Any, Any, list[SagaRecord]]:
        if older_than_seconds < 0 or limit < 1:
            raise ValueError("older_than_seconds is at least 0, limit at least 1")
        now = self._clock()
        stuck: list[SagaRecord] = []
        for status in UNFINISHED:
            after: str | None = None
            while True:
                page = yield from self._found(status, _PAGE, after)
                for record in page.records:
                    is_leased = record.lease_until is not None and record.lease_until > now
                    # A list may be older than what it lists, which by now has ended.
                    if not record.is_finished and not is_leased and record.updated_at <= now - older_than_seconds:
                        stuck.append(record)
                after = page.after
                if after is None or len(stuck) >= limit:
                    break
        # One that ends its process each time has its turn when the others have had theirs.
        return sorted(stuck, key=lambda record: record.updated_at)[:limit]

    def _read(self, id: str, settings: Settings) -> Generator[Any, Any, tuple[SagaRecord, int] | None]:
        record: Record | None = yield settings.store.read(store_id(self.name, id), settings.clock())
        if record is None:
            return None
        found = _saga_of(record)
        if (found.name, found.id) != (self.name, id):
            raise SagaRecordError(
                f"what is stored under {record.id!r} is the saga {found.name!r} with the id {found.id!r}"
            )
        return found, record.version

    def _settings(self) -> Settings:
        return Settings(self.definition, self.store, self._lease_seconds, self._keep_seconds, self._clock)

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, {len(self.definition.steps)} steps)"


def saga(
    name: str,
    steps: Steps,
    *,
    store: RecordStore | None = None,
    lease_seconds: float | None = None,
    keep_seconds: float = KEEP_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Saga:
    """Work in steps that ends either done or undone::

        order_saga = saga(
            "order",
            [
                step("reserve", reserve_stock, release_stock),
                step("pay", charge_card, refund_card, retries=2, timeout_ms=5000),
                {"name": "ship", "execute": ship_order},
            ],
        )
        result = order_saga.run({"orderId": "42"})

    When a step fails for good, the steps before it are compensated, the last one first; it itself too if it may have
    done its work, because it did not end in time or its connection broke. A compensation is tried three times, after
    1 and 2 seconds; the others still run. How far it has come is written to the ``store`` before and after each step,
    so that ``resume(id)`` can go on with it. Calls by ``invoke()`` within a step carry an idempotency key that is made
    of saga, id and step, and is the same in each attempt.

    ``store``: without one that of ``create_default_saga_store()``. ``lease_seconds``: how long after its last sign of
    life a saga counts as running, so that nobody else goes on with it; without it what the function's own time leaves,
    a minute elsewhere, and never less than the ``timeout_ms`` of the step that runs. A step that takes longer than that
    may be run a second time beside the first by whoever resumes it. ``keep_seconds``: how long the records of sagas are
    kept that have ended well, 30 days; failed ones are kept until somebody deletes them. ``clock`` gives epoch seconds.

    Raises SagaDefinitionError, ValueError, TypeError. Source: the saga guide, ``saga``.
    """
    return Saga(name, steps, store=store, lease_seconds=lease_seconds, keep_seconds=keep_seconds, clock=clock)


def checked_id(name: str, id: Any) -> str:
    """The id of a saga. Raises ValueError."""
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_LENGTH or not id.isprintable():
        raise ValueError(f"the id of a saga is a text of 1 to {MAX_ID_LENGTH} printable characters, not {id!r:.300}")
    if len(store_id(name, id).encode()) > 1024:
        raise ValueError(
            f"the id of a saga has 1,024 bytes at most with the saga's name before it: {id!r:.100} has more"
        )
    return id


def _saga_of(record: Record) -> SagaRecord:
    return SagaRecord.from_dict(record.value, record.id)


def _readable(record: Record) -> list[SagaRecord]:
    """The saga of a list: one that a later version has written must not keep the others from being found."""
    try:
        return [_saga_of(record)]
    except SagaRecordError as problem:
        log_line("error", "a saga that is listed cannot be read", {"recordId": record.id}, problem)
        return []
