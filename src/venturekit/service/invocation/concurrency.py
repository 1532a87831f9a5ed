"""How many invocations run at once: per account, and per function and version where some of the account's are theirs.

Source: AWS Lambda Developer Guide, "Understanding Lambda function scaling", "Configuring reserved concurrency" and
"Configuring provisioned concurrency".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT_EXCEEDED: Final = "ConcurrentInvocationLimitExceeded"
RESERVED_EXCEEDED: Final = "ReservedFunctionConcurrentInvocationLimitExceeded"


class FunctionConcurrency:
    """The invocations of one function that run or wait for an execution environment.

    Of its versions with provisioned concurrency it counts what they have too many. ``reserved`` is the function's
    reservation, ``bound`` what of it is not provisioned.
    """

    __slots__ = ("account", "bound", "bounded", "reserved", "running", "versions")

    def __init__(self, account: AccountConcurrency) -> None:
        self.account = account
        self.reserved: int | None = None
        self.bound: int | None = None
        self.running = 0
        self.versions: dict[str, VersionConcurrency] = {}
        self.bounded: dict[str, BoundedConcurrency] = {}

    def take(self) -> bool:
        """Count one more invocation; False, counting nothing, when there is no room for it."""
        bound = self.bound
        if bound is None:
            account = self.account
            if account.unreserved_running >= account.unreserved_limit:
                return False
            account.unreserved_running += 1
        elif self.running >= bound:
            return False
        self.running += 1
        return True

    def release(self) -> None:
        """One invocation has ended. Called once for each :meth:`take` that succeeded."""
        self.running -= 1
        if self.bound is None:
            self.account.unreserved_running -= 1

    def add(self) -> None:
        """Count an invocation that runs already, whether there is room or not."""
        self.running += 1
        if self.bound is None:
            self.account.unreserved_running += 1

    @property
    def room(self) -> int:
        """How many more invocations would be counted now, whatever version they are for."""
        own_room = self.own_room
        if not self.versions:
            return own_room
        return max(own_room, 0) + sum(version.own_room for version in self.versions.values())

    @property
    def own_room(self) -> int:
        """How many more invocations :meth:`take` would count now."""
        if self.bound is not None:
            return self.bound - self.running
        return self.account.unreserved_limit - self.account.unreserved_running

    @property
    def exceeded(self) -> str:
        """The ``Reason`` of the throttle when :meth:`take` says no."""
        return ACCOUNT_EXCEEDED if self.reserved is None else RESERVED_EXCEEDED

    @property
    def provisioned(self) -> int:
        """What all versions together have for themselves."""
        return sum(version.provisioned for version in self.versions.values())

    @property
    def set_aside(self) -> int:
        """What of the account's concurrency nobody else gets."""
        return self.provisioned if self.reserved is None else self.reserved


class VersionConcurrency:
    """The invocations of one version with provisioned concurrency: what it has too many, its function counts.

    ``within`` of them take up provisioned concurrency, ``beyond`` are the function's. Whichever invocation ends: as
    long as there are any beyond, it is one of those.
    """

    __slots__ = ("beyond", "function", "provisioned", "within")

    def __init__(self, function: FunctionConcurrency) -> None:
        self.function = function
        self.provisioned = self.within = self.beyond = 0

    def take(self) -> bool:
        """Count one more invocation; False, counting nothing, when there is no room for it."""
        if self.within < self.provisioned:
            self.within += 1
            return True
        if not self.function.take():
            return False
        self.beyond += 1
        return True

    def release(self) -> None:
        """One invocation has ended. Called once for each :meth:`take` that succeeded."""
        if self.beyond:
            self.beyond -= 1
            self.function.release()
        else:
            self.within -= 1

    def change(self, provisioned: int) -> None:
        """Have so many of the account's for itself; what runs is counted where it now belongs."""
        self.provisioned = provisioned
        while self.within > provisioned:
            self.within -= 1
            self.beyond += 1
            self.function.add()
        while self.beyond and self.within < provisioned:
            self.within += 1
            self.beyond -= 1
            self.function.release()

    @property
    def own_room(self) -> int:
        """How many more invocations would take up provisioned concurrency now."""
        return self.provisioned - self.within

    @property
    def room(self) -> int:
        """How many more invocations :meth:`take` would count now."""
        return self.own_room + max(self.function.own_room, 0)

    @property
    def reserved(self) -> int | None:
        """What the function has reserved."""
        return self.function.reserved

    @property
    def exceeded(self) -> str:
        """The ``Reason`` of the throttle when :meth:`take` says no."""
        return self.function.exceeded


