"""What event source mappings need from the other parts of the service; ``service/asynchronous.py`` wires it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from venturekit.service.sources.invoking import BatchInvocation, Outcome
    from venturekit.service.sources.mapping import EventSourceMapping

T = TypeVar("T")


class QueueError(Exception):
    """A queue gave no answer; the text says why."""


class QueueRefusedError(QueueError):
    """The queue, or the service that it belongs to, answered with an error: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class QueueDescription:
    """What a poller has to know of a queue: how long a message that was received stays invisible."""

    visibility_seconds: int


class Queues(Protocol):
    """Queues by their ARNs. Every method blocks, so is for threads, and raises QueueError."""

    def describe(self, arn: str) -> QueueDescription:
        """Ask for a queue's attributes."""

    def receive(self, arn: str, count: int, wait_seconds: int) -> Sequence[Mapping[str, Any]]:
        """Up to ``count`` messages, with all of their attributes."""

    def delete(self, arn: str, receipt_handles: Sequence[str]) -> None:
        """Delete messages that are done."""

    def release(self, arn: str, receipt_handles: Sequence[str]) -> None:
        """Make messages visible again at once."""


@dataclass(frozen=True, slots=True)
class FunctionView:
    """What a poller knows of its function: how it was a moment ago.

    ``problem`` says why it cannot run, in which case only ``room`` means anything: how many more invocations of it
    could run now.
    """

    room: int
    problem: str = ""
    timeout_seconds: int = 0
    invoked_arn: str = ""
    recursion_allowed: bool = False


class MappedFunction(Protocol):
    """The function of one mapping, as its poller sees it."""

    async def look(self, *, anew: bool = False) -> FunctionView:
        """What it is; ``anew``: now, and not a moment ago."""

    async def invoke(self, payload: bytes, trace: bytes, *, answered: bool) -> Outcome:
        """Run it with an event; ``answered``: what it answers is looked at, and not only whether it does."""


class SourcePoller(Protocol):
    """What polls the queue of one mapping; ``mapping`` may be replaced at any time: the next batch goes by it."""

    mapping: EventSourceMapping

    @property
    def busy(self) -> bool:
        """Whether messages are being processed."""

    def stop(self) -> None:
        """Receive nothing more; what was received and is not being processed goes back to the queue."""

    def abandon(self) -> None:
        """Give up at once: what is being processed is not deleted and comes back."""

    async def rested(self) -> None:
        """Return when no messages are being processed: after ``stop``."""

    async def ended(self) -> None:
        """Return when nothing of it runs any more: after ``stop`` or ``abandon``."""


class Pollers(Protocol):
    """Makes pollers."""

    def poll(self, mapping: EventSourceMapping, told: Callable[[str], None]) -> SourcePoller:
        """Begin to poll. ``told(result)`` gets each processing result: ``OK`` or ``PROBLEM: …``."""

    async def describe(self, arn: str) -> QueueDescription:
        """Ask for a queue's attributes. Raises QueueError."""


class Pool(Protocol):
    """Runs invocations of one function version."""

    def submit(self, invocation: BatchInvocation) -> None:
        """Take the invocation; exactly one of its ``settle`` and ``reject`` will be called."""


class Concurrency(Protocol):
    """Counts the invocations of one function that run at once."""

    def take(self) -> bool:
        """Count one more; False when there is no room for it."""

    def release(self) -> None:
        """One has ended."""

    @property
    def room(self) -> int:
        """How many more could be counted now."""

    @property
    def exceeded(self) -> str:
        """Which limit it is that leaves no room."""


class BatchTarget(Protocol):
    """What a function name and qualifier stand for at this moment."""

    @property
    def invoked_arn(self) -> str:
        """The ARN as the mapping addresses the function."""

    @property
    def timeout_seconds(self) -> int:
        """How long the function may run."""

    @property
    def isolates_tenants(self) -> bool:
        """Whether it takes invocations for a tenant only."""

    @property
    def recursion_allowed(self) -> bool:
        """Whether the function runs on in a loop of invocations, which is otherwise stopped."""

    @property
    def concurrency(self) -> Concurrency:
        """What counts the function's running invocations."""

    @property
    def pool(self) -> Pool:
        """The environments of that version. Raises ApiError when it cannot run (state, runtime, tenant)."""


class Targets(Protocol):
    """Finds what batches are for."""

    def resolve(self, account_id: str, function_name: str, qualifier: str) -> BatchTarget:
        """What a batch runs now. Raises ApiError: ResourceNotFoundException when the function is gone."""

    def concurrency(self, account_id: str, function_name: str) -> Concurrency:
        """What counts the running invocations of a function."""


class Address(Protocol):
    """A function as a caller named it."""

    @property
    def name(self) -> str:
        """The bare name."""

    @property
    def qualifier(self) -> str | None:
        """The version or alias, if one was named."""


class Functions(Protocol):
    """The functions of one account."""

    region: str
    account_id: str

    def __contains__(self, name: object) -> bool:
        """Whether there is a function of this name."""

    def arn(self, name: str, qualifier: str | None = None) -> str:
        """The ARN of a function, existing or not."""

    def address(self, text: str, qualifier: str | None = None) -> Address:
        """The function that a caller means. Raises ApiError."""


class Account(Functions, Protocol):
    """The functions of one account, with news of them."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(function_name)`` after every change of a function, its versions or its aliases."""


class Tasks(Protocol):
    """Tasks with an owner."""

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, even if the caller is cancelled meanwhile."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start ``work``, which nobody waits for."""
