"""Reserved and provisioned concurrency and scaling in force: what is configured, for invocations and environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.api.errors import ApiError
from venturekit.service.functions.provisioned import ProvisionState, allocation
from venturekit.service.functions.records import STATE_DEACTIVATED
from venturekit.service.functions.scaling import bounds_of, kept_initialised
from venturekit.service.functions.settings import PROVISIONED, SCALING
from venturekit.service.functions.usage import reserved_executions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from venturekit.service.accounts import Account
    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.pool import Pool
    from venturekit.service.functions.records import FunctionVersion
    from venturekit.service.functions.registry import Function, FunctionRegistry


class Provisioning:
    """Has the concurrency that functions have for themselves counted, and their environments initialised.

    ``pool_of(version)`` gives the environments of a version and raises ApiError when it cannot run.
    """

    def __init__(self, host: EnvironmentHost, pool_of: Callable[[FunctionVersion], Pool]) -> None:
        self._host = host
        self._pool_of = pool_of
        # What was wanted last, by ARN: most functions never want any.
        self._provisioned: dict[str, set[str]] = {}
        # Why a version has no environments at all, by ARN and number.
        self._refused: dict[tuple[str, str], str] = {}

    def begin(self, accounts: Iterable[Account]) -> None:
        """The service has started: initialise what is to be."""
        for account in accounts:
            for function in account.functions.functions():
                if PROVISIONED in function.settings or SCALING in function.settings:
                    self.function_changed(account, function.name)

    def function_changed(self, account: Account, name: str) -> None:
        """A function was made, changed or deleted: outdated environments go, those that are wanted come."""
        functions, counted = account.functions, account.concurrency
        arn = functions.arn(name)
        former = self._forget(arn)
        if name not in functions:
            counted.forget(name)
            self._unbind(arn)
            self._host.keep_only(arn, ())
            return
        function = functions.function(name)
        kept = [each for each in function.versions.values() if each.state != STATE_DEACTIVATED]
        self._host.keep_only(arn, {(each.version, each.identity) for each in kept})
        wanted = allocation(function)
        counted.provision(name, {version: each.executions for version, each in wanted.items()})
        counted.reserve(name, reserved_executions(function))
        for number, each in wanted.items():
            self._want(function.versions[number], each.executions, each.token)
        # Managed functions: nothing of the account's concurrency is set aside for them.
        counted.bound(name, self._bound(arn, function))
        scaled = kept_initialised(function)
        for number, bounds in scaled.items():
            self._want(function.versions[number], bounds.min_environments, bounds.token)
        for number in former - wanted.keys() - scaled.keys():
            version = function.versions.get(number)
            pool = None if version is None else self._host.pools.get((arn, number, version.identity))
            if pool is not None:
                self._host.provisioner.want(pool, 0)
        if wanted or scaled:
            self._provisioned[arn] = {*wanted, *scaled}

    def _bound(self, arn: str, function: Function) -> dict[str, int]:
        """How many invocations its versions may have at once, where the number of their environments is bounded."""
        most: dict[str, int] = {}
        self._unbind(arn)
        for number, version in function.versions.items():
            environments = bounds_of(function, number).max_environments if version.is_managed else None
            if environments is not None:
                most[number] = environments * version.max_concurrency
                self._host.most_environments[arn, number] = environments
        return most

    def _unbind(self, arn: str) -> None:
        bounds = self._host.most_environments
        for key in [key for key in bounds if key[0] == arn]:
            del bounds[key]

    def _forget(self, arn: str) -> set[str]:
        former = self._provisioned.pop(arn, set())
        for number in former:
            self._refused.pop((arn, number), None)
        return former

    def _want(self, version: FunctionVersion, executions: int, token: str) -> None:
        try:
            pool = self._pool_of(version)
        except ApiError as error:
            self._refused[version.function_arn, version.version] = error.message or error.code
        else:
            self._host.provisioner.want(pool, executions, token)

    def state(self, functions: FunctionRegistry, name: str, number: str) -> ProvisionState:
        """How the environments of a version stand that are kept initialised."""
        arn = functions.arn(name)
        refused = self._refused.get((arn, number))
        if refused is not None:
            return ProvisionState(failure=refused)
        pool = self._host.pools.get((arn, number, functions.version(name, number).identity))
        provision = None if pool is None else pool.provision
        if provision is None:
            return ProvisionState()
        return ProvisionState(provision.allocated, provision.available, provision.failure)
