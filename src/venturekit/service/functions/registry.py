"""The functions this service has, in memory: what every invocation and every read looks at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from venturekit.protocol.names import function_arn
from venturekit.service.functions import faults
from venturekit.service.functions.addressing import Address, parse_address
from venturekit.service.functions.managed_instances import invoked_version
from venturekit.service.functions.records import LATEST, Alias, FunctionVersion

FunctionChanged = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an invocation runs: the version, the ARN as the caller addressed it, and the alias if one was named."""

    version: FunctionVersion
    invoked_arn: str
    alias: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function with everything that hangs on it. ``last_version`` is the highest number ever published.

    ``settings`` is the JSON document of what belongs to the function and is neither version nor alias. Every module
    owns the members it is about (``tags``, ``policies``, ...) and treats them as immutable.
    """

    name: str
    versions: Mapping[str, FunctionVersion]
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    last_version: int = 0

    @property
    def latest(self) -> FunctionVersion:
        """The ``$LATEST`` version."""
        return self.versions[LATEST]

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags, empty if there are none."""
        tags: Mapping[str, str] = self.settings.get("tags", {})
        return tags

    def with_versions(self, *changed: FunctionVersion) -> Function:
        """This function with versions added or replaced."""
        versions = {**self.versions, **{version.version: version for version in changed}}
        numbers = [int(version.version) for version in changed if version.version.isdecimal()]
        return replace(self, versions=versions, last_version=max([self.last_version, *numbers]))

    def without_version(self, version: str) -> Function:
        """This function without one published version."""
        versions = {number: kept for number, kept in self.versions.items() if number != version}
        return replace(self, versions=versions)

    def with_alias(self, alias: Alias) -> Function:
        """This function with an alias added or replaced."""
        return replace(self, aliases={**self.aliases, alias.name: alias})

    def without_alias(self, name: str) -> Function:
        """This function without one alias."""
        aliases = {other: alias for other, alias in self.aliases.items() if other != name}
        return replace(self, aliases=aliases)

    def with_setting(self, member: str, value: Any) -> Function:
        """This function with one member of ``settings`` replaced; an empty value or None takes it away."""
        settings = {other: kept for other, kept in self.settings.items() if other != member}
        if value not in (None, {}, []):
            settings[member] = value
        return replace(self, settings=settings)

    def code_keys(self) -> set[str]:
        """The archives that some version needs, layers included."""
        return set().union(*(version.code_keys for version in self.versions.values()))

    def in_order(self) -> list[FunctionVersion]:
        """All versions: ``$LATEST``, the numbered ones with the oldest first, ``$LATEST.PUBLISHED``."""
        return sorted(self.versions.values(), key=attrgetter("rank"))


