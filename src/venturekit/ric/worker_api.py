"""The Runtime API as the workers of one execution environment use it, and as their parent does.

To a worker nothing that the Runtime API answers is the end: a result that is refused is logged, a next event that
cannot be had is asked for again.
"""

from __future__ import annotations

import logging
import select
import time

from .client import Invocation, RuntimeApiClient
from .connection import Connection
from .faults import ApiGoneError, ConnectionLostError, RequestRefusedError, RuntimeApiError
from .worker_ends import EXIT_ERROR
from .worker_table import API_GONE, READY, REFUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .http1 import ResponseHead
    from .worker_table import WorkerSlot

NEXT_TRIES = 5
FIRST_DELAY_SECONDS = 0.1
REPORT_LIMIT_SECONDS = 5.0
_TIMED_OUT_STATUS = 410


class WatchedConnection(Connection):
    """A connection that does not wait longer than the parent lives.

    `lifeline` is the read end of a pipe whose other end the parent alone has.
    """

    __slots__ = ("_lifeline", "_poll", "is_orphaned")

    def __init__(self, address: str, lifeline: int) -> None:
        super().__init__(address)
        self.is_orphaned = False
        self._lifeline = lifeline
        self._poll = select.poll()
        self._poll.register(lifeline, 0)

    def open(self) -> None:
        super().open()
        self._poll.register(self.descriptor, select.POLLIN)

    def close(self) -> None:
        if self.is_open:
            self._poll.unregister(self.descriptor)
        super().close()

    def _receive_first(self) -> bytes:
        if any(descriptor == self._lifeline for descriptor, _event in self._poll.poll()):
            self.is_orphaned = True
            raise ApiGoneError("the parent of this worker has ended")
        return super()._receive_first()


class WorkerApiClient(RuntimeApiClient):
    """What one worker asks for and posts, over one connection of its own. It keeps its slot up to date."""

    __slots__ = ("_slot", "_watched")

    def __init__(self, address: str, slot: WorkerSlot, lifeline: int) -> None:
        """Raises ProtocolError for an address that is not `host:port`."""
        super().__init__(address)
        self._slot = slot
        self._connection = self._watched = WatchedConnection(address, lifeline)

    def next(self) -> Invocation:
        """Wait for the first event. Raises RuntimeApiError when it cannot be had in NEXT_TRIES tries."""
        self._slot.enter(READY)
        try:
            return super().next()
        except RuntimeApiError as error:
            return self._try_again(error)

    def exchange(self, request: bytes) -> Invocation:
        """Post an answer and wait for the next event. Raises RuntimeApiError when that cannot be had."""
        try:
            return super().exchange(request)
        except RuntimeApiError as error:
            return self._try_again(error)

    def post_init_error(self, body: bytes, error_type: str) -> None:
        """Report that the function could not be initialised; another worker may have done so before."""
        self._slot.enter(REFUSED)
        try:
            super().post_init_error(body, error_type)
        except RequestRefusedError:
            pass

    def _try_again(self, error: RuntimeApiError) -> Invocation:
        delay_seconds = FIRST_DELAY_SECONDS
        for number in range(2, NEXT_TRIES + 1):
            self._connection.close()
            if self._watched.is_orphaned:
                break
            logging.warning("The Runtime API has failed, try %d of %d follows: %s", number, NEXT_TRIES, error)
            time.sleep(delay_seconds)
            delay_seconds *= 2
            try:
                return super().next()
            except RuntimeApiError as again:
                error = again
        if isinstance(error, ConnectionLostError):
            self._slot.enter(API_GONE)
            raise ApiGoneError(str(error)) from None
        raise error

    def _read_invocation(self) -> Invocation:
        invocation = super()._read_invocation()
        self._slot.take(invocation)
        return invocation

    def _read_next(self, acknowledgement: ResponseHead) -> Invocation:
        self._slot.enter(READY)
        return super()._read_next(acknowledgement)

    def _report_refusal(self, status: int) -> None:
        if status == _TIMED_OUT_STATUS:
            logging.warning("The result of this invocation came too late: its time was over.")
        else:
            logging.warning("The Runtime API refused the result of this invocation with HTTP status %d.", status)

    def _report_cut(self, error: ConnectionLostError) -> None:
        logging.warning("The result of this invocation was cut off: %s", error)


class PoolApiClient(RuntimeApiClient):
    """What the parent of the workers posts, each time over a connection of its own."""

    __slots__ = ()

    def post_exit_error(self, request_id: bytes, invocation_id: bytes, body: bytes) -> None:
        """Answer the invocation of a worker that has ended. Raises RuntimeApiError, after REPORT_LIMIT_SECONDS at most.

        RequestRefusedError may mean that the worker had answered before it ended.
        """
        headers = {b"lambda-runtime-aws-request-id": request_id, b"lambda-runtime-invocation-id": invocation_id}
        kind = b"Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: " + EXIT_ERROR.encode() + b"\r\n"
        request = self._post(Invocation(headers, b""), b"/error", body, kind)
        self._connection.open()
        try:
            self._connection.limit_waiting(REPORT_LIMIT_SECONDS)
            self._connection.send(request)
            head, answer = self._connection.read_response()
        finally:
            self._connection.close()
        if head.status >= 300:
            raise RequestRefusedError(f"the Runtime API answered with {head.status}: {bytes(answer[:200])!r}")
