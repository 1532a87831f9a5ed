"""Tags of functions, and of what else has some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.service.functions import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function

MAX_TAGS: Final = 50
TAGS: Final = "tags"


class MappingTags(Protocol):
    """The tags of event source mappings; those of capacity providers, by their names, are the same."""

    def tags(self, uuid: str, /) -> Mapping[str, str]:
        """Those of one mapping. Raises ApiError, 404."""

    async def change_tags(self, uuid: str, tags: Mapping[str, str], /) -> None:
        """Give a mapping these in the place of all it has. Raises ApiError."""


class TagOperations:
    """TagResource, UntagResource, ListTags.

    As recorded, every change of a tag gives ``$LATEST`` a new revision id.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        partly = "functions, event source mappings and capacity providers: the others do not exist here"
        operations.serve("TagResource", partly=partly)(self.tag_resource)
        operations.serve("UntagResource", partly=partly)(self.untag_resource)
        operations.serve("ListTags", partly=partly)(self.list_tags)

    async def tag_resource(self, call: Call) -> Mapping[str, Any]:
        """TagResource: adds tags and replaces those of the same key."""
        return await self._plane.tasks.complete(self._tag(call.members))

    async def _tag(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        mapping = self._mapping(members["Resource"])
        if mapping is not None:
            mappings, uuid = mapping
            if not members["Tags"]:
                raise faults.no_tags()
            await mappings.change_tags(uuid, {**mappings.tags(uuid), **members["Tags"]})
            return {}
        name = self._function_name(members["Resource"])
        async with self._plane.lock(name):
            function = self._plane.registry.function(name)
            if not members["Tags"]:
                raise faults.no_tags()
            tags = {**function.tags, **members["Tags"]}
            check_tags(tags)
            await self._replace(function, tags)
        return {}

    async def untag_resource(self, call: Call) -> Mapping[str, Any]:
        """UntagResource: keys that are not there are no error."""
        return await self._plane.tasks.complete(self._untag(call.members))

    async def _untag(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        mapping = self._mapping(members["Resource"])
        if mapping is not None:
            mappings, uuid = mapping
            kept = {key: value for key, value in mappings.tags(uuid).items() if key not in members["TagKeys"]}
            await mappings.change_tags(uuid, kept)
            return {}
        name = self._function_name(members["Resource"])
        async with self._plane.lock(name):
            function = self._plane.registry.function(name)
            tags = {key: value for key, value in function.tags.items() if key not in members["TagKeys"]}
            await self._replace(function, tags)
        return {}

    async def list_tags(self, call: Call) -> Mapping[str, Any]:
        """ListTags."""
        mapping = self._mapping(call.members["Resource"])
        if mapping is not None:
            mappings, uuid = mapping
            return {"Tags": dict(mappings.tags(uuid))}
        function = self._plane.registry.function(self._function_name(call.members["Resource"]))
        return {"Tags": dict(function.tags)}

    async def _replace(self, function: Function, tags: dict[str, str]) -> None:
        if tags != function.tags:
            changed = function.with_setting(TAGS, tags).with_versions(self._plane.revised(function.latest))
            await self._plane.commit(function, changed)

    def _mapping(self, resource: str) -> tuple[MappingTags, str] | None:
        """What ``resource`` is the ARN of, if it is a mapping or a capacity provider of this account."""
        registry, parts = self._plane.registry, resource.split(":")
        if parts[3:5] != [registry.region, registry.account_id]:
            return None
        if parts[5] == "capacity-provider":
            return self._plane.capacity_providers, parts[6]
        if parts[5] == "event-source-mapping" and self._plane.mapping_tags is not None:
            return self._plane.mapping_tags, parts[6]
        return None

    def _function_name(self, resource: str) -> str:
        """The function that ``resource`` is the ARN of; what else the model lets pass does not exist here."""
        kind = resource.split(":", 6)[5]
        if kind == "code-signing-config":
            raise faults.code_signing_config_not_found(resource)
        if kind != "function":
            # The words of an event source mapping; those of the newer kinds are not known.
            raise faults.no_such_resource()
        address = self._plane.registry.address(resource)
        if address.qualifier is not None:
            raise faults.tags_on_a_qualifier()
        return address.name


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise InvalidParameterValue for tags that a function cannot have: more than 50, or a key that begins ``aws:``.

    Lengths and characters of keys and values are constraints of the service model. Source: Developer Guide, "Using
    tags on Lambda functions", which reserves the prefix in any case of its letters.
    """
    if len(tags) > MAX_TAGS:
        raise faults.too_many_tags()
    if any(key.lower().startswith("aws:") for key in tags):
        raise faults.reserved_tag_key()
