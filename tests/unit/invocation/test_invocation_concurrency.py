"""How many invocations run at once: what is reserved for a function is its own, and taken from the others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.invocation.concurrency import ACCOUNT_EXCEEDED, RESERVED_EXCEEDED, AccountConcurrency


def test_functions_share_what_nobody_has_reserved() -> None:
    account = AccountConcurrency(3)
    first, second = account.function("a"), account.function("b")
    assert [first.take(), second.take(), first.take()] == [True] * 3
    assert (second.take(), second.exceeded) == (False, ACCOUNT_EXCEEDED)
    first.release()
    assert second.take()
    assert account.running == 3


def test_a_reservation_is_a_share_and_a_bound() -> None:
    account = AccountConcurrency(3)
    account.reserve("a", 2)
    reserved, other = account.function("a"), account.function("b")
    assert [other.take(), other.take()] == [True, False]
    assert [reserved.take(), reserved.take(), reserved.take()] == [True, True, False]
    assert reserved.exceeded == RESERVED_EXCEEDED
    account.reserve("a", 0)
    reserved.release()
    assert not reserved.take()


def test_what_runs_while_a_reservation_comes_and_goes_is_counted_once() -> None:
    account = AccountConcurrency(4)
    function, other = account.function("a"), account.function("b")
    assert function.take()
    assert function.take()
    account.reserve("a", 1)
    assert not function.take()
    assert [other.take() for _ in range(4)] == [True, True, True, False]
    account.reserve("a", None)
    assert account.unreserved_running == 5
    function.release()
    function.release()
    for _ in range(3):
        other.release()
    assert (account.unreserved_running, account.unreserved_limit, account.running) == (0, 4, 0)


def test_a_deleted_function_gives_back_what_it_had() -> None:
    account = AccountConcurrency(2)
    account.reserve("a", 1)
    gone = account.function("a")
    assert gone.take()
    account.forget("a")
    assert account.unreserved_limit == 2
    assert account.function("a") is not gone
    gone.release()
    assert account.unreserved_running == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "release", "reserve", "unreserve", "forget"]), st.sampled_from("ab"), st.integers(0, 3)
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_no_sequence_of_changes_loses_or_invents_an_invocation(steps: list[tuple[str, str, int]]) -> None:
    account = AccountConcurrency(6)
    running = []
    for step, name, number in steps:
        if step == "take":
            function = account.function(name)
            if function.take():
                running.append(function)
        elif step == "release" and running:
            running.pop(number % len(running)).release()
        elif step == "reserve":
            account.reserve(name, number)
        elif step == "unreserve":
            account.reserve(name, None)
        elif step == "forget":
            account.forget(name)
        assert account.unreserved_running == sum(function.reserved is None for function in running)
    for function in running:
        function.release()
    account.reserve("a", None)
    account.reserve("b", None)
    assert (account.unreserved_running, account.unreserved_limit) == (0, 6)
