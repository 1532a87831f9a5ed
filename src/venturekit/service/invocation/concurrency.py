"""How many invocations run at once: per account, and per function where some of the account's are reserved.

Source: AWS Lambda Developer Guide, "Understanding Lambda function scaling" and "Configuring reserved concurrency".
"""

from __future__ import annotations

from typing import Final

ACCOUNT_EXCEEDED: Final = "ConcurrentInvocationLimitExceeded"
RESERVED_EXCEEDED: Final = "ReservedFunctionConcurrentInvocationLimitExceeded"


class FunctionConcurrency:
    """The invocations of one function that run or wait for an execution environment."""

    __slots__ = ("account", "reserved", "running")

    def __init__(self, account: AccountConcurrency) -> None:
        self.account = account
        self.reserved: int | None = None
        self.running = 0

    def take(self) -> bool:
        """Count one more invocation; False, counting nothing, when there is no room for it."""
        reserved = self.reserved
        if reserved is None:
            account = self.account
            if account.unreserved_running >= account.unreserved_limit:
                return False
            account.unreserved_running += 1
        elif self.running >= reserved:
            return False
        self.running += 1
        return True

    def release(self) -> None:
        """One invocation has ended. Called once for each :meth:`take` that succeeded."""
        self.running -= 1
        if self.reserved is None:
            self.account.unreserved_running -= 1

    @property
    def room(self) -> int:
        """How many more invocations :meth:`take` would count now."""
        if self.reserved is not None:
            return self.reserved - self.running
        return self.account.unreserved_limit - self.account.unreserved_running

    @property
    def exceeded(self) -> str:
        """The ``Reason`` of the throttle when :meth:`take` says no."""
        return ACCOUNT_EXCEEDED if self.reserved is None else RESERVED_EXCEEDED


class AccountConcurrency:
    """The invocations of one account: ``limit`` at once, less what functions have reserved for themselves."""

    __slots__ = ("_functions", "limit", "unreserved_limit", "unreserved_running")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.unreserved_limit = limit
        self.unreserved_running = 0
        self._functions: dict[str, FunctionConcurrency] = {}

    @property
    def running(self) -> int:
        """How many invocations run or wait."""
        return self.unreserved_running + sum(
            function.running for function in self._functions.values() if function.reserved is not None
        )

    def function(self, name: str) -> FunctionConcurrency:
        """The counter of a function, the same one as long as the function exists."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = FunctionConcurrency(self)
        return function

    def reserve(self, name: str, reserved: int | None) -> None:
        """Set or take away (None) what a function has reserved; what runs of it is counted where it now belongs."""
        if reserved is None and name not in self._functions:
            return
        function = self.function(name)
        former, function.reserved = function.reserved, reserved
        self.unreserved_limit += (former or 0) - (reserved or 0)
        if former is None and reserved is not None:
            self.unreserved_running -= function.running
        elif former is not None and reserved is None:
            self.unreserved_running += function.running

    def forget(self, name: str) -> None:
        """The function was deleted; what still runs of it ends as it would have."""
        self.reserve(name, None)
        self._functions.pop(name, None)
