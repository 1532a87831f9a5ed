"""How many invocations run at once: what is reserved for a function is its own, and taken from the others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.invocation.concurrency import (
    ACCOUNT_EXCEEDED,
    RESERVED_EXCEEDED,
    AccountConcurrency,
    Concurrency,
    VersionConcurrency,
)


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


def test_provisioned_concurrency_is_a_version_s_own_and_what_is_over_it_the_function_s() -> None:
    account = AccountConcurrency(4)
    account.provision("a", {"1": 2})
    assert account.unreserved_limit == 2
    version, function = account.version("a", "1"), account.version("a", "2")
    assert function is account.function("a")
    assert [version.take() for _ in range(5)] == [True] * 4 + [False]
    assert (version.exceeded, account.unreserved_running, account.running) == (ACCOUNT_EXCEEDED, 2, 4)
    assert not function.take()
    # Whichever ends: those on demand are fewer at once.
    version.release()
    assert function.take()
    assert (version.room, function.room) == (0, 0)


def test_a_reservation_that_is_all_provisioned_leaves_nothing() -> None:
    account = AccountConcurrency(10)
    account.reserve("a", 2)
    account.provision("a", {"1": 2})
    assert (account.unreserved_limit, account.function("a").bound, account.function("a").room) == (8, 0, 2)
    assert not account.version("a", "$LATEST").take()
    assert account.function("a").exceeded == RESERVED_EXCEEDED
    assert account.version("a", "1").take()
    account.reserve("a", 3)
    assert account.version("a", "$LATEST").take()
    account.reserve("a", None)
    assert (account.unreserved_limit, account.unreserved_running) == (8, 1)


def test_what_runs_while_versions_get_and_lose_it_is_counted_once() -> None:
    account = AccountConcurrency(5)
    before = account.version("a", "1")
    assert before.take()
    account.provision("a", {"1": 2})
    during = account.version("a", "1")
    assert [during.take() for _ in range(3)] == [True] * 3
    assert (account.unreserved_running, account.running) == (2, 4)
    account.provision("a", {"1": 1})
    assert (account.unreserved_running, account.running) == (3, 4)
    account.provision("a", {"1": 3})
    assert (account.unreserved_running, account.running) == (1, 4)
    account.provision("a", {})
    assert (account.unreserved_running, account.unreserved_limit) == (4, 5)
    account.provision("a", {"1": 1})
    for _ in range(3):
        during.release()
    before.release()
    assert (account.unreserved_running, account.running) == (0, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "release", "reserve", "unreserve", "provision", "withdraw", "forget"]),
        st.sampled_from("ab"),
        st.integers(0, 3),
        st.sampled_from(["$LATEST", "1", "2"]),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_no_sequence_of_changes_loses_or_invents_an_invocation(steps: list[tuple[str, str, int, str]]) -> None:
    account = AccountConcurrency(6)
    running: list[Concurrency] = []
    provisioned: dict[str, dict[str, int]] = {"a": {}, "b": {}}
    for step, name, number, version in steps:
        if step == "take":
            counter = account.version(name, version)
            room = counter.room
            if counter.take():
                assert room > 0
                running.append(counter)
            else:
                assert counter.own_room <= 0
        elif step == "release" and running:
            running.pop(number % len(running)).release()
        elif step == "reserve":
            account.reserve(name, number)
        elif step == "unreserve":
            account.reserve(name, None)
        elif step == "provision" and version != "$LATEST" and number:
            provisioned[name] |= {version: number}
            account.provision(name, provisioned[name])
        elif step == "withdraw":
            provisioned[name].pop(version, None)
            account.provision(name, provisioned[name])
        elif step == "forget":
            account.forget(name)
            provisioned[name] = {}
        counters = {id(counter): counter for counter in running}.values()
        within = {id(counter): counter.within for counter in counters if isinstance(counter, VersionConcurrency)}
        unreserved = [counter for counter in running if counter.reserved is None]
        assert account.unreserved_running == len(unreserved) - sum(
            within.get(id(counter), 0) for counter in counters if counter.reserved is None
        )
        assert account.unreserved_limit == 6 - sum(account.function(each).set_aside for each in "ab")
        for each in "ab":
            of_function = account.function(each)
            assert of_function.provisioned == sum(provisioned[each].values())
            assert all(0 <= one.within <= one.provisioned for one in of_function.versions.values())
            assert not any(one.beyond and one.own_room for one in of_function.versions.values())
    for counter in running:
        counter.release()
    assert account.running == 0
    for each in "ab":
        account.provision(each, {})
    account.reserve("a", None)
    account.reserve("b", None)
    assert (account.unreserved_running, account.unreserved_limit) == (0, 6)


def test_a_version_may_have_a_bound_of_its_own() -> None:
    account = AccountConcurrency(10)
    account.bound("f", {"1": 2})
    bounded, other = account.version("f", "1"), account.version("f", "2")
    assert [bounded.take() for _ in range(3)] == [True, True, False]
    assert (bounded.exceeded, bounded.room) == (ACCOUNT_EXCEEDED, 0)
    assert [other.take() for _ in range(9)] == [True] * 8 + [False]
    assert account.running == 10
    bounded.release()
    assert account.version("f", "3").take()
    account.bound("f", {})
    assert account.version("f", "1") is bounded
    account.bound("f", {"1": 1})
    assert not bounded.take()
    bounded.release()
    assert bounded.room == 1


def test_the_bound_of_a_version_does_not_add_to_its_function_s() -> None:
    account = AccountConcurrency(10)
    account.reserve("f", 1)
    account.bound("f", {"1": 5})
    version = account.version("f", "1")
    assert [version.take(), version.take()] == [True, False]
    assert (version.exceeded, version.reserved, version.room) == (RESERVED_EXCEEDED, 1, 0)
