"""What the service knows about a function: versions, aliases and layers, as immutable snapshots."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.shapes import function_configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

LATEST: Final = "$LATEST"
LATEST_PUBLISHED: Final = "$LATEST.PUBLISHED"
"""What is invoked of a managed function without a qualifier: published from ``$LATEST``, again and again."""

STATE_PENDING: Final = "Pending"
STATE_ACTIVE: Final = "Active"
STATE_ACTIVE_NON_INVOCABLE: Final = "ActiveNonInvocable"
STATE_DEACTIVATED: Final = "Deactivated"
STATE_FAILED: Final = "Failed"
UPDATE_SUCCESSFUL: Final = "Successful"
UPDATE_IN_PROGRESS: Final = "InProgress"
UPDATE_FAILED: Final = "Failed"

SNAP_START_NONE: Final = "None"

TENANCY_CONFIG: Final = "TenancyConfig"
PER_TENANT: Final = "PER_TENANT"

CAPACITY_PROVIDER_CONFIG: Final = "CapacityProviderConfig"
MANAGED_INSTANCES_CONFIG: Final = "LambdaManagedInstancesCapacityProviderConfig"

_LAST_RANK: Final = 2**63

# Neither says anything about what runs: two versions that differ in these alone are the same code and configuration.
_OUTSIDE_FINGERPRINT: Final = frozenset(
    {
        "version",
        "state",
        "state_reason",
        "state_reason_code",
        "last_update_status",
        "last_update_status_reason",
        "last_update_status_reason_code",
        "revision_id",
        "last_modified",
        "identity",
        "published_from",
        "code_size_bytes",
        "unzipped_size_bytes",
        "shows_environment",
    }
)


@dataclass(frozen=True, slots=True)
class LayerReference:
    """One layer version of a function: its ARN, its archive's size and key, the size of what the archive unpacks to.

    A function keeps this: the layer version itself may be deleted meanwhile.
    """

    arn: str
    code_size_bytes: int
    code_key: str
    unzipped_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """One version of a function: ``$LATEST`` or a published, numbered one. Immutable; a change makes a new object.

    ``function_arn`` carries no qualifier. ``code_key`` is the hexadecimal SHA-256 of the code archive, ``code_sha256``
    the same hash in base64 as the API shows it. ``identity`` changes whenever code or configuration changes and never
    otherwise: execution environments are pooled under it. ``published_from`` is the fingerprint of the ``$LATEST`` a
    numbered version was made of. ``extras`` holds members that are stored and echoed unchanged (``VpcConfig``, ...).
    ``shows_environment``: the environment was given once, so it is shown even if it is empty, as recorded.
    """

    name: str
    function_arn: str
    version: str = LATEST
    runtime: str = ""
    handler: str = ""
    role: str = ""
    description: str = ""
    timeout_seconds: int = 3
    memory_size_mb: int = 128
    # Customers keep secrets here, so it stays out of every repr.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    shows_environment: bool = False
    package_type: str = "Zip"
    architectures: tuple[str, ...] = ("x86_64",)
    ephemeral_storage_mb: int = 512
    code_sha256: str = ""
    code_size_bytes: int = 0
    unzipped_size_bytes: int = 0
    code_key: str = ""
    log_format: str = "Text"
    log_group: str = ""
    application_log_level: str | None = None
    system_log_level: str | None = None
    tracing_mode: str = "PassThrough"
    snap_start_apply_on: str = SNAP_START_NONE
    layers: tuple[LayerReference, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    state: str = STATE_PENDING
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: str | None = None
    last_update_status_reason: str | None = None
    last_update_status_reason_code: str | None = None
    revision_id: str = ""
    last_modified: str = ""
    identity: str = ""
    published_from: str | None = None

    @property
    def qualified_arn(self) -> str:
        """The ARN ending in ``:<version>``."""
        return f"{self.function_arn}:{self.version}"

    @property
    def region(self) -> str:
        """The region named in the ARN."""
        return self.function_arn.split(":", 4)[3]

    @property
    def has_bootstrap(self) -> bool:
        """Whether the archive itself brings the runtime (``provided.*``)."""
        return self.runtime.startswith("provided")

    @property
    def isolates_tenants(self) -> bool:
        """Whether no two tenants share an execution environment (AWS page "Tenant isolation")."""
        tenancy: Mapping[str, Any] = self.extras.get(TENANCY_CONFIG) or {}
        return tenancy.get("TenantIsolationMode") == PER_TENANT

    @property
    def managed_instances(self) -> Mapping[str, Any] | None:
        """The configuration of a managed function: its capacity provider, and how many invocations at once."""
        config: Mapping[str, Any] | None = self.extras.get(CAPACITY_PROVIDER_CONFIG)
        return None if config is None else config[MANAGED_INSTANCES_CONFIG]

    @property
    def is_managed(self) -> bool:
        """Whether the function has a capacity provider (AWS page "Lambda Managed Instances")."""
        return CAPACITY_PROVIDER_CONFIG in self.extras

    @property
    def capacity_provider_arn(self) -> str:
        """The ARN of the capacity provider, or the empty text."""
        config = self.managed_instances
        return "" if config is None else config["CapacityProviderArn"]

    @property
    def max_concurrency(self) -> int:
        """How many invocations one execution environment has at once at most; 0 unless the function is managed."""
        config = self.managed_instances
        return 0 if config is None else config["PerExecutionEnvironmentMaxConcurrency"]

    @property
    def is_published(self) -> bool:
        """Whether it was published: numbered, or ``$LATEST.PUBLISHED``."""
        return self.version != LATEST

    @property
    def rank(self) -> int:
        """Its place among the versions of its function: ``$LATEST``, the numbers, ``$LATEST.PUBLISHED``."""
        if self.version == LATEST:
            return 0
        return _LAST_RANK if self.version == LATEST_PUBLISHED else int(self.version)

    @property
    def code_keys(self) -> frozenset[str]:
        """The archives it needs: its own and those of its layers."""
        return frozenset((self.code_key, *(layer.code_key for layer in self.layers)))

    def configuration(self, *, qualifier: str | None = None, listed: bool = False) -> dict[str, Any]:
        """The ``FunctionConfiguration`` members of this version, in the shape and with the defaults of AWS.

        ``qualifier`` (a version or alias as addressed) is appended to ``FunctionArn``; without one the ARN stays
        unqualified. ``listed`` leaves out what ListFunctions leaves out.
        """
        return function_configuration(self, qualifier=qualifier, listed=listed)

    def fingerprint(self) -> str:
        """A hash over code and configuration, equal for two versions exactly when nothing that matters differs."""
        document = {name: value for name, value in self.to_document().items() if name not in _OUTSIDE_FINGERPRINT}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """This version as a JSON document for the store."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        document["environment"] = dict(self.environment)
        document["extras"] = dict(self.extras)
        document["architectures"] = list(self.architectures)
        document["layers"] = [
            [layer.arn, layer.code_size_bytes, layer.code_key, layer.unzipped_size_bytes] for layer in self.layers
        ]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> FunctionVersion:
        """The inverse of ``to_document``; members a former release did not write get their defaults."""
        members = {name: value for name, value in document.items() if name in _VERSION_MEMBERS}
        members["architectures"] = tuple(members.get("architectures", ("x86_64",)))
        members["layers"] = tuple(LayerReference(*layer) for layer in members.get("layers", ()))
        return cls(**members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version, or for two versions among which each invocation is drawn.

    ``additional_version`` gets the share ``additional_weight`` (0.0 to 1.0) of the invocations.
    """

    function_arn: str
    name: str
    function_version: str
    description: str = ""
    additional_version: str | None = None
    additional_weight: float = 0.0
    revision_id: str = ""

    @property
    def arn(self) -> str:
        """The ARN of the alias."""
        return f"{self.function_arn}:{self.name}"

    def versions(self) -> frozenset[str]:
        """Every version this alias may send an invocation to."""
        return frozenset({self.function_version, self.additional_version or self.function_version})

    def draw(self, chance: float) -> str:
        """The version for one invocation; ``chance`` is a random number, 0.0 <= chance < 1.0."""
        if self.additional_version is not None and chance >= 1.0 - self.additional_weight:
            return self.additional_version
        return self.function_version

    def configuration(self) -> dict[str, Any]:
        """The ``AliasConfiguration`` members of AWS's shape."""
        members: dict[str, Any] = {
            "AliasArn": self.arn,
            "Name": self.name,
            "FunctionVersion": self.function_version,
            "Description": self.description,
            "RevisionId": self.revision_id,
        }
        if self.additional_version is not None:
            members["RoutingConfig"] = {"AdditionalVersionWeights": {self.additional_version: self.additional_weight}}
        return members

    def to_document(self) -> dict[str, Any]:
        """This alias as a JSON document for the store."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Alias:
        """The inverse of ``to_document``."""
        return cls(**{name: value for name, value in document.items() if name in _ALIAS_MEMBERS})


# Worked out once: a service may load tens of thousands of documents when it starts.
_VERSION_MEMBERS: Final = frozenset(item.name for item in fields(FunctionVersion))
_ALIAS_MEMBERS: Final = frozenset(item.name for item in fields(Alias))


def last_modified_text(now: float) -> str:
    """``LastModified`` as AWS writes it (``2023-01-01T00:00:00.000+0000``); ``now`` in epoch seconds."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
