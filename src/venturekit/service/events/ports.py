"""What asynchronous invocation needs from the other parts of the service; :mod:`venturekit.service.app` wires it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    from venturekit.service.events.attempt import Attempt
    from venturekit.service.events.retry import EventPolicy


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """It is not to come any more."""


class Loop(Protocol):
    """The event loop, as far as it is needed: a manual one drives hours of retries at once."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call in the next turn of the loop."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call after so many seconds."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the loop."""


class Pool(Protocol):
    """Runs invocations of one function version."""

    def submit(self, invocation: Attempt) -> None:
        """Take the invocation; exactly one of its ``settle`` and ``reject`` will be called."""

    @property
    def room(self) -> int:
        """How many more invocations would find an environment soon; zero or less while enough are waiting."""


class Concurrency(Protocol):
    """Counts the invocations of one function that run at once."""

    @property
    def reserved(self) -> int | None:
        """What the function has reserved, None for nothing."""

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


class EventTarget(Protocol):
    """What the function name and qualifier of an event stand for at this moment."""

    @property
    def invoked_arn(self) -> str:
        """The ARN as the caller addressed the function."""

    @property
    def executed_version(self) -> str:
        """``$LATEST`` or the number of the version that runs."""

    @property
    def timeout_seconds(self) -> int:
        """How long the function may run."""

    @property
    def concurrency(self) -> Concurrency:
        """What counts the function's running invocations."""

    @property
    def lasting(self) -> bool:
        """Whether the same name stands for the same until something is changed: not with a weighted alias."""

    @property
    def recursion_allowed(self) -> bool:
        """Whether the function runs on in a loop of invocations, which is otherwise stopped."""

    @property
    def policy(self) -> EventPolicy:
        """The event invoke configuration in force."""

    @property
    def pool(self) -> Pool:
        """The environments of that version. Raises ApiError when it cannot run (state, runtime, tenant)."""

    def of_tenant(self, tenant_id: str) -> EventTarget:
        """The same for a tenant's events. Raises ApiError where the function does not keep tenants apart."""


class Targets(Protocol):
    """Finds what events are for."""

    def arn(self, account_id: str, function_name: str, qualifier: str) -> str:
        """The ARN of a function, existing or not, with its qualifier (``$LATEST`` for the empty text)."""

    def resolve(self, account_id: str, function_name: str, qualifier: str) -> EventTarget:
        """What an event runs now. Raises ApiError: ResourceNotFoundException when the function is gone."""

    def concurrency(self, account_id: str, function_name: str) -> Concurrency:
        """What counts the running invocations of a function."""
