"""Function URLs: their configuration."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults
from venturekit.service.functions.paging import page_of_qualifiers
from venturekit.service.functions.settings import (
    URL_CONFIGS,
    find_qualified_setting,
    qualified_settings,
    with_qualified_setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.addressing import Address
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function

ALLOWED_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "*")
BUFFERED: Final = "BUFFERED"
_ID_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 32
_GIVEN: Final = ("AuthType", "Cors", "InvokeMode")


class UrlOperations:
    """CreateFunctionUrlConfig and Get, Update, Delete and List of the same: one URL for the function and each alias.

    Shapes and texts as recorded.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("CreateFunctionUrlConfig")(self.create_config)
        operations.serve("GetFunctionUrlConfig")(self.get_config)
        operations.serve("UpdateFunctionUrlConfig")(self.update_config)
        operations.serve("DeleteFunctionUrlConfig")(self.delete_config)
        operations.serve("ListFunctionUrlConfigs")(self.list_configs)

    async def create_config(self, call: Call) -> Mapping[str, Any]:
        """CreateFunctionUrlConfig; the answer has ``InvokeMode`` only if the request had it."""
        return await self._plane.tasks.complete(self._create(call.members))

    async def _create(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = self._address(members)
        check_cors(members.get("Cors") or {})
        async with plane.lock(address.name):
            function = self._function(address)
            qualifier = address.qualifier or ""
            if function.latest.isolates_tenants:
                raise faults.not_with_tenants("a function URL")
            if qualifier in qualified_settings(function, URL_CONFIGS):
                raise faults.function_url_exists(plane.registry.arn(address.name, address.qualifier))
            now = moment_text(plane.now())
            config = merged({"CreationTime": now, "LastModifiedTime": now}, members)
            await plane.commit(function, with_qualified_setting(function, URL_CONFIGS, qualifier, config))
        shown = self._shown(address.name, qualifier, config)
        del shown["LastModifiedTime"]
        return {**shown, "InvokeMode": members.get("InvokeMode")}

    async def update_config(self, call: Call) -> Mapping[str, Any]:
        """UpdateFunctionUrlConfig: what is absent stays; ``Cors`` is replaced whole, an empty one taken away.

        The answer has ``InvokeMode`` only if the request had it.
        """
        return await self._plane.tasks.complete(self._update(call.members))

    async def _update(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = self._address(members)
        check_cors(members.get("Cors") or {})
        async with plane.lock(address.name):
            function = self._function(address)
            qualifier = address.qualifier or ""
            former = qualified_settings(function, URL_CONFIGS).get(qualifier)
            if former is None:
                raise faults.no_such_resource()
            config = merged(former, members) | {"LastModifiedTime": moment_text(plane.now())}
            await plane.commit(function, with_qualified_setting(function, URL_CONFIGS, qualifier, config))
        return {**self._shown(address.name, qualifier, config), "InvokeMode": members.get("InvokeMode")}

    async def get_config(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionUrlConfig."""
        address = self._address(call.members)
        return self._shown(address.name, address.qualifier or "", self._config(address))

    async def delete_config(self, call: Call) -> Mapping[str, Any]:
        """DeleteFunctionUrlConfig: without a qualifier the function's own; those of aliases stay."""
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = self._address(members)
        async with plane.lock(address.name):
            self._config(address)
            function = plane.registry.function(address.name)
            changed = with_qualified_setting(function, URL_CONFIGS, address.qualifier or "", None)
            await plane.commit(function, changed)
        return {}

    async def list_configs(self, call: Call) -> Mapping[str, Any]:
        """ListFunctionUrlConfigs: the function's own, then those of aliases by name."""
        plane = self._plane
        name = plane.registry.address(call.members["FunctionName"]).name
        if name not in plane.registry:
            raise faults.function_url_target_not_found()
        configs = qualified_settings(plane.registry.function(name), URL_CONFIGS)
        page, marker = page_of_qualifiers(configs, call.members)
        shown = [self._shown(name, qualifier, configs[qualifier]) for qualifier in page]
        return {"FunctionUrlConfigs": shown, "NextMarker": marker}

    def _address(self, members: Mapping[str, Any]) -> Address:
        return self._plane.registry.address(members["FunctionName"], members.get("Qualifier"))

    def _function(self, address: Address) -> Function:
        registry = self._plane.registry
        function = registry.function(address.name) if address.name in registry else None
        if function is None or (address.qualifier is not None and address.qualifier not in function.aliases):
            raise faults.function_url_target_not_found()
        return function

    def _config(self, address: Address) -> Mapping[str, Any]:
        qualifier = address.qualifier or ""
        config: Mapping[str, Any] | None = find_qualified_setting(
            self._plane.registry, address.name, URL_CONFIGS, qualifier
        )
        if config is None:
            raise faults.no_such_resource()
        return config

    def _shown(self, name: str, qualifier: str, config: Mapping[str, Any]) -> dict[str, Any]:
        registry = self._plane.registry
        return {
            "InvokeMode": BUFFERED,
            **config,
            "FunctionUrl": self._plane.function_url(url_id(registry.account_id, name, qualifier)),
            "FunctionArn": registry.arn(name, qualifier or None),
        }


def url_id(account_id: str, function_name: str, qualifier: str) -> str:
    """The id of a function URL: 32 letters and digits, always the same for the same function and alias.

    ``qualifier`` is the alias, or the empty text. AWS draws ids; here an address survives being made again.
    """
    # No part can contain a blank, so different parts never make one text.
    digest = hashlib.sha256(f"{account_id} {function_name} {qualifier}".encode()).digest()
    number = int.from_bytes(digest)
    characters = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ID_ALPHABET))
        characters.append(_ID_ALPHABET[digit])
    return "".join(characters)


def merged(former: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is kept: what the request gives, else what there was."""
    config = {**former, **{member: members[member] for member in _GIVEN if members.get(member) is not None}}
    return {member: value for member, value in config.items() if value != {}}


def check_cors(cors: Mapping[str, Any]) -> None:
    """Raise InvalidParameterValue, in words of our own, for a method that AWS does not take.

    Everything else about ``Cors`` is in the service model. Source of the list: published answers of AWS.
    """
    for method in cors.get("AllowMethods") or ():
        if method not in ALLOWED_METHODS:
            raise faults.invalid_parameter(
                f"Invalid value '{method}' in Cors.AllowMethods: use {', '.join(ALLOWED_METHODS)}"
            )


def moment_text(now: float) -> str:
    """``CreationTime`` as AWS writes it (``2023-06-08T13:20:18.244654Z``); ``now`` in epoch seconds."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
