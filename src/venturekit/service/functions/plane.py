"""What the operations of the control plane share: changing functions one at a time, durably, then visibly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from venturekit.service.functions import capacity_faults, faults, lifecycle
from venturekit.service.functions.archive_rules import MAX_UNZIPPED_BYTES
from venturekit.service.functions.capacity_providers import CapacityProviders
from venturekit.service.functions.changes import added_versions, difference, retired_code_keys
from venturekit.service.functions.code_source import FetchCode, no_s3
from venturekit.service.functions.layer_access import layer_for_function
from venturekit.service.functions.loading import loaded_functions
from venturekit.service.functions.managed_instances import resting_state
from venturekit.service.functions.provisioned import ProvisionState
from venturekit.service.functions.records import (
    LATEST,
    LATEST_PUBLISHED,
    STATE_PENDING,
    UPDATE_IN_PROGRESS,
    FunctionVersion,
    last_modified_text,
)
from venturekit.service.functions.tasks import OwnedTasks
from venturekit.service.functions.usage import AccountUsage
from venturekit.service.store import AccountStore, RevisionConflictError, StoredFunction
from venturekit.service.store.errors import StoreUnavailableError

if TYPE_CHECKING:
    from venturekit.service.functions.code_storage import CodeStorage
    from venturekit.service.functions.layer_registry import LayerRegistry
    from venturekit.service.functions.records import LayerReference
    from venturekit.service.functions.registry import Function, FunctionRegistry
    from venturekit.service.functions.tags import MappingTags

Activate = Callable[[FunctionVersion], Awaitable[None]]
TargetExists = Callable[[str], Awaitable[bool | None]]
"""Whether the queue, topic, event bus or bucket of an ARN exists; None where nobody can tell."""

CONCURRENT_EXECUTIONS: Final = 1000
"""The concurrency of an account unless it has another quota (Developer Guide, "Lambda quotas")."""


async def _activate_at_once(version: FunctionVersion) -> None:
    """Nothing needs preparing by default: the code is unpacked before it is stored."""


async def _unknown(arn: str) -> None:
    """A ``TargetExists`` that knows nobody to ask."""
    del arn


def _nothing_provisioned(function_name: str, version: str) -> ProvisionState:
    del function_name, version
    return ProvisionState()


def _function_url(url_id: str) -> str:
    return f"http://{url_id}.lambda-url.localhost/"


class ControlPlane:
    """The parts that operations work with, and the rules of every change.

    One change of a function at a time (``lock``); memory changes only after the commit; a change that was begun is
    finished even if its caller is gone. ``now`` gives epoch seconds, ``new_id`` unique texts (UUIDs), ``activate`` is
    awaited before a new or changed version becomes Active, ``code_location(code_key)`` is the URL that downloads an
    archive, ``layers`` are all accounts' layers, ``report`` gets unexpected exceptions, ``log`` a sentence about every
    refused archive, ``fetch_code`` gets archives from S3. ``concurrent_executions`` is the account's concurrency,
    ``function_url(url_id)`` the address of a function URL, ``target_exists`` is asked for destinations that are no
    functions, ``provision_state(function_name, version)`` tells how the environments of a version stand that are kept
    initialised.
    """

    def __init__(
        self,
        *,
        store: AccountStore,
        registry: FunctionRegistry,
        code: CodeStorage,
        layers: LayerRegistry,
        now: Callable[[], float],
        new_id: Callable[[], str],
        code_location: Callable[[str], str],
        report: Callable[[BaseException], None],
        log: Callable[[str], None],
        activate: Activate = _activate_at_once,
        fetch_code: FetchCode = no_s3,
        concurrent_executions: int = CONCURRENT_EXECUTIONS,
        function_url: Callable[[str], str] = _function_url,
        target_exists: TargetExists = _unknown,
        provision_state: Callable[[str, str], ProvisionState] = _nothing_provisioned,
    ) -> None:
        self.store = store
        self.registry = registry
        self.code = code
        self.layers = layers
        self.new_id = new_id
        self.code_location = code_location
        self.fetch_code = fetch_code
        self.concurrent_executions = concurrent_executions
        self.function_url = function_url
        self.target_exists = target_exists
        self.provision_state = provision_state
        self.mapping_tags: MappingTags | None = None
        self.usage = AccountUsage(registry)
        # Two functions must not both be given the same remainder of the account's concurrency.
        self.concurrency_lock = asyncio.Lock()
        self.log = log
        self.tasks = OwnedTasks(report)
        self._now = now
        self._report = report
        self._activate_version = activate
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.capacity_providers = CapacityProviders(self)

    def load(self, stored: Iterable[StoredFunction], last_versions: Mapping[str, int]) -> None:
        """Take over what the store holds of this account: its functions, and the highest version number per name.

        Activations that a former service did not finish are begun again.
        """
        functions = loaded_functions(stored, last_versions)
        self.registry.load(functions, last_versions)
        for function in functions:
            self.schedule_activation(*(item for item in function.versions.values() if lifecycle.is_unsettled(item)))

    async def close(self, timeout_seconds: float = 5.0) -> None:
        """Finish what was begun; what takes longer is begun again by the next ``load``."""
        await self.tasks.close(timeout_seconds)

    def now(self) -> float:
        """The time in epoch seconds."""
        return self._now()

    def lock(self, name: str) -> asyncio.Lock:
        """The lock under which a function is changed; a layer has a name for its own (``layers.lock_name``)."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    def stamped(self, version: FunctionVersion) -> FunctionVersion:
        """``version`` with a new revision, as modified now."""
        return replace(version, revision_id=self.new_id(), last_modified=self.now_text())

    def now_text(self) -> str:
        """The time as AWS writes it in ``LastModified`` and ``CreatedDate``."""
        return last_modified_text(self._now())

    def revised(self, version: FunctionVersion) -> FunctionVersion:
        """``version`` with a new revision only: something that hangs on it has changed, such as its policy."""
        return replace(version, revision_id=self.new_id())

    def changed(self, version: FunctionVersion) -> FunctionVersion:
        """``version``, whose code or configuration has changed, with a new identity and revision.

        Raises InvalidParameterValue if its code and layers unpack to more than AWS takes.
        """
        check_unzipped_size(version)
        return self.stamped(replace(version, identity=self.new_id()))

    def publication(
        self, function: Function, latest: FunctionVersion, description: str | None, publish_to: str | None = None
    ) -> FunctionVersion:
        """The version PublishVersion gives: the last one if ``latest`` has not changed since, else a new one.

        With ``publish_to`` that is ``$LATEST.PUBLISHED``. Raises InvalidParameterValue where there is none, and
        FunctionVersionsPerCapacityProviderLimitExceeded.
        """
        if publish_to and not latest.is_managed:
            raise capacity_faults.publish_to_default()
        last = function.versions.get(LATEST_PUBLISHED if publish_to else str(function.last_version))
        if last is not None and last.published_from == latest.fingerprint():
            return last
        version = LATEST_PUBLISHED if publish_to else str(function.last_version + 1)
        if version not in function.versions:
            self.capacity_providers.check_room(latest)
        return self.stamped(lifecycle.published(latest, version, description=description, identity=self.new_id()))

    def changeable(self, name: str) -> Function:
        """The function, unless it is in a state in which it cannot be changed. Raises ResourceNotFound, Conflict."""
        function = self.registry.function(name)
        if function.latest.state == STATE_PENDING:
            raise faults.not_in_this_state(function.latest.state)
        if function.latest.last_update_status == UPDATE_IN_PROGRESS:
            raise faults.update_in_progress(function.latest.function_arn)
        return function

    def unqualified_name(self, members: Mapping[str, Any]) -> str:
        """The function an operation on the function as a whole means; a version or alias in the name is refused."""
        address = self.registry.address(members["FunctionName"])
        if address.qualifier not in (None, LATEST):
            raise faults.invalid_parameter(
                f"This operation concerns the function, not a version or alias: leave ':{address.qualifier}' out of "
                "FunctionName"
            )
        return address.name

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Turn what the store raises into answers."""
        try:
            yield
        except StoreUnavailableError as error:
            raise faults.store_unavailable(str(error)) from error
        except RevisionConflictError as error:
            raise faults.revision_mismatch() from error

    async def commit(self, former: Function, changed: Function) -> Function:
        """Make durable whatever differs between two states of a function, then show the new one. Under the lock.

        Raises the answers of ``committing``; nothing has changed then.
        """
        async with self.keeping_layers(*added_versions(former, changed)):
            with self.committing():
                await self.store.change_function(former.name, difference(former, changed))
            self.registry.put(changed)
        retired = retired_code_keys(former, changed)
        if retired:
            self.tasks.spawn(self.code.collect(*retired))
        return changed

    def layer(self, layer_version_arn: str) -> LayerReference:
        """A layer version for a function of this account. Raises InvalidParameterValue and AccessDenied."""
        region, account_id = self.registry.region, self.registry.account_id
        return layer_for_function(self.layers, layer_version_arn, region=region, account_id=account_id).reference()

    @asynccontextmanager
    async def keeping_layers(self, *versions: FunctionVersion) -> AsyncIterator[None]:
        """Inside the block no layer and no capacity provider of these versions can be removed: either may be deleted
        while they are committed.

        Raises InvalidParameterValue for a layer that is gone already, and what ``CapacityProviders.held`` does.
        """
        layers = {layer.code_key: layer.arn for version in versions for layer in version.layers}
        async with AsyncExitStack() as held:
            try:
                await held.enter_async_context(self.code.held(layers))
            except LookupError as error:
                raise faults.layer_of_function_not_found(layers[error.args[0]]) from error
            held.enter_context(self.capacity_providers.held(versions))
            yield

    def schedule_activation(self, *versions: FunctionVersion) -> None:
        """Activate versions of one function from the next turn of the loop on."""
        if versions:
            self.tasks.spawn(self._activate(versions))

    async def _activate(self, versions: tuple[FunctionVersion, ...]) -> None:
        failure = None
        try:
            for version in versions:
                await self._activate_version(version)
        except Exception as error:
            self._report(error)
            failure = f"The function could not be activated: {error}"
        name = versions[0].name
        async with self.lock(name):
            if name not in self.registry:
                return
            function = self.registry.function(name)
            # A version that was deleted or changed meanwhile is no longer this activation's business.
            due = [
                current
                for version in versions
                if (current := function.versions.get(version.version)) is not None
                and current.identity == version.identity
                and lifecycle.is_unsettled(current)
            ]
            settled = [
                lifecycle.settled(item, revision_id=self.new_id(), failure=failure, state=resting_state(function, item))
                for item in due
            ]
            if settled:
                await self.commit(function, function.with_versions(*settled))


def check_unzipped_size(version: FunctionVersion) -> None:
    """Raise InvalidParameterValue if code and layers unpack to more than 262144000 bytes (published answers)."""
    size_bytes = version.unzipped_size_bytes + sum(layer.unzipped_size_bytes for layer in version.layers)
    if version.layers and size_bytes > MAX_UNZIPPED_BYTES:
        raise faults.code_with_layers_too_large(size_bytes, MAX_UNZIPPED_BYTES)
