"""What this package needs from the others, as small protocols: :mod:`venturekit.service.app` brings them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from venturekit.service.environments.statistics import FunctionStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class Invocation(Protocol):
    """One event on its way through an execution environment."""

    request_id: bytes
    invoked_arn: bytes
    """The ARN as the caller addressed the function, for ``Lambda-Runtime-Invoked-Function-Arn``."""
    payload: bytes | bytearray
    trace: bytes
    extra_headers: bytes
    """Whole header lines for the runtime beyond the usual ones (client context, tenant, ...), or nothing."""
    tail: bool
    """The caller wants the end of the log."""
    enqueued: float
    """Monotonic seconds at which it began to wait for an environment."""

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """The outcome: ``error`` is empty on success, else the value of ``X-Amz-Function-Error``. Called once."""

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        """The runtime begins to stream its response. Whether whoever invoked takes it by :meth:`chunks`, as it comes.

        ``resume`` is to be called when somebody for whom :meth:`chunks` has returned False has caught up.
        """

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        """What has come of the response in one go; False when no more should come for now.

        :meth:`settle` follows the last ones.
        """

    def reject(self, reason: str) -> None:
        """It was not run: no environment could be had in time. Called once, instead of :meth:`settle`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """All that an execution environment must know of its function's version.

    ``code_key`` names the archive that ``code_directory`` is unpacked from. ``identity`` changes with code and
    configuration: environments of one identity are interchangeable. ``layers`` are unpacked layer folders, in the
    order in which later ones win, ``layer_keys`` name the archives they are unpacked from.
    """

    identity: str
    function_name: str
    function_version: str
    function_arn: str
    runtime: str
    handler: str
    timeout_ms: int
    memory_size_mb: int
    ephemeral_storage_mb: int
    code_key: str
    code_directory: Path
    log_group: str
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None
    layers: tuple[Path, ...] = ()
    layer_keys: tuple[str, ...] = ()
    # Customers keep secrets here: out of every repr.
    statistics: FunctionStatistics = field(default_factory=FunctionStatistics, repr=False, compare=False)
    """What counts the function's invocations."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    initialization_type: str = "on-demand"
    """What ``AWS_LAMBDA_INITIALIZATION_TYPE`` says."""
    tenant_id: str = ""
    """Whose invocations alone the environment serves, with tenant isolation."""
    max_concurrency: int = 0
    """How many invocations a managed instance's environment has at once at most; 0 for all other functions."""

    @property
    def pool_key(self) -> tuple[str, ...]:
        """What environments have in common that are interchangeable: function, version, identity, and tenant if any."""
        key = (self.function_arn, self.function_version, self.identity)
        return (*key, self.tenant_id) if self.tenant_id else key
