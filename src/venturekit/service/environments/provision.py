"""How many environments of one version are kept initialised, and when another one is started. Pure.

Source: AWS page "Configuring provisioned concurrency" for what is kept and shown. When to give up and when to try again
is a choice: AWS says nothing about it. Times are monotonic seconds.
"""

from __future__ import annotations

from typing import Final

MOST_FAILURES: Final = 3
"""After how many failed inits, none succeeding in between, the allocation has failed."""
RETRY_SECONDS: Final = 60.0
"""How long after that one environment is tried again: what the function needs may be back."""
LOSSES_SECONDS: Final = 60.0
"""Environments that are lost with less than this between them are lost in a row."""
FREE_LOSSES: Final = 2
"""How many are replaced at once in a row, beyond as many as there are: then each waits twice as long."""


class Provision:
    """The environments of one version that are kept initialised: ``wanted`` of them."""

    __slots__ = (
        "_failures",
        "_losses",
        "_lost_at",
        "_not_before",
        "_reached",
        "failure",
        "ready",
        "starting",
        "token",
        "wanted",
    )

    def __init__(self) -> None:
        self.wanted = 0
        self.token = ""
        self.starting = 0
        self.ready = 0
        # Why there are no more: empty while nothing is wrong.
        self.failure = ""
        self._reached = False
        self._failures = 0
        self._losses = 0
        self._lost_at = self._not_before = float("-inf")

    def want(self, executions: int, token: str = "") -> None:
        """Keep so many. A ``token`` that is not the last one: what has failed is tried again at once."""
        if token != self.token:
            self.token = token
            self.failure = ""
            self._failures = self._losses = 0
            self._not_before = float("-inf")
        self._reached = self.ready >= executions or (self._reached and executions <= self.wanted)
        self.wanted = executions

    @property
    def allocated(self) -> int:
        """How many are the version's: one that is being replaced counts."""
        return self.wanted if self._reached else self.available

    @property
    def available(self) -> int:
        """How many of those that are wanted are initialised now."""
        return min(self.ready, self.wanted)

    @property
    def surplus(self) -> int:
        """How many there are too many."""
        return max(self.ready + self.starting - self.wanted, 0)

    def missing(self, now: float) -> int:
        """How many to start now."""
        if now < self._not_before:
            return 0
        missing = max(self.wanted - self.ready - self.starting, 0)
        # What has failed is tried once, not as many times as there should be environments.
        return min(missing, 1 - min(self.starting, 1)) if self.failure else missing

    def started(self) -> None:
        """One begins to initialise."""
        self.starting += 1

    def initialised(self) -> None:
        """One has finished its init phase."""
        self.starting -= 1
        self.ready += 1
        self.failure = ""
        self._failures = 0
        if self.ready >= self.wanted:
            self._reached = True

    def adopted(self) -> None:
        """One that was there already is kept from now on."""
        self.ready += 1
        if self.ready >= self.wanted:
            self._reached = True

    def failed(self, reason: str, now: float, *, final: bool = False) -> None:
        """The init phase of one that is starting has failed; ``final``: others would fail as well."""
        self._failures += 1
        if final or self.failure or self._failures >= MOST_FAILURES:
            self.failure = reason
            self._reached = False
            self._not_before = now + RETRY_SECONDS

    def start_ended(self) -> None:
        """One that was starting is gone, whyever."""
        self.starting -= 1

    def lost(self, now: float) -> None:
        """One that was initialised is gone."""
        self.ready -= 1
        if self.ready >= self.wanted:
            return  # it was one too many
        if now - self._lost_at > LOSSES_SECONDS:
            self._losses = 0
        self._losses += 1
        self._lost_at = now
        over = self._losses - self.wanted - FREE_LOSSES
        if over > 0:
            self._not_before = max(self._not_before, now + min(2.0 ** min(over - 1, 6), RETRY_SECONDS))
