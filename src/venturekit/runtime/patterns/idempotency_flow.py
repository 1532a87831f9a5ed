"""What happens around a call that takes effect once. No clock, no randomness, no waiting: all are arguments.

    nothing ──claimed──► pending ──finished──► completed: replayed until its end
       ▲                  │   └──its time is over──► pending for whoever claims it next
       └─────failed───────┘

A claim is a conditional write, and so is everything that its owner writes afterwards: with the version that it has
seen. For that to tell owners apart a version must not come twice. A store begins anew with 1 when a record has gone,
so a record stays longer than it means anything (``until`` is when that ends), and only the first owner, which nobody
can have followed, deletes it; later ones mark it as released.

Source: the idempotency guide for the states; the rest is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.errors import ServiceUnavailableError, TaskError, TaskTimeoutError, VentureError
from venturekit.runtime.patterns.driving import AsyncStoreError
from venturekit.runtime.patterns.idempotency_errors import IdempotencyKeyReusedError, IdempotencyPendingError
from venturekit.runtime.patterns.record_checks import ForeignRecordError, RecordValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from venturekit.runtime.patterns.records import Record, RecordStore

    Flow = Generator[Any, Any, Any]

PENDING: Final = "pending"
COMPLETED: Final = "completed"
RELEASED: Final = "released"

TTL_SECONDS: Final = 86_400.0
LONGEST_SECONDS: Final = 900.0
"""What a call may take where nobody says: the longest time that Lambda gives a function."""
GUARD_SECONDS: Final = 3600.0
"""How long a record outlives its meaning at least, and an owner whose time is over may still try to write it."""
FIRST_DELAY_SECONDS: Final = 0.05
LONGEST_DELAY_SECONDS: Final = 1.0
MARGIN_MS: Final = 100
_ROUNDS: Final = 100
UNKEPT: Final[Any] = object()
"""Given for a result that is not to be kept: the next call runs."""
PROBLEM: Final = "problem"
"""What is kept of a result that cannot be: why."""
_FAR_SECONDS: Final = 1e10
_NOT_OF_THE_STORE: Final = (VentureError, TaskError, AsyncStoreError)


class Claim(NamedTuple):
    """This call is the one that runs; ``until`` is when others may take it to be dead, in epoch seconds."""

    version: int
    until: float


class Kept(NamedTuple):
    """An earlier call has run: what was kept of its result."""

    result: Any


class Call:
    """One call with a key. ``owner`` is unique to it; ``remaining_ms`` tells how long it may still take."""

    __slots__ = ("fingerprint", "id", "is_in_doubt", "owner", "remaining_ms")

    def __init__(self, id: str, fingerprint: str, owner: str, remaining_ms: Callable[[], float]) -> None:
        self.id = id
        self.fingerprint = fingerprint
        self.owner = owner
        self.remaining_ms = remaining_ms
        # Whether a claim was sent, and nothing was heard of it.
        self.is_in_doubt = False


class Idempotency:
    """The rules of one function or handler. ``clock`` gives epoch seconds, ``log`` takes level, message and fields.

    Raises ValueError for rules that cannot hold.
    """

    __slots__ = ("clock", "log", "pending_seconds", "runs_without_store", "store", "ttl_seconds", "waits")

    def __init__(
        self,
        store: RecordStore,
        *,
        ttl_seconds: float,
        pending_seconds: float | None,
        on_pending: str,
        on_store_error: str,
        clock: Callable[[], float],
        log: Callable[[str, str, Mapping[str, Any]], None],
    ) -> None:
        for seconds in (ttl_seconds, pending_seconds):
            if seconds is not None and not 0 < seconds < _FAR_SECONDS:
                raise ValueError(f"ttl_seconds and pending_seconds are more than 0, and no {seconds}")
        if on_pending not in ("conflict", "wait"):
            raise ValueError(f"on_pending is 'conflict' or 'wait', and not {on_pending!r}")
        if on_store_error not in ("refuse", "run"):
            raise ValueError(f"on_store_error is 'refuse' or 'run', and not {on_store_error!r}")
        if not callable(getattr(store, "write", None)) or not callable(getattr(store, "read", None)):
            raise TypeError(f"{store!r} is no store of records: it has no read() and write()")
        self.store = store
        self.ttl_seconds = ttl_seconds
        self.pending_seconds = pending_seconds
        self.waits = on_pending == "wait"
        self.runs_without_store = on_store_error == "run"
        self.clock = clock
        self.log = log

    def around(
        self,
        call: Call,
        run: Callable[[], Any],
        *,
        dump: Callable[[Any], Any],
        replay: Callable[[Any], Any],
        pause: Callable[[float], Any],
    ) -> Flow:
        """The result of ``run``, or of an earlier one: yields what the store gives, what ``run`` gives and pauses.

        ``dump`` makes of a result what is kept, ``UNKEPT`` if nothing should be; ``replay`` the reverse. Raises
        IdempotencyPendingError, IdempotencyKeyReusedError, ServiceUnavailableError, and what ``run`` raises.
        """
        try:
            found = yield from self._claimed(call, pause)
        except (AsyncStoreError, GeneratorExit, IdempotencyPendingError, IdempotencyKeyReusedError):
            raise
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, _NOT_OF_THE_STORE):
                # A time limit, or a cancellation: nothing will run, so nobody has to wait for it.
                yield from self._withdrawn(call)
                raise
            self._without_store(error)
            return (yield run())
        if isinstance(found, Kept):
            return replay(found.result)
        try:
            result = yield run()
            kept = dump(result)
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._given_up(call, found)
            raise
        if kept is UNKEPT:
            yield from self._given_up(call, found)
        else:
            yield from self._completed(call, found, kept)
        return result

    # --- before ---------------------------------------------------------------------------------------------------

    def _claimed(self, call: Call, pause: Callable[[float], Any]) -> Generator[Any, Any, Claim | Kept]:
        delay, version, troubles = FIRST_DELAY_SECONDS, 0, 0
        # Time to wait is counted by what was waited: the wall clock may jump.
        patience = min(call.remaining_ms() - MARGIN_MS, LONGEST_SECONDS * 1000) / 1000 if self.waits else 0.0
        may_claim = True
        for _round in range(_ROUNDS + int(patience / FIRST_DELAY_SECONDS)):
            if may_claim:
                try:
                    claim = yield from self._claim(call, version)
                except _NOT_OF_THE_STORE:
                    raise
                except Exception:
                    # It may have been written all the same: the record tells whose it is.
                    troubles += 1
                    if troubles > 1:
                        raise
                    claim = None
                if claim is not None:
                    return claim
            record = yield self.store.read(call.id, self.clock())
            found = judge(record, call, self.clock())
            if found is not None and not isinstance(found, int):
                return found
            may_claim = found is not None
            if found is not None:
                version = found
                continue
            # A store may be slow as well, and what is left is known better by whoever ends the call.
            if min(patience, (call.remaining_ms() - MARGIN_MS) / 1000) < delay:
                break
            yield pause(delay)
            patience -= delay
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)
        raise IdempotencyPendingError()

    def _claim(self, call: Call, version: int) -> Generator[Any, Any, Claim | None]:
        now = self.clock()
        until = now + min(self.pending_seconds or LONGEST_SECONDS, max(call.remaining_ms(), 1) / 1000)
        value = {"status": PENDING, "fingerprint": call.fingerprint, "owner": call.owner, "until": until}
        call.is_in_doubt = True
        won = yield self.store.write(call.id, value, now, version=version, expires_at=until + GUARD_SECONDS)
        call.is_in_doubt = False
        return Claim(version + 1, until) if won else None

    def _withdrawn(self, call: Call) -> Flow:
        """Free the key, if this call has claimed it without having been told."""
        if not call.is_in_doubt:
            return
        try:
            claim = judge((yield self.store.read(call.id, self.clock())), call, self.clock())
            if isinstance(claim, Claim):
                yield from self._given_up(call, claim)
        except Exception:
            # What has cut it off is what is raised.
            return

    def _without_store(self, error: Exception) -> None:
        fields = _told(error)
        if not self.runs_without_store:
            self.log("error", "the idempotency store is down: the call is refused", fields)
            raise ServiceUnavailableError("The idempotency store") from error
        self.log("warn", "the idempotency store is down: the call runs, maybe not for the first time", fields)

    # --- after ----------------------------------------------------------------------------------------------------

    def _completed(self, call: Call, claim: Claim, kept: Any) -> Flow:
        value = {"status": COMPLETED, "fingerprint": call.fingerprint, "owner": call.owner, "result": kept}
        yield from self._settled(call, claim, value)

    def _given_up(self, call: Call, claim: Claim) -> Flow:
        value = None
        if claim.version > 1:
            value = {"status": RELEASED, "fingerprint": call.fingerprint, "owner": call.owner}
        yield from self._settled(call, claim, value)

    def _settled(self, call: Call, claim: Claim, value: dict[str, Any] | None) -> Flow:
        """Write how it ended, twice at most, and never over somebody else's record. None deletes it."""
        trouble: BaseException | None = None
        cut_off: BaseException | None = None
        is_settled = False
        for is_first in (True, False):
            try:
                is_settled = yield from self._try_to_settle(call, claim, value, is_first=is_first)
            except (AsyncStoreError, GeneratorExit):
                raise
            except RecordValueError as error:
                assert value is not None
                # It has run, and nothing is more important than that it does not run again.
                self.log("error", "the result of an idempotent call cannot be kept", _told(error))
                trouble, value = error, {**value, "result": {PROBLEM: str(error)}}
            except BaseException as error:
                # A time limit that ends here has the last word, but the call has run and should be known to have.
                trouble = error
                cut_off = cut_off if isinstance(error, Exception) else error
            else:
                trouble = None
                break
        if not is_settled:
            self._log_unsettled(trouble, value)
        if cut_off is not None:
            raise cut_off
        if isinstance(trouble, TaskTimeoutError | VentureError):
            raise trouble

    def _try_to_settle(
        self, call: Call, claim: Claim, value: dict[str, Any] | None, *, is_first: bool
    ) -> Generator[Any, Any, bool]:
        """Whether it is known how the call ended; False if the record is somebody else's by now."""
        now = self.clock()
        if now > claim.until + GUARD_SECONDS:
            return False
        if not is_first and not (yield from self._is_pending_still(call, now)):
            return True
        return bool((yield self._settle(call, claim, value, now)))

    def _settle(self, call: Call, claim: Claim, value: dict[str, Any] | None, now: float) -> Any:
        if value is None:
            return self.store.delete(call.id, now, version=claim.version)
        until = now + self.ttl_seconds
        # A replay that is over is nothing, but the versions before it go on being told apart.
        expires_at = max(until, now + GUARD_SECONDS)
        return self.store.write(call.id, {**value, "until": until}, now, version=claim.version, expires_at=expires_at)

    def _is_pending_still(self, call: Call, now: float) -> Generator[Any, Any, bool]:
        """Whether the record is still as this call has claimed it, after an answer of the store was lost."""
        record: Record | None = yield self.store.read(call.id, now)
        return record is not None and record.value.get("owner") == call.owner and record.value.get("status") == PENDING

    def _log_unsettled(self, trouble: BaseException | None, value: dict[str, Any] | None) -> None:
        if trouble is not None:
            self.log("error", "the idempotency store is down: how the call ended is not known there", _told(trouble))
        elif value is not None and value["status"] == COMPLETED:
            self.log("warn", "the call took longer than it may, and another one has run: its result is not kept", {})


def judge(record: Record | None, call: Call, now: float) -> Kept | Claim | int | None:
    """What a record means for a call: the kept result, its own claim, or the version over which it may be claimed.

    None: somebody else's call is running. Raises IdempotencyKeyReusedError, ForeignRecordError.
    """
    if record is None:
        return 0
    value = record.value
    status, until = value.get("status"), value.get("until")
    if status not in (PENDING, COMPLETED, RELEASED) or not isinstance(until, int | float):
        raise ForeignRecordError(
            f"the record {record.id!r} was not written by an idempotent call: give it its own store"
        )
    if status == PENDING and value.get("owner") == call.owner:
        return Claim(record.version, until)
    if status == RELEASED or until <= now:
        return record.version
    if value.get("fingerprint") != call.fingerprint:
        raise IdempotencyKeyReusedError()
    return Kept(value.get("result")) if status == COMPLETED else None


def _told(error: BaseException) -> dict[str, str]:
    return {"errorType": type(error).__name__, "errorMessage": str(error)}
