"""What a function name and qualifier stand for, for those that invoke: the synchronous path and the queue of events."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.api.errors import api_error
from venturekit.service.environments.ports import EnvironmentSpec
from venturekit.service.environments.statistics import FunctionStatistics
from venturekit.service.events.retry import MAXIMUM_EVENT_AGE_SECONDS, MAXIMUM_RETRY_ATTEMPTS, EventPolicy
from venturekit.service.functions.records import LATEST
from venturekit.service.functions.recursion import recursion_allowed
from venturekit.service.functions.settings import EVENT_INVOKE_CONFIGS, qualified_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from venturekit.service.accounts import Account, Accounts
    from venturekit.service.environments.pool import Pool
    from venturekit.service.functions.records import FunctionVersion
    from venturekit.service.functions.registry import Function, Resolution
    from venturekit.service.invocation.concurrency import Concurrency, FunctionConcurrency

ON_DEMAND: Final = "on-demand"
MANAGED_INSTANCES: Final = "lambda-managed-instances"
WITHOUT_TENANT: Final = (
    "The function has tenant isolation (TenancyConfig): name the tenant in X-Amz-Tenant-Id (TenantId, --tenant-id)."
)
TENANT_OF_NONE: Final = "The function has no tenant isolation (TenancyConfig): send no X-Amz-Tenant-Id."
"""Words of our own: AWS's page tells of the errors, not of their texts."""


class InvocationTarget:
    """A version of a function as it is now. Satisfies the ports of both kinds of invocation."""

    __slots__ = (
        "_function",
        "_pool_of",
        "_resolution",
        "account_id",
        "concurrency",
        "executed_version",
        "function_name",
        "invoked_arn",
        "lasting",
        "qualifier",
        "tenant_id",
    )

    def __init__(
        self,
        account: Account,
        function: Function,
        resolution: Resolution,
        qualifier: str,
        pool_of: Callable[[FunctionVersion, str], Pool],
    ) -> None:
        self._function = function
        self._resolution = resolution
        self._pool_of = pool_of
        alias = function.aliases.get(qualifier)
        self.account_id = account.account_id
        self.function_name = function.name
        self.qualifier = qualifier
        self.concurrency: Concurrency = account.concurrency.version(function.name, resolution.version.version)
        self.executed_version = resolution.version.version
        self.invoked_arn = resolution.invoked_arn
        self.lasting = alias is None or alias.additional_version is None
        self.tenant_id = ""

    @property
    def pool(self) -> Pool:
        """The environments of the version. Raises ApiError when it cannot run (state, runtime, tenant)."""
        self.check_tenant()
        return self._pool_of(self._resolution.version, self.tenant_id)

    @property
    def isolates_tenants(self) -> bool:
        """Whether it takes invocations for a tenant only."""
        return self._resolution.version.isolates_tenants

    def check_tenant(self) -> None:
        """Raise ApiError where the function keeps tenants apart and this is for none."""
        if not self.tenant_id and self.isolates_tenants:
            raise api_error("InvalidParameterValueException", WITHOUT_TENANT)

    def of_tenant(self, tenant_id: str) -> InvocationTarget:
        """The same for a tenant, once only. Raises ApiError where the function does not keep tenants apart.

        AWS page "Troubleshooting tenant isolation for Lambda functions".
        """
        if not self.isolates_tenants:
            raise api_error("InvalidParameterValueException", TENANT_OF_NONE)
        target = copy(self)
        target.tenant_id = tenant_id
        # An address does not say for whom it is asked.
        target.lasting = False
        return target

    @property
    def recursion_allowed(self) -> bool:
        """Whether the function runs on in a loop of invocations, which is otherwise stopped."""
        return recursion_allowed(self._function)

    @property
    def timeout_seconds(self) -> int:
        """How long the function may run."""
        return self._resolution.version.timeout_seconds

    @property
    def policy(self) -> EventPolicy:
        """The event invoke configuration of the qualifier, and the version's dead-letter queue."""
        configs = qualified_settings(self._function, EVENT_INVOKE_CONFIGS)
        config: dict[str, Any] = configs.get(self.qualifier or LATEST, {})
        dead_letter = self._resolution.version.extras.get("DeadLetterConfig") or {}
        return EventPolicy(
            maximum_retry_attempts=config.get("MaximumRetryAttempts", MAXIMUM_RETRY_ATTEMPTS),
            maximum_event_age_seconds=config.get("MaximumEventAgeInSeconds", MAXIMUM_EVENT_AGE_SECONDS),
            on_success=config.get("OnSuccess", ""),
            on_failure=config.get("OnFailure", ""),
            dead_letter=dead_letter.get("TargetArn", ""),
        )


