"""What the invocation path needs from the other parts of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from venturekit.service.api.errors import ApiError
    from venturekit.service.invocation.concurrency import Concurrency
    from venturekit.service.invocation.invocation import Invocation
    from venturekit.service.invocation.invoke import Target


class Pool(Protocol):
    """Runs invocations of one function version."""

    def submit(self, invocation: Invocation) -> None:
        """Take the invocation; exactly one of its ``settle`` and ``reject`` will be called."""


class Resolved(Protocol):
    """What a function name and qualifier stand for at this moment."""

    @property
    def account_id(self) -> str:
        """The account that the function belongs to."""

    @property
    def function_name(self) -> str:
        """The function's name alone."""

    @property
    def qualifier(self) -> str:
        """The version or alias that was addressed, empty if none was."""

    @property
    def invoked_arn(self) -> str:
        """The ARN as the caller addressed the function."""

    @property
    def executed_version(self) -> str:
        """``$LATEST`` or the number of the version that runs."""

    @property
    def recursion_allowed(self) -> bool:
        """Whether the function runs on in a loop of invocations, which is otherwise stopped."""

    @property
    def lasting(self) -> bool:
        """Whether the same address means the same until a function changes (false for a weighted alias)."""

    @property
    def pool(self) -> Pool:
        """The environments of that version. Raises ApiError when it cannot run (state, runtime, tenant)."""

    @property
    def concurrency(self) -> Concurrency:
        """What counts the running invocations of that version."""

    @property
    def tenant_id(self) -> str:
        """The tenant that it is for, empty for none."""

    def check_tenant(self) -> None:
        """Raise ApiError where the function keeps tenants apart and this is for none."""

    def of_tenant(self, tenant_id: str) -> Resolved:
        """The same for a tenant. Raises ApiError where the function does not keep tenants apart."""


class Caller(Protocol):
    """Whoever sent a request: what they may invoke is theirs alone, and so are the addresses that were resolved."""

    @property
    def targets(self) -> dict[bytes, Target]:
        """Addresses that this caller was found to be allowed to invoke."""

    @property
    def writes_json(self) -> bool:
        """Whether its payloads are known to be JSON."""

    def resolve(self, operation: str, members: Mapping[str, Any]) -> Resolved:
        """What the members of an invocation address. Raises ApiError: no such function, not authorized, ..."""


class EventQueue(Protocol):
    """Takes events of asynchronous invocations."""

    def put(
        self,
        *,
        account_id: str,
        function_name: str,
        qualifier: str,
        request_id: str,
        payload: bytes | bytearray,
        trace: str,
        done: Callable[[ApiError | None], None],
        tenant_id: str = "",
    ) -> None:
        """Accept an event; ``done`` is called once it is durable (None), or with why it is not.

        Raises ApiError (429) when the queue is full.
        """
