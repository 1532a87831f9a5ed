"""How many environments functions with tenant isolation may have, and which of them go.

Each tenant has environments of its own, so many tenants that come once each would leave as many idle environments.
AWS keeps at most 2,500 for every 1,000 concurrent executions and throttles then (AWS page "Troubleshooting tenant
isolation for Lambda functions"). Here one that is idle goes instead, so that no tenant waits for another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.environments.machine import no_room_reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.pool import Pool


def to_evict(pools: Iterable[Pool], *, starting: Pool, limit: int, is_tight: bool) -> list[Environment]:
    """The idle environments of other tenants that go before another one starts in ``starting``, longest idle first.

    ``is_tight``: one goes although the ``limit`` is not reached. Environments with an invocation stay: with none idle
    the limit is passed, as far as the concurrency of the account lets it.
    """
    of_tenants = [pool for pool in pools if pool.spec.tenant_id]
    surplus = sum(len(pool.environments) for pool in of_tenants) + 1 - limit
    count = max(surplus, 1 if is_tight else 0)
    if count <= 0:
        return []
    idle = [environment for pool in of_tenants if pool is not starting for environment in pool.idle]
    return sorted(idle, key=lambda environment: environment.idle_since)[:count]


def make_room(starting: Pool) -> None:
    """Let go of idle environments, if need be, before another one starts in the pool of a tenant."""
    if not starting.spec.tenant_id:
        return
    host = starting.host
    limit = host.settings.tenant_environments_limit
    for environment in to_evict(host.pools.values(), starting=starting, limit=limit, is_tight=bool(no_room_reason())):
        environment.stop()
