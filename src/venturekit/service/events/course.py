"""What the events of a function and qualifier run, looked up once for those that are claimed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.protocol.lineage import key_of

if TYPE_CHECKING:
    from venturekit.service.events.ports import EventTarget, Pool


class Course:
    """A target with what is asked of it for each event. Only good within one turn of the loop."""

    __slots__ = ("_pool", "_target", "concurrency", "executed_version", "invoked_arn", "lineage_key", "policy")

    def __init__(self, target: EventTarget) -> None:
        self._target = target
        self._pool: Pool | None = None
        self.concurrency = target.concurrency
        self.executed_version = target.executed_version
        self.invoked_arn = target.invoked_arn.encode()
        self.lineage_key = key_of(target.invoked_arn)
        self.policy = target.policy

    @property
    def recursion_allowed(self) -> bool:
        """See :class:`EventTarget`."""
        return self._target.recursion_allowed

    @property
    def timeout_seconds(self) -> int:
        """See :class:`EventTarget`."""
        return self._target.timeout_seconds

    def pool_of(self, tenant_id: str) -> Pool:
        """The environments for a tenant's events, or for those of no tenant. Raises ApiError."""
        if tenant_id:
            return self._target.of_tenant(tenant_id).pool
        if self._pool is None:
            self._pool = self._target.pool
        return self._pool
