"""How many environments are kept initialised: when one is started, given up, and started again."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from venturekit.service.environments.provision import (
    FREE_LOSSES,
    LOSSES_SECONDS,
    MOST_FAILURES,
    RETRY_SECONDS,
    Provision,
)


def ready(executions: int) -> Provision:
    provision = Provision()
    provision.want(executions, "a")
    for _ in range(executions):
        provision.started()
        provision.initialised()
    return provision


def fail(provision: Provision, now: float, reason: str = "why") -> None:
    provision.started()
    provision.failed(reason, now)
    provision.start_ended()


def test_all_are_allocated_once_all_are_initialised() -> None:
    provision = Provision()
    provision.want(2)
    assert provision.missing(0.0) == 2
    provision.started()
    provision.started()
    assert (provision.missing(0.0), provision.allocated) == (0, 0)
    provision.initialised()
    assert (provision.allocated, provision.available) == (1, 1)
    provision.initialised()
    assert (provision.allocated, provision.available) == (2, 2)
    provision.lost(1.0)
    assert (provision.allocated, provision.available, provision.missing(1.0)) == (2, 1, 1)


def test_more_are_not_allocated_before_they_are_there() -> None:
    provision = ready(2)
    provision.want(3, "b")
    assert (provision.allocated, provision.missing(0.0)) == (2, 1)
    provision.want(1, "c")
    assert (provision.allocated, provision.surplus) == (1, 1)
    provision.lost(0.0)
    assert (provision.allocated, provision.available, provision.missing(0.0)) == (1, 1, 0)


def test_it_is_given_up_after_a_few_failures_and_tried_again_later() -> None:
    provision = Provision()
    provision.want(5, "a")
    for _ in range(MOST_FAILURES):
        assert (provision.missing(0.0), provision.failure) == (5, "")
        fail(provision, 0.0)
    assert (provision.missing(RETRY_SECONDS - 1), provision.failure) == (0, "why")
    assert provision.missing(RETRY_SECONDS) == 1
    fail(provision, RETRY_SECONDS, "still")
    assert (provision.missing(RETRY_SECONDS + 1), provision.failure) == (0, "still")
    provision.started()
    assert provision.missing(3 * RETRY_SECONDS) == 0
    provision.initialised()
    assert (provision.missing(3 * RETRY_SECONDS), provision.failure) == (4, "")


def test_a_new_request_tries_again_at_once() -> None:
    provision = Provision()
    provision.want(2, "a")
    provision.failed("no room", 0.0, final=True)
    provision.want(2, "a")
    assert (provision.missing(1.0), provision.failure) == (0, "no room")
    provision.want(2, "b")
    assert (provision.missing(1.0), provision.failure) == (2, "")


def test_failures_between_successes_do_not_count() -> None:
    provision = Provision()
    provision.want(100)
    for _ in range(10):
        fail(provision, 0.0)
        provision.started()
        provision.initialised()
    assert provision.failure == ""


def test_environments_that_keep_dying_are_replaced_ever_more_slowly() -> None:
    provision = ready(1)
    now, waits = 0.0, []
    for _ in range(FREE_LOSSES + 9):
        provision.lost(now)
        begin = now
        while not provision.missing(now):
            now += 0.5
        waits.append(now - begin)
        provision.started()
        provision.initialised()
    assert waits == [0.0] * (FREE_LOSSES + 1) + [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    provision.lost(now + LOSSES_SECONDS + 1)
    assert provision.missing(now + LOSSES_SECONDS + 1) == 1


def test_all_that_die_at_once_are_replaced_at_once() -> None:
    provision = ready(50)
    for _ in range(50):
        provision.lost(0.0)
    assert provision.missing(0.0) == 50


class Machine(RuleBasedStateMachine):
    """Whatever happens in whatever order: never more than wanted are started, and what is shown adds up."""

    def __init__(self) -> None:
        super().__init__()
        self.provision = Provision()
        self.now = 0.0

    @rule(executions=st.integers(0, 4), token=st.sampled_from("abc"))
    def want(self, executions: int, token: str) -> None:
        self.provision.want(executions, token)

    @rule(seconds=st.floats(0.0, 200.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def start(self) -> None:
        for _ in range(self.provision.missing(self.now)):
            self.provision.started()

    @precondition(lambda self: self.provision.starting)
    @rule(how=st.sampled_from(["initialised", "failed", "stopped"]))
    def end_start(self, how: str) -> None:
        if how == "initialised":
            self.provision.initialised()
            return
        if how == "failed":
            self.provision.failed("why", self.now)
        self.provision.start_ended()

    @precondition(lambda self: self.provision.ready)
    @rule()
    def lose(self) -> None:
        self.provision.lost(self.now)

    @invariant()
    def adds_up(self) -> None:
        provision = self.provision
        assert min(provision.starting, provision.ready, provision.missing(self.now), provision.surplus) >= 0
        assert provision.available <= provision.allocated <= provision.wanted
        assert provision.missing(self.now) == 0 or provision.surplus == 0
        assert (
            provision.starting + provision.ready + provision.missing(self.now) <= provision.wanted + provision.surplus
        )
        # Time heals: there is no state in which nothing is ever started again.
        assert provision.missing(self.now + RETRY_SECONDS) > 0 or (
            provision.starting + provision.ready >= provision.wanted or provision.starting
        )


Machine.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)
TestMachine = Machine.TestCase
