"""The capacity providers of one account: made, changed and deleted durably, then visibly."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import capacity_faults as faults
from venturekit.service.functions.capacity_provider import (
    ACTIVE,
    DELETING,
    PENDING,
    CapacityProvider,
    created,
    name_of,
    provider_arn,
    updated,
)
from venturekit.service.functions.tags import check_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.records import FunctionVersion

MAX_PROVIDERS: Final = 1000
MAX_VERSIONS: Final = 100
"""Of an account, and of a provider (AWS page "Lambda Managed Instances quotas")."""


class CapacityProviders:
    """By name. Changed only after the store committed; one change of a provider at a time."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._providers: dict[str, CapacityProvider] = {}
        self._names: list[str] = []
        # How many changes are being committed that need a provider: it must not be deleted meanwhile.
        self._held: Counter[str] = Counter()
        # What is being committed that counts already: providers, and by their ARNs versions that are published.
        self._making = 0
        self._publishing: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._providers)

    def load(self, stored: Iterable[Mapping[str, Any]]) -> None:
        """Take over what the store holds. What a former service had begun is finished."""
        for document in stored:
            provider = CapacityProvider.from_document(document)
            self._show(provider)
            if provider.state != ACTIVE:
                self._plane.tasks.spawn(self._settle(provider.name))

    # --- looking ------------------------------------------------------------------------------------------------

    def arn(self, name: str) -> str:
        """The ARN of a provider of this account, existing or not."""
        registry = self._plane.registry
        return provider_arn(registry.region, registry.account_id, name)

    def find(self, name_or_arn: str) -> CapacityProvider:
        """The provider of this account. Raises InvalidParameterValue and ResourceNotFound."""
        name = self.name(name_or_arn)
        provider = self._providers.get(name)
        if provider is None:
            raise faults.provider_not_found(self.arn(name))
        return provider

    def usable(self, arn: str) -> CapacityProvider:
        """The provider, for a function. Raises what ``find`` does, and Conflict for one that is being deleted.

        One that is Pending is taken: it becomes Active right away.
        """
        provider = self.find(arn)
        if provider.state == DELETING:
            raise faults.provider_not_in_this_state(provider.arn, provider.state)
        return provider

    def name(self, name_or_arn: str) -> str:
        """The name in either. Raises InvalidParameterValue."""
        registry = self._plane.registry
        return name_of(name_or_arn, region=registry.region, account_id=registry.account_id)

    def after(self, name: str) -> list[CapacityProvider]:
        """The providers whose names sort after ``name``, in order."""
        return [self._providers[each] for each in self._names[bisect_right(self._names, name) :]]

    def versions(self, arn: str) -> list[FunctionVersion]:
        """The versions of functions that have this provider, ``$LATEST`` included: by function, in their order."""
        registry = self._plane.registry
        return [
            version
            for name in registry.names_after("")
            if registry.function(name).latest.is_managed
            for version in registry.function(name).in_order()
            if version.is_managed and version.capacity_provider_arn == arn
        ]

    def check_room(self, version: FunctionVersion) -> None:
        """Raise FunctionVersionsPerCapacityProviderLimitExceeded unless one more may be published like ``version``."""
        if version.is_managed:
            self._check_room(version.capacity_provider_arn, 1)

    def _check_room(self, arn: str, more: int) -> None:
        published = sum(each.is_published for each in self.versions(arn))
        if published + self._publishing[arn] + more > MAX_VERSIONS:
            raise faults.too_many_versions(arn, MAX_VERSIONS)

    def _is_there(self, version: FunctionVersion) -> bool:
        registry = self._plane.registry
        return version.name in registry and version.version in registry.function(version.name).versions

    @contextmanager
    def held(self, versions: Iterable[FunctionVersion]) -> Iterator[None]:
        """Inside the block no provider of these versions can be deleted, and what is published has its place there.

        Raises what ``usable`` and ``check_room`` do.
        """
        having = [version for version in versions if version.is_managed]
        names = Counter({self.usable(version.capacity_provider_arn).name for version in having})
        added = Counter(
            version.capacity_provider_arn for version in having if version.is_published and not self._is_there(version)
        )
        for arn, count in added.items():
            self._check_room(arn, count)
        self._held += names
        self._publishing += added
        try:
            yield
        finally:
            # Without those of which none is left.
            self._held -= names
            self._publishing -= added

    # --- changing -----------------------------------------------------------------------------------------------

    async def create(self, given: Mapping[str, Any]) -> CapacityProvider:
        """A new provider, answered Pending, which becomes Active right after. Raises ApiError."""
        name = self.name(given["CapacityProviderName"])
        check_tags(given.get("Tags") or {})
        provider = created(self.arn(name), given, self._plane.now_text())
        async with self._lock(name):
            if name in self._providers:
                raise faults.provider_exists(name)
            if len(self._providers) + self._making >= MAX_PROVIDERS:
                raise faults.too_many_providers(MAX_PROVIDERS)
            self._making += 1
            try:
                await self._commit(provider)
            finally:
                self._making -= 1
        self._plane.tasks.spawn(self._settle(name))
        return provider

    async def update(self, given: Mapping[str, Any]) -> CapacityProvider:
        """The provider with what a request changes. Raises ApiError."""
        name = self.name(given["CapacityProviderName"])
        async with self._lock(name):
            return await self._commit(updated(self._changeable(name), given, self._plane.now_text()))

    async def delete(self, name_or_arn: str) -> CapacityProvider:
        """The provider that is gone right after, answered Deleting. Raises Conflict while versions have it."""
        name = self.name(name_or_arn)
        async with self._lock(name):
            provider = self._changeable(name)
            if self._held[name] or self.versions(provider.arn):
                raise faults.provider_in_use(provider.arn)
            deleting = replace(provider, state=DELETING)
            # Before it is stored: nobody may begin to use it while it is.
            self._show(deleting)
            try:
                await self._commit(deleting)
            except BaseException:
                self._show(provider)
                raise
        self._plane.tasks.spawn(self._settle(name))
        return deleting

    # --- the port of the tag operations -------------------------------------------------------------------------

    def tags(self, name: str) -> Mapping[str, str]:
        """Those of one provider. Raises ResourceNotFound."""
        return self.find(name).tags

    async def change_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Give a provider these in the place of all it has. Raises ApiError."""
        check_tags(tags)
        async with self._lock(name):
            provider = self.find(name)
            if dict(provider.tags) != dict(tags):
                await self._commit(replace(provider, tags=dict(tags)))

    # --- inside -------------------------------------------------------------------------------------------------

    def _lock(self, name: str) -> Any:
        # No function has a name with a colon in it.
        return self._plane.lock(f"capacity-provider:{name}")

    def _changeable(self, name: str) -> CapacityProvider:
        provider = self.find(name)
        if provider.state != ACTIVE:
            raise faults.provider_not_in_this_state(provider.arn, provider.state)
        return provider

    async def _commit(self, provider: CapacityProvider) -> CapacityProvider:
        with self._plane.committing():
            await self._plane.store.put_capacity_provider(provider.name, provider.to_document())
        self._show(provider)
        return provider

    async def _settle(self, name: str) -> None:
        """Finish what a request has begun: there are no instances to start or to end."""
        async with self._lock(name):
            provider = self._providers[name]
            if provider.state == PENDING:
                await self._commit(replace(provider, state=ACTIVE))
            elif provider.state == DELETING:
                with self._plane.committing():
                    await self._plane.store.delete_capacity_provider(name)
                del self._providers[name]
                del self._names[bisect_left(self._names, name)]

    def _show(self, provider: CapacityProvider) -> None:
        if provider.name not in self._providers:
            insort(self._names, provider.name)
        self._providers[provider.name] = provider