class BoundedConcurrency:
    """The invocations of one version that may have no more than ``most`` at once, None for any number.

    They count as its function's, too.
    """

    __slots__ = ("function", "most", "running")

    def __init__(self, function: FunctionConcurrency) -> None:
        self.function = function
        self.most: int | None = None
        self.running = 0

    def take(self) -> bool:
        """Count one more invocation; False, counting nothing, when there is no room for it."""
        if self._is_full or not self.function.take():
            return False
        self.running += 1
        return True

    def release(self) -> None:
        """One invocation has ended. Called once for each :meth:`take` that succeeded."""
        self.running -= 1
        self.function.release()

    @property
    def room(self) -> int:
        """How many more invocations :meth:`take` would count now."""
        room = self.function.own_room
        return room if self.most is None else min(room, self.most - self.running)

    @property
    def reserved(self) -> int | None:
        """What the function has reserved."""
        return self.function.reserved

    @property
    def exceeded(self) -> str:
        """The ``Reason`` of the throttle when :meth:`take` says no. Of all that AWS has this one fits best."""
        return ACCOUNT_EXCEEDED if self._is_full else self.function.exceeded

    @property
    def _is_full(self) -> bool:
        return self.most is not None and self.running >= self.most


Concurrency = FunctionConcurrency | VersionConcurrency | BoundedConcurrency
"""What counts an invocation: it is released where it was taken."""


class AccountConcurrency:
    """The invocations of one account: ``limit`` at once, less what functions have for themselves."""

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
            (0 if function.bound is None else function.running)
            + sum(version.within for version in function.versions.values())
            for function in self._functions.values()
        )

    def function(self, name: str) -> FunctionConcurrency:
        """The counter of a function, the same one as long as the function exists."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = FunctionConcurrency(self)
        return function

    def version(self, name: str, version: str) -> Concurrency:
        """What counts the invocations of a version: the function, unless the version has provisioned concurrency."""
        function = self.function(name)
        return function.versions.get(version) or function.bounded.get(version) or function

    def bound(self, name: str, most: Mapping[str, int]) -> None:
        """Set how many invocations versions of a function may have at once; those that are left out have no bound."""
        if not most and (name not in self._functions or not self._functions[name].bounded):
            return
        function = self.function(name)
        for version in most.keys() - function.bounded.keys():
            function.bounded[version] = BoundedConcurrency(function)
        for version, counter in function.bounded.items():
            # One without a bound stays: what runs of it would not be counted if it got one again.
            counter.most = most.get(version)

    def reserve(self, name: str, reserved: int | None) -> None:
        """Set or take away (None) what a function has reserved; what runs of it is counted where it now belongs."""
        if reserved is None and name not in self._functions:
            return
        function = self.function(name)
        former = function.set_aside
        had, function.reserved = function.reserved, reserved
        self._settle(function, former)
        if had is None and reserved is not None:
            self.unreserved_running -= function.running
        elif had is not None and reserved is None:
            self.unreserved_running += function.running

    def provision(self, name: str, provisioned: Mapping[str, int]) -> None:
        """Set what the versions of a function have provisioned; versions that are left out have nothing any more."""
        if not provisioned and (name not in self._functions or not self._functions[name].versions):
            return
        function = self.function(name)
        former = function.set_aside
        for version in provisioned.keys() - function.versions.keys():
            function.versions[version] = VersionConcurrency(function)
        for version, counter in tuple(function.versions.items()):
            counter.change(provisioned.get(version, 0))
            # What still runs of it is counted by the function, and released by way of the counter.
            if version not in provisioned:
                del function.versions[version]
        self._settle(function, former)

    def _settle(self, function: FunctionConcurrency, former: int) -> None:
        """What a function has for itself has changed."""
        reserved = function.reserved
        function.bound = None if reserved is None else max(reserved - function.provisioned, 0)
        self.unreserved_limit += former - function.set_aside

    def forget(self, name: str) -> None:
        """The function was deleted; what still runs of it ends as it would have."""
        self.provision(name, {})
        self.reserve(name, None)
        self._functions.pop(name, None)