class TargetFinder:
    """Finds targets among the accounts' functions; ``fraction()`` draws for weighted aliases (0.0 to 1.0)."""

    def __init__(
        self, accounts: Accounts, *, fraction: Callable[[], float], pool_of: Callable[[FunctionVersion, str], Pool]
    ) -> None:
        self._accounts = accounts
        self._fraction = fraction
        self._pool_of = pool_of

    def find(self, account: Account, function_name: str, qualifier: str | None) -> InvocationTarget:
        """What a caller's FunctionName and Qualifier mean. Raises ApiError."""
        functions = account.functions
        address = functions.address(function_name, qualifier)
        resolution = functions.resolve(address.name, address.qualifier, draw=self._fraction())
        function = functions.function(address.name)
        return InvocationTarget(account, function, resolution, address.qualifier or "", self._pool_of)

    # --- the port of the event queue ------------------------------------------------------------------------------

    def arn(self, account_id: str, function_name: str, qualifier: str) -> str:
        """The ARN of a function with its qualifier, ``$LATEST`` for the empty text."""
        return self._accounts.get(account_id).functions.arn(function_name, qualifier or LATEST)

    def resolve(self, account_id: str, function_name: str, qualifier: str) -> InvocationTarget:
        """What an event runs now. Raises ApiError."""
        return self.find(self._accounts.get(account_id), function_name, qualifier or None)

    def concurrency(self, account_id: str, function_name: str) -> FunctionConcurrency:
        """What counts the running invocations of a function."""
        return self._accounts.get(account_id).concurrency.function(function_name)


def environment_spec(
    version: FunctionVersion,
    directory_of: Callable[[str], Path],
    credentials: Mapping[str, str],
    tenant_id: str = "",
    statistics: FunctionStatistics | None = None,
) -> EnvironmentSpec:
    """What execution environments of a version must know; ``directory_of`` tells where an archive is unpacked.

    ``tenant_id`` is that of the tenant who alone uses them, or empty. ``statistics`` counts the function's invocations.
    """
    return EnvironmentSpec(
        identity=version.identity,
        function_name=version.name,
        function_version=version.version,
        function_arn=version.function_arn,
        runtime=version.runtime,
        handler=version.handler,
        timeout_ms=version.timeout_seconds * 1000,
        memory_size_mb=version.memory_size_mb,
        ephemeral_storage_mb=version.ephemeral_storage_mb,
        code_key=version.code_key,
        code_directory=directory_of(version.code_key),
        layers=tuple(directory_of(layer.code_key) for layer in version.layers),
        layer_keys=tuple(layer.code_key for layer in version.layers),
        log_group=version.log_group or f"/aws/lambda/{version.name}",
        log_format=version.log_format,
        application_log_level=version.application_log_level,
        system_log_level=version.system_log_level,
        variables=version.environment,
        credentials=credentials,
        statistics=statistics or FunctionStatistics(),
        tenant_id=tenant_id,
        initialization_type=MANAGED_INSTANCES if version.is_managed else ON_DEMAND,
        max_concurrency=version.max_concurrency,
    )
