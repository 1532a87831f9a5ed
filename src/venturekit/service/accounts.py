"""The accounts of the service: each has functions, aliases and concurrency of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.code_storage import AnyOf
from venturekit.service.functions.usage import reserved_executions

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from venturekit.service.api.registry import Registry
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import FunctionRegistry
    from venturekit.service.invocation.concurrency import AccountConcurrency
    from venturekit.service.store import StoredFunction, StoredFunctions

EMPTY_LIMIT: Final = 256
"""How many accounts without functions are kept: any access key of 12 digits names one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Account:
    """One account: its control plane, the operations that work on it, and what counts its invocations."""

    account_id: str
    plane: ControlPlane
    operations: Registry
    concurrency: AccountConcurrency

    @property
    def functions(self) -> FunctionRegistry:
        """The functions of the account."""
        return self.plane.registry

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost with this object."""
        return self.functions.is_blank and not self.plane.capacity_providers and self.plane.tasks.is_idle


class Accounts:
    """All accounts, made by ``build(account_id)`` when they are first asked for. ``own_id`` is the service's own."""

    def __init__(self, own_id: str, build: Callable[[str], Account]) -> None:
        self._own_id = own_id
        self._build = build
        self._accounts: dict[str, Account] = {}
        # How many accounts make it worth looking for idle ones: not at each new one, where most are not idle.
        self._looked_at_again = EMPTY_LIMIT

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    @property
    def own(self) -> Account:
        """The service's own account."""
        return self.get(self._own_id)

    def find(self, account_id: str) -> Account | None:
        """An account that has been used, or None."""
        return self._accounts.get(account_id)

    def get(self, account_id: str) -> Account:
        """The account with this id of 12 digits."""
        account = self._accounts.get(account_id)
        if account is None:
            if len(self._accounts) >= self._looked_at_again:
                self._drop_idle()
            account = self._accounts[account_id] = self._build(account_id)
        return account

    def load(self, stored: StoredFunctions, providers: Iterable[tuple[str, str, Mapping[str, Any]]] = ()) -> None:
        """Take over what the store holds, and put in force what of it admits invocations.

        ``providers`` are the capacity providers: account, name and document of each.
        """
        for account_id, _, document in providers:
            self.get(account_id).plane.capacity_providers.load([document])
        functions: dict[str, list[StoredFunction]] = {}
        for function in stored.functions:
            functions.setdefault(function.account_id, []).append(function)
        numbers: dict[str, dict[str, int]] = {}
        for (account_id, name), number in stored.last_versions.items():
            numbers.setdefault(account_id, {})[name] = number
        no_numbers: Mapping[str, int] = {}
        for account_id in functions.keys() | numbers.keys():
            account = self.get(account_id)
            account.plane.load(functions.get(account_id, ()), numbers.get(account_id, no_numbers))
            for loaded in account.functions.functions():
                account.concurrency.reserve(loaded.name, reserved_executions(loaded))

    def code_keys(self) -> Container[str]:
        """The archives that some version of some account still needs."""
        return AnyOf(*(account.functions.code_keys() for account in self))

    def _drop_idle(self) -> None:
        kept = {
            account.account_id: account for account in self if account.account_id == self._own_id or not account.is_idle
        }
        self._accounts = kept
        self._looked_at_again = len(kept) + EMPTY_LIMIT