class FunctionRegistry:
    """Functions by name, with the rules by which a name and a qualifier become a version.

    Owned by the event loop's thread. Only the control plane calls ``put`` and ``remove``, after the store committed.
    """

    def __init__(self, *, region: str, account_id: str) -> None:
        self.region = region
        self.account_id = account_id
        self._functions: dict[str, Function] = {}
        # Version numbers are never reused: the last ones of functions that were deleted.
        self._last_versions: dict[str, int] = {}
        # Sorted: the order of ListFunctions.
        self._names: list[str] = []
        # How many versions need an archive: an account may have tens of thousands, too many to look at for one change.
        self._code_uses: Counter[str] = Counter()
        # What resolve() found out, until the function changes.
        self._resolutions: dict[str, dict[tuple[str | None, str], Resolution]] = {}
        self._subscribers: list[FunctionChanged] = []

    def __len__(self) -> int:
        return len(self._functions)

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    @property
    def is_blank(self) -> bool:
        """Whether nothing would be lost with it: no function, and no version number that must not be given again."""
        return not self._functions and not any(self._last_versions.values())

    def arn(self, name: str, qualifier: str | None = None) -> str:
        """The ARN of a function of this service, existing or not."""
        return function_arn(self.region, self.account_id, name, qualifier)

    def address(self, text: str, qualifier: str | None = None) -> Address:
        """The bare name and qualifier a caller means; raises as ``addressing.parse_address`` does."""
        return parse_address(text, qualifier, region=self.region, account_id=self.account_id)

    def resolve(self, name: str, qualifier: str | None = None, *, draw: float = 0.0) -> Resolution:
        """What an invocation of ``name`` runs.

        ``draw`` (0.0 <= draw < 1.0) is the caller's random number; only a weighted alias looks at it.
        Raises ResourceNotFound naming the ARN with its qualifier, ``$LATEST`` when none was given (recorded Nov 2025),
        and for managed functions what ``managed_instances.invoked_version`` does.
        """
        function = self._functions.get(name)
        if function is None:
            raise faults.function_not_found(self.arn(name, qualifier or LATEST))
        number = qualifier or LATEST
        alias = function.aliases.get(number)
        if alias is not None:
            number = alias.draw(draw)
        known = self._resolutions.setdefault(name, {})
        resolution = known.get((qualifier, number))
        if resolution is None:
            version = invoked_version(function, qualifier, number)
            if version is None:
                raise faults.function_not_found(self.arn(name, qualifier))
            resolution = Resolution(version, self.arn(name, qualifier), None if alias is None else alias.name)
            known[qualifier, number] = resolution
        return resolution

    def version(self, name: str, qualifier: str | None = None) -> FunctionVersion:
        """The version the management operations mean; an alias gives its main version.

        Raises ResourceNotFound naming the ARN, with a qualifier only when one was given.
        """
        function = self._functions.get(name)
        found = None
        if function is not None:
            alias = function.aliases.get(qualifier) if qualifier is not None else None
            found = function.versions.get(alias.function_version if alias is not None else qualifier or LATEST)
        if found is None:
            raise faults.function_not_found(self.arn(name, qualifier))
        return found

    def function(self, name: str) -> Function:
        """The whole function; raises ResourceNotFound naming its unqualified ARN."""
        function = self._functions.get(name)
        if function is None:
            raise faults.function_not_found(self.arn(name))
        return function

    def last_version(self, name: str) -> int:
        """The highest version number ever given under this name, also to a function deleted since; 0 for none."""
        function = self._functions.get(name)
        return self._last_versions.get(name, 0) if function is None else function.last_version

    def functions(self) -> Iterable[Function]:
        """Every function, in no particular order."""
        return self._functions.values()

    def names_after(self, name: str) -> Iterator[str]:
        """The names that sort after ``name`` (all of them after the empty text), in order.

        To be used up before anything changes.
        """
        names = self._names
        return map(names.__getitem__, range(bisect_right(names, name), len(names)))

    def code_keys(self) -> KeysView[str]:
        """The archives that some version still needs, layers included: also of a layer that was deleted since.

        A view that follows every change.
        """
        return self._code_uses.keys()

    def load(self, functions: Iterable[Function], last_versions: Mapping[str, int]) -> None:
        """Take over what the store holds; nobody is told, for nothing has changed."""
        self._functions = {function.name: function for function in functions}
        self._last_versions = {name: last for name, last in last_versions.items() if name not in self._functions}
        self._names = sorted(self._functions)
        self._resolutions = {}
        self._code_uses = Counter(key for function in self._functions.values() for key in _code_uses(function))

    def put(self, function: Function) -> None:
        """Make a committed change visible and tell the subscribers."""
        former = self._functions.get(function.name)
        if former is None:
            insort(self._names, function.name)
            self._last_versions.pop(function.name, None)
        self._functions[function.name] = function
        self._changed(function.name, former, function)

    def remove(self, name: str) -> None:
        """Forget a function whose deletion was committed and tell the subscribers."""
        former = self._functions.pop(name)
        if former.last_version:
            self._last_versions[name] = former.last_version
        del self._names[bisect_left(self._names, name)]
        self._changed(name, former, None)

    def subscribe(self, callback: FunctionChanged) -> None:
        """Call ``callback(function_name)`` after every change of a function, its versions or its aliases."""
        self._subscribers.append(callback)

    def _changed(self, name: str, former: Function | None, changed: Function | None) -> None:
        self._resolutions.pop(name, None)
        self._count_code(former, changed)
        for callback in self._subscribers:
            callback(name)

    def _count_code(self, former: Function | None, changed: Function | None) -> None:
        uses = self._code_uses
        if changed is not None:
            uses.update(_code_uses(changed))
        for key in _code_uses(former) if former is not None else ():
            uses[key] -= 1
            if not uses[key]:
                del uses[key]


def _code_uses(function: Function) -> Iterator[str]:
    """The archives of every version, once for each version that needs it."""
    return (key for version in function.versions.values() for key in version.code_keys)
