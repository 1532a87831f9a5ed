"""Keeps environments initialised ahead of invocations: starts those that are missing, a few at a time.

Nobody waits for them, so they never take a start from an invocation: they have starts of their own, which the versions
that miss some share in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments.provision import Provision

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.environments.pool import Pool

INIT_FAILED: Final = "FUNCTION_ERROR_INIT_FAILURE"
"""AWS's ``StatusReason`` for a function whose init phase fails."""


class Provisioner:
    """All pools with provisioned concurrency. All methods are called on the event loop.

    ``launch(pool)`` starts an environment, ``no_room()`` tells why there is no room for one; ``limit`` is how many may
    be starting at once.
    """

    __slots__ = ("_launch", "_monotonic", "_no_room", "_pools", "is_closed", "limit", "starting")

    def __init__(
        self,
        launch: Callable[[Pool], object],
        no_room: Callable[[], str],
        monotonic: Callable[[], float],
        limit: int,
    ) -> None:
        self._launch = launch
        self._no_room = no_room
        self._monotonic = monotonic
        self.limit = limit
        self.starting = 0
        self.is_closed = False
        # In the order in which they get the next start.
        self._pools: dict[Pool, None] = {}

    def want(self, pool: Pool, executions: int, token: str = "") -> None:
        """Keep so many environments of the pool initialised, 0 to keep none: see :meth:`Provision.want`."""
        provision = pool.provision
        if provision is None:
            if not executions:
                return
            provision = pool.provision = Provision()
        provision.want(executions, token)
        if executions:
            self._pools[pool] = None
        else:
            self._pools.pop(pool, None)
        pool.drop_surplus()
        self.fill()

    def fill(self) -> None:
        """Start what is missing, as far as that may start now."""
        now = self._monotonic()
        idle_turns = 0
        while self.starting < self.limit and idle_turns < len(self._pools) and not self.is_closed:
            pool = next(iter(self._pools))
            del self._pools[pool]
            self._pools[pool] = None
            provision = pool.provision
            assert provision is not None
            pool.adopt()
            if provision.missing(now) <= pool.held_back:
                idle_turns += 1
                continue
            reason = self._no_room()
            if reason:
                provision.failed(reason, now, final=True)
                continue
            idle_turns = 0
            self.starting += 1
            provision.started()
            self._launch(pool)

    def cancels(self, pool: Pool) -> bool:
        """Whether the environment that is about to begin is not wanted any more."""
        provision = pool.provision
        assert provision is not None
        if not provision.surplus:
            return False
        self.start_ended(provision)
        return True

    def initialised(self, provision: Provision) -> None:
        """An environment has finished its init phase."""
        self.starting -= 1
        provision.initialised()
        self.fill()

    def failed(self, provision: Provision, reason: str = INIT_FAILED) -> None:
        """The init phase of an environment has failed; :meth:`start_ended` follows."""
        provision.failed(reason, self._monotonic())

    def start_ended(self, provision: Provision) -> None:
        """An environment that was starting is gone."""
        self.starting -= 1
        provision.start_ended()
        self.fill()

    def lost(self, provision: Provision) -> None:
        """An environment that was initialised is gone."""
        provision.lost(self._monotonic())
        self.fill()

    def close(self) -> None:
        """Start no more."""
        self.is_closed = True
        self._pools.clear()
