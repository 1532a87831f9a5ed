"""The layers this service has, in memory: all accounts' in one place, because accounts share them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from venturekit.service.functions.records import LayerReference

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView, Mapping

    from venturekit.service.store import StoredLayers


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One version of a layer. Immutable; only its policy ever changes, and that makes a new object.

    ``layer_arn`` carries no version. ``code_key`` and ``code_sha256`` are those of the archive, as with functions.
    ``compatible_runtimes`` and ``compatible_architectures`` are None where none were given, which AWS tells apart from
    an empty list. ``policy`` holds the statements as the API shows them.
    """

    layer_arn: str
    version: int
    code_key: str
    code_sha256: str
    code_size_bytes: int
    unzipped_size_bytes: int
    created_date: str
    description: str = ""
    license_info: str | None = None
    compatible_runtimes: tuple[str, ...] | None = None
    compatible_architectures: tuple[str, ...] | None = None
    policy: tuple[Mapping[str, Any], ...] = ()
    policy_revision_id: str = ""

    @property
    def arn(self) -> str:
        """The ARN ending in ``:<version>``."""
        return f"{self.layer_arn}:{self.version}"

    @property
    def account_id(self) -> str:
        """The account it belongs to."""
        return self.layer_arn.split(":", 5)[4]

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.layer_arn.rpartition(":")[2]

    def reference(self) -> LayerReference:
        """What a function keeps of it: enough to run after it was deleted."""
        return LayerReference(self.arn, self.code_size_bytes, self.code_key, self.unzipped_size_bytes)

    def is_compatible(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether it was published for both; None asks for nothing, and one published for nothing matches nothing."""
        return (runtime is None or runtime in (self.compatible_runtimes or ())) and (
            architecture is None or architecture in (self.compatible_architectures or ())
        )

    def to_document(self) -> dict[str, Any]:
        """This version as a JSON document for the store."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> LayerVersion:
        """The inverse of ``to_document``."""
        known = {item.name for item in fields(cls)}
        members: dict[str, Any] = {name: value for name, value in document.items() if name in known}
        for name in ("compatible_runtimes", "compatible_architectures", "policy"):
            if members.get(name) is not None:
                members[name] = tuple(members[name])
        return cls(**members)


class LayerRegistry:
    """Layer versions by ARN. Owned by the event loop's thread; changed only after the store committed."""

    def __init__(self) -> None:
        self._layers: dict[str, dict[int, LayerVersion]] = {}
        # Sorted, so that the layers of one account stand together and in the order of their names.
        self._arns: list[str] = []
        # Numbers are never reused, so the counters outlive the versions.
        self._last_versions: dict[tuple[str, str], int] = {}
        # How many versions need an archive: it is asked for at every change of code, when there may be thousands.
        self._code_uses: Counter[str] = Counter()

    def load(self, stored: StoredLayers) -> None:
        """Take over what the store holds."""
        self._layers = {}
        self._arns = []
        self._code_uses = Counter()
        self._last_versions = dict(stored.last_versions)
        for item in stored.versions:
            self.put(LayerVersion.from_document(item.document))

    def find(self, layer_version_arn: str) -> LayerVersion | None:
        """The layer version with this ARN, or None."""
        layer, _, number = layer_version_arn.rpartition(":")
        return self.version(layer, int(number)) if number.isdecimal() else None

    def version(self, layer_arn: str, number: int) -> LayerVersion | None:
        """One version of a layer, or None."""
        return self._layers.get(layer_arn, {}).get(number)

    def versions(self, layer_arn: str) -> list[LayerVersion]:
        """All versions of a layer, newest first; empty for a layer that does not exist."""
        versions = self._layers.get(layer_arn, {})
        return [versions[number] for number in sorted(versions, reverse=True)]

    def layer_arns(self, prefix: str, after: str = "") -> Iterator[str]:
        """The ARNs of the layers that have a version and whose ARN is ``prefix`` and a name after ``after``."""
        arns = self._arns
        for index in range(bisect_right(arns, prefix + after), len(arns)):
            if not arns[index].startswith(prefix):
                return
            yield arns[index]

    def last_version(self, account_id: str, name: str) -> int:
        """The highest number ever given in this layer, also to a version deleted since; 0 for none."""
        return self._last_versions.get((account_id, name), 0)

    def code_keys(self) -> KeysView[str]:
        """The archives that some layer version needs: a view that follows every change."""
        return self._code_uses.keys()

    def put(self, version: LayerVersion) -> None:
        """Show a version that is new or whose policy has changed."""
        versions = self._layers.get(version.layer_arn)
        if versions is None:
            versions = self._layers[version.layer_arn] = {}
            insort(self._arns, version.layer_arn)
        if version.version not in versions:
            self._code_uses[version.code_key] += 1
        versions[version.version] = version
        key = (version.account_id, version.name)
        self._last_versions[key] = max(self._last_versions.get(key, 0), version.version)

    def remove(self, version: LayerVersion) -> None:
        """Forget a version whose deletion was committed."""
        versions = self._layers[version.layer_arn]
        del versions[version.version]
        self._code_uses[version.code_key] -= 1
        if not self._code_uses[version.code_key]:
            del self._code_uses[version.code_key]
        if not versions:
            del self._layers[version.layer_arn]
            del self._arns[bisect_left(self._arns, version.layer_arn)]
