"""One try to run a queued event. Satisfies the port of the execution environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.protocol.tenants import tenant_header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.events.course import Course
    from venturekit.service.store.event_documents import ClaimedEvent


class Attempt:
    """An event on its way through an execution environment.

    ``began`` and ``lease_until`` are steady seconds. ``ended(attempt, payload, error)`` is called with what the
    function answered, ``refused(attempt, reason)`` when it was not run; one of the two, once.
    """

    __slots__ = (
        "_concurrency",
        "_ended",
        "_refused",
        "began",
        "enqueued",
        "event",
        "executed_version",
        "extra_headers",
        "invoked_arn",
        "lease_until",
        "payload",
        "policy",
        "request_id",
        "tail",
        "trace",
    )

    def __init__(
        self,
        event: ClaimedEvent,
        course: Course,
        *,
        trace: bytes,
        began: float,
        lease_until: float,
        ended: Callable[[Attempt, bytes | bytearray, bytes], None],
        refused: Callable[[Attempt, str], None],
    ) -> None:
        self.event = event
        self.request_id = event.request_id.encode()
        self.payload: bytes | bytearray = event.payload
        self.invoked_arn = course.invoked_arn
        self.executed_version = course.executed_version
        self.trace = trace
        self.policy = course.policy
        self.began = began
        self.lease_until = lease_until
        self.extra_headers = tenant_header(event.tenant_id)
        self.tail = False
        self.enqueued = 0.0
        self._concurrency = course.concurrency
        self._ended = ended
        self._refused = refused

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """The function's answer."""
        self._concurrency.release()
        self._ended(self, payload, error)

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        """A streamed response is collected."""
        return False

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        """Nothing is taken piece by piece."""
        raise NotImplementedError

    def reject(self, reason: str) -> None:
        """No execution environment could be had."""
        self._concurrency.release()
        self._refused(self, reason)
