"""Layers: publish, get, list, delete."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults
from venturekit.service.functions.code import archive_faults
from venturekit.service.functions.code_source import archive_of
from venturekit.service.functions.layer_access import readable_version, refusal
from venturekit.service.functions.layer_addressing import (
    LayerAddress,
    check_number,
    parse_layer,
    parse_layer_version,
)
from venturekit.service.functions.layer_registry import LayerVersion
from venturekit.service.functions.paging import decode_marker, encode_marker, page_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.code_storage import StoredCode
    from venturekit.service.functions.plane import ControlPlane


class LayerOperations:
    """PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions, DeleteLayerVersion."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("PublishLayerVersion", partly="S3ObjectStorageMode REFERENCE is refused")(
            self.publish_layer_version
        )
        operations.serve("GetLayerVersion")(self.get_layer_version)
        operations.serve("GetLayerVersionByArn")(self.get_layer_version_by_arn)
        operations.serve("ListLayers")(self.list_layers)
        operations.serve("ListLayerVersions")(self.list_layer_versions)
        operations.serve("DeleteLayerVersion")(self.delete_layer_version)

    async def publish_layer_version(self, call: Call) -> Mapping[str, Any]:
        """PublishLayerVersion: a new version each time, also of the same content."""
        return await self._plane.tasks.complete(self._publish(call.members))

    async def _publish(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = self._own(members["LayerName"], "PublishLayerVersion")
        data = await archive_of(members["Content"], plane.fetch_code)
        async with plane.lock(lock_name(address)), archive_faults(plane.log), plane.code.admitted(data) as code:
            number = plane.layers.last_version(address.account_id, address.name) + 1
            version = _new_version(address, number, code, members, plane.now_text())
            with plane.committing():
                await plane.store.create_layer_version(address.name, number, version.to_document())
            plane.layers.put(version)
        return self._whole(version)

    async def get_layer_version(self, call: Call) -> Mapping[str, Any]:
        """GetLayerVersion: what it is, and where to download it; of another account if its policy allows that."""
        registry = self._plane.registry
        address = parse_layer(call.members["LayerName"], region=registry.region, account_id=registry.account_id)
        return self._get(address, call.members["VersionNumber"])

    async def get_layer_version_by_arn(self, call: Call) -> Mapping[str, Any]:
        """GetLayerVersionByArn."""
        return self._get(*parse_layer_version(call.members["Arn"], region=self._plane.registry.region))

    async def list_layers(self, call: Call) -> Mapping[str, Any]:
        """ListLayers by name, each with its newest version that matches; those without one are left out."""
        limit, (after, _) = _page(call.members)
        page = list(islice(self._newest(call.members, after), limit + 1))
        layers = [
            {"LayerName": version.name, "LayerArn": version.layer_arn, "LatestMatchingVersion": _listed(version)}
            for version in page[:limit]
        ]
        answer: dict[str, Any] = {"Layers": layers}
        if len(page) > limit:
            answer["NextMarker"] = encode_marker(page[limit - 1].name)
        return answer

    async def list_layer_versions(self, call: Call) -> Mapping[str, Any]:
        """ListLayerVersions, newest first; empty for a layer that does not exist (as recorded)."""
        members = call.members
        address = self._own(members["LayerName"], "ListLayerVersions")
        limit, (_, before) = _page(members)
        page = [
            version
            for version in self._plane.layers.versions(address.arn)
            if (not before or version.version < before)
            and version.is_compatible(members.get("CompatibleRuntime"), members.get("CompatibleArchitecture"))
        ][: limit + 1]
        answer: dict[str, Any] = {"LayerVersions": [_listed(version) for version in page[:limit]]}
        if len(page) > limit:
            answer["NextMarker"] = encode_marker(address.name, page[limit - 1].version)
        return answer

    async def delete_layer_version(self, call: Call) -> Mapping[str, Any]:
        """DeleteLayerVersion: also of one that does not exist. Functions that have it keep it; its number is gone."""
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        number = members["VersionNumber"]
        address = self._own(members["LayerName"], "DeleteLayerVersion", number)
        check_number(number)
        async with plane.lock(lock_name(address)):
            version = plane.layers.version(address.arn, number)
            if version is None:
                return {}
            with plane.committing():
                await plane.store.delete_layer_version(address.name, number)
            plane.layers.remove(version)
        plane.tasks.spawn(plane.code.collect(version.code_key))
        return {}

    def _get(self, address: LayerAddress, number: int) -> Mapping[str, Any]:
        plane = self._plane
        check_number(number)
        version = readable_version(
            plane.layers,
            address.version_arn(number),
            region=plane.registry.region,
            account_id=plane.registry.account_id,
            owner=address.account_id,
        )
        if version is None:
            raise faults.no_such_resource()
        return self._whole(version)

    def _own(self, layer_name: str, operation: str, number: int | None = None) -> LayerAddress:
        return own_layer(self._plane, layer_name, operation, number)

    def _newest(self, members: Mapping[str, Any], after: str) -> Iterator[LayerVersion]:
        layers, registry = self._plane.layers, self._plane.registry
        runtime, architecture = members.get("CompatibleRuntime"), members.get("CompatibleArchitecture")
        prefix = LayerAddress(registry.region, registry.account_id, "").arn
        for arn in layers.layer_arns(prefix, after):
            matching = (version for version in layers.versions(arn) if version.is_compatible(runtime, architecture))
            newest = next(matching, None)
            if newest is not None:
                yield newest

    def _whole(self, version: LayerVersion) -> dict[str, Any]:
        content = {
            "Location": self._plane.code_location(version.code_key),
            "CodeSha256": version.code_sha256,
            "CodeSize": version.code_size_bytes,
        }
        return {"Content": content, "LayerArn": version.layer_arn, **_listed(version)}


def own_layer(plane: ControlPlane, layer_name: str, operation: str, number: int | None = None) -> LayerAddress:
    """The layer of the plane's own account that ``LayerName`` means.

    Raises ResourceNotFound (another region) and, for a layer of another account, AccessDenied: a policy can grant
    nothing but GetLayerVersion.
    """
    registry = plane.registry
    address = parse_layer(layer_name, region=registry.region, account_id=registry.account_id)
    if address.account_id != registry.account_id:
        resource = address.arn if number is None else address.version_arn(number)
        raise refusal(registry.region, registry.account_id, f"lambda:{operation}", resource)
    return address


def lock_name(address: LayerAddress) -> str:
    """The name of the lock under which a layer is changed; no function can have it."""
    return f"layer:{address.name}"


def _new_version(
    address: LayerAddress, number: int, code: StoredCode, members: Mapping[str, Any], created_date: str
) -> LayerVersion:
    runtimes, architectures = members.get("CompatibleRuntimes"), members.get("CompatibleArchitectures")
    return LayerVersion(
        layer_arn=address.arn,
        version=number,
        code_key=code.key,
        code_sha256=code.sha256,
        code_size_bytes=code.size_bytes,
        unzipped_size_bytes=code.unzipped_bytes,
        created_date=created_date,
        description=members.get("Description") or "",
        license_info=members.get("LicenseInfo") or None,
        compatible_runtimes=None if runtimes is None else tuple(runtimes),
        compatible_architectures=None if architectures is None else tuple(architectures),
    )


def _listed(version: LayerVersion) -> dict[str, Any]:
    """``LayerVersionsListItem`` members; members that were not given are left out (as recorded)."""
    runtimes, architectures = version.compatible_runtimes, version.compatible_architectures
    members = {
        "LayerVersionArn": version.arn,
        "Version": version.version,
        "Description": version.description,
        "CreatedDate": version.created_date,
        "CompatibleArchitectures": None if architectures is None else list(architectures),
        "CompatibleRuntimes": None if runtimes is None else list(runtimes),
        "LicenseInfo": version.license_info,
    }
    return {name: value for name, value in members.items() if value is not None}


def _page(members: Mapping[str, Any]) -> tuple[int, tuple[str, int]]:
    """How many items, and after which; raises InvalidParameterValue for a marker that no former page gave."""
    marker = members.get("Marker")
    return page_size(members), decode_marker(marker) if marker else ("", 0)
